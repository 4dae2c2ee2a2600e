//! What travels between client and server, without any I/O.
//!
//! A client sends a [`Command`], the server answers with a [`Reply`]; both are Python [`Value`]s on the wire, pickled
//! and ended by a terminator. Configuration speaks the same language: what is read from files becomes a stream of
//! commands, `f2b-client -d` prints that stream, and the server executes it.

mod command;
mod value;

pub use crate::command::Command;
pub use crate::value::{Exception, Value};
