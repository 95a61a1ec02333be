//! No column ends in a bare address that gdb would name: a program of the distribution,
//! stripped as it is, and its libraries.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use crate::{
    case::{Case, needs_root, skip},
    process::{Process, until},
};

/// Computes and waits in libraries in C.
const PROGRAM: &str = "\
import hashlib, json, sqlite3, time, zlib
base = sqlite3.connect(':memory:')
base.execute('create table t (a integer, b text)')
open('ready', 'w').close()
while True:
    base.executemany('insert into t values (?, ?)', ((i, str(i)) for i in range(2000)))
    base.execute('select b, count(*) from t where b like \"%7%\" group by a order by b').fetchall()
    base.execute('delete from t')
    text = json.dumps(list(range(20000))).encode()
    hashlib.sha256(zlib.compress(text)).digest()
    json.loads(text)
    time.sleep(0.005)
";
/// Frames with names that a second of it has, at the least.
const NAMED: usize = 20;

/// The frame `MODULE+0xOFFSET` of a process, where it is in memory; `None` for another.
fn address(maps: &str, frame: &str) -> Option<u64> {
    let (module, offset) = frame.rsplit_once("+0x")?;
    let offset = u64::from_str_radix(offset, 16).ok()?;
    let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
    maps.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [range, access, from, _, _, path] = words[..] else { return None };
        let (start, end) = range.split_once('-')?;
        let (start, end, from) = (hexadecimal(start)?, hexadecimal(end)?, hexadecimal(from)?);
        let inside = access.contains('x') && path.rsplit('/').next() == Some(module);
        let place = start.checked_add(offset.checked_sub(from)?)?;
        (inside && place < end).then_some(place)
    })
}

/// What gdb says of each address, in a line each; `None` where there is no gdb.
fn symbols(pid: &str, places: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-p", pid]);
    for place in places {
        gdb.args(["-ex", &format!("info symbol {place}")]);
    }
    let output = gdb.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answers = text
        .lines()
        .filter(|line| line.contains(" in section ") || line.starts_with("No symbol matches"));
    Some(answers.map(str::to_owned).collect())
}

#[test]
fn gdb_names_no_address_that_has_none() {
    needs_root!();
    let case = Case::new();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PROGRAM]).current_dir(case.path("."));
    let program = Process::start(python);
    until("the program", || fs::exists(case.path("ready")).ok()?.then_some(()));
    let pid = program.pid();
    case.run(&["record", "-q", "-d", "1s", "-o", "r.folded", "-p", &pid]).ended_with(0);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let (mut bare, mut named) = (BTreeSet::new(), BTreeSet::new());
    let folded = case.text("r.folded");
    for line in folded.lines() {
        let (frames, _) = line.rsplit_once(' ').unwrap();
        let mut callee = None;
        for frame in frames.split(';').rev() {
            match address(&maps, frame) {
                // Behind a call may lie another function.
                Some(place) => bare.insert(format!("{:#x}", place - u64::from(callee.is_some()))),
                None => named.insert(frame),
            };
            callee = Some(frame).filter(|frame| !frame.starts_with('['));
        }
    }
    assert!(named.len() > NAMED, "{folded}");
    // That gdb names anything at all.
    bare.insert("malloc".to_owned());
    let Some(answers) = symbols(&pid, &bare) else { skip!("no gdb") };
    assert_eq!(answers.len(), bare.len(), "{bare:?} {answers:#?}");
    let known: Vec<&String> = answers.iter().filter(|line| line.contains(" in section ")).collect();
    assert!(known.len() == 1 && known[0].starts_with("malloc"), "{known:#?} {folded}");
}
