//! A plugin that is unloaded, and another that is loaded in its place.

use std::fs;
use std::process::Command;

use super::folded::{self, share};
use crate::case::{Case, needs_root, skip};

/// Of the time on the CPU, so much must be in the one plugin and in the other each.
const EACH: f64 = 0.35;

/// Maps the code of one library, computes in it, and does the same with the other at
/// the same place.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
__attribute__((noinline)) static void call(void *code) {
    for (int i = 0; i < 300; i++) ((void (*)(int))code)(1000000);
    __asm__("");
}
int main(int count, char **arguments) {
    void *place = 0;
    for (int i = 1; i < 3; i++) {
        int file = open(arguments[i], O_RDONLY);
        int flags = MAP_PRIVATE | (place ? MAP_FIXED : 0);
        place = mmap(place, 1 << 16, PROT_READ | PROT_EXEC, flags, file, 0);
        call((char *)place + strtol(arguments[3], 0, 16));
    }
}
"#;

const LIBRARY: &str = r#"
void NAME(int times) {
    unsigned long x = 88172645463325252;
    for (int i = 0; i < times; i++) { x ^= x << 13; x ^= x >> 7; __asm__ volatile("" : "+r"(x)); }
}
"#;

#[test]
fn code_has_the_names_of_the_file_that_was_mapped_when_it_ran() {
    needs_root!();
    let case = Case::new();
    let build = |name: &str, source: &str, flags: &[&str]| {
        fs::write(case.path("source.c"), source).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-o", name, "source.c"]).args(flags).current_dir(case.path("."));
        compiler.status().map(|status| assert!(status.success()))
    };
    if build("program", PROGRAM, &[]).is_err() {
        skip!("no cc");
    }
    let shared = ["-shared", "-fPIC", "-nostdlib", "-Wl,-z,noseparate-code"];
    let plugins = ["plugin_one", "plugin_two"];
    for name in plugins {
        build(name, &LIBRARY.replace("NAME", name), &shared).unwrap();
    }
    let at = |name: &str| {
        let listed = Command::new("nm").arg(case.path(name)).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        listed.lines().find_map(|line| Some(line.strip_suffix(name)?.to_owned())).unwrap()
    };
    assert_eq!(at("plugin_one"), at("plugin_two"), "they are the same but for the name");
    let place = at("plugin_one");
    let place = place.split(' ').next().unwrap();
    let record = ["record", "-q", "-o", "r.folded", "-o", "r.whyslow", "--", "./program"];
    case.run(&[&record[..], &plugins, &[place]].concat()).ended_with(0);
    case.run(&["report", "-q", "r.whyslow", "-o", "again.folded"]).ended_with(0);
    for name in ["r.folded", "again.folded"] {
        let stacks = folded::read(&case, name);
        for plugin in plugins {
            let part = share(&stacks, folded::Stack::computes, |stack| {
                stack.goes_through(&["main", "call", plugin])
            });
            assert!(part > EACH, "{plugin} {part} {stacks:#?}");
        }
    }
}
