//! `perf-PID.map`: a line for each piece of code, `START SIZE NAME`, the
//! numbers in hexadecimal.

use crate::jit::codes::Code;
use crate::jit::written::Written;

/// Takes in the whole lines at the beginning of `bytes`, and gives their
/// length. A line that is none of ours is passed over.
pub(crate) fn read(bytes: &[u8], into: &mut Written<'_>) -> usize {
    let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else { return 0 };
    for line in bytes[..last].split(|byte| *byte == b'\n') {
        if let Some((start, size, name)) = parse(line) {
            into.load(start, size, Code::new(name, [].into()), None);
        }
    }
    last + 1
}

fn parse(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let (start, size) = (number(fields.next()?)?, number(fields.next()?)?);
    let name = fields.next()?.trim_ascii();
    (!name.is_empty()).then_some((start, size, name))
}

/// Some runtimes write `0x` before it.
fn number(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::codes::{Codes, Room};

    fn names(text: &str, addresses: &[u64]) -> (usize, Vec<Option<String>>) {
        let mut codes = Codes::default();
        let length =
            read(text.as_bytes(), &mut Written::at(0, &mut codes, &mut Room::new(1 << 20)));
        let name = |at: &u64| codes.find(*at, 0).map(|(code, _)| code.name.to_string());
        (length, addresses.iter().map(name).collect())
    }

    #[test]
    fn lines_name_their_addresses() {
        let text = "7f00 10 first\n0x7f10 0x8 void a::b(int, int)\r\n7f18 4 cut";
        let (length, names) = names(text, &[0x7eff, 0x7f00, 0x7f0f, 0x7f17, 0x7f18]);
        assert_eq!(length, text.len() - "7f18 4 cut".len());
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [None, Some("first"), Some("first"), Some("void a::b(int, int)"), None]);
    }

    #[test]
    fn garbage_is_passed_over() {
        let text =
            "\n\n x\n10 10\n10 10 \n-1 1 a\n+5 1 a\nffffffffffffffff ff a\n\u{fffd}\n10 8 b\n";
        let (length, names) = names(text, &[0x10, 5, u64::MAX]);
        assert_eq!(length, text.len());
        assert_eq!(names[0].as_deref(), Some("b"));
        assert_eq!(names[2], None);
    }
}
