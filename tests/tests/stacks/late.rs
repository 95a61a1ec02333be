//! Code that is mapped a moment before somebody waits in it.

use super::program::compile;
use crate::{
    case::{Case, needs_root},
    report::sound,
};

#[test]
fn who_waits_in_code_that_is_new_has_its_whole_stack() {
    needs_root!();
    for engine in ["perf", "procfs"] {
        let case = Case::new();
        let Some(()) = compile(&case, "late") else { return };
        let record = ["record", "-q", "--engine", engine, "-o", "r.json", "--", "./late"];
        case.run(&record).ended_with(0);
        let report = sound(case.json("r.json"));
        let slept = report["ledger"]["process"]["sleep"].as_u64().unwrap_or_default();
        assert!(slept > 900_000_000, "{engine}: {}", report["ledger"]);
        let stacks = &report["quality"]["stacks"]["waits"];
        assert!(stacks["complete"].as_f64().unwrap() > 0.9, "{engine}: {stacks}");
    }
}
