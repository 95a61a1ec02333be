//! `AddressSanitizer` over the unsafe code: the unit tests of the crate that has it,
//! compiled with checks of every access to memory.

use anyhow::Result;

use crate::run::{cargo, check, host, target_directory};

/// Runs the tests of the sampler, those of its `sys` modules among them.
pub(crate) fn run() -> Result<()> {
    let mut test = cargo("test --locked --package whyslow-sampler --lib");
    // By the name of the host: flags then reach neither build scripts nor macros.
    test.args(["--target", &host()?]);
    // Flags of another build would have it all built anew.
    test.arg("--target-dir").arg(target_directory()?.join("sanitize"));
    // The flag is not stable, and ours is the stable compiler.
    test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    check(test)
}
