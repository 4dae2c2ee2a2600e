//! What lines of one connection say together (`<F-MLFID>`, `Filter._mergeFailure`).
//!
//! A connection is known by the id that its lines share. `<F-NOFAIL>` lines only tell more about it, `<F-MLFFORGET>`
//! ends it, `<F-MLFGAINED>` says that somebody got in; failures that came before the address was known wait in it.

use std::sync::Arc;

use compact_str::CompactString;
use f2b_types::Time;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::fields::{Field, Fields, Line};

/// Connections that are remembered.
const MAX_CONNECTIONS: usize = 100;

/// Seconds for which a connection is remembered from its first line on.
const LIFETIME: f64 = 300.0;

/// Users of one connection that are remembered, which bounds what a hostile client can make us keep.
const MAX_USERS: usize = 100;

/// Connections by their ids, oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(IndexMap<CompactString, Connection, RandomState>);

#[derive(Debug)]
struct Connection {
    expires: Time,
    fields: Fields,
}

/// What is known after a line.
pub(super) struct Merged {
    pub(super) fields: Fields,
    /// Whether the connection goes on, so that later changes have to be stored.
    pub(super) kept: bool,
}

impl Connections {
    /// Merges what a line says, with the lines that it `matched`, into what is known of the connection `id`. If that one
    /// is kept, it knows nothing until all that is known now is stored.
    pub(super) fn merge(&mut self, id: &str, line: Fields, matched: Vec<Line>, now: Time) -> Merged {
        let mut fields = line;
        let mut gained = fields.is_true("mlfgained");
        if gained && !fields.is_true("nofail") {
            let value = fields.get("mlfgained").cloned().unwrap_or(Field::None);
            fields.set("nofail", value);
        }
        let mut no_failure = fields.is_true("nofail");
        let forget = fields.remove("mlfforget").is_some_and(|value| value.is_true());
        let known = self.take(id, now);
        let kept = !forget;
        let users = match known {
            Some(known) => {
                let merged = merge_into(known, fields, gained);
                fields = merged.0;
                merged.1
            }
            None if kept => count_user(&mut fields, None),
            None => 0,
        };
        if forget {
            self.0.shift_remove(id);
        }
        let pending = fields.remove("mlfpending").is_some_and(|value| value.is_true());
        if pending || users > 1 {
            fields.remove("nofail");
            fields.remove("mlfgained");
            (no_failure, gained) = (false, false);
        }
        if !no_failure {
            let mut lines = fields.take_lines("nofail-matches");
            let own = if gained { Vec::new() } else { matched };
            match fields.get_mut("matches") {
                Some(Field::Lines(known)) => {
                    // They may be many.
                    let known = Arc::make_mut(known);
                    known.splice(..0, lines);
                    known.extend(own);
                }
                _ => {
                    if lines.is_empty() {
                        lines = own;
                    } else {
                        lines.extend(own);
                    }
                    fields.set("matches", Field::Lines(lines.into()));
                }
            }
        } else if !forget {
            match fields.get_mut("nofail-matches") {
                Some(Field::Lines(lines)) => Arc::make_mut(lines).extend(matched),
                _ => fields.set("nofail-matches", Field::Lines(matched.into())),
            }
        }
        Merged { fields, kept }
    }

    /// Stores what is known of a connection; a new one may push out the oldest.
    pub(super) fn store(&mut self, id: CompactString, fields: Fields, now: Time) {
        if let Some(known) = self.0.get_mut(&*id) {
            known.fields = fields;
            return;
        }
        if self.0.len() >= MAX_CONNECTIONS {
            self.make_room(now);
        }
        self.0.insert(id, Connection { expires: now + LIFETIME, fields });
    }

    fn take(&mut self, id: &str, now: Time) -> Option<Fields> {
        match self.0.get_mut(id)? {
            known if known.expires > now => Some(std::mem::take(&mut known.fields)),
            _ => {
                self.0.shift_remove(id);
                None
            }
        }
    }

    /// Drops the oldest ones up to and with the first that is still alive.
    fn make_room(&mut self, now: Time) {
        let alive = self.0.values().position(|known| known.expires > now);
        let surplus = alive.map_or(self.0.len(), |place| place + 1);
        self.0.drain(..surplus);
    }
}

/// What was known, updated by what the line says, and how many users the connection has.
fn merge_into(mut known: Fields, line: Fields, gained: bool) -> (Fields, usize) {
    let users = count_user(&mut known, line.get("user").cloned());
    // Only the last line says whether this is no failure.
    let was_no_failure = [known.remove("nofail"), known.remove("mlfgained")]
        .into_iter()
        .flatten()
        .any(|value| value.is_true());
    if gained {
        known.remove("mlfpending");
    }
    // Lines of a failure that isn't pending were reported with it.
    if !was_no_failure && !known.is_true("mlfpending") {
        known.remove("matches");
    }
    known.update(line);
    (known, users)
}

/// Adds `user`, or else the user of `fields`, to the users in `fields`, and counts them.
fn count_user(fields: &mut Fields, user: Option<Field>) -> usize {
    let user = user.or_else(|| fields.get("user").cloned()).filter(Field::is_true);
    match (fields.get_mut("users"), user) {
        (Some(Field::Users(users)), user) => {
            let new = user.filter(|user| users.len() < MAX_USERS && !users.contains(user));
            users.extend(new);
            users.len()
        }
        (_, Some(user)) => {
            fields.set("users", Field::Users(vec![user]));
            1
        }
        (_, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::name_of;

    fn line(groups: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in groups {
            let value = if value.is_empty() { Field::None } else { Field::Text((*value).into()) };
            fields.set(name_of(name), value);
        }
        fields
    }

    #[derive(Default)]
    struct Log(Connections, f64);

    impl Log {
        fn feed(&mut self, text: &str, groups: &[(&str, &str)]) -> String {
            self.1 += 1.0;
            let matched = vec![[String::new(), String::new(), text.into()]];
            let merged = self.0.merge("id", line(groups), matched, Time(self.1));
            if merged.kept {
                self.0.store("id".into(), merged.fields.clone(), Time(self.1));
            }
            let lines: Vec<_> = merged.fields.matches().iter().map(|[.., text]| text.as_str()).collect();
            let kind = if merged.fields.is_no_failure() { "nofail" } else { "fail" };
            format!("{kind} {} {}", merged.fields.text("ip4").unwrap_or("-"), lines.join("+"))
        }
    }

    #[test]
    fn a_failure_has_the_lines_before_it() {
        let mut log = Log::default();
        assert_eq!(log.feed("connect", &[("nofail", "x"), ("ip4", "192.0.2.1")]), "nofail 192.0.2.1 ");
        assert_eq!(log.feed("wrong", &[("user", "a")]), "fail 192.0.2.1 connect+wrong");
        assert_eq!(log.feed("again", &[("user", "a")]), "fail 192.0.2.1 again");
        assert_eq!(log.feed("end", &[("mlfforget", "x"), ("nofail", "x")]), "nofail 192.0.2.1 ");
        assert_eq!(log.feed("next", &[("user", "b")]), "fail - next");
    }

    #[test]
    fn who_tries_several_users_has_failed() {
        let mut log = Log::default();
        log.feed("wrong", &[("user", "a"), ("ip4", "192.0.2.1")]);
        assert_eq!(log.feed("in", &[("user", "b"), ("mlfgained", "x")]), "fail 192.0.2.1 in");
    }

    #[test]
    fn connections_expire_and_are_bounded() {
        let mut log = Log::default();
        log.feed("connect", &[("nofail", "x"), ("ip4", "192.0.2.1")]);
        log.1 = 400.0;
        assert_eq!(log.feed("wrong", &[]), "fail - wrong");
        let mut connections = Connections::default();
        for n in 0..250 {
            connections.store(n.to_string().into(), Fields::default(), Time(f64::from(n)));
        }
        assert_eq!(connections.0.len(), MAX_CONNECTIONS);
    }
}
