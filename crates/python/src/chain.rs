//! A thread's list of frames, as one view of memory shows it.

use crate::layout::{Entry, FIRST_SHIM, FrameLayout, Instruction, Layout};
use crate::memory::{byte, half, word};
use crate::plan::View;
use crate::threads::Thread;
use crate::trouble::Trouble;

/// Frames that are kept, from the innermost on.
const DEEPEST: usize = 2048;

/// Addresses of frames and code objects are multiples of this. In less than
/// that, 3.14 and later put tags.
const ALIGNMENT: u64 = 8;

/// The frames of a thread, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    /// There are more frames outside the outermost kept.
    pub(crate) truncated: bool,
    /// Frames inside of the innermost came or went while it was read.
    pub(crate) moved: bool,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) frame: u64,
    /// The frame outside it, as it says.
    previous: u64,
    pub(crate) code: Identity,
    /// Byte in the bytecode; below zero before the first instruction.
    pub(crate) byte: i64,
    pub(crate) entry: bool,
}

/// Tells a code object from another that comes to lie at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) address: u64,
    pub(crate) first_line: u32,
    pub(crate) name: u64,
    /// Address of the type, which should be that of code objects.
    pub(crate) kind: u64,
}

impl Chain {
    /// Whether this is the same call chain as `other`. The innermost frame may
    /// be at another of its instructions.
    pub(crate) fn is_same_as(&self, other: &Chain) -> bool {
        let innermost = match (self.links.first(), other.links.first()) {
            (Some(one), Some(other)) => one.is_same_call_as(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.truncated == other.truncated
            && innermost
            && self.links.get(1..) == other.links.get(1..)
    }

    /// The frame that all others are inside of, and its code.
    pub(crate) fn root(&self) -> Option<(u64, Identity)> {
        self.links.last().map(|link| (link.frame, link.code))
    }

    /// The outermost calls of the chain that are the same in another view of memory, of
    /// which the innermost may be at another instruction.
    pub(crate) fn outside(&self, layout: &Layout, other: &mut View<'_>) -> Chain {
        let mut links = vec![];
        for link in self.links.iter().rev() {
            let bytes = other.get(link.frame, layout.frame_span());
            let seen = bytes.map(|bytes| Seen::decode(&layout.frame, bytes));
            let Ok(there) = seen.and_then(|seen| seen.link(layout, other, link.frame)) else {
                break;
            };
            // What began an evaluation is known from outside in later versions.
            let there = Link { entry: link.entry, ..there };
            if !there.is_same_call_as(link) {
                break;
            }
            links.push(*link);
            if there != *link {
                break;
            }
        }
        links.reverse();
        Chain { links, truncated: false, moved: true }
    }
}

impl Link {
    /// Whether this is the same call, perhaps at another of its instructions.
    fn is_same_call_as(&self, other: &Link) -> bool {
        Link { byte: 0, ..*self } == Link { byte: 0, ..*other }
    }
}

/// Follows the frames of `thread` from the innermost one outwards.
pub(crate) fn walk(
    layout: &Layout,
    view: &mut View<'_>,
    thread: &Thread,
) -> Result<Chain, Trouble> {
    let mut chain = Chain::default();
    let mut frame = innermost(layout, view, thread)?;
    let mut circle = Circle::default();
    while frame != 0 {
        if chain.links.len() == DEEPEST || circle.length == 2 * DEEPEST {
            chain.truncated = true;
            break;
        }
        circle.pass(frame)?;
        let bytes = view.get(aligned(frame)?, layout.frame_span())?;
        let seen = Seen::decode(&layout.frame, bytes);
        if seen.is_shim {
            if let Some(inside) = chain.links.last_mut() {
                inside.entry = true;
            }
        } else if seen.code != 0 || !chain.links.is_empty() {
            chain.links.push(seen.link(layout, view, frame)?);
        }
        frame = seen.previous;
    }
    Ok(chain)
}

fn innermost(layout: &Layout, view: &mut View<'_>, thread: &Thread) -> Result<u64, Trouble> {
    let at = &layout.thread;
    let state = view.get(thread.state, layout.thread_span()).map_err(|_| Trouble::Gone)?;
    if !thread.is_at(layout, state) {
        return Err(Trouble::Gone);
    }
    match (word(state, at.frame), at.within_cframe) {
        (0, _) => Ok(0),
        (frame, None) => Ok(frame),
        (cframe, Some(within)) => Ok(word(view.get(aligned(cframe)?, within + 8)?, within)),
    }
}

fn aligned(address: u64) -> Result<u64, Trouble> {
    if address.is_multiple_of(ALIGNMENT) { Ok(address) } else { Err(Trouble::Nonsense(address)) }
}

/// A frame, as it says of itself.
struct Seen {
    previous: u64,
    /// From 3.14 on, 0 in an innermost frame that is on its way out: its call
    /// is over.
    code: u64,
    instruction: Position,
    /// Which copy of the bytecode it is in.
    copy: u32,
    entry: bool,
    is_shim: bool,
}

enum Position {
    Byte(i64),
    Address(u64),
}

impl Seen {
    fn decode(at: &FrameLayout, bytes: &[u8]) -> Seen {
        let index = || i64::from(half(bytes, at.instruction).cast_signed());
        Seen {
            previous: word(bytes, at.previous),
            code: word(bytes, at.code) & !(ALIGNMENT - 1),
            instruction: match at.counts {
                Instruction::Bytes => Position::Byte(index()),
                Instruction::Units => Position::Byte(2 * index()),
                Instruction::Address => Position::Address(word(bytes, at.instruction)),
            },
            copy: at.copy.map_or(0, |at| half(bytes, at)),
            entry: match at.entry {
                Entry::Every => true,
                Entry::Flag(flag) => byte(bytes, flag) != 0,
                Entry::Shim(_) => false,
            },
            is_shim: matches!(at.entry, Entry::Shim(owner) if byte(bytes, owner) >= FIRST_SHIM),
        }
    }

    fn link(&self, layout: &Layout, view: &mut View<'_>, frame: u64) -> Result<Link, Trouble> {
        let bytes = view.get(self.code, layout.identity_span())?;
        let code = Identity::decode(layout, self.code, bytes);
        let units = word(bytes, layout.size);
        let copies = layout.code.copies.map_or(0, |at| word(bytes, at));
        let byte = match self.instruction {
            Position::Byte(byte) => byte,
            Position::Address(address) => {
                let start = self.start(layout, view, copies)?;
                within(start, units, address).ok_or(Trouble::Nonsense(frame))?
            }
        };
        Ok(Link { frame, previous: self.previous, code, byte, entry: self.entry })
    }

    /// Where its bytecode begins: in the code object, or a copy of it, whose addresses
    /// are in an array, behind their number.
    fn start(&self, layout: &Layout, view: &mut View<'_>, copies: u64) -> Result<u64, Trouble> {
        if self.copy == 0 {
            return Ok(self.code.wrapping_add(layout.code.instructions.unwrap_or(0)));
        }
        let place = copies.wrapping_add(8).wrapping_add(u64::from(self.copy) * 8);
        Ok(word(view.get(place, 8)?, 0))
    }
}

/// How far `address` is into the bytecode at `start`, of `units` instructions;
/// one instruction before its begin is possible.
fn within(start: u64, units: u64, address: u64) -> Option<i64> {
    let byte = address.wrapping_sub(start).cast_signed();
    let end = i64::try_from(units.checked_mul(2)?).ok()?;
    (-2..end).contains(&byte).then_some(byte)
}

impl Identity {
    /// Of the code object at `address` that begins with `bytes`.
    pub(crate) fn decode(layout: &Layout, address: u64, bytes: &[u8]) -> Identity {
        Identity {
            address,
            first_line: half(bytes, layout.code.first_line),
            name: word(bytes, layout.code.name),
            kind: word(bytes, layout.object_type),
        }
    }
}

/// Notices a list that leads back into itself, by a look back at the place
/// where it was when its length last was a power of two (R. P. Brent, "An
/// improved Monte Carlo factorization algorithm", 1980).
#[derive(Default)]
pub(crate) struct Circle {
    pub(crate) length: usize,
    mark: u64,
}

impl Circle {
    /// Goes on to the next member, which is not 0.
    pub(crate) fn pass(&mut self, member: u64) -> Result<(), Trouble> {
        if member == self.mark {
            return Err(Trouble::Endless(member));
        }
        self.length += 1;
        if self.length.is_power_of_two() {
            self.mark = member;
        }
        Ok(())
    }
}
