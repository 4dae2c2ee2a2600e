//! The arguments of opcodes that are written as text.

use std::str::FromStr;

use super::error::PickleErrorKind::{self, Argument};

const NO_TEXT: PickleErrorKind = Argument("text");

/// A decimal number.
pub(super) fn number<T: FromStr>(line: &[u8]) -> Result<T, PickleErrorKind> {
    std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok()).ok_or(Argument("number"))
}

/// Python writes half of a surrogate pair, by which it keeps bytes that are no text, as if it were a character; a
/// replacement character stands for it here. Python 2's byte strings are read as UTF-8, where upstream takes ASCII
/// only.
pub(super) fn utf8(bytes: &[u8]) -> Result<String, PickleErrorKind> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.into());
    }
    let mut bytes = bytes.to_vec();
    for i in 0..bytes.len().saturating_sub(2) {
        if bytes[i] == 0xed && bytes[i + 1] >= 0xa0 {
            bytes[i..i + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8(bytes).map_err(|_| NO_TEXT)
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Result<String, PickleErrorKind> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'\\', [b'u', tail @ ..]) => rest = push_escaped(&mut text, tail, 4)?,
            (b'\\', [b'U', tail @ ..]) => rest = push_escaped(&mut text, tail, 8)?,
            (b'\\', [next, tail @ ..]) => {
                text.push('\\');
                text.push(char::from(*next));
                rest = tail;
            }
            _ => text.push(char::from(*byte)),
        }
    }
    Ok(text)
}

/// A Python 2 string literal.
pub(super) fn quoted(line: &[u8]) -> Result<String, PickleErrorKind> {
    let line = line.trim_ascii();
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(NO_TEXT),
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let [escape, tail @ ..] = tail else { return Err(NO_TEXT) };
        rest = tail;
        match escape {
            b'\\' | b'\'' | b'"' => bytes.push(*escape),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'v' => bytes.push(11),
            b'f' => bytes.push(12),
            b'x' => {
                let (code, tail) = hexadecimal(tail, 2)?;
                bytes.push(u8::try_from(code).map_err(|_| NO_TEXT)?);
                rest = tail;
            }
            b'0'..=b'7' => {
                let digits = 1 + tail.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let octal = inner_digits(*escape, tail, digits);
                bytes.push(octal as u8);
                rest = &tail[digits - 1..];
            }
            _ => bytes.extend([b'\\', *escape]),
        }
    }
    utf8(&bytes)
}

fn inner_digits(first: u8, tail: &[u8], digits: usize) -> u32 {
    tail.iter().take(digits - 1).fold(u32::from(first - b'0'), |n, digit| n * 8 + u32::from(digit - b'0'))
}

fn push_escaped<'a>(text: &mut String, tail: &'a [u8], digits: usize) -> Result<&'a [u8], PickleErrorKind> {
    let (code, rest) = hexadecimal(tail, digits)?;
    text.push(match code {
        0xd800..=0xdfff => char::REPLACEMENT_CHARACTER,
        code => char::from_u32(code).ok_or(NO_TEXT)?,
    });
    Ok(rest)
}

/// A number of exactly so many digits, and what follows.
fn hexadecimal(text: &[u8], digits: usize) -> Result<(u32, &[u8]), PickleErrorKind> {
    let (number, rest) = text.split_at_checked(digits).ok_or(NO_TEXT)?;
    let number = std::str::from_utf8(number).map_err(|_| NO_TEXT)?;
    if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NO_TEXT);
    }
    let code = u32::from_str_radix(number, 16).map_err(|_| NO_TEXT)?;
    Ok((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Result<String, PickleErrorKind>, expected: Option<&str>) {
        assert_eq!(found.ok().as_deref(), expected);
    }

    #[test]
    fn literals_of_python_2_are_read_with_their_escapes() {
        check(quoted(b"'sshd'"), Some("sshd"));
        check(quoted(br#""it's""#), Some("it's"));
        check(quoted(br"'a\\b\n\x41\101\0\q'"), Some("a\\b\nAA\0\\q"));
        check(quoted(br"'\xc3\xa9'"), Some("é"));
        check(quoted(br"'\xff'"), None);
        check(quoted(b"'open"), None);
        check(quoted(b"'"), None);
        check(quoted(br"'\'"), None);
    }

    #[test]
    fn unicode_lines_are_latin_1_with_escapes() {
        check(raw_unicode_escape(b"a\xe9\\u20ac\\U0001f600"), Some("aé€\u{1f600}"));
        check(raw_unicode_escape(br"\\u0041\"), Some(r"\\u0041\"));
        check(raw_unicode_escape(br"\ud800"), Some("\u{fffd}"));
        check(raw_unicode_escape(br"\u+0ab"), None);
        check(raw_unicode_escape(br"\U00110000"), None);
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        check(utf8(b"a\xed\xb2\x80b"), Some("a\u{fffd}b"));
        check(utf8(b"a\xff"), None);
        check(utf8(b"\xed\xa0"), None);
    }
}
