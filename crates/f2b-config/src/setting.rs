//! Resolved options: a value of some type and where it came from.

use std::rc::Rc;

use f2b_protocol::Value;

use crate::document::Origin;
use crate::map::Map;
use crate::source::Place;

/// The value of an option in one of the types that upstream's readers give it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    Text(Rc<str>),
    Int(i64),
    Bool(bool),
    /// Set, but to nothing: a wrong number whose default is none.
    None,
}

impl Datum {
    /// `str()` of the value.
    pub(crate) fn to_text(&self) -> Rc<str> {
        match self {
            Self::Text(text) => Rc::clone(text),
            Self::Int(n) => n.to_string().into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::None => "None".into(),
        }
    }

    /// Python's truth of the value.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Int(n) => *n != 0,
            Self::Bool(b) => *b,
            Self::None => false,
        }
    }

    /// The name of the Python type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "str",
            Self::Int(_) => "int",
            Self::Bool(_) => "bool",
            Self::None => "NoneType",
        }
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&Datum> for Value {
    fn from(datum: &Datum) -> Self {
        match datum {
            Datum::Text(text) => Self::from(&**text),
            Datum::Int(n) => Self::Int(*n),
            Datum::Bool(b) => Self::Bool(*b),
            Datum::None => Self::None,
        }
    }
}

/// A resolved option.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) datum: Datum,
    /// The option in a file that says so; none for what is given otherwise.
    pub(crate) origin: Option<Rc<Origin>>,
}

impl Setting {
    pub(crate) fn text(text: &str) -> Self {
        Self { datum: text.into(), origin: None }
    }

    /// Where the value stands.
    pub(crate) fn place(&self) -> Option<Place> {
        self.origin.as_ref().map(|origin| origin.place_of(0))
    }

    /// Where `needle` stands in the value as written, or else the value.
    pub(crate) fn place_of(&self, needle: &str) -> Option<Place> {
        self.origin.as_ref().map(|origin| origin.place_of_text(needle))
    }
}

/// Resolved options in upstream's order.
pub(crate) type Options = Map<Setting>;
