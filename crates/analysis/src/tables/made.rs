//! Stacks that are made of others: with a kernel half, calls, or names of another time.

use whyslow_events::{StackEnd, StackId};

use super::{Stack, Tables};

/// What a stack has to do with the one it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kin {
    /// It is of a wait at the same site.
    Site,
    /// It is of the same thread, before.
    Thread,
    /// It is of the same thread, a moment later.
    Next,
    /// It is the same, and goes into the kernel as this one does.
    Kernel(StackId),
    /// It is the same, with the calls of this one.
    Calls(StackId),
    /// It is of a wait at the same site of a thread like it.
    Like,
    /// It is the same, with the names of this time, ns.
    Named(u64),
}

impl Tables {
    /// Whether a stack has a user half.
    pub(crate) fn reaches_out(&self, stack: StackId) -> bool {
        self.stacks.get(&stack).is_some_and(|stack| stack.end != StackEnd::None)
    }

    /// Whether a stack is that of another wait at the same site.
    pub(crate) fn is_of_site(&self, stack: StackId) -> bool {
        self.stacks.get(&stack).is_some_and(|stack| stack.end == StackEnd::SameSite)
    }

    /// `stack` for another wait at the same site, to which another caller may have
    /// come. Interpreted calls are not lent: calls of any depth wait at the same
    /// place of the interpreter.
    pub(crate) fn lent(&mut self, stack: StackId) -> Option<StackId> {
        self.like(stack, Kin::Site, |stack| {
            let end = if stack.end.is_whole() { StackEnd::SameSite } else { stack.end };
            Some(Stack { end, script: vec![], inferred: false, ..stack.clone() })
        })
    }

    /// Where a thread begins that has `stack` later, if that is whole.
    pub(crate) fn beginning(&mut self, stack: StackId) -> Option<StackId> {
        self.like(stack, Kin::Thread, |stack| {
            let first = *stack.user.last().filter(|_| stack.end.is_whole())?;
            let (kernel, user, script) = (vec![], vec![first], vec![]);
            let end = StackEnd::SamePlace;
            Some(Stack { kernel, user, script, end, inferred: false, ..*stack })
        })
    }

    /// `stack` for what the thread is at a moment later.
    pub(crate) fn lent_to_next(&mut self, stack: StackId) -> Option<StackId> {
        self.like(stack, Kin::Next, |stack| {
            let end = if stack.end.is_whole() { StackEnd::SamePlace } else { stack.end };
            Some(Stack { end, ..stack.clone() })
        })
    }

    /// `stack`, of which only the user half is known, with the kernel half of another.
    pub(crate) fn with_kernel(&mut self, stack: StackId, other: StackId) -> Option<StackId> {
        let kernel = self.stacks.get(&other)?.kernel.clone();
        self.like(stack, Kin::Kernel(other), |stack| {
            Some(Stack { kernel: kernel.clone(), ..stack.clone() })
        })
    }

    /// `stack`, of whose calls nothing is known, with those of another.
    pub(crate) fn with_calls(&mut self, stack: StackId, other: StackId) -> Option<StackId> {
        let script = self.stacks.get(&other)?.script.clone();
        self.like(stack, Kin::Calls(other), |stack| {
            Some(Stack { script: script.clone(), inferred: true, ..stack.clone() })
        })
    }

    /// `stack` with its calls for a wait at the same site of another thread, one of many
    /// that are alike.
    pub(crate) fn lent_to_like(&mut self, stack: StackId) -> Option<StackId> {
        self.like(stack, Kin::Like, |stack| {
            let inferred = !stack.script.is_empty();
            Some(Stack { end: StackEnd::SameSite, inferred, ..stack.clone() })
        })
    }

    /// A stack that is made of another.
    pub(super) fn like(
        &mut self,
        stack: StackId,
        kin: Kin,
        make: impl Fn(&Stack) -> Option<Stack>,
    ) -> Option<StackId> {
        if let Some(made) = self.made.get(&(stack, kin)) {
            return Some(*made);
        }
        let copy = make(self.stacks.get(&stack)?)?;
        // The recorder counts up from zero.
        let last = u32::MAX.checked_sub(u32::try_from(self.made.len()).ok()?)?;
        let id = (0..=last).rev().map(StackId).find(|id| !self.stacks.contains_key(id))?;
        self.stacks.insert(id, copy);
        self.made.insert((stack, kin), id);
        Some(id)
    }
}
