//! The nouns that every part of f2b shares.
//!
//! | type | what it is | upstream's counterpart |
//! |---|---|---|
//! | [`Id`] | what gets banned: an address, a subnet or any text | `ipdns.IPAddr` |
//! | [`Time`] | a moment, in seconds since the epoch | the float of `MyTime.time()` |
//! | [`Number`] | an integer or a float, as Python keeps them apart | `int`, `float` |
//! | [`int`] | a whole number as Python reads it, `1_000` | `int()` |
//! | [`str2seconds`], [`seconds2str`] | `1d12h` and back | `mytime.MyTime` |
//! | [`Failure`], [`FailData`] | what a matching line says | the data of `ticket.FailTicket` |
//! | [`Ticket`] | failures of one id, counted, and the ban they led to | `ticket.FailTicket`, `BanTicket` |
//! | [`Level`], [`Record`], [`Log`] | one line for the log | Python's `logging` |
//!
//! Nothing in here does any I/O or reads a clock.

mod duration;
mod failure;
mod id;
mod log;
mod number;
mod ticket;
mod time;

pub use crate::duration::{DurationError, seconds2str, str2seconds};
pub use crate::failure::{FailData, Failure, Fields, MatchedLine};
pub use crate::id::{Family, Id, MaskError};
pub use crate::log::{Level, Log, Record, Recorder};
pub use crate::number::{Number, int};
pub use crate::ticket::{MAX_TIME, Ticket, surplus_matches};
pub use crate::time::{Time, local_time, time2str};

/// The release of fail2ban whose behaviour this project answers to.
pub const COMPAT_VERSION: &str = "1.1.1";

/// Whether a text switches something on (`helpers._as_bool`).
pub fn is_on(text: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// What `-V` and the command `version` answer: tools compare the front part, people read the rest.
pub const VERSION: &str = concat!("1.1.1", "+f2b.", env!("CARGO_PKG_VERSION"));
