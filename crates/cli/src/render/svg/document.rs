//! Edits to the document that inferno drew, each at a known place. A place
//! that is not there is an error, so that a new inferno cannot pass unnoticed.

use std::io;

use super::COUNT_NAME;
use crate::render::units::span;

/// The tag of the whole drawing.
const ROOT: &str = "<svg version=";
const BACKGROUND: &str = "<rect x=\"0\" y=\"0\" width=\"100%\"";
const FRAMES: &str = "<svg id=\"frames\"";
const TITLE: &str = "<text id=\"title\"";
const UNZOOM: &str = "<text id=\"unzoom\"";
const SEARCH: &str = "<text id=\"search\"";
/// What is said of the frame under the pointer, and of what a search found.
const DETAILS: [&str; 2] = ["<text id=\"details\"", "<text id=\"matched\""];

pub(super) struct Document(String);

impl Document {
    pub(super) fn new(drawn: String) -> Self {
        Document(drawn)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Moves the frames down by `extra` pixels.
    pub(super) fn make_room(&mut self, extra: usize) -> io::Result<()> {
        let height = self.number(ROOT, "height")?;
        let taller = height + extra;
        self.set(ROOT, "height", &taller.to_string())?;
        let view = self.get(ROOT, "viewBox")?.replace(&format!(" {height}"), &format!(" {taller}"));
        self.set(ROOT, "viewBox", &view)?;
        self.set(BACKGROUND, "height", &taller.to_string())?;
        let at = self.find(FRAMES)? + FRAMES.len();
        self.0.insert_str(at, &format!(" y=\"{extra}\""));
        self.set(TITLE, "x", "10")?;
        Ok(())
    }

    /// Puts the buttons at the right edge, their text standing on `y`.
    pub(super) fn place_buttons(&mut self, y: usize) -> io::Result<()> {
        self.set(SEARCH, "y", &format!("{y}.00"))?;
        self.set(UNZOOM, "y", &format!("{y}.00"))?;
        // Left of the search button, which the script keeps at the edge.
        self.set(UNZOOM, "x", "100%")?;
        let at = self.find(UNZOOM)? + UNZOOM.len();
        self.0.insert_str(at, " dx=\"-120\"");
        Ok(())
    }

    /// Puts the details above the frames, their text standing on `y`.
    pub(super) fn place_details(&mut self, y: usize) -> io::Result<()> {
        DETAILS.into_iter().try_for_each(|text| self.set(text, "y", &format!("{y}.00")))
    }

    /// Adds to the style sheet and to the definitions.
    pub(super) fn insert_styles(&mut self, css: &str, definitions: &str) -> io::Result<()> {
        let at = self.find("</style>")?;
        self.0.insert_str(at, css);
        let at = self.find("</defs>")?;
        self.0.insert_str(at, definitions);
        Ok(())
    }

    /// Adds what stands between title and frames.
    pub(super) fn insert_caption(&mut self, svg: &str) -> io::Result<()> {
        let at = self.find(FRAMES)?;
        self.0.insert_str(at, &format!("<g id=\"caption\">{svg}</g>"));
        Ok(())
    }

    /// Turns `name (1,234,567 ns, 1.00%)` into `name (1.23 ms, 1.00%)`.
    pub(super) fn humanize_titles(&mut self) {
        let mut out = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some(end) = rest.find("</title>") {
            let (title, after) = rest.split_at(end);
            match humanized(title) {
                Some(title) => out.push_str(&title),
                None => out.push_str(title),
            }
            let close = "</title>".len();
            out.push_str(&after[..close]);
            rest = &after[close..];
        }
        out.push_str(rest);
        self.0 = out;
    }

    fn get(&self, tag: &str, attribute: &str) -> io::Result<&str> {
        self.value(tag, attribute).map(|range| &self.0[range])
    }

    fn number(&self, tag: &str, attribute: &str) -> io::Result<usize> {
        self.get(tag, attribute)?.parse().map_err(|_| missing(attribute))
    }

    fn set(&mut self, tag: &str, attribute: &str, value: &str) -> io::Result<()> {
        let range = self.value(tag, attribute)?;
        self.0.replace_range(range, value);
        Ok(())
    }

    /// Where the value of `attribute` is, in the first tag that begins so.
    fn value(&self, tag: &str, attribute: &str) -> io::Result<std::ops::Range<usize>> {
        let start = self.find(tag)?;
        let length = self.0[start..].find('>').ok_or_else(|| missing(tag))?;
        let text = &self.0[start..start + length];
        let key = format!(" {attribute}=\"");
        let from = text.find(&key).ok_or_else(|| missing(attribute))? + key.len();
        let to = text[from..].find('"').ok_or_else(|| missing(attribute))? + from;
        Ok(start + from..start + to)
    }

    fn find(&self, anchor: &str) -> io::Result<usize> {
        self.0.find(anchor).ok_or_else(|| missing(anchor))
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("the drawn flamegraph has no `{what}`"))
}

/// The text up to the end of a frame's title, its time written for people.
fn humanized(text: &str) -> Option<String> {
    let (before, figures) = text.rsplit_once(" (")?;
    let (number, percent) = figures.split_once(&format!(" {COUNT_NAME}, "))?;
    let ns: u64 = number.replace(',', "").parse().ok()?;
    Some(format!("{before} ({}, {percent}", span(ns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_in_their_own_tag() {
        let mut document = Document::new("<a y=\"1\"><b xy=\"2\" y=\"3\"/>".into());
        document.set("<b", "y", "44").unwrap();
        assert_eq!(document.0, "<a y=\"1\"><b xy=\"2\" y=\"44\"/>");
        assert!(document.set("<a", "z", "").is_err());
        assert!(document.set("<c", "y", "").is_err());
    }

    #[test]
    fn titles_say_how_long_in_a_unit_that_reads_well() {
        let mut document = Document::new(
            "<title>f (x) (1,234,567 ns, 12.00%)</title>f (1 ns, <title>odd</title>".into(),
        );
        document.humanize_titles();
        assert_eq!(document.0, "<title>f (x) (1.23 ms, 12.00%)</title>f (1 ns, <title>odd</title>");
    }
}
