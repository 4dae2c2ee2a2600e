//! The words of a command, taken one by one, with Python's complaints about those that don't fit.

use f2b_protocol::Value;
use f2b_types::{Id, Number, int, str2seconds};

use super::errors::{
    attribute_error, no_text, too_short, type_error, type_name, unknown_jail_value, value_error,
};
use super::transmitter::Result;

/// What is left of a command.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(&'a [Value]);

impl<'a> Words<'a> {
    pub(super) fn new(words: &'a [Value]) -> Self {
        Self(words)
    }

    /// The next word, whatever it is.
    pub(super) fn next_value(&mut self) -> Result<&'a Value> {
        let (first, rest) = self.0.split_first().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(first)
    }

    /// The next word as text; numbers and truths print as Python prints them.
    pub(super) fn next_text(&mut self) -> Result<String> {
        self.next_value().map(Value::to_text)
    }

    /// The next word, which has to be a text, since upstream uses its `method`.
    pub(super) fn next_str(&mut self, method: &str) -> Result<&'a str> {
        let value = self.next_value()?;
        value.as_str().ok_or_else(|| attribute_error(value, method))
    }

    /// The next word, which has to be a text, since nothing else is meant by it.
    pub(super) fn next_plain(&mut self) -> Result<&'a str> {
        let value = self.next_value()?;
        value.as_str().ok_or_else(|| no_text(value))
    }

    /// The next word as the name of a jail.
    pub(super) fn next_jail(&mut self) -> Result<&'a str> {
        jail_name(self.next_value()?)
    }

    /// The next word as a whole number.
    pub(super) fn next_int(&mut self) -> Result<i64> {
        match self.next_value()? {
            Value::Int(n) => Ok(*n),
            Value::Bool(b) => Ok((*b).into()),
            Value::Float(x) => Ok(*x as i64),
            Value::Str(text) => int(text).ok_or_else(|| {
                value_error(format!("invalid literal for int() with base 10: {}", Value::from(text.as_str())))
            }),
            other => {
                let kinds = "a string, a bytes-like object or a real number";
                Err(type_error(format!("int() argument must be {kinds}, not '{}'", type_name(other))))
            }
        }
    }

    /// The next word as seconds, with abbreviations.
    pub(super) fn next_seconds(&mut self) -> Result<Number> {
        match self.next_value()? {
            Value::Int(n) => Ok((*n).into()),
            Value::Bool(b) => Ok(i64::from(*b).into()),
            Value::Float(x) => Ok((*x).into()),
            Value::Str(text) => seconds(text),
            other => Err(no_text(other)),
        }
    }

    /// The next word as a number of seconds with a fraction.
    pub(super) fn next_float(&mut self) -> Result<f64> {
        match self.next_value()? {
            Value::Int(n) => Ok(*n as f64),
            Value::Bool(b) => Ok(f64::from(*b)),
            Value::Float(x) => Ok(*x),
            other => {
                let wrong = || value_error(format!("could not convert string to float: {other}"));
                other.to_text().trim().parse().map_err(|_| wrong())
            }
        }
    }

    /// All words that are left, as they are.
    pub(super) fn values(self) -> &'a [Value] {
        self.0
    }

    /// All words that are left, as texts.
    pub(super) fn texts(self) -> Vec<String> {
        self.0.iter().map(Value::to_text).collect()
    }

    /// All words that are left, as ids; a mask with gaps makes a text.
    pub(super) fn ids(self) -> Result<Vec<Id>> {
        self.ids_by(|text| Ok(Id::parse(text)))
    }

    /// All words that are left, as ids whose masks have no gaps.
    pub(super) fn strict_ids(self) -> Result<Vec<Id>> {
        self.ids_by(id)
    }

    fn ids_by(self, parse: impl Fn(&str) -> Result<Id>) -> Result<Vec<Id>> {
        let id = |word: &Value| {
            let text = word
                .as_str()
                .ok_or_else(|| type_error(format!("object of type '{}' has no len()", type_name(word))))?;
            parse(text)
        };
        self.0.iter().map(id).collect()
    }

    pub(super) fn len(self) -> usize {
        self.0.len()
    }
}

/// What a jail is called by; upstream looks any value up in a dictionary.
fn jail_name(name: &Value) -> Result<&str> {
    match name {
        Value::Str(name) => Ok(name),
        Value::List(_) | Value::Dict(_) | Value::Set(_) => {
            Err(type_error(format!("unhashable type: '{}'", type_name(name))))
        }
        other => Err(unknown_jail_value(other.clone())),
    }
}

/// The id that a text stands for.
pub(super) fn id(text: &str) -> Result<Id> {
    Id::parse_strictly(text).map_err(|error| value_error(error.to_string()))
}

/// The seconds that a text stands for.
pub(super) fn seconds(text: &str) -> Result<Number> {
    str2seconds(text).map_err(|error| value_error(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: impl Into<Value>, expected: std::result::Result<i64, &str>) {
        let words = [value.into()];
        let result = Words::new(&words).next_int().map_err(|exception| exception.to_string());
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    #[test]
    fn whole_numbers_are_read_as_python_reads_them() {
        check(5, Ok(5));
        check(true, Ok(1));
        check(Value::Float(-2.7), Ok(-2));
        check(" -1_000 ", Ok(-1000));
        check("+7", Ok(7));
        let literal = "ValueError(\"invalid literal for int() with base 10: ";
        for wrong in ["", "1__0", "_1", "+-1", "7.5", "x"] {
            check(wrong, Err(&format!("{literal}'{wrong}'\")")));
        }
        let kinds = "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'";
        check(Value::None, Err(&format!("TypeError(\"{kinds}\")")));
    }

    #[test]
    fn names_of_jails_are_texts() {
        let name =
            |value: Value| Words::new(&[value]).next_jail().map(str::to_owned).map_err(|e| e.to_string());
        assert_eq!(name("sshd".into()), Ok("sshd".into()));
        assert_eq!(name(Value::Int(5)), Err("UnknownJailException(5)".into()));
        assert_eq!(name(Value::List(vec![])), Err("TypeError(\"unhashable type: 'list'\")".into()));
    }
}
