//! `cargo xtask bless`: the only way in which goldens and the schema change.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, check, release_binary, root};

const SCHEMA: &str = "schema/whyslow.report.1.json";

/// Writes every golden anew. Read the difference before you commit it.
pub(crate) fn run() -> Result<()> {
    let mut tests = cargo("test --workspace --exclude whyslow-tests");
    tests.env("WHYSLOW_BLESS", "1");
    check(tests)?;
    let printed = Command::new(release_binary()?).arg("__schema").output()?;
    if !printed.status.success() {
        bail!("whyslow __schema: {}", printed.status);
    }
    let path = root().join(SCHEMA);
    fs::create_dir_all(path.parent().expect("the schema is in a folder"))?;
    fs::write(&path, printed.stdout).with_context(|| path.display().to_string())
}
