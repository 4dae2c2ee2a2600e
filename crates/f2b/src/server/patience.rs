//! How long a ban waits for the database: not long.
//!
//! A ban goes through the database before it is announced, twice if its history counts. A database that somebody else has
//! locked (a backup, `VACUUM` from cron) must not keep the firewall open: after a while the ban goes on without the answer.
//! It is written as soon as the database can be written again.

use std::collections::{HashSet, VecDeque};

use f2b_jail::{Asked, Event};
use f2b_types::Time;

use super::JailKey;

/// Seconds that a ban waits for each answer.
const PATIENCE: f64 = 0.25;

/// What a ban waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Its history.
    History,
    /// That it is written.
    Record,
}

/// An answer that a ban of a jail waits for.
pub(super) type Awaited = (JailKey, Step, u64);

/// The answers that are waited for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    open: HashSet<Awaited>,
    /// In the order in which the waiting ends.
    ends: VecDeque<(Time, Awaited)>,
}

impl Patience {
    /// Somebody begins to wait.
    pub(super) fn begin(&mut self, awaited: Awaited, now: Time) {
        self.open.insert(awaited);
        self.ends.push_back((now + PATIENCE, awaited));
    }

    /// The answer has come; false if nobody waits for it any more.
    pub(super) fn end(&mut self, awaited: Awaited) -> bool {
        let waited = self.open.remove(&awaited);
        while self.ends.front().is_some_and(|(_, first)| !self.open.contains(first)) {
            self.ends.pop_front();
        }
        waited
    }

    /// When the next wait is over.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.ends.front().map(|(time, _)| *time)
    }

    /// Somebody who has waited long enough, and how to go on without the answer.
    pub(super) fn overdue(&mut self, now: Time) -> Option<(JailKey, Event)> {
        let (_, awaited) = *self.ends.front().filter(|(time, _)| *time <= now)?;
        self.end(awaited);
        let (jail, step, ban) = awaited;
        Some(match step {
            Step::History => (jail, Event::Told(Asked::Ban(ban), None)),
            Step::Record => (jail, Event::Remembered(ban)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_time_end_the_waiting_and_late_ones_are_not_heard() {
        let mut patience = Patience::default();
        let (first, second) = ((JailKey(1), Step::Record, 7), (JailKey(1), Step::History, 8));
        patience.begin(first, Time(100.0));
        patience.begin(second, Time(100.125));
        assert!(patience.end(first));
        assert_eq!(patience.next_end(), Some(Time(100.375)));
        assert_eq!(patience.overdue(Time(100.25)), None);
        assert_eq!(patience.overdue(Time(100.375)), Some((JailKey(1), Event::Told(Asked::Ban(8), None))));
        assert!(!patience.end(second));
        assert_eq!((patience.next_end(), patience.overdue(Time(200.0))), (None, None));
    }
}
