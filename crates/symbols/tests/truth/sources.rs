//! Where names are kept when they are not in the program itself: debug files,
//! packed symbol tables, and for stubs nowhere. Against `nm`, `addr2line` and
//! `objdump`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use whyslow_events::{Event, Frame};

use crate::program::{Program, SPACE, compile, frames_at, resolve, stack};

/// Where the tests map their files. In these, addresses of code are offsets.
const START: u64 = 0x10_0000;
const END: u64 = 0x1000_0000;

const SOURCE: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    static int seed;
    static inline __attribute__((always_inline)) int inner(int n) {
        return n * 3 + rand();
    }
    static inline __attribute__((always_inline)) int middle(int n) {
        int a = inner(n);
        return a + inner(n + 1);
    }
    __attribute__((noinline)) int work(int n) {
        int sum = seed;
        for (int i = 0; i < n; i++)
            sum += middle(i);
        return sum;
    }
    __attribute__((noinline)) static int hidden(int n) {
        return work(n) * 2;
    }
    int main(int count, char **arguments) {
        seed = count;
        printf("%d\n", hidden(count));
        printf("work %p\nready\n", (void *)work);
        fflush(stdout);
        getchar();
    }
"#;

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Frames at these addresses of `path`.
pub(crate) fn frames_in(path: &Path, addresses: &[u64]) -> Vec<Vec<Frame>> {
    let at: Vec<u64> = addresses.iter().map(|address| START + address).collect();
    let mapping = Event::Mapping {
        space: SPACE,
        start: START,
        end: END,
        file_offset: 0,
        path: text(path).to_owned(),
        build_id: vec![],
    };
    // Each as the innermost address: none is that of a call.
    let stacks = at.iter().map(|address| stack(&[], &[*address]));
    let resolved = resolve(&[mapping].into_iter().chain(stacks).collect::<Vec<_>>());
    at.iter().map(|address| frames_at(&resolved, *address)).collect()
}

/// Address and size of each function, by name.
pub(crate) fn nm(path: &Path) -> BTreeMap<String, (u64, u64)> {
    let functions = run("nm", &["--defined-only", "--print-size", text(path)]);
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [address, size, "t" | "T", name] = fields[..] else { return None };
        Some((name.to_owned(), (hex(address), hex(size))))
    };
    functions.lines().filter_map(parse).collect()
}

/// Function and line of each frame, innermost first.
type Brief = Vec<(String, Option<u32>)>;

fn addr2line(path: &Path, addresses: &[u64]) -> Vec<Brief> {
    let numbers: Vec<String> = addresses.iter().map(|address| format!("{address:#x}")).collect();
    let mut arguments = vec!["-a", "-f", "-i", "-e", text(path)];
    arguments.extend(numbers.iter().map(String::as_str));
    let said = run("addr2line", &arguments);
    let mut all: Vec<Brief> = Vec::new();
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(Vec::new());
        } else {
            let place = lines.next().unwrap();
            let line_number = place.rsplit_once(':').unwrap().1;
            let line_number = line_number.split(' ').next().unwrap().parse().ok();
            all.last_mut().unwrap().push((line.to_owned(), line_number));
        }
    }
    all
}

fn brief(frames: &[Frame]) -> Brief {
    frames.iter().map(|frame| (frame.function.clone(), frame.line)).collect()
}

pub(crate) fn functions(frames: &[Vec<Frame>]) -> Vec<&str> {
    frames.iter().map(|frames| frames[0].function.as_str()).collect()
}

/// A program with debug information, and its name.
fn program(directory: &Path, flags: &[&str]) -> Option<PathBuf> {
    let flags = [&["-g", "-O2"], flags].concat();
    compile(directory, "cc", SOURCE, &flags)
}

/// Moves the debug information of `path` into `debug`.
pub(crate) fn split(path: &Path, debug: &Path) {
    fs::create_dir_all(debug.parent().unwrap()).unwrap();
    run("objcopy", &["--only-keep-debug", text(path), text(debug)]);
    run("strip", &["--strip-all", text(path)]);
}

pub(crate) fn link(path: &Path, debug: &Path) {
    run("objcopy", &[&format!("--add-gnu-debuglink={}", text(debug)), text(path)]);
}

/// Every address of `work` and `hidden`, with what stands there.
fn everywhere(path: &Path) -> (Vec<u64>, Vec<Brief>) {
    let symbols = nm(path);
    let all = ["work", "hidden"].map(|name| symbols[name]);
    let all: Vec<u64> = all.iter().flat_map(|(start, size)| *start..start + size).collect();
    let truth = addr2line(path, &all);
    (all, truth)
}

#[test]
fn inlined_frames_and_lines_are_those_of_addr2line() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = program(directory.path(), &[]) else { return };
    let (addresses, truth) = everywhere(&path);
    for ((frames, truth), address) in frames_in(&path, &addresses).iter().zip(truth).zip(addresses)
    {
        assert_eq!(brief(frames), truth, "{address:#x}");
        let (outer, inner) = frames.split_last().unwrap();
        assert!(!outer.inlined && inner.iter().all(|frame| frame.inlined), "{frames:?}");
    }
}

#[test]
fn a_function_without_a_name_is_one_wherever_it_is_hit() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = program(directory.path(), &[]) else { return };
    let symbols = nm(&path);
    run("strip", &["--strip-all", text(&path)]);
    let names = ["work", "hidden"].map(|function| {
        let (start, size) = symbols[function];
        let all: Vec<u64> = (start..start + size).collect();
        let frames = frames_in(&path, &all);
        let mut names = functions(&frames);
        names.dedup();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(names[0].starts_with("program+0x"), "{names:?}");
        names[0].to_owned()
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_linked_debug_file_gives_all_that_the_program_lost() {
    for folder in ["", ".debug"] {
        let directory = tempfile::tempdir().unwrap();
        let Some(path) = program(directory.path(), &[]) else { return };
        let (addresses, truth) = everywhere(&path);
        let debug = directory.path().join(folder).join("program.debug");
        split(&path, &debug);
        assert!(functions(&frames_in(&path, &addresses))[0].starts_with("program+0x"));
        link(&path, &debug);
        let found = frames_in(&path, &addresses);
        assert_eq!(found.iter().map(|it| brief(it)).collect::<Vec<_>>(), truth, "{folder:?}");
    }
}

#[test]
fn a_debug_file_of_another_build_is_not_believed() {
    for build_id in ["-Wl,--build-id", "-Wl,--build-id=none"] {
        let directory = tempfile::tempdir().unwrap();
        let Some(path) = program(directory.path(), &[build_id]) else { return };
        let symbols = nm(&path);
        let address = symbols["work"].0;
        let debug = directory.path().join("program.debug");
        split(&path, &debug);
        link(&path, &debug);
        assert_eq!(functions(&frames_in(&path, &[address])), ["work"]);
        let other = directory.path().join("other");
        fs::create_dir(&other).unwrap();
        let elsewhere = SOURCE.replace("* 3", "* 5");
        let flags = ["-g", "-O2", build_id];
        let another = compile(&other, "cc", &elsewhere, &flags).unwrap();
        split(&another, &debug);
        let named = frames_in(&path, &[address]);
        assert!(named[0][0].function.starts_with("program+0x"), "{build_id}: {named:?}");
        assert_eq!(named[0][0].line, None);
        fs::write(&debug, "no ELF").unwrap();
        assert!(frames_in(&path, &[address])[0][0].function.starts_with("program+0x"));
    }
}

/// The debug files of a container are in the container.
#[test]
fn a_debug_file_is_found_by_build_id_in_the_root_of_the_target_and_outlives_it() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-static", "-Wl,--build-id=0x0123456789abcdef0123456789abcdef"];
    let Some(path) = program(directory.path(), &flags) else { return };
    let root = directory.path();
    let folder = root.join("usr/lib/debug/.build-id/01");
    split(&path, &folder.join("23456789abcdef0123456789abcdef.debug"));
    let mut chroot = Command::new("chroot");
    chroot.arg(root).arg("/program").stdin(Stdio::null()).stdout(Stdio::null());
    if !chroot.status().is_ok_and(|status| status.success()) {
        println!("skipped: no privilege to change the root");
        return;
    }
    let program = Program::start(Command::new("chroot").arg(root).arg("/program"));
    let address = program.number("work");
    let mut symbolizer = whyslow_symbols::Symbolizer::new(crate::program::facts());
    for mut event in program.events() {
        if let Event::Mapping { path: mapped, .. } = &mut event
            && Path::new(mapped) == path
        {
            *mapped = "/program".to_owned();
        }
        symbolizer.observe(&event);
    }
    symbolizer.observe(&stack(&[], &[address]));
    drop(program);
    fs::remove_dir_all(root).unwrap();
    let frames = frames_at(&symbolizer.resolve(), address);
    assert_eq!((frames[0].function.as_str(), frames[0].line.is_some()), ("work", true));
}

#[test]
fn a_packed_symbol_table_names_local_functions() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = program(directory.path(), &[]) else { return };
    let (at, _) = nm(&path)["hidden"];
    let mini = directory.path().join("mini");
    run("objcopy", &["-S", "--keep-symbol=hidden", text(&path), text(&mini)]);
    run("strip", &["--strip-all", text(&path)]);
    assert!(frames_in(&path, &[at])[0][0].function.starts_with("program+0x"));
    if Command::new("xz").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no xz");
        return;
    }
    run("xz", &["-k", text(&mini)]);
    let section = format!(".gnu_debugdata={}.xz", text(&mini));
    run("objcopy", &["--add-section", &section, text(&path)]);
    assert_eq!(functions(&frames_in(&path, &[at])), ["hidden"]);
}

/// The addresses and names of all stubs, as `objdump` sees them.
fn stubs(path: &Path) -> Vec<(u64, String)> {
    let code = run("objdump", &["-d", text(path)]);
    let label = |line: &str| {
        let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
        // What stands in front of the first one belongs to all.
        let is_stub = name.ends_with("@plt") && !name.starts_with('*');
        is_stub.then(|| (u64::from_str_radix(address, 16).unwrap(), name.to_owned()))
    };
    code.lines().filter_map(label).collect()
}

#[test]
fn stubs_are_named_as_objdump_names_them() {
    let directory = tempfile::tempdir().unwrap();
    for flags in [&[][..], &["-fcf-protection", "-Wl,-z,ibtplt"], &["-Wl,-z,now"]] {
        let Some(path) = program(directory.path(), flags) else { return };
        run("strip", &["--strip-all", text(&path)]);
        let stubs = stubs(&path);
        assert!(stubs.iter().any(|(_, name)| name == "rand@plt"), "{flags:?}: {stubs:?}");
        let inside: Vec<u64> = stubs.iter().map(|(address, _)| address + 4).collect();
        let names: Vec<&str> = stubs.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(functions(&frames_in(&path, &inside)), names, "{flags:?}");
    }
    // One with hundreds, of whatever linker the distribution uses.
    let path = Path::new("/bin/bash");
    let stubs = stubs(path);
    let addresses: Vec<u64> = stubs.iter().map(|(address, _)| *address).collect();
    let names: Vec<&str> = stubs.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(functions(&frames_in(path, &addresses)), names);
}

/// Compressed debug information, as some distributions link it.
#[test]
fn compressed_debug_information_is_read_and_a_lie_about_its_size_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = program(directory.path(), &["-gz"]) else { return };
    let (addresses, truth) = everywhere(&path);
    assert_eq!(brief(&frames_in(&path, &addresses[..1])[0]), truth[0]);
    // The size stands behind the kind of compression in each section.
    let sections = run("readelf", &["-SW", text(&path)]);
    let line = sections.lines().find(|line| line.contains(" .debug_info ")).unwrap();
    let fields: Vec<&str> = line.split(']').nth(1).unwrap().split_ascii_whitespace().collect();
    let offset = usize::from_str_radix(fields[3], 16).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[offset + 8..offset + 16].copy_from_slice(&(1u64 << 46).to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let [frame] = &frames_in(&path, &addresses[..1])[0][..] else { panic!("one frame") };
    assert_eq!((frame.function.as_str(), frame.line), ("work", None), "its symbol is left");
}
