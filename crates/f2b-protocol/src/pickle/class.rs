//! The closed table of names that a pickle may mention.

/// What a known name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `set(items)`: how sets travel below protocol 4.
    Set,
    /// `str(text)`: what an `IPAddr` of upstream reduces to.
    Str,
    /// `bytes()`: empty bytes below protocol 3.
    Bytes,
    /// `_codecs.encode(text, 'latin1')`: other bytes below protocol 3.
    Latin1,
    /// An exception: module and name as Python 3 has them.
    Exception(&'static str, &'static str),
}

/// Looks a name up. Python 2's names of modules mean Python 3's.
pub(super) fn find(module: &str, name: &str) -> Option<Class> {
    let module = match module {
        "__builtin__" | "exceptions" => "builtins",
        other => other,
    };
    match (module, name) {
        ("builtins", "set" | "frozenset") => Some(Class::Set),
        ("builtins", "str" | "unicode") => Some(Class::Str),
        ("builtins", "bytes") => Some(Class::Bytes),
        ("_codecs", "encode") => Some(Class::Latin1),
        _ => EXCEPTIONS.iter().find(|(known, _)| *known == module).and_then(|(module, names)| {
            names.iter().find(|known| **known == name).map(|name| Class::Exception(module, name))
        }),
    }
}

/// The exceptions that upstream's server raises itself, and those that Python raises below it.
const EXCEPTIONS: &[(&str, &[&str])] = &[
    ("fail2ban.exceptions", &["DuplicateJailException", "UnknownJailException"]),
    ("fail2ban.server.failregex", &["RegexException"]),
    ("fail2ban.server.server", &["ServerInitializationError"]),
    ("fail2ban.server.asyncserver", &["AsyncServerException"]),
    ("json.decoder", &["JSONDecodeError"]),
    ("re", &["error", "PatternError"]),
    ("sre_constants", &["error"]),
    ("re._constants", &["error"]),
    ("socket", &["gaierror", "herror", "timeout"]),
    (
        "sqlite3",
        &[
            "DataError",
            "DatabaseError",
            "Error",
            "IntegrityError",
            "InterfaceError",
            "InternalError",
            "NotSupportedError",
            "OperationalError",
            "ProgrammingError",
            "Warning",
        ],
    ),
    ("subprocess", &["CalledProcessError", "SubprocessError", "TimeoutExpired"]),
    (
        "builtins",
        &[
            "ArithmeticError",
            "AssertionError",
            "AttributeError",
            "BaseException",
            "BlockingIOError",
            "BrokenPipeError",
            "BufferError",
            "ChildProcessError",
            "ConnectionAbortedError",
            "ConnectionError",
            "ConnectionRefusedError",
            "ConnectionResetError",
            "DeprecationWarning",
            "EOFError",
            "EnvironmentError",
            "Exception",
            "FileExistsError",
            "FileNotFoundError",
            "FloatingPointError",
            "FutureWarning",
            "GeneratorExit",
            "IOError",
            "ImportError",
            "IndentationError",
            "IndexError",
            "InterruptedError",
            "IsADirectoryError",
            "KeyError",
            "KeyboardInterrupt",
            "LookupError",
            "MemoryError",
            "ModuleNotFoundError",
            "NameError",
            "NotADirectoryError",
            "NotImplementedError",
            "OSError",
            "OverflowError",
            "PendingDeprecationWarning",
            "PermissionError",
            "ProcessLookupError",
            "RecursionError",
            "ReferenceError",
            "ResourceWarning",
            "RuntimeError",
            "RuntimeWarning",
            "StopAsyncIteration",
            "StopIteration",
            "SyntaxError",
            "SyntaxWarning",
            "SystemError",
            "SystemExit",
            "TabError",
            "TimeoutError",
            "TypeError",
            "UnboundLocalError",
            "UnicodeDecodeError",
            "UnicodeEncodeError",
            "UnicodeError",
            "UnicodeTranslateError",
            "UnicodeWarning",
            "UserWarning",
            "ValueError",
            "Warning",
            "ZeroDivisionError",
        ],
    ),
];
