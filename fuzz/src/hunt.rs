//! The loop: bend, feed, and keep the input that made it panic.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use fastrand::Rng;
use whyslow_fuzz::{Target, corpus};

use crate::mutate::mutate;

/// Inputs between looks at the clock.
const BATCH: u64 = 64;

/// How a hunt ended.
pub(crate) enum Outcome {
    /// The time was up.
    Quiet { inputs: u64 },
    /// The parser panicked; the input is kept in the corpus.
    Panicked { input: PathBuf },
}

/// Feeds each input of `corpus` as it is, then bent ones until `time` is up.
pub(crate) fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    time: Duration,
) -> Result<Outcome> {
    let last = Last::create(target)?;
    for input in corpus {
        if !last.feed(target, input)? {
            return last.keep(target, input);
        }
    }
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    let mut inputs = corpus.len() as u64;
    while start.elapsed() < time {
        for _ in 0..BATCH {
            let input = mutate(&mut rng, corpus);
            if !last.feed(target, &input)? {
                return last.keep(target, &input);
            }
        }
        inputs += BATCH;
    }
    fs::remove_file(&last.path)?;
    Ok(Outcome::Quiet { inputs })
}

/// The input at hand, on disk: it survives an abort, a hang or a kill.
struct Last {
    file: File,
    path: PathBuf,
}

impl Last {
    fn create(target: &Target) -> Result<Last> {
        let path = std::env::temp_dir().join(format!(
            "whyslow-fuzz-{}-{}",
            target.name,
            std::process::id()
        ));
        Ok(Last { file: File::create(&path)?, path })
    }

    /// False when the target panicked.
    fn feed(&self, target: &Target, input: &[u8]) -> Result<bool> {
        self.file.set_len(input.len() as u64)?;
        self.file.write_all_at(input, 0)?;
        // Nothing is shared between inputs: no state is left broken.
        Ok(panic::catch_unwind(AssertUnwindSafe(|| (target.feed)(input))).is_ok())
    }

    fn keep(&self, target: &Target, input: &[u8]) -> Result<Outcome> {
        let folder = corpus::folder(target);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("panic-{:016x}", fingerprint(input)));
        fs::write(&path, input)?;
        fs::remove_file(&self.path)?;
        Ok(Outcome::Panicked { input: path })
    }
}

/// A short name for an input (FNV-1a).
fn fingerprint(input: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    input.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}
