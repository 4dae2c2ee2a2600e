//! Bytes of a log file to text (`logencoding`), and where a line ends in them.
//!
//! Upstream: `Filter.setLogEncoding`, `FileContainer.decode_line` and `readline`. Names are Python's; invalid bytes
//! become U+FFFD as Python's error handler `replace` has it. A file that isn't UTF-8 costs one copy a line.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use encoding_rs::Encoding as Table;

/// How the bytes of a log file are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Utf8,
    Latin1,
    Ascii,
    /// With a byte order mark, and little-endian without one.
    Utf16,
    Utf16Le,
    Utf16Be,
    Table(&'static Table),
}

/// An encoding that isn't known; prints as Python's `LookupError`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownEncoding {
    /// The name as given.
    pub name: String,
}

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown encoding: {}", self.name)
    }
}

impl Error for UnknownEncoding {}

impl Default for Encoding {
    fn default() -> Self {
        Self { name: "UTF-8".into(), kind: Kind::Utf8 }
    }
}

impl Encoding {
    /// The encoding that Python knows by `name`; `auto` is UTF-8.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`] for a name that no table is known for.
    pub fn parse(name: &str) -> Result<Self, UnknownEncoding> {
        if name.eq_ignore_ascii_case("auto") {
            return Ok(Self::default());
        }
        let kind = kind_of(name).ok_or_else(|| UnknownEncoding { name: name.into() })?;
        Ok(Self { name: name.into(), kind })
    }

    /// The name as it was given (`get JAIL logencoding`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of `bytes`, and whether all of them were valid.
    pub fn decode<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
        match self.kind {
            Kind::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => (text.into(), true),
                Err(_) => (String::from_utf8_lossy(bytes), false),
            },
            Kind::Latin1 => (bytes.iter().map(|b| char::from(*b)).collect::<String>().into(), true),
            Kind::Ascii => match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => (text.into(), true),
                _ => {
                    let char =
                        |b: &u8| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER };
                    (bytes.iter().map(char).collect::<String>().into(), false)
                }
            },
            Kind::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => decode_by(encoding_rs::UTF_16LE, rest),
                [0xfe, 0xff, rest @ ..] => decode_by(encoding_rs::UTF_16BE, rest),
                bytes => decode_by(encoding_rs::UTF_16LE, bytes),
            },
            Kind::Utf16Le => decode_by(encoding_rs::UTF_16LE, bytes),
            Kind::Utf16Be => decode_by(encoding_rs::UTF_16BE, bytes),
            Kind::Table(table) => decode_by(table, bytes),
        }
    }

    /// The text of one line without its end, and whether all bytes were valid.
    pub fn decode_line<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
        match self.decode(bytes) {
            (Cow::Borrowed(text), valid) => (trim_line_end(text).into(), valid),
            (Cow::Owned(mut text), valid) => {
                text.truncate(trim_line_end(&text).len());
                (text.into(), valid)
            }
        }
    }

    /// The first byte behind the first line in `bytes`, its newline included; `None` where the line isn't complete.
    pub fn line_end(&self, bytes: &[u8]) -> Option<usize> {
        let newline = match self.kind {
            Kind::Utf16 | Kind::Utf16Le => [b'\n', 0],
            Kind::Utf16Be => [0, b'\n'],
            _ => return memchr::memchr(b'\n', bytes).map(|at| at + 1),
        };
        bytes.chunks_exact(2).position(|unit| unit == newline).map(|at| at * 2 + 2)
    }
}

/// The text without the newlines and carriage returns at its end.
pub fn trim_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

fn decode_by<'b>(table: &'static Table, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
    let (text, malformed) = table.decode_without_bom_handling(bytes);
    (text, !malformed)
}

/// Python folds case and takes `-`, `_` and blanks for the same.
fn kind_of(name: &str) -> Option<Kind> {
    let plain: String = name.to_ascii_lowercase().replace([' ', '-'], "_");
    let kind = match plain.trim_matches('_') {
        "utf_8" | "utf8" | "u8" | "utf" | "cp65001" | "utf8_ucs2" | "utf8_ucs4" => Kind::Utf8,
        "latin_1" | "latin1" | "latin" | "l1" | "iso_8859_1" | "iso8859_1" | "iso8859" | "8859" | "cp819" => {
            Kind::Latin1
        }
        "ascii" | "us_ascii" | "646" | "ansi_x3.4_1968" => Kind::Ascii,
        "utf_16" | "utf16" | "u16" => Kind::Utf16,
        "utf_16_le" | "utf_16le" | "utf16le" | "unicodelittleunmarked" => Kind::Utf16Le,
        "utf_16_be" | "utf_16be" | "utf16be" | "unicodebigunmarked" => Kind::Utf16Be,
        plain => {
            let label = match plain.strip_prefix("cp125") {
                Some(digit) => format!("windows-125{digit}"),
                None => plain.replace('_', "-").replace("iso8859", "iso-8859"),
            };
            let table =
                Table::for_label(label.as_bytes()).or_else(|| Table::for_label(plain.as_bytes())).filter(
                    |table| *table != encoding_rs::REPLACEMENT && *table != encoding_rs::X_USER_DEFINED,
                )?;
            Kind::Table(table)
        }
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encoding: &str, bytes: &[u8], expected: &str, valid: bool) {
        let encoding = Encoding::parse(encoding).unwrap();
        assert_eq!(encoding.decode_line(bytes), (expected.into(), valid));
    }

    #[test]
    fn lines_lose_their_end() {
        check("auto", b"a b\r\n", "a b", true);
        check("utf-8", b"\n", "", true);
        check("Latin1", b"caf\xe9\n", "café", true);
        check("utf-16le", b"a\0\n\0", "a", true);
        check("UTF_16", b"\xfe\xff\0a", "a", true);
        check("cp1251", b"\xcf\xf0", "Пр", true);
        check("koi8-r", b"\xf0", "П", true);
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        check("utf-8", b"a\xff\xfeb\xe2\x82\n", "a\u{fffd}\u{fffd}b\u{fffd}", false);
        check("ascii", b"a\xe2b", "a\u{fffd}b", false);
        check("utf-8", b"\0\0", "\0\0", true);
    }

    #[test]
    fn a_line_ends_at_a_whole_character() {
        let end = |name: &str, bytes: &[u8]| Encoding::parse(name).unwrap().line_end(bytes);
        assert_eq!(end("utf-8", b"ab\ncd\n"), Some(3));
        assert_eq!(end("utf-8", b"ab"), None);
        // U+0A0D and U+000A
        assert_eq!(end("utf-16le", b"\x0d\x0a\x0a\x00"), Some(4));
        assert_eq!(end("utf-16be", b"\x0a\x0d\x00"), None);
    }

    #[test]
    fn an_unknown_encoding_is_named() {
        let error = Encoding::parse("klingon").unwrap_err();
        assert_eq!(error.to_string(), "unknown encoding: klingon");
    }
}
