//! What can be said of a session without the kernel.

use whyslow_events::{Mode, Ns, Target};

use super::*;

fn header() -> Header {
    Header {
        tool_version: String::new(),
        host: String::new(),
        kernel: String::new(),
        boot_id: String::new(),
        arch: String::new(),
        facts: system_facts(),
        engine: EngineName::Perf,
        capabilities: whyslow_events::Capabilities::default(),
        fallbacks: vec![],
        frequency: 1,
        target: Target { mode: Mode::Attach, pids: vec![], command: vec![], name: String::new() },
        start: Ns(0),
        start_unix_ns: 0,
    }
}

#[test]
fn what_is_missed_after_the_start_is_told_in_the_stream() {
    let mut header = header();
    let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
    let fallback = continuity_fallback();
    do_without(fallback.clone(), Some(&mut header), &mut tracker, 5);
    assert_eq!(tracker.take_events().count(), 0);
    do_without(fallback.clone(), None, &mut tracker, 7);
    let told = Timed { time: Ns(7), event: Event::Fallback(fallback.clone()) };
    assert_eq!(tracker.take_events().collect::<Vec<_>>(), [told]);
    assert_eq!(header.fallbacks, [fallback]);
}
