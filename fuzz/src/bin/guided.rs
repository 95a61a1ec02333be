//! One target, chosen by `WHYSLOW_FUZZ_TARGET`, under libFuzzer, which keeps
//! the inputs that reach new code. `cargo xtask fuzz` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use whyslow_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("WHYSLOW_FUZZ_TARGET").expect("WHYSLOW_FUZZ_TARGET names a target");
    TARGETS.iter().find(|target| target.name == name).expect("there is such a target")
});

fuzz_target!(|input: &[u8]| (TARGET.feed)(input));
