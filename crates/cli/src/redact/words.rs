//! Secrets inside one argument: after a telling name, in a URL, or known by
//! their shape.

use super::HIDDEN;

/// A name with one of these in it has a secret for a value.
const TELLING: &[&str] =
    &["passw", "passphrase", "pwd", "secret", "token", "key", "credential", "auth", "cookie"];
/// Names that look telling and are not.
const INNOCENT: &[&str] = &["PWD", "OLDPWD"];

/// What a secret of a well-known kind starts with, and how much must follow.
const SHAPES: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("sk-", 20),
    ("sk_live_", 16),
    ("eyJ", 30),
];

/// Whether a value of this name is likely a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    !INNOCENT.contains(&name) && TELLING.iter().any(|part| lower.contains(part))
}

/// Characters of option, variable, header and parameter names.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// `argument` with the secrets in it hidden.
pub(super) fn redact_word(argument: &str) -> String {
    let mut shown = String::with_capacity(argument.len());
    let mut rest = argument;
    while !rest.is_empty() {
        let name_ends = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if name_ends == 0 {
            let after = rest.chars().next().map_or(rest.len(), char::len_utf8);
            shown.push_str(&rest[..after]);
            rest = &rest[after..];
            continue;
        }
        let (name, after) = rest.split_at(name_ends);
        shown.push_str(if has_secret_shape(name) { HIDDEN } else { name });
        rest = match secret_after(name, after).or_else(|| password_in_url(after)) {
            Some(Secret { before, length }) => {
                shown.push_str(&after[..before]);
                shown.push_str(HIDDEN);
                &after[before + length..]
            }
            None => after,
        };
    }
    shown
}

/// Where in the text after a name its secret is.
struct Secret {
    before: usize,
    length: usize,
}

/// The value of a telling name: after `=` or `:`, or after a space when the
/// name is an option inside a quoted command.
fn secret_after(name: &str, after: &str) -> Option<Secret> {
    if !is_secret_name(name) {
        return None;
    }
    // `"password": "x"`: the quote that closes the name.
    let unquoted = after.trim_start_matches(['"', '\'']);
    let value = match unquoted.trim_start().strip_prefix(['=', ':']) {
        Some(value) => value.trim_start(),
        None if name.starts_with('-') && after.starts_with(' ') => after.trim_start(),
        None => return None,
    };
    // `key::path` and `auth://`: punctuation, not a value.
    if value.starts_with([':', '/', '=']) && !after.starts_with('=') {
        return None;
    }
    let header = unquoted.starts_with(": ") && unquoted.len() == after.len();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let body = quote.map_or(value, |_| &value[1..]);
    let length = match quote {
        Some(quote) => body.find(quote),
        // The value of a header has words: `Bearer abc`.
        None if header => body.find(['"', '\'', '\n']),
        None => body.find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | ',' | '"' | '\'')),
    }
    .unwrap_or(body.len());
    (length > 0).then_some(Secret { before: after.len() - body.len(), length })
}

/// The password in `://user:password@host`, where `after` follows the scheme.
fn password_in_url(after: &str) -> Option<Secret> {
    let authority = after.strip_prefix("://")?;
    let end =
        authority.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''));
    let credentials = authority[..end.unwrap_or(authority.len())].rsplit_once('@')?.0;
    let (user, password) = credentials.split_once(':')?;
    (!password.is_empty())
        .then_some(Secret { before: "://".len() + user.len() + 1, length: password.len() })
}

fn has_secret_shape(word: &str) -> bool {
    SHAPES
        .iter()
        .any(|&(start, more)| word.strip_prefix(start).is_some_and(|rest| rest.len() >= more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_syntax_ends() {
        for (argument, shown) in [
            ("?a=1&token=abc&b=2", "?a=1&token=***&b=2"),
            ("password='a b' x=1", "password='***' x=1"),
            (r#"{"api_key": "abc", "n": 1}"#, r#"{"api_key": "***", "n": 1}"#),
            ("cmd --password abc --verbose", "cmd --password *** --verbose"),
            ("Authorization: Basic abc==", "Authorization: ***"),
            ("Cookie: a=b; c=d", "Cookie: ***"),
            ("secret==", "secret=***"),
        ] {
            assert_eq!(redact_word(argument), shown);
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_stays() {
        for argument in [
            "key",
            "PWD=/home",
            "std::key::path",
            "token=",
            "https://host:80/",
            "http://u@h",
            "é=ü",
        ] {
            assert_eq!(redact_word(argument), argument);
        }
    }

    #[test]
    fn secrets_are_known_by_their_shape() {
        assert_eq!(redact_word("AKIAABCDEFGHIJKLMNOP"), HIDDEN);
        assert_eq!(redact_word("x=ghp_0123456789abcdefghijABCDEFGHIJ"), "x=***");
        assert_eq!(redact_word("sk-learn"), "sk-learn");
    }

    #[test]
    fn a_password_with_an_at_sign_is_hidden_whole() {
        assert_eq!(redact_word("redis://:a@b@host/0"), "redis://:***@host/0");
    }
}
