//! Waits whose kernel half nobody saw: a thread that slept when the window began, or
//! at whose switch no chain was taken, is only looked at from outside. The way into
//! the kernel is that of the waits which came to the same call by the same way, so
//! that all of them are one column; or of those in the same call alone, where all
//! that are known go the same way.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use whyslow_events::{SpaceId, StackId};

use crate::pieces::{Amount, Key, Place};
use crate::tables::{Stack, Tables};
use crate::{Group, State};

/// The kernel halves of waits: a stack that has each, and the time with it.
type Halves<'a> = FxHashMap<(State, &'a [u64]), (StackId, u64)>;

/// What is known of waits by the calls of the program, innermost first: all of them,
/// or the innermost alone.
#[derive(Default)]
struct Known<'a>(FxHashMap<(SpaceId, &'a [u64]), Halves<'a>>);

/// `pieces` in which waits without a kernel half have that of others.
pub(crate) fn joined(tables: &mut Tables, mut pieces: Vec<(Key, Amount)>) -> Vec<(Key, Amount)> {
    let known = Known::of(tables, &pieces);
    let lacking = pieces.iter().enumerate().filter_map(|(at, (key, _))| {
        let (id, stack) = wait(tables, key).filter(|(_, stack)| stack.kernel.is_empty())?;
        Some((at, id, known.like(stack, key.state)?))
    });
    for (at, stack, like) in lacking.collect::<Vec<_>>() {
        if let Some(whole) = tables.with_kernel(stack, like) {
            pieces[at].0.place = Place::Stack(whole);
        }
    }
    pieces.sort_unstable_by_key(|(key, _)| *key);
    pieces
}

impl<'a> Known<'a> {
    fn of(tables: &'a Tables, pieces: &[(Key, Amount)]) -> Self {
        let mut known = Known::default();
        for (key, amount) in pieces {
            if let Some((id, stack)) = wait(tables, key).filter(|(_, it)| !it.kernel.is_empty()) {
                let calls = &stack.user[..];
                let innermost = &calls[..calls.len().min(1)];
                for calls in [calls, innermost] {
                    let halves = known.0.entry((stack.space, calls)).or_default();
                    let half = halves.entry((key.state, &stack.kernel)).or_insert((id, 0));
                    *half = (half.0.min(id), half.1 + amount.thread_ns);
                }
            }
        }
        known
    }

    /// A stack with the kernel half of a wait of `stack`, which has none: that in which
    /// most of the time was spent, in the same state if there is one.
    fn like(&self, stack: &Stack, state: State) -> Option<StackId> {
        let known = |calls| self.0.get(&(stack.space, calls)).into_iter().flatten();
        let by_time = known(&stack.user[..])
            .max_by_key(|((of, _), (id, ns))| (*of == state, *ns, Reverse(*id)));
        let innermost = stack.user.get(..1)?;
        let mut same_call = known(innermost).filter(|((of, _), _)| *of == state);
        let only = || same_call.next().filter(|_| same_call.next().is_none());
        by_time.or_else(only).map(|(_, (id, _))| *id)
    }
}

fn wait<'a>(tables: &'a Tables, key: &Key) -> Option<(StackId, &'a Stack)> {
    match key.place {
        // Who was preempted most often had not gone into the kernel.
        Place::Stack(id)
            if key.state.group() != Group::Cpu && key.state != State::RunqPreempted =>
        {
            Some((id, tables.stacks.get(&id)?))
        }
        _ => None,
    }
}
