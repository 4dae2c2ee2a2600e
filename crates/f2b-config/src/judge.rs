//! What reading can't tell by itself: whether an expression compiles, whether a log file opens.
//!
//! Upstream finds such things out in the server, in the middle of setting the jails up, and then has none of them. Whoever
//! knows the other side of the commands can look through those of a jail beforehand; the place of the fault in the files is
//! known here.

use std::fmt;

use f2b_protocol::Command;

/// Looks through the commands that set a jail up.
pub trait Judge: fmt::Debug + Sync {
    /// The faults of the commands of one jail, in their order.
    fn judge(&self, commands: &[Command]) -> Vec<Fault>;

    /// Whether `<tag>` means something to a filter or to an action when it runs.
    fn knows_tag(&self, user: TagUser, tag: &str) -> bool;
}

/// Who meets a tag that the configuration has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagUser {
    /// An expression: `<HOST>`.
    Filter,
    /// A command: `<ip>`.
    Action,
}

/// A value that a server would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The option that has it: `failregex`, `logpath`.
    pub option: String,
    /// The value, or the part of it that is wrong.
    pub text: String,
    /// What is wrong, in words for the log.
    pub message: String,
}
