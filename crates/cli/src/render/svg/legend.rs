//! What the colours mean, and how much of the time each state has.

use whyslow_analysis::{Folded, State};

use super::caption::LEFT;
use super::marks::{Mark, Marks, class};
use crate::render::palette::{KERNEL, ROOT, Rgb, USER, fill};

const ROW_HEIGHT: usize = 20;
/// Rows end here, so that they fit a narrow window.
const WIDTH: usize = 740;
const SWATCH: usize = 12;
/// Where the text of the first row stands, from the upper edge.
pub(super) const BASELINE: usize = 10;
/// States with less are too narrow to be seen.
const SMALLEST_SHARE: f64 = 0.0005;
/// Columns of pixels for a character of the 12 pixel monospace font.
const CHARACTER: f64 = 7.3;
const GAP: usize = 18;

/// The entries, by row: what frames are, then what states they are in.
pub(super) struct Legend(Vec<Vec<Entry>>);

struct Entry {
    fill: String,
    label: String,
}

impl Legend {
    pub(super) fn of(stacks: &[Folded], marks: &Marks<'_>) -> Self {
        let mut rows = vec![frames(marks)];
        let mut used = WIDTH;
        for entry in states(stacks, marks) {
            used += entry.width();
            if used > WIDTH {
                rows.push(Vec::new());
                used = entry.width();
            }
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        Legend(rows)
    }

    pub(super) fn height(&self) -> usize {
        self.0.len() * ROW_HEIGHT
    }

    /// The legend, its upper edge at `top`.
    pub(super) fn svg(&self, top: usize) -> String {
        let mut svg = String::new();
        for (index, row) in self.0.iter().enumerate() {
            let mut x = LEFT;
            for entry in row {
                svg.push_str(&entry.svg(x, top + index * ROW_HEIGHT));
                x += entry.width();
            }
        }
        svg
    }
}

impl Entry {
    fn width(&self) -> usize {
        let text = (self.label.chars().count() as f64 * CHARACTER).ceil() as usize;
        SWATCH + SWATCH / 2 + text + GAP
    }

    fn svg(&self, x: usize, y: usize) -> String {
        let Entry { fill, label } = self;
        format!(
            "<g transform=\"translate({x},{y})\"><rect width=\"{SWATCH}\" height=\"{SWATCH}\" fill=\"{fill}\"/>\
             <text transform=\"translate({},{BASELINE})\">{label}</text></g>",
            SWATCH + SWATCH / 2
        )
    }
}

/// What the hue of a frame says of its code.
fn frames(marks: &Marks<'_>) -> Vec<Entry> {
    let kinds = marks.kinds();
    [
        (Mark::Root, ROOT, "process, thread"),
        (Mark::User, USER, "user code"),
        (Mark::Kernel, KERNEL, "kernel code"),
    ]
    .into_iter()
    .filter(|(mark, ..)| kinds.contains(mark))
    .map(|(_, rgb, label)| Entry { fill: plain(rgb), label: label.into() })
    .collect()
}

/// The states, largest share first.
fn states(stacks: &[Folded], marks: &Marks<'_>) -> Vec<Entry> {
    let total = stacks.iter().map(|stack| stack.weight_ns).sum::<u64>().max(1);
    let mut by_state: Vec<(State, u64)> = State::ALL
        .iter()
        .map(|&state| {
            (state, stacks.iter().filter(|s| s.state == state).map(|s| s.weight_ns).sum())
        })
        .filter(|&(_, weight): &(State, u64)| weight as f64 >= SMALLEST_SHARE * total as f64)
        .collect();
    by_state.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    let hatched: Vec<State> = marks.states().collect();
    by_state
        .into_iter()
        .map(|(state, weight)| {
            let share = 100.0 * weight as f64 / total as f64;
            let fill = match hatched.contains(&state) {
                true => format!("url(#{})", class(state)),
                false => plain(fill(state)),
            };
            Entry { fill, label: format!("{} {share:.1} %", state.key()) }
        })
        .collect()
}

fn plain([r, g, b]: Rgb) -> String {
    format!("rgb({r},{g},{b})")
}
