//! What must hold for every report, whatever was recorded.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// Shares are printed and summed as doubles.
const ROUNDING: f64 = 1e-9;

/// Checks a report against the schema and against its own sums, and gives it back.
pub(crate) fn sound(report: Value) -> Value {
    valid(&report);
    closes(&report);
    functions_close(&report);
    shares_sum_to_one(&report);
    interval_holds_the_share(&report);
    report
}

/// The share of the wall-clock time in states whose key starts with `prefix`.
pub(crate) fn share(report: &Value, prefix: &str) -> f64 {
    let shares = report["bottleneck"]["shares"].as_object().unwrap();
    shares.iter().filter(|(key, _)| key.starts_with(prefix)).filter_map(|(_, s)| s.as_f64()).sum()
}

/// Thread time in states whose key starts with `prefix`, ns.
pub(crate) fn time(report: &Value, prefix: &str) -> u64 {
    let states = states(&report["ledger"]["process"]);
    states.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, ns)| ns).sum()
}

/// The class and cause of the verdict.
pub(crate) fn verdict(report: &Value) -> (&str, &str) {
    let word = |key: &str| report["verdict"][key].as_str().unwrap();
    (word("class"), word("cause"))
}

/// The PIDs in the ledger, each once.
pub(crate) fn pids(report: &Value) -> Vec<u64> {
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let mut pids: Vec<u64> = threads.iter().map(|thread| thread["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The JSON Schema that is checked in.
pub(crate) fn schema() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/whyslow.report.1.json");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn valid(report: &Value) {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(report)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// The states of each thread sum to its lifetime, and the threads to the process, to the nanosecond.
fn closes(report: &Value) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for thread in report["ledger"]["threads"].as_array().unwrap() {
        let states = states(&thread["states"]);
        assert_eq!(Some(states.values().sum()), thread["lifetime_ns"].as_u64(), "{thread}");
        for (key, ns) in states {
            *sums.entry(key).or_default() += ns;
        }
    }
    sums.retain(|_, ns| *ns > 0);
    let mut process = states(&report["ledger"]["process"]);
    process.retain(|_, ns| *ns > 0);
    assert_eq!(process, sums);
}

/// The functions alone and the time without one make up all time but idle.
fn functions_close(report: &Value) {
    let number = |value: &Value| value.as_u64().expect("a time");
    let table = &report["functions"];
    for column in table["total"].as_object().unwrap().keys() {
        let rows = table["rows"].as_array().unwrap().iter();
        let alone: u64 = rows.map(|row| number(&row["self"][column])).sum();
        let rest =
            number(&table["others"]["self"][column]) + number(&table["without_stack"][column]);
        assert_eq!(alone + rest, number(&table["total"][column]), "{column}: {table}");
    }
    let process = report["ledger"]["process"].as_object().unwrap();
    let all: u64 = process.iter().filter(|(key, _)| *key != "idle").map(|(_, ns)| number(ns)).sum();
    assert_eq!(number(&table["total"]["total_ns"]), all);
}

fn shares_sum_to_one(report: &Value) {
    let sum = share(report, "");
    assert!((sum - 1.0).abs() < ROUNDING, "shares sum to {sum}");
}

fn interval_holds_the_share(report: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    let verdict = &report["verdict"];
    let (low, high) = (number(&verdict["interval"][0]), number(&verdict["interval"][1]));
    let share = number(&verdict["share"]);
    assert!(low <= share + ROUNDING && share <= high + ROUNDING, "{verdict}");
}

fn states(value: &Value) -> BTreeMap<String, u64> {
    let states = value.as_object().unwrap();
    states.iter().map(|(key, ns)| (key.clone(), ns.as_u64().unwrap())).collect()
}
