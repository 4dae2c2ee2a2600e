//! What `status`, `stats` and `banned` tell: trees of pairs that the client prints.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use f2b_protocol::{Reply, Value};
use f2b_types::{Id, Level, time2str};
use jiff::tz::TimeZone;

use super::core::Core;
use super::cymru;
use super::errors::general;
use super::jails::Running;
use super::transmitter::Result;

fn pair(name: &str, value: impl Into<Value>) -> Value {
    Value::Tuple(vec![name.into(), value.into()])
}

fn count(number: usize) -> Value {
    Value::Int(number as i64)
}

impl Core {
    /// Names in alphabetical order, as upstream shows them.
    fn sorted(&self) -> Vec<&Running> {
        let mut jails: Vec<&Running> = self.jails.iter().collect();
        jails.sort_by_key(|jail| jail.jail.name().to_owned());
        jails
    }

    fn heading(&self) -> Vec<Value> {
        let names: Vec<&str> = self.sorted().iter().map(|jail| jail.jail.name()).collect();
        vec![pair("Number of jail", count(names.len())), pair("Jail list", names.join(", "))]
    }

    pub(super) fn status_of_server(&self) -> Value {
        Value::List(self.heading())
    }

    pub(super) fn status_of_all(&self, flavor: &str) -> Value {
        if flavor == "stats" {
            return self.statistics();
        }
        let jails = self.sorted().into_iter().map(|jail| (jail.jail.name().into(), jail.status(flavor)));
        let mut status = self.heading();
        status.push(Value::Dict(jails.collect()));
        Value::List(status)
    }

    pub(super) fn status_of_jail(&mut self, name: &str, flavor: &str) -> Result<Value> {
        const SUPPORTED: &str = "['short', 'basic', 'stats', 'cymru']";
        let running = self.jail(name)?;
        let status = match flavor {
            "stats" => running.statistics(),
            flavor => running.status(flavor),
        };
        if !SUPPORTED.contains(&format!("'{flavor}'")) {
            let shown = Value::from(flavor);
            let message = format!("Unsupported extended jail status flavor {shown}. Supported: {SUPPORTED}");
            self.log(Level::WARNING, "actions", message);
        }
        Ok(status)
    }

    /// `status JAIL cymru`, or of all jails: a thread of its own asks for what is not known here, and answers.
    pub(super) fn status_by_cymru(&mut self, name: Option<&str>, answer: &SyncSender<Reply>) -> Result<()> {
        let jails = match name {
            Some(name) => vec![&*self.jail(name)?],
            None => self.sorted(),
        };
        let banned =
            |jail: &Running| jail.jail.bans.iter().map(|ticket| ticket.id.clone()).collect::<Vec<_>>();
        let mut jails: Vec<_> = jails
            .into_iter()
            .map(|jail| (jail.jail.name().to_owned(), jail.status("basic"), banned(jail)))
            .collect();
        let heading = name.is_none().then(|| self.heading());
        let (logger, answer) = (Arc::clone(&self.logger), answer.clone());
        let ask = move || {
            for (_, status, banned) in &mut jails {
                cymru::complete(status, banned, &logger);
            }
            let mut jails = jails.into_iter().map(|(name, status, _)| (Value::from(name), status));
            let status = match heading {
                None => jails.next().map_or(Value::None, |(_, status)| status),
                Some(mut heading) => {
                    heading.push(Value::Dict(jails.collect()));
                    Value::List(heading)
                }
            };
            // Who asked may have gone.
            let _ = answer.send(Ok(status));
        };
        let thread = thread::Builder::new().name("f2b/cymru".into()).spawn(ask);
        thread.map(drop).map_err(|error| general(format!("Unable to ask for the networks: {error}")))
    }

    pub(super) fn statistics(&self) -> Value {
        Value::Dict(
            self.sorted().into_iter().map(|jail| (jail.jail.name().into(), jail.statistics())).collect(),
        )
    }

    /// For each id the jails where it is banned; without ids for each jail its bans.
    pub(super) fn banned(&self, ids: &[Id]) -> Value {
        if ids.is_empty() {
            let bans = |jail: &Running| Value::Dict(vec![(jail.jail.name().into(), jail.banned(&[]))]);
            return Value::List(self.jails.iter().map(bans).collect());
        }
        let jails_of = |id: &Id| {
            let jails = self.jails.iter().filter(|jail| jail.jail.bans.contains(id));
            Value::strings(jails.map(|jail| jail.jail.name()))
        };
        Value::List(ids.iter().map(jails_of).collect())
    }
}

impl Running {
    fn status(&self, flavor: &str) -> Value {
        let counts = self.jail.counts();
        let source = match &self.journal {
            Some(journal) => pair("Journal matches", Value::strings([journal.matches_shown()])),
            None => pair("File list", Value::strings(self.files.iter().map(|file| file.path.as_str()))),
        };
        let filter = vec![
            pair("Currently failed", count(counts.found)),
            pair("Total failed", Value::Int(counts.found_total as i64)),
            source,
        ];
        let mut actions = vec![
            pair("Currently banned", count(counts.banned)),
            pair("Total banned", Value::Int(counts.banned_total as i64)),
        ];
        if flavor != "short" {
            actions.push(pair("Banned IP list", self.banned(&[])));
        }
        Value::List(vec![pair("Filter", Value::List(filter)), pair("Actions", Value::List(actions))])
    }

    fn statistics(&self) -> Value {
        let counts = self.jail.counts();
        let both = |now: usize, total: u64| Value::Tuple(vec![count(now), Value::Int(total as i64)]);
        Value::List(vec![
            self.real_backend.into(),
            both(counts.found, counts.found_total),
            both(counts.banned, counts.banned_total),
        ])
    }

    /// All bans, or 1 and 0 for each of the ids asked for.
    pub(super) fn banned(&self, ids: &[Id]) -> Value {
        let is_banned = |id: &Id| Value::Int(self.jail.bans.contains(id).into());
        match ids {
            [] => Value::strings(self.jail.bans.iter().map(|ticket| ticket.id.to_string())),
            [id] => is_banned(id),
            ids => Value::List(ids.iter().map(is_banned).collect()),
        }
    }

    /// Bans ordered by their end, with begin, length and end if wanted.
    pub(super) fn ban_list(&self, with_time: bool, zone: &TimeZone) -> Value {
        let default = self.jail.bans.ban_time;
        let line = |ticket: &&f2b_types::Ticket| match with_time {
            false => ticket.id.to_string(),
            true => {
                let begin = time2str(ticket.time, zone);
                let end = time2str(ticket.end_of_ban(default), zone);
                format!("{} \t{begin} + {} = {end}", ticket.id, ticket.ban_time_or(default) as i64)
            }
        };
        Value::strings(self.jail.bans.by_end().iter().map(line))
    }
}
