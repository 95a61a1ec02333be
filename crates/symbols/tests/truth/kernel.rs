//! Kernel addresses against `/proc/kallsyms`.

use std::fs;

use whyslow_events::SymbolKey;

use crate::program::{frames_of, resolve, stack};

fn key(address: u64) -> SymbolKey {
    SymbolKey { space: None, address }
}

/// Address and name of a function, if the kernel shows addresses.
fn function(name: &str) -> Option<u64> {
    let symbols = fs::read_to_string("/proc/kallsyms").ok()?;
    let line = symbols.lines().find(|line| line.split_ascii_whitespace().nth(2) == Some(name))?;
    let address = u64::from_str_radix(line.split_ascii_whitespace().next()?, 16).ok()?;
    (address != 0).then_some(address)
}

#[test]
fn a_kernel_function_has_its_name() {
    let Some(schedule) = function("schedule") else {
        println!("skipped: this kernel hides its symbols from us");
        return;
    };
    let inside = schedule + 0x10;
    let resolved = resolve(&[stack(&[schedule, inside], &[])]);
    for address in [schedule, inside] {
        let frames = frames_of(&resolved, &key(address));
        assert_eq!(frames.len(), 1);
        assert_eq!((&*frames[0].function, &*frames[0].module), ("schedule", "[kernel]"));
    }
}

#[test]
fn an_address_that_is_not_in_the_kernel_keeps_its_number() {
    let resolved = resolve(&[stack(&[0x1234, 0, 0x7fff_ffff_0000], &[])]);
    for (address, name) in [
        (0x1234, "[kernel]+0x1234"),
        (0, "[kernel]+0x0"),
        (0x7fff_ffff_0000, "[kernel]+0x7fffffff0000"),
    ] {
        assert_eq!(frames_of(&resolved, &key(address))[0].function, name);
    }
}
