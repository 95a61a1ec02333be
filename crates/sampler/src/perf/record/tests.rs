//! Records put together by hand, cut short, and made of anything.

use proptest::prelude::*;

use super::*;

const SWITCH: u64 = 7;
const STACK: u64 = 8;
const WAKING: u64 = 9;
const CLOCK: u64 = 10;
const SIDE: u64 = 11;
const TOLD: u64 = 12;

fn kind_of(id: u64) -> Option<Kind> {
    match id {
        SWITCH => Some(Kind::Switch),
        STACK => Some(Kind::Stack),
        WAKING => Some(Kind::Waking),
        CLOCK => Some(Kind::Clock),
        SIDE => Some(Kind::SideRecords),
        TOLD => Some(Kind::Told),
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Option<Record> {
    parse(bytes, kind_of)
}

/// A record with header.
fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len() + 8).unwrap();
    [&kind.to_ne_bytes()[..], &misc.to_ne_bytes(), &size.to_ne_bytes(), body].concat()
}

/// PID 100, TID 101, time 5000, and a CPU whose number is also an id; or time
/// and id alone: at the start of a sample, and at the end of everything else.
fn leading(id: u64) -> Vec<u8> {
    if kind_of(id).is_some_and(|kind| !kind.tells_task()) {
        return words(&[5000, id]);
    }
    [
        &100u32.to_ne_bytes()[..],
        &101u32.to_ne_bytes(),
        &5000u64.to_ne_bytes(),
        &id.to_ne_bytes(),
        &SWITCH.to_ne_bytes(),
    ]
    .concat()
}

fn sample(id: u64, rest: &[&[u8]]) -> Vec<u8> {
    record(kind::SAMPLE, 1, &[leading(id), rest.concat()].concat())
}

fn raw_of(data: &[u8]) -> Vec<u8> {
    [&u32::try_from(data.len()).unwrap().to_ne_bytes(), data].concat()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn switch(registers: &[u64]) -> Vec<u8> {
    let mut data = vec![0; 68];
    data[24..28].copy_from_slice(&101u32.to_ne_bytes());
    data[32..40].copy_from_slice(&1u64.to_ne_bytes());
    data[56..60].copy_from_slice(&55u32.to_ne_bytes());
    sample(SWITCH, &[&raw_of(&data), &words(registers)])
}

#[test]
fn a_switch_tells_who_left_why_and_for_whom() {
    // ABI 64, then AX, DX, SI, DI, BP, SP, IP.
    let found = read(&switch(&[2, u64::MAX - 37, 3, 2, 1, 0x7f10, 0x7f00, 0x4000])).unwrap();
    let Body::Switch { previous: 101, state: 1, next: 55, registers: Some(registers), ran: None } =
        found.body
    else {
        panic!("{found:?}")
    };
    assert!(registers.in_syscall());
    assert_eq!((registers.arguments, registers.pc), ([1, 2, 3], 0x4000));
    assert_eq!((registers.sp, registers.bp), (0x7f00, 0x7f10));
    assert_eq!((found.time, found.tid), (5000, 101));
}

#[test]
fn a_kernel_thread_has_no_user_registers() {
    let found = read(&switch(&[0])).unwrap();
    assert!(matches!(found.body, Body::Switch { registers: None, .. }), "{found:?}");
}

/// Of the thread that leaves, ns.
const RAN: u64 = 4_000_000;

/// What a program writes where a thread leaves in this state and code segment.
fn left(state: u16, segment: u16) -> Record {
    let numbers = [101u32, 55].map(u32::to_ne_bytes).concat();
    let short = [state, segment].map(u16::to_ne_bytes).concat();
    let rest = words(&[RAN, u64::MAX - 37, 3, 2, 1, 0x7f10, 0x7f00, 0x4000]);
    read(&sample(TOLD, &[&raw_of(&[numbers, short, rest].concat())])).unwrap()
}

#[test]
fn a_switch_that_a_program_tells_of_is_the_same() {
    const USER_64: u16 = 0x33;
    let mut told = left(1, USER_64);
    let seen = read(&switch(&[2, u64::MAX - 37, 3, 2, 1, 0x7f10, 0x7f00, 0x4000])).unwrap();
    let Body::Switch { ran, .. } = &mut told.body else { panic!("no switch") };
    assert_eq!(ran.take(), Some(RAN));
    assert_eq!(told, seen);
    for segment in [0, 0x23] {
        let told = left(1, segment).body;
        assert!(matches!(told, Body::Switch { registers: None, .. }), "{told:?}");
    }
}

#[test]
fn who_is_frozen_waits_and_no_signal_ends_that() {
    let Body::Switch { state, .. } = left(0x8000, 0x33).body else { panic!("no switch") };
    assert_eq!(state & 3, 2);
}

#[test]
fn a_waking_tells_whom_and_whether_from_an_interrupt() {
    let waking = |flags: u8| {
        let mut data = vec![0; 36];
        data[2] = flags;
        data[4..8].copy_from_slice(&76u32.to_ne_bytes());
        data[24..28].copy_from_slice(&77u32.to_ne_bytes());
        let found = read(&sample(WAKING, &[&raw_of(&data)])).unwrap();
        assert_eq!((found.time, found.tid), (5000, 76));
        found.body
    };
    assert_eq!(waking(0), Body::Waking { woken: 77, interrupt: false });
    assert_eq!(waking(0x08), Body::Waking { woken: 77, interrupt: true });
    assert_eq!(waking(0x10), Body::Waking { woken: 77, interrupt: true });
}

#[test]
fn chains_are_kept_whole() {
    let found = |id| read(&sample(id, &[&words(&[2, 11, 12]), &raw_of(&[0; 68])])).unwrap();
    let chain: Box<[u64]> = Box::from([11, 12]);
    assert_eq!(found(STACK).body, Body::Stack { chain: chain.clone(), user: None });
    assert_eq!(found(CLOCK).body, Body::Clock { kernel: true, chain, user: None });
    assert_eq!((found(STACK).time, found(STACK).tid), (5000, 101));
}

/// ABI, 17 registers, room for 16 bytes of stack, and how much was filled.
fn copied(abi: u64, filled: u64) -> Vec<u8> {
    let registers: [u64; 17] = std::array::from_fn(|index| index as u64);
    words(&[&[abi], &registers[..], &[16, 21, 22, filled]].concat())
}

#[test]
fn a_copied_stack_has_its_registers_and_what_was_filled() {
    let stack = |id, abi, filled| match read(&sample(id, &[&words(&[1, 11]), &copied(abi, filled)]))
        .unwrap()
        .body
    {
        Body::Stack { user, .. } | Body::Clock { user, .. } => user,
        other => panic!("{other:?}"),
    };
    let dump = |abi, filled| stack(STACK, abi, filled);
    let part = dump(2, 8).unwrap();
    assert_eq!((part.registers.pc, part.registers.sp()), (8, 7));
    assert_eq!(&*part.bytes, &words(&[21])[..]);
    let full = dump(2, 16).unwrap();
    assert_eq!(&*full.bytes, &words(&[21, 22])[..]);
    assert_eq!(dump(0, 8), None, "a kernel thread");
    assert!(dump(1, 8).unwrap().narrow && !part.narrow, "a 32-bit program");
    assert_eq!(dump(2, 17), None, "more than there was room for");
    assert_eq!(stack(CLOCK, 2, 8), Some(part));
}

#[test]
fn side_records_carry_their_own_fields_and_the_time_behind() {
    let side_of = |id, kind, misc, fields: &[&[u8]]| {
        read(&record(kind, misc, &[fields.concat(), leading(id)].concat())).unwrap()
    };
    let side = |kind, misc, fields: &[&[u8]]| side_of(CLOCK, kind, misc, fields);
    let (pid, tid) = (7u32.to_ne_bytes(), 8u32.to_ne_bytes());
    let exec = side(kind::COMM, MISC_COMM_EXEC, &[&pid, &tid, b"make\0\0\0\0"]);
    assert_eq!(exec.time, 5000);
    assert_eq!(exec.body, Body::Comm { pid: 7, tid: 8, exec: true, name: "make".into() });
    let fork = side(kind::FORK, 0, &[&pid, &100u32.to_ne_bytes(), &tid, &[0; 12]]);
    assert_eq!(fork.body, Body::Fork { pid: 7, tid: 8, parent: 100 });
    let switched = |misc| side_of(SIDE, kind::SWITCH_CPU_WIDE, misc, &[&pid, &tid]);
    assert_eq!((switched(0).body, switched(0).tid), (Body::SwitchedIn, 101));
    assert_eq!(switched(MISC_SWITCH_OUT).body, Body::Other);
    let alone = |misc| side(kind::SWITCH, misc, &[]).body;
    assert_eq!(alone(0), Body::SwitchedIn);
    assert_eq!(alone(MISC_SWITCH_OUT), Body::SwitchedOut { preempted: false });
    let preempted = MISC_SWITCH_OUT | MISC_SWITCH_OUT_PREEMPT;
    assert_eq!(alone(preempted), Body::SwitchedOut { preempted: true });
    for id in [CLOCK, SWITCH, WAKING] {
        let lost = side_of(id, kind::LOST, 0, &[&words(&[id, 33])]);
        assert_eq!((lost.body, lost.time), (Body::Lost { records: 33 }, 5000));
    }
    let mapped = side(
        kind::MMAP2,
        0,
        &[&pid, &tid, &words(&[0x1000, 0x200, 0x40]), &[0; 32], b"/lib/x.so\0\0\0\0\0\0\0"],
    );
    assert_eq!(
        mapped.body,
        Body::Mmap {
            pid: 7,
            start: 0x1000,
            length: 0x200,
            file_offset: 0x40,
            path: "/lib/x.so".into()
        }
    );
}

#[test]
fn a_record_cut_anywhere_is_refused_or_smaller() {
    let whole = switch(&[2, 0, 0, 0, 0, 0, 0, 0]);
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_none(), "{end}");
    }
}

proptest! {
    #[test]
    fn anything_is_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..256), kind in 0u32..32) {
        read(&bytes);
        if let Some(first) = bytes.first_chunk_mut::<4>() {
            *first = kind.to_ne_bytes();
        }
        read(&bytes);
    }

    #[test]
    fn a_count_that_lies_is_refused(count in any::<u64>()) {
        let lying = sample(STACK, &[&words(&[count, 1])]);
        let chain = read(&lying).map(|record| record.body);
        prop_assert_eq!(chain.is_some(), count <= 1);
    }
}
