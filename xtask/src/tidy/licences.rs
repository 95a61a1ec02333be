//! The licences of everything we link, over `cargo metadata`, against `deny.toml`.

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, Package};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::run::root;

#[derive(Deserialize)]
struct Deny {
    licenses: Allowed,
}

#[derive(Deserialize)]
struct Allowed {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

/// The packages whose licence is not allowed.
pub(super) fn check() -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let metadata = MetadataCommand::new().current_dir(root()).exec()?;
    let mut found = Vec::new();
    for package in &metadata.packages {
        if !deny.licenses.permit(package)? {
            let licence = package.license.as_deref().unwrap_or("no licence");
            found.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    Ok(found)
}

impl Allowed {
    fn permit(&self, package: &Package) -> Result<bool> {
        let Some(licence) = &package.license else { return Ok(false) };
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .with_context(|| format!("licence of {}", package.name))?;
        let exceptions = self.exceptions.iter().filter(|e| e.package == package.name.as_str());
        let allowed = self.allow.iter().chain(exceptions.flat_map(|e| &e.allow));
        let licensees = allowed.map(|name| Licensee::parse(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(expression.evaluate(|wanted| licensees.iter().any(|have| have.satisfies(wanted))))
    }
}
