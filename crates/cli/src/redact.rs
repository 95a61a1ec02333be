//! Takes secrets out of command lines before anything is written down.
//!
//! When in doubt it hides: a report that lacks a harmless word is better than
//! one that leaks a password. Three things are looked for: options that carry
//! a secret (here and in `programs`), values whose name says so, and words
//! that are secrets by their shape (both in `words`).

mod programs;
mod words;

use programs::{Carries, short_option};
use words::{is_secret_name, redact_word};

/// Stands where a secret was.
const HIDDEN: &str = "***";

/// `command` with its secrets replaced; as many arguments as before.
#[must_use]
pub(crate) fn redact(command: &[String]) -> Vec<String> {
    let program = command.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    let mut next = Next::Ordinary;
    command
        .iter()
        .map(|argument| {
            let (shown, after) = redact_argument(program, argument, next);
            next = after;
            shown
        })
        .collect()
}

/// What the argument before says about this one.
#[derive(Clone, Copy)]
enum Next {
    Ordinary,
    Secret,
    Credentials,
}

fn redact_argument(program: &str, argument: &str, expected: Next) -> (String, Next) {
    if let Some((letter, carries)) = short_option(program, argument) {
        let (option, attached) = argument.split_at(1 + letter.len_utf8());
        let (shown, next) = match (carries, attached.is_empty()) {
            (Carries::Secret, true) => (String::new(), Next::Secret),
            (Carries::AttachedSecret, true) => (String::new(), Next::Ordinary),
            (Carries::Secret | Carries::AttachedSecret, false) => (HIDDEN.into(), Next::Ordinary),
            (Carries::Credentials, true) => (String::new(), Next::Credentials),
            (Carries::Credentials, false) => (without_password(attached), Next::Ordinary),
        };
        return (format!("{option}{shown}"), next);
    }
    let next = match argument {
        "--user" | "--proxy-user" => Next::Credentials,
        option if is_secret_option(option) => Next::Secret,
        _ => Next::Ordinary,
    };
    let shown = match expected {
        // An option that itself promises a secret is shown, and the promise kept.
        Next::Secret if !matches!(next, Next::Secret) => HIDDEN.into(),
        Next::Credentials => without_password(argument),
        _ => redact_word(argument),
    };
    (shown, next)
}

/// `--password` and the like, whose value is the next argument.
fn is_secret_option(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|name| {
        let name = name.trim_start_matches('-');
        !name.starts_with("no-") && name.chars().all(words::is_name) && is_secret_name(name)
    })
}

/// `user:password` with the password hidden.
fn without_password(credentials: &str) -> String {
    match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}"),
        None => credentials.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(command: &[&str]) -> String {
        redact(&command.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn options_lose_their_secret() {
        assert_eq!(shown(&["prog", "--password", "hunter2", "x"]), "prog --password *** x");
        assert_eq!(shown(&["prog", "--token=abc", "x"]), "prog --token=*** x");
        assert_eq!(shown(&["prog", "--api-key", "--token", "abc"]), "prog --api-key --token ***");
        assert_eq!(shown(&["prog", "-passwd", "x", "y"]), "prog -passwd *** y");
        assert_eq!(shown(&["prog", "--no-password", "db"]), "prog --no-password db");
        assert_eq!(shown(&["java", "-Ddb.password=x", "Main"]), "java -Ddb.password=*** Main");
    }

    #[test]
    fn short_options_are_known_by_program() {
        assert_eq!(shown(&["/usr/bin/mysql", "-phunter2", "db"]), "/usr/bin/mysql -p*** db");
        assert_eq!(shown(&["mysql", "-p", "db"]), "mysql -p db");
        assert_eq!(shown(&["mkdir", "-pv", "db"]), "mkdir -pv db");
        assert_eq!(shown(&["redis-cli", "-a", "x", "PING"]), "redis-cli -a *** PING");
        assert_eq!(shown(&["sshpass", "-px", "ssh", "h"]), "sshpass -p*** ssh h");
        assert_eq!(shown(&["curl", "-u", "me:x", "h"]), "curl -u me:*** h");
        assert_eq!(shown(&["curl", "--user", "me:x", "h"]), "curl --user me:*** h");
        assert_eq!(shown(&["sort", "-u", "a:b"]), "sort -u a:b");
    }

    #[test]
    fn words_inside_arguments_are_looked_at() {
        assert_eq!(shown(&["psql", "postgres://me:x@db/app"]), "psql postgres://me:***@db/app");
        assert_eq!(
            shown(&["curl", "-H", "Authorization: Bearer abc.def", "h"]),
            "curl -H Authorization: *** h"
        );
        assert_eq!(
            shown(&["sh", "-c", "PGPASSWORD=x psql -c 'select 1'"]),
            "sh -c PGPASSWORD=*** psql -c 'select 1'"
        );
    }

    #[test]
    fn an_ordinary_command_is_left_alone() {
        let command = ["python3", "-m", "app", "--port=80", "-p", "90", "/data/a:b", "x=1", "m@h"];
        assert_eq!(shown(&command), command.join(" "));
    }

    fn carriers(secret: &str) -> Vec<Vec<String>> {
        let carriers: &[&[&str]] = &[
            &["p", "--password", "@"],
            &["p", "--client-secret=@"],
            &["p", "-H", "Authorization: Bearer @"],
            &["p", "-H", "X-Api-Key:@"],
            &["mysql", "-p@"],
            &["sh", "-c", "TOKEN=@ exec x"],
            &["sh", "-c", "x --password '@' y"],
            &["p", "https://u:@@h/"],
            &["p", "https://h/?a=1&access_token=@&b=2"],
            &["p", r#"{"password": "@", "a": 1}"#],
            &["p", "host=h password=@ user=u"],
        ];
        carriers
            .iter()
            .map(|args| args.iter().map(|a| a.replacen('@', secret, 1)).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn no_command_panics_or_changes_its_length(command in prop::collection::vec(".{0,40}", 0..6)) {
            prop_assert_eq!(redact(&command).len(), command.len());
        }

        #[test]
        fn odd_punctuation_does_not_panic(
            command in prop::collection::vec("[-=:@/'\"&; apikeytoknsw\u{e9}]{0,30}", 0..4),
        ) {
            prop_assert_eq!(redact(&command).len(), command.len());
        }

        #[test]
        fn no_known_carrier_leaks(secret in "[0-9Q-Z]{8,20}") {
            for command in carriers(&secret) {
                let shown = redact(&command).join(" ");
                prop_assert!(!shown.contains(&secret), "{}", shown);
                prop_assert!(shown.contains(HIDDEN), "{}", shown);
            }
        }

        #[test]
        fn redacting_twice_changes_nothing_more(secret in "[0-9Q-Z]{8,20}") {
            for command in carriers(&secret) {
                let once = redact(&command);
                prop_assert_eq!(redact(&once), once);
            }
        }
    }
}
