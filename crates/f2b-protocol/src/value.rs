//! The Python values that fail2ban exchanges.

use std::fmt;

use compact_str::CompactString;
use f2b_types::Number;

/// A Python value, with the types that Python keeps apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`; a short one, as most words of commands are, takes no memory of its own
    Str(CompactString),
    /// `bytes`
    Bytes(Vec<u8>),
    /// `[...]`
    List(Vec<Value>),
    /// `(...)`
    Tuple(Vec<Value>),
    /// `{key: value}`, in insertion order
    Dict(Vec<(Value, Value)>),
    /// `{...}`, in the order in which it was sent
    Set(Vec<Value>),
    /// An instance of an exception class; boxed, so that all the others are no larger than they need to be.
    Exception(Box<Exception>),
}

/// A Python exception: its class and the arguments it was raised with.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// The module of the class: `builtins`, `fail2ban.exceptions`.
    pub module: String,
    /// The name of the class.
    pub class: String,
    /// `args` of the instance.
    pub args: Vec<Value>,
}

impl Exception {
    /// `module.class` raised with one text.
    pub fn new(module: &str, class: &str, message: impl Into<String>) -> Self {
        Self { module: module.into(), class: class.into(), args: vec![Value::Str(message.into().into())] }
    }
}

/// Prints Python's `repr`: `UnknownJailException('sshd')`.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)?;
        write_list(f, "(", &self.args, ")")
    }
}

impl Value {
    /// A list of texts.
    pub fn strings<T: Into<CompactString>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Str(text.into())).collect())
    }

    /// The text of a `str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list or a tuple.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// What Python's `str()` gives: a text as it is, anything else by its `repr`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Str(text) => text.as_str().to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<Exception> for Value {
    fn from(exception: Exception) -> Self {
        Self::Exception(Box::new(exception))
    }
}

impl From<Number> for Value {
    fn from(n: Number) -> Self {
        match n {
            Number::Int(n) => Self::Int(n),
            Number::Float(x) => Self::Float(x),
        }
    }
}

/// Prints Python's `repr`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_repr(f)
    }
}

impl Value {
    /// Writes Python's `repr`.
    fn write_repr(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::None => out.write_str("None"),
            Self::Bool(true) => out.write_str("True"),
            Self::Bool(false) => out.write_str("False"),
            Self::Int(n) => write!(out, "{n}"),
            Self::Float(x) => write!(out, "{}", Number::Float(*x)),
            Self::Str(text) => write_str(out, text),
            Self::Bytes(bytes) => write_bytes(out, bytes),
            Self::List(items) => write_list(out, "[", items, "]"),
            Self::Tuple(items) => write_list(out, "(", items, if items.len() == 1 { ",)" } else { ")" }),
            Self::Dict(entries) => write_dict(out, entries),
            Self::Set(items) if items.is_empty() => out.write_str("set()"),
            Self::Set(items) => write_list(out, "{", items, "}"),
            Self::Exception(exception) => write!(out, "{exception}"),
        }
    }
}

pub(crate) fn write_list(out: &mut impl fmt::Write, open: &str, items: &[Value], close: &str) -> fmt::Result {
    out.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        out.write_str(if i == 0 { "" } else { ", " })?;
        item.write_repr(out)?;
    }
    out.write_str(close)
}

fn write_dict(out: &mut impl fmt::Write, entries: &[(Value, Value)]) -> fmt::Result {
    out.write_str("{")?;
    for (i, (key, value)) in entries.iter().enumerate() {
        out.write_str(if i == 0 { "" } else { ", " })?;
        key.write_repr(out)?;
        out.write_str(": ")?;
        value.write_repr(out)?;
    }
    out.write_str("}")
}

/// Python prefers single quotes and takes double ones only where that saves escaping.
fn quote_for(text: &[u8]) -> char {
    if text.contains(&b'\'') && !text.contains(&b'"') { '"' } else { '\'' }
}

fn write_str(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut next = plain_length(text.as_bytes());
    let quote = if next == text.len() { '\'' } else { quote_for(text.as_bytes()) };
    out.write_char(quote)?;
    // What needs no escape, which is nearly everything, is written in one piece.
    let mut plain = 0;
    while let Some(c) = text[next..].chars().next() {
        let start = next;
        let behind = start + c.len_utf8();
        next = behind + plain_length(&text.as_bytes()[behind..]);
        let is_special = c == quote || c == '\\';
        if !is_special && is_printable(c) {
            continue;
        }
        out.write_str(&text[plain..start])?;
        plain = behind;
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if is_special => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            c => match u32::from(c) {
                n @ ..=0xff => write!(out, "\\x{n:02x}")?,
                n @ ..=0xffff => write!(out, "\\u{n:04x}")?,
                n => write!(out, "\\U{n:08x}")?,
            },
        }
    }
    out.write_str(&text[plain..])?;
    out.write_char(quote)
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

/// How many bytes at the start are such as stand for themselves in any quotes.
fn plain_length(bytes: &[u8]) -> usize {
    const TOGETHER: usize = 16;
    let is_special = |b: u8| !matches!(b, b' '..=b'~') | (b == b'\'') | (b == b'"') | (b == b'\\');
    // Without a branch for each byte the compiler looks at all of them at once.
    let are_plain =
        |chunk: &&[u8; TOGETHER]| chunk.iter().fold(0, |found, b| found | u8::from(is_special(*b))) == 0;
    let start = bytes.as_chunks().0.iter().take_while(are_plain).count() * TOGETHER;
    start + bytes[start..].iter().take_while(|b| PLAIN[usize::from(**b)]).count()
}

/// `str.isprintable`, as near as Rust's own tables tell: what they escape behind a letter is not printable (there
/// they keep combining marks, as Python does), and neither is any blank but the space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    !c.is_whitespace() && ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

fn write_bytes(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    let quote = quote_for(bytes);
    write!(f, "b{quote}")?;
    for &byte in bytes {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            byte if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => write!(f, "{}", char::from(byte))?,
            byte => write!(f, "\\x{byte:02x}")?,
        }
    }
    write!(f, "{quote}")
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
