//! A line of styled text that knows how wide it is on the screen.

use std::io::{self, Write};

use anstyle::{AnsiColor, Effects, Style};
use unicode_width::UnicodeWidthChar;

use crate::sanitize::clean;

const ELLIPSIS: char = '…';

/// Styled pieces, left to right.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    pub(super) fn new() -> Self {
        Line::default()
    }

    /// Adds `text`, made safe to print.
    pub(super) fn push(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.0.push((style, clean(text.as_ref()).into_owned()));
        self
    }

    /// Adds `text` without style.
    pub(super) fn plain(self, text: impl AsRef<str>) -> Self {
        self.push(Style::new(), text)
    }

    /// Adds spaces up to column `column`.
    pub(super) fn pad_to(self, column: usize) -> Self {
        let missing = column.saturating_sub(self.width());
        self.plain(" ".repeat(missing))
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| columns(text)).sum()
    }

    /// Writes at most `width` columns, and a newline.
    pub(super) fn write(mut self, width: usize, out: &mut dyn Write) -> io::Result<()> {
        self.trim_end();
        if self.width() > width {
            self.cut(width);
        }
        for (style, text) in &self.0 {
            if *style == Style::new() {
                out.write_all(text.as_bytes())?;
            } else {
                write!(out, "{style}{text}{style:#}")?;
            }
        }
        out.write_all(b"\n")
    }

    fn trim_end(&mut self) {
        while let Some((_, text)) = self.0.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                return;
            }
            self.0.pop();
        }
    }

    /// Cuts a line that is wider than `width`.
    fn cut(&mut self, width: usize) {
        let mut left = width;
        let last = self.0.iter().position(|(_, text)| {
            let columns = columns(text);
            let ends_here = columns >= left;
            left -= columns.min(left);
            ends_here
        });
        let Some(last) = last else { return };
        self.0.truncate(last + 1);
        let before: usize = self.0[..last].iter().map(|(_, text)| columns(text)).sum();
        let room = width - before;
        let (_, text) = &mut self.0[last];
        // There is more to the right, so the ellipsis is due even if this piece fits.
        text.push(ELLIPSIS);
        *text = fit(text, room);
    }
}

/// Columns that `text` takes on the screen.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` in at most `width` columns, with `…` where it was cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_string();
    }
    let mut left = width.saturating_sub(1);
    let mut shown: String = text
        .chars()
        .take_while(|c| {
            let columns = c.width().unwrap_or(0);
            let fits = columns <= left;
            left = left.saturating_sub(columns);
            fits
        })
        .collect();
    if width > 0 {
        shown.push(ELLIPSIS);
    }
    shown
}

/// Breaks `text` at spaces into at most `lines` lines of `width` columns.
pub(super) fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = wrapped.len() == lines;
        match wrapped.last_mut() {
            Some(line) if full || columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => wrapped.push(word.to_string()),
        }
    }
    wrapped.iter().map(|line| fit(line, width)).collect()
}

/// Bold.
pub(super) fn bold() -> Style {
    Style::new().effects(Effects::BOLD)
}

/// Less visible than the rest.
pub(super) fn dim() -> Style {
    Style::new().effects(Effects::DIMMED)
}

/// Something the reader should know before trusting the numbers.
pub(super) fn warning() -> Style {
    coloured(Some(AnsiColor::Yellow))
}

/// In this colour, or the terminal's own.
pub(super) fn coloured(colour: Option<AnsiColor>) -> Style {
    Style::new().fg_color(colour.map(Into::into))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(line: Line, width: usize) -> String {
        let mut bytes = Vec::new();
        line.write(width, &mut anstream::StripStream::new(&mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 5), "abcd…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("a", 0), "");
    }

    #[test]
    fn a_line_is_cut_across_its_pieces() {
        let line = Line::new().push(bold(), "abc").plain("def").plain("   ");
        assert_eq!(written(line.clone(), 6), "abcdef\n");
        assert_eq!(written(line.clone(), 5), "abcd…\n");
        assert_eq!(written(line.clone(), 3), "ab…\n");
    }

    #[test]
    fn long_text_is_wrapped_and_the_last_line_cut() {
        assert_eq!(wrap("aa bb cc dd", 5, 2), ["aa bb", "cc dd"]);
        assert_eq!(wrap("aa bb cc dd ee", 5, 2), ["aa bb", "cc d…"]);
        assert_eq!(wrap("", 5, 2), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(pieces in prop::collection::vec(".{0,12}", 0..6), width in 0usize..40) {
            let line = pieces.iter().fold(Line::new(), |line, piece| line.plain(piece));
            let text = written(line, width);
            prop_assert!(columns(text.trim_end_matches('\n')) <= width, "{:?}", text);
            prop_assert_eq!(text.lines().count(), 1);
        }
    }
}
