//! Failures that have not led to a ban yet (`failmanager.FailManager`).

use f2b_types::{Id, MatchedLine, Ticket, Time};

use crate::ordered::Ordered;

/// Counts failures by id within `findtime`.
#[derive(Debug)]
pub struct FailManager {
    tickets: Ordered,
    total: u64,
    /// Failures that lead to a ban.
    pub max_retry: i64,
    /// Seconds that a failure counts: `findtime`.
    pub max_time: f64,
    /// Lines kept with a ticket; none for 0.
    pub max_matches: i64,
}

impl Default for FailManager {
    fn default() -> Self {
        Self { tickets: Ordered::default(), total: 0, max_retry: 3, max_time: 600.0, max_matches: 5 }
    }
}

impl FailManager {
    /// Adds a failure that counts `count` times and returns how many its id has by now, and whether it was the first.
    pub fn add(&mut self, ticket: &Ticket, count: i64) -> (i64, bool) {
        self.total += 1;
        if let Some(retry) = self.extend(ticket, count, false) {
            return (retry, false);
        }
        let mut first = ticket.clone();
        if count > first.data.failures {
            first.set_retry(count);
        }
        let retry = first.retry;
        self.tickets.insert(first);
        (retry, true)
    }

    /// Counts a failure `count` times more because its id is known for earlier bans, unless it has led to a ban in the
    /// meantime. `opened` says that the failure was the first one of its id, so that its lines are there already;
    /// those of a later one are added once more, as upstream does, which also forgets `ban_count` with them.
    pub fn add_observed(&mut self, ticket: &Ticket, count: i64, opened: bool, ban_count: i64) -> Option<i64> {
        let retry = self.extend(ticket, count, opened)?;
        if let Some(known) = self.tickets.get_mut(&ticket.id).filter(|_| opened) {
            known.ban_count = known.ban_count.max(ban_count);
        }
        self.total += 1;
        Some(retry)
    }

    fn extend(&mut self, ticket: &Ticket, count: i64, same: bool) -> Option<i64> {
        let known = self.tickets.get_mut(&ticket.id)?;
        let attempts = if same { 1 } else { ticket.data.failures.max(1) };
        let keep = self.max_matches != 0 && !same;
        known.adjust_time(ticket, self.max_time);
        known.add(flat(if keep { &ticket.data.matches } else { &[] }), attempts, count);
        known.truncate_matches(self.max_matches);
        Some(known.retry)
    }

    /// Takes out the ticket of `id` if it has reached `maxretry`.
    pub fn to_ban(&mut self, id: &Id) -> Option<Ticket> {
        let due = self.tickets.get(id).is_some_and(|ticket| ticket.retry >= self.max_retry);
        if due { self.tickets.remove(id) } else { None }
    }

    /// Forgets failures whose last one is older than `findtime`.
    pub fn cleanup(&mut self, now: Time) {
        let limit = now - self.max_time;
        self.tickets.extract(|ticket| ticket.time <= limit);
    }

    /// Ids with failures.
    pub fn size(&self) -> usize {
        self.tickets.len()
    }

    /// Failures since the start.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// `id:count` of each id with failures, for the log.
    pub(crate) fn summary(&self) -> String {
        let counts: Vec<String> = self.tickets.iter().map(|t| format!("{}:{}", t.id, t.retry)).collect();
        counts.join(", ")
    }
}

/// Lines of a later failure are kept in one piece (`Ticket.getMatches`), those of the first one as they were split.
fn flat(lines: &[MatchedLine]) -> Vec<MatchedLine> {
    lines.iter().map(|line| MatchedLine::Whole(line.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use f2b_types::{FailData, Failure};

    use super::*;

    fn failure(id: &str, time: f64) -> Ticket {
        let data = FailData { matches: vec![format!("line {time}").as_str().into()], ..FailData::default() };
        Ticket::from_failure(Failure { id: Id::parse(id), time: Time(time), whole_time: false, data })
    }

    #[test]
    fn failures_within_findtime_add_up_to_a_ban() {
        let mut fails = FailManager::default();
        assert_eq!(fails.add(&failure("192.0.2.1", 1.0), 1), (1, true));
        assert_eq!(fails.add(&failure("192.0.2.2", 1.0), 1), (1, true));
        assert_eq!(fails.add(&failure("192.0.2.1", 2.0), 1), (2, false));
        assert_eq!(fails.to_ban(&Id::parse("192.0.2.1")), None);
        assert_eq!(fails.add(&failure("192.0.2.1", 3.0), 1), (3, false));
        let ticket = fails.to_ban(&Id::parse("192.0.2.1"));
        assert_eq!(ticket.map(|t| (t.retry, t.data.matches.len(), t.time)), Some((3, 3, Time(3.0))));
        assert_eq!((fails.size(), fails.total()), (1, 4));
        assert_eq!(fails.summary(), "192.0.2.2:1");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut fails = FailManager::default();
        fails.add(&failure("192.0.2.1", 1.0), 1);
        fails.add(&failure("192.0.2.2", 2.0), 1);
        fails.cleanup(Time(601.0));
        assert_eq!(fails.size(), 1);
        fails.cleanup(Time(602.0));
        assert_eq!(fails.size(), 0);
    }

    #[test]
    fn lines_are_bounded() {
        let mut fails = FailManager { max_matches: 2, ..FailManager::default() };
        for time in 1..=3 {
            fails.add(&failure("192.0.2.1", f64::from(time)), 1);
        }
        let ticket = fails.to_ban(&Id::parse("192.0.2.1"));
        assert_eq!(ticket.map(|t| t.data.matches), Some(vec!["line 2".into(), "line 3".into()]));
    }

    #[test]
    fn history_counts_only_while_failures_are_pending() {
        let mut fails = FailManager::default();
        let ticket = failure("192.0.2.1", 1.0);
        fails.add(&ticket, 1);
        assert_eq!(fails.add_observed(&ticket, 2, true, 1), Some(3));
        let banned = fails.to_ban(&ticket.id);
        assert_eq!(banned.map(|t| t.data.matches.len()), Some(1));
        assert_eq!(fails.add_observed(&ticket, 2, true, 1), None);
        assert_eq!(fails.size(), 0);
    }
}
