//! How far the numbers can be trusted, and what they cost.

use anstyle::Style;
use whyslow_analysis::report::{Engine, Fallback, Reach, Report, Scripts, StackReach, Thinned};
use whyslow_events as events;

use super::line::{Line, columns, dim, warning, wrap};
use crate::render::Origin;
use crate::render::units::{count, percent, span};
use crate::sanitize::clean;

/// Fallbacks named when there is one screen.
const FALLBACKS: usize = 2;
/// Lines for one fallback when all is shown.
const FALLBACK_LINES: usize = 6;
/// From this share of thread time on, `unknown` is pointed out.
const MUCH_UNKNOWN: f64 = 0.01;
/// From this difference to the kernel's account on, it is pointed out.
const MUCH_DIFFERENCE: f64 = 0.005;
/// From this share of thread time on, what a hypervisor took is worth a word.
const MUCH_STOLEN: f64 = 0.001;
/// From this share of the time on, calls that nobody saw are worth a word.
const MUCH_INFERRED: f64 = 0.01;
/// From this share of the program's CPU time on, what recording took of it is worth a word.
const MUCH_OF_TARGET: f64 = 0.01;
const SEPARATOR: &str = " · ";

pub(super) fn lines(report: &Report, origin: &Origin, width: usize, verbose: bool) -> Vec<Line> {
    let mut fallbacks: Vec<&Fallback> = report.engine.fallbacks.iter().collect();
    // What was asked for by an option comes first, then what was refused.
    fallbacks.sort_by_key(|fallback| {
        (!fallback.wanted.contains("(--"), fallback.errno == events::Fallback::NO_ERROR)
    });
    let (most, each) = if verbose { (usize::MAX, FALLBACK_LINES) } else { (FALLBACKS, 1) };
    let mut lines: Vec<Line> =
        fallbacks.into_iter().take(most).flat_map(|fallback| note(fallback, width, each)).collect();
    lines.extend(flow(items(report, origin), width));
    if verbose {
        let stacks = &report.quality.stacks;
        lines.extend(cut("CPU", &stacks.cpu).into_iter().chain(cut("waits", &stacks.waits)));
    }
    lines
}

/// Why stacks are not whole, one line each.
fn cut(of: &str, reach: &Reach) -> Option<Line> {
    let none = ("none", reach.none);
    let reasons = reach.truncated.iter().map(|(reason, share)| (reason.as_str(), *share));
    let parts: Vec<String> = reasons
        .chain([none, ("read on from outside", reach.extended), ("of the same place", reach.lent)])
        .filter(|(_, share)| *share > 0.0)
        .map(|(reason, share)| format!("{reason} {}", percent(share)))
        .collect();
    (!parts.is_empty())
        .then(|| Line::new().push(dim(), clean(&format!("stacks of {of}: {}", parts.join(", ")))))
}

fn note(fallback: &Fallback, width: usize, lines: usize) -> Vec<Line> {
    let Fallback { wanted, got, errno, remedy } = fallback;
    let refused = match errno.as_str() {
        events::Fallback::NO_ERROR => "not to be had".to_owned(),
        errno => format!("refused ({errno})"),
    };
    let text = format!("{wanted} {refused}, using {got}: {remedy}");
    wrap(&clean(&text), width, lines)
        .into_iter()
        .map(|text| Line::new().push(warning(), text))
        .collect()
}

fn items(report: &Report, origin: &Origin) -> Vec<(Style, String)> {
    let quality = &report.quality;
    let mut items = engine(&report.engine, origin.frequency);
    items.extend([
        (dim(), format!("{} events", count(quality.overhead.events))),
        (marked(quality.lost > 0), format!("{} lost", count(quality.lost))),
    ]);
    if quality.late > 0 {
        items.push((warning(), format!("{} late", count(quality.late))));
    }
    let thread_time: u64 = report.ledger.process.values().sum();
    let unknown = quality.unknown_ns as f64 / thread_time.max(1) as f64;
    items.push((marked(unknown >= MUCH_UNKNOWN), format!("{} unknown", percent(unknown))));
    if let Some(difference) = quality.oncpu_vs_kernel {
        let text = format!("{:+.2} % CPU vs kernel", difference * 100.0);
        items.push((marked(difference.abs() > MUCH_DIFFERENCE), text));
    }
    let stolen = quality.stolen_ns as f64 / thread_time.max(1) as f64;
    if stolen >= MUCH_STOLEN {
        items.push((dim(), format!("{} stolen by the hypervisor", percent(stolen))));
    }
    items.extend(stacks(&quality.stacks));
    if let Some(Scripts { accepted, rejected }) = quality.scripts
        && rejected > 0
    {
        let share = rejected as f64 / (accepted + rejected).max(1) as f64;
        items.push((dim(), format!("{} of Python reads cut short", percent(share))));
    }
    if let Some(stops) = &quality.stops {
        let (count, longest) = (stops.count, span(stops.max_ns));
        items.push((dim(), format!("{count} stops of threads, the longest {longest}")));
    }
    if let Some(from) = quality.recent_from_ns {
        let recent = span(report.window.duration_ns.saturating_sub(from));
        items.push((dim(), format!("in detail: the last {recent}")));
    }
    items.extend(quality.thinned.as_ref().map(thinned).into_iter().flatten());
    let overhead = quality.overhead.profiler_cpu_ns.map_or("overhead not known".into(), |ns| {
        let share = ns as f64 / report.window.duration_ns.max(1) as f64;
        format!("overhead {} CPU ({})", span(ns), percent(share))
    });
    items.push((dim(), overhead));
    if let Some(share) = share_of_target(report).filter(|share| *share >= MUCH_OF_TARGET) {
        items.push((dim(), format!("some {} of the program's CPU time", percent(share))));
    }
    items
}

/// Of the CPU time of the program, what recording took there.
fn share_of_target(report: &Report) -> Option<f64> {
    let states = report.ledger.process.iter();
    let ran: u64 = states.filter(|(state, _)| state.starts_with("cpu.")).map(|(_, ns)| ns).sum();
    let cost = report.quality.overhead.target_cpu_ns.filter(|_| ran > 0)?;
    Some(cost as f64 / ran as f64)
}

/// What is seen by the names of capabilities, as a reader calls it.
const SEEN: [(&str, &str); 7] = [
    ("exact-switches", "single switches"),
    ("wakeups", "wakers"),
    ("neighbours", "other programs"),
    ("cpu-samples", "CPU samples"),
    ("kernel-stacks", "kernel code"),
    ("user-stacks", "stacks"),
    ("causes", "causes of waits"),
];

/// The engine, at what rate it samples, and what it does not see.
fn engine(engine: &Engine, frequency: u32) -> Vec<(Style, String)> {
    let has = |name: &str| engine.capabilities.iter().any(|it| it == name);
    let name = if has("cpu-samples") {
        format!("{} {frequency} Hz", engine.name)
    } else {
        engine.name.clone()
    };
    let unseen: Vec<&str> =
        SEEN.iter().filter(|(name, _)| !has(name)).map(|(_, called)| *called).collect();
    let unseen = (!unseen.is_empty()).then(|| (dim(), format!("not seen: {}", unseen.join(", "))));
    [(dim(), name)].into_iter().chain(unseen).collect()
}

/// What a limit of cost has left out.
fn thinned(thinned: &Thinned) -> Vec<(Style, String)> {
    let Thinned { limit, cost, stacks, samples, looks, switches } = *thinned;
    let over = cost > limit;
    let cost = format!("cost {} of a CPU, limit {}", percent(cost), percent(limit));
    let parts = [
        ("stacks of waits", stacks),
        ("samples", samples),
        ("looks", looks),
        ("switches", switches),
    ];
    let parts = parts.into_iter().filter(|(_, part)| *part < 1.0);
    let parts = parts.map(|(what, part)| (warning(), format!("{} of {what}", percent(part))));
    [(marked(over), cost)].into_iter().chain(parts).collect()
}

/// How much of the time has a whole stack, and how much has calls that nobody saw.
fn stacks(stacks: &StackReach) -> Vec<(Style, String)> {
    let parts = [("CPU", &stacks.cpu), ("waits", &stacks.waits)];
    let known = || parts.iter().filter(|(_, reach)| reach.is_known());
    let of = |(of, share): (&str, f64)| format!("{} of {of}", percent(share));
    let whole: Vec<String> = known().map(|(name, reach)| of((name, reach.complete))).collect();
    let inferred = known().map(|(name, reach)| (*name, reach.calls_inferred));
    let inferred: Vec<String> = inferred.filter(|(_, it)| *it >= MUCH_INFERRED).map(of).collect();
    let listed = |what: &str, parts: Vec<String>| {
        (!parts.is_empty()).then(|| (dim(), format!("{what}: {}", parts.join(", "))))
    };
    let (whole, inferred) =
        (listed("whole stacks", whole), listed("Python calls inferred", inferred));
    whole.into_iter().chain(inferred).collect()
}

fn marked(suspicious: bool) -> Style {
    if suspicious { warning() } else { dim() }
}

/// Puts the items one after the other, on as many lines as they need.
fn flow(items: Vec<(Style, String)>, width: usize) -> Vec<Line> {
    let mut lines = vec![Line::new()];
    for (style, text) in items {
        let text = clean(&text);
        let used = lines.last().map_or(0, Line::width);
        if used > 0 && used + columns(SEPARATOR) + columns(&text) > width {
            lines.push(Line::new());
        }
        let line = lines.pop().unwrap_or_default();
        let line = if line.width() > 0 { line.push(dim(), SEPARATOR) } else { line };
        lines.push(line.push(style, text));
    }
    lines
}
