//! The state machine itself.

use std::collections::BTreeMap;

use f2b_types::{
    FailData, Failure, Id, Level, MatchedLine, Number, Record, Ticket, Time, seconds2str, time2str,
};
use jiff::tz::TimeZone;

use crate::{
    Act, Asked, BanManager, Banned, Effect, Event, FailManager, History, IgnoreList, Increment, Token,
};

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
    /// How bans grow.
    pub increment: Increment,
    /// Whether there is a database to ask and to tell.
    pub has_database: bool,
    /// Messages below this level are not composed.
    pub log_level: Level,
    /// Bans on their way through the database, by number.
    pending: BTreeMap<u64, Pending>,
    next_ban: u64,
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
            increment: Increment::default(),
            has_database: false,
            log_level: Level::INFO,
            pending: BTreeMap::new(),
            next_ban: 0,
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

    /// The longest ban possible (`jail.getMaxBanTime`): restored bans that would last longer are cut to it.
    pub fn max_ban_time(&self) -> f64 {
        if self.increment.enabled { self.increment.max_time() } else { self.bans.ban_time }
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
            Event::Unban { ids: Some(ids), report_absent, token } => {
                self.unban(ids, report_absent, token, &mut out)
            }
            Event::Restore(tickets) => self.restore(tickets, now, &mut out),
            Event::Told(Asked::Failure { ticket, opened }, history) => {
                self.weigh_failure(&ticket, opened, history, now, &mut out);
            }
            Event::Told(Asked::Ban(ban), history) => self.extend_ban(ban, history, now, &mut out),
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
            ticket.time = now;
            ticket.first_time = now;
        }
        if self.is_ignored(&ticket.id, out) {
            return;
        }
        self.log(out, Level::INFO, "filter", |jail| {
            format!("[{}] Found {} - {}", jail.name, ticket.id, time2str(ticket.time, &jail.zone))
        });
        self.count(ticket, 1, now, out);
    }

    /// A failure reported by hand (`filter.addAttempt`).
    fn attempt(&mut self, id: Id, lines: Vec<String>, token: Token, now: Time, out: &mut Vec<Effect>) {
        if self.is_ignored(&id, out) {
            out.push(Effect::Answer { token, result: Ok(0) });
            return;
        }
        let count = lines.len().max(1) as i64;
        let matches = lines.into_iter().map(MatchedLine::Whole).collect();
        let mut ticket = Ticket::new(id, now);
        ticket.data = FailData { matches, ..FailData::default() };
        self.log(out, Level::INFO, "filter", |jail| {
            format!("[{}] Attempt {} - {}", jail.name, ticket.id, time2str(now, &jail.zone))
        });
        self.count(ticket, count, now, out);
        out.push(Effect::Answer { token, result: Ok(1) });
    }

    fn is_ignored(&self, id: &Id, out: &mut Vec<Effect>) -> bool {
        let Some(reason) = self.ignore.reason(id) else { return false };
        self.log(out, Level::INFO, "filter", |jail| format!("[{}] Ignore {id} by {reason}", jail.name));
        true
    }

    /// Counts a failure, bans at `maxretry`, and asks for the history of the id.
    fn count(&mut self, ticket: Ticket, count: i64, now: Time, out: &mut Vec<Effect>) {
        let (retry, opened) = self.fails.add(&ticket, count);
        self.log_failures(out);
        if self.next_cleanup.is_none() {
            self.next_cleanup = Some(now + CLEANUP_INTERVAL);
        }
        if retry >= self.fails.max_retry {
            self.ban_failed(&ticket.id, now, out);
        }
        if self.increment.enabled && self.has_database {
            let id = ticket.id.clone();
            out.push(Effect::AskHistory {
                asked: Asked::Failure { ticket: Box::new(ticket), opened },
                id,
                overall: false,
            });
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
                    Number::Float(ticket.time.0),
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
        if let Some(retry) = self.fails.add_observed(ticket, weight - 1, opened) {
            self.log_failures(out);
            if retry >= limit {
                self.ban_failed(&ticket.id, now, out);
            }
        }
    }

    fn ban_by_hand(&mut self, ids: Vec<Id>, token: Token, now: Time, out: &mut Vec<Effect>) {
        let mut seen = Waiting { left: 0, count: 0 };
        for id in ids {
            let already_there = self.pending.len();
            if self.ban(Ticket::new(id, now), Some(token), now, out) {
                seen.count += 1;
                seen.left += self.pending.len() - already_there;
            }
        }
        if seen.left == 0 {
            out.push(Effect::Answer { token, result: Ok(seen.count) });
        } else {
            self.waiting.insert(token.0, seen);
        }
    }

    /// Bans a ticket; true if that is news (`actions.__checkBan`).
    fn ban(&mut self, ticket: Ticket, token: Option<Token>, now: Time, out: &mut Vec<Effect>) -> bool {
        let (id, time) = (ticket.id.clone(), ticket.time);
        match self.bans.add(ticket, now) {
            Banned::Expired => {
                self.log(out, Level::INFO, "actions", |jail| {
                    format!("[{}] Ignore {id}, expired bantime", jail.name)
                });
                false
            }
            Banned::Already(known) => {
                self.already_banned(&known, time, out);
                false
            }
            Banned::New => {
                self.register(id, token, out);
                true
            }
        }
    }

    fn already_banned(&self, known: &Ticket, time: Time, out: &mut Vec<Effect>) {
        let later = time - known.time;
        let level = match later {
            ..3.0 => Level::DEBUG,
            3.0..60.0 => Level::NOTICE,
            _ => Level::WARNING,
        };
        self.log(out, level, "actions", |jail| format!("[{}] {} already banned", jail.name, known.id));
        // Somebody who gets through a while after the ban is a sign that the firewall has lost it.
        if known.banned && later > 3.0 {
            out.push(Effect::Act(Act::Verify(Box::new(known.clone()))));
        }
    }

    /// Sends a new ban on its way: through its history where that counts, into the database, to the actions.
    fn register(&mut self, id: Id, token: Option<Token>, out: &mut Vec<Effect>) {
        let Some(ticket) = self.bans.get(&id) else { return };
        let ban = self.next_ban;
        self.next_ban += 1;
        let asks = !ticket.restored
            && self.has_database
            && self.increment.enabled
            && ticket.ban_time.is_none()
            && self.bans.ban_time > 0.0;
        let remembers = !ticket.restored && self.has_database;
        let pending = Pending { id: id.clone(), token, restored: ticket.restored, afterword: Vec::new() };
        self.pending.insert(ban, pending);
        if asks {
            let overall = self.increment.overall_jails;
            out.push(Effect::AskHistory { asked: Asked::Ban(ban), id, overall });
        } else if remembers {
            let ticket = Box::new(self.with_ban_time(ticket));
            out.push(Effect::Remember { ban, ticket });
        } else {
            self.announce(ban, out);
        }
    }

    /// The ban of somebody who was banned before lasts longer (`observer.incrBanTime`, `observer.banFound`).
    fn extend_ban(&mut self, ban: u64, history: Option<History>, now: Time, out: &mut Vec<Effect>) {
        let Some(pending) = self.pending.get_mut(&ban) else { return };
        let id = pending.id.clone();
        let Some(mut ticket) = self.bans.get(&id).cloned() else {
            self.abandon(ban, out);
            return;
        };
        let plain = self.bans.ban_time;
        let mut afterword = Vec::new();
        if let Some(history) = history {
            if history.ban_count >= ticket.ban_count {
                ticket.ban_count = history.ban_count + 1;
            }
            let seconds = match history.ban_count {
                ..=0 => plain,
                count => self.increment.ban_time(plain, count, self.random.f64()),
            };
            ticket.ban_time = Some(seconds);
            if ticket.time > history.time_of_ban {
                self.log(&mut afterword, Level::INFO, "observer", |jail| {
                    let (count, last) = (history.ban_count, time2str(history.time_of_ban, &jail.zone));
                    let (from, to) = (seconds2str(plain), seconds2str(seconds));
                    format!("[{}] IP {id} is bad: {count} # last {last} - incr {from} to {to}", jail.name)
                });
            } else {
                // The line was read a second time, after a restart: the database has this ban.
                ticket.restored = true;
            }
            if seconds != plain {
                self.log(&mut afterword, Level::NOTICE, "observer", |jail| {
                    let end = time2str(ticket.time + seconds, &jail.zone);
                    let (count, span) = (ticket.ban_count, seconds2str(seconds));
                    format!("[{}] Increase Ban {id} ({count} # {span} -> {end})", jail.name)
                });
                let delay = (seconds - plain - 5.0).clamp(0.0, 10.0);
                self.prolongs.push((now + delay, id.clone()));
            }
        }
        if let Some(pending) = self.pending.get_mut(&ban) {
            pending.afterword = afterword;
        }
        let stored = ticket.restored || ticket.end_of_ban(plain) < now;
        self.bans.update(&id, |known| *known = ticket.clone());
        if stored {
            self.announce(ban, out);
        } else {
            let ticket = Box::new(self.with_ban_time(&ticket));
            out.push(Effect::Remember { ban, ticket });
        }
    }

    /// The ticket as the database keeps it: with the jail's ban time where it has none of its own.
    fn with_ban_time(&self, ticket: &Ticket) -> Ticket {
        Ticket { ban_time: Some(ticket.ban_time_or(self.bans.ban_time)), ..ticket.clone() }
    }

    /// The ban is safe in the database: it goes into the log and to the actions.
    fn announce(&mut self, ban: u64, out: &mut Vec<Effect>) {
        let Some(pending) = self.pending.remove(&ban) else { return };
        self.bans.update(&pending.id, |ticket| ticket.banned = true);
        if let Some(ticket) = self.bans.get(&pending.id) {
            let word = if pending.restored { "Restore " } else { "" };
            let ticket = Box::new(ticket.clone());
            self.log(out, Level::NOTICE, "actions", |jail| {
                format!("[{}] {word}Ban {}", jail.name, ticket.id)
            });
            out.push(Effect::Act(Act::Ban(ticket)));
            out.extend(pending.afterword);
            self.log(out, Level::DEBUG, "actions", |jail| {
                let (total, size) = (jail.bans.total(), jail.bans.size());
                format!("Banned 1 / {total}, {size} ticket(s) in '{}'", jail.name)
            });
        }
        self.one_done(pending.token, out);
    }

    /// The ban was ended by somebody while it was on its way.
    fn abandon(&mut self, ban: u64, out: &mut Vec<Effect>) {
        if let Some(pending) = self.pending.remove(&ban) {
            self.one_done(pending.token, out);
        }
    }

    fn one_done(&mut self, token: Option<Token>, out: &mut Vec<Effect>) {
        let Some(token) = token else { return };
        let Some(waiting) = self.waiting.get_mut(&token.0) else { return };
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left == 0 {
            let count = waiting.count;
            self.waiting.remove(&token.0);
            out.push(Effect::Answer { token, result: Ok(count) });
        }
    }

    /// Ends bans by hand (`actions.removeBannedIP`).
    fn unban(&mut self, ids: Vec<Id>, report_absent: bool, token: Token, out: &mut Vec<Effect>) {
        let (mut count, mut missed) = (0, Vec::new());
        if self.has_database {
            out.push(Effect::Forget(Some(ids.clone())));
        }
        for id in ids {
            let covered = self.banned_by(&id);
            if covered.is_empty() {
                self.log(out, Level::MSG, "actions", |_| format!("{id} is not banned"));
                missed.push(format!("'{id}'"));
                continue;
            }
            if self.has_database && covered != [id] {
                out.push(Effect::Forget(Some(covered.clone())));
            }
            count += covered.len() as i64;
            for id in &covered {
                self.end_ban(id, out);
            }
        }
        let result = match report_absent && !missed.is_empty() {
            true => Err(format!("not banned: [{}]", missed.join(", "))),
            false => Ok(count),
        };
        out.push(Effect::Answer { token, result });
    }

    /// The bans that `id` names: itself, or those that it covers as a subnet.
    fn banned_by(&self, id: &Id) -> Vec<Id> {
        if self.bans.contains(id) {
            return vec![id.clone()];
        }
        if id.is_single() {
            return Vec::new();
        }
        self.bans.iter().filter(|ticket| id.contains(&ticket.id)).map(|ticket| ticket.id.clone()).collect()
    }

    fn end_ban(&mut self, id: &Id, out: &mut Vec<Effect>) {
        let Some(ticket) = self.bans.remove(id) else { return };
        self.forget_plans(id, out);
        self.unbanned(ticket, out);
    }

    /// Takes a ban back; the actions hear of it only if they have heard of the ban.
    fn unbanned(&self, ticket: Ticket, out: &mut Vec<Effect>) {
        if ticket.banned {
            out.push(Effect::Act(Act::Unban(Box::new(ticket))));
        } else {
            self.log(out, Level::NOTICE, "actions", |jail| format!("[{}] Unban {}", jail.name, ticket.id));
        }
    }

    /// Drops what was to be done for a ban that is over.
    fn forget_plans(&mut self, id: &Id, out: &mut Vec<Effect>) {
        self.prolongs.retain(|(_, planned)| planned != id);
        let on_its_way: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.id == *id).map(|(ban, _)| *ban).collect();
        for ban in on_its_way {
            self.abandon(ban, out);
        }
    }

    fn unban_all(&mut self, token: Token, out: &mut Vec<Effect>) {
        if self.has_database {
            out.push(Effect::Forget(None));
        }
        let tickets = self.flush(out);
        let count = tickets.len() as i64;
        out.push(Effect::Act(Act::Flush(tickets)));
        out.push(Effect::Answer { token, result: Ok(count) });
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        let tickets = self.flush(out);
        out.push(Effect::Act(Act::Stop(tickets)));
    }

    fn flush(&mut self, out: &mut Vec<Effect>) -> Vec<Ticket> {
        self.log(out, Level::DEBUG, "actions", |_| "  Flush ban list".into());
        self.prolongs.clear();
        let on_their_way: Vec<u64> = self.pending.keys().copied().collect();
        for ban in on_their_way {
            self.abandon(ban, out);
        }
        self.bans.flush()
    }

    /// Takes up the bans that were in force before a restart (`jail.restoreCurrentBans`).
    fn restore(&mut self, tickets: Vec<Ticket>, now: Time, out: &mut Vec<Effect>) {
        for mut ticket in tickets {
            ticket.restored = true;
            if self.is_ignored(&ticket.id, out) || ticket.end_of_ban(self.bans.ban_time) <= now {
                continue;
            }
            self.ban(ticket, None, now, out);
        }
    }

    /// Ends the bans whose time is over, tells the actions of longer ones, forgets old failures.
    fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        let over = self.bans.expired(now);
        let count = over.len();
        for ticket in over {
            self.forget_plans(&ticket.id, out);
            self.unbanned(ticket, out);
        }
        if count > 0 {
            self.log(out, Level::DEBUG, "actions", |jail| {
                format!("Unbanned {count}, {} ticket(s) in '{}'", jail.bans.size(), jail.name)
            });
        }
        let (due, later) = std::mem::take(&mut self.prolongs).into_iter().partition(|(time, _)| *time <= now);
        self.prolongs = later;
        for (_, id) in due {
            if let Some(ticket) = self.bans.get(&id) {
                out.push(Effect::Act(Act::Prolong(Box::new(ticket.clone()))));
            }
        }
        if self.next_cleanup.is_some_and(|time| time <= now) {
            self.fails.cleanup(now);
            self.next_cleanup = (self.fails.size() > 0).then(|| now + CLEANUP_INTERVAL);
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
