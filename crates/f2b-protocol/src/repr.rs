//! Values as Python prints them (`repr`).
//!
//! Everything is appended to a text, where writing can't fail.

use std::fmt::Write as _;

use f2b_types::Number;
use memchr::memchr3_iter;

use crate::{Exception, Value};

pub(crate) fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(n) => push_display(out, n),
        Value::Float(x) => push_display(out, &Number::Float(*x)),
        Value::Str(text) => push_text(out, text),
        Value::Bytes(bytes) => push_bytes(out, bytes),
        Value::List(items) => push_list(out, "[", items, "]"),
        Value::Tuple(items) => push_list(out, "(", items, if items.len() == 1 { ",)" } else { ")" }),
        Value::Dict(entries) => push_dict(out, entries),
        Value::Set(items) if items.is_empty() => out.push_str("set()"),
        Value::Set(items) => push_list(out, "{", items, "}"),
        Value::Exception(exception) => push_exception(out, exception),
    }
}

/// Items between two brackets.
pub(crate) fn push_list(out: &mut String, open: &str, items: &[Value], close: &str) {
    out.push_str(open);
    if let [first, others @ ..] = items {
        push_value(out, first);
        for item in others {
            out.push_str(", ");
            push_value(out, item);
        }
    }
    out.push_str(close);
}

pub(crate) fn push_exception(out: &mut String, exception: &Exception) {
    out.push_str(&exception.class);
    push_list(out, "(", &exception.args, ")");
}

fn push_dict(out: &mut String, entries: &[(Value, Value)]) {
    out.push('{');
    for (i, (key, value)) in entries.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        push_value(out, key);
        out.push_str(": ");
        push_value(out, value);
    }
    out.push('}');
}

fn push_display(out: &mut String, value: &impl std::fmt::Display) {
    // Writing into a String never fails.
    let _ = write!(out, "{value}");
}

/// Python prefers single quotes and takes double ones only where that saves escaping.
fn quote_for(text: &[u8]) -> char {
    if text.contains(&b'\'') && !text.contains(&b'"') { '"' } else { '\'' }
}

fn push_text(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    let plain = plain_length(bytes);
    if plain == bytes.len() {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
    } else if bytes.iter().fold(true, |usual, byte| usual & matches!(byte, b' '..=b'~' | b'\n')) {
        push_lines(out, text);
    } else {
        push_escaped(out, text, plain);
    }
}

/// A text of ASCII with nothing to escape but ends of lines, backslashes and quotes, as commands and expressions are.
fn push_lines(out: &mut String, text: &str) {
    let quote = quote_for(text.as_bytes());
    out.push(quote);
    let mut done = 0;
    for at in memchr3_iter(b'\n', b'\\', quote as u8, text.as_bytes()) {
        out.push_str(&text[done..at]);
        out.push('\\');
        // Of the end of a line the rest is behind it.
        done = at;
        if text.as_bytes()[at] == b'\n' {
            out.push('n');
            done += 1;
        }
    }
    out.push_str(&text[done..]);
    out.push(quote);
}

/// A text of which the first bytes are such as stand for themselves.
fn push_escaped(out: &mut String, text: &str, plain: usize) {
    let quote = quote_for(text.as_bytes());
    out.push(quote);
    // What needs no escape, which is nearly everything, is appended in one piece.
    let (mut done, mut next) = (0, plain);
    while let Some(c) = text[next..].chars().next() {
        let start = next;
        let behind = start + c.len_utf8();
        next = behind + plain_length(&text.as_bytes()[behind..]);
        let is_special = c == quote || c == '\\';
        if !is_special && is_printable(c) {
            continue;
        }
        out.push_str(&text[done..start]);
        done = behind;
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_special => out.extend(['\\', c]),
            c => match u32::from(c) {
                n @ ..=0xff => push_display(out, &format_args!("\\x{n:02x}")),
                n @ ..=0xffff => push_display(out, &format_args!("\\u{n:04x}")),
                n => push_display(out, &format_args!("\\U{n:08x}")),
            },
        }
    }
    out.push_str(&text[done..]);
    out.push(quote);
}

/// Whether a byte stands for itself in any quotes.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'\'' | b'"' | b'\\');
        byte += 1;
    }
    plain
};

/// So many bytes are looked at together.
const TOGETHER: usize = 16;

/// How many bytes at the start are such as stand for themselves in any quotes.
fn plain_length(bytes: &[u8]) -> usize {
    let start = bytes.as_chunks().0.iter().take_while(|chunk| are_plain(chunk)).count() * TOGETHER;
    // What is left is most often plain too, and can then be looked at together with what is before it.
    if bytes.len() - start < TOGETHER && bytes.last_chunk().is_some_and(are_plain) {
        return bytes.len();
    }
    start + bytes[start..].iter().take_while(|byte| PLAIN[usize::from(**byte)]).count()
}

/// Whether all of them stand for themselves; eight are looked at with each step.
fn are_plain(chunk: &[u8; TOGETHER]) -> bool {
    chunk.as_chunks().0.iter().all(|bytes| has_special(u64::from_ne_bytes(*bytes)) == 0)
}

/// Not zero if one of eight bytes is no printable character of ASCII, a quote or a backslash. The highest bit of each byte
/// tells, and may be wrong where one to the right of it is special too.
fn has_special(bytes: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    let is_below = |bytes: u64, limit: u8| bytes.wrapping_sub(EACH * u64::from(limit)) & !bytes;
    let is = |byte: u8| is_below(bytes ^ (EACH * u64::from(byte)), 1);
    let is_above = bytes | bytes.wrapping_add(EACH);
    (is_below(bytes, b' ') | is_above | is(b'\'') | is(b'"') | is(b'\\')) & (EACH << 7)
}

/// `str.isprintable`, as near as Rust's own tables tell: what they escape behind a letter is not printable (there
/// they keep combining marks, as Python does), and neither is any blank but the space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    !c.is_whitespace() && ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    let quote = quote_for(bytes);
    out.extend(['b', quote]);
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if char::from(byte) == quote => out.extend(['\\', quote]),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => push_display(out, &format_args!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: impl Into<Value>, repr: &str) {
        assert_eq!(value.into().to_string(), repr);
    }

    #[test]
    fn texts_are_quoted_as_python_quotes_them() {
        check("sshd", "'sshd'");
        check("it's", "\"it's\"");
        check("it's \"x\"", r#"'it\'s "x"'"#);
        check("a\\b\n\t\u{7f}\0", r"'a\\b\n\t\x7f\x00'");
        check("käse €\u{a0}\u{200b}\u{1f600}", "'käse €\\xa0\\u200b\u{1f600}'");
        check("e\u{301}", "'e\u{301}'");
    }

    #[test]
    fn escapes_are_found_wherever_they_stand() {
        for length in 1..=3 * TOGETHER + 1 {
            for place in 0..length {
                for (special, escape) in
                    [("\n", "\\n"), ("\\", "\\\\"), ("\t", "\\t"), ("\0", "\\x00"), ("\"", "\"")]
                {
                    let mut text = "x".repeat(length);
                    text.replace_range(place..=place, special);
                    check(&*text, &format!("'{}'", text.replace(special, escape)));
                }
            }
            check(&*"x".repeat(length), &format!("'{}'", "x".repeat(length)));
        }
    }

    #[test]
    fn each_byte_is_special_or_not_whatever_stands_beside_it() {
        for byte in 0..=u8::MAX {
            for place in 0..TOGETHER {
                for filling in [b' ', b'~', b'('] {
                    let mut chunk = [filling; TOGETHER];
                    chunk[place] = byte;
                    assert_eq!(are_plain(&chunk), PLAIN[usize::from(byte)], "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn containers_print_as_in_python() {
        check(Value::Tuple(vec![1.into()]), "(1,)");
        check(Value::Tuple(vec![]), "()");
        check(Value::Set(vec![]), "set()");
        check(Value::List(vec![Value::None, true.into(), Value::Float(1.0)]), "[None, True, 1.0]");
        check(Value::Dict(vec![("a".into(), Value::Bytes(b"x\xff'".to_vec()))]), "{'a': b\"x\\xff'\"}");
        check(
            Exception::new("fail2ban.exceptions", "UnknownJailException", "x"),
            "UnknownJailException('x')",
        );
    }
}
