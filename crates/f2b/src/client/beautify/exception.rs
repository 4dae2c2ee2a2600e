//! Exceptions as Python prints them.

use f2b_protocol::{Exception, Value};

/// The classes of `OSError`, which keep the name of a file out of their arguments.
const OS_ERRORS: &[&str] = &[
    "BlockingIOError",
    "BrokenPipeError",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "EnvironmentError",
    "FileExistsError",
    "FileNotFoundError",
    "IOError",
    "InterruptedError",
    "IsADirectoryError",
    "NotADirectoryError",
    "OSError",
    "PermissionError",
    "ProcessLookupError",
    "TimeoutError",
];

/// `args` of the instance that Python makes of what was sent.
pub(crate) fn args(exception: &Exception) -> Vec<Value> {
    match exception.args.as_slice() {
        [number, text, _file] if is_os_error(exception) => vec![number.clone(), text.clone()],
        [..] if exception.class == "JSONDecodeError" => vec![json_error(exception).into()],
        args => args.to_vec(),
    }
}

/// `str()` of the exception.
pub(super) fn text(exception: &Exception) -> String {
    match exception.args.as_slice() {
        [number, text] if is_os_error(exception) => {
            format!("[Errno {}] {}", number.to_text(), text.to_text())
        }
        [number, text, file] if is_os_error(exception) => {
            format!("[Errno {}] {}: {file}", number.to_text(), text.to_text())
        }
        _ if exception.class == "JSONDecodeError" => json_error(exception),
        [message, Value::Tuple(place)] if exception.class == "SyntaxError" => match place.as_slice() {
            [file, line, ..] => format!("{} ({}, line {line})", message.to_text(), file.to_text()),
            _ => message.to_text(),
        },
        [] => String::new(),
        [key] if exception.class == "KeyError" => key.to_string(),
        [one] => one.to_text(),
        many => Value::Tuple(many.to_vec()).to_string(),
    }
}

fn is_os_error(exception: &Exception) -> bool {
    exception.module == "builtins" && OS_ERRORS.contains(&exception.class.as_str())
}

/// The place is counted from what was to be read.
fn json_error(exception: &Exception) -> String {
    let [message, Value::Str(document), Value::Int(position)] = exception.args.as_slice() else {
        return exception.args.first().map(Value::to_text).unwrap_or_default();
    };
    let before: Vec<char> = document.chars().take(usize::try_from(*position).unwrap_or(0)).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    format!("{}: line {line} column {column} (char {position})", message.to_text())
}
