//! Engines that hear of no wakeup.

use whyslow_events::Capabilities;

use super::*;

const OTHER: Tid = Tid(101);
const OTHER_CPU: Cpu = Cpu(1);

/// As [`play`], of an engine that sees switches and no wakeups.
fn unheard(events: &[(u64, Event)]) -> Analysis {
    let capabilities = Capabilities { exact_switches: true, ..Capabilities::default() };
    play_with(whyslow_events::Header { capabilities, ..header(2) }, events)
}

fn delay(ms: u64) -> Event {
    Event::RunDelay { tid: TID, delay_ns: ms * MS }
}

#[test]
fn the_kernel_s_time_in_the_queue_is_taken_from_the_waits_and_not_twice() {
    let analysis = unheard(&[
        (0, thread(Entrance::Born)),
        (1, switch_in()),
        (2, switch_out(blocked('s'))),
        (10, switch_in()),
        (11, switch_out(Off::Preempted)),
        (14, switch_in()),
        (15, switch_out(blocked('s'))),
        (16, switch_in()),
        // One to begin with, three preempted, four in the waits: three and one.
        (17, delay(8)),
        (18, switch_out(Off::Dead)),
        (18, end()),
    ]);
    let expected = "cpu.user 5, runq.preempted 3, runq.waking 5, sleep 5".replace(',', "");
    let found = states(&analysis);
    assert_eq!(found.replace(',', ""), expected);
}

#[test]
fn a_wait_is_for_the_thread_that_ran_when_it_ended() {
    let other = |event: fn(Tid) -> Event| event(OTHER);
    let enter = |tid: Tid| Event::Thread {
        tid,
        pid: Pid(100),
        name: "other".to_owned(),
        entrance: Entrance::Born,
    };
    let run = |tid: Tid| Event::SwitchIn { tid, cpu: OTHER_CPU };
    let locked = |tid: Tid| Event::SwitchOut {
        tid,
        cpu: OTHER_CPU,
        off: Off::Blocked { site: Some(SiteId('q'.into())), uninterruptible: false },
        stack: None,
    };
    // Two threads that wait on the same futex, each until the other has run.
    let contended = unheard(&[
        (0, thread(Entrance::Born)),
        (0, other(enter)),
        (0, switch_in()),
        (0, other(run)),
        (1, switch_out(blocked('q'))),
        (5, switch_in()),
        (5, other(locked)),
        (9, other(run)),
        (9, switch_out(blocked('q'))),
        (13, switch_in()),
        (14, end()),
    ]);
    assert!(states(&contended).contains("lock.user"), "{}", states(&contended));
    // The same futex, and nobody of ours can have ended the waits.
    let handed_over = unheard(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('q'))),
        (5, switch_in()),
        (6, end()),
    ]);
    assert!(states(&handed_over).contains("sync.thread"), "{}", states(&handed_over));
}
