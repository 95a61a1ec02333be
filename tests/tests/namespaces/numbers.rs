//! Numbers of processes and threads that the kernel gives again while they are recorded.

use serde_json::Value;

use super::{compile, open_case, start, unshare};
use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// For which the program may set the next number.
const NAMESPACE: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];
/// What each of the four does, ms.
const EACH: &str = "200";
const EACH_NS: u64 = 200_000_000;

/// The engines in there: each thread's own events, and looks.
const ENGINES: [&str; 2] = ["perf", "procfs"];

/// Starts when the window has begun.
const ATTACH: &str = "\
mkfifo go && exec 3<>go && ./reuse \"$1\" <go & ./whyslow record -q --force --engine \"$0\" \
-o r.json -o r.whyslow -p $! & recorder=$!; until [ -s r.whyslow ] || ! kill -0 $recorder; \
do sleep 0.02; done; echo >go; wait $recorder";

/// The threads of this number, in the order in which they began: their names and states.
fn of_number(report: &Value, tid: u64) -> Vec<(&str, &Value)> {
    let threads = report["ledger"]["threads"].as_array().unwrap().iter();
    let those = threads.filter(|thread| thread["tid"] == tid);
    those.map(|thread| (thread["name"].as_str().unwrap(), &thread["states"])).collect()
}

fn sum(states: &Value, prefix: &str) -> u64 {
    let states = states.as_object().unwrap().iter();
    states.filter(|(key, _)| key.starts_with(prefix)).map(|(_, ns)| ns.as_u64().unwrap()).sum()
}

/// Who computes did not sleep, and who sleeps did not compute, for about as long as
/// they say.
fn are_kept_apart(case: &Case, engine: &str) {
    let report = sound(case.json("r.json"));
    assert_eq!(report["engine"]["name"], engine);
    for (tid, names) in [(300, ["computes", "sleeps"]), (400, ["works", "rests"])] {
        let mut threads = of_number(&report, tid);
        // Somebody else may have had the number before.
        threads.retain(|(name, _)| names.contains(name));
        let (found, states): (Vec<&str>, Vec<&Value>) = threads.into_iter().unzip();
        assert_eq!(found, names, "{engine}: {}", report["ledger"]["threads"]);
        let [busy, calm] = [states[0], states[1]];
        assert!(sum(busy, "cpu.") > EACH_NS * 8 / 10, "{engine}: {busy}");
        assert!(sum(busy, "sleep") < EACH_NS / 10, "{engine}: {busy}");
        assert!(sum(calm, "cpu.") < EACH_NS / 10, "{engine}: {calm}");
        assert!(sum(calm, "sleep") > EACH_NS * 6 / 10, "{engine}: {calm}");
    }
}

#[test]
fn who_has_the_number_of_another_is_not_taken_for_it() {
    needs_root!();
    let case = open_case();
    if !compile(&case, "reuse") {
        return;
    }
    for engine in ENGINES {
        let record = ["./whyslow", "record", "-q", "--force", "--engine", engine, "-o", "r.json"];
        let command = [&record[..], &["--", "./reuse", EACH]].concat();
        start(unshare(&case, NAMESPACE, &command)).finish().ended_with(0);
        are_kept_apart(&case, engine);
        std::fs::remove_file(case.path("r.json")).unwrap();
        start(unshare(&case, NAMESPACE, &["sh", "-c", ATTACH, engine, EACH]))
            .finish()
            .ended_with(0);
        are_kept_apart(&case, engine);
        for name in ["go", "r.json", "r.whyslow"] {
            std::fs::remove_file(case.path(name)).unwrap();
        }
    }
}
