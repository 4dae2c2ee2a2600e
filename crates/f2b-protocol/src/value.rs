//! The Python values that fail2ban exchanges.

use std::fmt;

use compact_str::CompactString;
use f2b_types::Number;

use crate::repr;

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
        let mut text = String::new();
        repr::push_exception(&mut text, self);
        f.write_str(&text)
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
        let mut text = String::new();
        repr::push_value(&mut text, self);
        f.write_str(&text)
    }
}
