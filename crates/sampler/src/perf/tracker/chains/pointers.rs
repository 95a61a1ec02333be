//! What the kernel finds along the frame pointers, where unwinding a copy ends too early.

use whyslow_events::{SpaceId, StackEnd, StackMemory, UserRegisters};

use super::{Tracker, UserHalf};

impl Tracker {
    /// The frames of a copy, and beyond them those that the kernel found at the same
    /// instant along the frame pointers: a copy holds one stack, and Go, for one, reads the
    /// clock on another than its own. Believed when both ways meet in the outermost frame
    /// of the copy, and what follows ends where a stack begins.
    pub(super) fn joined(
        &mut self,
        space: SpaceId,
        user: UserHalf,
        by_pointers: &[u64],
    ) -> UserHalf {
        if user.end == StackEnd::Complete {
            return user;
        }
        match beyond(&user.addresses, by_pointers) {
            Some(beyond @ [.., outermost]) if self.begins_at(space, *outermost) => UserHalf {
                addresses: [&*user.addresses, beyond].concat().into(),
                end: StackEnd::Complete,
                ..user
            },
            _ => user,
        }
    }

    /// Whether a stack begins in the function with this return address.
    fn begins_at(&mut self, space: SpaceId, address: u64) -> bool {
        let registers = UserRegisters::new(address.wrapping_sub(1), 0);
        let nothing = StackMemory { start: 0, bytes: &[], whole: true, later: None };
        self.unwind(space, &registers, nothing).end == StackEnd::Complete
    }
}

/// What follows the outermost of some frames in a chain that may lack others of them.
fn beyond<'a>(frames: &[u64], mut chain: &'a [u64]) -> Option<&'a [u64]> {
    let (outermost, inner) = frames.split_last()?;
    let after = |chain: &'a [u64], frame: &u64| {
        let at = chain.iter().position(|address| address == frame)?;
        Some(&chain[at + 1..])
    };
    for frame in inner {
        chain = after(chain, frame).unwrap_or(chain);
    }
    after(chain, outermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_outermost_frame_is_beyond() {
        assert_eq!(beyond(&[1, 2, 3], &[1, 2, 3, 4, 5]), Some(&[4, 5][..]));
        // A leaf has no frame to point to.
        assert_eq!(beyond(&[1, 2, 3], &[1, 3, 4, 5]), Some(&[4, 5][..]));
        // A recursion is as deep as the frames say.
        assert_eq!(beyond(&[1, 2, 2], &[1, 2, 2, 2, 3]), Some(&[2, 3][..]));
        assert_eq!(beyond(&[1, 2, 3], &[1, 2, 4]), None);
        assert_eq!(beyond(&[], &[1, 2]), None);
    }
}
