//! What is printed and written: formats, file names, colour, closed pipes.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::{
    case::{Case, needs_root, skip},
    process::Process,
    report::{schema, sound},
};

const ESCAPE: char = '\x1b';

/// Records a short program into `r.whyslow`.
fn recorded(case: &Case) {
    let script = "sleep 0.05; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let arguments = ["record", "-q", "-o", "r.whyslow", "--", "sh", "-c", script];
    case.run(&arguments).ended_with(0);
}

#[test]
fn json_on_standard_output_is_one_valid_report() {
    needs_root!();
    let case = Case::new();
    let finished = case.run(&["record", "-q", "--json", "-o", "r.svg", "--", "true"]).ended_with(0);
    let report = sound(serde_json::from_slice(&finished.stdout).unwrap());
    assert_eq!(report["schema"], "whyslow.report/1");
    assert_eq!(report["target"]["command"], serde_json::json!(["true"]));
}

#[test]
fn a_report_is_the_record_again_byte_for_byte() {
    needs_root!();
    let case = Case::new();
    let script = "sleep 0.05; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let mut arguments = vec!["record"];
    for name in ["a.svg", "a.json", "a.folded", "a.whyslow"] {
        arguments.extend(["-o", name]);
    }
    arguments.extend(["--", "sh", "-c", script]);
    let recorded = case.run(&arguments).ended_with(0);
    let again = ["report", "a.whyslow", "-o", "b.svg", "-o", "b.json", "-o", "b.folded"];
    let reported = case.run(&again).ended_with(0);
    for format in ["svg", "json", "folded"] {
        let [a, b] = ["a", "b"].map(|name| case.read(&format!("{name}.{format}")));
        assert!(!a.is_empty() && a == b, "{format} differs");
    }
    // The last lines name the files, which differ.
    let body = |text: &str| text.lines().take(5).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&recorded.stderr), body(reported.stdout()));
}

#[test]
fn without_names_a_flamegraph_and_a_recording_are_written_and_named_last() {
    needs_root!();
    let case = Case::new();
    let finished = case.run(&["record", "--", "sleep", "0.05"]).ended_with(0);
    let files = case.files();
    let extensions: Vec<_> = files.iter().filter_map(|name| name.rsplit_once('.')).collect();
    assert_eq!(extensions.iter().map(|(_, e)| *e).collect::<Vec<_>>(), ["svg", "whyslow"]);
    for name in &files {
        assert!(name.starts_with("whyslow-sleep-"), "{name}");
        assert!(finished.stderr.contains(name.as_str()), "{name}: {}", finished.stderr);
    }
}

#[test]
fn a_file_that_exists_is_not_overwritten_unless_forced() {
    needs_root!();
    let case = Case::new();
    case.write("r.svg", "precious");
    let finished = case.run(&["record", "-o", "r.svg", "--", "touch", "started"]).ended_with(125);
    assert!(finished.stderr.contains("r.svg"), "{}", finished.stderr);
    assert_eq!(case.files(), ["r.svg"], "the program must not have run");
    assert_eq!(case.text("r.svg"), "precious");
    case.run(&["record", "--force", "-o", "r.svg", "--", "true"]).ended_with(0);
    assert!(case.text("r.svg").contains("<svg"));
}

#[test]
fn a_flamegraph_names_the_program_and_its_waits() {
    needs_root!();
    let case = Case::new();
    case.run(&["record", "-q", "-o", "r.svg", "--", "sleep", "0.1"]).ended_with(0);
    let svg = case.text("r.svg");
    assert!(svg.starts_with("<?xml"), "{}", &svg[..svg.len().min(80)]);
    for word in ["sleep", "</svg>"] {
        assert!(svg.contains(word), "{word}");
    }
}

#[test]
fn folded_stacks_are_lines_of_frames_and_nanoseconds() {
    needs_root!();
    let case = Case::new();
    case.run(&["record", "-q", "-o", "r.folded", "--", "sleep", "0.1"]).ended_with(0);
    let folded = case.text("r.folded");
    assert!(!folded.is_empty());
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once(' ').expect("stack and weight");
        assert!(!stack.is_empty() && weight.parse::<u64>().is_ok_and(|ns| ns > 0), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    needs_root!();
    let case = Case::new();
    recorded(&case);
    let mut command = case.whyslow(&["report", "r.whyslow", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(complaints, "");
}

#[test]
fn colour_is_for_terminals_and_those_who_ask() {
    needs_root!();
    let case = Case::new();
    recorded(&case);
    let coloured = |arguments: &[&str]| {
        let finished = case.run(&[&["report", "r.whyslow"], arguments].concat()).ended_with(0);
        finished.stdout().contains(ESCAPE)
    };
    assert!(!coloured(&[]));
    assert!(!coloured(&["--color", "never"]));
    assert!(coloured(&["--color", "always"]));
}

#[test]
fn no_color_holds_on_a_terminal() {
    needs_root!();
    let case = Case::new();
    recorded(&case);
    // `script` runs a command on a terminal of its own.
    let on_terminal = |no_color: Option<&str>| {
        let whyslow = case.whyslow(&[]);
        let line = format!("{} report r.whyslow", whyslow.get_program().display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(case.path("."));
        command.stdin(Stdio::null()).env("TERM", "xterm").env_remove("NO_COLOR");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        Process::start(command).finish().ended_with(0).stdout().contains(ESCAPE)
    };
    if Command::new("script").arg("-V").output().is_err() {
        skip!("no `script` to make a terminal");
    }
    assert!(on_terminal(None));
    assert!(!on_terminal(Some("1")));
    assert!(on_terminal(Some("")), "an empty NO_COLOR does not count");
}

#[test]
fn quiet_prints_nothing() {
    needs_root!();
    let case = Case::new();
    let finished = case.run(&["record", "-q", "-o", "r.svg", "--", "true"]).ended_with(0);
    assert_eq!((finished.stdout(), finished.stderr.as_str()), ("", ""));
}

#[test]
fn the_schema_checked_in_is_the_one_in_the_binary() {
    let case = Case::new();
    let printed = case.run(&["__schema"]).ended_with(0);
    assert_eq!(printed.stdout(), schema(), "run `cargo xtask bless`");
}
