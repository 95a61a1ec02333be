//! Why the calls of a Python program cannot be read, for the report.

use whyslow_events::Fallback;
use whyslow_python::{Counters, Trouble, Unsupported, Version};
use whyslow_symbols::Python;

const OLDEST: Version = Version(0x0308_00f0);
const OLD: &str = "too old: 3.8 to 3.15 can be read";
const NEW: &str = "too new: 3.8 to 3.15 can be read";
const OTHER_VERSION: &str = "run it with one of these";
const CORRUPT: &str = "its memory is corrupt, or it is built with other structures";

/// The calls of `name` are not read, and native frames are shown in their place.
fn refusal(name: &str, errno: &str, remedy: &str) -> Fallback {
    Fallback {
        wanted: format!("calls of {name}"),
        got: "native frames".to_owned(),
        errno: errno.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// There is no runtime to read from in the files of `python`.
pub(super) fn no_runtime(python: &Python) -> Fallback {
    let version = python.version.as_deref().and_then(|text| text.parse::<Version>().ok());
    match version {
        Some(version) if version < OLDEST => refusal(&name(python), OLD, OTHER_VERSION),
        _ => refusal(
            &name(python),
            "no symbol _PyRuntime",
            "it is stripped too far: use a build that keeps its dynamic symbols",
        ),
    }
}

/// The runtime of `python` is not one that can be read.
pub(super) fn unsupported(python: &Python, why: Unsupported) -> Fallback {
    let told = |version: Version| format!("cpython {version}");
    match why {
        Unsupported::Old(_) => refusal(&name(python), OLD, OTHER_VERSION),
        Unsupported::New(version) => refusal(&told(version), NEW, OTHER_VERSION),
        Unsupported::Unfinished(version) => refusal(
            &told(version),
            "pre-release",
            "those of release candidates and releases can be",
        ),
        Unsupported::Unknown => refusal(&name(python), "version unknown", OTHER_VERSION),
        Unsupported::Absurd(version) => {
            refusal(&told(version), "what it says of itself makes no sense", CORRUPT)
        }
        Unsupported::Unreadable => refusal(
            &name(python),
            "its memory cannot be read",
            "it ended too soon, or reading it needs root or CAP_SYS_PTRACE, and \
             kernel.yama.ptrace_scope below 3",
        ),
    }
}

/// Reads that make no sense are few up to so many, and up to one in so many that do.
const FEW: u64 = 2;
const FEW_OF: u64 = 4;

/// The reads of `version` failed for another reason than that threads move.
pub(super) fn damaged(
    version: Version,
    counters: Counters,
    listing: Option<Trouble>,
) -> Option<Fallback> {
    let Counters { accepted, damaged, .. } = counters;
    let name = format!("cpython {version}");
    if let Some(trouble) = listing.filter(|_| accepted == 0) {
        return Some(refusal(&name, &trouble.to_string(), CORRUPT));
    }
    // A few are those of threads that moved on unseen.
    (damaged > FEW.max(accepted / FEW_OF)).then(|| {
        let errno = format!("{damaged} of {} reads make no sense", accepted + damaged);
        refusal(&name, &errno, CORRUPT)
    })
}

fn name(python: &Python) -> String {
    python.version.as_ref().map_or("cpython".to_owned(), |version| format!("cpython {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str) -> Python {
        Python { runtime: None, version: Some(version.to_owned()) }
    }

    #[test]
    fn a_version_without_a_runtime_is_old_or_stripped() {
        assert_eq!(no_runtime(&python("2.7.18")).errno, OLD);
        assert_eq!(no_runtime(&python("3.6")).wanted, "calls of cpython 3.6");
        assert_eq!(no_runtime(&python("3.11.2")).errno, "no symbol _PyRuntime");
    }

    #[test]
    fn a_few_senseless_reads_are_no_news() {
        let version = Version(0x030b_07f0);
        let counters = |accepted, damaged| Counters { accepted, damaged, ..Counters::default() };
        assert_eq!(damaged(version, counters(0, 2), None), None);
        assert_eq!(damaged(version, counters(40, 10), None), None);
        assert!(damaged(version, counters(40, 11), None).is_some());
        assert_eq!(damaged(version, counters(1, 0), Some(Trouble::Gone)), None);
        let told = damaged(version, counters(1, 9), None).unwrap();
        assert_eq!(told.errno, "9 of 10 reads make no sense");
        let told = damaged(version, counters(0, 0), Some(Trouble::Endless(16))).unwrap();
        assert!(told.errno.contains("no end"), "{told:?}");
    }
}
