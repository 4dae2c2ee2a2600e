//! What goes into a jail and what comes out of it.

use std::collections::HashMap;

use f2b_types::{Failure, Id, Record, Ticket, Time};

use crate::Counts;

/// Names a command that waits for its answer; the driver gives it in and gets it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What the database knows of an id's earlier bans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct History {
    /// Number of bans.
    pub ban_count: i64,
    /// When the last one began.
    pub time_of_ban: Time,
}

/// Why history was asked for; comes back with the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A failure may count more than once.
    Failure {
        /// The failure, which has been counted once.
        ticket: Box<Ticket>,
        /// It was the first one of its id.
        opened: bool,
    },
    /// A ban may last longer. The number names the ban.
    Ban(u64),
}

/// The addresses of host names.
pub type Names = HashMap<Box<str>, Vec<Id>>;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A line matched.
    Found(Failure),
    /// Somebody reports a failure by hand, with lines that prove it (`set J attempt`).
    Attempt {
        /// Who failed.
        id: Id,
        /// The lines, each of which counts.
        lines: Vec<String>,
        /// Waits for 1, or 0 where the id is ignored.
        token: Token,
    },
    /// Somebody bans by hand (`set J banip`).
    Ban {
        /// Whom.
        ids: Vec<Id>,
        /// Waits for the number of new bans.
        token: Token,
    },
    /// Somebody ends bans by hand (`set J unbanip`, `unban`).
    Unban {
        /// Whom, with the words as they were typed; everybody where there is no list.
        ids: Option<Vec<Id>>,
        /// What stands for whom of the words that are host names.
        names: Names,
        /// An id that isn't banned is an error.
        report_absent: bool,
        /// Waits for the number of bans that ended.
        token: Token,
    },
    /// The database had these bans in force when the jail started.
    Restore(Vec<Ticket>),
    /// The answer to [`Effect::AskHistory`]: nothing for an id that was never banned.
    Told(Asked, Option<History>),
    /// The answer to [`Effect::AskCommand`].
    Judged {
        /// The number of the question.
        question: u64,
        /// The id is to be ignored.
        ignored: bool,
        /// The answer was known from an earlier question, so that it is nothing to log.
        known: bool,
    },
    /// The ban of this number is in the database (or the database has failed, and the ban goes on without it).
    Remembered(u64),
    /// A deadline has come, see [`crate::Jail::next_deadline`].
    Tick,
    /// The jail stops: every ban in force is taken back from the firewall, not from the database.
    Stop,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write to the log.
    Log(Record),
    /// Look up the history of an id and come back with [`Event::Told`].
    AskHistory {
        /// To be handed back.
        asked: Asked,
        /// Whose history.
        id: Id,
        /// Of all jails, not only of this one.
        overall: bool,
    },
    /// Ask the command of `ignorecommand` about an id and come back with [`Event::Judged`]. Failures count in the order of
    /// the questions, whatever the order of the answers.
    AskCommand {
        /// The number to come back with.
        question: u64,
        /// The failure or the ban that it is about.
        ticket: Box<Ticket>,
    },
    /// Put the ban into the database and come back with [`Event::Remembered`].
    Remember {
        /// The number to come back with.
        ban: u64,
        /// The ban.
        ticket: Box<Ticket>,
    },
    /// Delete bans from the database; all of the jail where there is no list.
    Forget(Option<Vec<Id>>),
    /// Let the actions do something, in the order in which the effects come.
    Act(Act),
    /// Answer a command, once all actions before this effect are done.
    Answer {
        /// Which command.
        token: Token,
        /// The number to answer, or the text of the error.
        result: Result<i64, String>,
    },
}

/// Work for the actions of the jail.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Ban it (`actionban`).
    Ban {
        /// The ban.
        ticket: Box<Ticket>,
        /// The numbers of the jail with this ban and without those behind it.
        counts: Counts,
    },
    /// It failed again though it is banned: repeat the ban where it has got lost (`actionreban`).
    Verify {
        /// The ban.
        ticket: Box<Ticket>,
        /// It is old enough for wondering: see whether the firewall is in order first (`actioncheck`).
        check: bool,
        /// The command that bans again; a ban that is repeated counts for it.
        token: Option<Token>,
    },
    /// So many bans have been carried out, and those repeated for the same command besides.
    Banned {
        /// The new ones.
        count: i64,
        /// The command, if there is one.
        token: Option<Token>,
    },
    /// Its ban got longer (`actionprolong`).
    Prolong(Box<Ticket>),
    /// Its ban is over (`actionunban`).
    Unban {
        /// The ban.
        ticket: Box<Ticket>,
        /// Somebody wants it so and waits, rather than its time having run out.
        by_hand: bool,
    },
    /// So many bans have run out and been taken back.
    Unbanned(usize),
    /// All of these bans are over (`actionflush`, or each by itself).
    Flush(Vec<Ticket>),
    /// The jail stops: these bans are taken back, then the actions stop (`actionstop`).
    Stop(Vec<Ticket>),
}
