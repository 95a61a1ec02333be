//! Folded stacks, read back.

use crate::case::Case;

/// Functions that nothing calls, as far as the code of a program goes.
const ENTRIES: &[&str] = &[
    "_start",
    "_dl_start_user",
    "__clone3",
    "clone3",
    "runtime.clone",
    "runtime.goexit",
    // Go's scheduler begins anew here, on a stack whose older frames are no more.
    "runtime.mcall",
    "runtime.mstart",
    "runtime.morestack",
    "runtime.rt0_go",
    "runtime.systemstack",
    "_rt0_amd64_linux",
];

/// What compilers and libraries append to the name of a function of which they
/// have several.
const VARIANTS: &[&str] = &[".part.", ".constprop.", ".isra.", ".cold", "@@", "_impl"];

/// One line of a `.folded` file.
#[derive(Debug)]
pub(super) struct Stack {
    /// Functions of the program, outermost first.
    pub(super) user: Vec<String>,
    /// The state, off the CPU.
    pub(super) state: Option<String>,
    pub(super) ns: u64,
    /// It begins at a function that nothing calls.
    pub(super) whole: bool,
}

impl Stack {
    pub(super) fn computes(&self) -> bool {
        self.state.is_none()
    }

    /// A wait for something else than a CPU.
    pub(super) fn waits(&self) -> bool {
        self.state.as_deref().is_some_and(|state| !state.starts_with("runq") && state != "unknown")
    }

    /// `path` is a part of it without a gap.
    pub(super) fn goes_through(&self, path: &[&str]) -> bool {
        self.user.windows(path.len()).any(|part| part == path)
    }
}

pub(super) fn read(case: &Case, name: &str) -> Vec<Stack> {
    case.text(name).lines().map(stack).collect()
}

fn stack(line: &str) -> Stack {
    let (frames, ns) = line.rsplit_once(' ').expect("stack and weight");
    let mut frames: Vec<&str> = frames.split(';').collect();
    let state = frames.pop_if(|last| last.starts_with('[') && !last.contains("+0x"));
    // First comes the process; its threads all have its name.
    let user = frames[1..].iter().filter(|frame| !frame.ends_with("_[k]"));
    Stack {
        user: user.map(|frame| bare(frame)).collect(),
        state: state.map(|state| state.trim_matches(['[', ']']).to_owned()),
        ns: ns.parse().expect("nanoseconds"),
        whole: frames.get(1).is_some_and(|first| ENTRIES.contains(first)),
    }
}

/// The part of the time of those of `stacks` that `these` names for which `holds`.
pub(super) fn share(
    stacks: &[Stack],
    these: impl Fn(&Stack) -> bool,
    holds: impl Fn(&Stack) -> bool,
) -> f64 {
    let sum = |stacks: &mut dyn Iterator<Item = &Stack>| stacks.map(|s| s.ns).sum::<u64>() as f64;
    let all = sum(&mut stacks.iter().filter(|stack| these(stack)));
    let part = sum(&mut stacks.iter().filter(|stack| these(stack) && holds(stack)));
    if all > 0.0 { part / all } else { 0.0 }
}

/// A function's own name, without what languages and tools write differently:
/// its scope, parameters, type arguments and numbers of closures, and the C
/// library's aliases. `?` has none.
pub(super) fn bare(name: &str) -> String {
    if name.contains("+0x") {
        return "?".to_owned();
    }
    let name = name.trim_end_matches("_[i]");
    let mut depth = 0_u32;
    let mut kept = String::new();
    for letter in name.chars() {
        match letter {
            '<' | '(' | '{' => depth += 1,
            '>' | ')' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    let name = kept.trim_end_matches(" const").trim_end_matches("::");
    let name = name.rsplit("::").next().unwrap_or_default().trim();
    let name = VARIANTS.iter().fold(name, |name, part| name.split(part).next().unwrap_or(name));
    let name = name.trim_start_matches('_');
    let name = name.strip_prefix("GI_").unwrap_or(name).trim_start_matches('_');
    name.strip_prefix("libc_").unwrap_or(name).to_owned()
}

#[test]
fn names_are_bare() {
    for (name, own) in [
        ("__GI___libc_read", "read"),
        ("Descent::run(int)", "run"),
        ("<calls::Block as calls::Step>::run", "run"),
        ("main::{lambda()#1}::operator()() const", "operator"),
        ("std::vector<int, std::less<int> >::size", "size"),
        ("calls::work::{{closure}}", "work"),
        ("Buffer::fill::<&mut Stdin>", "fill"),
        ("mix.constprop.0", "mix"),
        ("__libc_start_main@@GLIBC_2.34", "start_main"),
        ("main.descend", "main.descend"),
        ("libm.so.6+0x1234", "?"),
    ] {
        assert_eq!(bare(name), own);
    }
}

#[test]
fn a_line_is_read_back() {
    let wait = stack("calls;clone3;start_thread;read;ksys_read_[k];[io.ipc] 12");
    assert_eq!(wait.user, ["clone3", "start_thread", "read"]);
    assert!(wait.whole && wait.waits() && !wait.computes() && wait.ns == 12, "{wait:?}");
    let cut = stack("calls;mix 3");
    assert!(!cut.whole && cut.computes() && cut.user == ["mix"], "{cut:?}");
}
