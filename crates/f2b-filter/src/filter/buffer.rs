//! The lines that an expression sees at once (`maxlines`), and which of them a match used up.
//!
//! With `maxlines` 1 nothing is kept: the text that the expressions see is put together in one string that is used
//! again for every line. A line ends with a newline there, whatever ended it in the log.

use crate::failregex::Regex;
use crate::fields::Line;
use crate::pattern::{Shape, Spans};
use crate::pytext::split_lines;

/// A line with its date cut out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split<'l> {
    pub(super) before: &'l str,
    pub(super) date: &'l str,
    pub(super) behind: &'l str,
    /// Of all of it.
    pub(super) shape: Shape,
}

impl<'l> Split<'l> {
    /// A line without a date.
    pub(super) fn whole(line: &'l str, shape: Shape) -> Self {
        Self { before: "", date: "", behind: line, shape }
    }

    pub(super) fn to_line(self) -> Line {
        [self.before.into(), self.date.into(), self.behind.into()]
    }
}

/// Lines that wait for a match over several lines, and the text made of them.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
    text: String,
    /// The last line alone, where several are kept.
    processed: String,
}

impl Buffer {
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn processed(&self) -> &str {
        self.processed.strip_suffix('\n').unwrap_or(&self.processed)
    }

    /// Takes the next line in. Answers with the text to search and, for `max_lines` above 1, the lines it is made of.
    pub(super) fn add(&mut self, line: Split<'_>, max_lines: usize) -> (String, Vec<Line>) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if max_lines <= 1 {
            self.lines.clear();
            push_line(&mut text, line.before, line.behind);
        } else {
            self.lines.push(line.to_line());
            let surplus = self.lines.len().saturating_sub(max_lines);
            self.lines.drain(..surplus);
            self.processed.clear();
            push_line(&mut self.processed, line.before, line.behind);
            join(&mut text, &self.lines);
        }
        (text, self.lines.clone())
    }

    /// Gives the text back for the next line.
    pub(super) fn reuse(&mut self, text: String) {
        self.text = text;
    }

    /// Puts other lines in place of those that are there.
    pub(super) fn replace(&mut self, lines: Vec<Line>) {
        self.lines = lines;
    }
}

/// The text that stands for `lines`, their dates left out.
pub(super) fn join(text: &mut String, lines: &[Line]) {
    text.clear();
    for [before, _, behind] in lines {
        push_line(text, before, behind);
    }
    if lines.is_empty() {
        text.push('\n');
    }
}

pub(super) fn push_line(text: &mut String, before: &str, behind: &str) {
    text.push_str(before);
    text.push_str(behind);
    text.push('\n');
}

/// Of the lines `all` those that a match of `regex` in `text` used, and the others with what `<SKIPLINES>` skipped.
pub(super) fn used(regex: &Regex, text: &str, spans: &Spans, all: &[Line]) -> (Vec<Line>, Vec<Line>) {
    if all.len() <= 1 {
        return (all.to_vec(), Vec::new());
    }
    let whole = spans.whole();
    let newlines = |end: usize| text.bytes().take(end).filter(|byte| *byte == b'\n').count();
    // The line that a newline at the very start of the match ends doesn't take part.
    let first_end = if text.get(whole.start..).is_some_and(|rest| rest.starts_with('\n')) {
        whole.start + 1
    } else {
        text.get(..whole.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
    };
    let last_char = match text.get(..whole.end).and_then(|before| before.chars().next_back()) {
        Some(c) => whole.end - c.len_utf8(),
        // An empty match at the start makes upstream look at the last character of all.
        None => text.len().saturating_sub(1),
    };
    let last_end =
        text.get(last_char..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| last_char + at + 1);
    let (first, last) = (newlines(first_end).min(all.len()), newlines(last_end).min(all.len()));
    let mut matched = all.get(first..last).unwrap_or(&[]).to_vec();
    let mut others = all.get(..first).unwrap_or(&[]).to_vec();
    let mut from = 0;
    for skipped in split_lines(&regex.skipped(text, spans)) {
        let is_skipped = |[before, _, behind]: &Line| {
            skipped.strip_prefix(before.as_str()).is_some_and(|rest| rest == behind)
        };
        if let Some(place) = matched.iter().skip(from).position(is_skipped) {
            others.push(matched.remove(from + place));
            from += place;
        }
    }
    others.extend(all.get(last..).unwrap_or(&[]).iter().cloned());
    (matched, others)
}
