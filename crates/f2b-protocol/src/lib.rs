//! What travels between client and server, without any I/O.
//!
//! A client sends a [`Command`], the server answers with a [`Reply`]; both are Python [`Value`]s on the wire, pickled
//! and ended by a terminator. Configuration speaks the same language: what is read from files becomes a stream of
//! commands, `f2b-client -d` prints that stream, and the server executes it.
//!
//! | part | what it does | upstream's counterpart |
//! |---|---|---|
//! | [`Value`], [`Exception`] | Python's data, printed as Python prints it | `repr` |
//! | [`pickle`] | values to bytes and back, as data only | `pickle.dumps`, `pickle.loads` |
//! | [`frame`] | finds the ends of messages in a stream | `asyncserver.RequestHandler`, `CSPROTO` |
//! | [`Command`], [`Reply`] | the two kinds of message | `transmitter.Transmitter.proceed` |

mod command;
pub mod frame;
pub mod pickle;
mod reply;
mod repr;
mod value;

pub use crate::command::Command;
pub use crate::reply::{Reply, ReplyError, reply_from_value, reply_into_value};
pub use crate::value::{Exception, Value};
