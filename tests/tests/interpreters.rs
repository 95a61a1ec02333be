//! Interpreters whose calls cannot be read, or that change while they are: the report
//! says what is missing, and all else holds.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// Records `program` until it ends; its report.
fn record(case: &Case, program: &[&str]) -> Value {
    let options = ["record", "-o", "r.json", "--"];
    let finished = case.run(&[&options[..], program].concat()).ended_with(0);
    let report = sound(case.json("r.json"));
    for fallback in refused(&report) {
        let line = format!("{} refused", fallback["wanted"].as_str().unwrap());
        assert!(finished.stderr.contains(&line), "{line}: {}", finished.stderr);
    }
    report
}

/// What the report says of calls that could not be read.
fn refused(report: &Value) -> Vec<&Value> {
    let fallbacks = report["engine"]["fallbacks"].as_array().unwrap().iter();
    let of_calls = |it: &&Value| it["wanted"].as_str().unwrap().starts_with("calls of cpython");
    fallbacks.filter(of_calls).collect()
}

/// Whether one line says that the calls of `version` are not read, and why.
fn expect_refusal(report: &Value, version: &str, why: &str) {
    let [refusal] = refused(report)[..] else { panic!("{version}: {}", report["engine"]) };
    let wanted = refusal["wanted"].as_str().unwrap();
    assert!(wanted.starts_with(&format!("calls of cpython {version}")), "{refusal}");
    assert!(refusal["errno"].as_str().unwrap().contains(why), "{refusal}");
}

/// The program that pretends to be an interpreter, under this file name.
fn pretender(case: &Case, name: &str, defines: &[&str]) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/interpreter.c");
    let program = case.path(name).display().to_string();
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-rdynamic", source, "-o", &program]).args(defines);
    assert!(compiler.status().unwrap().success());
    program
}

#[test]
fn a_program_that_is_not_python_is_not_asked_for_calls() {
    needs_root!();
    let case = Case::new();
    let program = pretender(&case, "worker", &[]);
    let report = record(&case, &[&program]);
    assert_eq!(report["target"]["runtime"], "native");
    assert!(refused(&report).is_empty() && report["quality"]["scripts"].is_null());
    let rows = report["functions"]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["function"] == "main"), "{rows:?}");
}

#[test]
fn interpreters_that_cannot_be_read_are_told_with_the_reason() {
    needs_root!();
    let described = ["-DRUNTIME=0x030d00f0", "-DFREE_THREADED=0"];
    for (name, defines, version, why) in [
        ("python2.7", &[][..], "2.7", "too old"),
        ("python3.6", &[], "3.6", "too old"),
        ("python3.7", &["-DRUNTIME", "-DCIRCLE"], "3.7", "too old"),
        ("python3.11", &[], "3.11", "no symbol _PyRuntime"),
        ("python3.11", &["-DRUNTIME", "-DCIRCLE"], "3.11", "has no end"),
        ("python3.13", &described, "3.13.0", "no sense"),
        ("python3.13", &["-DRUNTIME=0x030d00f0", "-DFREE_THREADED=1"], "3.13.0", "no sense"),
        ("python3.16", &["-DRUNTIME=0x031000f0", "-DFREE_THREADED=0"], "3.16.0", "too new"),
        ("python3.14", &["-DRUNTIME=0x030e00a1", "-DFREE_THREADED=0"], "3.14.0a1", "pre-release"),
    ] {
        let case = Case::new();
        let program = pretender(&case, name, defines);
        let report = record(&case, &[&program]);
        expect_refusal(&report, version, why);
        let runtime = report["target"]["runtime"].as_str().unwrap();
        let free_threaded = defines.contains(&"-DFREE_THREADED=1");
        assert_eq!(runtime.ends_with(" free-threaded"), free_threaded, "{runtime}");
    }
}

#[test]
fn old_pythons_are_told() {
    needs_root!();
    let versions = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    let found = |version: &&str| {
        let release = version.rsplit_once('.').unwrap().0;
        let program = versions.as_ref()?.join(version).join(format!("bin/python{release}"));
        program.is_file().then(|| ((*version).to_owned(), program.display().to_string()))
    };
    let old: Vec<_> = ["2.7.18", "3.6.15", "3.7.16"].iter().filter_map(found).collect();
    if old.is_empty() {
        println!("NOTE no Python before 3.8 under pyenv");
        return;
    }
    for (version, program) in old {
        let case = Case::new();
        let report = record(&case, &[&program, "-c", "sum(n * n for n in range(3000000))"]);
        expect_refusal(&report, &version, "too old");
    }
}

/// What `python3` is, and where its library is.
fn python() -> (PathBuf, String) {
    let code = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.prefix)";
    let said = Command::new("python3").args(["-c", code]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let (program, prefix) = said.trim().split_once('\n').unwrap();
    (program.into(), prefix.to_owned())
}

fn spent(report: &Value, function: &str) -> u64 {
    let rows = report["functions"]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["function"] == function);
    row.map_or(0, |row| row["total"]["total_ns"].as_u64().unwrap())
}

#[test]
fn a_stripped_python_is_read_all_the_same() {
    needs_root!();
    let case = Case::new();
    let (program, prefix) = python();
    let copy = case.path(program.file_name().unwrap().to_str().unwrap());
    let mut strip = Command::new("strip");
    assert!(strip.arg("-o").arg(&copy).arg(&program).status().unwrap().success());
    let home = format!("PYTHONHOME={prefix}");
    let calls = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/calls.py");
    let report = record(&case, &["env", &home, copy.to_str().unwrap(), calls, "20"]);
    assert!(refused(&report).is_empty(), "{}", report["engine"]);
    assert!(spent(&report, "nap") > 200_000_000, "{}", report["functions"]);
}

/// Runs Python code under the recorder.
fn run(case: &Case, code: &str) -> Value {
    fs::write(case.path("program.py"), code).unwrap();
    let report = record(case, &["python3", "program.py"]);
    assert!(refused(&report).is_empty(), "{}", report["engine"]);
    report
}

#[test]
fn threads_and_processes_that_end_while_they_are_read_do_no_harm() {
    needs_root!();
    let case = Case::new();
    let report = run(
        &case,
        "
import os, threading
def brief():
    sum(range(20000))
for _ in range(300):
    thread = threading.Thread(target=brief)
    thread.start()
    if os.fork() == 0:
        brief()
        os._exit(0)
    os.wait()
    thread.join()
",
    );
    assert!(report["target"]["threads"].as_u64().unwrap() > 600);
    assert!(spent(&report, "<module>") > 0, "{}", report["functions"]);
}

#[test]
fn a_python_that_is_still_importing_is_read() {
    needs_root!();
    let case = Case::new();
    fs::write(case.path("heavy.py"), "total = sum(n * n for n in range(3000000))").unwrap();
    let report = run(&case, "import heavy");
    let importing = spent(&report, "_find_and_load");
    assert!(importing > 0, "{}", report["functions"]);
}

#[test]
fn a_thousand_threads_are_read() {
    needs_root!();
    let case = Case::new();
    let report = run(
        &case,
        "
import threading, time
go = threading.Event()
def attend():
    go.wait()
threads = [threading.Thread(target=attend) for _ in range(1000)]
for thread in threads:
    thread.start()
time.sleep(4)
go.set()
for thread in threads:
    thread.join()
",
    );
    assert!(report["target"]["threads"].as_u64().unwrap() >= 1000);
    let total = report["functions"]["total"]["total_ns"].as_u64().unwrap();
    let attending = spent(&report, "attend");
    // They are read in turns, and those that the interpreter listed late a second later.
    assert!(attending * 5 > total * 3, "{attending} of {total}");
}

/// Points the frame it is in at something else than the caller for most of its life: this
/// is what calls of 3.11 look like in memory.
const LIES: &str = "
import ctypes, sys
state = ctypes.pythonapi.PyThreadState_Get
state.restype = ctypes.c_void_p
word = lambda address: ctypes.c_void_p.from_address(address)
nap = ctypes.CDLL(None).usleep
def lie():
    frame = word(word(state() + 56).value + 8).value
    outer = word(frame + 48)
    truth = outer.value
    outer.value = frame if sys.argv[1] == 'circle' else 0xdead0003
    for _ in range(40):
        nap(20000)
    outer.value = truth
lie()
";

#[test]
fn a_list_of_calls_that_lies_is_told_and_followed_to_no_end() {
    needs_root!();
    let is_known = |program: &PathBuf| program.ends_with("python3.11") && program.exists();
    let programs = [python().0, PathBuf::from("/usr/bin/python3.11")];
    let Some(program) = programs.iter().find(|program| is_known(program)) else {
        println!("NOTE no Python 3.11, whose frames this test knows how to bend");
        return;
    };
    for lie in ["circle", "nonsense"] {
        let case = Case::new();
        fs::write(case.path("lies.py"), LIES).unwrap();
        let report = record(&case, &[program.to_str().unwrap(), "lies.py", lie]);
        expect_refusal(&report, "3.11", "reads make no sense");
        // All else holds: it slept 40 times.
        let slept = report["ledger"]["process"]["sleep"].as_u64().unwrap();
        assert!(slept > 700_000_000, "{}", report["ledger"]["process"]);
    }
}
