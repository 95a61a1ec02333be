//! One thread's state machine. Time is passed in and never goes back; what an
//! event contradicts is unknown, not guessed.

mod limits;
mod pauses;
mod polled;

use whyslow_events::{Cpu, LoopTurn, Off, SiteId, StackId};

use super::counts::Counted;
use super::occupancy::{MaskId, Occupancy};
use super::{Doing, GilSeen, Interval, Queue, Sample, Thread, Turn, Wait, Waker};
use limits::Pending;
pub(super) use pauses::Tally;
use pauses::{Next, Pausing};
use polled::Polling;

/// A waker on another CPU can be faster than the switch it answers. An older
/// wakeup met a thread that then did not block, and says nothing of this wait.
const WAKEUP_AHEAD_NS: u64 = 100_000;

const RUNNING: Doing = Doing::OnCpu { stolen: 0 };
const WAKING: Doing =
    Doing::Runq { preempted: false, queue: Queue { saturated: 0, neighbours: 0 } };
const PREEMPTED: Doing =
    Doing::Runq { preempted: true, queue: Queue { saturated: 0, neighbours: 0 } };

#[derive(Debug)]
pub(super) struct Track {
    thread: Thread,
    doing: Doing,
    since: u64,
    /// Time of the last event, and of the one before.
    last: u64,
    before: u64,
    /// Where it left the CPU.
    stack: Option<StackId>,
    /// The CPU it runs on, if it does.
    cpu: Option<Cpu>,
    /// A wakeup that came while it ran.
    ahead: Option<(u64, Waker)>,
    /// The wait that such a wakeup is believed to have ended at once.
    raced: Option<Wait>,
    exited: Option<u64>,
    mask: MaskId,
    /// The CPUs' account at `since`.
    mark: Queue,
    contradictions: u64,
    polling: Polling,
    /// Of the wait it was last seen in.
    limit: Option<Pending>,
    pausing: Pausing,
}

impl Track {
    pub(super) fn new(thread: Thread, doing: Doing, cpus: &mut Occupancy) -> Self {
        let since = thread.start;
        Track {
            thread,
            doing,
            since,
            last: since,
            before: since,
            stack: None,
            cpu: None,
            ahead: None,
            raced: None,
            exited: None,
            mask: MaskId::ALL,
            mark: cpus.totals(MaskId::ALL, since),
            contradictions: 0,
            polling: Polling::default(),
            limit: None,
            pausing: Pausing::default(),
        }
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(super) fn rename(&mut self, name: String) {
        self.thread.name = name;
    }

    pub(super) fn exited(&self) -> bool {
        self.exited.is_some()
    }

    pub(super) fn cpu(&self) -> Option<Cpu> {
        self.cpu
    }

    pub(super) fn mask(&self) -> MaskId {
        self.mask
    }

    pub(super) fn contradictions(&self) -> u64 {
        self.contradictions
    }

    pub(super) fn switch_in(&mut self, time: u64, cpu: Cpu, cpus: &mut Occupancy) {
        let at = self.seen(time);
        self.end_pause(at, Next::Arrives, cpus);
        self.ended_before(at);
        match self.doing {
            Doing::OnCpu { .. } => self.doubt(at, cpus),
            Doing::Undetermined => {
                self.doing = PREEMPTED;
                self.close(at, cpus);
            }
            _ => self.close(at, cpus),
        }
        self.doing = RUNNING;
        self.cpu = Some(cpu);
        self.ahead = None;
    }

    pub(super) fn switch_out(
        &mut self,
        time: u64,
        off: Off,
        stack: Option<StackId>,
        cpus: &mut Occupancy,
    ) {
        let at = self.seen(time);
        if let Some(last) = self.thread.readings.last_mut() {
            // What is counted as a thread leaves is all that it ran.
            last.running &= last.time < time;
        }
        self.end_pause(at, Next::Ran, cpus);
        match self.doing {
            Doing::OnCpu { .. } | Doing::Unknown => self.close(at, cpus),
            Doing::Undetermined => {
                self.doing = RUNNING;
                self.close(at, cpus);
            }
            _ => self.doubt(at, cpus),
        }
        self.cpu = None;
        self.stack = stack;
        self.limit = None;
        let ahead = self.ahead.take().filter(|(woken, _)| at - woken <= WAKEUP_AHEAD_NS);
        self.doing = doing_after(off);
        if off == Off::Dead {
            self.exited = Some(at);
        }
        if let (Doing::Blocked(wait), Some((_, waker))) = (self.doing, ahead) {
            self.raced = Some(Wait { waker, ..wait });
            self.doing = WAKING;
        }
    }

    pub(super) fn wakeup(&mut self, time: u64, waker: Waker, cpus: &mut Occupancy) {
        let at = self.seen(time);
        self.pausing.hears = true;
        self.end_pause(at, Next::Woken, cpus);
        // A second wakeup: the one that came ahead was for something else.
        if let Some(wait) = self.raced.take() {
            self.doing = Doing::Blocked(wait);
        }
        match &mut self.doing {
            Doing::Blocked(wait) => wait.waker = waker,
            Doing::Stopped | Doing::Unknown => {}
            Doing::OnCpu { .. } | Doing::Undetermined => {
                self.ahead = Some((at, waker));
                return;
            }
            Doing::Runq { .. } => return,
        }
        self.close(at, cpus);
        self.doing = WAKING;
    }

    pub(super) fn look(&mut self, time: u64, site: SiteId, stack: Option<StackId>) {
        self.seen(time);
        if let Some(wait) = self.raced.take() {
            self.doing = Doing::Blocked(Wait { waker: Waker::Unseen, ..wait });
        }
        if self.pausing.is_untold() {
            self.look_in_pause(site, stack);
        } else if let Doing::Blocked(wait) = &mut self.doing {
            wait.site = Some(site);
            self.stack = stack.or(self.stack);
        }
    }

    /// A look found it ready to run: whoever ended its wait did so before.
    pub(super) fn awake(&mut self, time: u64, cpus: &mut Occupancy) {
        let at = self.seen(time);
        if matches!(self.doing, Doing::Blocked(_)) && !self.pausing.is_untold() {
            self.ended_before(at);
            self.close(at, cpus);
            self.doing = WAKING;
        }
    }

    pub(super) fn stood(&mut self, time: u64, stack: StackId) {
        self.seen(time);
        if let Doing::Runq { preempted: true, .. } = self.doing {
            self.stack = Some(stack);
        }
    }

    pub(super) fn sample(
        &mut self,
        time: u64,
        cpu: Cpu,
        kernel: bool,
        stack: Option<StackId>,
        cpus: &mut Occupancy,
    ) {
        let at = self.seen(time);
        if !self.pausing.is_on() {
            self.end_pause(at, Next::Ran, cpus);
            match self.doing {
                Doing::OnCpu { .. } | Doing::Undetermined => {}
                _ => self.doubt(at, cpus),
            }
            self.doing = RUNNING;
            self.cpu = Some(cpu);
        }
        self.thread.samples.push(Sample { time: at, stack, kernel });
    }

    pub(super) fn turn(&mut self, time: u64, saw: LoopTurn) {
        let time = time.max(self.last);
        self.thread.turns.push(Turn { time, saw });
    }

    /// A look from outside: it says nothing of what the thread does.
    pub(super) fn gil_seen(&mut self, seen: GilSeen) {
        self.thread.gil.push(seen);
    }

    pub(super) fn exit(&mut self, time: u64, cpus: &mut Occupancy) {
        let before = self.last;
        let at = self.seen(time);
        self.end_pause(at, Next::Ran, cpus);
        if self.polling.sampling.looks > 0 && matches!(self.doing, Doing::OnCpu { .. }) {
            // Nobody saw how long it went on.
            self.close(before, cpus);
            self.doing = Doing::Unknown;
        }
        self.exited.get_or_insert(at);
    }

    pub(super) fn counted(&mut self, time: u64, cpu_ns: u64) {
        if self.count_in_pause(time, cpu_ns) {
            return;
        }
        let off = matches!(self.doing, Doing::Blocked(_) | Doing::Stopped | Doing::Runq { .. });
        self.thread.readings.push(Counted { time, cpu_ns, running: !off });
    }

    pub(super) fn delayed(&mut self, time: u64, delay_ns: u64) {
        self.thread.delays.push((time, delay_ns));
    }

    pub(super) fn affinity(&mut self, time: u64, mask: MaskId, cpus: &mut Occupancy) {
        let at = self.seen(time);
        if matches!(self.doing, Doing::Runq { .. }) {
            self.close(at, cpus);
        }
        self.mask = mask;
        self.mark = cpus.totals(mask, at);
    }

    /// Records of `cpu` are missing from `since` to `time`. A thread that ran
    /// on another CPU cannot have left it unseen; what the others did, and
    /// whether they still do it, the next event tells.
    pub(super) fn lost(&mut self, cpu: Cpu, since: u64, time: u64, cpus: &mut Occupancy) {
        if self.cpu.is_some_and(|own| own != cpu) || self.pausing.is_untold() {
            return;
        }
        let at = self.seen(time);
        let gap = since.clamp(self.since, at);
        let begun = gap > self.since;
        self.close(gap, cpus);
        let before = std::mem::replace(&mut self.doing, Doing::Unknown);
        self.close(at, cpus);
        self.doing = match before {
            Doing::Blocked(wait) => Doing::Blocked(Wait { resumed: begun || wait.resumed, ..wait }),
            other => other,
        };
    }

    /// A segment ends at `at`: what was done in it, as far as is known by now. What the
    /// thread does goes on in the next.
    pub(super) fn cut(
        &mut self,
        at: u64,
        cpus: &mut Occupancy,
        used: &mut Vec<Vec<Interval>>,
    ) -> Thread {
        // Still to be found out.
        let raced = self.raced.take();
        let at = self.exited.unwrap_or(at).min(at).max(self.since);
        self.cut_pause(at, cpus);
        self.go_on_unseen(at);
        let open = self.since < at;
        self.close(at, cpus);
        self.last = self.last.max(at);
        self.raced = raced;
        self.thread.sampling = self.polling.sampling;
        let next = Thread {
            number: self.thread.number,
            name: self.thread.name.clone(),
            start: at,
            end: at,
            intervals: self.room(used),
            ..Thread::of(self.thread.tid, self.thread.pid)
        };
        let done = std::mem::replace(&mut self.thread, next);
        Thread { end: at, goes_on: true, open, ..done }
    }

    /// For as many intervals as there are now, if there is.
    fn room(&self, used: &mut Vec<Vec<Interval>>) -> Vec<Interval> {
        let fits = |room: &Vec<Interval>| room.capacity() >= self.thread.intervals.len();
        let busy = self.thread.intervals.len() > 1000;
        let place = if busy { used.iter().position(fits) } else { None };
        place.map_or_else(Vec::new, |place| used.swap_remove(place))
    }

    /// The thread, its last interval closed at `end` or at its exit.
    pub(super) fn finish(mut self, end: u64, cpus: &mut Occupancy) -> Thread {
        let end = end.max(self.last);
        self.cut_pause(end, cpus);
        self.go_on_unseen(end);
        self.close(end, cpus);
        self.thread.sampling = self.polling.sampling;
        if self.thread.sampling.looks > 0 {
            self.even_out();
        }
        if self.thread.sampling.looks > 0 || self.pausing.was_on() {
            self.lend_back();
        }
        let end = self.exited.unwrap_or(self.since).max(self.thread.start);
        self.thread.end = end;
        while self.thread.intervals.last().is_some_and(|last| last.start >= end) {
            self.thread.intervals.pop();
        }
        self.thread.samples.retain(|sample| sample.time <= end);
        self.thread
    }

    /// The event's time, not before the last one's.
    fn seen(&mut self, time: u64) -> u64 {
        self.before = self.last;
        self.last = self.last.max(time);
        self.last
    }

    /// What the thread was believed to do is wrong: since the event before this
    /// one we do not know.
    fn doubt(&mut self, at: u64, cpus: &mut Occupancy) {
        self.contradictions += 1;
        self.close(self.before.clamp(self.since, at), cpus);
        self.doing = Doing::Unknown;
        self.close(at, cpus);
    }

    /// Ends the current interval; the next begins at `at`.
    fn close(&mut self, at: u64, cpus: &mut Occupancy) {
        let totals = cpus.totals(self.mask, at);
        let span = at - self.since;
        if let Doing::Runq { queue, .. } = &mut self.doing {
            let saturated = (totals.saturated - self.mark.saturated).min(span);
            let neighbours = (totals.neighbours - self.mark.neighbours).min(span - saturated);
            *queue = Queue { saturated, neighbours };
        }
        self.pausing
            .see(Interval { start: self.since, doing: self.doing, stack: self.stack }, span);
        if let Some(wait) = self.raced.take() {
            self.push(Doing::Blocked(wait));
        }
        let continues = matches!(self.doing, Doing::Unknown)
            && self.thread.intervals.last().is_some_and(|last| last.doing == Doing::Unknown);
        if span > 0 && !continues {
            self.push(self.doing);
        }
        self.since = at;
        self.mark = totals;
    }

    fn push(&mut self, doing: Doing) {
        let stack = match doing {
            Doing::Blocked(_) | Doing::Runq { .. } | Doing::Stopped => self.stack,
            Doing::OnCpu { .. } | Doing::Unknown | Doing::Undetermined => None,
        };
        self.thread.intervals.push(Interval { start: self.since, doing, stack });
    }
}

/// What a thread does once it left the CPU. The dead do nothing.
pub(super) fn doing_after(off: Off) -> Doing {
    match off {
        Off::Preempted => PREEMPTED,
        Off::Blocked { site, .. } => Doing::Blocked(Wait { site, ..Wait::default() }),
        Off::Stopped => Doing::Stopped,
        Off::Dead => Doing::Unknown,
    }
}

/// What a thread does that was born just now.
pub(super) fn newborn() -> Doing {
    WAKING
}
