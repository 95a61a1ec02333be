//! Code compiled at run time, named by the runtime: against what programs of
//! ours wrote, and against real runtimes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use whyslow_events::{Event, Frame, Ns};
use whyslow_symbols::Symbolizer;

use crate::program::{Program, compile, facts, frames_at, resolve, stack};

/// Maps a page for code and tells where, and its own number.
const C_PROGRAM: &str = r#"
    #define _GNU_SOURCE
    #include <stdio.h>
    #include <sys/mman.h>
    #include <unistd.h>
    int main(void) {
        void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        printf("code %p\npid %d\nready\n", code, (int)getpid());
        fflush(stdout);
        getchar();
    }
"#;

/// Removes a file that a runtime leaves behind.
struct Left(PathBuf);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn map_of(program: &Program) -> Left {
    Left(PathBuf::from(format!("/tmp/perf-{}.map", program.pid())))
}

fn observing(events: &[Event]) -> Symbolizer {
    let mut symbolizer = Symbolizer::new(facts());
    events.iter().for_each(|event| symbolizer.observe(event));
    symbolizer
}

fn function(resolved: &[Event], address: u64) -> String {
    frames_at(resolved, address)[0].function.clone()
}

#[test]
fn code_is_named_while_the_program_runs_by_what_stands_in_its_map_then() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &[]) else { return };
    let program = Program::start(&mut Command::new(path));
    let code = program.number("code");
    let map = map_of(&program);
    let mut symbolizer = observing(&program.events());
    symbolizer.observe(&stack(&[], &[code + 4, code + 0x20]));
    assert_eq!(symbolizer.refresh(), [], "there is no map yet");

    let mut text = format!("{code:x} 10 early\n{code:x} 10 first\n");
    fs::write(&map.0, &text).unwrap();
    let named = symbolizer.refresh();
    assert_eq!(function(&named, code + 4), "first");
    let [Event::Symbols(batch)] = &named[..] else { panic!("{named:?}") };
    assert_eq!(batch.len(), 1, "the other one has no name yet");

    text += &format!("{code:x} 100 second\n");
    fs::write(&map.0, &text).unwrap();
    symbolizer.observe(&stack(&[], &[code + 4, code + 8]));
    let named = symbolizer.refresh();
    // A return address names the call before it, also where that is the last
    // instruction.
    let frames = [function(&named, code + 8), function(&named, code + 0x20)];
    assert_eq!(frames, ["second", "second"]);
    let [Event::Symbols(batch)] = &named[..] else { panic!("{named:?}") };
    assert_eq!(batch.len(), 2, "what was named is not named again");
    assert_eq!(symbolizer.refresh(), []);

    drop(program);
    symbolizer.observe(&stack(&[], &[code + 0x30, code + 0x800]));
    let named = symbolizer.resolve();
    assert_eq!(function(&named, code + 0x30), "second");
    assert_eq!(function(&named, code + 0x800), format!("[anon]+{:#x}", code + 0x800));
}

#[test]
fn code_over_other_code_gives_its_address_another_name_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &[]) else { return };
    let program = Program::start(&mut Command::new(path));
    let code = program.number("code");
    let map = map_of(&program);
    let mut symbolizer = observing(&program.events());
    let mut write = |text: &str, time: u64| {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&map.0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        symbolizer.observe_at(Ns(time), &stack(&[], &[code + 4, code + 8]));
        symbolizer.refresh()
    };
    let named = write(&format!("{code:x} 10 first\n"), 100);
    assert_eq!(function(&named, code + 4), "first");
    assert_eq!(write(&format!("{:x} 10 other\n", code + 0x10), 200), [], "elsewhere");
    assert_eq!(write(&format!("{code:x} 10 first\n"), 300), [], "the same again");
    let renamed = write(&format!("{code:x} 6 second\n"), 400);
    let [Event::Renamed { key, since, frames }] = &renamed[..] else { panic!("{renamed:?}") };
    assert_eq!((key.address, *since, frames[0].function.as_str()), (code + 4, Ns(400), "second"));
}

/// The process sees its files and its number differently.
#[test]
fn a_map_in_another_root_and_pid_namespace_is_found_and_outlives_both() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_) = compile(directory.path(), "cc", C_PROGRAM, &["-static"]) else { return };
    let root = directory.path();
    fs::create_dir(root.join("tmp")).unwrap();
    let unshare = ["--pid", "--mount", "--fork", "chroot"];
    let mut try_it = Command::new("unshare");
    try_it.args(unshare).arg(root).arg("/program").stdin(Stdio::null()).stdout(Stdio::null());
    let allowed = try_it.status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: no privilege for namespaces");
        return;
    }
    let program = Program::start(Command::new("unshare").args(unshare).arg(root).arg("/program"));
    assert_eq!(program.number("pid"), 1);
    let outer = program.pid();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let child: u32 = children.trim().parse().expect("one child");
    let code = program.number("code");
    fs::write(root.join("tmp/perf-1.map"), format!("{code:x} 10 inside\n")).unwrap();
    let decoy = Left(PathBuf::from(format!("/tmp/perf-{child}.map")));
    fs::write(&decoy.0, format!("{code:x} 10 outside\n")).unwrap();
    let mut symbolizer = observing(&crate::program::events_of(child, crate::program::SPACE));
    symbolizer.observe(&stack(&[], &[code]));
    drop(program);
    fs::remove_dir_all(root.join("tmp")).unwrap();
    assert_eq!(function(&symbolizer.resolve(), code), "inside");
}

#[test]
fn code_in_a_jitdump_file_is_named_after_file_and_program_are_gone() {
    let source = r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(int count, char **arguments) {
            char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            char path[4096];
            snprintf(path, sizeof path, "%s/jit-%d.dump", arguments[1], (int)getpid());
            int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
            uint32_t header[10] = {0x4a695444, 1, 40, 62, 0, getpid()};
            write(file, header, sizeof header);
            mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
            const char name[] = "compiled", source[] = "/src/program.lang";
            uint64_t at = (uint64_t)code;
            uint32_t info[4] = {2, 16 + 16 + 16 + sizeof source};
            uint64_t lines[2] = {at, 1};
            uint32_t line[4] = {(uint32_t)at, at >> 32, 42, 0};
            write(file, info, sizeof info); write(file, lines, sizeof lines);
            write(file, line, sizeof line); write(file, source, sizeof source);
            uint32_t load[4] = {0, 16 + 40 + sizeof name + 16};
            uint64_t body[5] = {getpid(), at, at, 16, 1};
            write(file, load, sizeof load); write(file, body, sizeof body);
            write(file, name, sizeof name); write(file, code, 16);
            printf("code %p\npath %s\nready\n", code, path);
            fflush(stdout);
            getchar();
        }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", source, &["-w"]) else { return };
    let program = Program::start(Command::new(path).arg(directory.path()));
    let code = program.number("code");
    let mut symbolizer = observing(&program.events());
    fs::remove_file(program.text("path")).unwrap();
    drop(program);
    symbolizer.observe(&stack(&[], &[code + 8]));
    let expected = Frame {
        function: "compiled".to_owned(),
        file: Some("/src/program.lang".to_owned()),
        line: Some(42),
        module: "[jit]".to_owned(),
        inlined: false,
    };
    assert_eq!(frames_at(&symbolizer.resolve(), code + 8), [expected]);
}

/// Where in the map of a program a line with `name` begins.
fn in_map(map: &Left, name: &str) -> u64 {
    let text = fs::read_to_string(&map.0).unwrap();
    let line = text.lines().rfind(|line| line.contains(name));
    let line = line.unwrap_or_else(|| panic!("{name} not in {text}"));
    u64::from_str_radix(line.split(' ').next().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// The frame of the function that a program of a runtime has compiled.
fn frame_of(program: &Program, name: &str) -> Frame {
    let map = map_of(program);
    let address = in_map(&map, name) + 4;
    let mut events = program.events();
    events.push(stack(&[], &[address]));
    frames_at(&resolve(&events), address)[0].clone()
}

#[test]
fn functions_that_node_compiled_have_name_file_and_line() {
    const SOURCE: &str = "// The first line.
function fibonacci(n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
fibonacci(27);
console.log('ready');
process.stdin.on('data', () => {});
";
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no node");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("program.js");
    fs::write(&script, SOURCE).unwrap();
    // It leaves a log where it runs.
    let mut node = Command::new("node");
    node.arg("--perf-basic-prof").arg(&script).current_dir(directory.path());
    let program = Program::start(&mut node);
    let frame = frame_of(&program, "fibonacci");
    assert_eq!((frame.function.as_str(), frame.line), ("fibonacci", Some(2)));
    assert_eq!(frame.file.as_deref(), script.to_str());
}

#[test]
fn functions_that_python_tells_of_have_name_and_file() {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut pythons: Vec<PathBuf> = versions.map(|it| it.path().join("bin/python3")).collect();
    pythons.push("/usr/bin/python3".into());
    let tells = |python: &&PathBuf| {
        let test = "import sys; sys.exit(not getattr(sys, 'activate_stack_trampoline', None))";
        Command::new(python).args(["-c", test]).status().is_ok_and(|status| status.success())
    };
    let Some(python) = pythons.iter().find(tells) else {
        println!("skipped: no Python with perf support");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("program.py");
    fs::write(
        &script,
        "import sys\ndef work(): print('ready', flush=True); sys.stdin.read()\nwork()\n",
    )
    .unwrap();
    let program = Program::start(Command::new(python).args(["-X", "perf"]).arg(&script));
    let frame = frame_of(&program, "py::work");
    assert_eq!((frame.function.as_str(), frame.file.as_deref()), ("work", script.to_str()));
}

#[test]
fn methods_that_java_compiled_have_a_name() {
    const SOURCE: &str = "
        public class Program {
            static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
            public static void main(String[] arguments) throws Exception {
                System.out.println(\"fibonacci \" + fibonacci(32));
                System.out.println(\"ready\");
                System.in.read();
            }
        }";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("Program.java");
    fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("javac").arg(&source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        println!("skipped: no Java compiler");
        return;
    }
    let program =
        Program::start(Command::new("java").arg("-cp").arg(directory.path()).arg("Program"));
    let pid = program.pid().to_string();
    let asked =
        Command::new("jcmd").args([&pid, "Compiler.perfmap"]).stdout(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        println!("skipped: this Java writes no map");
        return;
    }
    let frame = frame_of(&program, "Program.fibonacci");
    assert!(frame.function.contains("Program.fibonacci(int)"), "{frame:?}");
    assert_eq!(frame.module, "[jit]");
}

/// Anybody may write a file of that name before the program does.
#[test]
fn a_map_that_is_not_the_programs_own_names_nothing_and_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &[]) else { return };
    let program = Program::start(&mut Command::new(path));
    let code = program.number("code");
    let map = map_of(&program);
    let named = || {
        let mut events = program.events();
        events.push(stack(&[], &[code]));
        function(&resolve(&events), code)
    };
    let nameless = format!("[anon]+{code:#x}");
    let text = directory.path().join("text");
    fs::write(&text, format!("{code:x} 10 theirs\n")).unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();

    std::os::unix::fs::symlink(&text, &map.0).unwrap();
    assert_eq!(named(), nameless, "a symbolic link");
    fs::remove_file(&map.0).unwrap();
    assert!(Command::new("mkfifo").arg(&map.0).status().unwrap().success());
    assert_eq!(named(), nameless, "a FIFO");
    fs::remove_file(&map.0).unwrap();
    fs::copy(&text, &map.0).unwrap();
    assert_eq!(named(), "theirs", "an honest file");
    if give_away(&map.0) {
        assert_eq!(named(), nameless, "a file of another user");
    }
}

fn give_away(path: &Path) -> bool {
    std::os::unix::fs::chown(path, Some(65534), None).is_ok()
}
