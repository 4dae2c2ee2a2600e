//! Lives a life with f2b's jail, and watches over it.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use f2b_jail::{Act, Effect, Event, History, Jail, Names, Token};
use f2b_store::{CurrentBans, NewBan, Store};
use f2b_types::{FailData, Failure, Id, Level, Recorder, Ticket, Time};
use jiff::tz::TimeZone;

use crate::life::{Happening, Life};

/// When every life begins.
pub(crate) const BEGIN: f64 = 1_000_000.0;

/// The name of the jail, and that of another one whose bans may count.
const NAME: &str = "simulated";
const OTHER: &str = "other";

/// A jail with its surroundings: a firewall that knows who is shut out until when, and a database.
pub(crate) struct World<'a> {
    life: &'a Life,
    now: f64,
    jail: Jail,
    database: Store,
    /// What has happened and not been told yet, as between threads.
    events: VecDeque<Event>,
    firewall: BTreeMap<Id, Time>,
    /// Bans that the actions have carried out since the start.
    carried_out: u64,
    /// Commands that wait for an answer.
    waiting: usize,
    next_token: u64,
    /// Somebody ends bans by hand, so that they may end early.
    by_hand: bool,
    /// Somebody has done so since the start: bans that were decided may never have been carried out.
    was_by_hand: bool,
    /// What has been decided in each moment: acts and answers in their order, then the lines of the log.
    pub(crate) decisions: Vec<Vec<String>>,
    acts: Vec<String>,
    lines: Vec<String>,
}

impl<'a> World<'a> {
    pub(crate) fn new(life: &'a Life) -> Self {
        let mut world = Self {
            life,
            now: BEGIN,
            jail: jail(life),
            database: database(life),
            events: VecDeque::new(),
            firewall: BTreeMap::new(),
            carried_out: 0,
            waiting: 0,
            next_token: 0,
            by_hand: false,
            was_by_hand: false,
            decisions: Vec::new(),
            acts: Vec::new(),
            lines: Vec::new(),
        };
        world.jail.log_level = Level::INFO;
        world
    }

    /// From the first moment to the last; with `hasty` some things happen before the last one is done with.
    pub(crate) fn live(&mut self, hasty: bool) {
        for moment in &self.life.moments {
            self.pass(moment.seconds);
            self.meet(&moment.what);
            if !(hasty && moment.hasty) {
                self.settle();
                self.check();
            }
            self.note();
        }
        self.settle();
        self.check();
        assert_eq!(self.waiting, 0, "seed {}: commands without an answer", self.life.seed);
    }

    fn meet(&mut self, what: &Happening) {
        match what {
            Happening::Found { id, later } => {
                let (id, time) = (id.clone(), Time(self.now + later));
                let data = FailData { matches: vec!["a line".into()], ..FailData::default() };
                self.happen(Event::Found(Failure { id, time, whole_time: false, data }));
            }
            Happening::Attempt { id, lines } => {
                let (id, lines, token) = (id.clone(), lines.clone(), self.token());
                self.happen(Event::Attempt { id, lines, token });
            }
            Happening::Ban { ids } => {
                let (ids, token) = (ids.clone(), self.token());
                self.happen(Event::Ban { ids, token });
            }
            Happening::Unban { ids } => {
                (self.by_hand, self.was_by_hand) = (true, true);
                let (ids, token) = (ids.clone(), self.token());
                self.happen(Event::Unban { ids, names: Names::new(), report_absent: false, token });
                self.settle();
                self.by_hand = false;
            }
            Happening::Restart { seconds } => self.restart(*seconds),
            Happening::Quiet => self.happen(Event::Tick),
        }
    }

    fn token(&mut self) -> Token {
        self.waiting += 1;
        self.next_token += 1;
        Token(self.next_token)
    }

    fn pass(&mut self, seconds: f64) {
        // Nobody is that slow: a jail waits for its database for a quarter of a second.
        if seconds > 0.25 {
            self.settle();
        }
        self.now += seconds;
        // The driver ticks when the jail wants it.
        for _ in 0..1000 {
            if self.jail.next_deadline().is_none_or(|deadline| deadline.0 > self.now) {
                // When exactly failures are forgotten is up to each server; here it is at once.
                self.jail.fails.cleanup(Time(self.now));
                return;
            }
            self.happen(Event::Tick);
            self.settle();
        }
        panic!("seed {}: a deadline that never passes: {:?}", self.life.seed, self.jail.next_deadline());
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
            Effect::AskHistory { asked, id, overall } => {
                let history = self.database.history(&id, Some(NAME), overall).expect("an answer");
                let history = history.map(|h| History { ban_count: h.ban_count, time_of_ban: h.time_of_ban });
                self.events.push_back(Event::Told(asked, history));
            }
            Effect::Remember { ban, ticket } => {
                let ban_time = self.life.ban_time;
                let row = NewBan { jail: NAME, ticket: &ticket, default_ban_time: ban_time };
                self.database.add_ban(row).expect("written");
                self.events.push_back(Event::Remembered(ban));
            }
            Effect::Forget(ids) => self.database.del_ban(NAME, ids.as_deref()).expect("deleted"),
            Effect::Act(act) => self.act(act, ends_by_itself),
            Effect::Answer { result, .. } => {
                self.waiting -= 1;
                self.acts.push(format!("answer {}", result.map_or_else(|error| error, |n| n.to_string())));
            }
            Effect::Log(record) => self.lines.push(format!("{} {}", record.level, record.message)),
            Effect::AskCommand { .. } => {}
        }
    }

    fn act(&mut self, act: Act, ends_by_itself: bool) {
        let (seed, now, ban_time) = (self.life.seed, self.now, self.life.ban_time);
        let fail = |id: &Id, what: &str| -> ! { panic!("seed {seed}, at {now}: {id} {what}") };
        match act {
            Act::Ban { ticket, .. } => {
                self.acts.push(format!("ban {}", self.describe(&ticket)));
                self.carried_out += 1;
                if self.firewall.insert(ticket.id.clone(), ticket.end_of_ban(ban_time)).is_some() {
                    fail(&ticket.id, "is banned twice at once");
                }
            }
            Act::Prolong(ticket) => {
                self.acts.push(format!("prolong {}", self.describe(&ticket)));
                let end = ticket.end_of_ban(ban_time);
                match self.firewall.insert(ticket.id.clone(), end) {
                    None => fail(&ticket.id, "is prolonged without a ban"),
                    Some(before) if before > end => fail(&ticket.id, "gets a shorter ban"),
                    Some(_) => {}
                }
            }
            Act::Unban { ticket, .. } => {
                self.acts.push(format!("unban {}", self.describe(&ticket)));
                if self.firewall.remove(&ticket.id).is_none() {
                    fail(&ticket.id, "is unbanned without a ban");
                }
                // A failure in between may have put the end off.
                if ticket.end_of_ban(ban_time).0 > now && !self.by_hand {
                    fail(&ticket.id, "is unbanned too early");
                }
                if !ends_by_itself && !self.by_hand {
                    fail(&ticket.id, "is unbanned by nobody");
                }
            }
            Act::Flush(tickets) | Act::Stop(tickets) => {
                for ticket in tickets {
                    self.acts.push(format!("unban {}", self.describe(&ticket)));
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

    /// What an action can see of a ban.
    fn describe(&self, ticket: &Ticket) -> String {
        let Ticket { id, time, ban_count, restored, data, .. } = ticket;
        let (end, count) = (ticket.end_of_ban(self.life.ban_time).0, data.failures);
        let matches: Vec<String> = data.matches.iter().map(ToString::to_string).collect();
        format!(
            "{id} from {:.3} until {end:.3}, ban {ban_count}, {count} failures {matches:?}{}",
            time.0,
            if *restored { ", restored" } else { "" }
        )
    }

    /// The jail stops and starts again: what is in force comes back, and nothing else.
    fn restart(&mut self, seconds: f64) {
        self.settle();
        let before: Vec<Id> = self.firewall.keys().cloned().collect();
        self.happen(Event::Stop);
        self.settle();
        self.now += seconds;
        let known = self.in_force();
        let expected: Vec<&Id> = known.iter().map(|ticket| &ticket.id).collect();
        for id in before.iter().filter(|id| !expected.contains(id)) {
            assert!(self.is_over(id), "seed {}: the ban of {id} is lost", self.life.seed);
        }
        for id in &expected {
            assert!(before.contains(id), "seed {}: {id} was not banned before", self.life.seed);
        }
        self.jail = jail(self.life);
        self.jail.log_level = Level::INFO;
        (self.carried_out, self.was_by_hand) = (0, false);
        self.happen(Event::Restore(known.clone()));
        self.settle();
        let after: Vec<&Id> = self.firewall.keys().collect();
        assert_eq!(after, expected, "seed {}: after a restart", self.life.seed);
    }

    /// Whether a ban has ended, for all that the database knows: that a later failure has put the end off is not in it,
    /// as it isn't in upstream's.
    fn is_over(&self, id: &Id) -> bool {
        let Ok(Some(ban)) = self.database.history(id, Some(NAME), false) else { return false };
        let seconds = match (ban.ban_time.as_f64(), self.jail.max_ban_time()) {
            (-1.0, None) => return false,
            (seconds, None) => seconds,
            (-1.0, Some(longest)) => longest.as_f64(),
            (seconds, Some(longest)) => seconds.min(longest.as_f64()),
        };
        ban.time_of_ban.0 + seconds <= self.now
    }

    /// The bans that the database knows to be in force.
    fn in_force(&self) -> Vec<Ticket> {
        let asked = CurrentBans {
            jail: NAME,
            now: Time(self.now),
            for_ban_time: (!self.jail.increment.enabled).then_some(self.life.ban_time),
            max_ban_time: self.jail.max_ban_time(),
            jail_ban_time: self.life.ban_time,
            max_matches: Some(self.life.max_matches),
        };
        self.database.current_bans(&asked, &Recorder::default()).expect("an answer")
    }

    /// What holds whenever all is quiet.
    fn check(&mut self) {
        let (seed, counts) = (self.life.seed, self.jail.counts());
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
            let (id, end) = (&ticket.id, ticket.end_of_ban(self.life.ban_time));
            assert!(end.0 + 1.0 > self.now, "seed {seed}: {id} is banned beyond {end:?}, at {}", self.now);
        }
    }

    /// Notes what has been decided in this moment.
    fn note(&mut self) {
        let mut decisions = mem::take(&mut self.acts);
        // A ban that waits for the database is overtaken by one that is only repeated (`ban-after-database`).
        self.lines.sort();
        decisions.append(&mut self.lines);
        self.decisions.push(decisions);
    }
}

fn jail(life: &Life) -> Jail {
    let mut jail = Jail::new(NAME, TimeZone::UTC, life.seed);
    jail.has_database = true;
    jail.bans.set_ban_time(life.ban_time);
    jail.fails.max_retry = life.max_retry;
    jail.fails.max_time = life.find_time;
    jail.fails.max_matches = life.max_matches;
    jail.ignore.ignore_self = false;
    for (option, value) in &life.extra {
        jail.increment.set(option, value).expect("an option");
    }
    jail
}

fn database(life: &Life) -> Store {
    let mut database = Store::open(":memory:", Time(BEGIN), &Recorder::default()).expect("a database");
    for jail in [NAME, OTHER] {
        database.add_jail(jail).expect("a jail");
    }
    for (id, ago, ban_count) in &life.elsewhere {
        let ticket = Ticket { ban_count: *ban_count, ..Ticket::new(id.clone(), Time(BEGIN - ago)) };
        database.add_ban(NewBan { jail: OTHER, ticket: &ticket, default_ban_time: 600.0 }).expect("written");
    }
    database
}
