//! From what the symboliser found at an address to the frames of an event.
//! Names come from files of the target: they may be empty, or as long as the
//! file.

use blazesym::symbolize::{CodeInfo, Sym};
use whyslow_events::Frame;

/// Bytes of a function or file name that are kept: more than the longest
/// template instance a reader would read.
const NAME_LIMIT: usize = 4 << 10;

/// Functions inlined at one address that are kept, innermost first.
const INLINE_LIMIT: usize = 64;

/// The function at an address and those inlined there, innermost first.
/// `None` when the symbol has no name.
pub(crate) fn of(symbol: &Sym<'_>, module: &str) -> Option<Vec<Frame>> {
    if symbol.name.is_empty() {
        return None;
    }
    let inlined = symbol.inlined.iter().rev().filter(|inner| !inner.name.is_empty());
    let outer = frame(&symbol.name, symbol.code_info.as_deref(), module, false);
    let frames = inlined
        .map(|inner| frame(&inner.name, inner.code_info.as_ref(), module, true))
        .take(INLINE_LIMIT)
        .chain([outer]);
    Some(frames.collect())
}

fn frame(function: &str, code: Option<&CodeInfo<'_>>, module: &str, inlined: bool) -> Frame {
    Frame {
        function: shortened(function),
        file: code.map(|code| shortened(&code.to_path().to_string_lossy())),
        line: code.and_then(|code| code.line),
        module: module.to_owned(),
        inlined,
    }
}

pub(crate) fn shortened(name: &str) -> String {
    if name.len() <= NAME_LIMIT {
        return name.to_owned();
    }
    let mut end = NAME_LIMIT;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_name_is_cut_between_characters() {
        assert_eq!(shortened("main"), "main");
        let exact = "é".repeat(NAME_LIMIT / 2);
        assert_eq!(shortened(&exact), exact);
        let long = format!("x{exact}");
        assert_eq!(shortened(&long), format!("x{}…", "é".repeat(NAME_LIMIT / 2 - 1)));
    }
}
