//! Ten thousand random lives of a jail over made-up time. Whatever happens, in whatever order:
//!
//! - nobody is banned twice at once, and nobody is unbanned who is not banned;
//! - no ban ends by itself before its time, and none is in force after it;
//! - a restart brings back exactly the bans that were in force and, for all that the database knows, still are;
//! - the numbers that `status` shows add up.

use std::collections::{BTreeMap, VecDeque};

use f2b_jail::{Act, Effect, Event, History, Jail, Token};
use f2b_types::{FailData, Failure, Id, Level, Ticket, Time};
use fastrand::Rng;
use jiff::tz::TimeZone;

const LIVES: u64 = 10_000;
const EVENTS: usize = 30;
const BAN_TIME: f64 = 60.0;

/// A jail with its surroundings: a firewall that knows who is shut out until when, and a database.
struct World {
    seed: u64,
    rng: Rng,
    now: f64,
    jail: Jail,
    /// What has happened and not been told yet, as between threads.
    events: VecDeque<Event>,
    firewall: BTreeMap<Id, Time>,
    database: BTreeMap<Id, Ticket>,
    /// Bans that the actions have carried out since the start.
    carried_out: u64,
    /// Commands that wait for an answer.
    waiting: usize,
    /// Somebody ends bans by hand, so that they may end early.
    by_hand: bool,
    /// Somebody has done so since the start: bans that were decided may never have been carried out.
    was_by_hand: bool,
    increments: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let increments = rng.bool();
        let jail = jail(seed, increments, rng.i64(1..4));
        Self {
            seed,
            rng,
            now: 1_000_000.0,
            jail,
            events: VecDeque::new(),
            firewall: BTreeMap::new(),
            database: BTreeMap::new(),
            carried_out: 0,
            waiting: 0,
            by_hand: false,
            was_by_hand: false,
            increments,
        }
    }

    fn live(&mut self) {
        for number in 0..EVENTS {
            self.pass_time();
            match self.rng.u8(..20) {
                0..=11 => {
                    let (id, time) = (self.somebody(), self.some_time());
                    self.happen(Event::Found(Failure { id, time, data: FailData::default() }));
                }
                12..=13 => {
                    let (id, token) = (self.somebody(), self.token(number));
                    self.happen(Event::Attempt { id, lines: vec!["line".into()], token });
                }
                14..=15 => {
                    let ids = (0..self.rng.usize(1..4)).map(|_| self.somebody()).collect();
                    let token = self.token(number);
                    self.happen(Event::Ban { ids, token });
                }
                16..=17 => {
                    (self.by_hand, self.was_by_hand) = (true, true);
                    let ids = self.rng.bool().then(|| vec![self.somebody()]);
                    let token = self.token(number);
                    self.happen(Event::Unban { ids, report_absent: false, token });
                    self.settle();
                    self.by_hand = false;
                }
                18 => self.restart(),
                _ => self.happen(Event::Tick),
            }
            // Now and then the next thing happens before the last one is done with.
            if self.rng.u8(..3) > 0 {
                self.settle();
                self.check();
            }
        }
        self.settle();
        self.check();
        assert_eq!(self.waiting, 0, "seed {}: commands without an answer", self.seed);
    }

    fn somebody(&mut self) -> Id {
        Id::parse(&format!("192.0.2.{}", self.rng.u8(1..6)))
    }

    /// Mostly now, sometimes before, sometimes later than now.
    fn some_time(&mut self) -> Time {
        Time(self.now + [0.0, 0.0, 0.0, -1.0, -30.0, -700.0, 5.0][self.rng.usize(..7)])
    }

    fn token(&mut self, number: usize) -> Token {
        self.waiting += 1;
        Token(number as u64)
    }

    fn pass_time(&mut self) {
        let seconds = [0.0, 0.1, 1.0, 4.0, 20.0, 61.0, 300.0][self.rng.usize(..7)];
        // Nobody is that slow: a jail waits for its database for a quarter of a second.
        if seconds > 0.25 {
            self.settle();
        }
        self.now += seconds;
        self.meet_deadlines();
    }

    /// Ticks as the driver does: when the jail wants it.
    fn meet_deadlines(&mut self) {
        for _ in 0..1000 {
            if self.jail.next_deadline().is_none_or(|deadline| deadline.0 > self.now) {
                return;
            }
            self.happen(Event::Tick);
            self.settle();
        }
        panic!("seed {}: a deadline that never passes: {:?}", self.seed, self.jail.next_deadline());
    }

    fn happen(&mut self, event: Event) {
        let ends_by_itself = matches!(event, Event::Tick);
        for effect in self.jail.step(event, Time(self.now)) {
            self.carry_out(effect, ends_by_itself);
        }
    }

    /// The other threads catch up.
    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.happen(event);
        }
    }

    fn carry_out(&mut self, effect: Effect, ends_by_itself: bool) {
        match effect {
            Effect::AskHistory { asked, id, .. } => {
                let history = self
                    .database
                    .get(&id)
                    .map(|ticket| History { ban_count: ticket.ban_count, time_of_ban: ticket.time });
                self.events.push_back(Event::Told(asked, history));
            }
            Effect::Remember { ban, ticket } => {
                self.database.insert(ticket.id.clone(), *ticket);
                self.events.push_back(Event::Remembered(ban));
            }
            Effect::Forget(None) => self.database.clear(),
            Effect::Forget(Some(ids)) => ids.iter().for_each(|id| drop(self.database.remove(id))),
            Effect::Act(act) => self.act(act, ends_by_itself),
            Effect::Answer { .. } => self.waiting -= 1,
            Effect::Log(_) | Effect::AskCommand { .. } => {}
        }
    }

    fn act(&mut self, act: Act, ends_by_itself: bool) {
        let (seed, now) = (self.seed, self.now);
        let fail = |id: &Id, what: &str| -> ! { panic!("seed {seed}, at {now}: {id} {what}") };
        match act {
            Act::Ban(ticket) => {
                self.carried_out += 1;
                if self.firewall.insert(ticket.id.clone(), ticket.end_of_ban(BAN_TIME)).is_some() {
                    fail(&ticket.id, "is banned twice at once");
                }
            }
            Act::Prolong(ticket) => {
                let end = ticket.end_of_ban(BAN_TIME);
                match self.firewall.insert(ticket.id.clone(), end) {
                    None => fail(&ticket.id, "is prolonged without a ban"),
                    Some(before) if before > end => fail(&ticket.id, "gets a shorter ban"),
                    Some(_) => {}
                }
            }
            // A failure in between has put the end off.
            Act::Unban(ticket) => match self.firewall.remove(&ticket.id).map(|_| ticket.end_of_ban(BAN_TIME))
            {
                None => fail(&ticket.id, "is unbanned without a ban"),
                Some(end) if end.0 > now && !self.by_hand => fail(&ticket.id, "is unbanned too early"),
                Some(_) if !ends_by_itself && !self.by_hand => fail(&ticket.id, "is unbanned by nobody"),
                Some(_) => {}
            },
            Act::Flush(tickets) | Act::Stop(tickets) => {
                for ticket in tickets {
                    if self.firewall.remove(&ticket.id).is_none() {
                        fail(&ticket.id, "is flushed without a ban");
                    }
                }
                if let Some(id) = self.firewall.keys().next() {
                    fail(id, "is left behind");
                }
            }
            Act::Verify { ticket, .. } if !self.jail.bans.contains(&ticket.id) => {
                fail(&ticket.id, "is verified without a ban");
            }
            Act::Verify { .. } | Act::Banned { .. } | Act::Unbanned(_) => {}
        }
    }

    /// The jail stops and starts again: what is in force comes back, and nothing else.
    fn restart(&mut self) {
        self.settle();
        let mut before: Vec<Id> = self.firewall.keys().cloned().collect();
        let unknown: Vec<&Id> = before.iter().filter(|id| !self.database.contains_key(id)).collect();
        assert!(unknown.is_empty(), "seed {}: the database knows nothing of {unknown:?}", self.seed);
        self.happen(Event::Stop);
        self.settle();
        self.now += [0.0, 10.0, 61.0][self.rng.usize(..3)];
        // By its first end: that a failure has put it off is not in the database, as it isn't in upstream's.
        before.retain(|id| self.database[id].end_of_ban(BAN_TIME).0 > self.now);
        self.jail = jail(self.seed, self.increments, self.jail.fails.max_retry);
        (self.carried_out, self.was_by_hand) = (0, false);
        let in_force = self.database.values().filter(|ticket| ticket.end_of_ban(BAN_TIME).0 > self.now);
        let tickets = in_force.cloned().collect();
        self.happen(Event::Restore(tickets));
        self.settle();
        let after: Vec<Id> = self.firewall.keys().cloned().collect();
        assert_eq!(after, before, "seed {}: after a restart", self.seed);
    }

    /// What holds whenever all is quiet.
    fn check(&mut self) {
        let (seed, counts) = (self.seed, self.jail.counts());
        let mut known: Vec<&Id> = self.jail.bans.iter().map(|ticket| &ticket.id).collect();
        known.sort();
        let shut_out: Vec<&Id> = self.firewall.keys().collect();
        assert_eq!(known, shut_out, "seed {seed}: what the jail knows and what the firewall does");
        assert_eq!(counts.banned, shut_out.len(), "seed {seed}: banned");
        let adds_up = counts.banned_total == self.carried_out || self.was_by_hand;
        assert!(
            adds_up && counts.banned_total >= self.carried_out,
            "seed {seed}: {counts:?}, {}",
            self.carried_out
        );
        assert!(counts.found as u64 <= counts.found_total, "seed {seed}: found");
        for ticket in self.jail.bans.iter() {
            let (id, end) = (&ticket.id, ticket.end_of_ban(BAN_TIME));
            assert!(end.0 + 1.0 > self.now, "seed {seed}: {id} is banned beyond {end:?}, at {}", self.now);
        }
    }
}

fn jail(seed: u64, increments: bool, max_retry: i64) -> Jail {
    let mut jail = Jail::new("simulated", TimeZone::UTC, seed);
    (jail.has_database, jail.log_level) = (true, Level::CRITICAL);
    jail.bans.set_ban_time(BAN_TIME);
    jail.fails.max_retry = max_retry;
    jail.ignore.ignore_self = false;
    if increments {
        for (option, value) in [("increment", "true"), ("rndtime", "7"), ("maxtime", "1h")] {
            jail.increment.set(option, value).expect("an option");
        }
    }
    jail
}

#[test]
fn bans_come_once_last_their_time_and_survive() {
    let seeds = match std::env::var("F2B_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..LIVES,
    };
    for seed in seeds {
        World::new(seed).live();
    }
}
