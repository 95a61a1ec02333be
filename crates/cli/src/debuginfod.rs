//! Whether servers may be asked for debug files, from the environment: by the
//! variables that all clients of such servers share.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use whyslow_symbols::Debuginfod;

/// How long a reader waits for all answers together.
const PATIENCE: Duration = Duration::from_secs(5);

const FOLDER: &str = "debuginfod_client";

/// The servers the user has named; `None` when there are none.
pub(crate) fn from_environment() -> Option<Debuginfod> {
    from(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn from(variable: impl Fn(&str) -> Option<OsString>) -> Option<Debuginfod> {
    let urls = variable("DEBUGINFOD_URLS")?.into_string().ok()?;
    // What else may stand there are wishes about signatures.
    let is_url = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
    let urls: Vec<String> =
        urls.split_ascii_whitespace().filter(is_url).map(str::to_owned).collect();
    let path = |name| variable(name).map(PathBuf::from);
    let cache = path("DEBUGINFOD_CACHE_PATH")
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join(FOLDER)))
        .or_else(|| Some(path("HOME")?.join(".cache").join(FOLDER)))?;
    (!urls.is_empty()).then_some(Debuginfod { urls, cache, patience: PATIENCE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<(Vec<String>, PathBuf)> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        from(variable).map(|servers| (servers.urls, servers.cache))
    }

    #[test]
    fn without_servers_nothing_is_asked() {
        assert_eq!(with(&[("HOME", "/h")]), None);
        assert_eq!(with(&[("HOME", "/h"), ("DEBUGINFOD_URLS", " ima:enforcing ")]), None);
        assert_eq!(with(&[("DEBUGINFOD_URLS", "http://a")]), None, "no place to keep anything");
    }

    #[test]
    fn the_cache_is_that_of_other_clients() {
        let urls = ("DEBUGINFOD_URLS", "https://a/ ima:ignore http://b:8002");
        let cache = |more: &[(&str, &str)]| {
            let (found, cache) = with(&[&[urls, ("HOME", "/h")], more].concat()).unwrap();
            assert_eq!(found, ["https://a/", "http://b:8002"]);
            cache
        };
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(cache(&[]), PathBuf::from("/h/.cache/debuginfod_client"));
        assert_eq!(cache(&[xdg]), PathBuf::from("/x/debuginfod_client"));
        assert_eq!(cache(&[xdg, ("DEBUGINFOD_CACHE_PATH", "/d")]), PathBuf::from("/d"));
    }
}
