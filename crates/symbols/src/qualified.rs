//! Whole names of Rust functions: where debug information is of lines alone, it knows the
//! last part of a name, and the symbol table all of it.

use whyslow_events::Frame;

use crate::frames::shortened;

/// Between the parts of a name.
const SEPARATOR: &str = "::";

/// Whether the function in which others were inlined may have a longer name.
pub(crate) fn may_be_longer(frames: &[Frame]) -> bool {
    let in_rust = |frame: &Frame| frame.file.as_deref().is_some_and(|file| file.ends_with(".rs"));
    frames.last().is_some_and(|outer| !outer.function.contains(SEPARATOR) && in_rust(outer))
}

/// Gives that function the name of the `symbol` there, if its own is the last part of it.
pub(crate) fn lengthen(frames: &mut [Frame], symbol: &str) {
    let Some(outer) = frames.last_mut() else { return };
    if symbol.strip_suffix(&*outer.function).is_some_and(|path| path.ends_with(SEPARATOR)) {
        outer.function = shortened(symbol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(function: &str, file: &str) -> Vec<Frame> {
        let frame = |function: &str, inlined| Frame {
            function: function.to_owned(),
            file: Some(file.to_owned()),
            inlined,
            ..Frame::default()
        };
        vec![frame("next", true), frame(function, false)]
    }

    #[test]
    fn only_names_in_rust_without_their_module_may_be_longer() {
        assert!(may_be_longer(&frames("run", "src/main.rs")));
        assert!(!may_be_longer(&frames("program::run", "src/main.rs")));
        assert!(!may_be_longer(&frames("run", "main.c")));
        assert!(!may_be_longer(&[]));
    }

    #[test]
    fn a_name_becomes_that_of_which_it_is_the_last_part() {
        for (symbol, expected) in
            [("program::run", "program::run"), ("program::rerun", "run"), ("other", "run")]
        {
            let mut frames = frames("run", "src/main.rs");
            lengthen(&mut frames, symbol);
            assert_eq!([&*frames[0].function, &frames[1].function], ["next", expected]);
        }
    }
}
