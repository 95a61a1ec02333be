//! Each model and each named mistake, on facts that are made up.

use super::facts::{EventLoop, Facts, Hot, Process, Repeats, Wait, Worker};
use super::prescription;
use crate::State;
use crate::ledger::PerState;
use crate::report::{Active, Class, Prescription, Verdict};

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn verdict(class: Class) -> Verdict {
    Verdict {
        class,
        cause: String::new(),
        share: 0.9,
        interval: [0.9, 0.9],
        summary: String::new(),
        active: Active { class, cause: String::new(), share: 0.9 },
    }
}

fn shares(parts: &[(State, f64)]) -> PerState<f64> {
    let mut shares = PerState::default();
    for (state, share) in parts {
        shares[*state] = *share;
    }
    shares
}

/// A program on `cpus` CPUs for `wall` ns.
fn judge(class: Class, wall: u64, cpus: f64, processes: Vec<Process>) -> Prescription {
    let io = shares(&[(State::Sleep, 0.9), (State::CpuUser, 0.1)]);
    let cpu = shares(&[(State::CpuUser, 1.0)]);
    let shares = if class == Class::IoBound { io } else { cpu };
    prescription(&facts(&verdict(class), &shares, wall, cpus, processes))
}

fn facts<'a>(
    verdict: &'a Verdict,
    shares: &'a PerState<f64>,
    wall_ns: u64,
    cpus: f64,
    processes: Vec<Process>,
) -> Facts<'a> {
    let hot = Some(Hot { function: "f (a.c:1)".into(), alone: 0.6, whole: 0.8 });
    let lock = Wait { what: "futex, g (a.c:2)".into(), count: 9, total_ns: 3 * wall_ns };
    let quota_file = Some("/sys/fs/cgroup/a/cpu.max");
    let (cpus_without_quota, lock) = (2.0 * cpus, Some(lock));
    Facts { wall_ns, cpus, cpus_without_quota, quota_file, verdict, shares, processes, hot, lock }
}

fn python(held: f64, workers: Vec<Worker>) -> Process {
    let memory = Some(10_000_000);
    Process { python: true, free_threaded: false, held: [held; 2], memory, workers }
}

fn native(workers: Vec<Worker>) -> Process {
    Process { python: false, ..python(0.0, workers) }
}

fn computes(ns: u64) -> Worker {
    Worker { cpu_ns: ns, to: ns, divisible: 1.0, ..Worker::default() }
}

/// `count` waits of `each`, with computing between them.
fn waits(count: u64, each: u64, cpu_ns: u64) -> Worker {
    let place = Some("fetch (a.py:7)".to_owned());
    let total_ns = count * each;
    let repeats = Repeats { count, total_ns, longest_ns: each, place };
    let to = cpu_ns + total_ns;
    let repeats = Some(repeats);
    Worker { cpu_ns, wait_ns: total_ns, wait_count: count, to, repeats, ..computes(0) }
}

fn ids(prescription: &Prescription) -> Vec<&str> {
    prescription.antipatterns.iter().map(|it| it.id.as_str()).collect()
}

fn speedup(prescription: &Prescription) -> [f64; 2] {
    prescription.predicted.as_ref().unwrap().speedup
}

fn names(prescription: &Prescription) -> Vec<&str> {
    prescription.rejected.iter().map(|it| it.model.as_str()).collect()
}

#[test]
fn five_sleeps_are_five_threads() {
    let it = judge(Class::IoBound, 5020 * MS, 2.0, vec![python(1.0, vec![waits(5, S, 10 * MS)])]);
    assert_eq!(it.model, "threads");
    assert_eq!(it.predicted.as_ref().unwrap().workers, 5);
    let [low, high] = speedup(&it);
    assert!(low > 4.0 && high < 5.0 && low < high, "{low} {high}");
    assert_eq!(ids(&it), ["sequential-waits"]);
    assert_eq!(it.antipatterns[0].evidence, "5 waits of 1.0 s one after another, fetch (a.py:7)");
    assert_eq!(names(&it), ["asyncio", "multiprocessing"]);
}

#[test]
fn hundreds_of_waits_at_a_time_are_threads_and_have_their_memory() {
    let worker = waits(2000, 20 * MS, 500 * MS);
    let it = judge(Class::IoBound, 40_500 * MS, 2.0, vec![python(0.8, vec![worker])]);
    assert_eq!(it.model, "threads");
    let predicted = it.predicted.as_ref().unwrap();
    assert!((100..1000).contains(&predicted.workers), "{predicted:?}");
    assert_eq!(predicted.memory_bytes, Some(u64::from(predicted.workers) << 16));
}

#[test]
fn thousands_of_waits_are_asyncio() {
    let worker = waits(20_000, S, 4 * S);
    let it = judge(Class::IoBound, 20_004 * S, 2.0, vec![python(1.0, vec![worker])]);
    assert_eq!(it.model, "asyncio");
    assert!(it.predicted.as_ref().unwrap().workers > 2000);
}

#[test]
fn computing_after_two_waits_is_cold_twice() {
    let predict = |wait_count| {
        let worker = Worker { wait_count, ..waits(1000, 10 * MS, 500 * MS) };
        speedup(&judge(Class::IoBound, 10_500 * MS, 2.0, vec![python(1.0, vec![worker])]))
    };
    let (twice, once) = (predict(2000), predict(1000));
    assert!(twice[1] > once[1] * 1.1, "{twice:?} {once:?}");
}

#[test]
fn a_start_that_waits_for_files_may_not_do_so_again() {
    let high = |cold_ns| {
        let worker = Worker { cold_ns, ..waits(5, S, 10 * MS) };
        speedup(&judge(Class::IoBound, 5200 * MS, 2.0, vec![python(1.0, vec![worker])]))[1]
    };
    assert!(high(0) < 4.5, "{}", high(0));
    assert!((4.9..5.0).contains(&high(180 * MS)), "{}", high(180 * MS));
}

#[test]
fn python_that_computes_wants_processes() {
    let it = judge(Class::CpuBound, 10 * S, 4.0, vec![python(1.0, vec![computes(10 * S)])]);
    assert_eq!(it.model, "multiprocessing");
    let predicted = it.predicted.as_ref().unwrap();
    assert_eq!((predicted.workers, predicted.memory_bytes), (4, Some(40_000_000)));
    let [low, high] = speedup(&it);
    assert!(low > 2.5 && (3.9..4.25).contains(&high), "{low} {high}");
    assert_eq!(names(&it), ["threads", "asyncio", "free-threaded"]);
    assert_eq!(ids(&it), [""; 0]);
}

#[test]
fn what_cannot_be_divided_lowers_the_range() {
    let worker = Worker { divisible: 0.5, ..computes(10 * S) };
    let it = judge(Class::CpuBound, 10 * S, 4.0, vec![python(1.0, vec![worker])]);
    let [low, high] = speedup(&it);
    assert!(low < 1.6 && high > 3.9, "{low} {high}");
}

#[test]
fn computing_without_the_lock_wants_threads() {
    let it = judge(Class::CpuBound, 10 * S, 2.0, vec![python(0.02, vec![computes(10 * S)])]);
    assert_eq!(it.model, "threads");
    assert!(it.because.iter().any(|it| it.contains("lets go of the interpreter lock")));
}

#[test]
fn threads_of_a_build_without_the_lock_compute_side_by_side() {
    let process = Process { free_threaded: true, ..python(1.0, vec![computes(10 * S)]) };
    let it = judge(Class::CpuBound, 10 * S, 2.0, vec![process]);
    assert_eq!(it.model, "threads");
    assert!(speedup(&it)[0] > 1.3);
}

#[test]
fn one_cpu_leaves_nothing_to_divide() {
    let it = judge(Class::CpuBound, 10 * S, 1.0, vec![python(1.0, vec![computes(10 * S)])]);
    assert_eq!(it.model, "keep");
    assert_eq!(it.predicted, None);
}

#[test]
fn threads_that_take_turns_at_the_lock_are_named() {
    let worker = Worker { gil_ns: 6 * S, to: 8 * S, ..computes(2 * S) };
    let process = python(1.0, vec![worker; 4]);
    let it = judge(Class::CpuBound, 8 * S, 2.0, vec![process]);
    assert_eq!((it.model.as_str(), ids(&it)), ("multiprocessing", vec!["threads-on-cpu"]));
    let [low, high] = speedup(&it);
    assert!(low > 1.3 && (1.95..2.15).contains(&high), "{low} {high}");
    assert!(it.antipatterns[0].evidence.starts_with("4 threads compute 8.0 s"));
}

#[test]
fn threads_that_mostly_wait_and_queue_for_the_lock_are_a_convoy() {
    let worker = Worker { gil_ns: 4 * S, wait_ns: 4 * S, to: 9 * S, ..computes(S / 10) };
    let it = judge(Class::IoBound, 9 * S, 2.0, vec![python(1.0, vec![worker; 4])]);
    assert_eq!(ids(&it), ["lock-convoy"]);
}

#[test]
fn a_crowd_of_threads_that_used_the_lock_up_needs_another() {
    let worker = Worker { gil_ns: S / 2, wait_ns: 9 * S, to: 10 * S, ..computes(S / 20) };
    let process = python(1.0, vec![worker; 200]);
    let verdict = Verdict { cause: "gil".into(), ..verdict(Class::CpuBound) };
    let shares = shares(&[(State::IoIpc, 0.99), (State::CpuUser, 0.01)]);
    let it = prescription(&facts(&verdict, &shares, 10 * S, 2.0, vec![process]));
    assert_eq!((it.model.as_str(), ids(&it)), ("multiprocessing", vec!["threads-on-cpu"]));
}

#[test]
fn a_crowd_that_queues_for_the_lock_overlaps_its_waits_in_several_processes_too() {
    let worker = Worker { gil_ns: 6 * S, wait_ns: 3 * S, to: 10 * S, ..computes(S / 20) };
    let process = python(1.0, vec![worker; 200]);
    let it = judge(Class::CpuBound, 10 * S, 2.0, vec![process]);
    assert_eq!((it.model.as_str(), ids(&it)), ("multiprocessing", vec!["threads-on-cpu"]));
    let [low, high] = speedup(&it);
    assert!(low > 1.2 && (1.9..2.2).contains(&high), "{low} {high}");
}

#[test]
fn threads_that_overlap_their_waits_are_kept() {
    let it = judge(Class::IoBound, S, 2.0, vec![python(1.0, vec![waits(1, S, MS); 5])]);
    assert_eq!((it.model.as_str(), ids(&it)), ("keep", vec![]));
}

#[test]
fn a_thread_for_each_of_thousands_of_connections_is_too_many() {
    let it = judge(Class::IoBound, S, 2.0, vec![python(1.0, vec![waits(9, S / 10, MS); 2000])]);
    assert_eq!(it.model, "asyncio");
}

#[test]
fn processes_that_wait_are_threads_for_less() {
    let it = judge(Class::IoBound, 5 * S, 2.0, vec![python(1.0, vec![waits(5, S, MS)]); 8]);
    assert_eq!((it.model.as_str(), ids(&it)), ("threads", vec!["processes-on-io"]));
    assert!(it.antipatterns[0].evidence.contains("80 MB"), "{:?}", it.antipatterns);
    let [low, high] = speedup(&it);
    assert!(low < 1.0 && (0.99..1.1).contains(&high), "no slower: {low} {high}");
}

#[test]
fn processes_that_compute_are_kept() {
    let it = judge(Class::CpuBound, 5 * S, 2.0, vec![python(1.0, vec![computes(5 * S)]); 2]);
    assert_eq!((it.model.as_str(), ids(&it)), ("keep", vec![]));
}

fn looped(cpu_ns: u64, blocked: Option<Worker>) -> Worker {
    let blocks = blocked.and_then(|worker| worker.repeats);
    let blocked_ns = blocks.as_ref().map_or(0, |repeats| repeats.total_ns);
    let computes = Some("handle (a.py:3)".to_owned());
    let at_once = blocks.as_ref().map(|repeats| repeats.count);
    let event_loop = Some(EventLoop { cpu_ns, blocked_ns, computes, blocks, at_once });
    Worker { cpu_ns, wait_ns: blocked_ns, to: 10 * S, event_loop, ..Worker::default() }
}

#[test]
fn a_loop_that_computes_wants_processes() {
    let it = judge(Class::CpuBound, 10 * S, 2.0, vec![python(1.0, vec![looped(9 * S, None)])]);
    assert_eq!((it.model.as_str(), ids(&it)), ("multiprocessing", vec!["cpu-in-event-loop"]));
    assert!(it.antipatterns[0].evidence.contains("handle (a.py:3)"));
}

#[test]
fn a_loop_that_blocks_should_await() {
    let worker = looped(MS, Some(waits(10, S / 2, 0)));
    let it = judge(Class::IoBound, 10 * S, 2.0, vec![python(1.0, vec![worker])]);
    assert_eq!((it.model.as_str(), ids(&it)), ("asyncio", vec!["blocking-call-in-event-loop"]));
    let [low, high] = speedup(&it);
    assert!(low > 1.5 && high <= 2.01, "{low} {high}");
}

#[test]
fn nothing_is_promised_of_calls_of_which_nobody_knows_how_many_could_wait_at_a_time() {
    for at_once in [None, Some(1)] {
        let mut worker = looped(MS, Some(waits(10, S / 2, 0)));
        worker.event_loop.as_mut().unwrap().at_once = at_once;
        let it = judge(Class::IoBound, 10 * S, 2.0, vec![python(1.0, vec![worker])]);
        assert_eq!((it.model.as_str(), &it.predicted), ("asyncio", &None));
    }
}

#[test]
fn the_longest_wait_is_no_shorter_for_being_shared() {
    let mut blocked = waits(36, S / 12, 0);
    blocked.repeats.as_mut().unwrap().longest_ns = 5 * S / 24;
    let it = judge(Class::IoBound, 3 * S, 2.0, vec![python(1.0, vec![looped(MS, Some(blocked))])]);
    let [low, high] = speedup(&it);
    assert!(low < high && high < 15.0, "three seconds, and no less than 0.2: {low} {high}");
}

#[test]
fn a_loop_that_is_free_is_kept() {
    let it = judge(Class::IoBound, 10 * S, 2.0, vec![python(1.0, vec![looped(S / 10, None)])]);
    assert_eq!((it.model.as_str(), ids(&it)), ("keep", vec![]));
}

#[test]
fn too_little_to_go_by_is_said() {
    let few = judge(Class::IoBound, 5 * S, 2.0, vec![python(1.0, vec![waits(2, 2 * S, MS)])]);
    assert_eq!(few.model, "unknown");
    assert!(few.because[0].starts_with("not enough evidence"), "{:?}", few.because);
    let short = judge(Class::CpuBound, 50 * MS, 2.0, vec![python(1.0, vec![computes(50 * MS)])]);
    assert_eq!(short.model, "unknown");
}

#[test]
fn idle_programs_are_left_alone() {
    let python = judge(Class::Idle, 5 * S, 2.0, vec![python(1.0, vec![computes(MS)])]);
    let other = judge(Class::Idle, 5 * S, 2.0, vec![native(vec![computes(MS)])]);
    assert_eq!((python.model.as_str(), other.model.as_str()), ("keep", "keep"));
}

#[test]
fn a_stopped_program_is_to_go_on_and_does_not_wait_for_work() {
    let stopped = Verdict { cause: "stopped".to_owned(), ..verdict(Class::Idle) };
    let shares = shares(&[(State::Stopped, 1.0)]);
    for process in [python(1.0, vec![computes(MS)]), native(vec![computes(MS)])] {
        let it = prescription(&facts(&stopped, &shares, 5 * S, 2.0, vec![process]));
        assert_eq!(it.model, "resume");
        assert!(it.because[0].contains("SIGCONT"), "{:?}", it.because);
    }
}

#[test]
fn processes_that_wait_for_one_lock_are_told_to_shorten_it() {
    let verdict = Verdict { cause: "kernel".to_owned(), ..verdict(Class::LockBound) };
    let shares = shares(&[(State::LockKernel, 0.9), (State::CpuUser, 0.1)]);
    let worker = || Worker { lock_ns: 4 * S, cpu_ns: S / 2, ..computes(0) };
    for count in [1, 4] {
        let processes = (0..count).map(|_| python(1.0, vec![worker()])).collect();
        let it = prescription(&facts(&verdict, &shares, 5 * S, 2.0, processes));
        assert_eq!(it.model, "shorten-lock", "{count} processes");
    }
}

#[test]
fn reads_of_files_have_no_asynchronous_form() {
    let worker = Worker { disk_ns: 4 * S, ..waits(4000, MS, S / 10) };
    let it = judge(Class::IoBound, 4100 * MS, 2.0, vec![python(1.0, vec![worker])]);
    let asyncio = it.rejected.iter().find(|it| it.model == "asyncio").unwrap();
    assert_eq!(asyncio.why, "files have no asynchronous form");
    // The disk may be busy enough with one.
    assert!(it.predicted.is_none_or(|it| it.speedup[0] <= 1.0));
}

#[test]
fn many_small_pieces_cost_more_to_hand_over_than_processes_gain() {
    let worker = Worker { disk_ns: 1100 * MS, ..waits(10_000, 110_000, 700 * MS) };
    let it = judge(Class::IoBound, 1860 * MS, 2.0, vec![python(0.4, vec![worker])]);
    assert_eq!(it.model, "threads");
    let processes = it.rejected.iter().find(|it| it.model == "multiprocessing").unwrap();
    assert!(processes.why.starts_with("0."), "slower at least: {}", processes.why);
}

#[test]
fn requests_side_by_side_compute_less_than_each_after_a_wait() {
    // Measured: 2,000 requests took 47 s one after another, 0.5 s in asyncio, and as much
    // CPU time there as in 1,000 threads.
    let worker = waits(2000, 23 * MS, 600 * MS);
    let it = judge(Class::IoBound, 46_700 * MS, 2.0, vec![python(0.5, vec![worker])]);
    let [low, high] = speedup(&it);
    assert!(it.model == "threads" && low < 90.0 && high > 90.0, "{} {low} {high}", it.model);
}

#[test]
fn other_programs_divide_or_shorten_the_hot_function() {
    let free = judge(Class::CpuBound, 10 * S, 4.0, vec![native(vec![computes(10 * S)])]);
    assert_eq!(free.model, "parallelise");
    assert!(free.because[0].starts_with("f (a.c:1) computes 60 %"), "{:?}", free.because);
    let [low, high] = speedup(&free);
    assert!((2.4..2.6).contains(&low) && (3.9..=4.0).contains(&high), "Amdahl: {low} {high}");
    let busy = judge(Class::CpuBound, 10 * S, 2.0, vec![native(vec![computes(10 * S); 2])]);
    assert_eq!((busy.model.as_str(), names(&busy)), ("optimise", vec!["parallelise"]));
    let [low, high] = speedup(&busy);
    assert!(low == 1.0 && (2.4..2.6).contains(&high), "{low} {high}");
}

#[test]
fn other_programs_overlap_their_waits() {
    let it = judge(Class::IoBound, 10 * S, 2.0, vec![native(vec![waits(9, S, S)])]);
    assert_eq!((it.model.as_str(), ids(&it)), ("overlap", vec!["sequential-waits"]));
    assert_eq!(it.predicted.unwrap().workers, 5, "a second of waiting and one of computing");
    let short = judge(Class::IoBound, 2 * S, 2.0, vec![native(vec![waits(750, 2 * MS, S / 2)])]);
    assert_eq!(short.predicted.unwrap().workers, 4, "more would wait for the CPU");
    let many = judge(Class::IoBound, 10 * S, 2.0, vec![native(vec![waits(9, S, S); 3])]);
    assert_eq!(many.model, "keep");
}

#[test]
fn a_lock_of_the_program_is_named() {
    let worker = Worker { lock_ns: 9 * S, ..computes(S) };
    for process in [native(vec![worker.clone(); 4]), python(1.0, vec![worker; 4])] {
        let it = judge(Class::LockBound, 10 * S, 4.0, vec![process]);
        assert_eq!((it.model.as_str(), ids(&it)), ("shorten-lock", vec!["lock-convoy"]));
        assert!(it.because[0].contains("futex, g (a.c:2)"), "{:?}", it.because);
    }
}

#[test]
fn the_starved_want_cpus_or_a_higher_quota() {
    for (state, model) in
        [(State::RunqThrottled, "raise-quota"), (State::RunqPreempted, "more-cpus")]
    {
        let shares = shares(&[(state, 0.5), (State::CpuUser, 0.5)]);
        let verdict = verdict(Class::CpuStarved);
        let processes = vec![python(1.0, vec![computes(5 * S)])];
        let it = prescription(&facts(&verdict, &shares, 10 * S, 0.5, processes));
        assert_eq!(it.model, model);
        assert_eq!(speedup(&it), [1.0, 2.0]);
        let file = it.because[0].ends_with(" was used up (/sys/fs/cgroup/a/cpu.max)");
        assert_eq!(file, model == "raise-quota", "{:?}", it.because);
    }
}

#[test]
fn without_a_quota_it_is_no_faster_than_its_cpus() {
    // A quarter of two CPUs is used, and all of both may be.
    let shares = shares(&[(State::RunqThrottled, 0.95), (State::CpuUser, 0.05)]);
    let verdict = verdict(Class::CpuStarved);
    let processes = vec![python(1.0, vec![computes(S)]); 4];
    let it = prescription(&facts(&verdict, &shares, 8 * S, 1.0, processes));
    assert_eq!((it.model.as_str(), speedup(&it)), ("raise-quota", [1.0, 4.0]));
}
