//! What the file of a CPython interpreter says: its version, and where its
//! `_PyRuntime` lies.

use std::io::{Read, Seek};

use crate::elf::{ElfFile, Segment};

/// A file name that belongs to CPython, and the version in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    version: Option<(u8, u8)>,
}

/// An interpreter, as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Such as `3.11.7`, or `3.13.5 free-threaded`.
    pub(crate) version: Option<String>,
    /// Address in the file and size of `_PyRuntime`; from 3.7 on.
    pub(crate) runtime: Option<(u64, u64)>,
    pub(crate) segments: Vec<Segment>,
}

impl FileName {
    pub(crate) fn version_text(&self) -> Option<String> {
        self.version.map(|(major, minor)| format!("{major}.{minor}"))
    }
}

/// `python`, `python3`, `python3.13t`, `libpython3.11.so.1.0` and their like.
pub(crate) fn file_name(name: &str) -> Option<FileName> {
    let stem = match name.strip_prefix("lib") {
        Some(library) => library.split_once(".so")?.0,
        None => name,
    };
    let version = stem.strip_prefix("python")?.trim_end_matches(['d', 'm', 't', 'u']);
    if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    Some(FileName { version: major.parse().ok().zip(minor.parse().ok()) })
}

/// `None` when the file is no interpreter: a stub that loads a library.
pub(crate) fn look_inside<R: Read + Seek>(
    file: &ElfFile<'_, R>,
    name: &FileName,
) -> Option<Interpreter> {
    let section = file.section(".PyRuntime");
    let runtime = match file.symbol("_PyRuntime") {
        Some((address, 0)) => section.filter(|(start, _)| *start == address),
        Some(symbol) => Some(symbol),
        None => section,
    };
    if runtime.is_none() && file.symbol("Py_Initialize").is_none() {
        return None;
    }
    let version = exported_version(file).or_else(|| version_in_text(file, name));
    let lockless = runtime.is_some_and(|(start, _)| is_free_threaded(file, start));
    let version = version.map(|it| if lockless { it + " free-threaded" } else { it });
    Some(Interpreter { version, runtime, segments: file.segments() })
}

/// From 3.13 on `_PyRuntime` says of itself, behind a cookie and the version, whether its
/// threads need no GIL; the file has it as it will be in memory.
fn is_free_threaded<R: Read + Seek>(file: &ElfFile<'_, R>, runtime: u64) -> bool {
    let number = |at: u64| file.u32_at(runtime.wrapping_add(at));
    let cookie = [0, 4].map(|at| number(at).unwrap_or(0).to_le_bytes());
    cookie.as_flattened() == b"xdebugpy" && number(16).is_some_and(|said| said != 0)
}

/// From 3.11 on the number is exported.
fn exported_version<R: Read + Seek>(file: &ElfFile<'_, R>) -> Option<String> {
    let (address, _) = file.symbol("Py_Version")?;
    decode(file.u32_at(address)?)
}

/// `PY_VERSION_HEX` as Python prints it.
fn decode(hex: u32) -> Option<String> {
    let [major, minor, micro, release] = hex.to_be_bytes();
    let level = match release >> 4 {
        0xa => "a",
        0xb => "b",
        0xc => "rc",
        0xf => return Some(format!("{major}.{minor}.{micro}")),
        _ => return None,
    };
    Some(format!("{major}.{minor}.{micro}{level}{}", release & 0xf))
}

/// Before 3.11: the string constant that continues the version in the file
/// name. Linkers fold a constant into the tail of a longer one, such as the
/// installation path, so only its end is certain.
fn version_in_text<R: Read + Seek>(file: &ElfFile<'_, R>, name: &FileName) -> Option<String> {
    let prefix = format!("{}.", name.version_text()?);
    let constants = file.section_bytes(".rodata")?;
    let mut found = constants.split(|byte| *byte == 0).filter_map(|text| tail(text, &prefix));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The version at the end of `text`, if one is there.
fn tail(text: &[u8], prefix: &str) -> Option<String> {
    const LONGEST: usize = 16;
    let text = &text[text.len().saturating_sub(LONGEST)..];
    let text = str::from_utf8(text).ok()?;
    let (before, rest) = text.rsplit_once(prefix)?;
    let whole = !before.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    (whole && is_micro_and_level(rest.as_bytes())).then(|| format!("{prefix}{rest}"))
}

/// `7`, `0rc2`, `12+`.
fn is_micro_and_level(text: &[u8]) -> bool {
    const LONGEST: usize = 8;
    let known = |byte: &u8| byte.is_ascii_digit() || b"abrc+".contains(byte);
    text.first().is_some_and(u8::is_ascii_digit) && text.len() <= LONGEST && text.iter().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Option<Option<(u8, u8)>> {
        file_name(name).map(|name| name.version)
    }

    #[test]
    fn names_of_interpreters_and_their_libraries_are_known() {
        assert_eq!(version("python"), Some(None));
        assert_eq!(version("python3"), Some(None));
        assert_eq!(version("python3.13t"), Some(Some((3, 13))));
        assert_eq!(version("python2.7"), Some(Some((2, 7))));
        assert_eq!(version("libpython3.11.so.1.0"), Some(Some((3, 11))));
        assert_eq!(version("libpython3.6m.so.1.0"), Some(Some((3, 6))));
        assert_eq!(version("libpython3.so"), Some(None));
    }

    #[test]
    fn other_names_are_not() {
        for name in ["pythonista", "python3-config", "libpython3.11.a", "pypy3", "libpythonqt.so"] {
            assert_eq!(version(name), None, "{name}");
        }
    }

    #[test]
    fn the_version_number_reads_as_python_prints_it() {
        assert_eq!(decode(0x030b_07f0).as_deref(), Some("3.11.7"));
        assert_eq!(decode(0x030d_00c2).as_deref(), Some("3.13.0rc2"));
        assert_eq!(decode(0x030e_00a1).as_deref(), Some("3.14.0a1"));
        assert_eq!(decode(0), None);
    }

    #[test]
    fn a_version_is_found_in_the_tail_of_a_longer_constant() {
        assert_eq!(tail(b"3.10.13", "3.10.").as_deref(), Some("3.10.13"));
        assert_eq!(tail(b"/opt/versions/3.10.13", "3.10.").as_deref(), Some("3.10.13"));
        assert_eq!(tail(b"/opt/versions/3.10.13/lib", "3.10."), None);
        assert_eq!(tail(b"13.10.13", "3.10."), None);
        assert_eq!(tail(b"3.10.", "3.10."), None);
    }

    #[test]
    fn only_a_micro_version_follows_the_minor_one() {
        for good in ["0", "18", "0rc2", "13+"] {
            assert!(is_micro_and_level(good.as_bytes()), "{good}");
        }
        for bad in ["", "x", "1 (main)", "a1", "1.2", "123456789"] {
            assert!(!is_micro_and_level(bad.as_bytes()), "{bad}");
        }
    }
}
