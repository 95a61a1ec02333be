//! `report FILE`: files that are cut, bent, foreign, newer or not there.

use crate::{
    case::{Case, needs_root},
    process::Finished,
    report::sound,
};

/// Where the version stands, after the magic.
const VERSION_AT: usize = 8;

fn recording(case: &Case) -> Vec<u8> {
    case.run(&["record", "-q", "-o", "good.whyslow", "--", "sleep", "0.05"]).ended_with(0);
    case.read("good.whyslow")
}

/// Reports on a file with these bytes, which must not end in a panic.
fn report(case: &Case, bytes: &[u8]) -> Finished {
    case.write("bent.whyslow", bytes);
    let finished = case.run(&["report", "bent.whyslow", "--json"]);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    finished
}

fn refused(case: &Case, bytes: &[u8], why: &str) {
    let finished = report(case, bytes).ended_with(125);
    assert!(finished.stdout.is_empty());
    assert!(finished.stderr.contains(why), "{why}: {}", finished.stderr);
    assert!(finished.stderr.contains("bent.whyslow"), "{}", finished.stderr);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let case = Case::new();
    let finished = case.run(&["report", "nowhere.whyslow"]).ended_with(125);
    assert!(finished.stderr.contains("nowhere.whyslow"), "{}", finished.stderr);
}

#[test]
fn a_foreign_file_is_refused() {
    let case = Case::new();
    refused(&case, b"", "not a whyslow recording");
    refused(&case, b"\x7fELF\x02\x01\x01", "not a whyslow recording");
    refused(&case, &[b'x'; 10_000], "not a whyslow recording");
}

#[test]
fn a_newer_version_is_refused_with_both_numbers() {
    needs_root!();
    let case = Case::new();
    let mut bytes = recording(&case);
    let newer = (whyslow_events::recording::VERSION + 1).to_le_bytes();
    bytes[VERSION_AT..VERSION_AT + newer.len()].copy_from_slice(&newer);
    refused(&case, &bytes, "version");
}

#[test]
fn a_cut_recording_gives_its_readable_part_or_says_why_not() {
    needs_root!();
    let case = Case::new();
    let bytes = recording(&case);
    let steps = 20;
    for cut in (0..steps).map(|step| bytes.len() * step / steps) {
        let finished = report(&case, &bytes[..cut]);
        match finished.code() {
            0 => {
                let report = sound(serde_json::from_slice(&finished.stdout).unwrap());
                assert!(report["quality"]["damage"].is_string(), "cut at {cut}");
            }
            125 => assert!(finished.stderr.contains("bent.whyslow"), "{}", finished.stderr),
            other => panic!("cut at {cut}: exit code {other}"),
        }
    }
}

#[test]
fn a_bent_recording_gives_its_readable_part_or_says_why_not() {
    needs_root!();
    let case = Case::new();
    let bytes = recording(&case);
    let steps = 20;
    for at in (0..steps).map(|step| bytes.len() * step / steps) {
        let mut bent = bytes.clone();
        bent[at] ^= 0x55;
        let finished = report(&case, &bent);
        match finished.code() {
            0 => drop(sound(serde_json::from_slice(&finished.stdout).unwrap())),
            125 => assert!(finished.stderr.contains("bent.whyslow"), "{}", finished.stderr),
            other => panic!("bent at {at}: exit code {other}"),
        }
    }
}
