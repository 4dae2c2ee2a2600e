//! The server: follows logs, decides, acts, answers.
//!
//! ```text
//!            socket thread ── one thread a client ──┐ commands            ┌─► database thread
//!                                                   ▼                     │    (bans, history, positions)
//!  log files ─► reader thread ── failures ───► core thread ── effects ────┼─► worker thread of each jail
//!               (watch, decode, match)         (jails, decisions)         │    (shell actions, in order)
//!                     ▲                             │                     └─► the log
//!                     └───── filters, files ────────┘
//! ```
//!
//! Each piece of state has one owner, and threads talk in messages of one closed enum each. Nobody ever blocks on
//! sending. What bounds the queues is the backlog of each jail: the reader leaves the lines of a jail in their file
//! while too many of its failures and bans are on their way.

mod agenda;
mod core;
mod cymru;
mod database;
mod descriptors;
mod errors;
mod fifo;
mod first_line;
mod generations;
mod group;
mod ignorer;
mod ipv6;
mod jail_options;
mod jails;
mod journal;
mod journal_match;
mod lifecycle;
mod listener;
mod lists;
mod log_file;
mod notify;
mod options;
mod patience;
mod places;
mod reader;
mod reading;
mod refusal;
mod reload;
mod resolver;
mod retired;
mod run;
mod seek;
mod source;
mod status;
mod tail;
mod transmitter;
mod trial;
mod ways;
mod words;
mod worker;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};

use f2b_jail::{Asked, History, IdSet, ListSource, Names};
use f2b_protocol::{Command, Reply};
use f2b_types::{Failure, Id};

pub use self::run::run;

/// Names a jail for as long as it lives; a jail that is added again under the same name gets another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JailKey(u64);

/// What the core thread hears.
pub(crate) enum Msg {
    /// A client wants something.
    Command { command: Command, answer: SyncSender<Reply> },
    /// A client wants bans to end; what is a host name has been looked up.
    Unban { unbanning: Unbanning, answer: Option<SyncSender<Reply>> },
    /// A line of a jail matched.
    Found { jail: JailKey, failure: Failure, uncounted: Uncounted },
    /// An ignored host name was looked up.
    Resolved { jail: JailKey, name: String, addresses: Vec<Id> },
    /// Who is in an ignored list now.
    Listed { jail: JailKey, list: ListSource, set: Arc<IdSet> },
    /// The command of `ignorecommand` has answered.
    Judged { jail: JailKey, question: u64, ignored: bool, known: bool },
    /// The database answers what a jail asked.
    Told { jail: JailKey, asked: Asked, history: Option<History> },
    /// The database has a ban.
    Remembered { jail: JailKey, ban: u64 },
    /// An action of a jail has repaired its environment.
    Repaired { jail: JailKey },
    /// The reader has come this far in a log; what it found before stands in front of this.
    ReadUpTo(database::Ask),
    /// The reader has heard what it was told of a jail.
    Settled { jail: JailKey },
    /// The worker of a jail has stopped its actions and is gone.
    Stopped { jail: JailKey },
    /// A signal has come.
    Signal(i32),
    /// The server's own command stream could not be executed as a whole.
    Misconfigured,
}

/// Bans that are to end.
pub(crate) struct Unbanning {
    /// Where; in all jails if there is none.
    jail: Option<String>,
    /// Whose; everybody's if there is no list.
    ids: Option<Vec<Id>>,
    /// The addresses of host names among them.
    names: Names,
    /// Somebody who is not banned is an error.
    report_absent: bool,
}

/// Counts what is on its way for one jail, between the reader and the last action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// As many failures and bans as this may be on their way before the reader waits.
    const LIMIT: usize = 1000;

    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::LIMIT
    }
}

/// Goes with a failure from its line to where it counts: for as long as somebody has one of these, the line would have to be
/// read again after a restart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uncounted(Arc<()>);

/// Tells whether failures of a line count.
#[derive(Debug)]
pub(crate) struct Outcome(Weak<()>);

impl Uncounted {
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome(Arc::downgrade(&self.0))
    }
}

impl Outcome {
    /// All of them do, or have been found to be none.
    pub(crate) fn is_known(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The name of a thread that works for a jail. There is no NUL in it, at which the library would panic.
fn thread_name(kind: char, jail: &str) -> String {
    format!("f2b/{kind}.{jail}").replace('\0', "?")
}
