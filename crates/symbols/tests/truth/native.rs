//! C, C++ and Rust programs: functions, lines, inlined calls, stripped files.

use std::fs;
use std::process::{Command, Stdio};

use whyslow_events::{Event, Frame};

use crate::program::{Program, SPACE, compile, events_of, frames_at, resolve, stack};

/// Prints the address of a function, and the return address and line of a
/// call in a function that is always inlined.
const C_PROGRAM: &str = r#"
#include <stdio.h>
static void __attribute__((noinline)) here(const char *what, int line) {
    printf("%s %p\n%s-line %d\n", what, __builtin_return_address(0), what, line);
}
static inline void __attribute__((always_inline)) inner(void) {
    here("inner", __LINE__);
    __asm__ volatile("");
}
static inline void __attribute__((always_inline)) middle(void) {
    inner(); printf("middle-line %d\n", __LINE__);
}
void outermost(void) {
    middle(); printf("outermost-line %d\n", __LINE__);
    here("plain", __LINE__);
    __asm__ volatile("");
}
int main(void) {
    printf("outermost %p\n", (void *)outermost);
    outermost();
    puts("ready"); fflush(stdout);
    getchar();
}
"#;

/// Function, line and whether it was inlined.
fn brief(frames: &[Frame]) -> Vec<(&str, Option<u64>, bool)> {
    frames.iter().map(|f| (f.function.as_str(), f.line.map(u64::from), f.inlined)).collect()
}

fn resolve_addresses(program: &Program, user: &[u64]) -> Vec<Event> {
    let mut events = program.events();
    events.push(stack(&[], user));
    resolve(&events)
}

#[test]
fn c_functions_have_names_files_lines_and_inlined_callers() {
    for optimisation in ["-O0", "-O2"] {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["-g", optimisation];
        let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &flags) else { return };
        let program = Program::start(&mut Command::new(path));
        let address = |key| program.number(key);
        let (exact, inner, plain) = (address("outermost"), address("inner"), address("plain"));
        let resolved = resolve_addresses(&program, &[exact, inner, plain]);

        let [frame] = &frames_at(&resolved, exact)[..] else { panic!("one frame") };
        assert_eq!((frame.function.as_str(), frame.module.as_str()), ("outermost", "program"));
        let source = directory.path().join("program.c");
        assert_eq!(frame.file.as_deref(), source.to_str());

        let frames = frames_at(&resolved, plain);
        let line = address("plain-line");
        assert_eq!(brief(&frames), [("outermost", Some(line), false)], "{optimisation}");

        let frames = frames_at(&resolved, inner);
        let expected = [
            ("inner", Some(address("inner-line")), true),
            ("middle", Some(address("middle-line")), true),
            ("outermost", Some(address("outermost-line")), false),
        ];
        assert_eq!(brief(&frames), expected, "{optimisation}");
    }
}

/// A call that does not return may be the last instruction of its function:
/// the return address then belongs to the next one.
#[test]
fn a_return_address_names_the_caller_even_where_the_next_function_begins() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        int main(void) {
            extern char caller_end[], caller[];
            printf("caller %p\nend %p\nready\n", caller, caller_end);
            fflush(stdout);
            getchar();
        }
        __asm__(".text\n.globl caller\n.type caller,@function\n"
                "caller: .skip 16\n.size caller, .-caller\n"
                ".globl caller_end\n.type caller_end,@function\n"
                "caller_end: .skip 16\n.size caller_end, .-caller_end\n");
    "#;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", SOURCE, &[]) else { return };
    let program = Program::start(&mut Command::new(path));
    let (caller, end) = (program.number("caller"), program.number("end"));
    assert_eq!(end, caller + 16);
    let named =
        |chain: &[u64]| frames_at(&resolve_addresses(&program, chain), end)[0].function.clone();
    assert_eq!(named(&[end]), "caller_end");
    assert_eq!(named(&[caller, end]), "caller");
}

#[test]
fn a_stripped_program_is_named_by_module_and_file_offset() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &["-s", "-O0"]) else { return };
    let program = Program::start(&mut Command::new(path));
    let address = program.number("outermost");
    let offset = program
        .events()
        .iter()
        .find_map(|event| match event {
            Event::Mapping { start, end, file_offset, .. } if (*start..*end).contains(&address) => {
                Some(address - start + file_offset)
            }
            _ => None,
        })
        .expect("the program maps its own function");
    let frames = frames_at(&resolve_addresses(&program, &[address]), address);
    let expected = Frame {
        function: format!("program+{offset:#x}"),
        module: "program".to_owned(),
        ..Frame::default()
    };
    assert_eq!(frames, [expected]);
}

#[test]
fn cpp_names_are_demangled() {
    const SOURCE: &str = r#"
        #include <cstdio>
        namespace shop {
            template <class T> struct Basket {
                static __attribute__((noinline)) int count(T, const char *) { return 1; }
            };
        }
        int main() {
            std::printf("count %p\nready\n", (void *)&shop::Basket<long>::count);
            std::fflush(stdout);
            std::getchar();
        }
    "#;
    for flags in [&["-g", "-O0"][..], &["-O0"]] {
        let directory = tempfile::tempdir().unwrap();
        let Some(path) = compile(directory.path(), "c++", SOURCE, flags) else { return };
        let program = Program::start(&mut Command::new(path));
        let address = program.number("count");
        let frames = frames_at(&resolve_addresses(&program, &[address]), address);
        assert_eq!(frames[0].function, "shop::Basket<long>::count(long, char const*)");
    }
}

#[inline(never)]
fn a_function_of_this_test() -> u32 {
    std::hint::black_box(line!())
}

#[test]
fn rust_names_are_demangled() {
    let address = a_function_of_this_test as fn() -> u32 as usize as u64;
    let mut events = events_of(std::process::id(), SPACE);
    events.push(stack(&[], &[address]));
    let frames = frames_at(&resolve(&events), address);
    let frame = frames.last().expect("a frame");
    assert_eq!(frame.function, "truth::native::a_function_of_this_test");
    assert!(
        frame.file.as_deref().is_some_and(|file| file.ends_with("truth/native.rs")),
        "{frame:?}"
    );
    let line = frame.line.expect("test binaries have lines");
    assert!((1..=a_function_of_this_test()).contains(&line), "{frame:?}");
}

#[test]
fn functions_of_the_vdso_have_names() {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <sys/auxv.h>
        #include <elf.h>
        #include <link.h>
        #include <string.h>
        int main(void) {
            char *base = (char *)getauxval(AT_SYSINFO_EHDR);
            ElfW(Ehdr) *header = (void *)base;
            ElfW(Phdr) *part = (void *)(base + header->e_phoff);
            ElfW(Dyn) *dynamic = 0;
            for (int i = 0; i < header->e_phnum; i++)
                if (part[i].p_type == PT_DYNAMIC) dynamic = (void *)(base + part[i].p_offset);
            ElfW(Sym) *symbols = 0;
            char *names = 0;
            for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
                if (dynamic->d_tag == DT_SYMTAB) symbols = (void *)(base + dynamic->d_un.d_ptr);
                if (dynamic->d_tag == DT_STRTAB) names = base + dynamic->d_un.d_ptr;
            }
            for (int i = 1; symbols && (char *)(symbols + i) < names; i++)
                if (strstr(names + symbols[i].st_name, "vdso_clock_gettime"))
                    printf("clock %p\n", base + symbols[i].st_value);
            puts("ready"); fflush(stdout);
            getchar();
        }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", SOURCE, &[]) else { return };
    let program = Program::start(&mut Command::new(path));
    if program.said.is_empty() {
        println!("skipped: this kernel has no such function in its vDSO");
        return;
    }
    let address = program.number("clock");
    let frames = frames_at(&resolve_addresses(&program, &[address, address + 4]), address);
    assert!(frames[0].function.ends_with("clock_gettime"), "{frames:?}");
    assert_eq!(frames[0].module, "[vdso]");
}

/// The name the kernel gives is of no use: the file is gone, or another one
/// has its name now.
#[test]
fn a_program_that_was_replaced_is_still_read_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &["-g", "-O0"]) else { return };
    let program = Program::start(&mut Command::new(&path));
    let address = program.number("outermost");
    let before = program.events();
    if fs::read_dir(format!("/proc/{}/map_files", program.pid())).is_err() {
        println!("skipped: no privilege to read map_files");
        return;
    }
    fs::remove_file(&path).unwrap();
    let deleted = program.events();
    fs::write(&path, "another file").unwrap();
    for mut events in [before, deleted] {
        events.push(stack(&[], &[address]));
        assert_eq!(frames_at(&resolve(&events), address)[0].function, "outermost");
    }
}

/// Twenty thousand addresses are few enough to name each time a recording
/// ends; each is named once, in batches a reader can hold.
#[test]
fn many_addresses_come_in_bounded_batches_each_once() {
    let mut events = events_of(std::process::id(), SPACE);
    let start = a_function_of_this_test as fn() -> u32 as usize as u64;
    let addresses: Vec<u64> = (0..10_000).map(|index| start + index * 16).collect();
    events.push(stack(&[], &addresses));
    let mut resolved = resolve(&events);
    // That our own file is known by its build id now is another matter.
    resolved.retain(|event| !matches!(event, Event::Mapping { .. }));
    let batch = |event: &Event| match event {
        Event::Symbols(batch) => batch.len(),
        other => panic!("unexpected {other:?}"),
    };
    let sizes: Vec<usize> = resolved.iter().map(batch).collect();
    assert!(sizes.iter().all(|size| (1..=4096).contains(size)), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), addresses.len());
}

/// The kernel names a file as its process sees it.
#[test]
fn a_program_in_another_root_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-g", "-O0", "-static"];
    let Some(path) = compile(directory.path(), "cc", C_PROGRAM, &flags) else { return };
    let mut chroot = Command::new("chroot");
    chroot.arg(directory.path());
    if !chroot
        .args(["/program", "--version"])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("skipped: no privilege to change the root");
        return;
    }
    let program = Program::start(Command::new("chroot").arg(directory.path()).arg("/program"));
    let address = program.number("outermost");
    let mut events = program.events();
    let outside = path.to_str().unwrap();
    for event in &mut events {
        if let Event::Mapping { path, .. } = event
            && path == outside
        {
            *path = "/program".to_owned();
        }
    }
    events.push(stack(&[], &[address]));
    assert_eq!(frames_at(&resolve(&events), address)[0].function, "outermost");
}
