//! Bans in force (`banmanager.BanManager`).

use f2b_types::{Id, MAX_TIME, Ticket, Time};

use crate::ordered::Ordered;

/// What became of a ticket that was to be banned.
#[derive(Debug, Clone, PartialEq)]
pub enum Banned {
    /// It is banned now.
    New,
    /// It was banned already; here is the ban in force, prolonged if the new one would have lasted longer.
    Already(Box<Ticket>),
    /// The ban would be over already.
    Expired,
}

/// The list of bans with the jail's ban time.
#[derive(Debug)]
pub struct BanManager {
    tickets: Ordered,
    total: u64,
    next_unban: Time,
    /// Seconds of a ban whose ticket says nothing else: `bantime`.
    pub ban_time: f64,
}

impl Default for BanManager {
    fn default() -> Self {
        Self { tickets: Ordered::default(), total: 0, next_unban: MAX_TIME, ban_time: 600.0 }
    }
}

impl BanManager {
    /// Bans the id of `ticket`, unless it is banned already or the ban would be over by `now`.
    pub fn add(&mut self, mut ticket: Ticket, now: Time) -> Banned {
        let end = ticket.end_of_ban(self.ban_time);
        if end < now {
            return Banned::Expired;
        }
        if let Some(known) = self.tickets.get_mut(&ticket.id) {
            if end > known.end_of_ban(self.ban_time) {
                // The new ban ends later: the one in force takes over its end, counted from its own start.
                let seconds = ticket.duration_or(self.ban_time);
                let later = ticket.time_number() - known.time_number();
                let puts_off = seconds.as_f64() != -1.0 && later.as_f64() > 0.0;
                known.ban_time = Some(if puts_off { seconds + later } else { seconds });
            }
            return Banned::Already(Box::new(known.clone()));
        }
        ticket.ban_count = ticket.ban_count.saturating_add(1);
        self.total += 1;
        self.hasten(end);
        self.tickets.insert(ticket);
        Banned::New
    }

    /// The ban of `id`.
    pub fn get(&self, id: &Id) -> Option<&Ticket> {
        self.tickets.get(id)
    }

    /// Changes the ban of `id`.
    pub(crate) fn update(&mut self, id: &Id, change: impl FnOnce(&mut Ticket)) {
        if let Some(ticket) = self.tickets.get_mut(id) {
            change(ticket);
            let end = ticket.end_of_ban(self.ban_time);
            self.hasten(end);
        }
    }

    /// Ends the ban of `id` before its time.
    pub fn remove(&mut self, id: &Id) -> Option<Ticket> {
        self.tickets.remove(id)
    }

    /// Takes out the bans whose time is over.
    pub fn expired(&mut self, now: Time) -> Vec<Ticket> {
        if self.next_unban > now {
            return Vec::new();
        }
        let default = self.ban_time;
        let over = self.tickets.extract(|ticket| now > ticket.end_of_ban(default));
        let ends = self.tickets.iter().map(|ticket| ticket.end_of_ban(default));
        self.next_unban = ends.fold(MAX_TIME, |first, end| if end < first { end } else { first });
        over
    }

    /// Takes out everything.
    pub fn flush(&mut self) -> Vec<Ticket> {
        self.next_unban = MAX_TIME;
        self.tickets.extract(|_| true)
    }

    /// When the next ban may end; [`MAX_TIME`] where none does.
    pub fn next_unban(&self) -> Time {
        self.next_unban
    }

    /// Sets the ban time of the jail; bans in force that have none of their own follow it.
    pub fn set_ban_time(&mut self, seconds: f64) {
        self.ban_time = seconds;
        // Looks anew at the next tick.
        self.next_unban = Time(f64::MIN);
    }

    /// Whether `id` is banned.
    pub fn contains(&self, id: &Id) -> bool {
        self.tickets.contains(id)
    }

    /// Bans in force, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter()
    }

    /// Bans in force, those that end first first.
    pub fn by_end(&self) -> Vec<&Ticket> {
        let mut tickets: Vec<&Ticket> = self.tickets.iter().collect();
        tickets.sort_by(|a, b| a.end_of_ban(self.ban_time).0.total_cmp(&b.end_of_ban(self.ban_time).0));
        tickets
    }

    /// Number of bans in force.
    pub fn size(&self) -> usize {
        self.tickets.len()
    }

    /// Bans since the start.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn hasten(&mut self, end: Time) {
        if end < self.next_unban {
            self.next_unban = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::Number;

    use super::*;

    fn ticket(id: &str, time: f64) -> Ticket {
        Ticket::new(Id::parse(id), Time(time))
    }

    #[test]
    fn a_ban_ends_after_its_time_and_not_before() {
        let mut bans = BanManager::default();
        assert_eq!(bans.add(ticket("192.0.2.1", 1000.0), Time(1000.0)), Banned::New);
        assert_eq!(bans.next_unban(), Time(1600.0));
        assert!(bans.expired(Time(1600.0)).is_empty());
        assert_eq!(bans.expired(Time(1600.1)).len(), 1);
        assert_eq!((bans.size(), bans.total(), bans.next_unban()), (0, 1, MAX_TIME));
    }

    #[test]
    fn a_second_ban_prolongs_the_first() {
        let mut bans = BanManager::default();
        bans.add(ticket("192.0.2.1", 1000.0), Time(1000.0));
        let again = bans.add(ticket("192.0.2.1", 1100.0), Time(1100.0));
        let Banned::Already(known) = again else { panic!("{again:?}") };
        assert_eq!((known.time, known.ban_time), (Time(1000.0), Some(Number::Float(700.0))));
        assert!(bans.expired(Time(1650.0)).is_empty());
        assert_eq!(bans.expired(Time(1701.0)).len(), 1);
    }

    #[test]
    fn a_ban_that_is_over_is_none() {
        let mut bans = BanManager::default();
        assert_eq!(bans.add(ticket("192.0.2.1", 1000.0), Time(1601.0)), Banned::Expired);
        assert_eq!(bans.size(), 0);
    }

    #[test]
    fn bans_are_listed_by_their_end() {
        let mut bans = BanManager::default();
        for (id, seconds) in [("192.0.2.1", -1.0), ("192.0.2.2", 900.0), ("192.0.2.3", 60.0)] {
            let ticket = Ticket { ban_time: Some(Number::Float(seconds)), ..ticket(id, 1000.0) };
            bans.add(ticket, Time(1000.0));
        }
        let ids: Vec<String> = bans.by_end().iter().map(|t| t.id.to_string()).collect();
        assert_eq!(ids, ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
        assert_eq!(bans.flush().len(), 3);
    }
}
