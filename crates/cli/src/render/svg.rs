//! The flamegraph. `inferno` draws the frames and brings zoom and search; here
//! they get the colour of their state, and the page its caption and legend.

mod caption;
mod document;
mod legend;
mod marks;
mod style;

use std::io::{self, Write};

use inferno::flamegraph::color::BackgroundColor;
use inferno::flamegraph::{self, Direction, Options, TextTruncateDirection};
use whyslow_analysis::report::Report;
use whyslow_analysis::{Folded, View};

use super::Origin;
use super::folded::{frame, line};
use document::Document;
use marks::Marks;

/// Percent of the width below which a frame is left out. A screen has a few
/// thousand columns; a graph of 60,000 stacks stays below 2 MB.
const MIN_WIDTH: f64 = 0.02;
const FONT_SIZE: usize = 12;
/// Where inferno begins to draw frames below its title.
const INFERNO_TOP: usize = 4 * FONT_SIZE + 4;
/// Height of the line that names the frame under the pointer.
const DETAILS: usize = 20;
/// `inferno` counts in this; the titles are rewritten for people.
const COUNT_NAME: &str = "ns";

/// Writes the flamegraph of `stacks`, which show `view`.
///
/// # Errors
/// When `out` cannot be written, or inferno's drawing is not as expected.
pub(crate) fn flamegraph(
    stacks: &[Folded],
    view: View,
    report: &Report,
    origin: &Origin,
    out: &mut dyn Write,
) -> io::Result<()> {
    let caption = caption::Caption::new(report, origin, view);
    if stacks.iter().all(|stack| stack.weight_ns == 0) {
        return out.write_all(caption.alone().as_bytes());
    }
    let threads = report.ledger.threads.iter().map(|thread| thread.name.as_str()).collect();
    let marks = Marks::of(stacks, &threads);
    let drawn = draw(stacks, &marks, &caption.title)?;
    let mut document = Document::new(drawn);
    let legend = legend::Legend::of(stacks, &marks);
    let top = caption::HEIGHT + legend.height() + DETAILS;
    document.make_room(top.saturating_sub(INFERNO_TOP))?;
    document.place_buttons(caption::HEIGHT + legend::BASELINE)?;
    document.place_details(top - FONT_SIZE / 2)?;
    document.insert_styles(&style::css(&marks), &style::patterns(&marks))?;
    document.insert_caption(&format!("{}{}", caption.svg(), legend.svg(caption::HEIGHT)))?;
    document.humanize_titles();
    out.write_all(document.as_bytes())
}

fn draw(stacks: &[Folded], marks: &Marks<'_>, title: &str) -> io::Result<String> {
    let lines: Vec<String> = stacks.iter().filter(|s| s.weight_ns > 0).map(line).collect();
    let mut colours = marks.colours();
    let mut options = Options::default();
    options.title = title.into();
    options.count_name = COUNT_NAME.into();
    options.name_type = String::new();
    options.font_size = FONT_SIZE;
    // Roots on top, below the caption: a deep stack must not push them off the screen.
    options.direction = Direction::Inverted;
    options.min_width = MIN_WIDTH;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.bgcolors = Some(BackgroundColor::Flat(style::BACKGROUND));
    options.func_frameattrs = marks.attributes()?;
    options.palette_map = Some(&mut colours);
    let mut bytes = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// `text` as it may stand in XML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in crate::sanitize::clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
