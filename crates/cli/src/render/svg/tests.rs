//! The pieces of the document that readers and scripts rely on.

use whyslow_analysis::State;

use super::*;
use crate::testing::{assert_golden, fixture, origin, written};

fn stack(frames: &[&str], state: State, weight_ns: u64) -> Folded {
    Folded { frames: frames.iter().map(|name| (*name).into()).collect(), state, weight_ns }
}

fn some() -> Vec<Folded> {
    vec![
        stack(&["app", "app", "main", "work"], State::CpuUser, 2_000_000),
        stack(
            &["app", "app", "main", "read", "vfs_read_[k]", "[io.disk]"],
            State::IoDisk,
            6_000_000,
        ),
        stack(&["app", "worker 7"], State::CpuUser, 1_500_000),
        stack(&["app", "worker 7", "take_gil", "[lock.gil]"], State::LockGil, 500_000),
    ]
}

fn drawn(stacks: &[Folded]) -> String {
    let mut report = fixture("server");
    report.ledger.threads[1].name = "worker 7".into();
    let bytes = written(|out| flamegraph(stacks, View::Wall, &report, &origin(), out));
    String::from_utf8(bytes).unwrap()
}

/// The document without inferno's script and style sheet, a tag on each line.
fn skeleton(svg: &str) -> String {
    let (head, rest) = svg.split_once("<script").unwrap();
    let (_, body) = rest.split_once("</script>").unwrap();
    let head = head.split_once("<style").unwrap().0;
    format!("{head}{body}").replace("><", ">\n<")
}

#[test]
fn the_document_is_as_agreed() {
    assert_golden("wall.svg.txt", skeleton(&drawn(&some())).as_bytes());
}

#[test]
fn only_states_that_occur_are_in_the_legend() {
    let svg = drawn(&some());
    assert!(svg.contains(">io.disk 60.0 %</text>") && svg.contains(">lock.gil 5.0 %</text>"));
    assert!(!svg.contains("io.network"), "{svg}");
}

#[test]
fn waiting_frames_are_hatched_and_a_search_still_shows() {
    let svg = drawn(&some());
    assert!(svg.contains("<g class=\"s-io-disk\">"));
    assert!(svg.contains("<pattern id=\"s-io-disk\""));
    assert!(svg.contains(".s-io-disk rect { fill:url(#s-io-disk); }"));
    let found = style::search_colour().to_string();
    assert!(svg.contains(&format!("var searchcolor = '{found}'")));
    assert!(svg.contains(&format!("rect[fill=\"{found}\"]")));
}

#[test]
fn a_name_that_ends_in_a_number_keeps_its_time() {
    assert!(drawn(&some()).contains("<title>worker\u{a0}7 (2.00 ms, 20.00%)</title>"));
}

#[test]
fn every_view_is_named() {
    let report = fixture("idle");
    for view in [View::Wall, View::Cpu, View::OffCpu, View::Bottleneck] {
        let bytes = written(|out| flamegraph(&some(), view, &report, &origin(), out));
        assert!(String::from_utf8(bytes).unwrap().contains("· view "), "{view:?}");
    }
}

#[test]
fn nothing_to_show_is_said_and_is_no_error() {
    for stacks in [vec![], vec![stack(&["app"], State::CpuUser, 0)]] {
        let svg = drawn(&stacks);
        assert!(svg.contains("Nothing was recorded that this view shows."));
        assert!(svg.contains("PID 4242"));
    }
}

#[test]
fn hostile_names_stay_text() {
    let evil = "</title><script>alert(1)</script>\u{1b}\u{1}]]>&\"'\t;x 9";
    let mut report = fixture("server");
    report.target.command = vec![evil.into()];
    report.verdict.summary = evil.into();
    let stacks =
        [stack(&[evil, evil, evil], State::CpuUser, 5), stack(&["--", ""], State::CpuUser, 3)];
    for stacks in [&stacks[..], &[]] {
        let bytes = written(|out| flamegraph(stacks, View::Wall, &report, &origin(), out));
        let svg = String::from_utf8(bytes).unwrap();
        assert!(!svg.contains("<script>alert") && !svg.contains(['\u{1b}', '\u{1}']), "{svg}");
    }
}
