//! Memory that was kept from a Python process of each version, with the stack
//! of its thread; the tests of the reader know what is in it.

/// One of each version.
pub(crate) fn images() -> Vec<Vec<u8>> {
    [
        &include_bytes!("../../../crates/python/tests/kept/3.8.image")[..],
        include_bytes!("../../../crates/python/tests/kept/3.9.image"),
        include_bytes!("../../../crates/python/tests/kept/3.10.image"),
        include_bytes!("../../../crates/python/tests/kept/3.11.image"),
        include_bytes!("../../../crates/python/tests/kept/3.12.image"),
        include_bytes!("../../../crates/python/tests/kept/3.13.image"),
        include_bytes!("../../../crates/python/tests/kept/3.13t.image"),
        include_bytes!("../../../crates/python/tests/kept/3.14.image"),
        include_bytes!("../../../crates/python/tests/kept/3.15.image"),
    ]
    .map(<[u8]>::to_vec)
    .into()
}
