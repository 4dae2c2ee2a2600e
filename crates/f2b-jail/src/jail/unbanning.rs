//! The end of bans: by hand, by time, and when the jail stops.

use f2b_types::{Id, Level, Ticket, Time};

use super::{CLEANUP_INTERVAL, Jail};
use crate::ignore::is_name;
use crate::{Act, Effect, Names, Token};

impl Jail {
    /// Those of `ids` that may be host names of somebody who is banned.
    pub fn names_among<'a>(&self, ids: &'a [Id]) -> impl Iterator<Item = &'a str> {
        ids.iter().filter(|id| self.bans.size() > 0 && !self.bans.contains(id)).filter_map(|id| match id {
            Id::Text(name) => Some(&**name).filter(|name| is_name(name)),
            Id::Net { .. } => None,
        })
    }

    /// Ends bans by hand (`actions.removeBannedIP`).
    pub(super) fn unban(
        &mut self,
        ids: Vec<Id>,
        names: &Names,
        report_absent: bool,
        token: Token,
        out: &mut Vec<Effect>,
    ) {
        let (mut count, mut missed) = (0, Vec::new());
        if self.has_database {
            out.push(Effect::Forget(Some(ids.clone())));
        }
        for id in ids {
            let covered = self.banned_by(&id, names);
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

    /// The bans that `id` names: itself, or those that it covers as a subnet or is a host name of.
    fn banned_by(&self, id: &Id, names: &Names) -> Vec<Id> {
        if self.bans.contains(id) {
            return vec![id.clone()];
        }
        if id.is_single() {
            return Vec::new();
        }
        let addresses = match id {
            Id::Text(name) => names.get(&**name).map_or(&[][..], Vec::as_slice),
            Id::Net { .. } => &[],
        };
        let banned = self.bans.iter().map(|ticket| &ticket.id);
        banned.filter(|banned| id.contains(banned) || addresses.contains(banned)).cloned().collect()
    }

    fn end_ban(&mut self, id: &Id, out: &mut Vec<Effect>) {
        let Some(ticket) = self.bans.remove(id) else { return };
        self.forget_plans(id, out);
        self.unbanned(ticket, true, out);
    }

    /// Takes a ban back; the actions hear of it only if they have heard of the ban.
    fn unbanned(&self, ticket: Ticket, by_hand: bool, out: &mut Vec<Effect>) {
        if ticket.banned {
            out.push(Effect::Act(Act::Unban { ticket: Box::new(ticket), by_hand }));
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

    pub(super) fn unban_all(&mut self, token: Token, out: &mut Vec<Effect>) {
        if self.has_database {
            out.push(Effect::Forget(None));
        }
        let tickets = self.flush(out);
        let count = tickets.len() as i64;
        out.push(Effect::Act(Act::Flush(tickets)));
        out.push(Effect::Answer { token, result: Ok(count) });
    }

    pub(super) fn stop(&mut self, out: &mut Vec<Effect>) {
        self.forget_questions(out);
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
        // Nobody has heard of those that were on their way.
        let mut tickets = self.bans.flush();
        tickets.retain(|ticket| ticket.banned);
        tickets
    }

    /// Ends the bans whose time is over, tells the actions of longer ones, forgets old failures.
    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        let over = self.bans.expired(now);
        let count = over.len();
        for ticket in over {
            self.forget_plans(&ticket.id, out);
            self.unbanned(ticket, false, out);
        }
        if count > 0 {
            out.push(Effect::Act(Act::Unbanned(count)));
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
}
