//! What the commands of an action can ask about a ban, each answer worked out when it is first asked for.
//!
//! Values print as Python's `str` prints them, since they end up in scripts that were written for upstream.
//!
//! Upstream: `actions.Actions.ActionInfo`, and `Ticket.__str__` for `<raw-ticket>`.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use f2b_protocol::Value;
use f2b_types::{FailData, Id, Level, Log, MatchedLine, Record, Ticket};

use crate::families::Family;
use crate::names::Names;
use crate::script::{Subject, TagSource};

/// The counters of a jail at the moment of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JailCounts {
    /// Bans in force (`<jail.banned>`).
    pub banned: i64,
    /// Bans since the start (`<jail.banned_total>`).
    pub banned_total: i64,
    /// Ids with failures that still count (`<jail.found>`).
    pub found: i64,
    /// Failures since the start (`<jail.found_total>`).
    pub found_total: i64,
}

/// Who knows the earlier bans of an address: the database.
pub trait EarlierBans {
    /// Matches and failures of all earlier bans of `ip` together, in one jail or in all; `None` where there are none.
    ///
    /// # Errors
    ///
    /// The reason why the database can't tell.
    fn merged(&self, ip: &Id, jail: Option<&str>) -> Result<Option<FailData>, String>;
}

/// The tags in the order in which upstream defines them, which is the order of [`BanInfo`]'s text.
pub(crate) const TAGS: &[&str] = &[
    "ip",
    "family",
    "ip-rev",
    "ip-host",
    "fid",
    "failures",
    "time",
    "bantime",
    "bancount",
    "matches",
    "restored",
    "F-*",
    "ipmatches",
    "ipjailmatches",
    "ipfailures",
    "ipjailfailures",
    "raw-ticket",
    "jail.name",
    "jail.banned",
    "jail.banned_total",
    "jail.found",
    "jail.found_total",
];

/// The jail around a ban.
#[derive(Clone, Copy)]
pub struct JailInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its `bantime`, for tickets without a time of their own.
    pub ban_time: f64,
    /// Its counters.
    pub counts: JailCounts,
    /// Its database.
    pub earlier: Option<&'a dyn EarlierBans>,
    /// Resolves `<ip-host>`.
    pub names: &'a dyn Names,
    /// Where failures of the database are reported.
    pub log: &'a dyn Log,
}

/// The answers about one ban in one jail.
pub struct BanInfo<'a> {
    ticket: &'a Ticket,
    jail: JailInfo<'a>,
    /// For a command that is about a family rather than a ban.
    family: Option<Option<&'a str>>,
    known: RefCell<BTreeMap<usize, Value>>,
    merged_overall: OnceCell<Option<FailData>>,
    merged_in_jail: OnceCell<Option<FailData>>,
}

impl<'a> BanInfo<'a> {
    /// The answers about `ticket`, banned in `jail`.
    pub fn new(ticket: &'a Ticket, jail: JailInfo<'a>) -> Self {
        Self {
            ticket,
            jail,
            family: None,
            known: RefCell::default(),
            merged_overall: OnceCell::new(),
            merged_in_jail: OnceCell::new(),
        }
    }

    /// The answers where there is no ban, when an action starts or stops for `family`; `empty` is a ticket of the
    /// empty id and the present time.
    pub(crate) fn of_operation(empty: &'a Ticket, family: Option<&'a str>, jail: JailInfo<'a>) -> Self {
        Self { family: Some(family), ..Self::new(empty, jail) }
    }

    fn family(&self) -> Option<&'a str> {
        match self.family {
            Some(family) => family,
            None => self.ticket.ip().family().map(|family| family.as_str()),
        }
    }

    /// What costs nothing to tell, for whoever can't ask as it goes.
    pub(crate) fn at_hand(&self) -> Vec<(&'static str, Value)> {
        const COSTLY: &[&str] =
            &["ip-host", "ipmatches", "ipjailmatches", "ipfailures", "ipjailfailures", "raw-ticket"];
        let cheap = TAGS.iter().filter(|name| !COSTLY.contains(name));
        cheap.filter_map(|name| Some((*name, self.compute(name)?))).collect()
    }

    /// The value of a tag, as Python has it.
    pub(crate) fn ask(&self, name: &str) -> Option<Value> {
        self.value(TAGS.iter().position(|tag| *tag == name)?)
    }

    /// What is known of the earlier bans of an address, in this jail or in all of them.
    pub(crate) fn earlier(&self, ip: &Id, overall: bool) -> Option<Value> {
        let jail = (!overall).then_some(self.jail.name);
        let data = self.jail.earlier?.merged(ip, jail).ok().flatten()?;
        Some(from_json(&data.to_json()))
    }

    /// The address to act upon.
    pub fn ip(&self) -> &'a Id {
        self.ticket.ip()
    }

    /// The value of the tag at `index`, remembered for the next question and for the log.
    fn value(&self, index: usize) -> Option<Value> {
        if let Some(value) = self.known.borrow().get(&index) {
            return Some(value.clone());
        }
        let value = self.compute(TAGS.get(index)?)?;
        self.known.borrow_mut().insert(index, value.clone());
        Some(value)
    }

    fn compute(&self, name: &str) -> Option<Value> {
        let (ticket, jail) = (self.ticket, &self.jail);
        Some(match name {
            "ip" => ticket.ip().to_string().into(),
            "family" => self.family().map_or(Value::None, Value::from),
            "ip-rev" => ticket.ip().ptr("").into(),
            "ip-host" => jail.names.host_of(ticket.ip()).map_or(Value::None, Value::from),
            "fid" => ticket.id.to_string().into(),
            "failures" => ticket.data.failures.into(),
            "time" => ticket.time_number().into(),
            "bantime" => (ticket.ban_time_or(jail.ban_time) as i64).into(),
            "bancount" => ticket.ban_count.into(),
            "matches" => lines(&ticket.data).into(),
            "restored" => i64::from(ticket.restored).into(),
            "F-*" => data_of(ticket),
            "ipmatches" => lines(self.merged(true)).into(),
            "ipjailmatches" => lines(self.merged(false)).into(),
            "ipfailures" => self.merged(true).failures.into(),
            "ipjailfailures" => self.merged(false).failures.into(),
            "raw-ticket" => raw(ticket).into(),
            "jail.name" => jail.name.into(),
            "jail.banned" => jail.counts.banned.into(),
            "jail.banned_total" => jail.counts.banned_total.into(),
            "jail.found" => jail.counts.found.into(),
            "jail.found_total" => jail.counts.found_total.into(),
            _ => return None,
        })
    }

    /// Matches and failures of the earlier bans of the address; of this ban alone where nothing is known of others.
    fn merged(&self, overall: bool) -> &FailData {
        let (cell, what, jail) = if overall {
            (&self.merged_overall, "all", None)
        } else {
            (&self.merged_in_jail, "jail", Some(self.jail.name))
        };
        let merged = cell.get_or_init(|| {
            let answer = self.jail.earlier?.merged(self.ticket.ip(), jail);
            answer.unwrap_or_else(|error| {
                let message = format!("Failed to get {what} bans merged, jail '{}': {error}", self.jail.name);
                self.jail.log.write(Record::new(Level::ERROR, "actions", message));
                None
            })
        });
        merged.as_ref().unwrap_or(&self.ticket.data)
    }
}

impl Subject for BanInfo<'_> {
    fn family(&self) -> Family {
        BanInfo::family(self).map(Into::into)
    }

    fn is_restored(&self) -> bool {
        self.ticket.restored
    }
}

impl TagSource for BanInfo<'_> {
    fn tag(&self, name: &str) -> Option<String> {
        let index = TAGS.iter().position(|tag| *tag == name)?;
        self.value(index).map(|value| value.to_text())
    }

    fn field(&self, name: &str) -> Option<String> {
        match name {
            "matches" | "failures" | "ip" => match data_of(self.ticket) {
                Value::Dict(entries) => entries
                    .into_iter()
                    .find(|(key, _)| key.as_str() == Some(name))
                    .map(|(_, value)| value.to_text()),
                _ => None,
            },
            name => self.ticket.data.fields.get(name).map(|_| field_of(self.ticket, name).to_text()),
        }
    }
}

/// What has been asked for so far, and always the id and the ticket. (Upstream prints these two as the addresses of
/// functions.)
impl fmt::Display for BanInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in TAGS.iter().enumerate() {
            if matches!(*name, "fid" | "raw-ticket") {
                self.value(index);
            }
        }
        let known = self.known.borrow();
        let entries =
            known.iter().filter_map(|(index, value)| Some(((*TAGS.get(*index)?).into(), value.clone())));
        write!(f, "ActionInfo({})", Value::Dict(entries.collect()))
    }
}

fn lines(data: &FailData) -> String {
    data.matches.iter().map(MatchedLine::to_string).collect::<Vec<_>>().join("\n")
}

/// The whole data of a ticket, as upstream keeps it.
fn data_of(ticket: &Ticket) -> Value {
    let data = &ticket.data;
    let mut entries: Vec<(Value, Value)> =
        vec![("matches".into(), matches_of(ticket)), ("failures".into(), data.failures.into())];
    entries.extend(data.fields.keys().map(|name| (name.as_str().into(), field_of(ticket, name))));
    if let Some(ip) = &data.ip {
        entries.push(("ip".into(), ip.to_string().into()));
    }
    Value::Dict(entries)
}

/// A field of the filter. What is made of several captures is a tuple and the users of a connection are a set, which the
/// database turns into lists.
fn field_of(ticket: &Ticket, name: &str) -> Value {
    let tuple = |value: Value| match value {
        Value::List(items) => Value::Tuple(items),
        value => value,
    };
    match ticket.data.fields.get(name).map_or(Value::None, from_json) {
        Value::List(items) if ticket.restored => Value::List(items),
        Value::List(items) if name == "users" => Value::Set(items.into_iter().map(tuple).collect()),
        value => tuple(value),
    }
}

/// The lines are split into tuples, which the database turns into lists.
fn matches_of(ticket: &Ticket) -> Value {
    let value = |line: &MatchedLine| match line {
        MatchedLine::Whole(line) => line.as_str().into(),
        MatchedLine::Split(parts) if ticket.restored => Value::strings(parts.iter().cloned()),
        MatchedLine::Split(parts) => Value::Tuple(parts.iter().map(|part| part.as_str().into()).collect()),
    };
    Value::List(ticket.data.matches.iter().map(value).collect())
}

fn raw(ticket: &Ticket) -> String {
    let ban_time = match ticket.ban_time {
        None => Value::None,
        Some(seconds) => seconds.into(),
    };
    format!(
        "BanTicket: ip={} time={} bantime={ban_time} bancount={} #attempts={} matches={}",
        ticket.id,
        ticket.time_number(),
        ticket.ban_count,
        ticket.data.failures,
        matches_of(ticket),
    )
}

/// The depth of a JSON value is bounded by the parser that read it.
pub(crate) fn from_json(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::None,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => match n.as_i64() {
            Some(n) => n.into(),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(map) => {
            Value::Dict(map.iter().map(|(name, value)| (name.as_str().into(), from_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::FixedNames;
    use f2b_types::{Number, Recorder, Time};

    fn ticket() -> Ticket {
        let mut ticket = Ticket::new(Id::parse("192.0.2.1"), Time(1124012400.0));
        ticket.data.failures = 3;
        ticket.data.matches = vec![
            MatchedLine::Split(["".into(), "Aug 14".into(), " it's".into()]),
            MatchedLine::Whole("second".into()),
        ];
        ticket.data.fields.insert("user".into(), "root".into());
        ticket.data.fields.insert("users".into(), serde_json::json!(["a", "b", null]));
        ticket.ban_count = 2;
        ticket
    }

    struct Database(Result<Option<FailData>, String>);

    impl EarlierBans for Database {
        fn merged(&self, _: &Id, jail: Option<&str>) -> Result<Option<FailData>, String> {
            let mut answer = self.0.clone();
            if let (Ok(Some(data)), None) = (&mut answer, jail) {
                data.failures *= 10;
            }
            answer
        }
    }

    #[track_caller]
    fn check(ticket: &Ticket, pairs: &[(&str, &str)]) {
        let (names, log) = (FixedNames::default(), Recorder::default());
        let counts = JailCounts { banned: 1, banned_total: 2, found: 3, found_total: 4 };
        let database = Database(Ok(Some(FailData {
            matches: vec!["x".into(), "y".into()],
            failures: 5,
            ..FailData::default()
        })));
        let jail = JailInfo {
            name: "sshd",
            ban_time: 600.0,
            counts,
            earlier: Some(&database),
            names: &names,
            log: &log,
        };
        let info = BanInfo::new(ticket, jail);
        for (name, value) in pairs {
            assert_eq!(info.tag(name).as_deref(), Some(*value), "{name}");
        }
        assert_eq!(info.tag("unknown"), None);
    }

    #[test]
    fn every_tag_has_its_value() {
        check(
            &ticket(),
            &[
                ("ip", "192.0.2.1"),
                ("family", "inet4"),
                ("ip-rev", "1.2.0.192."),
                ("ip-host", "None"),
                ("fid", "192.0.2.1"),
                ("failures", "3"),
                ("time", "1124012400.0"),
                ("bantime", "600"),
                ("bancount", "2"),
                ("matches", "Aug 14 it's\nsecond"),
                ("restored", "0"),
                (
                    "F-*",
                    "{'matches': [('', 'Aug 14', \" it's\"), 'second'], 'failures': 3, 'user': 'root', \
                     'users': {'a', 'b', None}}",
                ),
                ("ipmatches", "x\ny"),
                ("ipjailmatches", "x\ny"),
                ("ipfailures", "50"),
                ("ipjailfailures", "5"),
                (
                    "raw-ticket",
                    "BanTicket: ip=192.0.2.1 time=1124012400.0 bantime=None bancount=2 #attempts=3 \
                     matches=[('', 'Aug 14', \" it's\"), 'second']",
                ),
                ("jail.name", "sshd"),
                ("jail.banned", "1"),
                ("jail.banned_total", "2"),
                ("jail.found", "3"),
                ("jail.found_total", "4"),
            ],
        );
    }

    #[test]
    fn what_the_database_restored_looks_different() {
        let mut ticket = ticket();
        ticket.restored = true;
        ticket.whole_time = true;
        ticket.ban_time = Some(Number::Int(-1));
        ticket.data.ip = Some(Id::parse("2001:db8::1"));
        check(
            &ticket,
            &[
                ("time", "1124012400"),
                ("restored", "1"),
                ("bantime", "-1"),
                ("ip", "2001:db8::1"),
                ("family", "inet6"),
                ("fid", "192.0.2.1"),
                (
                    "raw-ticket",
                    "BanTicket: ip=192.0.2.1 time=1124012400 bantime=-1 bancount=2 #attempts=3 \
                     matches=[['', 'Aug 14', \" it's\"], 'second']",
                ),
            ],
        );
        check(
            &Ticket::new(Id::raw("someone"), Time(1.5)),
            &[("family", "None"), ("ip-rev", ""), ("time", "1.5")],
        );
    }

    #[test]
    fn fields_are_those_of_the_filter_and_of_the_ticket() {
        let (names, log, ticket) = (FixedNames::default(), Recorder::default(), ticket());
        let jail = JailInfo {
            name: "j",
            ban_time: 600.0,
            counts: JailCounts::default(),
            earlier: None,
            names: &names,
            log: &log,
        };
        let info = BanInfo::new(&ticket, jail);
        assert_eq!(info.field("user").as_deref(), Some("root"));
        assert_eq!(info.field("users").as_deref(), Some("{'a', 'b', None}"));
        assert_eq!(info.field("failures").as_deref(), Some("3"));
        assert_eq!(info.field("none"), None);
        assert_eq!(info.tag("ipfailures").as_deref(), Some("3"));
        info.tag("ip");
        let raw = info.tag("raw-ticket").expect("a ticket");
        let expected = format!(
            "ActionInfo({{'ip': '192.0.2.1', 'fid': '192.0.2.1', 'ipfailures': 3, 'raw-ticket': {}}})",
            Value::from(raw)
        );
        assert_eq!(info.to_string(), expected);
    }

    #[test]
    fn a_database_that_fails_is_reported_once() {
        let (names, log, ticket) = (FixedNames::default(), Recorder::default(), ticket());
        let database = Database(Err("disk full".into()));
        let jail = JailInfo {
            name: "j",
            ban_time: 600.0,
            counts: JailCounts::default(),
            earlier: Some(&database),
            names: &names,
            log: &log,
        };
        let info = BanInfo::new(&ticket, jail);
        assert_eq!(info.tag("ipjailfailures").as_deref(), Some("3"));
        assert_eq!(info.tag("ipjailmatches").as_deref(), Some("Aug 14 it's\nsecond"));
        assert_eq!(log.lines(), ["ERROR Failed to get jail bans merged, jail 'j': disk full"]);
    }
}
