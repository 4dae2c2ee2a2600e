//! What the actions of a jail work with: everything that is passed in because it is somebody else's.

use f2b_types::{Id, Log, Ticket, Time};

use crate::info::{EarlierBans, JailCounts, JailInfo};
use crate::names::Names;
use crate::shell::Runner;

/// The surroundings of the actions at one moment.
pub struct Context<'a> {
    /// Now.
    pub now: Time,
    /// The jail's `bantime` in seconds.
    pub ban_time: f64,
    /// The jail's counters.
    pub counts: JailCounts,
    /// IPv6 is in use on this host, so that an action which tells families apart starts for both.
    pub ipv6: bool,
    /// Runs the commands.
    pub shell: &'a dyn Runner,
    /// Knows host names.
    pub names: &'a dyn Names,
    /// Knows earlier bans; `None` without a database.
    pub earlier: Option<&'a dyn EarlierBans>,
    /// Takes the log.
    pub log: &'a dyn Log,
}

impl Context<'_> {
    pub(crate) fn jail<'a>(&'a self, name: &'a str) -> JailInfo<'a> {
        JailInfo {
            name,
            ban_time: self.ban_time,
            counts: self.counts,
            earlier: self.earlier,
            names: self.names,
            log: self.log,
        }
    }

    /// Stands for the ban where a command is about none.
    pub(crate) fn empty_ticket(&self) -> Ticket {
        Ticket::new(Id::raw(""), self.now)
    }
}
