//! Which crate may use which, over `cargo metadata`. An edge not listed is a breach.

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::run::root;

/// Each crate and the crates of ours it may depend on. Test dependencies are free.
const ALLOWED: &[(&str, &[&str])] = &[
    ("whyslow-events", &[]),
    ("whyslow-sampler", &["whyslow-events"]),
    ("whyslow-symbols", &["whyslow-events"]),
    ("whyslow-python", &["whyslow-events"]),
    ("whyslow-analysis", &["whyslow-events"]),
    (
        "whyslow",
        &[
            "whyslow-analysis",
            "whyslow-events",
            "whyslow-python",
            "whyslow-sampler",
            "whyslow-symbols",
        ],
    ),
    (
        "whyslow-fuzz",
        &[
            "whyslow-analysis",
            "whyslow-events",
            "whyslow-python",
            "whyslow-sampler",
            "whyslow-symbols",
        ],
    ),
    ("whyslow-tests", &[]),
    ("xtask", &[]),
];

/// The edges that are not allowed.
pub(super) fn check() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    Ok(metadata.workspace_packages().into_iter().flat_map(breaches).collect())
}

fn breaches(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        return vec![format!("{name}: not in the list of crates (xtask/src/tidy/dependencies.rs)")];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some())
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| format!("{name}: may not depend on {}", dependency.name))
        .collect()
}
