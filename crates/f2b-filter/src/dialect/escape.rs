//! What a backslash stands for, in and out of a class.

use super::DialectError;
use super::ast::{At, Category, ClassItem};
use super::parse::Parser;
use crate::pytext::repr;

/// What an escape outside of a class is.
pub(super) enum Escape {
    /// A character; `None` for a surrogate, which no text contains.
    Char(Option<char>),
    Category(ClassItem),
    At(At),
    Backref(usize),
}

/// The escape `\c`, already read up to `c`, outside of a class.
pub(super) fn outside_class(p: &mut Parser<'_>, c: char) -> Result<Escape, DialectError> {
    let ascii = p.flags.ascii;
    let at = match c {
        'A' => Some(At::TextStart),
        'Z' => Some(At::TextEnd),
        'b' => Some(At::WordBoundary { ascii }),
        'B' => Some(At::NoWordBoundary { ascii }),
        _ => None,
    };
    if let Some(at) = at {
        return Ok(Escape::At(at));
    }
    if let Some(category) = category(c, ascii) {
        return Ok(Escape::Category(category));
    }
    match c {
        '0' => {
            let digits = p.take_while(2, |c| ('0'..='7').contains(&c))?;
            Ok(Escape::Char(code_point(&format!("0{digits}"), 8)))
        }
        '1'..='9' => reference(p, c),
        _ => character(p, c).map(Escape::Char),
    }
}

/// An octal code of three digits, or the number of a group.
fn reference(p: &mut Parser<'_>, first: char) -> Result<Escape, DialectError> {
    let is_octal = |c: char| ('0'..='7').contains(&c);
    let mut digits = String::from(first);
    if let Some(second) = p.next_char().filter(char::is_ascii_digit) {
        p.advance()?;
        digits.push(second);
        if let Some(third) = p.next_char().filter(|c| is_octal(*c) && digits.chars().all(is_octal)) {
            p.advance()?;
            digits.push(third);
            return octal(p, &digits).map(Escape::Char);
        }
    }
    let group: usize = digits.parse().unwrap_or(usize::MAX);
    p.check_reference(group, &digits).map(Escape::Backref)
}

fn octal(p: &Parser<'_>, digits: &str) -> Result<Option<char>, DialectError> {
    match u32::from_str_radix(digits, 8) {
        Ok(code) if code <= 0o377 => Ok(char::from_u32(code)),
        _ => Err(p.error(
            format!("octal escape value \\{digits} outside of range 0-0o377"),
            digits.chars().count() + 1,
        )),
    }
}

/// The escape `\c`, already read up to `c`, inside of a class.
pub(super) fn inside_class(p: &mut Parser<'_>, c: char) -> Result<Option<ClassItem>, DialectError> {
    if let Some(category) = category(c, p.flags.ascii) {
        return Ok(Some(category));
    }
    let char = match c {
        'b' => Some('\u{8}'),
        '0'..='7' => {
            let more = p.take_while(2, |c| ('0'..='7').contains(&c))?;
            octal(p, &format!("{c}{more}"))?
        }
        '8' | '9' => return Err(bad(p, c)),
        _ => character(p, c)?,
    };
    Ok(char.map(ClassItem::Char))
}

fn category(c: char, ascii: bool) -> Option<ClassItem> {
    let kind = match c.to_ascii_lowercase() {
        'd' => Category::Digit,
        's' => Category::Space,
        'w' => Category::Word,
        _ => return None,
    };
    Some(ClassItem::Category { kind, negated: c.is_ascii_uppercase(), ascii })
}

/// What means the same everywhere: `\n`, `\x41`, and any character that isn't a letter or digit, as itself.
fn character(p: &mut Parser<'_>, c: char) -> Result<Option<char>, DialectError> {
    Ok(Some(match c {
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => return hexadecimal(p, c, 2),
        'u' => return hexadecimal(p, c, 4),
        'U' => return hexadecimal(p, c, 8),
        'N' => return named(p),
        c if c.is_ascii_alphanumeric() => return Err(bad(p, c)),
        c => c,
    }))
}

fn hexadecimal(p: &mut Parser<'_>, c: char, length: usize) -> Result<Option<char>, DialectError> {
    let digits = p.take_while(length, |c| c.is_ascii_hexdigit())?;
    if digits.len() != length {
        return Err(p.error(format!("incomplete escape \\{c}{digits}"), digits.len() + 2));
    }
    match u32::from_str_radix(&digits, 16) {
        Ok(code) if code <= 0x10_ffff => Ok(char::from_u32(code)),
        _ => Err(p.error(format!("bad escape \\{c}{digits}"), digits.len() + 2)),
    }
}

/// `{NAME}` behind `\N`.
fn named(p: &mut Parser<'_>) -> Result<Option<char>, DialectError> {
    if !p.eat('{')? {
        return Err(p.error("missing {", 0));
    }
    let name = p.take_until('}', "character name")?;
    // The table forgives hyphens and blanks that Python does not forgive.
    let is_exact = |c: &char| match unicode_names2::name(*c) {
        Some(known) => known.to_string().eq_ignore_ascii_case(&name),
        None => true,
    };
    match unicode_names2::character(&name).filter(is_exact) {
        Some(c) => Ok(Some(c)),
        None => {
            let message = format!("undefined character name {}", repr(&name));
            Err(p.error(message, name.chars().count() + r"\N{}".len()))
        }
    }
}

fn code_point(digits: &str, radix: u32) -> Option<char> {
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)
}

fn bad(p: &Parser<'_>, c: char) -> DialectError {
    p.error(format!("bad escape \\{c}"), 2)
}
