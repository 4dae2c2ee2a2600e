//! The text of a file, and places in it.
//!
//! Files are read whole, up to [`MAX_FILE`], and as strict UTF-8. Answers to the `open` and the decoding behind
//! `configparser.RawConfigParser.read`.

use std::cell::OnceCell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileTypeExt as _;
use std::rc::Rc;

use memchr::memchr2;

/// Larger files are refused: no configuration is that large.
pub const MAX_FILE: u64 = 16 << 20;

/// Most files are smaller.
const USUAL_FILE: usize = 32 << 10;

/// Of a line quoted in a message no more is kept.
const MAX_QUOTE: usize = 500;

/// A place in a file, as an editor counts: the first line and the first column are 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The path under which the file was opened.
    pub path: String,
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// A location with the line that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) location: Location,
    pub(crate) line_text: String,
}

/// The text of one file.
#[derive(Debug)]
pub struct Source {
    /// The path under which it was opened.
    pub path: String,
    /// All of it that is text.
    pub text: String,
    /// Its lines, once somebody asks for a place.
    lines: OnceCell<Vec<Line>>,
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is not there, not allowed, a directory or a pipe.
    Unreadable(io::Error),
    TooLarge,
    NotText(NotText),
}

/// Bytes that are no UTF-8.
#[derive(Debug)]
pub(crate) struct NotText {
    /// The text up to the end of their line.
    pub(crate) source: Rc<Source>,
    /// Where they start.
    pub(crate) bad: usize,
    /// How much of the text Python has decoded by the time it meets them; the lines therein are parsed.
    pub(crate) parsed: usize,
    /// Python's words.
    pub(crate) message: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into(), lines: OnceCell::new() }
    }

    /// Reads what is a plain file or has yet to show that it can be read like one, by way of `buffer`.
    pub(crate) fn read(path: &str, is_plain: bool, buffer: &mut Vec<u8>) -> Result<Self, ReadError> {
        read(path, is_plain, buffer).map_err(ReadError::Unreadable)?;
        if buffer.len() as u64 > MAX_FILE {
            return Err(ReadError::TooLarge);
        }
        match str::from_utf8(buffer) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(_) => Err(ReadError::NotText(describe(path, buffer))),
        }
    }

    /// The line and column of a byte of the text, with the line itself.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = floor_char_boundary(&self.text, offset);
        let lines = self.lines.get_or_init(|| Lines::of(&self.text).collect());
        let number = lines.partition_point(|line| line.start <= offset).max(1);
        let line = lines.get(number - 1).copied().unwrap_or_default();
        let column = self.text.get(line.start..offset).map_or(0, |before| before.chars().count());
        let content = self.text.get(line.start..line.content_end).unwrap_or_default();
        Place {
            location: Location { path: self.path.clone(), line: number, column: column + 1 },
            line_text: content.chars().take(MAX_QUOTE).map(printable).collect(),
        }
    }
}

/// Fetches the content of a file, or as much of it as shows that it is too large. A pipe would keep us waiting for a
/// writer, so it counts as unreadable.
fn read(path: &str, is_plain: bool, buffer: &mut Vec<u8>) -> io::Result<()> {
    if !is_plain && fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    buffer.clear();
    // With room for what most files have there is no need to ask how long this one is.
    buffer.reserve(USUAL_FILE);
    File::open(path)?.take(MAX_FILE + 1).read_to_end(buffer).map(drop)
}

/// Control characters are nothing for a terminal; a tab is, and keeps its place.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

/// A line of a text: where it starts, where its content ends, and where its end sign ends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) content_end: usize,
    pub(crate) end: usize,
}

impl Line {
    pub(crate) fn content(self) -> Range<usize> {
        self.start..self.content_end
    }

    pub(crate) fn is_ended(self) -> bool {
        self.end > self.content_end
    }
}

/// The lines of a text, ended by LF, CR or both (Python's universal newlines).
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let start = self.at;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let end_sign = match rest.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            _ => 0,
        };
        self.at = start + length + end_sign;
        Some(Line { start, content_end: start + length, end: self.at })
    }
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Python decodes pieces of this size, counts positions from the start of a piece, and has parsed all lines before it.
const PIECE: usize = 8192;

/// Finds the first bytes that are no UTF-8 as Python finds them: piece by piece, where the first bytes of a character
/// that lies across two pieces are carried over into the second.
fn describe(path: &str, bytes: &[u8]) -> NotText {
    let (mut start, mut end) = (0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end + PIECE);
        match std::str::from_utf8(&bytes[start..end]).map_err(|e| (e.valid_up_to(), e.error_len())) {
            Ok(_) => start = end,
            Err((valid, None)) => start += valid,
            Err((valid, Some(length))) => {
                let bad = start + valid..start + valid + length;
                let lead = matches!(bytes[bad.start], 0xc2..=0xf4);
                let reason = if lead { "invalid continuation byte" } else { "invalid start byte" };
                return not_text(path, bytes, start, bad, reason);
            }
        }
    }
    not_text(path, bytes, start, start..bytes.len(), "unexpected end of data")
}

fn not_text(path: &str, bytes: &[u8], start: usize, bad: Range<usize>, reason: &str) -> NotText {
    let (first, last) = (bad.start - start, (bad.end - start).saturating_sub(1));
    let message = match bytes.get(bad.start) {
        Some(byte) if first == last => {
            format!("can't decode byte 0x{byte:02x} in position {first}: {reason}")
        }
        _ => format!("can't decode bytes in position {first}-{last}: {reason}"),
    };
    let line_end = bytes.iter().skip(bad.end).position(|b| *b == b'\n').map_or(bytes.len(), |n| bad.end + n);
    let text = String::from_utf8_lossy(&bytes[..line_end]).into_owned();
    NotText {
        source: Rc::new(Source::new(path, text)),
        bad: bad.start,
        parsed: start,
        message: format!("'utf-8' codec {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_of_every_kind_and_characters() {
        let source = Source::new("x.conf", "a\r\nbä\rcd\n\ne");
        let at = |offset| {
            let place = source.place(offset);
            (place.location.line, place.location.column, place.line_text)
        };
        assert_eq!(at(0), (1, 1, "a".into()));
        assert_eq!(at(5), (2, 2, "bä".into()));
        assert_eq!(at(8), (3, 2, "cd".into()));
        assert_eq!(at(10), (4, 1, String::new()));
        assert_eq!(at(11), (5, 1, "e".into()));
        assert_eq!(at(99), (5, 2, "e".into()));
        assert_eq!(Source::new("x.conf", "\tx=\u{1b}[31m").place(0).line_text, "\tx=\u{fffd}[31m");
    }

    #[track_caller]
    fn check(bytes: &[u8], message: &str) {
        assert_eq!(describe("x", bytes).message, format!("'utf-8' codec {message}"));
    }

    #[test]
    fn bytes_that_are_no_text_are_named_as_python_names_them() {
        check(b"ab\xff", "can't decode byte 0xff in position 2: invalid start byte");
        check(b"\xe2\x82x", "can't decode bytes in position 0-1: invalid continuation byte");
        check(b"a\xe2\x82", "can't decode bytes in position 0-1: unexpected end of data");
        check(b"ab\xc3", "can't decode byte 0xc3 in position 0: unexpected end of data");
        let mut long = vec![b'a'; PIECE - 1];
        long.extend("ä\u{20ac}".bytes());
        long.push(0x80);
        check(&long, "can't decode byte 0x80 in position 5: invalid start byte");
    }
}
