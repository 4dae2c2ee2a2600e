//! The syntax tree of one file: sections and options with the places where they stand, nothing resolved.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::python::is_space;
use crate::source::{Place, Source};

/// What one file says.
#[derive(Debug)]
pub struct Document {
    /// The file.
    pub source: Rc<Source>,
    /// In the order of the file; only `[DEFAULT]` can come more than once.
    pub sections: Vec<Section>,
}

/// A `[section]`.
#[derive(Debug)]
pub struct Section {
    /// The text between the brackets.
    pub name: Rc<str>,
    /// Where the header stands.
    pub span: Range<usize>,
    /// In the order of the file.
    pub options: Vec<OptionNode>,
}

/// An `option = value`.
#[derive(Debug)]
pub struct OptionNode {
    /// The name in lower case, by which it is looked up.
    pub key: Rc<str>,
    /// Where the name and the value stand.
    pub origin: Rc<Origin>,
}

/// Where an option stands.
#[derive(Debug)]
pub struct Origin {
    pub(crate) source: Rc<Source>,
    /// The name of the option or of the section.
    pub(crate) name: Range<usize>,
    /// The value line by line; an empty line has an empty range. None for a section.
    pub(crate) lines: SmallVec<[Range<usize>; 1]>,
}

impl Origin {
    /// The value as written: its lines, joined, without blanks at the end. Comments and indentation are gone already.
    pub fn text(&self) -> String {
        self.value().into_owned()
    }

    /// As [`Origin::text`]; a value of one line is not copied.
    pub(crate) fn value(&self) -> Cow<'_, str> {
        let line = |range: &Range<usize>| self.source.text.get(range.clone()).unwrap_or_default();
        if let [only] = self.lines.as_slice() {
            return line(only).trim_end_matches(is_space).into();
        }
        let mut text = String::with_capacity(self.lines.iter().map(|line| line.len() + 1).sum());
        for (i, range) in self.lines.iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "\n" });
            text.push_str(line(range));
        }
        text.truncate(text.trim_end_matches(is_space).len());
        text.into()
    }

    /// Where the name stands.
    pub(crate) fn place(&self) -> Place {
        self.source.place(self.name.start)
    }

    /// Where the byte `offset` of [`Origin::text`] stands.
    pub(crate) fn place_of(&self, offset: usize) -> Place {
        let mut rest = offset;
        for line in &self.lines {
            if rest <= line.len() {
                return self.source.place(line.start + rest);
            }
            rest -= line.len() + 1;
        }
        self.place()
    }

    /// Where `needle` stands in the value, or else the value itself.
    pub(crate) fn place_of_text(&self, needle: &str) -> Place {
        self.place_of(self.value().find(needle).unwrap_or(0))
    }
}
