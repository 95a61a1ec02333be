//! What the Python calls of a stack tell: whether the program's own code runs,
//! or the interpreter still imports, or an event loop runs a callback.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use whyslow_events::{CodeId, StackId};

use crate::event_loop::{Looped, Part};
use crate::pieces::Place;
use crate::tables::{Code, Tables};

/// Of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// No Python calls are known.
    Unknown,
    /// Modules are imported.
    Import,
    /// The program's own code.
    Own,
    /// An event loop, between two callbacks.
    Loop,
    /// The program's own code, called by an event loop.
    Callback,
}

/// A function that nearly everything goes through is a frame around the work.
const AROUND: f64 = 0.9;

/// The stacks of one thread.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    tables: &'a Tables,
    /// The event loop that the thread runs.
    looped: Option<&'a Looped<'a>>,
    kinds: FxHashMap<StackId, Kind>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(tables: &'a Tables, looped: Option<&'a Looped<'a>>) -> Self {
        Calls { tables, looped, kinds: FxHashMap::default() }
    }

    /// Whether the thread runs an event loop in Python.
    pub(super) fn in_loop(&self) -> bool {
        self.looped.is_some_and(Looped::is_python)
    }

    /// How many of what its event loop was kept by from these times on could go on at a time.
    pub(super) fn at_once(&self, begun: &[u64]) -> Option<u64> {
        self.looped?.at_once(begun)
    }

    pub(super) fn kind(&mut self, stack: StackId) -> Kind {
        if let Some(kind) = self.kinds.get(&stack) {
            return *kind;
        }
        let kind = if self.codes(stack).next().is_none() {
            Kind::Unknown
        } else if self.codes(stack).any(|(_, code)| code.imports()) {
            Kind::Import
        } else {
            match self.looped.and_then(|looped| looped.part(stack)) {
                Some(Part::Callback { .. }) => Kind::Callback,
                Some(Part::Poll(_) | Part::Loop(_)) => Kind::Loop,
                Some(Part::Unknown) | None => Kind::Own,
            }
        };
        self.kinds.insert(stack, kind);
        kind
    }

    /// `function (file:line)` of the innermost call.
    pub(super) fn innermost(&self, stack: StackId) -> Option<String> {
        self.tables.place_of_call(*self.tables.stacks.get(&stack)?.script.first()?)
    }

    /// The part of the CPU time that is surely divided when the calls, or the
    /// loop, of one function are: what the heaviest function takes with all it
    /// calls, or by itself when nearly everything goes through it.
    pub(super) fn heaviest(&mut self, computed: &[(Place, u64)]) -> f64 {
        let mut all = 0;
        let mut through: BTreeMap<CodeId, u64> = BTreeMap::new();
        let mut alone: BTreeMap<CodeId, u64> = BTreeMap::new();
        for (place, ns) in computed {
            let Some(stack) = place.stack() else { continue };
            if self.kind(stack) < Kind::Own {
                continue;
            }
            all += ns;
            let codes: Vec<CodeId> = self.codes(stack).map(|(id, _)| id).collect();
            if let Some(innermost) = codes.first() {
                *alone.entry(*innermost).or_default() += ns;
            }
            for code in codes.into_iter().collect::<BTreeSet<_>>() {
                *through.entry(code).or_default() += ns;
            }
        }
        let share = |ns: u64| ns as f64 / all as f64;
        let parts = through.iter().map(|(code, ns)| match share(*ns) {
            AROUND.. => share(alone.get(code).copied().unwrap_or(0)),
            part => part,
        });
        // Where no call is known nothing speaks against dividing all of it.
        if all == 0 { 1.0 } else { parts.fold(0.0, f64::max) }
    }

    /// Innermost first.
    fn codes(&self, stack: StackId) -> impl Iterator<Item = (CodeId, &'a Code)> + use<'a> {
        let tables = self.tables;
        let script = tables.stacks.get(&stack).map_or(&[][..], |stack| &stack.script);
        script.iter().filter_map(|call| Some((call.code, tables.codes.get(&call.code)?)))
    }
}
