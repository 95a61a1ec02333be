//! A program's threads, as we see them and as gdb does.

use std::path::Path;
use std::process::Command;

use whyslow_events::{StackEnd, Unwind};

use super::gdb;
use crate::program::{Program, SPACE, compile};

pub(super) const OPTIMIZED: [&str; 3] = ["-g", "-O2", "-fomit-frame-pointer"];

/// Compiles a program, and checks it.
pub(super) fn check(compiler: &str, source: &str, flags: &[&str], through: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), compiler, source, flags) else { return };
    check_program(&path, through);
}

/// Every thread's chain is gdb's and complete, and some go through functions
/// with the names `through`. With less known of its registers no chain leads
/// elsewhere.
pub(super) fn check_program(path: &Path, through: &[&str]) {
    let program = Program::start(&mut Command::new(path));
    let Some(threads) = gdb::threads(&program) else { return };
    let mut unwinder = gdb::unwinder(&program);
    for thread in &threads {
        let unwound = unwinder.unwind(SPACE, &thread.registers, thread.memory());
        assert_eq!(unwound.addresses, thread.chain, "{:#?} {:?}", thread.names, unwound.end);
        assert_eq!(unwound.end, StackEnd::Complete, "{:#?}", thread.names);
        let asleep = unwinder.unwind(SPACE, &thread.found_asleep(), thread.memory());
        assert!(thread.chain.starts_with(&asleep.addresses), "{asleep:?} {:#?}", thread.names);
        if asleep.end != StackEnd::UnknownRegister {
            assert_eq!(asleep, unwound);
        }
    }
    let names: Vec<&String> = threads.iter().flat_map(|thread| &thread.names).collect();
    for name in through {
        assert!(names.iter().any(|have| have.contains(name)), "no {name} in {names:#?}");
    }
}
