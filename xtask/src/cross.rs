//! Whether the code compiles for another architecture. Nothing of it is run there.

use anyhow::Result;

use crate::{
    run::{cargo, check, command},
    tools,
};

const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// Checks the program. What keeps this machine from it
/// is no failure, and returned.
pub(crate) fn check_aarch64() -> Result<Option<String>> {
    if let [missing, ..] = tools::ensure(tools::FOR_AARCH64)[..] {
        return Ok(Some(format!("aarch64 was not checked: no {missing}")));
    }
    if !add_target() {
        return Ok(Some(format!("aarch64 was not checked: rustup cannot add {AARCH64}")));
    }
    let mut checked = cargo("check --package whyslow --locked");
    checked.args(["--target", AARCH64]);
    check(checked)?;
    Ok(None)
}

/// Whether there is a standard library for it; rustup brings it where it is missing.
fn add_target() -> bool {
    let added = command("rustup").args(["target", "add", AARCH64]).status();
    added.is_ok_and(|status| status.success())
}
