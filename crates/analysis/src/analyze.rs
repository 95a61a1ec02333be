//! The whole way from a source of events to the report.

use whyslow_events::{EventSource, Mode, ScriptReads};

use crate::account::Account;
use crate::bottleneck::Rule;
use crate::fold::{Stacks, fold};
use crate::frames::Frames;
use crate::functions::{Order, functions};
use crate::ledger::{self, PerState};
use crate::phases::Slices;
use crate::pieces::{Amount, Key};
use crate::report::{
    self, Bottleneck, Class, Exit, Overhead, Quality, Ratio, Report, Target, Verdict, Window,
};
use crate::segments::{Judged, SEGMENT, judged};
use crate::tables::Tables;
use crate::timeline::Timeline;
use crate::totals::Totals;
use crate::verdict::{Facts, Sharers, verdict};
use crate::{Group, State, coverage, event_loop, gil, halves, hot, prescription};

/// What a recording says.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The report.
    pub report: Report,
    /// The call chains.
    pub stacks: Stacks,
    /// What in the stream did not fit.
    pub anomalies: Anomalies,
}

/// Counts of what did not fit; the time concerned is in state `unknown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies {
    /// Events of threads that were not announced, or announced twice.
    pub strangers: u64,
    /// Events that cannot follow what came before.
    pub contradictions: u64,
    /// Waits whose system call and kernel frames disagree.
    pub disagreements: u64,
}

/// How the code is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// An interpreter's own frames stay beside the calls of its program.
    pub native: bool,
    /// The function table.
    pub functions: Order,
}

/// Reads `source` to its end, or to where it is damaged, and judges.
pub fn analyze(source: &mut dyn EventSource) -> Analysis {
    analyze_in(source, Detail::default())
}

/// The same, in such detail.
pub fn analyze_in(source: &mut dyn EventSource, detail: Detail) -> Analysis {
    analyze_segments(source, detail, SEGMENT)
}

/// The same, in segments of so many events.
pub(crate) fn analyze_segments(
    source: &mut dyn EventSource,
    detail: Detail,
    events: usize,
) -> Analysis {
    let Judged { mut tables, totals, recent, accounts, apart, disagreements, compared, damage } =
        judged(source, events);
    let rule = totals.rule();
    let Totals { roll, sums, waits, idle, locked, wanted, slices, stolen, .. } = totals;
    let pieces = sums.finish(&tables, &roll.threads);
    let pieces = halves::joined(&mut tables, pieces);
    let frames = Frames::new(&tables, detail.native);
    let by_thread = ledger::by_thread(&roll, &pieces);
    let threads = ledger::total(&by_thread);
    let shares = shares(&roll, &pieces, rule, idle);
    let waits = waits.rows(&tables, &frames);
    let verdict = judge(
        &roll,
        &by_thread,
        (locked, wanted.locks),
        (&shares, &threads, &waits),
        remedy(&tables),
    );
    let hot = hot::hot(&pieces, &frames);
    let context = Context { verdict: &verdict, waits: &waits, hot: &hot, shares: &shares };
    let detailed = match apart {
        None => detailed(&tables, (&recent, &accounts), &pieces, context, &frames),
        Some(apart) => detailed_apart(&tables, (&recent, &accounts), apart, context, &frames),
    };
    let report = Report {
        schema: report::SCHEMA.to_owned(),
        target: target(&tables, &roll),
        engine: engine(&tables),
        window: window(&tables, &roll),
        ratio: ratio(&shares),
        bottleneck: method(&shares),
        ledger: ledger::report(&roll, &by_thread),
        phases: phases(&slices, &verdict),
        verdict,
        hot,
        functions: functions(&pieces, &frames, detail.native, detail.functions),
        gil: detailed.gil,
        event_loops: detailed.event_loops,
        prescription: Some(detailed.prescription),
        quality: Quality {
            damage,
            stolen_ns: stolen,
            stack_coverage: coverage::named(&pieces, &frames),
            stacks: coverage::reach(&tables, &pieces),
            oncpu_vs_kernel: ledger::against_kernel(&tables, compared, &by_thread),
            recent_from_ns: (recent.start > roll.start).then(|| recent.start - roll.start),
            ..quality(&tables, &roll, &threads)
        },
        waits,
    };
    let anomalies =
        Anomalies { strangers: roll.strangers, contradictions: roll.contradictions, disagreements };
    Analysis { report, stacks: fold(&tables, &roll, &pieces, rule, &frames), anomalies }
}

/// What the analyses of detail look at beside the detail itself.
struct Context<'a> {
    shares: &'a PerState<f64>,
    verdict: &'a Verdict,
    waits: &'a [report::Wait],
    hot: &'a [report::Hot],
}

/// What only the sequence of what threads did tells, and no sum of it.
struct Detailed {
    gil: Option<report::Gil>,
    event_loops: Vec<report::EventLoop>,
    prescription: report::Prescription,
}

fn detailed(
    tables: &Tables,
    (timeline, accounts): (&Timeline, &[Vec<Account>]),
    pieces: &[(Key, Amount)],
    Context { shares, verdict, waits, hot }: Context<'_>,
    frames: &Frames,
) -> Detailed {
    let known = gil::Known::of(tables, timeline, accounts);
    let gil = gil::by_thread(tables, timeline, &known);
    let loops = event_loop::by_thread(tables, timeline, accounts, frames);
    let inputs = prescription::Inputs {
        tables,
        timeline,
        accounts,
        gil: &gil,
        loops: &loops,
        pieces,
        shares,
        verdict,
        waits,
        hot,
    };
    let prescription = prescription::prescribe(&inputs, frames);
    let event_loops = event_loop::rows(&loops);
    Detailed {
        prescription,
        event_loops,
        gil: gil::summary(tables, timeline, &known, &gil, frames),
    }
}

/// The same with the sums of the last segment, where that is not all.
fn detailed_apart(
    tables: &Tables,
    (timeline, accounts): (&Timeline, &[Vec<Account>]),
    apart: Totals,
    context: Context<'_>,
    frames: &Frames,
) -> Detailed {
    let rule = apart.rule();
    let pieces = apart.sums.finish(tables, &timeline.threads);
    let shares = shares(timeline, &pieces, rule, apart.idle);
    let hot = hot::hot(&pieces, frames);
    let context = Context { hot: &hot, shares: &shares, ..context };
    detailed(tables, (timeline, accounts), &pieces, context, frames)
}

fn judge(
    timeline: &Timeline,
    by_thread: &[PerState<u64>],
    (locked_ns, gil_wanted_ns): (f64, f64),
    (shares, threads, waits): (&PerState<f64>, &PerState<u64>, &[report::Wait]),
    remedy: &'static str,
) -> Verdict {
    let owned = timeline.threads.iter().map(|thread| thread.pid).zip(by_thread);
    verdict(&Facts {
        wall_ns: timeline.duration(),
        shares,
        threads,
        locked: locked_ns / timeline.duration().max(1) as f64,
        gil_wanted_ns,
        sharers: Sharers::of(owned, timeline.duration()),
        usable_cpus: timeline.usable_cpus,
        lost: timeline.lost > 0,
        remedy,
        waits,
        sampling: timeline.sampling_of_shares(threads.total()),
    })
}

/// What shows more of the time that could not be seen.
fn remedy(tables: &Tables) -> &'static str {
    match (tables.header.capabilities.wakeups, tables.thinned.is_some()) {
        // Nothing was refused.
        (true, false) => "record again, for longer",
        (true, true) => "record again, for longer or with a higher --max-overhead",
        (false, false) => "record again as root, or for longer",
        (false, true) => "record again as root, for longer or with a higher --max-overhead",
    }
}

/// What the times and counts say of their own worth. Of stacks it says nothing yet.
fn quality(tables: &Tables, timeline: &Timeline, threads: &PerState<u64>) -> Quality {
    Quality {
        lost: timeline.lost,
        late: timeline.late,
        unknown_ns: threads[State::Unknown],
        scripts: scripts(tables),
        stops: tables.stops.clone(),
        thinned: tables.thinned.map(|it| thinned(it, timeline)),
        sampling: sampling(timeline, threads.total()),
        overhead: Overhead {
            profiler_cpu_ns: tables.overhead.map(|(cpu_ns, _)| cpu_ns),
            target_cpu_ns: tables.target_cost,
            events: tables.overhead.map_or(tables.events, |(_, events)| events),
        },
        ..Quality::default()
    }
}

/// Parts of the wall-clock time, by state; they sum to 1.
fn shares(
    timeline: &Timeline,
    pieces: &[(Key, Amount)],
    rule: Rule,
    idle_ns: f64,
) -> PerState<f64> {
    let mut shares = PerState::default();
    if timeline.duration() == 0 {
        shares[State::Idle] = 1.0;
        return shares;
    }
    shares[State::Idle] = idle_ns;
    for (key, amount) in pieces {
        shares[key.state] += amount.share.by(rule);
    }
    shares.scaled(1.0 / timeline.duration() as f64)
}

fn scripts(tables: &Tables) -> Option<report::Scripts> {
    let ScriptReads { accepted, rejected } = tables.script_reads;
    (accepted + rejected > 0).then_some(report::Scripts { accepted, rejected })
}

fn thinned(thinned: whyslow_events::Thinned, timeline: &Timeline) -> report::Thinned {
    let part = |millionths: u32| f64::from(millionths) / 1e6;
    report::Thinned {
        limit: part(thinned.limit),
        cost: part(thinned.cost),
        stacks: part(thinned.stacks),
        samples: part(thinned.samples),
        looks: part(thinned.looks),
        switches: 1.0 - timeline.paused_ns as f64 / timeline.duration().max(1) as f64,
    }
}

fn sampling(timeline: &Timeline, thread_ns: u64) -> Option<report::Sampling> {
    let all = timeline.sampling();
    let [low, high] = all.interval(0.5, thread_ns, timeline.duration());
    (all.sampled_ns > 0 || all.looks > 0).then_some(report::Sampling {
        looks: all.looks,
        moved: all.moved,
        sampled_ns: all.sampled_ns,
        margin: (high - low) / 2.0,
    })
}

fn target(tables: &Tables, timeline: &Timeline) -> Target {
    let target = &tables.header.target;
    let first = target.pids.first().copied().unwrap_or_default();
    Target {
        mode: match target.mode {
            Mode::Launch => "launch",
            Mode::Attach => "attach",
        }
        .to_owned(),
        pid: first.0,
        command: target.command.clone(),
        exit: tables.exit.map(|exit| Exit { code: exit.code, signal: exit.signal }),
        processes: tables.processes.len() as u64,
        threads: timeline.threads.len() as u64,
        runtime: tables.runtime(first).unwrap_or("native").to_owned(),
    }
}

fn engine(tables: &Tables) -> report::Engine {
    let header = &tables.header;
    let fallback = |fallback: &whyslow_events::Fallback| report::Fallback {
        wanted: fallback.wanted.clone(),
        got: fallback.got.clone(),
        errno: fallback.errno.clone(),
        remedy: fallback.remedy.clone(),
    };
    report::Engine {
        name: header.engine.as_str().to_owned(),
        capabilities: header.capabilities.names().into_iter().map(str::to_owned).collect(),
        fallbacks: header.fallbacks.iter().map(fallback).collect(),
    }
}

fn window(tables: &Tables, timeline: &Timeline) -> Window {
    let start = jiff::Timestamp::from_nanosecond(i128::from(tables.header.start_unix_ns));
    Window {
        start: start.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
        duration_ns: timeline.duration(),
    }
}

fn ratio(shares: &PerState<f64>) -> Ratio {
    let (io, cpu) = (shares.of(Group::Io), shares.of(Group::Cpu));
    Ratio { io, cpu, io_to_cpu: (cpu > 0.0).then(|| io / cpu) }
}

fn method(shares: &PerState<f64>) -> Bottleneck {
    let named = shares.iter().filter(|(_, share)| *share > 0.0);
    Bottleneck {
        method: "fair-share".to_owned(),
        shares: named.map(|(state, share)| (state.key().to_owned(), share)).collect(),
    }
}

/// The slices see shares alone: where the verdict knows a cause better, it is
/// theirs, too, and where it rests on more than shares there are none.
fn phases(slices: &Slices, verdict: &Verdict) -> Vec<report::Phase> {
    let known = [&verdict.cause, &verdict.active.cause];
    let phases = slices.phases(|phase| {
        for (class, cause) in [(Class::CpuBound, "gil"), (Class::CpuStarved, "quota")] {
            if phase.class == class && known.iter().any(|known| *known == cause) {
                cause.clone_into(&mut phase.cause);
            }
        }
    });
    let convoy = verdict.active.class == Class::LockBound
        && phases.iter().all(|phase| phase.class != Class::LockBound);
    if convoy { Vec::new() } else { phases }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, header};
    use whyslow_events::{Header, InMemory};

    #[test]
    fn a_wall_clock_that_was_set_changes_the_date_and_nothing_else() {
        const YEAR: i64 = 365 * 86_400 * 1_000_000_000;
        let script = Script::new(2).thread("main", "ccccssssccnnnncc").thread("other", "sssscccc");
        let report = |start_unix_ns| {
            let header = Header { start_unix_ns, ..header(2) };
            analyze(&mut InMemory::new(header, script.events())).report
        };
        let now = header(2).start_unix_ns;
        let right = report(now);
        assert!(right.window.duration_ns > 0);
        for set in [now - 20 * YEAR, now + 20 * YEAR, i64::MIN, 0] {
            let mut other = report(set);
            assert_ne!(other.window.start, right.window.start);
            other.window.start.clone_from(&right.window.start);
            assert_eq!(other, right);
        }
    }
}
