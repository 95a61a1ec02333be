//! Debug files from servers that hand them out by build id, and the folder
//! where all clients of such servers on this host keep what they got.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tempfile::NamedTempFile;
use ureq::Agent;
use whyslow_events::Fallback;

use crate::debug_files::hex;

/// A larger debug file is not fetched.
const LARGEST: u64 = 1 << 30;

/// For how long a server that does not have a file is not asked for it again:
/// as long as other clients hold.
const MISSING_FOR: Duration = Duration::from_secs(600);

/// Servers that may be asked for debug files, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debuginfod {
    /// Their addresses, the best first.
    pub urls: Vec<String>,
    /// Where what they gave is kept.
    pub cache: PathBuf,
    /// How long all answers together may take. Then no more is asked.
    pub patience: Duration,
}

/// Asks servers.
#[derive(Debug)]
pub(crate) struct Client {
    config: Debuginfod,
    agent: Agent,
    spent: Duration,
    /// The first thing that went wrong.
    failure: Option<String>,
}

impl Client {
    pub(crate) fn new(config: Debuginfod) -> Client {
        // A proxy would be taken from the environment.
        let agent = Agent::config_builder().proxy(None).build().into();
        Client { config, agent, spent: Duration::ZERO, failure: None }
    }

    /// The debug file of the binary with this build id.
    pub(crate) fn fetch(&mut self, build_id: &[u8]) -> Option<PathBuf> {
        let id = hex(build_id);
        let folder = self.config.cache.join(&id);
        let path = folder.join("debuginfo");
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() > 0 => return Some(path),
            Ok(miss) if age(&miss).is_some_and(|age| age < MISSING_FOR) => return None,
            _ => {}
        }
        let mut missing = true;
        for url in self.config.urls.clone() {
            let url = format!("{}/buildid/{id}/debuginfo", url.trim_end_matches('/'));
            let begin = Instant::now();
            let answer = self.ask(&url, &folder, &path);
            self.spent += begin.elapsed();
            match answer {
                Ok(()) => return Some(path),
                Err(ureq::Error::StatusCode(404)) => {}
                Err(error) => {
                    missing = false;
                    self.failure.get_or_insert_with(|| format!("{url}: {error}"));
                }
            }
        }
        if missing {
            // Other clients understand an empty file, too.
            let _ = fs::create_dir_all(&folder).and_then(|()| File::create(&path));
        }
        None
    }

    /// What went wrong since this was last asked.
    pub(crate) fn take_failure(&mut self) -> Option<Fallback> {
        let error = self.failure.take()?;
        Some(Fallback {
            wanted: "debug files of the servers in DEBUGINFOD_URLS".to_owned(),
            got: "the symbols on this host".to_owned(),
            errno: error,
            remedy: "record again when they answer, or unset DEBUGINFOD_URLS".to_owned(),
        })
    }

    /// Puts what is at `url` to `path`.
    fn ask(&self, url: &str, folder: &Path, path: &Path) -> Result<(), ureq::Error> {
        let left = self.config.patience.saturating_sub(self.spent);
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let request = self.agent.get(url).config().timeout_global(Some(left)).build();
        let body = request.call()?.into_body();
        fs::create_dir_all(folder)?;
        // Whole or not at all: others may read it meanwhile.
        let mut file = NamedTempFile::new_in(folder)?;
        io::copy(&mut body.into_with_config().limit(LARGEST).reader(), &mut file)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn age(found: &fs::Metadata) -> Option<Duration> {
    SystemTime::now().duration_since(found.modified().ok()?).ok()
}
