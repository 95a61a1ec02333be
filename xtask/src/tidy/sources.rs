//! Rules for Rust files: what a file opens with, how long it and its functions
//! are, and what each crate must not mention.

use super::files::File;

const FILE_LIMIT: usize = 500;
const FUNCTION_LIMIT: usize = 60;
/// Stands in a file, or just above a function, that is longer for a reason.
const LONG_FOR_A_REASON: &str = "// tidy: long because ";

/// What must not be mentioned, outside comments and tests, and where it may.
struct Ban {
    words: &'static [&'static str],
    /// The rule holds in files under one of these …
    within: &'static [&'static str],
    /// … and under none of these.
    except: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &[
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "Instant",
            "SystemTime",
            "env!",
            "dbg!",
        ],
        within: &["crates/analysis/", "crates/events/"],
        except: &[],
        why: "this crate is pure",
    },
    Ban {
        words: &["println!", "eprintln!", "print!", "eprint!", "dbg!", "process::exit"],
        within: &["crates/"],
        except: &["crates/cli/"],
        why: "only the command line prints or exits",
    },
    Ban {
        words: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        within: &[""],
        except: &["crates/sampler/src/sys/", "xtask/src/tidy/"],
        why: "unsafe code lives under crates/sampler/src/sys/",
    },
];

/// What in `file` breaks the rules.
pub(super) fn check(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let path = &file.path;
    if !file.text.starts_with("//! ") {
        found.push(format!("{path}:1: does not open with //! and what lives here"));
    }
    let lines = file.text.lines().count();
    if lines > FILE_LIMIT && !file.text.contains(LONG_FOR_A_REASON) {
        found.push(format!("{path}: {lines} lines, limit {FILE_LIMIT}"));
    }
    if is_crate_root(path) && !path.starts_with("crates/sampler/") {
        let forbids = file.text.contains("#![forbid(unsafe_code)]");
        if !forbids {
            found.push(format!("{path}: no #![forbid(unsafe_code)]"));
        }
    }
    found.extend(long_functions(file));
    found.extend(banned(file));
    found.extend(allows(file));
    found
}

fn is_crate_root(path: &str) -> bool {
    path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || path == "tests/tests/main.rs"
}

/// Functions over the limit. The code is formatted, so a function ends at the
/// first `}` that is indented as its `fn`.
fn long_functions(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[start..]
            .iter()
            .position(|line| line.strip_prefix(indent).is_some_and(|rest| rest == "}"));
        let length = end.map_or(1, |end| end + 1);
        let excused = start > 0 && lines[start - 1].trim_start().starts_with(LONG_FOR_A_REASON);
        if length > FUNCTION_LIMIT && !excused {
            let at = start + 1;
            found.push(format!(
                "{}:{at}: {name} has {length} lines, limit {FUNCTION_LIMIT}",
                file.path
            ));
        }
    }
    found
}

/// The name of the function whose body opens on or after `line`.
fn function_name(line: &str) -> Option<&str> {
    const BEFORE: [&str; 8] =
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let mut words = line.trim_start().split(' ').skip_while(|word| BEFORE.contains(word));
    // A one-line body and a declaration without one cannot be long.
    if words.next() != Some("fn") || line.ends_with(';') || line.ends_with('}') {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

fn banned(file: &File) -> Vec<String> {
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| ban.holds_in(&file.path)).collect();
    let mut found = Vec::new();
    for (number, line) in code_lines(file) {
        for ban in &bans {
            for word in ban.words.iter().filter(|word| mentions(line, word)) {
                found.push(format!("{}:{number}: {word}: {}", file.path, ban.why));
            }
        }
    }
    found
}

impl Ban {
    fn holds_in(&self, path: &str) -> bool {
        let under = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        under(self.within) && !under(self.except)
    }
}

fn allows(file: &File) -> Vec<String> {
    const ALLOW: [&str; 2] = [concat!("#[all", "ow("), concat!("#![all", "ow(")];
    let is_allow = |line: &str| ALLOW.iter().any(|allow| line.trim_start().starts_with(allow));
    (1..)
        .zip(file.text.lines())
        .filter(|(_, line)| is_allow(line))
        .map(|(number, _)| format!("{}:{number}: #[expect], not #[allow]", file.path))
        .collect()
}

/// Lines that are neither comments nor tests nor examples, with their numbers.
fn code_lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let path = &file.path;
    let is_test =
        path.ends_with("tests.rs") || path.contains("tests/") || path.contains("/examples/");
    (1..)
        .zip(file.text.lines())
        .take_while(move |(_, line)| !is_test && line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether `word` stands in `line` and is not the end of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.into(), text: text.into() })
    }

    #[test]
    fn an_honest_file_passes() {
        assert!(
            findings("crates/cli/src/x.rs", "//! X.\nfn f() {\n    println!();\n}\n").is_empty()
        );
    }

    #[test]
    fn a_file_without_its_opening_line_is_found() {
        assert_eq!(findings("crates/cli/src/x.rs", "use x;\n").len(), 1);
    }

    #[test]
    fn the_pure_crates_may_not_ask_the_clock_but_may_speak_of_it() {
        let pure = "crates/analysis/src/x.rs";
        assert_eq!(findings(pure, "//! X.\nuse std::time::Instant;\n").len(), 1);
        assert!(findings(pure, "//! X.\n// No Instant here.\n").is_empty());
        assert!(findings(pure, "//! X.\n#[cfg(test)]\nmod tests { use std::fs; }\n").is_empty());
        assert!(findings("crates/cli/src/x.rs", "//! X.\nuse std::fs;\n").is_empty());
    }

    #[test]
    fn eprintln_is_not_counted_as_println_too() {
        assert_eq!(findings("crates/sampler/src/x.rs", "//! X.\neprintln!();\n").len(), 1);
    }

    #[test]
    fn unsafe_code_outside_its_folder_is_found() {
        let text = "//! X.\nfn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(findings("crates/sampler/src/x.rs", text).len(), 1);
        assert!(findings("crates/sampler/src/sys/x.rs", text).is_empty());
    }

    #[test]
    fn a_crate_root_forbids_unsafe_code() {
        assert_eq!(findings("crates/cli/src/main.rs", "//! X.\n").len(), 1);
    }

    #[test]
    fn a_long_function_needs_its_reason() {
        let body = "        g();\n".repeat(FUNCTION_LIMIT);
        let long = format!("//! X.\nimpl X {{\n    pub fn f() {{\n{body}    }}\n}}\n");
        assert_eq!(findings("crates/cli/src/x.rs", &long).len(), 1);
        let excused =
            long.replace("    pub fn", "    // tidy: long because of this test\n    pub fn");
        assert!(findings("crates/cli/src/x.rs", &excused).is_empty());
    }

    #[test]
    fn a_long_file_needs_its_reason() {
        let long = format!("//! X.\n{}", "use x;\n".repeat(FILE_LIMIT));
        assert_eq!(findings("crates/cli/src/x.rs", &long).len(), 1);
    }

    #[test]
    fn allow_is_found() {
        let text = concat!("//! X.\n#[all", "ow(dead_code)]\nfn f() {}\n");
        assert_eq!(findings("crates/cli/src/x.rs", text).len(), 1);
    }
}
