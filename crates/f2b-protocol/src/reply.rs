//! What the server answers.
//!
//! `transmitter.Transmitter.proceed` answers with a pair, `(0, value)` or `(1, exception)`. Two answers stand outside
//! of that: a plain text for a message that did not load, and `['SHUTDOWN']` while the server stops
//! (`asyncserver.RequestHandler.found_terminator`).

use std::error::Error;
use std::fmt;

use crate::{Exception, Value};

/// The outcome of a command.
pub type Reply = Result<Value, Exception>;

/// An answer that is no outcome of a command.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The server could not read the message; its text begins with `ERROR: `.
    Refused(String),
    /// The server is on its way down.
    Stopping,
    /// Something that no server sends.
    Malformed(Value),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => write!(f, "the server could not read the command: {text}"),
            Self::Stopping => f.write_str("the server is shutting down"),
            Self::Malformed(value) => {
                let mut text = value.to_string();
                if text.len() > 200 {
                    text = text.chars().take(200).chain(['…']).collect();
                }
                write!(f, "unexpected reply of the server: {text}")
            }
        }
    }
}

impl Error for ReplyError {}

/// The reply as it travels.
pub fn reply_into_value(reply: Reply) -> Value {
    Value::Tuple(match reply {
        Ok(value) => vec![Value::Int(0), value],
        Err(exception) => vec![Value::Int(1), exception.into()],
    })
}

/// Reads what has travelled.
///
/// # Errors
///
/// [`ReplyError`] for the answers that carry no outcome.
pub fn reply_from_value(value: Value) -> Result<Reply, ReplyError> {
    match value {
        Value::Tuple(mut items) | Value::List(mut items) if items.len() == 2 => {
            match (items.pop(), items.pop()) {
                (Some(value), Some(Value::Int(0))) => Ok(Ok(value)),
                (Some(Value::Exception(exception)), Some(_)) => Ok(Err(*exception)),
                (second, first) => {
                    Err(ReplyError::Malformed(Value::Tuple(first.into_iter().chain(second).collect())))
                }
            }
        }
        Value::Str(text) => Err(ReplyError::Refused(text.into())),
        Value::List(items) if items == [Value::from("SHUTDOWN")] => Err(ReplyError::Stopping),
        other => Err(ReplyError::Malformed(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Value, expected: Result<Reply, ReplyError>) {
        assert_eq!(reply_from_value(value), expected);
    }

    #[test]
    fn outcomes_travel_as_pairs() {
        let exception = Exception::new("fail2ban.exceptions", "UnknownJailException", "x");
        for reply in [Ok(Value::None), Ok("pong".into()), Err(exception)] {
            check(reply_into_value(reply.clone()), Ok(reply));
        }
    }

    #[test]
    fn answers_without_an_outcome_are_errors() {
        check("ERROR: x".into(), Err(ReplyError::Refused("ERROR: x".into())));
        check(Value::strings(["SHUTDOWN"]), Err(ReplyError::Stopping));
        for value in [Value::None, Value::Tuple(vec![1.into(), 2.into()]), Value::Tuple(vec![])] {
            check(value.clone(), Err(ReplyError::Malformed(value)));
        }
    }
}
