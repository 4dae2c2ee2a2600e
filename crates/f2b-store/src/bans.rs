//! Bans: writing them down, and asking for them.
//!
//! The table `bans` has every ban, `bips` the last one of each id in each jail. A duration of −1 is for ever, −2 is one
//! that nobody knows any more (from the schema before version 3).
//!
//! A row with something else than expected is skipped with a line in the log.
//!
//! Upstream: `Fail2BanDb.addBan`, `delBan`, `getBan`, `getCurrentBans`, `getBansMerged`.

use f2b_types::{FailData, Id, Level, Log, Number, Ticket, Time};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::{Doing, StoreError};
use crate::json;
use crate::logs::{Sql, number};
use crate::store::{Store, say};

/// The duration of a ban that nobody knows.
const UNKNOWN: Number = Number::Int(-2);

/// A ban to be written down.
#[derive(Debug, Clone, Copy)]
pub struct NewBan<'a> {
    /// The jail, which has been added before.
    pub jail: &'a str,
    /// The ban.
    pub ticket: &'a Ticket,
    /// The jail's `bantime`, for a ticket without a time of its own.
    pub default_ban_time: f64,
}

/// What is known of an id's earlier bans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct History {
    /// How many.
    pub ban_count: i64,
    /// When the last one began.
    pub time_of_ban: Time,
    /// How long the last one lasts, or all of them together.
    pub ban_time: Number,
}

/// Which bans of a jail are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurrentBans<'a> {
    /// The jail.
    pub jail: &'a str,
    /// Now.
    pub now: Time,
    /// Only bans that began within so many seconds; all for `None` or −1.
    pub for_ban_time: Option<f64>,
    /// Longer bans, and those for ever, last so long only.
    pub max_ban_time: Option<Number>,
    /// The jail's `bantime`, for bans of unknown duration.
    pub jail_ban_time: f64,
    /// How many lines to keep; `None` for as many as the database keeps.
    pub max_matches: Option<i64>,
}

impl Store {
    /// Writes a ban down.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], for example where there is no such jail.
    pub fn add_ban(&mut self, ban: NewBan<'_>) -> Result<(), StoreError> {
        self.add_bans(&[ban])
    }

    /// Writes bans down, all or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], for example where there is no such jail.
    pub fn add_bans(&mut self, bans: &[NewBan<'_>]) -> Result<(), StoreError> {
        let max_matches = self.max_matches;
        let mut add = || {
            let transaction = self.connection.transaction()?;
            for ban in bans {
                insert(&transaction, ban, max_matches)?;
            }
            transaction.commit()
        };
        add().doing("add a ban")
    }

    /// Deletes the bans of these ids in a jail, or all bans of the jail.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn del_ban(&mut self, jail: &str, ids: Option<&[Id]>) -> Result<(), StoreError> {
        let mut delete = || {
            let transaction = self.connection.transaction()?;
            for table in ["bips", "bans"] {
                let sql = format!("DELETE FROM {table} WHERE jail = ?1");
                let Some(ids) = ids else {
                    transaction.prepare_cached(&sql)?.execute([jail])?;
                    continue;
                };
                let mut statement = transaction.prepare_cached(&(sql + " AND ip = ?2"))?;
                for id in ids {
                    statement.execute((jail, id.to_string()))?;
                }
            }
            transaction.commit()
        };
        delete().doing("delete a ban")
    }

    /// What is known of an id's bans: with `overall` the sum over all jails, otherwise the last one in `jail`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn history(&self, id: &Id, jail: Option<&str>, overall: bool) -> Result<Option<History>, StoreError> {
        let sql = match overall {
            true => {
                "SELECT sum(bancount), max(timeofban), sum(bantime) FROM bips
                 WHERE ip = ?1 AND ?2 IS ?2 GROUP BY ip"
            }
            false => {
                "SELECT bancount, timeofban, bantime FROM bips WHERE ip = ?1 AND (?2 IS NULL OR jail = ?2)
                 ORDER BY timeofban DESC LIMIT 1"
            }
        };
        let history = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement
                .query_row((id.to_string(), jail), |row| {
                    let column = |index| row.get_ref(index).map(number);
                    Ok(match (column(0)?, column(1)?, column(2)?) {
                        (Some(count), Some(time), Some(ban_time)) => Some(History {
                            ban_count: count.as_i64(),
                            time_of_ban: Time(time.as_f64()),
                            ban_time,
                        }),
                        _ => None,
                    })
                })
                .optional()
        };
        Ok(history().doing("look up a ban")?.flatten())
    }

    /// The bans that are in force in a jail.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn current_bans(&self, asked: &CurrentBans<'_>, log: &dyn Log) -> Result<Vec<Ticket>, StoreError> {
        let read = || {
            let sql = "SELECT ip, timeofban, bantime, bancount, data FROM bips
                       WHERE jail = ?1 AND (timeofban + bantime > ?2 OR bantime <= -1)
                       AND (?3 IS NULL OR timeofban > ?3) ORDER BY ip, timeofban DESC";
            let since = asked.for_ban_time.filter(|seconds| *seconds != -1.0).map(|s| asked.now.0 - s);
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query((asked.jail, asked.now.0, since))?;
            let mut tickets = Vec::new();
            while let Some(row) = rows.next()? {
                match ticket_of(row) {
                    Ok(ticket) => tickets.extend(self.in_force(ticket, asked, log)),
                    Err(reason) => {
                        say(log, Level::DEBUG, || format!("get current bans: ignore row - {reason}"))
                    }
                }
            }
            Ok(tickets)
        };
        read().doing("read the bans in force")
    }

    /// The ban with its duration corrected, unless it is over by that.
    fn in_force(&self, mut ticket: Ticket, asked: &CurrentBans<'_>, log: &dyn Log) -> Option<Ticket> {
        let ban_time = self.corrected(ticket.ban_time.unwrap_or(UNKNOWN), asked);
        let end = ticket.time + ban_time.as_f64();
        if ban_time.as_f64() != -1.0 && end <= asked.now {
            say(log, Level::DEBUG, || {
                format!(
                    "ignore ticket (with new max ban-time {ban_time}): too old {} <= {}, ticket: {}",
                    end.0, asked.now.0, ticket.id
                )
            });
            return None;
        }
        ticket.ban_time = Some(ban_time);
        ticket.truncate_matches(asked.max_matches.unwrap_or(self.max_matches));
        Some(ticket)
    }

    fn corrected(&self, stored: Number, asked: &CurrentBans<'_>) -> Number {
        let seconds = stored.as_f64();
        match asked.max_ban_time {
            _ if stored == UNKNOWN => Number::Int(asked.jail_ban_time as i64),
            Some(max) if max.as_f64() > 0.0 && (seconds == -1.0 || seconds > max.as_f64()) => max,
            _ => stored,
        }
    }

    /// The data of all bans of an address together, in one jail or in all: the last lines, the sum of the failures, and
    /// of each other field the oldest value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn bans_merged(&self, ip: &Id, jail: Option<&str>) -> Result<Option<FailData>, StoreError> {
        let merge = || {
            let sql = "SELECT data FROM bans WHERE ip = ?1 AND (?2 IS NULL OR jail = ?2)
                       ORDER BY timeofban DESC";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query((ip.to_string(), jail))?;
            let mut merged: Option<FailData> = None;
            while let Some(row) = rows.next()? {
                let (mut data, counted) = data_of(row.get_ref(0)?);
                let all = merged.get_or_insert_default();
                all.failures = all.failures.saturating_add(if counted { data.failures } else { 1 });
                // From the last ban backwards: what comes now goes in front, as far as there is room.
                let room = usize::try_from(self.max_matches).unwrap_or(0).saturating_sub(all.matches.len());
                data.matches.drain(..data.matches.len().saturating_sub(room));
                all.matches.splice(0..0, data.matches);
                all.fields.append(&mut data.fields);
                all.ip = data.ip.or(all.ip.take());
            }
            Ok(merged)
        };
        merge().doing("merge the bans of an address")
    }
}

fn insert(connection: &Connection, ban: &NewBan<'_>, max_matches: i64) -> rusqlite::Result<()> {
    let ticket = ban.ticket;
    let ban_time = ticket.duration_or(ban.default_ban_time);
    let (id, time) = (ticket.id.to_string(), ticket.time.rounded());
    let data = json::write(&ticket.data, max_matches);
    for sql in [
        "INSERT INTO bans (ip, jail, timeofban, bantime, bancount, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        "INSERT OR REPLACE INTO bips (ip, jail, timeofban, bantime, bancount, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    ] {
        let mut statement = connection.prepare_cached(sql)?;
        statement.execute((&id, ban.jail, time, Sql(ban_time), ticket.ban_count, &data))?;
    }
    Ok(())
}

/// The ban in a row of `ip, timeofban, bantime, bancount, data`; otherwise what is wrong with it.
fn ticket_of(row: &Row<'_>) -> Result<Ticket, String> {
    let column = |index| row.get_ref(index).map_err(|error| error.to_string());
    let ip = match column(0)? {
        ValueRef::Text(text) if !text.is_empty() => String::from_utf8_lossy(text).into_owned(),
        other => return Err(format!("unexpected value of type {} for ip", other.data_type())),
    };
    let numeric = |index, name: &str| {
        let value = column(index)?;
        number(value)
            .ok_or_else(|| format!("unexpected value of type {} for {name} of {ip}", value.data_type()))
    };
    let time = numeric(1, "timeofban")?;
    let ban_time = numeric(2, "bantime")?;
    let ban_count = numeric(3, "bancount")?.as_i64();
    let mut ticket = Ticket::new(Id::parse(&ip), Time(time.as_f64()));
    ticket.whole_time = matches!(time, Number::Int(_));
    ticket.ban_time = Some(ban_time);
    ticket.ban_count = ban_count;
    ticket.data = data_of(column(4)?).0;
    ticket.retry = ticket.data.failures;
    Ok(ticket)
}

/// The data in a column, empty if it is none; and whether it says how many failures there were.
fn data_of(value: ValueRef<'_>) -> (FailData, bool) {
    let json = match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => json::read(bytes),
        _ => None,
    };
    let counted = json.as_ref().is_some_and(|json| json.get("failures").is_some());
    (json.map(FailData::from_json).unwrap_or_default(), counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use f2b_types::{MatchedLine, Recorder};

    const NOW: Time = Time(1_700_000_000.0);

    fn store() -> Store {
        let mut store = Store::open(":memory:", NOW, &Recorder::default()).expect("a database");
        for jail in ["sshd", "nginx"] {
            store.add_jail(jail).expect("a jail");
        }
        store
    }

    fn ticket(ip: &str, ago: f64, ban_time: Option<f64>) -> Ticket {
        let mut ticket = Ticket::new(Id::parse(ip), NOW - ago);
        ticket.ban_time = ban_time.map(Number::Float);
        ticket.ban_count = 1;
        ticket.data.failures = 3;
        ticket.data.matches = vec![MatchedLine::Split(["a".into(), "b".into(), "c".into()]), "d".into()];
        ticket.data.fields.insert("user".into(), "root".into());
        ticket
    }

    fn add(store: &mut Store, jail: &str, ticket: &Ticket) {
        store.add_ban(NewBan { jail, ticket, default_ban_time: 600.0 }).expect("a ban");
    }

    fn asked(jail: &str) -> CurrentBans<'_> {
        CurrentBans {
            jail,
            now: NOW,
            for_ban_time: None,
            max_ban_time: None,
            jail_ban_time: 600.0,
            max_matches: None,
        }
    }

    fn current(store: &Store, asked: CurrentBans<'_>) -> Vec<(String, f64)> {
        let tickets = store.current_bans(&asked, &Recorder::default()).expect("bans");
        tickets.iter().map(|ticket| (ticket.id.to_string(), ticket.ban_time_or(f64::NAN))).collect()
    }

    #[test]
    fn a_ban_comes_back_as_it_was() {
        let mut store = store();
        let mut expected = ticket("192.0.2.1", 100.0, Some(3600.5));
        expected.time = Time(expected.time.0 + 0.4);
        add(&mut store, "sshd", &expected);
        (expected.time, expected.whole_time) = (NOW - 100.0, true);
        expected.first_time = expected.time;
        expected.retry = 3;
        assert_eq!(store.current_bans(&asked("sshd"), &Recorder::default()).expect("bans"), [expected]);
        assert!(current(&store, asked("nginx")).is_empty());
    }

    #[test]
    fn only_bans_in_force_come_back() {
        let mut store = store();
        add(&mut store, "sshd", &ticket("192.0.2.1", 599.0, None));
        add(&mut store, "sshd", &ticket("192.0.2.2", 600.0, None));
        add(&mut store, "sshd", &ticket("192.0.2.3", 1e6, Some(-1.0)));
        add(&mut store, "sshd", &ticket("192.0.2.4", 900.0, Some(-2.0)));
        add(&mut store, "sshd", &ticket("192.0.2.5", 90.0, Some(-2.0)));
        let bans = |list: &[(&str, f64)]| list.iter().map(|(ip, t)| ((*ip).into(), *t)).collect::<Vec<_>>();
        assert_eq!(
            current(&store, asked("sshd")),
            bans(&[("192.0.2.1", 600.0), ("192.0.2.3", -1.0), ("192.0.2.5", 600.0)])
        );
        assert_eq!(
            current(&store, CurrentBans { for_ban_time: Some(500.0), ..asked("sshd") }),
            bans(&[("192.0.2.5", 600.0)])
        );
        assert_eq!(current(&store, CurrentBans { for_ban_time: Some(-1.0), ..asked("sshd") }).len(), 3);
        assert_eq!(
            current(&store, CurrentBans { max_ban_time: Some(Number::Int(300)), ..asked("sshd") }),
            bans(&[("192.0.2.5", 600.0)])
        );
        assert_eq!(
            current(&store, CurrentBans { max_ban_time: Some(Number::Float(2e6)), ..asked("sshd") }),
            bans(&[("192.0.2.1", 600.0), ("192.0.2.3", 2e6), ("192.0.2.5", 600.0)])
        );
    }

    #[test]
    fn lines_are_kept_up_to_a_bound() {
        let mut store = store();
        store.set_max_matches(1);
        add(&mut store, "sshd", &ticket("192.0.2.1", 1.0, None));
        let lines = |max| {
            let asked = CurrentBans { max_matches: max, ..asked("sshd") };
            let mut tickets = store.current_bans(&asked, &Recorder::default()).expect("bans");
            tickets.pop().expect("a ban").data.matches
        };
        assert_eq!(lines(None), [MatchedLine::from("d")]);
        assert_eq!(lines(Some(5)).len(), 1);
        assert!(lines(Some(0)).is_empty());
    }

    #[test]
    fn history_is_that_of_a_jail_or_of_all() {
        let mut store = store();
        let mut first = ticket("192.0.2.1", 500.0, None);
        add(&mut store, "sshd", &first);
        first.ban_count = 2;
        first.ban_time = Some(Number::Int(1200));
        first.time = NOW - 100.0;
        add(&mut store, "sshd", &first);
        add(&mut store, "nginx", &ticket("192.0.2.1", 50.0, None));
        let history = |ban_count, ago, ban_time: i64| {
            Some(History { ban_count, time_of_ban: NOW - ago, ban_time: ban_time.into() })
        };
        let id = Id::parse("192.0.2.1");
        let ask = |jail, overall| store.history(&id, jail, overall).expect("an answer");
        assert_eq!(ask(Some("sshd"), false), history(2, 100.0, 1200));
        assert_eq!(ask(Some("sshd"), true), history(3, 50.0, 1800));
        assert_eq!(ask(None, false), history(1, 50.0, 600));
        assert_eq!(store.history(&Id::parse("192.0.2.9"), None, true).expect("an answer"), None);
    }

    #[test]
    fn bans_of_an_address_are_merged() {
        let mut store = store();
        store.set_max_matches(3);
        let mut old = ticket("192.0.2.1", 500.0, None);
        old.data.matches = vec!["1".into(), "2".into()];
        add(&mut store, "sshd", &old);
        let mut new = ticket("192.0.2.1", 100.0, None);
        new.data.matches = vec!["3".into(), "4".into()];
        new.data.fields.insert("user".into(), "admin".into());
        new.data.fields.insert("port".into(), "22".into());
        add(&mut store, "sshd", &new);
        add(&mut store, "nginx", &ticket("192.0.2.1", 50.0, None));
        let merged = |jail| store.bans_merged(&old.id, jail).expect("an answer").expect("bans");
        let sshd = merged(Some("sshd"));
        assert_eq!(sshd.matches, ["2".into(), "3".into(), "4".into()]);
        assert_eq!(sshd.failures, 6);
        assert_eq!(serde_json::Value::Object(sshd.fields).to_string(), r#"{"user":"root","port":"22"}"#);
        assert_eq!(merged(None).failures, 9);
        assert_eq!(store.bans_merged(&Id::parse("192.0.2.9"), None).expect("an answer"), None);
    }

    #[test]
    fn deleted_bans_are_gone() {
        let mut store = store();
        for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            add(&mut store, "sshd", &ticket(ip, 1.0, None));
        }
        add(&mut store, "nginx", &ticket("192.0.2.1", 1.0, None));
        store.del_ban("sshd", Some(&[Id::parse("192.0.2.1"), Id::parse("192.0.2.9")])).expect("deleted");
        assert_eq!(current(&store, asked("sshd")).len(), 2);
        assert_eq!(store.bans_merged(&Id::parse("192.0.2.1"), Some("sshd")).expect("an answer"), None);
        store.del_ban("sshd", None).expect("deleted");
        assert!(current(&store, asked("sshd")).is_empty());
        assert_eq!(current(&store, asked("nginx")).len(), 1);
    }

    #[test]
    fn many_bans_are_written_all_or_none() {
        let mut store = store();
        let ticket = ticket("192.0.2.1", 1.0, None);
        let ban = |jail| NewBan { jail, ticket: &ticket, default_ban_time: 600.0 };
        assert!(store.add_bans(&[ban("sshd"), ban("nobody")]).is_err());
        assert!(current(&store, asked("sshd")).is_empty());
        store.add_bans(&[ban("sshd"), ban("nginx")]).expect("written");
        assert_eq!(current(&store, asked("nginx")).len(), 1);
    }

    #[test]
    fn rows_of_a_wrong_shape_are_skipped() {
        let store = store();
        for values in [
            "x'c328', 'sshd', 1700000000, 600, 1, '{}'",
            "'', 'sshd', 1700000000, 600, 1, '{}'",
            "'192.0.2.1', 'sshd', 'soon', 600, 1, '{}'",
            "'192.0.2.2', 'sshd', 1700000000, x'00', 1, '{}'",
            "'192.0.2.3', 'sshd', 1700000000, 600, 'many', '{}'",
            "'192.0.2.4', 'sshd', 1700000000, 600, 1, '{\"failures\": '",
            "'192.0.2.5', 'sshd', 1700000000, 600, 1, NULL",
            "'192.0.2.6', 'sshd', 1700000000, 9e999, 1, 17",
        ] {
            let sql = "INSERT INTO bips (ip, jail, timeofban, bantime, bancount, data) VALUES";
            store.connection.execute(&format!("{sql} ({values})"), []).expect("a row");
        }
        let log = Recorder::default();
        let tickets = store.current_bans(&asked("sshd"), &log).expect("bans");
        let ids: Vec<String> = tickets.iter().map(|ticket| ticket.id.to_string()).collect();
        assert_eq!(ids, ["192.0.2.4", "192.0.2.5", "192.0.2.6"]);
        assert!(log.lines().iter().all(|line| line.starts_with("DEBUG get current bans: ignore row - ")));
        assert!(log.lines().len() >= 3, "{:?}", log.lines());
    }
}
