//! Files and processes that are gone by the time of naming.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use object::Object;
use whyslow_events::Event;
use whyslow_symbols::Symbolizer;

use crate::program::{Program, compile, facts, frames_at, resolve, stack};

const SOURCE: &str = r#"
    #include <stdio.h>
    void NAME(void) {}
    int main(void) { printf("address %p\nready\n", (void *)NAME); fflush(stdout); getchar(); }
"#;

/// A program with a function `name`, laid out alike whatever the name.
fn build(directory: &Path, name: &str, flags: &[&str]) -> Option<std::path::PathBuf> {
    fs::create_dir_all(directory).unwrap();
    let flags = [&["-O0", "-Wl,--build-id"], flags].concat();
    compile(directory, "cc", &SOURCE.replace("NAME", name), &flags)
}

fn build_id(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    object::File::parse(&*bytes).unwrap().build_id().unwrap().expect("a build id").to_vec()
}

/// The events of a program, as an engine that knows build ids gives them.
fn with_build_id(mut events: Vec<Event>, file: &Path, id: &[u8]) -> Vec<Event> {
    for event in &mut events {
        if let Event::Mapping { path, build_id, .. } = event
            && Path::new(path) == file
        {
            *build_id = id.to_vec();
        }
    }
    events
}

#[test]
fn what_was_in_use_keeps_its_names_when_file_and_process_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = build(directory.path(), "first", &[]) else { return };
    let program = Program::start(&mut Command::new(&path));
    let address = program.number("address");
    let mut symbolizer = Symbolizer::new(facts());
    for event in program.events() {
        symbolizer.observe(&event);
    }
    symbolizer.observe(&stack(&[], &[address]));
    drop(program);
    fs::remove_file(&path).unwrap();
    build(directory.path(), "second", &[]).unwrap();
    assert_eq!(frames_at(&symbolizer.resolve(), address)[0].function, "first");
}

#[test]
fn of_a_process_that_is_gone_a_file_is_believed_by_its_build_id() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = build(directory.path(), "first", &[]) else { return };
    let program = Program::start(&mut Command::new(&path));
    let address = program.number("address");
    let events = program.events();
    drop(program);
    let id = build_id(&path);
    let named = |id: &[u8]| {
        let mut events = with_build_id(events.clone(), &path, id);
        events.push(stack(&[], &[address]));
        frames_at(&resolve(&events), address)[0].function.clone()
    };
    assert_eq!((named(&[]).as_str(), named(&id).as_str()), ("first", "first"));
    build(directory.path(), "second", &[]).unwrap();
    assert_eq!(named(&[]), "second", "nothing tells that it is another file");
    assert!(named(&id).starts_with("program+0x"), "{}", named(&id));
    build(directory.path(), "second", &["-Wl,--build-id=none"]).unwrap();
    assert!(named(&id).starts_with("program+0x"), "a file without a build id");
}

/// The root of a container is gone with its last process.
#[test]
fn a_program_in_a_root_that_is_gone_keeps_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = build(directory.path(), "first", &["-static"]) else { return };
    let mut chroot = Command::new("chroot");
    let ends = chroot.arg(directory.path()).arg("/program").stdin(Stdio::null());
    if !ends.stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("skipped: no privilege to change the root");
        return;
    }
    let program = Program::start(Command::new("chroot").arg(directory.path()).arg("/program"));
    let address = program.number("address");
    let mut symbolizer = Symbolizer::new(facts());
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
    fs::remove_dir_all(directory.path()).unwrap();
    assert_eq!(frames_at(&symbolizer.resolve(), address)[0].function, "first");
}
