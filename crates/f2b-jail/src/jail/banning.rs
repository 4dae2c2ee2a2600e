//! From a ticket to a ban that the actions know of, through history and database.

use f2b_types::{Id, Level, Number, Ticket, Time, seconds2str, time2str};

use super::judging::Concern;
use super::{Counts, Jail, Pending, Waiting};
use crate::{Act, Asked, Banned, Effect, History, Token};

impl Jail {
    pub(super) fn ban_by_hand(&mut self, ids: Vec<Id>, token: Token, now: Time, out: &mut Vec<Effect>) {
        let mut seen = Waiting { left: 0, count: 0 };
        for id in ids {
            let already_there = self.pending.len();
            if self.ban(Ticket::new(id, now), Some(token), now, out) {
                seen.count += 1;
                seen.left += self.pending.len() - already_there;
            }
        }
        if seen.left == 0 {
            out.push(Effect::Act(Act::Banned { count: seen.count, token: Some(token) }));
            out.push(Effect::Answer { token, result: Ok(seen.count) });
        } else {
            self.waiting.insert(token.0, seen);
        }
    }

    /// Bans a ticket; true if that is news (`actions.__checkBan`).
    pub(super) fn ban(
        &mut self,
        ticket: Ticket,
        token: Option<Token>,
        now: Time,
        out: &mut Vec<Effect>,
    ) -> bool {
        let (id, time) = (ticket.id.clone(), ticket.time);
        match self.bans.add(ticket, now) {
            Banned::Expired => {
                self.log(out, Level::INFO, "actions", |jail| {
                    format!("[{}] Ignore {id}, expired bantime", jail.name)
                });
                false
            }
            Banned::Already(known) => {
                self.already_banned(&known, time, token, out);
                false
            }
            Banned::New => {
                self.register(id, token, out);
                true
            }
        }
    }

    fn already_banned(&self, known: &Ticket, time: Time, token: Option<Token>, out: &mut Vec<Effect>) {
        let later = time - known.time;
        let level = match later {
            ..3.0 => Level::DEBUG,
            3.0..60.0 => Level::NOTICE,
            _ => Level::WARNING,
        };
        self.log(out, level, "actions", |jail| format!("[{}] {} already banned", jail.name, known.id));
        // Somebody who gets through a while after the ban is a sign that the firewall has lost it. Sooner it can only
        // have lost it in a repair.
        let check = later > 3.0;
        if known.banned && (check || self.was_repaired) {
            out.push(Effect::Act(Act::Verify { ticket: Box::new(known.clone()), check, token }));
        }
    }

    /// Sends a new ban on its way: through its history where that counts, into the database, to the actions.
    fn register(&mut self, id: Id, token: Option<Token>, out: &mut Vec<Effect>) {
        let Some(ticket) = self.bans.get(&id) else { return };
        let ban = self.next_ban;
        self.next_ban += 1;
        let remembers = !ticket.restored && self.has_database;
        let asks = remembers && self.asks_history(ticket);
        let pending = Pending { id: id.clone(), token, restored: ticket.restored, afterword: Vec::new() };
        self.pending.insert(ban, pending);
        if asks {
            let overall = self.increment.overall_jails && self.bans.ban_time > 0.0;
            out.push(Effect::AskHistory { asked: Asked::Ban(ban), id, overall });
        } else if remembers {
            let ticket = Box::new(self.with_ban_time(ticket));
            out.push(Effect::Remember { ban, ticket });
        } else {
            self.announce(ban, out);
        }
    }

    /// Whether history counts for a ban. That of one for ever is not going to be longer, but still has its number, if the
    /// failure that has led to it at once can have got to know it (`observer.failureFound`).
    fn asks_history(&self, ticket: &Ticket) -> bool {
        let at_once = ticket.retry > 0 && ticket.first_time == ticket.time && self.fails.max_retry > 1;
        let for_ever = self.bans.ban_time == -1.0;
        self.increment.enabled
            && ticket.ban_time.is_none()
            && (self.bans.ban_time > 0.0 || for_ever && at_once)
    }

    /// The ban of somebody who was banned before lasts longer (`observer.incrBanTime`, `observer.banFound`).
    pub(super) fn extend_ban(
        &mut self,
        ban: u64,
        history: Option<History>,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let Some(pending) = self.pending.get_mut(&ban) else { return };
        let id = pending.id.clone();
        let Some(mut ticket) = self.bans.get(&id).cloned() else {
            self.abandon(ban, out);
            return;
        };
        let plain = self.bans.ban_time;
        let mut afterword = Vec::new();
        if plain == -1.0 {
            let counts = history.filter(|history| ticket.time > history.time_of_ban);
            ticket.ban_count =
                counts.map_or(ticket.ban_count, |h| ticket.ban_count.max(h.ban_count.saturating_add(1)));
        } else if let Some(history) = history {
            if history.ban_count >= ticket.ban_count {
                ticket.ban_count = history.ban_count.saturating_add(1);
            }
            let plain = Number::Int(plain as i64);
            let longer = match history.ban_count {
                ..=0 => Ok(plain),
                count => self.increment.ban_time(plain, count, self.random.f64()),
            };
            let seconds = longer.unwrap_or_else(|error| {
                self.log(out, Level::ERROR, "observer", |_| error.to_string());
                plain
            });
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
            if seconds.as_f64() != plain.as_f64() {
                self.log(&mut afterword, Level::NOTICE, "observer", |jail| {
                    let end = time2str(ticket.time + seconds.as_f64(), &jail.zone);
                    let (count, span) = (ticket.ban_count, seconds2str(seconds));
                    format!("[{}] Increase Ban {id} ({count} # {span} -> {end})", jail.name)
                });
                let delay = (seconds.as_f64() - plain.as_f64() - 5.0).clamp(0.0, 10.0);
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
        Ticket { ban_time: Some(ticket.duration_or(self.bans.ban_time)), ..ticket.clone() }
    }

    /// The ban is safe in the database: it goes into the log and to the actions.
    pub(super) fn announce(&mut self, ban: u64, out: &mut Vec<Effect>) {
        let Some(pending) = self.pending.remove(&ban) else { return };
        self.bans.update(&pending.id, |ticket| ticket.banned = true);
        if let Some(ticket) = self.bans.get(&pending.id) {
            let word = if pending.restored { "Restore " } else { "" };
            let ticket = Box::new(ticket.clone());
            self.log(out, Level::NOTICE, "actions", |jail| {
                format!("[{}] {word}Ban {}", jail.name, ticket.id)
            });
            out.push(Effect::Act(Act::Ban { ticket, counts: self.announced_counts() }));
            out.extend(pending.afterword);
            if pending.token.is_none() {
                out.push(Effect::Act(Act::Banned { count: 1, token: None }));
            }
        }
        self.one_done(pending.token, out);
    }

    /// The numbers without the bans that are still on their way: upstream decides on them one by one.
    fn announced_counts(&self) -> Counts {
        let (counts, on_their_way) = (self.counts(), self.pending.len());
        Counts {
            banned: counts.banned.saturating_sub(on_their_way),
            banned_total: counts.banned_total.saturating_sub(on_their_way as u64),
            ..counts
        }
    }

    /// The ban was ended by somebody while it was on its way.
    pub(super) fn abandon(&mut self, ban: u64, out: &mut Vec<Effect>) {
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
            out.push(Effect::Act(Act::Banned { count, token: Some(token) }));
            out.push(Effect::Answer { token, result: Ok(count) });
        }
    }

    /// Takes up the bans that were in force before a restart (`jail.restoreCurrentBans`).
    pub(super) fn restore(&mut self, tickets: Vec<Ticket>, now: Time, out: &mut Vec<Effect>) {
        for mut ticket in tickets {
            ticket.restored = true;
            self.judge(ticket, Concern::Restore, now, out);
        }
    }
}
