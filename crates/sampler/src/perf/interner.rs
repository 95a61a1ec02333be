//! Numbers for stacks, sites and functions, so that each is written once.

use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use whyslow_events::{
    CodeId, Event, Pid, ScriptCall, ScriptFrame, Site, SiteId, SpaceId, StackEnd, StackId,
};

/// Marks in a call chain (`enum perf_callchain_context`): the addresses after
/// one belong to that context. All marks lie in the last page of addresses.
const CONTEXT_KERNEL: u64 = -128i64 as u64;
const CONTEXT_USER: u64 = -512i64 as u64;
const CONTEXT_FIRST: u64 = -4095i64 as u64;

/// The kernel and user halves of a call chain.
pub(crate) fn halves(chain: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let (mut kernel, mut user) = (vec![], vec![]);
    let mut context = None;
    for &word in chain {
        match word {
            CONTEXT_KERNEL | CONTEXT_USER => context = Some(word),
            CONTEXT_FIRST.. => context = None,
            address => match context {
                Some(CONTEXT_KERNEL) => kernel.push(address),
                Some(_) => user.push(address),
                None => {}
            },
        }
    }
    (kernel, user)
}

/// The user half of a call chain, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UserHalf {
    pub(crate) addresses: Rc<[u64]>,
    pub(crate) end: StackEnd,
    /// Calls of the interpreted program that runs in it.
    pub(crate) script: Rc<[ScriptFrame]>,
}

impl UserHalf {
    /// Nothing is known.
    pub(crate) fn none() -> UserHalf {
        UserHalf { addresses: Rc::default(), end: StackEnd::None, script: Rc::default() }
    }

    /// For another wait at the same place. Interpreted calls are not lent: calls
    /// of any depth wait at the same place of the interpreter.
    pub(crate) fn lent(&self) -> UserHalf {
        let end = match self.end {
            StackEnd::Complete | StackEnd::Extended => StackEnd::SamePlace,
            end => end,
        };
        UserHalf { addresses: self.addresses.clone(), end, script: Rc::default() }
    }
}

/// Both halves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chain {
    pub(crate) kernel: Rc<[u64]>,
    pub(crate) user: UserHalf,
}

/// Numbers for what belongs to an owner that may go.
#[derive(Debug)]
struct Numbers<O, T> {
    known: FxHashMap<O, FxHashMap<T, u32>>,
    next: u32,
}

impl<O, T> Default for Numbers<O, T> {
    fn default() -> Self {
        Numbers { known: FxHashMap::default(), next: 0 }
    }
}

impl<O: Eq + Hash, T: Clone + Eq + Hash> Numbers<O, T> {
    /// The number of `it`, and whether it is new.
    fn intern(&mut self, owner: O, it: &T) -> (u32, bool) {
        let known = self.known.entry(owner).or_default();
        if let Some(number) = known.get(it) {
            return (*number, false);
        }
        let number = self.next;
        self.next += 1;
        known.insert(it.clone(), number);
        (number, true)
    }

    /// Forgets an owner that is gone. Its numbers are not given again.
    fn forget(&mut self, owner: &O) {
        self.known.remove(owner);
    }
}

/// Stacks seen so far.
#[derive(Debug, Default)]
pub(crate) struct Stacks(Numbers<SpaceId, Chain>);

impl Stacks {
    /// The number of `chain` in `space`, and whether it is new.
    pub(crate) fn intern(&mut self, space: SpaceId, chain: &Chain) -> (StackId, bool) {
        let (number, new) = self.0.intern(space, chain);
        (StackId(number), new)
    }

    /// Forgets a space that is gone. Its numbers are not given again.
    pub(crate) fn forget(&mut self, space: SpaceId) {
        self.0.forget(&space);
    }

    /// The number of `chain` in `space`, and its definition when it is new.
    pub(crate) fn define(&mut self, space: SpaceId, chain: &Chain) -> (StackId, Option<Event>) {
        let (id, new) = self.intern(space, chain);
        let definition = || {
            let kernel = chain.kernel.to_vec();
            let UserHalf { addresses, end, script } = &chain.user;
            let (user, end, script) = (addresses.to_vec(), *end, script.to_vec());
            Event::Stack { id, space, kernel, user, end, script }
        };
        (id, new.then(definition))
    }
}

/// Functions that are told apart: some programs make new ones all the time.
const CODES: usize = 1 << 17;
/// The name of all further ones.
const OTHERS: &str = "[other functions]";

/// Functions of interpreted programs seen so far.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// By name, file and where the definition begins.
    known: FxHashMap<(Arc<str>, Arc<str>, u32), CodeId>,
}

impl Codes {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// A call with the number of its function, which is defined through `define`
    /// when it is new.
    pub(crate) fn frame(&mut self, call: ScriptCall, mut define: impl FnMut(Event)) -> ScriptFrame {
        let ScriptCall { function, file, first_line, line, entry } = call;
        let next = CodeId(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        let key = match (function, file, first_line) {
            key if self.known.contains_key(&key) => key,
            _ if self.known.len() >= CODES => (Arc::from(OTHERS), Arc::from(""), 0),
            key => key,
        };
        let code = *self.known.entry(key.clone()).or_insert(next);
        if code == next {
            let (function, file, line) = key;
            define(Event::Code { id: code, function: (*function).into(), file: (*file).into() });
            if line != 0 {
                define(Event::Definition { code, line });
            }
        }
        ScriptFrame { code, line, entry }
    }
}

/// Sites seen so far.
#[derive(Debug, Default)]
pub(crate) struct Sites(Numbers<Pid, Site>);

impl Sites {
    /// The number of `site`, and whether it is new.
    pub(crate) fn intern(&mut self, site: &Site) -> (SiteId, bool) {
        let (number, new) = self.0.intern(site.pid, site);
        (SiteId(number), new)
    }

    /// Forgets a program that is gone. Its numbers are not given again.
    pub(crate) fn forget(&mut self, pid: Pid) {
        self.0.forget(&pid);
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::{Entry, Object};

    use super::*;

    #[test]
    fn a_chain_is_cut_at_its_marks() {
        let chain = [CONTEXT_KERNEL, 0xffff_ffff_8100_0000, CONTEXT_USER, 0x1000, 0x2000];
        assert_eq!(halves(&chain), (vec![0xffff_ffff_8100_0000], vec![0x1000, 0x2000]));
        assert_eq!(halves(&[0x1000]), (vec![], vec![]));
    }

    #[test]
    fn an_equal_stack_has_its_number_already() {
        let mut stacks = Stacks::default();
        let chain = |end| Chain {
            kernel: Rc::default(),
            user: UserHalf { addresses: Rc::from([1]), end, script: Rc::default() },
        };
        let whole = chain(StackEnd::Complete);
        let (first, new) = stacks.intern(SpaceId(0), &whole);
        assert!(new);
        assert_eq!(stacks.intern(SpaceId(0), &whole), (first, false));
        assert_ne!(stacks.intern(SpaceId(1), &whole).0, first);
        assert_ne!(stacks.intern(SpaceId(0), &chain(StackEnd::TooDeep)).0, first);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_its_numbers_are_not_given_again() {
        let (mut stacks, mut sites) = (Stacks::default(), Sites::default());
        let user =
            UserHalf { addresses: Rc::from([1]), end: StackEnd::Complete, script: Rc::default() };
        let chain = Chain { kernel: Rc::default(), user };
        for number in 0..1000 {
            let (space, pid) = (SpaceId(number), Pid(number));
            let site = Site { pid, entry: Entry::Fault, pc: 0, object: Object::None };
            assert_eq!(stacks.intern(space, &chain), (StackId(number), true));
            assert_eq!(sites.intern(&site), (SiteId(number), true));
            stacks.forget(space);
            sites.forget(pid);
        }
        assert!(stacks.0.known.is_empty() && sites.0.known.is_empty());
    }

    #[test]
    fn a_function_is_defined_once_and_told_by_where_it_begins() {
        let mut codes = Codes::default();
        let call = |first_line| ScriptCall {
            function: "f".into(),
            file: "a.py".into(),
            first_line,
            line: 9,
            entry: false,
        };
        let mut defined = vec![];
        let mut frame =
            |first_line| codes.frame(call(first_line), |event| defined.push(event)).code;
        assert_eq!([3, 3, 0, 7].map(&mut frame), [0, 0, 1, 2].map(CodeId));
        let definitions = defined.iter().filter(|it| matches!(it, Event::Definition { .. }));
        assert_eq!((defined.len(), definitions.count()), (5, 2));
    }
}
