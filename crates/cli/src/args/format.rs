//! Which output format a file name asks for.

use std::path::PathBuf;

/// The formats a run can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Flamegraph.
    Svg,
    /// The report.
    Json,
    /// One line for each stack.
    Folded,
    /// The recording itself.
    Recording,
}

impl Format {
    /// Every format, in the order of the help.
    pub(crate) const ALL: [Format; 4] =
        [Format::Svg, Format::Json, Format::Folded, Format::Recording];

    /// The file name extension, without its dot.
    #[must_use]
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Json => "json",
            Format::Folded => "folded",
            Format::Recording => "whyslow",
        }
    }
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub format: Format,
}

impl OutputFile {
    /// Reads the format from the name of the file.
    ///
    /// # Errors
    /// When no format has that extension; the message lists those there are.
    pub(crate) fn new(path: PathBuf) -> Result<Self, String> {
        let format = Format::ALL.into_iter().find(|format| {
            path.extension().is_some_and(|found| found.eq_ignore_ascii_case(format.extension()))
        });
        match format {
            Some(format) => Ok(OutputFile { path, format }),
            None => Err(format!("the extension decides the format; supported are {}", list())),
        }
    }
}

fn list() -> String {
    Format::ALL.map(|format| format!(".{}", format.extension())).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides_in_any_case() {
        let format = |name: &str| OutputFile::new(PathBuf::from(name)).map(|file| file.format);
        assert_eq!(format("a.b/c.SVG"), Ok(Format::Svg));
        assert_eq!(format("x.svg.json"), Ok(Format::Json));
        assert_eq!(format("x.folded"), Ok(Format::Folded));
        assert_eq!(format("x.whyslow"), Ok(Format::Recording));
        for unknown in ["svg", ".svg", "x.", "-", "x.html", "x.svg/y"] {
            assert!(format(unknown).is_err(), "{unknown}");
        }
    }
}
