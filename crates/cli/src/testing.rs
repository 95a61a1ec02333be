//! Fixture reports, and comparison with checked-in files. Run the tests with
//! `WHYSLOW_BLESS=1` (as `cargo xtask bless` does) to rewrite those files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use whyslow_analysis::report::Report;

use crate::render::Origin;

/// The reports under `fixtures/`.
pub(crate) const FIXTURES: [&str; 4] = ["server", "gil", "idle", "damaged"];

/// A report under `fixtures/`.
pub(crate) fn fixture(name: &str) -> Report {
    let path = here().join(format!("fixtures/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Where the fixtures come from.
pub(crate) fn origin() -> Origin {
    Origin { host: "db-7".into(), frequency: 499 }
}

/// What `render` writes.
pub(crate) fn written(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    render(&mut bytes).unwrap();
    bytes
}

/// Compares with the file of this name under `goldens/`.
pub(crate) fn assert_golden(name: &str, actual: &[u8]) {
    assert_file(&here().join("goldens").join(name), actual);
}

/// Compares with the file at `path`, which must exist.
pub(crate) fn assert_file(path: &Path, actual: &[u8]) {
    if std::env::var_os("WHYSLOW_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (expected, actual) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(actual));
    assert!(
        expected == actual,
        "{} differs; `cargo xtask bless` accepts the change.\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    here().join("../..")
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
