//! What an `io_uring` has outstanding.

use std::fs::File;
use std::io::Read;

use crate::proc::Proc;

/// The counters stand before lists of any length in a ring's `fdinfo`.
const FDINFO_BYTES: u64 = 4 << 10;

/// Whether nothing was asked of a ring that has no answer yet; `None` where that cannot be
/// read, as before Linux 5.16.
pub(super) fn is_empty(proc: &Proc, pid: u32, fd: u32) -> Option<bool> {
    let mut text = vec![];
    let file = File::open(proc.path(pid, &format!("fdinfo/{fd}"))).ok()?;
    file.take(FDINFO_BYTES).read_to_end(&mut text).ok()?;
    parse(&String::from_utf8_lossy(&text))
}

/// Requests and answers are counted alike: what the kernel took in, and what it gave. A
/// request that has many answers makes a ring seem to owe less, or ahead of what it was
/// asked, and then nothing is said.
pub(super) fn parse(fdinfo: &str) -> Option<bool> {
    let count = |name: &str| -> Option<u32> {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    };
    let (asked, taken, given) = (count("SqTail")?, count("CachedSqHead")?, count("CachedCqTail")?);
    Some(asked == taken && taken == given)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn ring(asked: u32, taken: u32, given: u32) -> String {
        format!(
            "pos:\t0\nino:\t9846618\nSqMask:\t0x7ff\nSqHead:\t{taken}\nSqTail:\t{asked}\n\
             CachedSqHead:\t{taken}\nCqHead:\t{given}\nCqTail:\t{given}\nCachedCqTail:\t{given}\n\
             SQEs:\t0\nPollList:\n"
        )
    }

    #[test]
    fn a_ring_is_empty_that_gave_as_many_answers_as_it_was_asked_for() {
        assert_eq!(parse(&ring(20, 20, 20)), Some(true));
        assert_eq!(parse(&ring(120_401, 120_401, 120_393)), Some(false), "of fio, eight at a time");
        assert_eq!(parse(&ring(21, 20, 20)), Some(false), "not taken in yet");
        assert_eq!(parse(&ring(20, 20, 23)), Some(false), "more than asked for");
        assert_eq!(parse("pos:\t0\nSqThread:\t-1\n"), None);
    }
}
