//! What holds for every stream of events, however damaged.

use proptest::collection::vec;
use proptest::prelude::*;
use whyslow_events::{
    Cpu, CpuSet, Entrance, Event, InMemory, Ns, Off, Pid, Seen, SiteId, StackId, Tid, Wakener,
};

use crate::analyze::analyze_segments;
use crate::report::{Functions, Spent};
use crate::script::{MS, START, Script, header};
use crate::{Analysis, Column, Detail, Order, State, View, analyze_in};

/// Thread time, by state, of the whole ledger.
fn ledger(analysis: &Analysis, state: State) -> u64 {
    analysis.report.ledger.process.get(state.key()).copied().unwrap_or_default()
}

fn holds(events: Vec<(u64, Event)>) -> Result<(), TestCaseError> {
    let functions = Order { by: Column::default(), limit: 2 };
    let detail = Detail { functions, ..Detail::default() };
    let analysis = analyze_in(&mut InMemory::new(header(2), events), detail);
    let report = &analysis.report;
    for thread in &report.ledger.threads {
        let sum: u64 = thread.states.values().sum();
        prop_assert_eq!(sum, thread.lifetime_ns, "{:?}", thread);
        prop_assert!(thread.lifetime_ns <= report.window.duration_ns);
    }
    let shares: f64 = report.bottleneck.shares.values().sum();
    prop_assert!((shares - 1.0).abs() < 1e-6, "{} {:?}", shares, report.bottleneck);
    let wall = analysis.stacks.folded(View::Wall);
    for state in State::ALL.iter().filter(|state| **state != State::Idle) {
        let of_state = wall.iter().filter(|folded| folded.state == *state);
        let folded: u64 = of_state.map(|folded| folded.weight_ns).sum();
        prop_assert_eq!(folded, ledger(&analysis, *state), "{:?}", state);
    }
    let idle = report.bottleneck.shares.get("idle").copied().unwrap_or_default();
    let held_up = report.window.duration_ns as f64 * (1.0 - idle);
    let bottleneck = analysis.stacks.folded(View::Bottleneck);
    let folded: u64 = bottleneck.iter().map(|folded| folded.weight_ns).sum();
    // Each weight is rounded to a whole number.
    prop_assert!((folded as f64 - held_up).abs() <= bottleneck.len() as f64 + 1.0);
    let waited: u64 = report.waits.iter().map(|wait| wait.total_ns).sum();
    let off_cpu = ["cpu.user", "cpu.kernel", "runq.preempted", "runq.waking", "stopped"];
    let all: u64 = report.ledger.process.values().sum();
    let ran: u64 = off_cpu.iter().filter_map(|key| report.ledger.process.get(*key)).sum();
    prop_assert!(waited <= all - ran);
    let Functions { rows, others, without_stack, total, .. } = &report.functions;
    let mut sum = rows.iter().fold(others.alone, |sum, row| sum + row.alone);
    sum = sum + *without_stack;
    prop_assert_eq!(sum, *total);
    prop_assert_eq!(sum.total_ns, all - ledger(&analysis, State::Idle));
    let Spent { total_ns, cpu_ns, gil_ns, io_ns, lock_ns, runq_ns, other_ns } = sum;
    prop_assert_eq!(total_ns, cpu_ns + gil_ns + io_ns + lock_ns + runq_ns + other_ns);
    prop_assert_eq!(gil_ns, ledger(&analysis, State::LockGil));
    for row in rows {
        prop_assert!(row.alone.total_ns <= row.total.total_ns);
        prop_assert!(row.total.total_ns <= total_ns);
    }
    Ok(())
}

fn tid() -> impl Strategy<Value = Tid> {
    (99u32..104).prop_map(Tid)
}

fn off() -> impl Strategy<Value = Off> {
    let site = prop::option::of(prop::sample::select("sdnalqgpcm".chars().collect::<Vec<_>>()));
    prop_oneof![
        2 => Just(Off::Preempted),
        5 => site.prop_map(|site| Off::Blocked {
            site: site.map(|letter| SiteId(letter.into())),
            uninterruptible: false,
        }),
        1 => Just(Off::Stopped),
        1 => Just(Off::Dead),
    ]
}

fn stack() -> impl Strategy<Value = Option<StackId>> {
    prop::option::of(prop::sample::select("#Ks".chars().collect::<Vec<_>>()))
        .prop_map(|letter| letter.map(|letter| StackId(letter.into())))
}

/// Sense and nonsense.
fn tally() -> impl Strategy<Value = Event> {
    let ns = || prop_oneof![4 => 0..100 * MS, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let told = (tid(), prop::option::of(off()), 0u64..3, ns(), ns());
    told.prop_map(|(tid, off, times, off_ns, queued_ns)| Event::Tally {
        tid,
        off,
        times,
        off_ns,
        queued_ns,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let cpu = || (0u32..4).prop_map(Cpu);
    let entrance = prop_oneof![
        Just(Entrance::Born),
        Just(Entrance::Found(Seen::Runnable)),
        off().prop_map(|off| Entrance::Found(Seen::Off(off))),
    ];
    let by = prop_oneof![
        tid().prop_map(Wakener::Thread),
        Just(Wakener::Foreign),
        Just(Wakener::Interrupt)
    ];
    prop_oneof![
        2 => (tid(), entrance).prop_map(|(tid, entrance)| {
            let pid = Pid(100 + tid.0 % 2);
            Event::Thread { tid, pid, name: "thread".to_owned(), entrance }
        }),
        6 => (tid(), cpu()).prop_map(|(tid, cpu)| Event::SwitchIn { tid, cpu }),
        6 => (tid(), cpu(), off(), stack())
            .prop_map(|(tid, cpu, off, stack)| Event::SwitchOut { tid, cpu, off, stack }),
        4 => (tid(), by).prop_map(|(tid, by)| Event::Wakeup { tid, by }),
        3 => (tid(), cpu(), any::<bool>(), stack())
            .prop_map(|(tid, cpu, kernel, stack)| Event::Sample { tid, cpu, kernel, stack }),
        1 => tid().prop_map(|tid| Event::Look { tid, site: SiteId('n'.into()), stack: None }),
        1 => tid().prop_map(|tid| Event::Exit { tid }),
        1 => prop_oneof![Just(Event::Paused), Just(Event::Resumed), Just(Event::Tallied)],
        2 => tally(),
        1 => (tid(), stack()).prop_map(|(tid, stack)| Event::TalliedIn {
            tid,
            site: SiteId('n'.into()),
            stack: stack.unwrap_or(StackId(7)),
        }),
        1 => (tid(), 0..300 * MS)
            .prop_map(|(tid, delay_ns)| Event::RunDelay { tid, delay_ns }),
        2 => (cpu(), any::<bool>()).prop_map(|(cpu, busy)| Event::Occupant { cpu, busy }),
        1 => (cpu(), 0..200 * MS)
            .prop_map(|(cpu, since)| Event::Lost { cpu, since: Ns(START + since), records: 1 }),
        1 => (tid(), 0u64..4).prop_map(|(tid, mask)| {
            Event::Affinity { tid, cpus: CpuSet(vec![mask]) }
        }),
        1 => (100u32..102, 0u64..1000).prop_map(|(pid, throttled_ns)| {
            Event::Quota { pid: Pid(pid), per_second_ns: 1, periods: 0, throttled_ns }
        }),
        3 => (prop::option::of(tid()), 0..200 * MS)
            .prop_map(|(tid, cpu_ns)| Event::KernelCpu { tid, cpu_ns }),
        1 => (tid(), any::<u64>())
            .prop_map(|(tid, cpu_ns)| Event::KernelCpu { tid: Some(tid), cpu_ns }),
    ]
}

fn definitions() -> Vec<(u64, Event)> {
    let mut events = Script::new(2).thread("main", "#").events();
    events.retain(|(_, event)| {
        matches!(event, Event::Process { .. } | Event::Stack { .. } | Event::Site { .. })
    });
    events
}

/// An honest timeline: rows of what threads do.
pub(super) fn script() -> impl Strategy<Value = Script> {
    let doing = || prop::sample::select("ssdnalqgpcmTr?##K".chars().collect::<Vec<_>>());
    let rows = (1usize..40).prop_flat_map(move |columns| vec(vec(doing(), columns), 1..4));
    rows.prop_map(|rows| {
        rows.into_iter().enumerate().fold(Script::new(4), |script, (index, row)| {
            script.thread(&format!("thread-{index}"), &row.into_iter().collect::<String>())
        })
    })
}

/// What a kernel may say at times of a script: growing counts.
pub(super) fn counts() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let step = (0u32..4, 1..20 * MS, 0..20 * MS);
    vec(step, 0..20).prop_map(|steps| {
        let (mut time, mut cpu_ns) = (0, 0);
        let reading = |(tid, passed, ran)| {
            time += passed;
            cpu_ns += ran;
            let tid = (tid > 0).then_some(Tid(99 + tid));
            (time, Event::KernelCpu { tid, cpu_ns })
        };
        steps.into_iter().map(reading).collect()
    })
}

/// The script with those counts that were read before its end.
pub(super) fn counted(script: Script, mut counts: Vec<(u64, Event)>) -> Script {
    let end = script.run().report.window.duration_ns;
    counts.retain(|(time, _)| *time <= end);
    counts.into_iter().fold(script, |script, (time, event)| script.at(time, event))
}

/// What can happen to a record on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    Twice,
    /// Told after the next `usize` others.
    Late(usize),
    /// With a time this much too early.
    Early(u64),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        12 => Just(Fate::Kept),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => (1usize..6).prop_map(Fate::Late),
        1 => (0..3 * MS).prop_map(Fate::Early),
    ];
    vec(fate, 64)
}

fn damaged(events: Vec<(u64, Event)>, fates: &[Fate]) -> Vec<(u64, Event)> {
    let mut placed: Vec<(usize, (u64, Event))> = Vec::new();
    for ((place, event), fate) in events.into_iter().enumerate().zip(fates.iter().cycle()) {
        match fate {
            Fate::Kept => placed.push((place, event)),
            Fate::Lost => {}
            Fate::Twice => placed.extend([(place, event.clone()), (place, event)]),
            Fate::Late(by) => placed.push((place + by, event)),
            Fate::Early(by) => placed.push((place, (event.0.saturating_sub(*by), event.1))),
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, event)| event).collect()
}

proptest! {
    #[test]
    fn any_events_at_all(told in vec((0..200 * MS, event()), 0..120)) {
        let mut events = definitions();
        events.extend(told.into_iter().map(|(time, event)| (START + time, event)));
        holds(events)?;
    }

    #[test]
    fn any_events_in_order(mut told in vec((0..200 * MS, event()), 0..120)) {
        told.sort_by_key(|(time, _)| *time);
        let mut events = definitions();
        events.extend(told.into_iter().map(|(time, event)| (START + time, event)));
        events.push((START + 200 * MS, Event::End { exit: None }));
        holds(events)?;
    }

    #[test]
    fn any_events_in_segments(
        mut told in vec((0..200 * MS, event()), 0..120),
        segment in 1usize..40,
    ) {
        told.sort_by_key(|(time, _)| *time);
        let mut events = definitions();
        events.extend(told.into_iter().map(|(time, event)| (START + time, event)));
        let mut source = InMemory::new(header(2), events);
        let analysis = analyze_segments(&mut source, Detail::default(), segment);
        for thread in &analysis.report.ledger.threads {
            let sum: u64 = thread.states.values().sum();
            prop_assert_eq!(sum, thread.lifetime_ns, "{:?}", thread);
        }
    }

    #[test]
    fn honest_timelines_hide_nothing(script in script()) {
        let analysis = script.run();
        prop_assert_eq!(analysis.anomalies, crate::Anomalies::default());
        let unseen = script.drawn('?') as u64 * MS;
        prop_assert_eq!(analysis.report.quality.unknown_ns, unseen);
        let ran = (script.drawn('#') + script.drawn('K')) as u64 * MS;
        let cpu = ledger(&analysis, State::CpuUser) + ledger(&analysis, State::CpuKernel);
        prop_assert_eq!(cpu, ran);
        holds(script.events())?;
    }

    #[test]
    fn corrected_timelines(script in script(), counts in counts()) {
        let plain = script.run();
        let script = counted(script, counts);
        let corrected = script.run();
        let stolen = corrected.report.quality.stolen_ns;
        let cpu = |analysis| ledger(analysis, State::CpuUser) + ledger(analysis, State::CpuKernel);
        prop_assert!(cpu(&corrected) + stolen >= cpu(&plain));
        let preempted = |analysis| ledger(analysis, State::RunqPreempted);
        prop_assert!(preempted(&corrected) >= stolen);
        prop_assert!(preempted(&corrected) <= preempted(&plain) + stolen);
        holds(script.events())?;
    }

    #[test]
    fn damaged_timelines(script in script(), counts in counts(), fates in fates()) {
        holds(damaged(counted(script, counts).events(), &fates))?;
    }
}
