//! The one type in which all flows meet.

use std::fmt;

use compact_str::CompactString;

use crate::{Value, repr};

/// A command as client, configuration and server exchange it: a list of words, most of them texts.
///
/// `f2b-client set sshd banip 192.0.2.1` is `['set', 'sshd', 'banip', '192.0.2.1']`; commands that set many things at
/// once carry lists (`multi-set`), and `thread` carries a dictionary.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Command(pub Vec<Value>);

impl Command {
    /// A command of texts.
    pub fn words<T: Into<CompactString>>(words: impl IntoIterator<Item = T>) -> Self {
        Self(words.into_iter().map(|word| Value::Str(word.into())).collect())
    }

    /// Appends the list as Python prints it.
    pub fn push_repr(&self, out: &mut String) {
        repr::push_list(out, "[", &self.0, "]");
    }

    /// The word at `index` if it is a text.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(Value::as_str)
    }
}

/// A list or tuple is a command; anything else comes back as it is.
impl TryFrom<Value> for Command {
    type Error = Value;

    fn try_from(value: Value) -> Result<Self, Value> {
        match value {
            Value::List(words) | Value::Tuple(words) => Ok(Self(words)),
            other => Err(other),
        }
    }
}

impl From<Command> for Value {
    fn from(command: Command) -> Self {
        Self::List(command.0)
    }
}

/// Prints the list as Python does; this is a line of `f2b-client -d`.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_repr(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_prints_as_a_python_list() {
        let mut command = Command::words(["set", "j"]);
        command.0.push(Value::Int(5));
        assert_eq!(command.to_string(), "['set', 'j', 5]");
        let sent = Value::from(command.clone());
        assert_eq!(Command::try_from(sent), Ok(command.clone()));
        assert_eq!(Command::try_from(Value::None), Err(Value::None));
        assert_eq!((command.word(1), command.word(2), command.word(9)), (Some("j"), None, None));
    }
}
