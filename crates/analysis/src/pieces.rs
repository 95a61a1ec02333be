//! Every interval broken down by state and place in the code. All sums in the
//! report and all flamegraphs are sums over these pieces, so they agree.
//!
//! Time on the CPU goes to the thread's samples: each carries what passed
//! since the one before, the last one the tail, too.

mod unsampled;

use std::mem;
use std::ops::{AddAssign, Range};

use rustc_hash::FxHashMap;
use whyslow_events::{Pid, StackId};

use self::unsampled::{Samples, lend};
use crate::State;
use crate::account::Account;
use crate::bottleneck::{FairShare, Share};
use crate::quota::{Quota, Quotas};
use crate::split::Split;
use crate::tables::Tables;
use crate::timeline::{Doing, Interval, Sample, Thread, Timeline};

/// Where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Stack(StackId),
    /// No sample hit the thread, but such as are like it, there.
    Lent(StackId),
    /// No call chain was taken, nor lent by a like wait.
    NoStack,
    /// A thread that has not had a CPU yet has no call chain.
    NotBegun,
    /// The thread ran, and no sample hit it.
    NotSampled,
    /// Time we know nothing of.
    Nowhere,
}

impl Place {
    pub(crate) fn stack(self) -> Option<StackId> {
        match self {
            Place::Stack(stack) | Place::Lent(stack) => Some(stack),
            Place::NoStack | Place::NotBegun | Place::NotSampled | Place::Nowhere => None,
        }
    }

    fn lent(self) -> Place {
        self.stack().map_or(self, Place::Lent)
    }
}

/// Time of a thread, and its share of the wall-clock time, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    pub(crate) thread_ns: u64,
    pub(crate) share: Share,
}

impl Amount {
    /// `ns` of a thread whose instants have this share.
    fn at(ns: u64, rate: Share) -> Self {
        Amount { thread_ns: ns, share: rate * ns as f64 }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.thread_ns += other.thread_ns;
        self.share += other.share;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// The thread's number.
    pub(crate) thread: usize,
    pub(crate) state: State,
    pub(crate) place: Place,
}

/// The sums over all pieces, segment by segment.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pieces: FxHashMap<Key, Amount>,
    samples: Samples,
    /// CPU time of threads without a sample.
    unsampled: Vec<(usize, Amount)>,
    /// By number of those threads that go on.
    open: FxHashMap<u32, Open>,
}

impl Sums {
    /// The next segment.
    pub(crate) fn add_all(
        &mut self,
        timeline: &Timeline,
        quotas: &Quotas,
        accounts: &[Vec<Account>],
        fair: &FairShare,
    ) {
        for (index, thread) in timeline.threads.iter().enumerate() {
            let mut walk = Walk::new(self, thread, quotas.of(thread.pid));
            let shares = fair.shares[index].iter();
            for ((span, account), share) in thread.spans().zip(&accounts[index]).zip(shares) {
                walk.interval(span, *account, *share);
            }
            if thread.goes_on {
                walk.leave_open(thread.number);
            } else {
                walk.finish();
            }
        }
    }

    /// All pieces, those with the same key added up, in the order of their keys.
    pub(crate) fn finish(mut self, tables: &Tables, threads: &[Thread]) -> Vec<(Key, Amount)> {
        let program = |thread: usize| tables.process_name(threads[thread].pid);
        let unsampled = mem::take(&mut self.unsampled);
        self.unsampled = lend(&mut self.pieces, unsampled, &self.samples, program);
        self.split_unsampled(threads);
        let mut pieces: Vec<(Key, Amount)> = self.pieces.into_iter().collect();
        pieces.sort_unstable_by_key(|(key, _)| *key);
        pieces
    }

    fn add(&mut self, thread: usize, state: State, place: Place, amount: Amount) {
        *self.pieces.entry(Key { thread, state, place }).or_default() += amount;
    }

    /// A thread without samples is taken to divide its time between user and
    /// kernel code as its process does, else as the program does.
    fn split_unsampled(&mut self, threads: &[Thread]) {
        let mut by_process: FxHashMap<Pid, Ratio> = FxHashMap::default();
        let mut all = Ratio::default();
        for (key, amount) in &self.pieces {
            let ratio = by_process.entry(threads[key.thread].pid).or_default();
            ratio.count(key.state, amount.thread_ns);
            all.count(key.state, amount.thread_ns);
        }
        for (thread, amount) in mem::take(&mut self.unsampled) {
            let process = by_process.get(&threads[thread].pid).copied().unwrap_or_default();
            let ratio = if process.is_known() { process } else { all };
            let [user, kernel] = ratio.split(amount);
            self.add(thread, State::CpuUser, Place::NotSampled, user);
            if kernel != Amount::default() {
                self.add(thread, State::CpuKernel, Place::NotSampled, kernel);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    user: u64,
    kernel: u64,
}

impl Ratio {
    fn count(&mut self, state: State, ns: u64) {
        match state {
            State::CpuUser => self.user += ns,
            State::CpuKernel => self.kernel += ns,
            _ => {}
        }
    }

    fn is_known(self) -> bool {
        self.user + self.kernel > 0
    }

    fn split(self, amount: Amount) -> [Amount; 2] {
        if self.kernel == 0 {
            return [amount, Amount::default()];
        }
        let fraction = self.kernel as f64 / (self.user + self.kernel) as f64;
        let kernel = Amount {
            thread_ns: ((amount.thread_ns as f64 * fraction) as u64).min(amount.thread_ns),
            share: amount.share * fraction,
        };
        let user = Amount {
            thread_ns: amount.thread_ns - kernel.thread_ns,
            share: amount.share - kernel.share,
        };
        [user, kernel]
    }
}

/// What a thread was at when a segment ended.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    last: Option<Sample>,
    pending: Pending,
}

/// Time with a CPU that waits for the next sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pending {
    ran: Amount,
    stolen: Amount,
}

/// Goes along one thread.
struct Walk<'a> {
    sums: &'a mut Sums,
    thread: usize,
    samples: std::iter::Peekable<std::slice::Iter<'a, Sample>>,
    last: Option<Sample>,
    pending: Pending,
    quota: Quota,
    /// When the thread began, if it did so in the window.
    born: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(sums: &'a mut Sums, thread: &'a Thread, quota: Quota) -> Self {
        let samples = thread.samples.iter().peekable();
        let Open { last, pending } = sums.open.remove(&thread.number).unwrap_or_default();
        let born = thread.born.then_some(thread.start);
        Walk { sums, thread: thread.number as usize, samples, last, pending, quota, born }
    }

    fn leave_open(self, number: u32) {
        let open = Open { last: self.last, pending: self.pending };
        self.sums.open.insert(number, open);
    }

    fn interval(
        &mut self,
        (start, end, interval): (u64, u64, &Interval),
        account: Account,
        share: Share,
    ) {
        let length = end.saturating_sub(start);
        let rate = if length > 0 { share * (1.0 / length as f64) } else { Share::default() };
        let place = interval.stack.map_or(Place::NoStack, Place::Stack);
        let place = match interval.doing {
            Doing::OnCpu { stolen } => return self.on_cpu(start..end, stolen, rate),
            Doing::Runq { queue, .. } => {
                let begins = interval.stack.is_none() && self.born == Some(start);
                let place = if begins { Place::NotBegun } else { place };
                return self.in_queue(queue.parts(end - start), account, place, rate);
            }
            Doing::Unknown | Doing::Undetermined => Place::Nowhere,
            Doing::Blocked(_) | Doing::Stopped => place,
        };
        self.sums.add(self.thread, account.state, place, Amount::at(end - start, rate));
    }

    fn on_cpu(&mut self, span: Range<u64>, stolen: u64, rate: Share) {
        let mut stolen = Split::new(stolen, span.end - span.start);
        let mut from = span.start;
        while let Some(sample) = self.samples.next_if(|sample| sample.time <= span.end) {
            let to = sample.time.max(from);
            self.pend(to - from, &mut stolen, rate);
            from = to;
            self.last = Some(*sample);
            *self.sums.samples.entry(self.thread).or_default() += 1;
            self.settle();
        }
        self.pend(span.end - from, &mut stolen, rate);
    }

    /// While the program itself holds every CPU, whoever waits for one waits
    /// for the program to compute: its share counts as CPU.
    fn in_queue(&mut self, parts: [u64; 3], account: Account, place: Place, rate: Share) {
        let [saturated, neighbours, idle] = parts;
        let begun = account.state;
        let (busy, free) = match self.quota {
            Quota::Harmless => (begun, begun),
            Quota::AtTimes => (begun, State::RunqThrottled),
            Quota::UsedUp => (State::RunqThrottled, State::RunqThrottled),
        };
        self.pending.ran.share += rate * saturated as f64;
        for (state, counts_as, ns, rate) in [
            (begun, begun, saturated, Share::default()),
            (busy, busy, neighbours, rate),
            (free, account.beside_idle, idle, rate),
        ] {
            if ns > 0 {
                let Amount { thread_ns, share } = Amount::at(ns, rate);
                let time = Amount { thread_ns, ..Amount::default() };
                self.sums.add(self.thread, state, place, time);
                self.sums.add(self.thread, counts_as, place, Amount { thread_ns: 0, share });
            }
        }
    }

    fn finish(mut self) {
        if self.last.is_some() {
            self.settle();
        } else if self.pending != Pending::default() {
            let Pending { ran, stolen } = self.pending;
            self.sums.unsampled.push((self.thread, ran));
            self.stolen(stolen, Place::NotSampled);
        }
    }

    fn pend(&mut self, span: u64, stolen: &mut Split, rate: Share) {
        let stolen = stolen.part(span);
        self.pending.ran += Amount::at(span - stolen, rate);
        self.pending.stolen += Amount::at(stolen, rate);
    }

    /// The pending time goes to the last sample.
    fn settle(&mut self) {
        let Some(sample) = self.last else { return };
        let state = if sample.kernel { State::CpuKernel } else { State::CpuUser };
        let place = sample.stack.map_or(Place::NoStack, Place::Stack);
        let Pending { ran, stolen } = mem::take(&mut self.pending);
        self.sums.add(self.thread, state, place, ran);
        self.stolen(stolen, place);
    }

    /// A hypervisor took the CPU from a thread that went on wanting it.
    fn stolen(&mut self, stolen: Amount, place: Place) {
        if stolen != Amount::default() {
            self.sums.add(self.thread, State::RunqPreempted, place, stolen);
        }
    }
}
