//! `cargo xtask tidy`: the house rules that no compiler checks. Each rule
//! returns what breaks it, one line each; nothing here prints but [`run`].

mod dependencies;
mod files;
mod licences;
mod sources;

use anyhow::{Result, bail};

/// Checks every rule and prints what breaks one.
pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} breaches of the house rules", findings.len());
    }
    Ok(())
}

fn findings() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files::all()? {
        found.extend(files::check(&file));
        if file.path.ends_with(".rs") {
            found.extend(sources::check(&file));
        }
    }
    found.extend(dependencies::check()?);
    found.extend(licences::check()?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_keeps_its_rules() {
        let findings = super::findings().unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
