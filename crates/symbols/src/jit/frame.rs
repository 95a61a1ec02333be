//! What runtimes write for a piece of code, read for the parts a frame has.

use whyslow_events::Frame;

use crate::frames::shortened;
use crate::jit::codes::Line;

const MODULE: &str = "[jit]";

/// Marks of the tiers of V8 between its word for a function and its name.
const V8_TIERS: [char; 5] = ['~', '^', '+', '*', '\''];

const V8_FUNCTIONS: [&str; 5] = ["JS:", "LazyCompile:", "Function:", "Script:", "Eval:"];

/// The frame of code that the runtime calls `text`.
pub(crate) fn of(text: &str, line: Option<&Line>) -> Frame {
    let mut frame = python(text).or_else(|| v8(text)).unwrap_or_else(|| named(text));
    if let Some(line) = line {
        frame.file = Some(shortened(&line.file));
        frame.line = Some(line.line);
    }
    frame
}

fn named(function: &str) -> Frame {
    Frame { function: shortened(function), module: MODULE.to_owned(), ..Frame::default() }
}

/// `py::work:/srv/program.py`
fn python(text: &str) -> Option<Frame> {
    let (function, file) = text.strip_prefix("py::")?.split_once(':')?;
    Some(Frame { file: Some(shortened(file)), ..named(function) })
}

/// `JS:*work file:///srv/program.js:7:14`, before version 17
/// `LazyCompile:*work /srv/program.js:7:14`.
fn v8(text: &str) -> Option<Frame> {
    let rest = V8_FUNCTIONS.iter().find_map(|word| text.strip_prefix(word))?;
    let rest = rest.trim_start_matches(V8_TIERS);
    let (place, _column) = rest.rsplit_once(':')?;
    let (place, line) = place.rsplit_once(':')?;
    let line = line.parse().ok()?;
    let begins = [" /", " file:", " node:"].iter().filter_map(|path| place.find(path)).min();
    let (function, file) = match begins {
        Some(at) => (&place[..at], &place[at + 1..]),
        None => place.rsplit_once(' ')?,
    };
    let function = if function.is_empty() { "(anonymous)" } else { function };
    let file = file.strip_prefix("file://").unwrap_or(file);
    Some(Frame { file: Some(shortened(file)), line: Some(line), ..named(function) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>, Option<u32>) {
        let frame = of(text, None);
        assert_eq!((frame.module.as_str(), frame.inlined), ("[jit]", false));
        (frame.function, frame.file, frame.line)
    }

    fn whole(function: &str, file: &str, line: u32) -> (String, Option<String>, Option<u32>) {
        (function.to_owned(), Some(file.to_owned()), Some(line))
    }

    #[test]
    fn functions_of_python_have_a_file() {
        let expected = ("Shop.sell".to_owned(), Some("/a b/c:d.py".to_owned()), None);
        assert_eq!(parts("py::Shop.sell:/a b/c:d.py"), expected);
    }

    #[test]
    fn functions_of_v8_have_a_file_and_a_line() {
        assert_eq!(parts("JS:*fib file:///a b/c.js:3:13"), whole("fib", "/a b/c.js", 3));
        assert_eq!(parts("LazyCompile:~get x /c.js:10:1"), whole("get x", "/c.js", 10));
        assert_eq!(parts("JS:~ /c.js:1:1"), whole("(anonymous)", "/c.js", 1));
        assert_eq!(parts("JS:^emit node:events:466:44"), whole("emit", "node:events", 466));
        assert_eq!(parts("JS:'x [eval]:1:5"), whole("x", "[eval]", 1));
    }

    #[test]
    fn other_texts_are_names() {
        for text in ["Builtin:ArrayMap", "Lshop/Basket;::count", "JS:", "JS:*a b", "py::x", "a:1:2"]
        {
            assert_eq!(parts(text), (text.to_owned(), None, None));
        }
    }

    #[test]
    fn a_line_beside_the_name_wins() {
        let line = Line { offset: 0, file: "/d.js".into(), line: 8 };
        let frame = of("JS:*fib /c.js:3:13", Some(&line));
        assert_eq!((frame.file.as_deref(), frame.line), (Some("/d.js"), Some(8)));
    }
}
