//! The exceptions that commands end with, as the classes that Python's side raises.

use f2b_protocol::{Exception, Value};

/// A jail that isn't there.
pub(super) fn unknown_jail(name: &str) -> Exception {
    Exception::new("fail2ban.exceptions", "UnknownJailException", name)
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
