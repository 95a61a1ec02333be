//! Durations and sizes as people type them.

use std::time::Duration;

/// Longest time that can be asked for: a year.
const LONGEST_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// Reads `10s`, `500ms`, `2m`, `1.5s`, `1h`; a plain number is seconds.
///
/// # Errors
/// When it is none of these.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(EXPECTED.into()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(EXPECTED.into());
    }
    let seconds = digits.parse::<f64>().map_err(|_| EXPECTED.to_string())? * factor;
    if seconds > LONGEST_SECONDS {
        return Err("more than a year".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| EXPECTED.into())
}

/// As [`parse_duration`], without zero.
///
/// # Errors
/// When it is no duration, or none at all.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be more than zero".into()),
        duration => Ok(duration),
    }
}

/// Most bytes of stack that fit into a ring record beside the rest of it.
const LARGEST_STACK: u32 = 60 << 10;

/// Reads `16K`, `16KiB`, `8192`; rounded down to whole words.
///
/// # Errors
/// When it is no size, or larger than a record can hold.
pub(crate) fn parse_stack_size(text: &str) -> Result<u32, String> {
    const WORD: u32 = 8;
    let expected = || "expected a size such as 16K or 8192, at most 60K".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "k" | "KB" | "KiB" => 1 << 10,
        _ => return Err(expected()),
    };
    let number: u32 = digits.parse().map_err(|_| expected())?;
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes <= LARGEST_STACK);
    bytes.map(|bytes| bytes - bytes % WORD).ok_or_else(expected)
}

/// Reads `2%`, `0.5%` or `2`, in millionths.
///
/// # Errors
/// When it is no percentage above 0 and up to 100.
pub(crate) fn parse_percent(text: &str) -> Result<u32, String> {
    let expected = || "expected a percentage such as 2% or 0.5%, at most 100%".to_owned();
    let number: f64 = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| expected())?;
    // Not a number is in no range.
    if !(0.0001..=100.0).contains(&number) {
        return Err(expected());
    }
    Ok((number * 1e4).round() as u32)
}

const EXPECTED: &str = "expected a time such as 10s, 500ms, 1.5s or 2m";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_typed() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1.5s", 1_500),
            ("3", 3_000),
            (".5", 500),
            ("1h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "-1", "+1", "1 s", "1x", "inf", "nan", "1e9s", "1s2", "0x1", "9999h"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_positive_duration("0ms").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (parse_duration(&text), parse_stack_size(&text));
        }
    }
}
