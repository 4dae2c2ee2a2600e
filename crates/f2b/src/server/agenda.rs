//! What a worker has to do, in the order in which it does it.
//!
//! Bans come one after the other and may take long. Nobody who waits for an answer has to wait for those that have not
//! begun: questions and changes, and unbans by hand, go in front of them. A ban that is over before it has begun is never
//! carried out, neither is its end; when the jail stops that goes for all of them, and the database has them for the next
//! start.
//!
//! Upstream: the same comes from its threads. Commands are executed by the thread of the client beside that of the jail, and
//! a jail that stops leaves the failures in its queue alone (`actions.Actions.run`).

use std::collections::{HashSet, VecDeque};

use f2b_jail::Act;
use f2b_types::{Id, Ticket};

use super::worker::{Deed, Work};

/// Work to be done.
#[derive(Default)]
pub(super) struct Agenda {
    works: VecDeque<Work>,
}

impl Agenda {
    /// The next thing to do.
    pub(super) fn next(&mut self) -> Option<Work> {
        self.works.pop_front()
    }

    /// Whether there are bans to be carried out, or to be counted.
    pub(super) fn has_bans(&self) -> bool {
        let is_one = |act: &Act| matches!(act, Act::Ban { .. } | Act::Banned { token: None, .. });
        self.works.iter().any(|work| matches!(work, Work::Act(deed) if is_one(&deed.act)))
    }

    /// Puts work where it belongs.
    pub(super) fn add(&mut self, work: Work) {
        match work {
            Work::Act(deed) => self.add_deed(deed),
            Work::Change { .. } => self.hurry(work),
            // A command that bans is answered when its bans are done.
            Work::Answer { token, .. } => {
                let counts = |work: &Work| matches!(work, Work::Act(deed) if deed.counts_for(token));
                if self.works.iter().any(counts) { self.works.push_back(work) } else { self.hurry(work) }
            }
            work => self.works.push_back(work),
        }
    }

    fn add_deed(&mut self, mut deed: Deed) {
        match &mut deed.act {
            Act::Unban { ticket, by_hand: true } => {
                let id = ticket.id.clone();
                if self.drop_bans(|other| *other == id).is_empty() {
                    self.hurry(Work::Act(deed));
                } else {
                    deed.backlog.leave();
                    self.hurry(Work::Undone { id, word: "Unban" });
                }
            }
            Act::Flush(tickets) => {
                for id in self.drop_undone(tickets) {
                    self.hurry(Work::Undone { id, word: "Unban" });
                }
                self.hurry(Work::Act(deed));
            }
            Act::Stop(tickets) => {
                for id in self.drop_undone(tickets) {
                    self.works.push_back(Work::Undone { id, word: "Repeal Ban" });
                }
                tickets.append(&mut self.drop_unbans());
                self.works.push_back(Work::Act(deed));
            }
            _ => self.works.push_back(Work::Act(deed)),
        }
    }

    /// In front of the deeds that can wait and of what waits for them, behind everything else.
    fn hurry(&mut self, work: Work) {
        let can_wait = |work: &Work| match work {
            Work::Act(deed) => !deed.is_urgent(),
            work => matches!(work, Work::Answer { .. }),
        };
        let place = self.works.iter().rposition(|work| !can_wait(work)).map_or(0, |last| last + 1);
        self.works.insert(place, work);
    }

    /// Drops the bans of these tickets that have not begun, and takes them out of the tickets.
    fn drop_undone(&mut self, tickets: &mut Vec<Ticket>) -> Vec<Id> {
        let over: HashSet<&Id> = tickets.iter().map(|ticket| &ticket.id).collect();
        let undone = self.drop_bans(|id| over.contains(id));
        let dropped: HashSet<&Id> = undone.iter().collect();
        tickets.retain(|ticket| !dropped.contains(&ticket.id));
        undone
    }

    /// Drops what is to be done for bans that are over, and says which of them have not even begun.
    fn drop_bans(&mut self, is_over: impl Fn(&Id) -> bool) -> Vec<Id> {
        let mut undone = Vec::new();
        self.works.retain(|work| {
            let Work::Act(Deed { act, backlog, .. }) = work else { return true };
            let (ticket, begins) = match act {
                Act::Ban { ticket, .. } => (ticket, true),
                Act::Verify { ticket, .. } | Act::Prolong(ticket) => (ticket, false),
                _ => return true,
            };
            if !is_over(&ticket.id) {
                return true;
            }
            if begins {
                undone.push(ticket.id.clone());
            }
            backlog.leave();
            false
        });
        undone
    }

    /// Drops the unbans that have not begun, whose bans are taken back with all others.
    fn drop_unbans(&mut self) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        self.works.retain(|work| {
            let Work::Act(Deed { act: Act::Unban { ticket, .. }, backlog, .. }) = work else { return true };
            tickets.push(Ticket::clone(ticket));
            backlog.leave();
            false
        });
        tickets
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use f2b_jail::Token;
    use f2b_protocol::Value;
    use f2b_types::Time;

    use super::super::Backlog;
    use super::super::worker::Change;
    use super::*;

    fn ticket(id: &str) -> Ticket {
        Ticket::new(Id::parse(id), Time(0.0))
    }

    fn deed(act: Act) -> Work {
        let backlog = Backlog::default();
        backlog.enter();
        Work::Act(Deed { act, ban_time: 600.0, counts: Default::default(), backlog })
    }

    fn ban(id: &str) -> Work {
        let counts = f2b_jail::Counts { found: 0, found_total: 0, banned: 0, banned_total: 0 };
        deed(Act::Ban { ticket: Box::new(ticket(id)), counts })
    }

    fn unban(id: &str, by_hand: bool) -> Work {
        deed(Act::Unban { ticket: Box::new(ticket(id)), by_hand })
    }

    fn answer(token: u64) -> Work {
        Work::Answer { answer: mpsc::sync_channel(1).0, reply: Ok(Value::None), token: Token(token) }
    }

    fn ask() -> Work {
        Work::Change { change: Change::Names, answer: None }
    }

    fn tickets(ids: &[&str]) -> Vec<Ticket> {
        ids.iter().map(|id| ticket(id)).collect()
    }

    #[track_caller]
    fn check(works: Vec<Work>, expected: &[&str]) {
        let mut agenda = Agenda::default();
        works.into_iter().for_each(|work| agenda.add(work));
        let list = |tickets: &[Ticket]| tickets.iter().map(|t| format!(" {}", t.id)).collect::<String>();
        let mut done = Vec::new();
        while let Some(work) = agenda.next() {
            done.push(match work {
                Work::Act(deed) => match deed.act {
                    Act::Ban { ticket, .. } => format!("ban {}", ticket.id),
                    Act::Unban { ticket, .. } => format!("unban {}", ticket.id),
                    Act::Flush(tickets) => format!("flush{}", list(&tickets)),
                    Act::Stop(tickets) => format!("stop{}", list(&tickets)),
                    act => format!("{act:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
                },
                Work::Undone { id, word } => format!("{word} of {id} only"),
                Work::Answer { token, .. } => format!("answer {}", token.0),
                Work::Change { .. } => "question".into(),
                Work::BeginReload => "reload".into(),
                _ => "other".into(),
            });
        }
        assert_eq!(done, expected);
    }

    #[test]
    fn questions_and_unbans_by_hand_do_not_wait_for_bans() {
        check(
            vec![ban("a"), unban("x", false), ban("b"), ask(), unban("c", true), answer(1), ask()],
            &["question", "unban c", "question", "answer 1", "ban a", "unban x", "ban b"],
        );
        check(vec![ban("a"), Work::BeginReload, ban("b"), ask()], &["ban a", "reload", "question", "ban b"]);
    }

    #[test]
    fn a_command_that_bans_is_answered_behind_its_bans() {
        let banned = |token| deed(Act::Banned { count: 1, token: Some(Token(token)) });
        check(
            vec![ban("a"), banned(1), answer(1), ban("b"), unban("c", true), answer(2)],
            &["unban c", "answer 2", "ban a", "Banned", "answer 1", "ban b"],
        );
    }

    #[test]
    fn a_ban_that_is_over_before_it_has_begun_is_never_carried_out() {
        let prolong = deed(Act::Prolong(Box::new(ticket("a"))));
        check(
            vec![ban("a"), ban("b"), prolong, unban("a", true), ban("a")],
            &["Unban of a only", "ban b", "ban a"],
        );
        let flush = deed(Act::Flush(tickets(&["a", "b", "c"])));
        check(
            vec![unban("x", false), ban("a"), ban("c"), flush, ban("d")],
            &["Unban of a only", "Unban of c only", "flush b", "unban x", "ban d"],
        );
    }

    #[test]
    fn a_stop_leaves_out_what_has_not_begun() {
        let stop = deed(Act::Stop(tickets(&["a", "b"])));
        check(
            vec![ban("a"), unban("x", false), ask(), stop],
            &["question", "Repeal Ban of a only", "stop b x"],
        );
    }
}
