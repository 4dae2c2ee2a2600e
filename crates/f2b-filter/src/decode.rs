//! Bytes of a log file to text (`logencoding`), and where a line ends in them.
//!
//! Upstream: `Filter.setLogEncoding`, `FileContainer.decode_line` and `readline`. Names are Python's; invalid bytes
//! become U+FFFD as Python's error handler `replace` has it. A file that isn't UTF-8 costs one copy a line.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use encoding_rs::Encoding as Table;

use crate::single::Single;

/// How the bytes of a log file are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Utf8,
    Latin1,
    Ascii,
    /// With a byte order mark, and in this order without one.
    Utf16(Order),
    Utf16Le,
    Utf16Be,
    /// With a byte order mark, and in this order without one.
    Utf32(Order),
    Utf32Le,
    Utf32Be,
    Single(Arc<Single>),
    Table(&'static Table),
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
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

    /// The encoding of a file that begins with these bytes: a mark at the start counts for all of its lines. (Upstream knows it
    /// for the first one only.)
    pub fn by_mark(self, head: &[u8]) -> Self {
        let kind = match self.kind {
            Kind::Utf16(_) if head.starts_with(&[0xfe, 0xff]) => Kind::Utf16(Order::Big),
            Kind::Utf32(_) if head.starts_with(&[0, 0, 0xfe, 0xff]) => Kind::Utf32(Order::Big),
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// Bytes of the smallest unit of a text.
    pub fn unit(&self) -> usize {
        match self.kind {
            Kind::Utf16(_) | Kind::Utf16Le | Kind::Utf16Be => 2,
            Kind::Utf32(_) | Kind::Utf32Le | Kind::Utf32Be => 4,
            _ => 1,
        }
    }

    /// The text of `bytes`, and whether all of them were valid.
    pub fn decode<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
        match &self.kind {
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
            Kind::Utf16(order) => match bytes {
                [0xff, 0xfe, rest @ ..] => decode_by(encoding_rs::UTF_16LE, rest),
                [0xfe, 0xff, rest @ ..] => decode_by(encoding_rs::UTF_16BE, rest),
                bytes if *order == Order::Big => decode_by(encoding_rs::UTF_16BE, bytes),
                bytes => decode_by(encoding_rs::UTF_16LE, bytes),
            },
            Kind::Utf16Le => decode_by(encoding_rs::UTF_16LE, bytes),
            Kind::Utf16Be => decode_by(encoding_rs::UTF_16BE, bytes),
            Kind::Utf32(order) => match bytes {
                [0xff, 0xfe, 0, 0, rest @ ..] => decode_32(rest, u32::from_le_bytes),
                [0, 0, 0xfe, 0xff, rest @ ..] => decode_32(rest, u32::from_be_bytes),
                bytes if *order == Order::Big => decode_32(bytes, u32::from_be_bytes),
                bytes => decode_32(bytes, u32::from_le_bytes),
            },
            Kind::Utf32Le => decode_32(bytes, u32::from_le_bytes),
            Kind::Utf32Be => decode_32(bytes, u32::from_be_bytes),
            Kind::Single(single) => match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => (text.into(), true),
                _ => {
                    let (text, valid) = single.decode(bytes);
                    (text.into(), valid)
                }
            },
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
        let newline: &[u8] = match self.kind {
            Kind::Utf16(Order::Little) | Kind::Utf16Le => b"\n\0",
            Kind::Utf16(Order::Big) | Kind::Utf16Be => b"\0\n",
            Kind::Utf32(Order::Little) | Kind::Utf32Le => b"\n\0\0\0",
            Kind::Utf32(Order::Big) | Kind::Utf32Be => b"\0\0\0\n",
            _ => return memchr::memchr(b'\n', bytes).map(|at| at + 1),
        };
        let width = newline.len();
        bytes.chunks_exact(width).position(|unit| unit == newline).map(|at| (at + 1) * width)
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

/// Units of four bytes; what is left at the end is one that is malformed.
fn decode_32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> (Cow<'static, str>, bool) {
    let (units, rest) = bytes.as_chunks::<4>();
    let mut valid = rest.is_empty();
    let mut text = String::with_capacity(units.len());
    for bytes in units {
        let c = char::from_u32(unit(*bytes));
        valid &= c.is_some();
        text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if !rest.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    (text.into(), valid)
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
        "utf_32" | "utf32" | "u32" => Kind::Utf32(Order::Little),
        "utf_32_le" | "utf_32le" | "utf32le" => Kind::Utf32Le,
        "utf_32_be" | "utf_32be" | "utf32be" => Kind::Utf32Be,
        "utf_16" | "utf16" | "u16" => Kind::Utf16(Order::Little),
        "utf_16_le" | "utf_16le" | "utf16le" | "unicodelittleunmarked" => Kind::Utf16Le,
        "utf_16_be" | "utf_16be" | "utf16be" | "unicodebigunmarked" => Kind::Utf16Be,
        plain => {
            if let Some(single) = Single::named(plain) {
                return Some(Kind::Single(single.into()));
            }
            let label = plain.replace('_', "-");
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

    /// Prints for each name the 256 bytes as text, each by itself; or nothing for an unknown one.
    const ORACLE: &str = r#"
import sys
for name in sys.stdin.read().split():
    try:
        print(" ".join("%x" % ord(bytes([b]).decode(name, "replace") or "!") for b in range(256)))
    except LookupError:
        print()
"#;

    #[test]
    fn single_bytes_are_what_they_are_to_python() {
        let names = "utf-8 latin-1 iso-8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 \
                     iso8859-9 iso8859-10 iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 latin2 latin9 l5 cyrillic \
                     arabic greek hebrew cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 windows-1252 \
                     windows_1251 1252 cp866 ibm866 cp874 koi8-r koi8_u mac-cyrillic macroman mac_roman tis-620 ascii us-ascii \
                     klingon cp437 cp850 cp852 cp858";
        let names: Vec<&str> = names.split_whitespace().collect();
        let Some(answers) = crate::oracle::python_prints(ORACLE, names.join(" ")) else { return };
        let mut differences = Vec::new();
        for (name, answer) in names.iter().zip(&answers) {
            let Ok(encoding) = Encoding::parse(name) else {
                if !answer.is_empty() {
                    differences.push(format!("{name}: unknown"));
                }
                continue;
            };
            for (byte, theirs) in (0..=u8::MAX).zip(answer.split(' ')) {
                let ours = encoding.decode(&[byte]).0.chars().next().map_or(0x21, u32::from);
                if format!("{ours:x}") != *theirs {
                    differences.push(format!("{name}: {byte:#x} is {ours:x} instead of {theirs}"));
                }
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
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
        check("cp1252", b"a\x81\x80", "a\u{fffd}€", false);
        check("cp437", b"\x81\n", "ü", true);
        check("utf-32", b"\xff\xfe\0\0a\0\0\0\n\0\0\0", "a", true);
        check("utf-32-be", b"\0\0\0a\0\x11\0\0\0", "a\u{fffd}\u{fffd}", false);
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
