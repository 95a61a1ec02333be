//! Runtimes that compile code and write maps of it: Node and the JVM. What their files
//! hold, gdb would name; what they compile, the map.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{Frames, record};
use crate::{
    case::{Case, needs_root, skip},
    process::{Process, until},
};

const NODE: &str = "
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto');
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
function round() {
    const rows = Array.from({ length: 2000 }, (_, i) => ({ i, s: String(fib(8) * i % 977) }));
    rows.sort((a, b) => a.s.localeCompare(b.s));
    const text = JSON.stringify(rows.filter(row => /[1-3]7/.test(row.s)));
    crypto.createHash('sha256').update(zlib.deflateSync(text)).digest('hex');
    return new Map(JSON.parse(text).map(row => [row.s, BigInt(row.i) ** 9n]));
}
let rounds = 0;
setInterval(() => { round(); if (++rounds == 30) fs.writeFileSync('ready', ''); }, 5);
";
const JAVA: &str = "
import java.nio.file.*;
import java.util.*;
public class Work {
    static volatile long sink;
    static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
    static void round() throws Exception {
        Map<String, Long> map = new HashMap<>();
        for (int i = 0; i < 2000; i++) map.merge(Integer.toString(i * 7 % 977), fib(7), Long::sum);
        List<String> keys = new ArrayList<>(map.keySet());
        Collections.sort(keys);
        java.util.zip.CRC32 crc = new java.util.zip.CRC32();
        crc.update(String.join(\",\", keys).getBytes(\"UTF-8\"));
        sink += crc.getValue() + fib(16);
        Thread.sleep(3);
    }
    public static void main(String[] arguments) throws Exception {
        for (int rounds = 0;; rounds++) {
            round();
            if (rounds == 100) Files.createFile(Path.of(\"ready\"));
        }
    }
}
";

/// A program of the runtime once it has compiled what it needs.
fn start(case: &Case, command: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(command);
    command.args(arguments).current_dir(case.path(".")).stdin(Stdio::null());
    let mut program = Process::start(command);
    until("the program", || {
        program.expect_running();
        case.path("ready").exists().then_some(())
    });
    program
}

/// Takes the map that the process `pid` has written so far.
fn map(pid: &str) -> String {
    let path = format!("/tmp/perf-{pid}.map");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Frames {
    /// Fails where a map names what has no name here.
    fn are_all_that_it_names(&self, map: &str) {
        let hexadecimal = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let missed: Vec<&str> = map
            .lines()
            .filter(|line| {
                let mut words = line.split(' ').map_while(hexadecimal);
                let (Some(start), Some(size)) = (words.next(), words.next()) else { return false };
                self.bare.range(start..start.saturating_add(size)).next().is_some()
            })
            .collect();
        assert!(missed.is_empty(), "{missed:#?} {self:#x?}");
    }
}

/// Records a program that has written its map, of which `function` is a part.
fn check(case: &Case, pid: &str, function: &str) {
    // What it names from here on, it may have written too late.
    let before = map(pid);
    let folded = record(case, pid);
    let _ = fs::remove_file(format!("/tmp/perf-{pid}.map"));
    let frames = Frames::read(pid, &folded);
    let gdb = frames.are_all_that_gdb_names(pid);
    frames.are_all_that_it_names(&before);
    assert!(frames.named.iter().any(|name| name.contains(function)), "{frames:#x?}");
    if !gdb {
        skip!("no gdb");
    }
}

#[test]
fn node_with_its_map() {
    needs_root!();
    let case = Case::new();
    let program = start(&case, "node", &["--perf-basic-prof", "-e", NODE]);
    check(&case, &program.pid(), "fib");
}

#[test]
fn a_jvm_with_its_map() {
    needs_root!();
    let case = Case::new();
    case.write("Work.java", JAVA);
    let program = start(&case, "java", &["-Xbatch", "Work.java"]);
    let pid = program.pid();
    let mut write = Command::new("jcmd");
    write.args([&pid, "Compiler.perfmap"]).stdin(Stdio::null());
    Process::start(write).finish().ended_with(0);
    check(&case, &pid, "Work.fib");
}
