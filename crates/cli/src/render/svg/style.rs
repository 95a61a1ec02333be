//! Colours, hatching and dark mode, as a style sheet added to inferno's.

use inferno::flamegraph::Options;
use inferno::flamegraph::color::{Color, SearchColor};

use super::marks::{Marks, class};
use crate::render::palette::{Hatch, Rgb, fill, hatch};

/// Behind the frames, in light mode.
pub(super) const BACKGROUND: Color = Color { r: 0xff, g: 0xff, b: 0xff };

/// Side of the tile that a hatching repeats.
const TILE: u32 = 8;

/// The colour of frames that a search found.
pub(super) fn search_colour() -> SearchColor {
    Options::default().search_color
}

/// The style sheet: the fixed part, and the hatching of the states there are.
pub(super) fn css(marks: &Marks<'_>) -> String {
    let mut css = include_str!("flamegraph.css").to_string();
    for state in marks.states() {
        let class = class(state);
        css.push_str(&format!(".{class} rect {{ fill:url(#{class}); }}\n"));
    }
    // The script marks what a search found in the attribute; keep that visible.
    let found = search_colour();
    css.push_str(&format!("#frames > g > rect[fill=\"{found}\"] {{ fill:{found}; }}\n"));
    css
}

/// One pattern for each state there is.
pub(super) fn patterns(marks: &Marks<'_>) -> String {
    marks.states().map(|state| pattern(&class(state), fill(state), hatch(state))).collect()
}

fn pattern(id: &str, [r, g, b]: Rgb, hatch: Hatch) -> String {
    format!(
        "<pattern id=\"{id}\" patternUnits=\"userSpaceOnUse\" width=\"{TILE}\" height=\"{TILE}\">\
         <rect width=\"{TILE}\" height=\"{TILE}\" fill=\"rgb({r},{g},{b})\"/>\
         <path d=\"{}\" class=\"hatch\"/></pattern>",
        strokes(hatch)
    )
}

/// The lines of a tile; the diagonals run over its corners so that tiles join.
fn strokes(hatch: Hatch) -> &'static str {
    match hatch {
        Hatch::Plain => "",
        Hatch::Rising => "M-2,2 2,-2 M0,8 8,0 M6,10 10,6",
        Hatch::Falling => "M-2,6 2,10 M0,0 8,8 M6,-2 10,2",
        Hatch::Crossed => "M-2,2 2,-2 M0,8 8,0 M6,10 10,6 M-2,6 2,10 M0,0 8,8 M6,-2 10,2",
        Hatch::Upright => "M2,0 V8 M6,0 V8",
        Hatch::Level => "M0,2 H8 M0,6 H8",
        Hatch::Dotted => "M1,2 H3 M5,6 H7",
    }
}
