//! How long the same work takes under another model of concurrency. Each answer
//! is a range. Its lower end is what cannot be beaten: the lock, the CPUs, the
//! workers, the longest single piece. Its upper end is what a plain division
//! among workers takes (Brent: what cannot be divided plus equal parts of the
//! rest), with what it costs to start them.

/// A model of concurrency for Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    Threads,
    Asyncio,
    Multiprocessing,
}

/// Work, in ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Work {
    /// What no model shortens: start, imports, end.
    pub(super) serial: f64,
    /// The part of it that the next run need not wait for.
    pub(super) cold: f64,
    /// CPU time.
    pub(super) cpu: f64,
    /// The part of it with the interpreter lock, lowest and highest.
    pub(super) held: [f64; 2],
    /// Waits that can overlap; of these, for a device that may serve no more at a time.
    pub(super) waits: f64,
    pub(super) device: f64,
    /// Time it wanted a CPU and had none: it may be so again, or not.
    pub(super) starved: f64,
    /// Pieces it is made of, where waits tell.
    pub(super) pieces: Option<u64>,
    /// So many of them can go on at a time, where that is known.
    pub(super) at_once: Option<u64>,
    /// How often it computes after a wait: a piece may wait more than once.
    pub(super) wakes: f64,
    /// The longest wait.
    pub(super) longest: f64,
    /// Threads that there are already, and that overlap their waits in any model.
    pub(super) hands: f64,
    /// Part of the CPU time that can be divided at least.
    pub(super) divisible: f64,
}

/// What a model would make of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prediction {
    pub(super) model: Model,
    pub(super) workers: u32,
    /// Lowest and highest.
    pub(super) wall: [f64; 2],
    /// What the lowest begins sooner by, as the program would as it is.
    sooner: f64,
}

/// Where it would run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) cpus: f64,
    /// Threads run Python side by side.
    pub(super) lockless: bool,
}

/// Costs of a model, lowest and highest, in ns: its imports and its end, each
/// worker, and each piece of work that is handed to one. Measured on CPython 3.8
/// to 3.13, the highest on a busy machine.
struct Costs {
    once: [f64; 2],
    worker: [f64; 2],
    piece: [f64; 2],
    /// What a piece costs more with each worker there is: switches, and the lock.
    crowd: [f64; 2],
    /// More workers than this were not measured.
    most: u64,
}

const US: f64 = 1e3;
const MS: f64 = 1e6;
/// What follows a wait computes with cold caches, on a CPU that has to wake up:
/// so much of it is saved at most each time, and no larger part of all, where others
/// keep both busy. Measured: 2,000 requests of 275 µs took 120 µs each in threads.
const COLD: f64 = 180.0 * US;
const COLD_PART: f64 = 0.65;
/// The same computing takes so much less in another run, at most. Measured: 6 % less in
/// two processes than in one, of a loop and of handlers of an event loop.
const STEADY: f64 = 0.93;
/// What shared caches, clock rates and neighbours take, at most.
const SLACK: f64 = 1.1;
/// The same where all CPUs compute: two of them may be one core. Measured on two
/// virtual CPUs: 1.28 to 1.92 times as fast.
const SHARED: f64 = 1.5;
/// A program starts so much sooner without a recorder, and with code that is in the
/// caches already, at most, and no larger part. Measured, of asyncio: 52 to 107 ms alone,
/// 59 to 130 recorded.
const SOONER: f64 = 40.0 * MS;
const SOONER_PART: f64 = 0.35;
/// Workers are added as long as each step gains this much.
const WORTH: f64 = 0.98;

impl Model {
    pub(super) const ALL: [Model; 3] = [Model::Threads, Model::Asyncio, Model::Multiprocessing];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Model::Threads => "threads",
            Model::Asyncio => "asyncio",
            Model::Multiprocessing => "multiprocessing",
        }
    }

    fn costs(self) -> Costs {
        match self {
            // Measured: 2,000 requests took 0.30 s of CPU time in 64 threads, 0.36 s in 256,
            // 0.5 to 0.7 s in 1,000.
            Model::Threads => Costs {
                once: [MS, 50.0 * MS],
                worker: [0.03 * MS, 0.4 * MS],
                piece: [10.0 * US, 50.0 * US],
                crowd: [0.05 * US, 0.2 * US],
                most: 2000,
            },
            // A task for each piece, however many go on at a time.
            Model::Asyncio => Costs {
                once: [40.0 * MS, 200.0 * MS],
                worker: [0.0; 2],
                piece: [15.0 * US, 250.0 * US],
                crowd: [0.0; 2],
                most: u64::MAX,
            },
            Model::Multiprocessing => Costs {
                once: [20.0 * MS, 120.0 * MS],
                worker: [2.0 * MS, 12.0 * MS],
                piece: [80.0 * US, 300.0 * US],
                crowd: [0.0; 2],
                most: 256,
            },
        }
    }

    /// Memory that each worker takes, where `process` is what the process has now.
    pub(super) fn memory(self, workers: u32, process: Option<u64>) -> Option<u64> {
        // Touched pages of a thread's stack and state, 16 to 82 KiB as measured; a task with
        // its frames and buffers.
        let each = match self {
            Model::Threads => 64 << 10,
            Model::Asyncio => 8 << 10,
            Model::Multiprocessing => process?,
        };
        Some(each * u64::from(workers))
    }

    /// The wall-clock time with `workers` on `cpus`, the imports already done
    /// where `begun`.
    fn wall(self, work: &Work, workers: u64, machine: Machine, begun: bool) -> [f64; 2] {
        let Work { cpu, waits, .. } = *work;
        let Costs { once, worker, piece, crowd, .. } = self.costs();
        let count = workers as f64;
        let hands = count.max(work.hands);
        let pieces = work.pieces.unwrap_or(0) as f64;
        // One thread hands them over.
        let handed = [0, 1].map(|end| (piece[end] + crowd[end] * count) * pieces);
        let parallel = machine.cpus.min(count).max(1.0);
        let warm = STEADY * cpu - (COLD * work.wakes).min(COLD_PART * cpu);
        // Computing that goes on one at a time.
        let [fewest, most] = match self {
            Model::Asyncio => [warm, cpu],
            Model::Threads if machine.lockless => [0.0; 2],
            Model::Threads => [work.held[0] * warm / cpu.max(1.0), work.held[1]],
            Model::Multiprocessing => [0.0; 2],
        };
        let least = (fewest + handed[0])
            .max((warm + handed[0]) / parallel)
            .max((warm + waits) / hands)
            .max(work.longest);
        let spread = cpu - most;
        let divided = spread * work.divisible / parallel + spread * (1.0 - work.divisible);
        let rounds = match work.pieces {
            Some(pieces) => pieces.div_ceil(workers) as f64 / pieces.max(1) as f64,
            None => 1.0 / hands,
        };
        let overlapped = ((waits - work.device) * rounds + work.device).max(work.longest);
        let shared = if parallel > 1.0 { SHARED } else { SLACK };
        let (computing, waiting) = (most * SLACK + divided * shared, overlapped * SLACK);
        // A worker with several threads computes in one while others wait.
        let apart = computing.min(waiting) * count / hands;
        let most = computing.max(waiting) + apart + work.starved + handed[1];
        let once = if begun { [0.0; 2] } else { once };
        [
            work.serial - work.sooner() + least + once[0] + worker[0] * count,
            work.serial + most + once[1] + worker[1] * count,
        ]
    }

    /// With so many workers.
    pub(super) fn with(
        self,
        work: &Work,
        workers: u64,
        machine: Machine,
        begun: bool,
    ) -> Prediction {
        let wall = self.wall(work, workers, machine, begun);
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        Prediction { model: self, workers, wall, sooner: work.sooner() }
    }

    /// With as many workers as are worth it.
    pub(super) fn best(self, work: &Work, machine: Machine, begun: bool) -> Prediction {
        let cpus = machine.cpus.ceil().max(1.0) as u64;
        let bound = work.pieces.map_or(cpus, |pieces| pieces.max(1)).min(self.costs().most);
        let bound = work.at_once.map_or(bound, |most| bound.min(most.max(1)));
        let predict = |workers| self.with(work, workers, machine, begun);
        // Each candidate makes one round of the pieces less than the one before.
        let mut rounds = bound;
        let mut best = predict(1);
        while rounds > 0 {
            let next = predict(bound.div_ceil(rounds));
            if next.middle() < best.middle() * WORTH {
                best = next;
            }
            rounds = if rounds > 64 { rounds * 9 / 10 } else { rounds - 1 };
        }
        best
    }
}

impl Work {
    /// With the interpreter lock, as far as is known.
    pub(super) fn held(&self) -> f64 {
        f64::midpoint(self.held[0], self.held[1])
    }

    /// How much sooner another run may begin.
    fn sooner(&self) -> f64 {
        let cold = self.cold.min(self.serial);
        cold + SOONER.min((self.serial - cold) * SOONER_PART)
    }
}

impl Prediction {
    pub(super) fn middle(&self) -> f64 {
        f64::midpoint(self.wall[0], self.wall[1])
    }

    /// Lowest and highest, against `wall` as it is.
    pub(super) fn speedup(&self, wall: f64) -> [f64; 2] {
        [wall / self.wall[1].max(1.0), (wall - self.sooner) / self.wall[0].max(1.0)]
    }
}
