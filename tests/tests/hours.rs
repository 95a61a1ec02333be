//! Long recordings: what is kept of them does not grow with their length.

use std::{fs, fs::File, io::BufWriter};

use serde_json::Value;
use whyslow_events::{
    Capabilities, Cpu, EngineName, Entrance, Entry, Event, Header, Mode, Ns, Object, Off, Pid,
    Seen, Site, SiteId, SpaceId, SystemFacts, Target, Tid, Timed, Wakener, recording::Writer,
};

use crate::{
    case::Case,
    process::{Process, until},
    report::sound,
};

/// Hand-overs in the shorter recording, three events each: more than what is kept in
/// detail at once, and than twice that.
const SHORT: u64 = 1_500_000;
/// How much longer the other one is.
const TIMES: u64 = 2;
/// From one hand-over to the next, ns.
const TURN: u64 = 2_000;
const PARENT: Pid = Pid(10);
const THREADS: [Tid; 2] = [Tid(10), Tid(11)];

/// Two threads of one process hand a byte to and fro; one of them always runs.
fn record(case: &Case, name: &str, turns: u64) {
    let file = BufWriter::new(File::create(case.path(name)).unwrap());
    let mut writer = Writer::new(file, &header()).unwrap();
    let mut say = |time, event| writer.push(&Timed { time: Ns(time), event }).unwrap();
    let space = SpaceId(0);
    say(0, Event::Process { pid: PARENT, parent: None, space, name: "hand-over".into() });
    let entry = Entry::Syscall("read".into());
    say(
        0,
        Event::Site {
            id: SiteId(0),
            site: Site { pid: PARENT, entry, pc: 0, object: Object::Pipe(1) },
        },
    );
    let off = Off::Blocked { site: Some(SiteId(0)), uninterruptible: false };
    for (tid, seen) in THREADS.into_iter().zip([Seen::Runnable, Seen::Off(off)]) {
        let entrance = Entrance::Found(seen);
        say(0, Event::Thread { tid, pid: PARENT, name: "hand".into(), entrance });
    }
    let cpu = Cpu(0);
    say(0, Event::SwitchIn { tid: THREADS[0], cpu });
    for turn in 1..=turns {
        let [before, after] = if turn % 2 == 1 { THREADS } else { [THREADS[1], THREADS[0]] };
        let time = turn * TURN;
        say(time, Event::Wakeup { tid: after, by: Wakener::Thread(before) });
        say(time, Event::SwitchOut { tid: before, cpu, off, stack: None });
        say(time, Event::SwitchIn { tid: after, cpu });
    }
    say((turns + 1) * TURN, Event::End { exit: None });
    writer.finish().unwrap();
}

fn header() -> Header {
    Header {
        tool_version: "0".into(),
        host: "host".into(),
        kernel: "6.0".into(),
        boot_id: String::new(),
        arch: "x86_64".into(),
        facts: SystemFacts { page_size: 4096, clock_ticks: 100, cpus: 1 },
        engine: EngineName::Perf,
        capabilities: Capabilities { wakeups: true, ..Capabilities::default() },
        fallbacks: Vec::new(),
        frequency: 499,
        target: Target {
            mode: Mode::Attach,
            pids: vec![PARENT],
            command: vec!["hand-over".into()],
            name: "hand-over".into(),
        },
        start: Ns(0),
        start_unix_ns: 0,
    }
}

/// The report, and what memory it took at most, KiB.
fn report(case: &Case, name: &str) -> (Value, u64) {
    let output = format!("{name}.json");
    let mut reporter: Process = case.start(&["report", "-q", "-o", &output, name]);
    let status = format!("/proc/{}/status", reporter.pid());
    let mut peak = 0;
    until("the report", || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        reporter.has_ended().then_some(())
    });
    reporter.finish().ended_with(0);
    (sound(case.json(&output)), peak)
}

/// All of the time is accounted for, and every wait.
fn is_exact(report: &Value, turns: u64) {
    let wall = (turns + 1) * TURN;
    let process = &report["ledger"]["process"];
    assert_eq!(process["cpu.user"], wall, "{process}");
    assert_eq!(process["io.ipc"], wall, "{process}");
    let waits = report["waits"].as_array().unwrap();
    assert_eq!(waits.len(), 1, "{waits:?}");
    // The last one lasts to the end.
    assert_eq!(waits[0]["count"], turns + 1);
    assert_eq!(waits[0]["total_ns"], wall);
    assert_eq!(waits[0]["max_ns"], TURN);
    let median = waits[0]["p50_ns"].as_u64().unwrap();
    assert!(median.abs_diff(TURN) * 100 <= TURN, "{median}");
    assert_eq!(report["bottleneck"]["shares"]["cpu.user"], 1.0);
    let from = report["quality"]["recent_from_ns"].as_u64().unwrap();
    assert!(from > 0 && from < wall, "{from}");
}

#[test]
fn a_report_on_a_longer_recording_takes_no_more_memory() {
    let case = Case::new();
    let peaks = [SHORT, SHORT * TIMES].map(|turns| {
        record(&case, "r.whyslow", turns);
        let (report, peak) = report(&case, "r.whyslow");
        is_exact(&report, turns);
        fs::remove_file(case.path("r.whyslow.json")).unwrap();
        assert!(peak > 0);
        peak
    });
    println!("{peaks:?} KiB");
    assert!(peaks[1] as f64 <= peaks[0] as f64 * 1.3, "{peaks:?} KiB");
}
