//! Failures of one id, counted, and the ban they led to.

use crate::{FailData, Failure, Id, MatchedLine, Number, Time};

/// The end of a ban that never ends (`Ticket.MAX_TIME`).
pub const MAX_TIME: Time = Time(0x7FFF_FFFF_FFFF_u64 as f64);

/// The failures of one id and, once it is banned, the ban (`ticket.FailTicket` and `BanTicket` in one).
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// Who.
    pub id: Id,
    /// Of the last failure; the ban counts from here.
    pub time: Time,
    /// Python has that time as a whole number, and prints it so.
    pub whole_time: bool,
    /// Of the first failure that still counts.
    pub first_time: Time,
    /// Failures that count towards `maxretry`; history of an id can raise it above `data.failures`.
    pub retry: i64,
    /// Seconds, −1 for ever; `None` until the ban gets a time other than the jail's.
    pub ban_time: Option<Number>,
    /// How often this id was banned, this time included.
    pub ban_count: i64,
    /// Came from the database, so that it isn't written there again.
    pub restored: bool,
    /// All actions have been run for it.
    pub banned: bool,
    /// The epoch of the jail's actions at the time of the ban; an older one means: ban again.
    pub ban_epoch: u64,
    /// What the lines said.
    pub data: FailData,
}

impl Ticket {
    /// A ticket without any failure, for a ban by hand.
    pub fn new(id: Id, time: Time) -> Self {
        Self {
            id,
            time,
            whole_time: false,
            first_time: time,
            retry: 0,
            ban_time: None,
            ban_count: 0,
            restored: false,
            banned: false,
            ban_epoch: 0,
            data: FailData::default(),
        }
    }

    /// The ticket that a first failure opens.
    pub fn from_failure(failure: Failure) -> Self {
        let mut ticket = Self::new(failure.id, failure.time);
        ticket.whole_time = failure.whole_time;
        ticket.retry = 1;
        ticket.data = failure.data;
        ticket
    }

    /// Its time as Python has it.
    pub fn time_number(&self) -> Number {
        if self.whole_time { Number::Int(self.time.0 as i64) } else { Number::Float(self.time.0) }
    }

    /// Seconds of this ban where `default` is the jail's `bantime`.
    pub fn ban_time_or(&self, default: f64) -> f64 {
        self.ban_time.map_or(default, Number::as_f64)
    }

    /// The same as Python has it.
    pub fn duration_or(&self, default: f64) -> Number {
        self.ban_time.unwrap_or(Number::Int(default as i64))
    }

    /// When the ban ends where `default` is the jail's `bantime`; [`MAX_TIME`] for ever.
    pub fn end_of_ban(&self, default: f64) -> Time {
        let seconds = self.ban_time_or(default);
        if seconds == -1.0 { MAX_TIME } else { self.time + seconds }
    }

    /// The address to act upon: the id, unless the failure named another one.
    pub fn ip(&self) -> &Id {
        self.data.ip.as_ref().unwrap_or(&self.id)
    }

    /// Moves the last failure to that of `later`. Where the first one is by then older than `max_time` seconds, the
    /// count is scaled to what the rate so far gives for that span (`FailTicket.adjustTime`).
    pub fn adjust_time(&mut self, later: &Self, max_time: f64) {
        let time = later.time;
        if time <= self.time {
            return;
        }
        if self.first_time < time - max_time {
            let scaled = self.retry as f64 / (time - self.first_time) * max_time;
            self.retry = scaled.round_ties_even() as i64;
            self.first_time = time - max_time;
        }
        (self.time, self.whole_time) = (time, later.whole_time);
    }

    /// Adds `count` towards `maxretry` and `attempts` to the failures, with their lines (`FailTicket.inc`).
    pub fn add(&mut self, lines: impl IntoIterator<Item = MatchedLine>, attempts: i64, count: i64) {
        self.retry += count;
        self.data.failures += attempts;
        self.data.matches.extend(lines);
    }

    /// Sets the count to an artificial value (`FailTicket.setRetry`).
    pub fn set_retry(&mut self, retry: i64) {
        self.retry = retry;
        if self.data.failures == 0 {
            self.data.failures = 1;
        }
        if retry == 0 {
            self.data.failures = 0;
            self.data.matches.clear();
        }
    }

    /// Keeps as many lines as [`surplus_matches`] leaves.
    pub fn truncate_matches(&mut self, max: i64) {
        let surplus = surplus_matches(self.data.matches.len(), max);
        self.data.matches.drain(..surplus);
    }
}

/// How many of the first lines go so that the last `max` are left. A negative number is, as in Python's `lines[-max:]`,
/// one of lines that go.
pub fn surplus_matches(lines: usize, max: i64) -> usize {
    let number = usize::try_from(max.unsigned_abs()).unwrap_or(usize::MAX);
    if max < 0 { number.min(lines) } else { lines.saturating_sub(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_left() {
        let surplus: Vec<usize> = [5, 3, 1, 0, -2, -9, i64::MIN].map(|max| surplus_matches(3, max)).into();
        assert_eq!(surplus, [0, 0, 2, 3, 2, 3, 3]);
    }

    fn ticket() -> Ticket {
        Ticket::from_failure(Failure {
            id: Id::parse("192.0.2.1"),
            time: Time(1000.0),
            whole_time: false,
            data: FailData::default(),
        })
    }

    #[test]
    fn old_failures_count_by_their_rate() {
        let mut ticket = ticket();
        let at = |time| Ticket::new(Id::parse("192.0.2.1"), Time(time));
        ticket.retry = 4;
        ticket.adjust_time(&at(1500.0), 600.0);
        assert_eq!((ticket.retry, ticket.first_time), (4, Time(1000.0)));
        ticket.adjust_time(&at(2000.0), 600.0);
        assert_eq!((ticket.retry, ticket.first_time, ticket.time), (2, Time(1400.0), Time(2000.0)));
        ticket.adjust_time(&at(1.0), 600.0);
        assert_eq!(ticket.time, Time(2000.0));
    }

    #[test]
    fn a_ban_of_minus_one_never_ends() {
        let mut ticket = ticket();
        assert_eq!(ticket.end_of_ban(600.0), Time(1600.0));
        ticket.ban_time = Some(Number::Int(-1));
        assert_eq!(ticket.end_of_ban(600.0), MAX_TIME);
    }

    #[test]
    fn lines_are_kept_up_to_a_bound() {
        let mut ticket = ticket();
        ticket.add(["a".into(), "b".into(), "c".into()], 1, 1);
        ticket.truncate_matches(2);
        assert_eq!(ticket.data.matches, ["b".into(), "c".into()]);
        ticket.truncate_matches(0);
        assert!(ticket.data.matches.is_empty());
    }
}
