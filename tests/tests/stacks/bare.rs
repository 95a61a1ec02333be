//! No column ends in a bare address that gdb, or the map of a runtime, would name: programs
//! of the distribution, stripped as they are, and their libraries.

mod compiled;
mod servers;

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
/// Functions that a second of any of these programs goes through, at the least.
const NAMED: usize = 20;

/// The user's frames of a recording of a process.
#[derive(Debug, Default)]
struct Frames {
    named: BTreeSet<String>,
    /// Where the functions of those begin that have no name.
    bare: BTreeSet<u64>,
    /// Those without a name that are in nothing the process has mapped.
    nowhere: BTreeSet<String>,
}

impl Frames {
    /// Of a process that has still mapped what it had.
    fn read(pid: &str, folded: &str) -> Frames {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mut frames = Frames::default();
        for line in folded.lines() {
            let (stack, _) = line.rsplit_once(' ').unwrap();
            let mut stack: Vec<&str> = stack.split(';').skip(1).collect();
            stack.pop_if(|last| last.starts_with('[') && !last.contains("+0x"));
            for frame in stack.into_iter().rev().filter(|frame| !frame.ends_with("_[k]")) {
                match frame.rsplit_once("+0x") {
                    None => _ = frames.named.insert(frame.to_owned()),
                    Some((module, offset)) => match place(&maps, module, offset) {
                        Some(place) => _ = frames.bare.insert(place),
                        None => _ = frames.nowhere.insert(frame.to_owned()),
                    },
                }
            }
        }
        frames
    }

    /// Fails where gdb names what has no name here. Whether there is a gdb.
    fn are_all_that_gdb_names(&self, pid: &str) -> bool {
        assert!(self.named.len() > NAMED && self.nowhere.is_empty(), "{self:#x?}");
        let mut places: Vec<String> = self.bare.iter().map(|at| format!("{at:#x}")).collect();
        // That gdb names anything at all.
        places.push("malloc".to_owned());
        let Some(answers) = symbols(pid, &places) else { return false };
        assert_eq!(answers.len(), places.len(), "{places:?} {answers:#?}");
        let known = |(_, answer): &(String, String)| answer.contains(" in section ");
        let known: Vec<_> = places.into_iter().zip(answers).filter(known).collect();
        assert!(known.len() == 1 && known[0].0 == "malloc", "{known:#?} {self:#x?}");
        true
    }
}

/// Where in memory the frame `MODULE+0xOFFSET` of a process is; `None` where nothing is.
fn place(maps: &str, module: &str, offset: &str) -> Option<u64> {
    let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
    let offset = hexadecimal(offset)?;
    maps.lines().find_map(|line| {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let (access, from) = (words.next()?, hexadecimal(words.next()?)?);
        let path = words.last()?.trim().trim_end_matches(" (deleted)");
        // Code in memory alone has its address for an offset.
        let memory = !path.starts_with('/') && path != "[vdso]";
        let place = if memory { offset } else { start.checked_add(offset.checked_sub(from)?)? };
        let same = memory || path.rsplit('/').next() == Some(module);
        (same && access.contains('x') && (start..end).contains(&place)).then_some(place)
    })
}

/// What gdb says of each address, in a line each; `None` where there is no gdb.
fn symbols(pid: &str, places: &[String]) -> Option<Vec<String>> {
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

/// Records a program that runs for a second, and gives its folded stacks.
fn record(case: &Case, pid: &str) -> String {
    case.run(&["record", "-q", "-d", "1s", "-o", "r.folded", "-p", pid]).ended_with(0);
    case.text("r.folded")
}

#[test]
fn libraries_of_a_python_program() {
    needs_root!();
    let case = Case::new();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PROGRAM]).current_dir(case.path("."));
    let program = Process::start(python);
    until("the program", || fs::exists(case.path("ready")).ok()?.then_some(()));
    let pid = program.pid();
    let frames = Frames::read(&pid, &record(&case, &pid));
    if !frames.are_all_that_gdb_names(&pid) {
        skip!("no gdb");
    }
}
