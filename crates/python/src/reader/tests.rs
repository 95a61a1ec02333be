//! The reader on an interpreter made of bytes: sound, moving, and bent.

use super::*;
use crate::fake::{Fake, NUMBER, VERSION};
use crate::layout::Layout;

const BOTH: [Motion; 2] = [Motion::Running, Motion::Blocked];

fn reader(fake: &Fake) -> Reader {
    Reader::new(fake, fake.runtime, Some(VERSION)).unwrap()
}

/// A stack of `outer`, `middle` and `inner`, and the code of the last.
fn three_calls() -> (Fake, u64) {
    let mut fake = Fake::new();
    for (number, name) in ["outer", "middle"].into_iter().enumerate() {
        let code = fake.code(name, 10 * number as u32);
        fake.call(code, 1);
    }
    let inner = fake.code("inner", 20);
    fake.call(inner, 3);
    (fake, inner)
}

fn read(fake: &Fake, motion: Motion) -> Result<Stack, Rejection> {
    reader(fake).try_read(fake, &fake.thread(), motion)
}

fn names(stack: &Stack) -> Vec<(&str, Option<u32>)> {
    stack.frames.iter().map(|frame| (&*frame.code.function, frame.line)).collect()
}

#[test]
fn a_sound_stack_is_read() {
    let (mut fake, _) = three_calls();
    let Layout { frame: at, .. } = fake.layout;
    let crate::layout::Entry::Flag(flag) = at.entry else { panic!("{at:?}") };
    fake.put(fake.frame + flag, &[1]);
    for motion in BOTH {
        let stack = read(&fake, motion).unwrap();
        assert_eq!(names(&stack), [("inner", Some(24)), ("middle", Some(12)), ("outer", Some(2))]);
        assert_eq!(&*stack.frames[0].code.file, "file.py");
        let entries: Vec<_> = stack.frames.iter().map(|frame| frame.entry).collect();
        assert_eq!((entries, stack.truncated), (vec![true, false, false], false));
    }
}

#[test]
fn threads_are_listed_and_a_thread_without_python_code_has_no_frames() {
    let fake = Fake::new();
    let found = reader(&fake).interpreters(&fake).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].threads, [fake.thread()]);
    for motion in BOTH {
        assert_eq!(read(&fake, motion).unwrap().frames, []);
    }
}

#[test]
fn of_a_thread_that_returns_meanwhile_the_calls_outside_are_kept() {
    let (fake, _) = three_calls();
    let at = fake.layout.frame;
    let mut reader = reader(&fake);
    let thread = fake.thread();
    assert!(reader.try_read(&fake, &thread, Motion::Running).is_ok());
    fake.meanwhile.set(Some((fake.frame + at.previous, 0)));
    let stack = reader.try_read(&fake, &thread, Motion::Running).unwrap();
    assert!(stack.moved);
    assert_eq!(names(&stack), [("middle", Some(12)), ("outer", Some(2))]);
    assert!(reader.try_read(&fake, &thread, Motion::Blocked).is_ok());
    // Nothing says where its calls begin.
    let mut reader = self::reader(&fake);
    assert_eq!(reader.try_read(&fake, &thread, Motion::Running), Err(Rejection::Moved));
}

#[test]
fn only_the_innermost_frame_may_go_on() {
    let (fake, inner) = three_calls();
    let (at, start) = (fake.layout.frame, fake.layout.code.instructions.unwrap());
    let mut reader = reader(&fake);
    let thread = fake.thread();
    assert!(reader.try_read(&fake, &thread, Motion::Running).is_ok());
    fake.meanwhile.set(Some((fake.frame + at.instruction, inner + start)));
    let stack = reader.try_read(&fake, &thread, Motion::Running).unwrap();
    assert_eq!(names(&stack)[0], ("inner", Some(21)));

    let image = fake.image();
    let mut previous = [0; 8];
    assert!(image.read(fake.frame + at.previous, &mut previous));
    let middle = u64::from_le_bytes(previous);
    let mut code = [0; 8];
    assert!(image.read(middle + at.code, &mut code));
    fake.meanwhile.set(Some((middle + at.instruction, u64::from_le_bytes(code) + start)));
    let stack = reader.try_read(&fake, &thread, Motion::Running).unwrap();
    assert!(stack.moved, "the call inside is another");
    assert_eq!(names(&stack), [("middle", Some(11)), ("outer", Some(2))]);
    let read = reader.read(&fake, &thread, Motion::Running);
    assert!(matches!(read, Read::Outside(_)) && reader.counters().moved == 1, "{read:?}");
}

#[test]
fn a_thread_may_run_a_copy_of_the_bytecode() {
    let (mut fake, inner) = three_calls();
    let (copies, copy) = (fake.object(), fake.object());
    fake.layout.code.copies = Some(240);
    fake.layout.frame.copy = Some(240);
    fake.set(inner + 240, copies);
    fake.set(copies, 2);
    fake.set(copies + 16, copy);
    fake.put(fake.frame + 240, &1_u32.to_le_bytes());
    let mut reader = reader(&fake);
    reader.layout = fake.layout;
    for (place, line) in [(copy, Some(22)), (inner, None), (copy + 8, None)] {
        fake.set(fake.frame + fake.layout.frame.instruction, place + 2);
        for motion in BOTH {
            let read = reader.try_read(&fake, &fake.thread(), motion);
            let found = read.map(|stack| names(&stack)[0].1);
            let lost = Err(Rejection::Damaged(Trouble::Nonsense(fake.frame)));
            assert_eq!(found, line.map_or(lost, |line| Ok(Some(line))), "{motion:?}");
        }
    }
}

#[test]
fn another_code_object_at_the_same_address_is_another_function() {
    let (mut fake, inner) = three_calls();
    let mut reader = reader(&fake);
    let thread = fake.thread();
    reader.try_read(&fake, &thread, Motion::Running).unwrap();
    let (at, name) = (fake.layout.code, fake.text("new"));
    fake.set(inner + at.name, name);
    fake.set(inner + at.qualified_name.unwrap(), name);
    let stack = reader.try_read(&fake, &thread, Motion::Running).unwrap();
    assert_eq!(names(&stack)[0], ("new", Some(24)));
}

#[test]
fn another_thread_at_the_same_address_is_not_taken_for_it() {
    let (mut fake, _) = three_calls();
    let thread = fake.thread();
    fake.set(fake.thread + fake.layout.thread.native.unwrap(), NUMBER + 1);
    for motion in BOTH {
        assert_eq!(reader(&fake).try_read(&fake, &thread, motion), Err(Rejection::Gone));
    }
}

#[test]
fn a_deep_stack_is_cut_and_keeps_its_innermost_frames() {
    let mut fake = Fake::new();
    let code = fake.code("deep", 1);
    for _ in 0..2100 {
        fake.call(code, 0);
    }
    let last = fake.code("last", 1);
    fake.call(last, 0);
    // A read of the fake copies all of it: the frames are listed once.
    let image = fake.image();
    let mut reader = Reader::new(&image, fake.runtime, Some(VERSION)).unwrap();
    for motion in BOTH {
        let stack = reader.try_read(&image, &fake.thread(), motion).unwrap();
        assert_eq!((stack.frames.len(), stack.truncated), (2048, true));
        assert_eq!(names(&stack)[0].0, "last");
    }
}

/// Bends a sound stack, and gives what both kinds of read say.
fn bent(bend: impl FnOnce(&mut Fake, u64)) -> Trouble {
    let (mut fake, inner) = three_calls();
    bend(&mut fake, inner);
    let [running, blocked] = BOTH.map(|motion| read(&fake, motion).unwrap_err());
    match blocked {
        Rejection::Damaged(trouble) => {
            // What is found only when code is named may also have moved.
            assert!(running == blocked || running == Rejection::Moved, "{running}");
            trouble
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_list_of_frames_without_end_is_left() {
    let trouble = bent(|fake, _| {
        let (at, innermost) = (fake.layout.frame, fake.frame);
        let image = fake.image();
        let mut middle = [0; 8];
        assert!(image.read(innermost + at.previous, &mut middle));
        fake.set(u64::from_le_bytes(middle) + at.previous, innermost);
    });
    assert!(matches!(trouble, Trouble::Endless(_)), "{trouble}");
}

#[test]
fn pointers_to_nowhere_are_told() {
    const NOWHERE: u64 = 0xdead_beef_0000;
    let frame = bent(|fake, _| fake.set(fake.frame + fake.layout.frame.previous, NOWHERE));
    assert_eq!(frame, Trouble::Unreadable(NOWHERE));
    let frame = bent(|fake, _| fake.set(fake.frame + fake.layout.frame.previous, 3));
    assert_eq!(frame, Trouble::Nonsense(3));
    let code = bent(|fake, _| fake.set(fake.frame + fake.layout.frame.code, NOWHERE));
    assert_eq!(code, Trouble::Unreadable(NOWHERE));
    let name = bent(|fake, inner| {
        fake.set(inner + fake.layout.code.qualified_name.unwrap(), NOWHERE);
    });
    assert_eq!(name, Trouble::Unreadable(NOWHERE));
    let last = bent(|fake, _| fake.set(fake.frame + fake.layout.frame.previous, u64::MAX - 7));
    assert_eq!(last, Trouble::Unreadable(u64::MAX - 7));
}

#[test]
fn what_is_no_code_object_is_not_read_as_one() {
    let trouble = bent(|fake, inner| {
        let other = fake.object();
        fake.set(other + fake.layout.type_name, other);
        fake.set(inner + fake.layout.object_type, other);
    });
    assert!(matches!(trouble, Trouble::Nonsense(_)), "{trouble}");
    let beyond = bent(|fake, inner| fake.set(inner + fake.layout.size, 1));
    assert!(matches!(beyond, Trouble::Nonsense(_)), "{beyond}");
}

#[test]
fn an_absurd_length_is_not_believed() {
    let string = bent(|fake, inner| {
        let name = fake.text("x");
        fake.set(name + fake.layout.text.length, u64::MAX);
        fake.set(inner + fake.layout.code.qualified_name.unwrap(), name);
    });
    assert!(matches!(string, Trouble::Unreadable(_)), "{string}");
    let table = bent(|fake, inner| {
        let lines = fake.object();
        fake.set(lines + fake.layout.size, u64::MAX);
        fake.set(inner + fake.layout.code.lines, lines);
    });
    assert!(matches!(table, Trouble::Unreadable(_)), "{table}");
}

#[test]
fn every_read_is_counted() {
    let (mut fake, _) = three_calls();
    let mut reader = reader(&fake);
    let thread = fake.thread();
    reader.read(&fake, &thread, Motion::Running);
    fake.meanwhile.set(Some((fake.frame + fake.layout.frame.previous, 0)));
    reader.read(&fake, &thread, Motion::Running);
    fake.meanwhile.set(None);
    fake.set(fake.frame + fake.layout.frame.previous, 8);
    reader.read(&fake, &thread, Motion::Blocked);
    fake.set(fake.thread + fake.layout.thread.native.unwrap(), 0);
    reader.read(&fake, &thread, Motion::Blocked);
    let counters = Counters { accepted: 1, moved: 1, gone: 1, damaged: 1 };
    assert_eq!(reader.counters(), counters);
}

#[test]
fn a_list_of_threads_that_makes_no_sense_says_so() {
    let mut fake = Fake::new();
    fake.set(fake.thread + fake.layout.thread.next, fake.thread);
    let found = reader(&fake).interpreters(&fake).unwrap();
    assert_eq!(found[0].threads, [fake.thread()]);
    assert_eq!(found[0].trouble, Some(Trouble::Endless(fake.thread)));
    fake.set(fake.interpreter + fake.layout.interpreter.next, fake.interpreter);
    let error = reader(&fake).interpreters(&fake).unwrap_err();
    assert_eq!(error, Trouble::Endless(fake.interpreter));
}
