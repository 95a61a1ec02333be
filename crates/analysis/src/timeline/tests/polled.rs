//! Timelines of threads that were only looked at.

use proptest::prelude::*;
use whyslow_events::{Entrance, Event, Ns, Off, Pid, Polled, Seen, SiteId, Tid, Timed};

use super::super::{Builder, Doing, Thread, Timeline};
use crate::script::{MS, START, header};

const TID: Tid = Tid(7);

fn blocked(site: u32) -> Seen {
    Seen::Off(Off::Blocked { site: Some(SiteId(site)), uninterruptible: false })
}

/// A look every 10 ms: CPU and run-queue time in ms, switches, what was seen.
fn looks(looks: &[(u64, u64, u64, Seen)]) -> Timeline {
    looks_and(looks, 0)
}

/// The same, and the end of the window so many ms after the last look.
fn looks_and(looks: &[(u64, u64, u64, Seen)], more: u64) -> Timeline {
    let mut builder = Builder::new(&header(2));
    let mut push = |time, event| builder.event(&Timed { time: Ns(time), event });
    let entrance = Entrance::Found(blocked(0));
    push(START, Event::Thread { tid: TID, pid: Pid(7), name: "t".into(), entrance });
    let mut time = START;
    for &(cpu, runq, switches, seen) in looks {
        let since = Ns(time);
        time += 10 * MS;
        let (cpu_ns, runq_ns) = (cpu * MS, runq * MS);
        let polled =
            Polled { tid: TID, since, cpu_ns, kernel_ns: 0, runq_ns, switches, seen, stack: None };
        push(time, Event::Polled(polled));
    }
    push(time + more * MS, Event::End { exit: None });
    builder.finish()
}

/// Time on a CPU, in the queue, and at each site, in ms.
fn sums(thread: &Thread) -> (u64, u64, [u64; 2]) {
    let mut sums = (0, 0, [0; 2]);
    for (start, end, interval) in thread.spans() {
        let span = end - start;
        match interval.doing {
            Doing::OnCpu { .. } => sums.0 += span,
            Doing::Runq { .. } => sums.1 += span,
            Doing::Blocked(wait) => sums.2[wait.site.unwrap().0 as usize] += span,
            other => panic!("{other:?}"),
        }
    }
    (sums.0 / MS, sums.1 / MS, sums.2.map(|ns| ns / MS))
}

#[test]
fn a_thread_that_got_no_cpu_is_where_it_was() {
    let timeline = looks(&[(0, 0, 0, blocked(0)), (0, 0, 0, blocked(0)), (2, 1, 1, blocked(1))]);
    let thread = &timeline.threads[0];
    let (cpu, runq, [first, second]) = sums(thread);
    assert_eq!((cpu, runq), (2, 1));
    assert!(first >= 20 && first + second >= 26, "{first} {second}");
    assert_eq!((thread.sampling.looks, thread.sampling.moved), (3, 1));
}

#[test]
fn a_wait_that_one_look_saw_is_all_the_waiting_there_was() {
    let timeline = looks(&[(4, 0, 1, Seen::Runnable), (5, 0, 0, blocked(1))]);
    assert_eq!(sums(&timeline.threads[0]), (9, 0, [6, 5]));
}

#[test]
fn a_count_that_lags_is_made_up_for() {
    let run = Seen::Runnable;
    let timeline = looks(&[(10, 0, 1, run), (8, 0, 0, run), (12, 0, 0, run), (10, 0, 0, run)]);
    assert_eq!(sums(&timeline.threads[0]), (40, 0, [0, 0]));
}

#[test]
fn what_a_running_thread_does_after_the_last_look_is_no_counted_time() {
    let timeline = looks_and(&[(2, 0, 1, blocked(0)), (3, 0, 1, Seen::Runnable)], 5);
    let (cpu, runq, _) = sums(&timeline.threads[0]);
    assert_eq!((cpu, runq), (5, 5));
    assert_eq!(timeline.threads[0].lifetime(), 25 * MS);
}

proptest! {
    #[test]
    fn every_nanosecond_is_somewhere_and_the_kernels_counts_hold(
        parts in prop::collection::vec((0..=10_u64, 0..=10_u64, 0..3_u64, 0..3_usize), 1..50),
        more in 0..20_u64,
    ) {
        let seen = [blocked(0), blocked(1), Seen::Runnable];
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(cpu, runq, switches, doing)| (cpu, runq.min(10 - cpu), switches, seen[doing]))
            .collect();
        let timeline = looks_and(&parts, more);
        let thread = &timeline.threads[0];
        let starts: Vec<u64> = thread.intervals.iter().map(|it| it.start).collect();
        prop_assert!(starts.is_sorted());
        prop_assert_eq!(starts[0], START);
        prop_assert_eq!(thread.end, START + 10 * MS * parts.len() as u64 + more * MS);
        let counted: u64 = parts.iter().map(|(cpu, ..)| cpu * MS).sum();
        prop_assert_eq!(thread.on_cpu(&(thread.start..thread.end)), counted);
    }
}
