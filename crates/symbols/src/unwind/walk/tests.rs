//! Walks over code and stacks of our making.

use whyslow_events::UserRegisters;

use super::*;

/// Code without unwind information in these addresses.
struct Bare(std::ops::Range<u64>);

impl Code for Bare {
    fn at(&mut self, address: u64) -> Known {
        if self.0.contains(&address) { Known::Code } else { Known::Nothing }
    }

    /// A system call before 0x1080, and a call before 0x1100.
    fn bytes<'a>(&mut self, address: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let code: &[u8] = match address + bytes.len() as u64 {
            IN_CALL => &[0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x05],
            CALLED => &[0x90, 0x90, 0x90, 0xe8, 1, 2, 3, 4],
            _ => return None,
        };
        bytes.copy_from_slice(&code[code.len() - bytes.len()..]);
        Some(bytes)
    }

    /// A trampoline at one address.
    fn in_memory(&mut self, address: u64) -> Option<Piece> {
        let mut piece = Piece::default();
        piece[..5].copy_from_slice(&[0x48, 0x83, 0xc4, 8, 0xc3]);
        (address == TRAMPOLINE).then_some(piece)
    }

    fn java(&mut self, _: u64) -> Option<Keeps> {
        None
    }
}

const TRAMPOLINE: u64 = 0x1a00;
const IN_CALL: u64 = 0x1080;
const CALLED: u64 = 0x1100;

const CODE: Bare = Bare(0x1000..0x2000);
const STACK: u64 = 0x8000;

fn walk_alone(user: &UserRegisters, stack: StackMemory<'_>) -> Unwound {
    walk(&mut { CODE }, Registers::from(user), stack, &mut Along::default())
}

/// The chain from 0x1000 with the frame pointer at the stack's word `bp`.
fn chain(bp: Option<u64>, words: &[u64], whole: bool) -> Unwound {
    let mut user = UserRegisters::new(0x1000, STACK);
    if let Some(bp) = bp {
        user.set(BP.into(), bp);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let stack = StackMemory { start: STACK, bytes: &bytes, whole, later: None };
    walk_alone(&user, stack)
}

#[test]
fn a_chain_of_frame_pointers_ends_where_it_says() {
    let words = [0, STACK + 24, 0x1100, 0, 0x1200];
    let complete = chain(Some(STACK + 8), &words, true);
    assert_eq!(complete.addresses, [0x1000, 0x1100, 0x1200]);
    assert_eq!(complete.end, StackEnd::Complete);
    let no_return = chain(Some(STACK + 8), &[0, STACK + 24, 0x1100, 77, 0], true);
    assert_eq!((no_return.addresses.len(), no_return.end), (2, StackEnd::Complete));
}

#[test]
fn what_is_no_frame_pointer_is_not_followed() {
    let words = [0, STACK + 24, 0x1100, 77, 0x1200];
    for (bp, why) in [
        (0, "nothing was ever in it"),
        (STACK - 8, "below the stack pointer"),
        (STACK + 9, "not a multiple of a word"),
        (STACK + 16, "no code to return to"),
        (u64::MAX - 7, "nowhere near"),
    ] {
        let unwound = chain(Some(bp), &words, false);
        assert_eq!((unwound.addresses.len(), unwound.end), (1, StackEnd::NoUnwindInfo), "{why}");
    }
    assert_eq!(chain(None, &words, true).end, StackEnd::UnknownRegister);
}

#[test]
fn a_copy_that_is_too_short_says_so() {
    let words = [0, STACK + 24, 0x1100];
    assert_eq!(chain(Some(STACK + 8), &words, false).end, StackEnd::CopyTooShort);
    assert_eq!(chain(Some(STACK + 8), &words, true).end, StackEnd::NoUnwindInfo);
}

#[test]
fn all_frames_of_the_largest_copy_are_kept() {
    /// What the recorder copies at most, in frames as small as they can be.
    const FRAMES: u64 = (60 << 10) / 16;
    let above = |frame| if frame == FRAMES { 0 } else { STACK + 16 * frame };
    let words: Vec<u64> = (1..=FRAMES).flat_map(|frame| [above(frame), 0x1100]).collect();
    let unwound = chain(Some(STACK), &words, false);
    assert_eq!((unwound.addresses.len() as u64, unwound.end), (1 + FRAMES, StackEnd::Complete));
}

#[test]
fn a_stack_without_end_is_cut() {
    let frames = 3 * DEEPEST as u64;
    let words: Vec<u64> =
        (0..frames).flat_map(|frame| [STACK + 16 * (frame + 1), 0x1100]).collect();
    let unwound = chain(Some(STACK), &words, true);
    assert_eq!((unwound.addresses.len(), unwound.end), (DEEPEST, StackEnd::TooDeep));
}

#[test]
fn a_frame_pointer_that_points_to_itself_ends_the_chain() {
    let unwound = chain(Some(STACK), &[STACK, 0x1100], true);
    assert_eq!(unwound.addresses, [0x1000, 0x1100]);
    assert_eq!(unwound.end, StackEnd::NoUnwindInfo);
}

#[test]
fn a_thread_where_no_code_is_has_one_frame() {
    let user = UserRegisters::new(0x5000, STACK);
    let stack = StackMemory { start: STACK, bytes: &[], whole: false, later: None };
    let unwound = walk_alone(&user, stack);
    assert_eq!((unwound.addresses, unwound.end), (vec![0x5000], StackEnd::NoUnwindInfo));
}

#[test]
fn a_trampoline_is_passed_by_its_own_code() {
    // The frame pointer is that of the trampoline's caller, or means nothing.
    for bp in [None, Some(STACK + 40), Some(77)] {
        let mut user = UserRegisters::new(TRAMPOLINE, STACK);
        bp.into_iter().for_each(|bp| user.set(BP.into(), bp));
        let words = [0, TRAMPOLINE, 0, 0x1100, 0, STACK + 64, 0x1200];
        let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
        let stack = StackMemory { start: STACK, bytes: &bytes, whole: true, later: None };
        let unwound = walk_alone(&user, stack);
        assert!(unwound.addresses.starts_with(&[TRAMPOLINE, TRAMPOLINE, 0x1100]), "{unwound:x?}");
    }
}

#[test]
fn what_looks_like_a_trampoline_and_returns_to_no_code_has_a_frame_pointer() {
    let mut user = UserRegisters::new(TRAMPOLINE, STACK);
    user.set(BP.into(), STACK + 16);
    let words = [0, 0x7777, 0, 0x1100];
    let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
    let stack = StackMemory { start: STACK, bytes: &bytes, whole: true, later: None };
    let unwound = walk_alone(&user, stack);
    assert_eq!(unwound.addresses, [TRAMPOLINE, 0x1100]);
}

#[test]
fn what_was_read_later_does_not_belong_to_a_copy_when_no_call_leads_to_it() {
    let walked = |later| {
        let words = [0, STACK + 24, 0x1100, 0, 0x1200, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
        let mut user = UserRegisters::new(0x1000, STACK);
        user.set(BP.into(), STACK + 8);
        let later = Some(STACK + later);
        let stack = StackMemory { start: STACK, bytes: &bytes, whole: true, later };
        let walked = walk_alone(&user, stack);
        (walked.addresses.len(), walked.end)
    };
    assert_eq!(walked(56), (3, StackEnd::Complete), "nothing was read later");
    assert_eq!(walked(32), (2, StackEnd::BadUnwindInfo));
    assert_eq!(walked(24), (2, StackEnd::BadUnwindInfo));
    assert_eq!(walked(16), (1, StackEnd::BadUnwindInfo));
}

#[test]
fn a_system_call_without_a_rule_returns_to_the_top_of_the_stack() {
    let chain = |pc, words: &[u64]| {
        let mut user = UserRegisters::new(pc, STACK);
        user.set(BP.into(), 0);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let stack = StackMemory { start: STACK, bytes: &bytes, whole: true, later: None };
        let Unwound { addresses, end } = walk_alone(&user, stack);
        (addresses, end)
    };
    let known = StackEnd::NoUnwindInfo;
    assert_eq!(chain(IN_CALL, &[CALLED, 7]), (vec![IN_CALL, CALLED], known));
    // The new thread.
    assert_eq!(chain(IN_CALL, &[0, 7]), (vec![IN_CALL], StackEnd::Complete));
    // No call ends there, and no system call.
    assert_eq!(chain(IN_CALL, &[CALLED + 1, 7]), (vec![IN_CALL], known));
    assert_eq!(chain(IN_CALL - 8, &[CALLED, 7]), (vec![IN_CALL - 8], known));
}
