//! Who counts: the lists of the jail first, then the command of `ignorecommand` (`filter._inIgnoreIPList`).
//!
//! A command takes its time, and the jail goes on meanwhile. So that failures still count in the order in which they came,
//! what is answered waits for what was asked before it.

use std::ops::Range;

use f2b_types::{Level, Ticket, Time, time2str};

use super::Jail;
use crate::{Effect, Token};

/// Behind so many questions, what needs none is settled at once: order is worth less than memory.
const MAX_QUESTIONS: usize = 2000;

/// What hangs on the answer.
#[derive(Debug)]
pub(super) enum Concern {
    /// A line matched.
    Failure,
    /// A failure was reported by hand, so many times.
    Attempt { count: i64, token: Token },
    /// A ban was in force before a restart.
    Restore,
}

/// Somebody whom the command has been asked about, or who came behind such a one.
#[derive(Debug)]
pub(super) struct Question {
    ticket: Ticket,
    concern: Concern,
    /// Once it is known.
    verdict: Option<Verdict>,
}

/// Whether a ticket counts.
#[derive(Debug)]
enum Verdict {
    Counts,
    /// Ignored by this entry of a list.
    Listed(String),
    /// Ignored by the command.
    Refused,
    /// As before; there is nothing new to log.
    RefusedAgain,
}

impl Jail {
    /// Counts or ignores a ticket, now or when the command has answered.
    pub(super) fn judge(&mut self, ticket: Ticket, concern: Concern, now: Time, out: &mut Vec<Effect>) {
        let verdict = match self.ignore.reason(&ticket.id) {
            Some(reason) => Some(Verdict::Listed(reason.to_string())),
            None => (!self.asks_command).then_some(Verdict::Counts),
        };
        match verdict {
            Some(verdict) if self.questions.is_empty() || self.questions.len() >= MAX_QUESTIONS => {
                self.settle(ticket, concern, verdict, now, out)
            }
            _ => {
                if verdict.is_none() {
                    let question = self.questions().end;
                    out.push(Effect::AskCommand { question, ticket: Box::new(ticket.clone()) });
                }
                self.questions.push_back(Question { ticket, concern, verdict });
            }
        }
    }

    /// The numbers of the questions that wait for an answer, or for the answer to one before.
    pub fn questions(&self) -> Range<u64> {
        self.first_question..self.first_question + self.questions.len() as u64
    }

    /// The command has answered.
    pub(super) fn judged(
        &mut self,
        question: u64,
        ignored: bool,
        known: bool,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let place = question.checked_sub(self.first_question).and_then(|place| usize::try_from(place).ok());
        let Some(asked) = place.and_then(|place| self.questions.get_mut(place)) else { return };
        asked.verdict = Some(match (ignored, known) {
            (false, _) => Verdict::Counts,
            (true, false) => Verdict::Refused,
            (true, true) => Verdict::RefusedAgain,
        });
        while let Some(Question { ticket, concern, verdict: Some(verdict) }) =
            self.questions.pop_front_if(|question| question.verdict.is_some())
        {
            self.first_question += 1;
            self.settle(ticket, concern, verdict, now, out);
        }
    }

    fn settle(
        &mut self,
        ticket: Ticket,
        concern: Concern,
        verdict: Verdict,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let id = &ticket.id;
        match verdict {
            Verdict::Counts => return self.accept(ticket, concern, now, out),
            Verdict::Listed(reason) => self
                .log(out, Level::INFO, "filter", |jail| format!("[{}] Ignore {id} by {reason}", jail.name)),
            Verdict::Refused => {
                self.log(out, Level::INFO, "filter", |jail| format!("[{}] Ignore {id} by command", jail.name))
            }
            Verdict::RefusedAgain => {}
        }
        self.ignore_ticket(&concern, out);
    }

    /// Nobody waits for the command any more.
    pub(super) fn forget_questions(&mut self, out: &mut Vec<Effect>) {
        self.first_question += self.questions.len() as u64;
        for question in std::mem::take(&mut self.questions) {
            self.ignore_ticket(&question.concern, out);
        }
    }

    fn ignore_ticket(&self, concern: &Concern, out: &mut Vec<Effect>) {
        if let Concern::Attempt { token, .. } = concern {
            out.push(Effect::Answer { token: *token, result: Ok(0) });
        }
    }

    fn accept(&mut self, ticket: Ticket, concern: Concern, now: Time, out: &mut Vec<Effect>) {
        let say = |word: &str, time: Time, jail: &Self| {
            format!("[{}] {word} {} - {}", jail.name, ticket.id, time2str(time, &jail.zone))
        };
        match concern {
            Concern::Failure => {
                self.log(out, Level::INFO, "filter", |jail| say("Found", ticket.time, jail));
                self.count(ticket, 1, now, out);
            }
            Concern::Attempt { count, token } => {
                self.log(out, Level::INFO, "filter", |jail| say("Attempt", now, jail));
                self.count(ticket, count, now, out);
                out.push(Effect::Answer { token, result: Ok(1) });
            }
            Concern::Restore => {
                if ticket.end_of_ban(self.bans.ban_time) > now {
                    self.ban(ticket, None, now, out);
                }
            }
        }
    }
}
