//! What recording may cost. When it costs more, detail is halved step by step: the stacks
//! of waits, the samples, the looks from outside. Where the switches alone cost more, they
//! are recorded for a part of the time only, which is halved step by step.

use whyslow_events::Thinned;

/// How often costs are compared, ns.
const COMPARED: u64 = 200_000_000;
/// The same, ns, where switches alone cost so many times too much that nothing else is to
/// be tried first.
const SOON: u64 = 20_000_000;
const TOO_MUCH: u64 = 2;
/// Each step halves the detail; at the last no stacks of waits are taken at all.
pub(super) const LAST_STEP: u32 = 6;
/// The time in which switches are recorded is halved so often at most.
const MOST_HALVINGS: u32 = 9;
/// Where that is done, detail is halved so often at least.
const STEP_WITH_SWITCHES: u32 = 2;
/// Rounds are doubled so often at most.
const LONGEST: u32 = 3;
/// Switches are left out where they cost more than one part in so many.
const HARDLY: u64 = 8;
/// Detail comes back when the cost is below this part of the limit: with twice
/// the detail it is below the limit yet. What was spent above it before is saved first.
const EASY: u64 = 3;
/// Where switches are left out, what is theirs of the cost is known, and what is not: detail
/// comes back where there is room for so many times the part of it that grows.
const ROOM: u64 = 2;
/// And one part in so many of the limit is left for what varies.
const SPARE: u64 = 4;
/// As far as it can be saved in so long, ns.
const MEMORY: u64 = 10_000_000_000;
/// Who owes what may be spent in so long, ns, and can leave out switches, spends half of
/// it until that is saved.
const DEEP: u64 = 500_000_000;
const MILLION: u64 = 1_000_000;

/// Keeps costs below a limit.
#[derive(Debug)]
pub(super) struct Rein {
    limit: u64,
    step: u32,
    halvings: u32,
    rounds: u64,
    /// What was spent above the limit and is not saved yet, ns.
    debt: u64,
    begun: Costs,
    compared: Costs,
    /// Time, and by steps how much of it there was of each detail, ns.
    kept: Kept,
}

/// What was spent by when, ns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    pub(super) time: u64,
    /// Our own CPU time.
    pub(super) ours: u64,
    /// What the kernel did for us in others, estimated.
    pub(super) caused: u64,
    /// Of both, what the records of switches are the reason of; estimated.
    pub(super) switches: u64,
}

#[derive(Debug, Default)]
struct Kept {
    stacks: u64,
    others: u64,
}

impl Costs {
    fn spent(self, before: Costs) -> u64 {
        (self.ours + self.caused).saturating_sub(before.ours + before.caused)
    }

    /// In millionths of one CPU.
    fn since(self, before: Costs) -> u64 {
        self.rate(before, self.spent(before))
    }

    fn of_switches_since(self, before: Costs) -> u64 {
        self.rate(before, self.switches.saturating_sub(before.switches))
    }

    fn rate(self, before: Costs, spent: u64) -> u64 {
        spent.saturating_mul(MILLION) / self.time.saturating_sub(before.time).max(1)
    }
}

impl Rein {
    /// A limit in millionths of one CPU, from now on.
    pub(super) fn new(limit: u32, now: Costs) -> Self {
        let kept = Kept::default();
        Rein {
            limit: limit.into(),
            step: 0,
            halvings: 0,
            rounds: 0,
            debt: 0,
            begun: now,
            compared: now,
            kept,
        }
    }

    /// In millionths of one CPU.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How often detail is to be halved.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// How often the time is to be halved in which switches are recorded.
    pub(super) fn halvings(&self) -> u32 {
        self.halvings
    }

    /// How often the time between two rounds is to be doubled: what is read in a round costs
    /// less than the round.
    pub(super) fn longer(&self) -> u32 {
        self.step.min(LONGEST)
    }

    /// Whether this is a round in which to look at threads from outside, of those that are
    /// as far apart as said.
    pub(super) fn looks(&mut self) -> bool {
        self.rounds += 1;
        self.rounds.is_multiple_of(1 << (self.step - self.longer()))
    }

    /// Compares costs with the limit, now and then; whether the step is another.
    pub(super) fn compare(&mut self, now: Costs) -> bool {
        let passed = now.time.saturating_sub(self.compared.time);
        let of_switches = now.of_switches_since(self.compared);
        let at_once = passed >= SOON && of_switches > TOO_MUCH * self.limit;
        if passed < COMPARED && !(at_once && self.halvings == 0) {
            return false;
        }
        self.keep(now);
        let cost = now.since(self.compared);
        let allowed = |time: u64| self.limit * time / MILLION;
        let spent = (self.debt + now.spent(self.compared)).saturating_sub(allowed(passed));
        self.debt = spent.min(allowed(MEMORY));
        self.compared = now;
        let before = (self.step, self.halvings);
        let pauses = self.halvings > 0;
        let aim = if pauses && self.debt > allowed(DEEP) { self.limit / 2 } else { self.limit };
        if !pauses && of_switches > self.limit {
            self.halvings = halvings(of_switches, self.limit).min(MOST_HALVINGS);
            self.step = self.step.max(STEP_WITH_SWITCHES);
        } else if cost > aim {
            self.thin(halvings(cost, aim), of_switches > cost / HARDLY);
        } else if self.debt == 0 {
            self.come_back(cost, of_switches);
        }
        (self.step, self.halvings) != before
    }

    /// Brings detail back where there is room for twice as much.
    fn come_back(&mut self, cost: u64, of_switches: u64) {
        let room = |part: u64| cost + ROOM * part < self.limit - self.limit / SPARE;
        let pauses = self.halvings > 0;
        if pauses && self.step > STEP_WITH_SWITCHES && room(cost.saturating_sub(of_switches)) {
            self.step -= 1;
        } else if pauses && room(of_switches) {
            self.halvings -= 1;
        } else if cost < self.limit / EASY {
            self.halvings = self.halvings.saturating_sub(1);
            self.step -= u32::from(self.halvings == 0 && self.step > 0);
        }
    }

    /// Thins by so many halvings, where to leave out switches `helps` or does not: what else
    /// there is does not get less with them.
    fn thin(&mut self, halvings: u32, helps: bool) {
        let first = self.step < if self.halvings > 0 { STEP_WITH_SWITCHES } else { LAST_STEP };
        if helps && !first && self.halvings < MOST_HALVINGS {
            self.halvings = (self.halvings + halvings).min(MOST_HALVINGS);
        } else {
            self.step = (self.step + halvings).min(LAST_STEP);
        }
    }

    fn keep(&mut self, now: Costs) {
        let passed = now.time.saturating_sub(self.compared.time);
        self.kept.others += passed >> self.step;
        self.kept.stacks +=
            if self.step < LAST_STEP { passed >> (self.step + self.halvings) } else { 0 };
    }

    /// What was left out until now.
    pub(super) fn said(&mut self, now: Costs) -> Thinned {
        self.keep(now);
        self.compared = now;
        let time = now.time.saturating_sub(self.begun.time).max(1);
        let millionths = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let part = |kept: u64| millionths(kept.saturating_mul(MILLION) / time);
        Thinned {
            limit: millionths(self.limit),
            cost: millionths(now.since(self.begun)),
            stacks: part(self.kept.stacks),
            samples: part(self.kept.others),
            looks: part(self.kept.others),
        }
    }
}

/// How often what costs so much is to be halved to be below a limit.
fn halvings(cost: u64, limit: u64) -> u32 {
    (cost / limit.max(1)).ilog2() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERCENT: u32 = 10_000;

    /// A recorder that needs `floor` per cent, and `detail` per cent at full detail.
    fn after(seconds: u64, floor: u64, detail: u64) -> (Rein, Costs) {
        let mut now = Costs::default();
        let mut rein = Rein::new(2 * PERCENT, now);
        for _ in 0..seconds * 5 {
            now.time += COMPARED;
            now.ours += COMPARED * floor / 100;
            now.caused += (COMPARED * detail / 100) >> rein.step();
            rein.compare(now);
        }
        (rein, now)
    }

    #[test]
    fn detail_is_halved_until_the_cost_is_below_the_limit_and_no_more() {
        let (mut rein, now) = after(60, 1, 6);
        assert_eq!(rein.step(), 3, "1 % and an eighth of 6 % are below 2 %");
        let said = rein.said(now);
        assert!((9_000..=21_000).contains(&said.cost), "{said:?}");
        assert!((120_000..=150_000).contains(&said.stacks), "{said:?}");
    }

    #[test]
    fn what_costs_many_times_too_much_is_cut_at_once_and_saved_later() {
        let (rein, _) = after(1, 0, 60);
        assert_eq!(rein.step(), 5, "60 % is below 2 % when it is halved five times");
        let (mut rein, now) = after(60, 0, 60);
        assert!(rein.said(now).cost <= 2 * PERCENT + PERCENT / 10);
    }

    #[test]
    fn what_is_cheap_is_left_alone() {
        let (mut rein, now) = after(10, 0, 1);
        assert_eq!((rein.step(), rein.said(now).looks), (0, 1_000_000));
        assert!((0..10).all(|_| rein.looks()));
    }

    /// The same with switches that cost so many per cent where all are recorded.
    fn with_switches(seconds: u64, switches: u64) -> (Rein, Costs) {
        let mut now = Costs::default();
        let mut rein = Rein::new(2 * PERCENT, now);
        for _ in 0..seconds * 50 {
            now.time += SOON;
            let cost = (SOON * switches / 100) >> rein.halvings();
            now.ours += cost / 2;
            now.caused += cost / 2;
            now.switches += cost;
            rein.compare(now);
        }
        (rein, now)
    }

    #[test]
    fn where_nothing_else_helps_switches_are_left_out_at_once_and_no_more_than_need_be() {
        let (rein, now) = with_switches(1, 60);
        // Five times is enough, and once more makes up for the beginning.
        assert_eq!((rein.step(), rein.halvings()), (STEP_WITH_SWITCHES, 6));
        assert!(now.ours + now.caused < 60 * SOON / 100 + 1_000_000_000 / 50);
        let (mut rein, now) = with_switches(60, 60);
        let said = rein.said(now);
        assert!(said.cost <= said.limit, "{said:?}");
        // Detail is not what costs.
        assert!((240_000..=260_000).contains(&said.samples), "{said:?}");
        let (rein, _) = with_switches(60, 1);
        assert_eq!((rein.step(), rein.halvings()), (0, 0));
    }

    #[test]
    fn a_burst_thins_no_longer_than_it_takes_to_save_it() {
        let (mut rein, mut now) = with_switches(1, 60);
        assert_eq!(rein.halvings(), 6);
        let mut kept = 0;
        for _ in 0..60 * 50 {
            now.time += SOON;
            // 4 % of a CPU where all are recorded, and 0.5 % for something else.
            let cost = (SOON * 4 / 100) >> rein.halvings();
            now.ours += cost + SOON / 200;
            now.switches += cost;
            rein.compare(now);
            kept += 100 >> rein.halvings();
        }
        assert_eq!(rein.halvings(), 3, "an eighth costs 0.5 %, and has room for as much again");
        assert!(kept / 3000 >= 11, "{kept}");
        assert!(rein.step() <= STEP_WITH_SWITCHES);
        let said = rein.said(now);
        assert!(said.cost <= said.limit, "{said:?}");
    }

    #[test]
    fn what_does_not_come_from_switches_is_no_reason_to_leave_them_out() {
        let (mut rein, now) = after(60, 5, 6);
        assert_eq!((rein.step(), rein.halvings()), (LAST_STEP, 0));
        let said = rein.said(now);
        assert!(said.cost > said.limit && said.stacks.max(said.samples) < 50_000, "{said:?}");
        assert_eq!((0..640 >> rein.longer()).filter(|_| rein.looks()).count(), 10);
    }

    #[test]
    fn detail_comes_back_when_there_is_room() {
        let (mut rein, mut now) = after(60, 5, 6);
        for _ in 0..100 {
            now.time += COMPARED;
            rein.compare(now);
        }
        assert_eq!(rein.step(), 0);
    }
}
