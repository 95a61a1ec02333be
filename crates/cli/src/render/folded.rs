//! Folded stacks: one line for each, `root;…;leaf weight`, weights in ns.

use std::borrow::Cow;
use std::io::{self, Write};

use whyslow_analysis::Folded;

use crate::sanitize::clean;

/// Writes one line for each of `stacks`.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn stacks(stacks: &[Folded], out: &mut dyn Write) -> io::Result<()> {
    for stack in stacks {
        writeln!(out, "{}", line(stack))?;
    }
    Ok(())
}

/// The line of `stack`, without its newline.
#[must_use]
pub(crate) fn line(stack: &Folded) -> String {
    let frames: Vec<_> = stack.frames.iter().map(|name| frame(name)).collect();
    format!("{} {}", frames.join(";"), stack.weight_ns)
}

/// A name that cannot be taken for two frames, or for two weights.
#[must_use]
pub(crate) fn frame(name: &str) -> Cow<'_, str> {
    let name = clean(name);
    let trimmed = name.trim();
    let ends_in_number = trimmed
        .rsplit_once(' ')
        .is_some_and(|(_, last)| last.chars().all(|c| c.is_ascii_digit() || c == '.'));
    if trimmed.is_empty() {
        return Cow::Borrowed("?");
    }
    if trimmed.len() == name.len() && !ends_in_number && !name.contains(';') {
        return name;
    }
    let mut safe = trimmed.replace(';', ":");
    if ends_in_number && let Some(at) = safe.rfind(' ') {
        safe.replace_range(at..=at, "\u{a0}");
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use whyslow_analysis::State;

    use super::*;

    fn stack(frames: &[&str], weight_ns: u64) -> Folded {
        let frames = frames.iter().map(|name| (*name).into()).collect();
        Folded { frames, state: State::CpuUser, weight_ns }
    }

    #[test]
    fn a_stack_is_a_line() {
        assert_eq!(line(&stack(&["app", "main", "[sleep]"], 1_500)), "app;main;[sleep] 1500");
    }

    #[test]
    fn names_cannot_break_the_format() {
        assert_eq!(line(&stack(&["a;b", "c\nd", " ", "worker 7"], 1)), "a:b;c d;?;worker\u{a0}7 1");
    }

    proptest! {
        #[test]
        fn every_stack_reads_back(
            frames in prop::collection::vec(any::<String>(), 1..5), weight in any::<u64>(),
        ) {
            let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
            let line = line(&stack(&frames, weight));
            prop_assert_eq!(line.lines().count(), 1);
            let (names, last) = line.rsplit_once(' ').unwrap();
            prop_assert_eq!(last.parse::<u64>().unwrap(), weight);
            prop_assert_eq!(names.split(';').count(), frames.len());
        }
    }
}
