//! How far stacks reach: computing and waiting, launched and attached to.

use serde_json::Value;

use super::{
    folded::{self, Stack, share},
    program::{Language, start},
};
use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// Of the time, so much must have its whole stack.
const WHOLE: f64 = 0.99;
/// Where Go reads the clock its copies hold another stack, and at the first and last
/// instructions of the vDSO's function no frame pointer leads back.
const WHOLE_READING_THE_CLOCK: f64 = 0.9;
/// The folded stacks and the report's own count may differ by so much.
const AGREEMENT: f64 = 0.01;
/// What is to be seen: where it computes, and where it sleeps.
struct Expected {
    language: Language,
    rounds: &'static str,
    computes: &'static [&'static [&'static str]],
    sleeps: &'static [&'static str],
}

const C: Expected = Expected {
    language: Language::C,
    rounds: "60",
    computes: &[
        &["main", "work", "descend", "descend", "descend"],
        &["thread", "work", "descend", "descend"],
        &["descend", "deepest", "mix", "mixed"],
        &["work", "divide"],
        &["work", "sort"],
    ],
    sleeps: &["descend", "deepest", "nap"],
};

const CPP: Expected = Expected {
    language: Language::Cpp,
    rounds: "60",
    computes: &[
        &["main", "work", "run", "run", "run"],
        &["run", "run", "mix", "mixed"],
        &["main", "work", "sort"],
        &["main", "work", "catch_all", "refuse", "refuse"],
    ],
    sleeps: &["run", "run", "nap"],
};

const RUST: Expected = Expected {
    language: Language::Rust,
    rounds: "120",
    computes: &[
        &["main", "work", "descend", "descend", "descend"],
        &["descend", "descend", "run", "mix"],
        &["main", "work", "sort"],
    ],
    sleeps: &["descend", "descend", "run", "sleep"],
};

const GO: Expected = Expected {
    language: Language::Go,
    rounds: "60",
    computes: &[
        &["runtime.goexit", "main.main.func1", "main.work", "main.descend", "main.descend"],
        &["main.descend", "main.work.func1", "main.mix"],
        &["main.work", "main.sortNumbers"],
    ],
    sleeps: &["main.descend", "main.descend", "main.nap"],
};

impl Expected {
    fn launched(&self) {
        needs_root!();
        let case = Case::new();
        let Some(()) = self.language.compile(&case, false) else { return };
        let arguments = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "./calls"];
        case.run(&[&arguments, &[self.rounds][..]].concat()).ended_with(0);
        self.check(&case);
    }

    fn attached(&self) {
        needs_root!();
        let case = Case::new();
        let Some(()) = self.language.compile(&case, false) else { return };
        let program = start(&case, "1000000");
        let pid = program.pid();
        let arguments = ["record", "-q", "-o", "r.folded", "-o", "r.json", "-d", "2s", "-p", &pid];
        case.run(&arguments).ended_with(0);
        self.check(&case);
    }

    /// The report counts the time with whole stacks as we do, but does not count
    /// what it guessed, nor in Go what ends on the stack that the clock is read on.
    fn agrees(&self, reach: &Value, stacks: &[Stack], these: impl Fn(&Stack) -> bool) {
        let whole = share(stacks, &these, |stack| stack.whole);
        let not_counted = match self.language {
            Language::Go | Language::Cgo => &["same-site", "bad-unwind-info"][..],
            _ => &["same-site"],
        };
        let of = |reason: &&str| reach["truncated"][reason].as_f64().unwrap_or(0.0);
        let guessed = not_counted.iter().map(of).sum::<f64>();
        let agreed = whole - guessed - AGREEMENT..=whole + AGREEMENT;
        let reported = reach["complete"].as_f64().unwrap();
        assert!(agreed.contains(&reported), "{whole} folded, {reach}");
    }

    fn check(&self, case: &Case) {
        let stacks = folded::read(case, "r.folded");
        let report = sound(case.json("r.json"));
        let incomplete: Vec<&Stack> = stacks.iter().filter(|stack| !stack.whole).collect();
        for these in [Stack::computes, Stack::waits] {
            let whole = share(&stacks, these, |stack| stack.whole);
            assert!(whole >= WHOLE, "{whole} {incomplete:#?}");
        }
        let reach = &report["quality"]["stacks"];
        self.agrees(&reach["cpu"], &stacks, Stack::computes);
        self.agrees(&reach["waits"], &stacks, |stack| !stack.computes());
        for path in self.computes {
            let seen = stacks.iter().any(|stack| stack.computes() && stack.goes_through(path));
            assert!(seen, "{path:?} in {stacks:#?}");
        }
        let asleep = |stack: &Stack| stack.state.as_deref() == Some("sleep");
        let known = share(&stacks, asleep, |stack| stack.goes_through(self.sleeps));
        assert!(known > 0.0, "{:?} in {stacks:#?}", self.sleeps);
    }
}

#[test]
fn c_launched() {
    C.launched();
}

#[test]
fn c_attached() {
    C.attached();
}

#[test]
fn cpp_launched() {
    CPP.launched();
}

#[test]
fn cpp_attached() {
    CPP.attached();
}

#[test]
fn rust_launched() {
    RUST.launched();
}

#[test]
fn rust_attached() {
    RUST.attached();
}

#[test]
fn go_launched() {
    GO.launched();
}

#[test]
fn go_attached() {
    GO.attached();
}

#[test]
fn go_that_can_call_c_attached() {
    Expected { language: Language::Cgo, ..GO }.attached();
}

#[test]
fn go_reading_the_clock() {
    needs_root!();
    let case = Case::new();
    let Some(()) = Language::Go.compile(&case, false) else { return };
    let arguments = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "./calls", "clock"];
    case.run(&arguments).ended_with(0);
    let stacks = folded::read(&case, "r.folded");
    let reads = |stack: &Stack| stack.computes() && stack.goes_through(&["clock_gettime"]);
    let way = ["main.descend", "main.descend", "main.readClock"];
    let whole = share(&stacks, reads, |stack| stack.whole && stack.goes_through(&way));
    assert!(whole >= WHOLE_READING_THE_CLOCK, "{whole} {stacks:#?}");
}
