//! What a match says: named values in the order in which they came up (upstream's `fail` dictionary).
//!
//! A group that took no part is there too, as [`Field::None`]; only what becomes data of a ticket leaves it out.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use compact_str::CompactString;
use f2b_types::{FailData, Id, MatchedLine};

use crate::pytext::repr;

/// A line, split around its date.
pub type Line = [String; 3];

/// A named value.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The group took no part in the match.
    None,
    /// What the group captured. If it is long, what is known of a connection and what was found share it.
    Text(CompactString),
    /// The mark that a failure waits for an id.
    Flag,
    /// `<F-TUPLE_...>` and what it was appended to.
    Tuple(Vec<Option<CompactString>>),
    /// All users of a connection, each once.
    Users(Vec<Field>),
    /// Lines that matched. Those of a connection become many, and are shared by what is known of it and what was found.
    Lines(Arc<Vec<Line>>),
    /// The address beside an id of another kind.
    Ip(Id),
}

impl Field {
    /// Whether Python takes it for true: neither nothing nor empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Text(text) => !text.is_empty(),
            Self::Flag | Self::Ip(_) => true,
            Self::Tuple(parts) => !parts.is_empty(),
            Self::Users(users) => !users.is_empty(),
            Self::Lines(lines) => !lines.is_empty(),
        }
    }
}

/// Prints Python's `repr`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(text) => f.write_str(&repr(text)),
            Self::Flag => f.write_str("1"),
            Self::Tuple(parts) => {
                let parts = parts.iter().map(|part| part.as_deref().map_or_else(|| "None".into(), repr));
                write!(f, "({})", parts.collect::<Vec<_>>().join(", "))
            }
            Self::Users(users) => {
                let users: Vec<_> = users.iter().map(ToString::to_string).collect();
                write!(f, "{{{}}}", users.join(", "))
            }
            Self::Lines(lines) => {
                let line = |line: &Line| format!("({})", line.each_ref().map(|part| repr(part)).join(", "));
                write!(f, "[{}]", lines.iter().map(line).collect::<Vec<_>>().join(", "))
            }
            Self::Ip(id) => f.write_str(&repr(&id.to_string())),
        }
    }
}

/// Named values; setting a known name keeps its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Vec<(&'static str, Field)>);

/// Fields that are likely to be added to those of a match.
const ADDED: usize = 6;

/// From names that are all different.
impl FromIterator<(&'static str, Field)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'static str, Field)>>(fields: I) -> Self {
        let fields = fields.into_iter();
        let mut all = Vec::with_capacity(fields.size_hint().1.unwrap_or(0) + ADDED);
        all.extend(fields);
        Self(all)
    }
}

impl Fields {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Field> {
        self.0.iter_mut().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The captured text of `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Field::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The lines that matched.
    pub fn matches(&self) -> &[Line] {
        match self.get("matches") {
            Some(Field::Lines(lines)) => lines,
            _ => &[],
        }
    }

    /// Whether the line says `nofail`: it belongs to a connection that did not fail (yet).
    pub fn is_no_failure(&self) -> bool {
        self.is_true("nofail")
    }

    /// The same without one of the values.
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| *known != name).cloned().collect())
    }

    /// What `f2b-regex --out --invert` knows of a line in which nothing was found: the line.
    pub fn of_missed_line(line: &str) -> Self {
        let mut fields = Self::default();
        fields.set("fid", Field::Text("".into()));
        fields.set("matches", Field::Lines(vec![[String::new(), String::new(), line.into()]].into()));
        fields
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(Field::is_true)
    }

    pub(crate) fn set(&mut self, name: &'static str, value: Field) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Field> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Takes the lines kept under `name`.
    pub(crate) fn take_lines(&mut self, name: &str) -> Vec<Line> {
        match self.remove(name) {
            Some(Field::Lines(lines)) => Arc::unwrap_or_clone(lines),
            _ => Vec::new(),
        }
    }

    /// Overwrites with every value of `other` that is there.
    pub(crate) fn update(&mut self, other: Self) {
        for (name, value) in other.0.into_iter().filter(|(_, value)| *value != Field::None) {
            match self.get_mut(name) {
                Some(old) => *old = value,
                None => self.0.push((name, value)),
            }
        }
    }

    /// The data of a ticket for one failure (`Ticket.__init__`): what is `None` is left out.
    pub fn to_data(&self) -> FailData {
        let mut data = FailData { failures: 1, ..FailData::default() };
        for (name, value) in self.iter() {
            let json = match value {
                Field::None => continue,
                Field::Lines(lines) if name == "matches" => {
                    data.matches = lines.iter().cloned().map(MatchedLine::Split).collect();
                    continue;
                }
                Field::Ip(id) if name == "ip" => {
                    data.ip = Some(id.clone());
                    continue;
                }
                Field::Text(text) => text.to_string().into(),
                Field::Flag => 1.into(),
                Field::Tuple(parts) => parts.iter().map(|part| part.as_deref()).collect(),
                Field::Users(users) => users.iter().map(user_text).collect(),
                Field::Lines(lines) => lines.iter().map(|line| line.to_vec()).collect(),
                Field::Ip(id) => id.to_string().into(),
            };
            data.fields.insert(name.into(), json);
        }
        data
    }
}

/// The name of a group as one that lasts as long as the program: no match has to copy it. Names are few, and the same ones
/// come again with each reload.
pub(crate) fn name_of(group: &str) -> &'static str {
    static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.get(group).copied().unwrap_or_else(|| {
        let name: &'static str = Box::leak(group.into());
        names.insert(name);
        name
    })
}

fn user_text(user: &Field) -> String {
    match user {
        Field::Text(text) => text.to_string(),
        other => other.to_string(),
    }
}

/// Prints Python's `repr` of the dictionary.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.iter().map(|(name, value)| format!("{}: {value}", repr(name))).collect();
        write!(f, "{{{}}}", all.join(", "))
    }
}
