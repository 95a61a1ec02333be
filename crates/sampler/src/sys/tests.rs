//! Each call, with a process or an event of the test's own. `cargo xtask sanitize`
//! runs them under `AddressSanitizer`.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use perf_event_open::config::{Cpu, Opts, Priv, Proc, SampleOn};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;

use super::*;

/// Far longer than anything here takes.
const AT_MOST: Duration = Duration::from_secs(20);

/// The character of a process's state once it is one of `states`.
fn until_state(pid: u32, states: &str) -> char {
    let end = Instant::now() + AT_MOST;
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next().unwrap();
        if states.contains(state) {
            return state;
        }
        assert!(Instant::now() < end, "in state {state}, not in one of {states}");
        thread::yield_now();
    }
}

fn spinner() -> Child {
    let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    until_state(child.id(), "R");
    child
}

fn event(event: Software, cpu: u32, opts: &Opts) -> Counter {
    let exclude = Priv { kernel: true, hv: true, ..Priv::default() };
    let opts = Opts { exclude, ..opts.clone() };
    Counter::new(event, (Proc::CURRENT, Cpu(cpu)), &opts).unwrap()
}

/// Whether this host gives a process no events of its own; says so.
fn refuses_events() -> bool {
    let exclude = Priv { kernel: true, hv: true, ..Priv::default() };
    let opts = Opts { exclude, ..Opts::default() };
    let refusal = Counter::new(Software::Dummy, (Proc::CURRENT, Cpu(0)), &opts).err();
    if let Some(error) = &refusal {
        println!("SKIP {}: {error}", thread::current().name().unwrap_or("test"));
    }
    refusal.is_some()
}

/// Whether this host keeps no tables for us; says so.
fn refuses_tables() -> bool {
    let refusal = Cell::<1>::new().err().filter(|errno| *errno == Errno::EPERM);
    if let Some(errno) = refusal {
        println!("SKIP {}: {errno}", thread::current().name().unwrap_or("test"));
    }
    refusal.is_some()
}

#[test]
fn a_table_has_what_was_entered_until_it_is_taken_out() {
    if refuses_tables() {
        return;
    }
    let table = Table::<2, 3>::new(5000).unwrap();
    let entries: Vec<_> = (0..4000).map(|n| ([n, n + 1], [n, 2 * n, 3 * n])).collect();
    table.enter(&entries).unwrap();
    table.enter(&[]).unwrap();
    let sorted = |mut all: Vec<([u64; 2], [u64; 3])>| (all.sort_unstable(), all).1;
    assert_eq!(sorted(table.read().unwrap()), entries);
    assert_eq!(sorted(table.take().unwrap()), entries);
    assert_eq!(table.take().unwrap(), []);
    let many: Vec<_> = (0..6000).map(|n| ([n, 0], [n; 3])).collect();
    assert_eq!(table.enter(&many), Err(Errno::E2BIG));
    Cell::new().unwrap().set(&[1]).unwrap();
}

#[test]
fn a_child_waits_at_its_gate_until_it_may_go() {
    let mut command = Command::new("cat");
    command.stdin(Stdio::null());
    let gate = Gate::install(&mut command).unwrap();
    // Returns once the child has executed.
    let spawned = thread::spawn(move || command.spawn());
    let pid = gate.arrived().unwrap();
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(program(&pid.to_string()), program("self"));
    assert!(!spawned.is_finished());
    gate.open().unwrap();
    let mut child = spawned.join().unwrap().unwrap();
    assert_eq!(child.id(), pid);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_whose_gate_is_gone_does_not_execute() {
    let mut command = Command::new("true");
    let gate = Gate::install(&mut command).unwrap();
    let spawned = thread::spawn(move || command.spawn());
    gate.arrived().unwrap();
    drop(gate);
    let error = spawned.join().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ECANCELED as i32));
}

#[test]
fn a_thread_is_held_and_goes_on() {
    let mut child = spinner();
    let held = hold(child.id(), true).unwrap();
    assert_eq!(until_state(child.id(), "t"), 't');
    drop(held);
    until_state(child.id(), "R");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(hold(child.id(), true).unwrap_err(), Errno::ESRCH);
}

#[test]
fn who_is_killed_while_held_is_heard_of_by_its_parent() {
    let mut child = spinner();
    let held = hold(child.id(), true).unwrap();
    child.kill().unwrap();
    until_state(child.id(), "Z");
    drop(held);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_process_tells_of_its_end_by_a_descriptor() {
    let mut child = spinner();
    let fd = pidfd_open(child.id()).unwrap();
    let ended = |timeout: PollTimeout| {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap() == 1
    };
    assert!(!ended(PollTimeout::ZERO));
    child.kill().unwrap();
    assert!(ended(PollTimeout::try_from(AT_MOST).unwrap()));
    child.wait().unwrap();
    assert_eq!(pidfd_open(child.id()).unwrap_err(), Errno::ESRCH);
}

#[test]
fn events_of_one_cpu_share_a_ring() {
    if refuses_events() {
        return;
    }
    let opts = Opts::default();
    let holder = event(Software::Dummy, 0, &opts);
    let other = event(Software::Dummy, 0, &opts);
    assert_eq!(redirect(other.file(), holder.file()), Err(Errno::EINVAL), "there is no ring yet");
    let _ring = holder.sampler(1).unwrap();
    redirect(other.file(), holder.file()).unwrap();
    let no_event = fs::File::open("/dev/null").unwrap();
    assert!(redirect(&no_event, holder.file()).is_err());
}

#[test]
fn what_is_no_program_and_no_event_is_refused() {
    const TRACEPOINT: u32 = u32::MAX;
    let refusal = run_at(TRACEPOINT, &[0]).unwrap_err();
    assert!(matches!(refusal, Errno::EINVAL | Errno::EPERM), "{refusal}");
    match event_table(1) {
        Err(refusal) => println!("SKIP what_is_no_event: {refusal}"),
        Ok(table) => {
            let no_event = fs::File::open("/dev/null").unwrap();
            enter_event(table.as_fd(), 0, &no_event).unwrap_err();
            enter_event(table.as_fd(), 1, &no_event).unwrap_err();
        }
    }
}

#[test]
fn a_clock_gets_another_period_and_what_is_no_clock_does_not() {
    if refuses_events() {
        return;
    }
    let opts = Opts { sample_on: SampleOn::Freq(10), ..Opts::default() };
    let clock = event(Software::CpuClock, 0, &opts);
    set_period(clock.file(), 1_000_000).unwrap();
    let counter = event(Software::CpuClock, 0, &Opts::default());
    assert_eq!(set_period(counter.file(), 1_000_000), Err(Errno::EINVAL));
}
