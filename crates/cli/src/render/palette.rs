//! One look for each state, the same in the terminal and in the flamegraph.
//!
//! The hue follows the group a state belongs to; within a group the shades
//! differ. In the flamegraph each group also has its own hatching, so that
//! colour is never the only sign.

use anstyle::AnsiColor;
use whyslow_analysis::report::Class;
use whyslow_analysis::{Group, State};

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

/// The lines drawn over a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hatch {
    /// None.
    Plain,
    /// `/`
    Rising,
    /// `\`
    Falling,
    /// `/` and `\`
    Crossed,
    /// `|`
    Upright,
    /// `-`
    Level,
    /// Dots.
    Dotted,
}

/// The fill of `state` in the flamegraph; light enough for black text.
#[must_use]
pub(crate) fn fill(state: State) -> Rgb {
    match state {
        State::CpuUser => USER,
        State::CpuKernel => KERNEL,
        State::RunqPreempted => [0xf2, 0xdf, 0x5e],
        State::RunqWaking => [0xf7, 0xec, 0x9c],
        State::RunqThrottled => [0xd9, 0xc0, 0x3f],
        State::IoDisk => [0x6f, 0x9c, 0xe0],
        State::IoNetwork => [0x7c, 0xc3, 0xee],
        State::IoIpc => [0x86, 0xd3, 0xd8],
        State::IoTerminal => [0x9f, 0xdc, 0xcf],
        State::IoDevice => [0x92, 0xaf, 0xd6],
        State::IoOther => [0xae, 0xc4, 0xdf],
        State::Sleep => [0xc2, 0xcf, 0xf2],
        State::Child => [0xab, 0xb9, 0xe8],
        State::LockGil => [0xd4, 0x9a, 0xdc],
        State::LockUser => [0xbf, 0x90, 0xd4],
        State::LockKernel => [0xad, 0x8c, 0xd0],
        State::SyncThread => [0xe6, 0xb5, 0xd6],
        State::Memory => [0x7f, 0xc9, 0x98],
        State::Idle => [0xdc, 0xdc, 0xdc],
        State::Stopped => [0xb4, 0xb4, 0xb4],
        State::Unknown => [0xec, 0xe6, 0xdd],
    }
}

/// The fill of frames of user code.
pub(crate) const USER: Rgb = [0xf3, 0xb2, 0x63];
/// The fill of frames of kernel code.
pub(crate) const KERNEL: Rgb = [0xdf, 0x83, 0x5c];
/// The fill of the frames that name a process or a thread.
pub(crate) const ROOT: Rgb = [0xc4, 0xca, 0xd3];

/// The hatching of `state` in the flamegraph.
#[must_use]
pub(crate) fn hatch(state: State) -> Hatch {
    match (state, state.group()) {
        (State::Sleep | State::Child, _) => Hatch::Level,
        (_, Group::Cpu | Group::Idle) => Hatch::Plain,
        (_, Group::Io) => Hatch::Rising,
        (_, Group::Sync) => Hatch::Falling,
        (_, Group::Lock) => Hatch::Crossed,
        (_, Group::Starved) => Hatch::Upright,
        (_, Group::Memory | Group::Unknown | Group::Stopped) => Hatch::Dotted,
    }
}

/// The colour of `state` in the terminal; `None` leaves the terminal's own.
#[must_use]
pub(crate) fn ansi(state: State) -> Option<AnsiColor> {
    match (state, state.group()) {
        (State::CpuKernel, _) => Some(AnsiColor::BrightRed),
        (State::Sleep | State::Child, _) => Some(AnsiColor::Blue),
        (_, Group::Cpu) => Some(AnsiColor::Red),
        (_, Group::Io) => Some(AnsiColor::Cyan),
        (_, Group::Lock | Group::Sync) => Some(AnsiColor::Magenta),
        (_, Group::Starved) => Some(AnsiColor::Yellow),
        (_, Group::Memory) => Some(AnsiColor::Green),
        (_, Group::Idle | Group::Stopped | Group::Unknown) => None,
    }
}

/// The colour of a verdict in the terminal.
#[must_use]
pub(crate) fn ansi_of_class(class: Class) -> Option<AnsiColor> {
    match class {
        Class::CpuBound => Some(AnsiColor::Red),
        Class::IoBound => Some(AnsiColor::Cyan),
        Class::LockBound => Some(AnsiColor::Magenta),
        Class::CpuStarved => Some(AnsiColor::Yellow),
        Class::MemoryBound => Some(AnsiColor::Green),
        Class::Idle | Class::Mixed | Class::Inconclusive => None,
    }
}

/// The state with this ledger key.
#[must_use]
pub(crate) fn state_of(key: &str) -> Option<State> {
    State::ALL.iter().copied().find(|state| state.key() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG relative luminance.
    fn luminance(rgb: Rgb) -> f64 {
        let linear = rgb.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn black_text_is_readable_on_every_fill() {
        for fill in State::ALL.iter().map(|&state| fill(state)).chain([USER, KERNEL, ROOT]) {
            let contrast = (luminance(fill) + 0.05) / 0.05;
            assert!(contrast >= 7.0, "{fill:?} has a contrast of {contrast:.1}");
        }
    }

    #[test]
    fn no_two_states_look_the_same() {
        for (i, a) in State::ALL.iter().enumerate() {
            for b in &State::ALL[i + 1..] {
                assert_ne!(fill(*a), fill(*b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn groups_that_matter_differ_without_colour() {
        let hatches = [State::IoDisk, State::LockUser, State::RunqWaking, State::Memory]
            .map(hatch)
            .map(|hatch| format!("{hatch:?}"));
        assert!((1..hatches.len()).all(|n| !hatches[..n].contains(&hatches[n])));
    }
}
