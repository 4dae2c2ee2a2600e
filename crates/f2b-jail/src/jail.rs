//! The state machine itself.

use std::collections::{BTreeMap, VecDeque};

use f2b_types::{FailData, Failure, Id, Level, MatchedLine, Number, Record, Ticket, Time, time2str};
use jiff::tz::TimeZone;

use crate::{Asked, BanManager, Effect, Event, FailManager, History, IgnoreList, Increment, Token};

mod banning;
mod judging;
mod unbanning;

use self::judging::{Concern, Question};

/// Seconds between two looks for failures that are out of date.
const CLEANUP_INTERVAL: f64 = 5.0;

/// One jail: its options, its failures, its bans.
#[derive(Debug)]
pub struct Jail {
    name: String,
    zone: TimeZone,
    random: fastrand::Rng,
    /// Failures that have not led to a ban yet.
    pub fails: FailManager,
    /// Bans in force.
    pub bans: BanManager,
    /// Who is not counted.
    pub ignore: IgnoreList,
    /// There is an `ignorecommand`, which has the last word on who is not counted.
    pub asks_command: bool,
    /// How bans grow.
    pub increment: Increment,
    /// Whether there is a database to ask and to tell.
    pub has_database: bool,
    /// An action has repaired its surroundings, so that bans may have got lost that are in force.
    pub was_repaired: bool,
    /// Messages below this level are not composed.
    pub log_level: Level,
    /// Bans on their way through the database, by number.
    pending: BTreeMap<u64, Pending>,
    next_ban: u64,
    /// What the command has been asked about and not all of it been answered, oldest first.
    questions: VecDeque<Question>,
    /// The number of the oldest question.
    first_question: u64,
    /// Commands that wait for the last of their bans.
    waiting: BTreeMap<u64, Waiting>,
    /// When to tell the actions that a ban got longer.
    prolongs: Vec<(Time, Id)>,
    next_cleanup: Option<Time>,
}

/// A ban that waits for the database.
#[derive(Debug)]
struct Pending {
    id: Id,
    token: Option<Token>,
    /// It was in force before a restart.
    restored: bool,
    /// What to log behind the ban itself.
    afterword: Vec<Effect>,
}

/// A command whose bans are not all done.
#[derive(Debug)]
struct Waiting {
    left: usize,
    count: i64,
}

/// Numbers for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Ids with failures that have not led to a ban.
    pub found: usize,
    /// Failures since the start.
    pub found_total: u64,
    /// Bans in force.
    pub banned: usize,
    /// Bans since the start.
    pub banned_total: u64,
}

impl Jail {
    /// A jail with upstream's defaults. Times are logged in `zone`; `seed` feeds `bantime.rndtime`.
    pub fn new(name: &str, zone: TimeZone, seed: u64) -> Self {
        Self {
            name: name.into(),
            zone,
            random: fastrand::Rng::with_seed(seed),
            fails: FailManager::default(),
            bans: BanManager::default(),
            ignore: IgnoreList::default(),
            asks_command: false,
            increment: Increment::default(),
            has_database: false,
            was_repaired: false,
            log_level: Level::INFO,
            pending: BTreeMap::new(),
            next_ban: 0,
            questions: VecDeque::new(),
            first_question: 0,
            waiting: BTreeMap::new(),
            prolongs: Vec::new(),
            next_cleanup: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its numbers.
    pub fn counts(&self) -> Counts {
        Counts {
            found: self.fails.size(),
            found_total: self.fails.total(),
            banned: self.bans.size(),
            banned_total: self.bans.total(),
        }
    }

    /// The longest ban possible, if there is a limit (`jail.getMaxBanTime`): restored bans that would last longer are cut
    /// to it.
    pub fn max_ban_time(&self) -> Option<Number> {
        let longest = match self.increment.enabled {
            true => self.increment.max_time_option(),
            false => Some(Number::Int(self.bans.ban_time as i64)),
        };
        longest.filter(|longest| longest.as_f64() != -1.0)
    }

    /// When the jail wants its next [`Event::Tick`].
    pub fn next_deadline(&self) -> Option<Time> {
        let unban = (self.bans.size() > 0).then(|| self.bans.next_unban() + 0.001);
        let prolong = self.prolongs.iter().map(|(time, _)| *time);
        let cleanup = self.next_cleanup;
        unban.into_iter().chain(prolong).chain(cleanup).min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Takes in what happened by `now` and says what is to be done, in order.
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Found(failure) => self.found(failure, now, &mut out),
            Event::Attempt { id, lines, token } => self.attempt(id, lines, token, now, &mut out),
            Event::Ban { ids, token } => self.ban_by_hand(ids, token, now, &mut out),
            Event::Unban { ids: None, token, .. } => self.unban_all(token, &mut out),
            Event::Unban { ids: Some(ids), names, report_absent, token } => {
                self.unban(ids, &names, report_absent, token, &mut out)
            }
            Event::Restore(tickets) => self.restore(tickets, now, &mut out),
            Event::Told(Asked::Failure { ticket, opened }, history) => {
                self.weigh_failure(&ticket, opened, history, now, &mut out);
            }
            Event::Told(Asked::Ban(ban), history) => self.extend_ban(ban, history, now, &mut out),
            Event::Judged { question, ignored, known } => {
                self.judged(question, ignored, known, now, &mut out);
            }
            Event::Remembered(ban) => self.announce(ban, &mut out),
            Event::Tick => self.tick(now, &mut out),
            Event::Stop => self.stop(&mut out),
        }
        out
    }

    /// A line matched (`filter.processLineAndAdd`).
    fn found(&mut self, failure: Failure, now: Time, out: &mut Vec<Effect>) {
        let mut ticket = Ticket::from_failure(failure);
        if ticket.time > now {
            (ticket.time, ticket.whole_time) = (now, false);
            ticket.first_time = now;
        }
        self.judge(ticket, Concern::Failure, now, out);
    }

    /// A failure reported by hand (`filter.addAttempt`).
    fn attempt(&mut self, id: Id, lines: Vec<String>, token: Token, now: Time, out: &mut Vec<Effect>) {
        let count = lines.len().max(1) as i64;
        let matches = lines.into_iter().map(MatchedLine::Whole).collect();
        let mut ticket = Ticket::new(id, now);
        ticket.data = FailData { matches, ..FailData::default() };
        self.judge(ticket, Concern::Attempt { count, token }, now, out);
    }

    /// Counts a failure, bans at `maxretry`, and asks for the history of the id.
    fn count(&mut self, ticket: Ticket, count: i64, now: Time, out: &mut Vec<Effect>) {
        let (retry, opened) = self.fails.add(&ticket, count);
        self.log_failures(out);
        if self.next_cleanup.is_none() {
            self.next_cleanup = Some(now + CLEANUP_INTERVAL);
        }
        let id = ticket.id.clone();
        if self.increment.enabled && self.has_database {
            // Before the ban that this failure may lead to, which is no history yet.
            let asked = Asked::Failure { ticket: Box::new(ticket), opened };
            out.push(Effect::AskHistory { asked, id: id.clone(), overall: false });
        }
        if retry >= self.fails.max_retry {
            self.ban_failed(&id, now, out);
        }
    }

    fn log_failures(&self, out: &mut Vec<Effect>) {
        self.log(out, Level::DEBUG, "failmanager", |jail| {
            format!(
                "Total # of detected failures: {}. Current failures from {} IPs (IP:count): {}",
                jail.fails.total(),
                jail.fails.size(),
                jail.fails.summary()
            )
        });
    }

    /// Bans an id that has reached `maxretry`.
    fn ban_failed(&mut self, id: &Id, now: Time, out: &mut Vec<Effect>) {
        if let Some(ticket) = self.fails.to_ban(id) {
            self.ban(ticket, None, now, out);
        }
    }

    /// A failure of an id with earlier bans counts more than once (`observer.failureFound`).
    fn weigh_failure(
        &mut self,
        ticket: &Ticket,
        opened: bool,
        history: Option<History>,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let Some(history) = history else { return };
        if ticket.time <= history.time_of_ban {
            self.log(out, Level::DEBUG, "observer", |jail| {
                format!(
                    "[{}] Ignore failure {} before last ban {} < {}, restored",
                    jail.name,
                    ticket.id,
                    ticket.time_number(),
                    history.time_of_ban.rounded()
                )
            });
            return;
        }
        let ban_count = history.ban_count.max(ticket.ban_count);
        let (limit, weight) = (self.fails.max_retry, (1_i64 << ban_count.clamp(0, 20)) as f64 / 2.0 + 1.0);
        let reached = weight >= limit as f64;
        // Upstream's division makes the weight a float, unless `maxretry` takes its place.
        let shown = if weight <= limit as f64 { Number::Float(weight) } else { Number::Int(limit) };
        let weight = shown.as_i64();
        if shown.as_f64() <= 1.0 {
            return;
        }
        self.log(out, Level::INFO, "observer", |jail| {
            let (time, word) = (time2str(ticket.time, &jail.zone), if reached { ", Ban" } else { "" });
            format!("[{}] Found {}, bad - {time}, {ban_count} # -> {shown}{word}", jail.name, ticket.id)
        });
        if let Some(retry) = self.fails.add_observed(ticket, weight - 1, opened, ban_count) {
            self.log_failures(out);
            if retry >= limit {
                self.ban_failed(&ticket.id, now, out);
            }
        }
    }

    fn log(
        &self,
        out: &mut Vec<Effect>,
        level: Level,
        logger: &'static str,
        message: impl FnOnce(&Self) -> String,
    ) {
        if level >= self.log_level {
            out.push(Effect::Log(Record::new(level, logger, message(self))));
        }
    }
}

#[cfg(test)]
mod tests;
