//! The exceptions that commands end with, as the classes that Python's side raises.

use f2b_journal::JournalError;
use f2b_protocol::{Exception, Value};

/// A jail that isn't there.
pub(super) fn unknown_jail(name: &str) -> Exception {
    Exception::new("fail2ban.exceptions", "UnknownJailException", name)
}

/// A jail that isn't there, and can't be, since its name is no text.
pub(super) fn unknown_jail_value(name: Value) -> Exception {
    Exception { args: vec![name], ..unknown_jail("") }
}

/// A jail that is there already.
pub(super) fn duplicate_jail(name: &str) -> Exception {
    Exception::new("fail2ban.exceptions", "DuplicateJailException", name)
}

/// The class `Exception` itself.
pub(super) fn general(message: impl Into<String>) -> Exception {
    Exception::new("builtins", "Exception", message)
}

/// A wrong value.
pub(super) fn value_error(message: impl Into<String>) -> Exception {
    Exception::new("builtins", "ValueError", message)
}

/// A value of the wrong type.
pub(super) fn type_error(message: impl Into<String>) -> Exception {
    Exception::new("builtins", "TypeError", message)
}

/// A value that an expression can't be tried on.
pub(super) fn no_text(value: &Value) -> Exception {
    type_error(format!("expected string or bytes-like object, got '{}'", type_name(value)))
}

/// A value that lacks a method which only texts, or dictionaries, have.
pub(super) fn attribute_error(value: &Value, name: &str) -> Exception {
    let message = format!("'{}' object has no attribute '{name}'", type_name(value));
    Exception::new("builtins", "AttributeError", message)
}

/// Something that is not in a dictionary.
pub(super) fn key_error(key: impl Into<Value>) -> Exception {
    Exception { args: vec![key.into()], ..Exception::new("builtins", "KeyError", "") }
}

/// A message that is no list of words.
pub(super) fn no_command(message: &Value) -> Exception {
    match message {
        Value::Str(text) if !text.is_empty() => general("Invalid command"),
        Value::Bytes(bytes) if !bytes.is_empty() => general("Invalid command"),
        Value::Str(_) => Exception::new("builtins", "IndexError", "string index out of range"),
        Value::Bytes(_) => Exception::new("builtins", "IndexError", "index out of range"),
        Value::Dict(_) => key_error(0),
        other => type_error(format!("'{}' object is not subscriptable", type_name(other))),
    }
}

/// What Python calls the type of a value.
pub(super) fn type_name(value: &Value) -> &str {
    match value {
        Value::None => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Tuple(_) => "tuple",
        Value::Dict(_) => "dict",
        Value::Set(_) => "set",
        Value::Exception(exception) => &exception.class,
    }
}

/// Something that went wrong while the server ran.
pub(super) fn runtime_error(message: impl Into<String>) -> Exception {
    Exception::new("builtins", "RuntimeError", message)
}

/// A command with too few words.
pub(super) fn too_short() -> Exception {
    Exception::new("builtins", "IndexError", "list index out of range")
}

/// A file that can't be opened, as Python's `open` says it.
pub(super) fn os_error(error: &std::io::Error, path: &str) -> Exception {
    let class = match error.kind() {
        std::io::ErrorKind::NotFound => "FileNotFoundError",
        std::io::ErrorKind::PermissionDenied => "PermissionError",
        std::io::ErrorKind::IsADirectory => "IsADirectoryError",
        _ => "OSError",
    };
    let number = error.raw_os_error().unwrap_or(0);
    let text = nix::errno::Errno::from_raw(number).desc();
    let args = vec![Value::Int(number.into()), text.into(), path.into()];
    Exception { module: "builtins".into(), class: class.into(), args }
}

/// A journal that can't be opened.
pub(super) fn journal_error(error: &JournalError) -> Exception {
    match error {
        JournalError::System(error) => {
            let mut exception = os_error(error, "");
            exception.args.truncate(2);
            exception
        }
        other => value_error(other.to_string()),
    }
}

/// What the log shows of an exception: Python keeps the name of a file out of the arguments of an `OSError`, and puts those
/// of an error in JSON into words.
pub(super) fn shown(exception: &Exception) -> String {
    match exception.args.as_slice() {
        [Value::Str(text), Value::Str(json), Value::Int(at)] if exception.class == "JSONDecodeError" => {
            let before: Vec<char> = json.chars().take(usize::try_from(*at).unwrap_or(0)).collect();
            let line = before.iter().filter(|c| **c == '\n').count() + 1;
            let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
            let message = format!("{text}: line {line} column {column} (char {at})");
            Exception { args: vec![message.into()], ..exception.clone() }.to_string()
        }
        [number @ Value::Int(_), text, _] => {
            let args = vec![number.clone(), text.clone()];
            Exception { args, ..exception.clone() }.to_string()
        }
        _ => exception.to_string(),
    }
}

/// The database refuses.
pub(super) fn operational_error(message: impl Into<String>) -> Exception {
    Exception::new("sqlite3", "OperationalError", message)
}

/// A regular expression that doesn't compile or captures no id.
pub(super) fn regex_error(message: impl Into<String>) -> Exception {
    Exception::new("fail2ban.server.failregex", "RegexException", message)
}

/// An encoding that nobody knows.
pub(super) fn lookup_error(message: impl Into<String>) -> Exception {
    Exception::new("builtins", "LookupError", message)
}
