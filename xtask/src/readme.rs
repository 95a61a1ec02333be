//! Parts of README.md that chores write, between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

use std::fs;

use anyhow::{Context, Result};

use crate::run::root;

/// Puts `text` between the marks of `name`.
pub(crate) fn replace(name: &str, text: &str) -> Result<()> {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path)?;
    let replaced = replaced(&readme, name, text)
        .with_context(|| format!("README.md has no marks for {name}"))?;
    Ok(fs::write(&path, replaced)?)
}

fn replaced(readme: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let (before, rest) = readme.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let readme = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n";
        let expected = "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n";
        assert_eq!(replaced(readme, "x", "new\n").unwrap(), expected);
        assert_eq!(replaced(expected, "x", "new").unwrap(), expected);
        assert_eq!(replaced(readme, "y", "new"), None);
    }
}
