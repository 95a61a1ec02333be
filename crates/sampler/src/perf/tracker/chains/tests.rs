//! Which wait and which sample has which call chain. The stacks are simple:
//! each word is a frame, and the first zero the end.

use whyslow_events::{
    Event, Fallback, GilHolder, GilPlace, ReadScripts, ScriptRead, TargetProcess, Unwound,
};

use super::further::OVERLAP;
use super::*;
use crate::perf::KernelCalls;
use crate::perf::calls::Functions;
use crate::perf::record::{Body, Record};
use crate::perf::tally::{AtEnd, Stay, Tally, Why};
use crate::perf::waits::Call;
use crate::target::Attached;

/// Marks of the kernel's half in a chain.
const KERNEL: u64 = -128i64 as u64;
const PC: u64 = 0x4000;
const USER: u64 = -512i64 as u64;
const START: u64 = 1000;
/// A return address into where a stack begins.
const FIRST: u64 = 0x9000;

/// Takes every word of a stack for a return address. What was read later begins
/// with that of a call when it is an even one.
struct Words;

impl Unwind for Words {
    fn observe(&mut self, _: &Event) {}

    fn unwind(&mut self, _: SpaceId, registers: &UserRegisters, stack: StackMemory<'_>) -> Unwound {
        let mut addresses = vec![registers.pc];
        if registers.pc + 1 == FIRST {
            return Unwound { addresses, end: StackEnd::Complete };
        }
        for at in (registers.sp()..).step_by(8) {
            match stack.word(at) {
                Some(0) => return Unwound { addresses, end: StackEnd::Complete },
                Some(word) if stack.later == Some(at) && word % 2 == 1 => {
                    return Unwound { addresses, end: StackEnd::BadUnwindInfo };
                }
                Some(word) => addresses.push(word),
                None => break,
            }
        }
        Unwound { addresses, end: StackEnd::CopyTooShort }
    }

    /// Functions of 16 bytes.
    fn function(&mut self, _: SpaceId, address: u64) -> Option<u64> {
        Some(address / 16 * 16)
    }
}

/// No interpreter runs.
struct NoScripts;

impl ReadScripts for NoScripts {
    fn observe(&mut self, _: &Event) {}

    fn read(&mut self, _: SpaceId, _: Tid, _: &dyn TargetProcess, _: bool) -> ScriptRead {
        ScriptRead::Nothing
    }

    fn gil(&mut self, _: SpaceId, _: Tid, _: &dyn TargetProcess) -> Option<(GilPlace, GilHolder)> {
        None
    }

    fn may_run_in(&self, _: SpaceId) -> bool {
        false
    }

    fn refusals(&self) -> Vec<Fallback> {
        vec![]
    }
}

/// The kernel's function that executes a program, and the one behind it.
const KERNEL_FUNCTIONS: Functions =
    Functions(&[(0xe00000, "__x64_sys_execve"), (0xe00100, "__x64_sys_read"), (0xe00200, "other")]);
const EXECUTES: u64 = 0xe00010;
const READS_FILE: u64 = 0xe00110;

/// A tracker of this very process, as if it had one thread.
fn tracker() -> (Tracker, u32) {
    let pid = std::process::id();
    let mut tracker = Tracker::new(KernelCalls::among(&KERNEL_FUNCTIONS), true, START);
    let (unwinder, scripts) = (Box::new(Words), Box::new(NoScripts));
    tracker.read_with(Readers { unwinder, scripts, kernel: Box::new(KERNEL_FUNCTIONS) });
    let process = Attached { pid, parent: None, name: "prog".into(), mappings: vec![] };
    tracker.adopt(START, process);
    tracker.begin_thread(START, pid, pid, "prog".into());
    (tracker, pid)
}

fn copy(sp: u64, words: &[u64]) -> Option<Box<UserStack>> {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let registers = UserRegisters::new(PC, sp);
    Some(Box::new(UserStack { registers, bytes, narrow: false }))
}

/// The stack of the thread, with one kernel frame.
fn stack(address: u64, sp: u64, words: &[u64]) -> Body {
    Body::Stack { chain: Box::from([KERNEL, address]), user: copy(sp, words) }
}

/// The thread goes to wait with its stack pointer there.
fn waits(pid: u32, sp: u64) -> Body {
    let registers = Some(Registers::from_ring([0, 0, 0, 0, 0, sp, PC]));
    Body::Switch { previous: pid, state: 1, next: 7, registers, ran: None }
}

/// The thread is preempted at `pc`, and wants to go on.
fn preempted(pid: u32, pc: u64, sp: u64) -> Body {
    let registers = Some(Registers::from_ring([0, 0, 0, 0, 0, sp, pc]));
    Body::Switch { previous: pid, state: 0, next: 7, registers, ran: None }
}

fn runs(pid: u32) -> Body {
    Body::switch(7, 1, pid)
}

/// Kernel half, user half, and how that ends.
type Halves = (Vec<u64>, Vec<u64>, StackEnd);

/// The stacks of the waits and samples in `bodies`: kernel half, user half, end.
fn stacks(bodies: Vec<Body>) -> Vec<Option<Halves>> {
    let (mut tracker, pid) = tracker();
    record(&mut tracker, pid, START + 1, bodies);
    stacks_told(&mut tracker)
}

fn record(tracker: &mut Tracker, pid: u32, start: u64, bodies: Vec<Body>) {
    for (time, body) in (start..).zip(bodies) {
        let tid = if matches!(body, Body::Switch { previous: 7, .. }) { 7 } else { pid };
        tracker.record(0, Record { time, tid, body });
    }
}

fn stacks_told(tracker: &mut Tracker) -> Vec<Option<Halves>> {
    let events: Vec<Event> = tracker.take_events().map(|timed| timed.event).collect();
    let defined = |wanted: StackId| {
        events.iter().find_map(|event| match event {
            Event::Stack { id, kernel, user, end, .. } if *id == wanted => {
                Some((kernel.clone(), user.clone(), *end))
            }
            _ => None,
        })
    };
    let used = events.iter().filter_map(|event| match event {
        Event::SwitchOut { stack, .. } | Event::Sample { stack, .. } => Some(*stack),
        Event::TalliedIn { stack, .. } => Some(Some(*stack)),
        _ => None,
    });
    used.map(|stack| stack.and_then(defined)).collect()
}

fn whole(kernel: &[u64], user: &[u64]) -> Option<Halves> {
    Some((kernel.to_vec(), user.to_vec(), StackEnd::Complete))
}

#[test]
fn a_wait_has_the_stack_that_was_copied_at_its_switch() {
    let pid = std::process::id();
    let found = stacks(vec![runs(pid), stack(0xf1, 0x7000, &[0x11, 0x12, 0]), waits(pid, 0x7000)]);
    assert_eq!(found, [whole(&[0xf1], &[PC, 0x11, 0x12])]);
}

#[test]
fn a_wait_that_was_not_copied_has_the_stack_of_its_place() {
    let pid = std::process::id();
    let found = stacks(vec![
        runs(pid),
        stack(0xf1, 0x7000, &[0x11, 0]),
        waits(pid, 0x7000),
        runs(pid),
        waits(pid, 0x7000),
        runs(pid),
        waits(pid, 0x6000),
    ]);
    assert_eq!(
        found,
        [
            whole(&[0xf1], &[PC, 0x11]),
            Some((vec![0xf1], vec![PC, 0x11], StackEnd::SamePlace)),
            None,
        ]
    );
}

#[test]
fn a_wait_that_is_only_tallied_has_the_stack_of_its_place() {
    let (mut tracker, pid) = tracker();
    let wait = |from| vec![runs(pid), stack(0xf1, 0x7000, &[from, 0]), waits(pid, 0x7000)];
    record(&mut tracker, pid, START + 1, [wait(0x11), vec![runs(pid)]].concat());
    for (pause, sp) in (1..).map(|pause| START + 100 * pause).zip([0x7000, 0x6000, 0x7000]) {
        let call = Call::Number(230);
        let why = Why::Left { state: 1, call, pc: PC, sp, arguments: [0; 3] };
        let stay = Stay { tid: pid, why, times: 1, off_ns: 1, queued_ns: 0 };
        record(&mut tracker, pid, pause, vec![Body::Paused { tallied: true }]);
        let (stays, ran, ends) = (vec![stay], vec![(pid, 1)], vec![(pid, AtEnd::Runs)]);
        tracker.note_tally(pause + 10, Tally { stays, ran, ends });
        record(&mut tracker, pid, pause + 20, vec![Body::Resumed]);
        record(&mut tracker, pid, pause + 30, wait(0x12));
    }
    let lent = |from| Some((vec![0xf1], vec![PC, from], StackEnd::SamePlace));
    let taken = |from| whole(&[0xf1], &[PC, from]);
    // Of the last wait there, and none where nobody saw one.
    let expected = [taken(0x11), lent(0x11), taken(0x12), taken(0x12), lent(0x12), taken(0x12)];
    assert_eq!(stacks_told(&mut tracker), expected);
}

#[test]
fn a_wait_whose_copy_was_too_short_has_the_stack_of_its_place() {
    let pid = std::process::id();
    let found = stacks(vec![
        runs(pid),
        stack(0xf1, 0x7000, &[0x11]),
        waits(pid, 0x7000),
        runs(pid),
        stack(0xf2, 0x7000, &[0x11, 0x12, 0]),
        waits(pid, 0x7000),
        runs(pid),
        stack(0xf3, 0x7000, &[0x11]),
        waits(pid, 0x7000),
    ]);
    let short = Some((vec![0xf1], vec![PC, 0x11], StackEnd::CopyTooShort));
    let lent = Some((vec![0xf3], vec![PC, 0x11, 0x12], StackEnd::SamePlace));
    assert_eq!(found, [short, whole(&[0xf2], &[PC, 0x11, 0x12]), lent]);
}

#[test]
fn a_sample_has_its_copied_stack_and_without_one_no_user_half() {
    let pid = std::process::id();
    let clock = |user| Body::Clock { kernel: true, chain: Box::from([KERNEL, 0xf1]), user };
    let found = stacks(vec![runs(pid), clock(copy(0x7000, &[0x11, 0])), clock(None)]);
    assert_eq!(found, [whole(&[0xf1], &[PC, 0x11]), Some((vec![0xf1], vec![], StackEnd::None))]);
}

#[test]
fn a_thread_whose_program_is_gone_has_no_user_half_to_be_had() {
    let pid = std::process::id();
    let clock = |function, user| Body::Clock {
        kernel: true,
        chain: Box::from([KERNEL, 0xf1, function]),
        user,
    };
    let found = stacks(vec![
        runs(pid),
        clock(EXECUTES, copy(0x7000, &[])),
        clock(EXECUTES, None),
        clock(EXECUTES, copy(0x7000, &[0x11, 0])),
        clock(READS_FILE, copy(8, &[])),
        stack(EXECUTES, 0x7000, &[]),
        waits(pid, 0x7000),
    ]);
    let gone = whole(&[0xf1, EXECUTES], &[]);
    let there = whole(&[0xf1, EXECUTES], &[PC, 0x11]);
    let hidden = Some((vec![0xf1, READS_FILE], vec![PC], StackEnd::CopyTooShort));
    assert_eq!(found, [gone.clone(), gone, there, hidden, whole(&[EXECUTES], &[])]);
}

#[test]
fn who_is_killed_where_it_waited_has_the_stack_of_that_wait() {
    let pid = std::process::id();
    let dies = |sp| Body::Clock {
        kernel: true,
        chain: Box::from([KERNEL, EXECUTES]),
        user: copy(sp, &[]),
    };
    let found = stacks(vec![
        runs(pid),
        stack(READS_FILE, 0x7000, &[0x11, 0]),
        waits(pid, 0x7000),
        runs(pid),
        dies(0x7000),
        dies(0x6000),
    ]);
    let lent = Some((vec![EXECUTES], vec![PC, 0x11], StackEnd::SamePlace));
    assert_eq!(found[1..], [lent, whole(&[EXECUTES], &[])]);
}

#[test]
fn a_copy_that_leads_nowhere_goes_on_by_frame_pointers_to_where_a_stack_begins() {
    let pid = std::process::id();
    let clock = |by_pointers: &[u64]| {
        let chain = [&[KERNEL, 0xf1, USER], by_pointers].concat().into();
        Body::Clock { kernel: true, chain, user: copy(0x7000, &[0x11]) }
    };
    let found = stacks(vec![
        runs(pid),
        clock(&[PC, 0x11, 0x12, FIRST]),
        clock(&[PC, 0x11, 0x12]),
        clock(&[PC, 0x13, FIRST]),
    ]);
    let short = Some((vec![0xf1], vec![PC, 0x11], StackEnd::CopyTooShort));
    assert_eq!(found, [whole(&[0xf1], &[PC, 0x11, 0x12, FIRST]), short.clone(), short]);
}

#[test]
fn a_copy_that_was_too_short_is_read_on_where_its_outermost_call_is_still_there_or_called() {
    const COPIED: usize = 100;
    let pid = std::process::id();
    let mut stack: Vec<u64> = (1..=200).collect();
    stack.push(0);
    let sp = stack.as_ptr() as u64;
    let sample =
        |words: &[u64]| Body::Clock { kernel: false, chain: Box::from([]), user: copy(sp, words) };
    let all: Vec<u64> = std::iter::once(PC).chain(1..=200).collect();
    let mut moved_on = stack[..COPIED].to_vec();
    moved_on[COPIED - 1] = 77;
    let mut called = stack[..=COPIED].to_vec();
    called[COPIED] = 77;
    let samples = [sample(&stack[..COPIED]), sample(&moved_on), sample(&called)];
    let found = stacks([vec![runs(pid)], samples.into()].concat());
    assert_eq!(found[0], Some((vec![], all, StackEnd::Extended)));
    let (_, user, end) = found[1].clone().unwrap();
    assert_eq!((user.len(), end), (1 + COPIED, StackEnd::CopyTooShort));
    let (_, user, end) = found[2].clone().unwrap();
    assert_eq!((user.len(), user[1 + COPIED], end), (1 + 200, 77, StackEnd::Extended));
}

#[test]
fn where_a_copy_has_changed_since_what_lay_beyond_it_before_is_believed() {
    const COPIED: usize = 100;
    let pid = std::process::id();
    let mut stack: Vec<u64> = (1..=200).collect();
    stack.push(0);
    let sp = stack.as_ptr() as u64;
    let (mut tracker, _) = tracker();
    let sampled = |tracker: &mut Tracker, time, stack: &[u64]| {
        let user = copy(sp, &stack[..COPIED]);
        let body = Body::Clock { kernel: false, chain: Box::from([]), user };
        tracker.record(0, Record { time, tid: pid, body });
    };
    let before = stack.clone();
    sampled(&mut tracker, START + 1, &before);
    stack[COPIED - 1..].fill(77);
    std::hint::black_box(&stack);
    sampled(&mut tracker, START + 2, &before);
    let ids = tracker.take_events().filter_map(|timed| match timed.event {
        Event::Sample { stack, .. } => Some(stack),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    assert!(ids.len() == 2 && ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
}

#[test]
fn no_more_of_large_stacks_is_read_than_the_recorder_can_pay_for() {
    const COPIED: usize = 100;
    const SAMPLES: u64 = 100;
    let pid = std::process::id();
    let mut stack: Vec<u64> = vec![1; 1 << 17];
    stack.push(0);
    let sp = stack.as_ptr() as u64;
    let (mut tracker, _) = tracker();
    // A megabyte lies beyond each copy, and never beyond the same call.
    let mut sample = |time: u64| {
        stack[COPIED - 1] = time;
        let user = copy(sp, &std::hint::black_box(&stack)[..COPIED]);
        let body = Body::Clock { kernel: false, chain: Box::from([]), user };
        tracker.record(0, Record { time, tid: pid, body });
        let mut ends = tracker.take_events().filter_map(|timed| match timed.event {
            Event::Stack { end, .. } => Some(end),
            _ => None,
        });
        ends.next_back()
    };
    let ends: Vec<_> = (1..=SAMPLES).filter_map(|after| sample(START + after)).collect();
    let count = |wanted| ends.iter().filter(|end| **end == wanted).count() as u64;
    let (read, refused) = (count(StackEnd::Extended), count(StackEnd::OverBudget));
    assert_eq!(read + refused, SAMPLES, "{ends:?}");
    assert!((20..=32).contains(&read), "{read} MiB in no time");
    assert_eq!(sample(START + 1_000_000_000), Some(StackEnd::Extended), "a second later");
}

#[test]
fn copies_are_too_short_as_soon_as_that_is_certain_and_large_enough_after_a_while() {
    let (mut tracker, pid) = tracker();
    let mut time = START;
    let mut are_short = |copies: &[&[u64]]| {
        for words in copies {
            time += 1;
            // Nothing can be read there.
            let body = Body::Clock { kernel: false, chain: Box::from([]), user: copy(8, words) };
            tracker.record(0, Record { time, tid: pid, body });
        }
        tracker.copies_are_short()
    };
    let (short, whole): (&[u64], &[u64]) = (&[1, 2], &[1, 0]);
    assert!(!are_short(&[short]), "one in a hundred may be");
    assert!(are_short(&[short]), "of the first 128 more than one in a hundred are");
    assert!(!are_short(&[short]), "it is counted anew");
    assert!(!are_short(&[whole; 127]));
    assert!(!are_short(&[short]), "the one before was of other samples");
    assert!(are_short(&[whole, short]));
}

#[test]
fn what_proves_a_copy_is_its_outermost_call_and_without_one_its_end() {
    let bytes: Vec<u8> = [5_u64, 8, 9, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(proof(&bytes, &[PC, 5, 8]), Some(8..16));
    assert_eq!(proof(&bytes, &[PC, 6]), None);
    assert_eq!(proof(&bytes, &[PC]), None);
    assert_eq!(proof(&[0; 2 * OVERLAP], &[PC]), Some(OVERLAP..2 * OVERLAP));
}

#[test]
fn who_is_preempted_has_the_stack_of_a_sample_in_the_same_function_at_the_same_depth() {
    let pid = std::process::id();
    let sample = |words: &[u64]| {
        let user = copy(0x7000, words);
        Body::Clock { kernel: false, chain: Box::default(), user }
    };
    let found = stacks(vec![
        runs(pid),
        sample(&[0x11, 0]),
        preempted(pid, PC + 1, 0x7000),
        runs(pid),
        preempted(pid, PC + 1, 0x6ff8),
        runs(pid),
        preempted(pid, PC + 16, 0x7000),
    ]);
    let lent = Some((vec![], vec![PC + 1, 0x11], StackEnd::SamePlace));
    assert_eq!(found, [whole(&[], &[PC, 0x11]), lent, None, None]);
}
