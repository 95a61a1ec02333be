//! How far the name of an exported function reaches in a file that was stripped of
//! the others: as far as the function. Against `gdb` on the same file before that.

use std::path::Path;

use crate::program::compile;
use crate::sources::{frames_in, functions, link, nm, run, split, text};

/// Exported functions with others between and behind them, and one in assembly that
/// does not say how long it is.
const SOURCE: &str = r#"
    __asm__(".text\n.globl first\n.type first,@function\nfirst: .skip 16, 0x90\n"
            ".size first, .-first\n"
            "hidden_one: .skip 48, 0x90\n.type hidden_one,@function\n.size hidden_one, 48\n"
            ".globl second\n.type second,@function\nsecond: .skip 16, 0x90\n.size second, 16\n"
            "hidden_two: .skip 48, 0x90\n.type hidden_two,@function\n.size hidden_two, 48\n"
            ".section .last,\"ax\"\n.globl endless\n.type endless,@function\n"
            "endless: .skip 32, 0x90\n"
            ".section .other,\"ax\"\n.skip 64, 0x90\n");
"#;

/// The function at each address, by the same file before it was stripped; empty where
/// there is none.
fn gdb(path: &Path, addresses: &[u64]) -> Vec<String> {
    let asked = addresses.iter().flat_map(|at| ["-ex".into(), format!("info symbol {at:#x}")]);
    let mut arguments = vec!["-batch".to_owned(), "-nx".to_owned()];
    arguments.extend(asked);
    arguments.push(text(path).to_owned());
    let said = run("gdb", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    // `second + 4 in section .text`
    let name = |line: &str| match line.split_once(" in section ") {
        Some((name, _)) => name.split(" + ").next().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    let names: Vec<String> = said.lines().map(name).collect();
    assert_eq!(names.len(), addresses.len(), "{said}");
    names
}

#[test]
fn a_name_ends_where_its_function_does() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-shared", "-fPIC", "-nostdlib", "-Wl,-z,noseparate-code"];
    let Some(path) = compile(directory.path(), "cc", SOURCE, &flags) else { return };
    let stripped = directory.path().join("stripped");
    run("objcopy", &["--strip-all", text(&path), text(&stripped)]);
    let (first, _) = nm(&path)["first"];
    let addresses: Vec<u64> = (first..first + 128).collect();
    let truth = gdb(&path, &addresses);
    assert!(
        ["first", "hidden_one", "second", "hidden_two"]
            .iter()
            .all(|name| truth.iter().any(|it| it == name))
    );
    let named = frames_in(&stripped, &addresses);
    for ((address, truth), named) in addresses.iter().zip(&truth).zip(functions(&named)) {
        let bare = format!("stripped+{address:#x}");
        let expected = if truth.starts_with("hidden") { &bare } else { truth };
        assert_eq!(named, expected, "{address:#x}");
    }
}

#[test]
fn a_name_without_a_size_ends_with_its_section() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-shared", "-fPIC", "-nostdlib", "-Wl,-z,noseparate-code"];
    let Some(path) = compile(directory.path(), "cc", SOURCE, &flags) else { return };
    let said = run("nm", &["--defined-only", text(&path)]);
    let endless = said.lines().find_map(|line| line.strip_suffix(" T endless")).unwrap();
    let endless = u64::from_str_radix(endless, 16).unwrap();
    let addresses: Vec<u64> = (endless..endless + 96).collect();
    let truth = gdb(&path, &addresses);
    assert_eq!(truth.iter().filter(|name| *name == "endless").count(), 32, "{truth:?}");
    let compare = || {
        let named = frames_in(&path, &addresses);
        for ((address, truth), named) in addresses.iter().zip(&truth).zip(functions(&named)) {
            let bare = format!("program+{address:#x}");
            assert_eq!(named, if truth.is_empty() { &bare } else { truth }, "{address:#x}");
        }
    };
    compare();
    // In a debug file, which has the sections but nothing in them.
    let debug = directory.path().join("program.debug");
    split(&path, &debug);
    link(&path, &debug);
    compare();
}
