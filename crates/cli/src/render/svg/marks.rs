//! What each frame stands for, and the colour that follows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use inferno::flamegraph::FuncFrameAttrsMap;
use inferno::flamegraph::color::{Color, PaletteMap};
use whyslow_analysis::{Folded, State};

use super::frame;
use crate::render::palette::{KERNEL, ROOT, Rgb, USER, fill, state_of};

/// What the analysis writes where it has no frames.
const MISSING: [&str; 3] = ["[no stack]", "[not begun]", "[not sampled]"];
/// From here on there are functions only, below the process and the thread.
const FUNCTIONS: usize = 2;
/// How many shades of one hue tell neighbouring functions apart.
const SHADES: u32 = 5;

/// What a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// A process or thread.
    Root,
    /// Words in place of frames that were not recorded.
    Missing,
    /// User code.
    User,
    /// Kernel code.
    Kernel,
    /// The state a wait ends in.
    State(State),
}

/// The mark of every frame, by name: that is how inferno asks.
pub(super) struct Marks<'a>(BTreeMap<Cow<'a, str>, Mark>);

impl<'a> Marks<'a> {
    /// `threads` holds the names of all threads.
    pub(super) fn of(stacks: &'a [Folded], threads: &BTreeSet<&str>) -> Self {
        let mut marks = BTreeMap::new();
        // In a recursion the same names come over and over.
        let mut seen = HashSet::new();
        for stack in stacks {
            for (depth, name) in stack.frames.iter().enumerate() {
                if !seen.insert((Arc::as_ptr(name), depth.min(FUNCTIONS))) {
                    continue;
                }
                let mark = mark(depth, name, threads);
                // A function that has the name of a thread is a function.
                marks
                    .entry(frame(name))
                    .and_modify(|known: &mut Mark| *known = mark.max(*known))
                    .or_insert(mark);
            }
        }
        Marks(marks)
    }

    /// The different marks there are.
    pub(super) fn kinds(&self) -> BTreeSet<Mark> {
        self.0.values().copied().collect()
    }

    /// The states that frames stand for.
    pub(super) fn states(&self) -> impl Iterator<Item = State> {
        self.kinds().into_iter().filter_map(|mark| match mark {
            Mark::State(state) => Some(state),
            _ => None,
        })
    }

    /// A colour for each name.
    pub(super) fn colours(&self) -> PaletteMap {
        let mut colours = PaletteMap::default();
        // The frame below all others has no name.
        colours.insert("", colour(ROOT));
        for (name, mark) in &self.0 {
            let rgb = match mark {
                Mark::Root => ROOT,
                Mark::Missing => fill(State::Unknown),
                Mark::User => shade(USER, name),
                Mark::Kernel => shade(KERNEL, name),
                Mark::State(state) => fill(*state),
            };
            colours.insert(name, colour(rgb));
        }
        colours
    }

    /// A class for each state, which the style sheet gives its hatching.
    pub(super) fn attributes(&self) -> io::Result<FuncFrameAttrsMap> {
        let lines: String = self
            .states()
            .map(|state| format!("[{}]\tclass={}\n", state.key(), class(state)))
            .collect();
        FuncFrameAttrsMap::from_reader(lines.as_bytes())
    }
}

/// The class of the frames of `state`, and the name of its pattern.
pub(super) fn class(state: State) -> String {
    format!("s-{}", state.key().replace('.', "-"))
}

/// The process comes first in every stack, then the thread unless it is the main one.
fn mark(depth: usize, name: &str, threads: &BTreeSet<&str>) -> Mark {
    let key = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match key.and_then(state_of) {
        Some(state) => Mark::State(state),
        None if name.ends_with("_[k]") => Mark::Kernel,
        None if MISSING.contains(&name) => Mark::Missing,
        None if depth == 0 || (depth == 1 && threads.contains(name)) => Mark::Root,
        None => Mark::User,
    }
}

/// `base`, a little lighter as the name decides.
fn shade(base: Rgb, name: &str) -> Rgb {
    // FNV-1a: any hash will do that gives the same colour in every run.
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let lighter = (hash >> 16) % SHADES;
    // A twelfth of the way to white for each step.
    base.map(|c| (u32::from(c) + (255 - u32::from(c)) * lighter / 12) as u8)
}

fn colour([r, g, b]: Rgb) -> Color {
    Color { r, g, b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_by_its_name_and_depth() {
        let threads = BTreeSet::from(["python3", "worker"]);
        let mark = |depth, name| super::mark(depth, name, &threads);
        assert_eq!(mark(0, "app"), Mark::Root);
        assert_eq!(mark(1, "worker"), Mark::Root);
        assert_eq!(mark(2, "worker"), Mark::User);
        assert_eq!(mark(1, "_start"), Mark::User);
        assert_eq!(mark(1, "do_idle_[k]"), Mark::Kernel);
        assert_eq!(mark(1, "[io.disk]"), Mark::State(State::IoDisk));
        assert_eq!(mark(2, "[no stack]"), Mark::Missing);
        assert_eq!(mark(2, "[vdso]"), Mark::User);
    }

    #[test]
    fn the_same_name_has_the_same_shade() {
        assert_eq!(shade(USER, "main"), shade(USER, "main"));
        let shades: BTreeSet<Rgb> =
            ["a", "b", "c", "d", "e", "f", "g"].map(|n| shade(USER, n)).into();
        assert!(shades.len() > 2);
    }
}
