//! Bytes of a log file to text (`logencoding`), and where a line ends in them.
//!
//! Upstream: `Filter.setLogEncoding`, `FileContainer.decode_line` and `readline`. Names are Python's; invalid bytes
//! become U+FFFD as Python's error handler `replace` has it. A file that isn't UTF-8 costs one copy a line.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use encoding_rs::{DecoderResult, Encoding as Table};

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
    /// With a byte order mark, which belongs to no line.
    Utf8Marked,
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
    Wide(Wide),
    Table(&'static Table),
}

/// An encoding of East Asia.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wide {
    table: &'static Table,
    /// Characters of the standard of the web that are others to Python.
    others: &'static [(char, char)],
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
            Kind::Utf8 => decode_utf_8(bytes),
            Kind::Utf8Marked => decode_utf_8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
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
            Kind::Wide(wide) => decode_wide(wide, bytes),
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

fn decode_utf_8(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.into(), true),
        Err(_) => (String::from_utf8_lossy(bytes), false),
    }
}

fn decode_by<'b>(table: &'static Table, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
    let (text, malformed) = table.decode_without_bom_handling(bytes);
    (text, !malformed)
}

/// Characters of one byte or more, without a state. Of what is none, the first byte is replaced and the rest is read anew, as
/// Python does it; the standard of the web drops more.
fn decode_wide<'b>(wide: &Wide, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
    let (text, valid) = decode_by(wide.table, bytes);
    if valid && (wide.others.is_empty() || text.is_ascii()) {
        return (text, true);
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    let mut rest = bytes;
    while !rest.is_empty() {
        text.reserve(rest.len() * 4);
        let mut decoder = wide.table.new_decoder_without_bom_handling();
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        let next = match result {
            DecoderResult::Malformed(length, consumed) => {
                text.push(char::REPLACEMENT_CHARACTER);
                (read + 1).saturating_sub(usize::from(length) + usize::from(consumed))
            }
            DecoderResult::InputEmpty => rest.len(),
            // There is room for more than the longest text; were there none, this would go on with the rest.
            DecoderResult::OutputFull => read.max(1),
        };
        rest = rest.get(next..).unwrap_or(&[]);
    }
    for (theirs, ours) in wide.others {
        if text.contains(*theirs) {
            text = text.replace(*theirs, ours.encode_utf8(&mut [0; 4]));
        }
    }
    (text.into(), valid)
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

/// Where Japanese characters are to Microsoft what they are to the web.
const JAPANESE: &[(char, char)] = &[
    ('\u{ff5e}', '\u{301c}'),
    ('\u{2225}', '\u{2016}'),
    ('\u{ff0d}', '\u{2212}'),
    ('\u{ffe0}', '\u{a2}'),
    ('\u{ffe1}', '\u{a3}'),
    ('\u{ffe2}', '\u{ac}'),
];

const SIMPLIFIED: &[(char, char)] = &[('\u{b7}', '\u{30fb}'), ('\u{2014}', '\u{2015}')];

const TRADITIONAL: &[(char, char)] = &[
    ('\u{2027}', '\u{2022}'),
    ('\u{fe51}', '\u{ff64}'),
    ('\u{af}', '\u{203e}'),
    ('\u{ff5e}', '\u{223c}'),
    ('\u{2295}', '\u{2641}'),
    ('\u{2299}', '\u{2609}'),
    ('\u{2215}', '\u{ff0f}'),
    ('\u{fe68}', '\u{ff3c}'),
    ('\u{ffe5}', '\u{a5}'),
    ('\u{ffe0}', '\u{a2}'),
    ('\u{ffe1}', '\u{a3}'),
];

impl Wide {
    /// The encoding of that name in Python's lower-case spelling with underscores; `None` for any other.
    fn named(plain: &str) -> Option<Self> {
        let (table, others): (_, &[_]) = match plain {
            "gbk" | "936" | "cp936" | "ms936" => (encoding_rs::GBK, &[]),
            "gb2312" | "chinese" | "csiso58gb231280" | "euc_cn" | "euccn" | "eucgb2312_cn"
            | "gb2312_1980" | "gb2312_80" | "iso_ir_58" => (encoding_rs::GBK, SIMPLIFIED),
            "gb18030" | "gb18030_2000" => (encoding_rs::GB18030, &[]),
            "950" | "cp950" | "ms950" => (encoding_rs::BIG5, &[]),
            "big5" | "big5_tw" | "csbig5" | "big5hkscs" | "big5_hkscs" | "hkscs" => {
                (encoding_rs::BIG5, TRADITIONAL)
            }
            "euc_jp" | "eucjp" | "ujis" | "u_jis" => (encoding_rs::EUC_JP, JAPANESE),
            "shift_jis" | "csshiftjis" | "shiftjis" | "sjis" | "s_jis" => (encoding_rs::SHIFT_JIS, JAPANESE),
            "932" | "cp932" | "ms932" | "mskanji" | "ms_kanji" | "windows_31j" => {
                (encoding_rs::SHIFT_JIS, &[])
            }
            "euc_kr" | "euckr" | "korean" | "ksc5601" | "ks_c_5601" | "ks_c_5601_1987" | "ksx1001"
            | "ks_x_1001" | "949" | "cp949" | "ms949" | "uhc" => (encoding_rs::EUC_KR, &[]),
            _ => return None,
        };
        Some(Self { table, others })
    }
}

/// Python folds case and takes `-`, `_` and blanks for the same.
fn kind_of(name: &str) -> Option<Kind> {
    let plain: String = name.to_ascii_lowercase().replace([' ', '-'], "_");
    let kind = match plain.trim_matches('_') {
        "utf_8" | "utf8" | "u8" | "utf" | "cp65001" | "utf8_ucs2" | "utf8_ucs4" => Kind::Utf8,
        "utf_8_sig" => Kind::Utf8Marked,
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
        "iso2022_jp" | "iso2022jp" => Kind::Table(encoding_rs::ISO_2022_JP),
        plain => {
            if let Some(wide) = Wide::named(plain) {
                return Some(Kind::Wide(wide));
            }
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
                     klingon utf-8-sig cp437 437 ibm437 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 ibm858 cp860 cp861 \
                     cp_is cp862 cp863 cp865 cp869 cp1006 cp1125 ruscii hp-roman8 koi8_t kz1048 mac_croatian mac-greek \
                     maciceland mac_latin2 maccentraleurope mac_romanian macturkish ptcp154 cp154 koi8-t";
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

    /// Prints for each name what the pairs of bytes from 0x80 on decode to, one first byte a line.
    const PAIRS: &str = r#"
import sys
for name in sys.stdin.read().split():
    for first in range(0x80, 0x100):
        print(",".join(bytes([first, second]).decode(name, "replace").encode("utf-16be").hex() for second in range(256)))
"#;

    /// What is known to be otherwise: the tables of the web have more than Python's (`more`), and a few other characters
    /// (`other`); Python has a meaning for some bytes that are none there (`less`), and replaces them otherwise (`bad`).
    /// In each row: `other`, `more`, `less`, `bad`.
    const KNOWN: &[(&str, [usize; 4])] = &[
        ("gbk", [0, 2278, 0, 128]),
        ("cp936", [0, 2278, 0, 128]),
        ("gb2312", [0, 16624, 0, 128]),
        ("gb18030", [20, 129, 0, 1398]),
        ("big5", [249, 4884, 0, 0]),
        ("big5-hkscs", [0, 192, 0, 0]),
        ("cp950", [250, 4842, 0, 0]),
        ("euc-jp", [0, 457, 0, 256]),
        ("shift_jis", [0, 2980, 0, 77]),
        ("cp932", [0, 0, 1040, 427]),
        ("euc-kr", [0, 8823, 0, 0]),
        ("cp949", [0, 0, 0, 0]),
    ];

    #[test]
    fn pairs_of_bytes_are_what_they_are_to_python() {
        let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        let Some(answers) = crate::oracle::python_prints(PAIRS, names.join(" ")) else { return };
        let units = |text: &str| text.encode_utf16().map(|unit| format!("{unit:04x}")).collect::<String>();
        let is_bad = |text: &str| text.contains("fffd");
        for ((name, known), rows) in KNOWN.iter().zip(answers.chunks(128)) {
            let encoding = Encoding::parse(name).unwrap();
            let (mut counts, mut others) = ([0; 4], Vec::new());
            for (first, row) in (0x80_u8..=0xff).zip(rows) {
                for (second, theirs) in (0..=u8::MAX).zip(row.split(',')) {
                    let ours = units(&encoding.decode(&[first, second]).0);
                    if ours == *theirs {
                        continue;
                    }
                    let kind = usize::from(is_bad(theirs)) + 2 * usize::from(is_bad(&ours));
                    counts[kind] += 1;
                    if kind == 0 {
                        others.push(format!("{first:02x}{second:02x} is {ours} instead of {theirs}"));
                    }
                }
            }
            assert_eq!(counts, *known, "{name}: {others:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_one_by_one() {
        check("gbk", b"\xd6\xd0\xff\n", "中\u{fffd}", false);
        check("shift_jis", b"\x81\x60a\x81", "\u{301c}a\u{fffd}", false);
        check("cp932", b"\x81\x60\r\n", "\u{ff5e}", true);
        check("euc-kr", b"\xb0\xa1 x\xa1", "가 x\u{fffd}", false);
        for name in ["iso-2022-jp", "iso2022_jp", "iso2022jp", "csiso2022jp"] {
            check(name, b"\x1b$B$\"\x1b(B x\n", "あ x", true);
        }
        check("gb18030", b"\x81\x30\x81\x30", "\u{80}", true);
        // A newline ends a line, whatever stands before it.
        let line_end = Encoding::parse("gbk").unwrap().line_end(b"\xd6\n\xd0\n");
        assert_eq!(line_end, Some(2));
    }

    #[test]
    fn lines_lose_their_end() {
        check("auto", b"a b\r\n", "a b", true);
        check("utf-8", b"\n", "", true);
        check("utf-8-sig", b"\xef\xbb\xbfa\n", "a", true);
        check("UTF_8_SIG", b"a\xef\xbb\xbf", "a\u{feff}", true);
        check("utf-8", b"\xef\xbb\xbfa\n", "\u{feff}a", true);
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

    /// Prints for each line in hexadecimal digits what it decodes to, in such digits as well.
    const MARKS: &str = r#"
import sys
for line in sys.stdin.read().split():
    print(bytes.fromhex(line).decode("utf-8-sig", "replace").encode().hex())
"#;

    #[test]
    fn a_mark_at_the_start_belongs_to_no_line() {
        let lines =
            ["61", "efbbbf61", "efbbbf", "efbbbfefbbbf61", "61efbbbf", "efbb61", "efbbbf61ff", "efbb"];
        let Some(answers) = crate::oracle::python_prints(MARKS, lines.join(" ")) else { return };
        let encoding = Encoding::parse("utf-8-sig").unwrap();
        for (line, theirs) in lines.iter().zip(answers) {
            let bytes: Vec<u8> = (0..line.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&line[at..at + 2], 16).expect("two digits"))
                .collect();
            let ours = encoding.decode(&bytes).0;
            let ours: String = ours.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(ours, theirs, "{line}");
        }
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
