//! Round trips, and files that are cut, bent, newer, or not recordings.

use proptest::prelude::*;

use super::*;
use crate::{
    Capabilities, Cpu, EngineName, Mode, Off, Pid, SiteId, SystemFacts, Target, Tid, Wakener,
};

fn header() -> Header {
    Header {
        tool_version: "0".into(),
        host: "h".into(),
        kernel: "6".into(),
        boot_id: "boot".into(),
        arch: "x86_64".into(),
        facts: SystemFacts { page_size: 4096, clock_ticks: 100, cpus: 2 },
        engine: EngineName::Perf,
        capabilities: Capabilities::default(),
        fallbacks: vec![],
        frequency: 499,
        target: Target {
            mode: Mode::Launch,
            pids: vec![Pid(7)],
            command: vec!["true".into()],
            name: "true".into(),
        },
        start: Ns(1),
        start_unix_ns: 2,
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u32..9, 0u32..4).prop_map(|(t, c)| Event::SwitchIn { tid: Tid(t), cpu: Cpu(c) }),
        (0u32..9, 0u32..4, any::<bool>()).prop_map(|(t, c, d)| Event::SwitchOut {
            tid: Tid(t),
            cpu: Cpu(c),
            off: Off::Blocked { site: Some(SiteId(t)), uninterruptible: d },
            stack: None,
        }),
        (0u32..9).prop_map(|t| Event::Wakeup { tid: Tid(t), by: Wakener::Interrupt }),
        ".{0,20}".prop_map(|name| Event::Name { tid: Tid(1), name }),
    ]
}

fn written(events: &[Timed]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for event in events {
        writer.push(event).unwrap();
    }
    writer.finish().unwrap()
}

/// All events up to the first error, and that error.
fn read(bytes: &[u8]) -> (Vec<Timed>, Option<ReadError>) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (vec![], Some(error)),
    };
    let mut events = vec![];
    loop {
        match reader.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(SourceError::Recording(error)) => return (events, Some(error)),
        }
    }
}

fn timed() -> impl Strategy<Value = Vec<Timed>> {
    prop::collection::vec((any::<u64>(), event()), 0..200).prop_map(|events| {
        events.into_iter().map(|(time, event)| Timed { time: Ns(time), event }).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(events in timed()) {
        let (back, error) = read(&written(&events));
        prop_assert!(error.is_none());
        prop_assert_eq!(back, events);
    }

    #[test]
    fn a_cut_recording_gives_a_prefix_and_says_so(events in timed(), cut in any::<prop::sample::Index>()) {
        let bytes = written(&events);
        let (back, error) = read(&bytes[..cut.index(bytes.len())]);
        prop_assert!(error.is_some());
        prop_assert!(events.starts_with(&back));
    }

    #[test]
    fn a_bent_byte_never_panics_or_invents_events(
        events in timed(), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut bytes = written(&events);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (back, _) = read(&bytes);
        prop_assert!(events.starts_with(&back));
    }
}

#[test]
fn events_that_were_flushed_survive_a_killed_recorder() {
    let events: Vec<Timed> = (0..10)
        .map(|t| Timed { time: Ns(t), event: Event::SwitchIn { tid: Tid(1), cpu: Cpu(0) } })
        .collect();
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for event in &events {
        writer.push(event).unwrap();
    }
    writer.flush().unwrap();
    let bytes = std::mem::take(&mut writer.out);
    let (back, error) = read(&bytes);
    assert_eq!(back, events);
    assert!(matches!(error, Some(ReadError::Truncated)), "{error:?}");
}

#[test]
fn a_foreign_file_and_another_version_are_named() {
    assert!(matches!(read(b"\x7fELF").1, Some(ReadError::NotOurs)));
    assert!(matches!(read(b"").1, Some(ReadError::NotOurs)));
    let of_version = |version: u16| {
        let mut bytes = written(&[]);
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        bytes
    };
    assert!(matches!(read(&of_version(VERSION + 1)).1, Some(ReadError::Newer { .. })));
    assert!(matches!(read(&of_version(VERSION - 1)).1, Some(ReadError::Older { .. })));
}

#[test]
fn a_lying_length_allocates_nothing() {
    let mut bytes = written(&[]);
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&(CHUNK_LIMIT as u32).to_le_bytes());
    assert!(matches!(read(&bytes).1, Some(ReadError::Truncated)));
}
