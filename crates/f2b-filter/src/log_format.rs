//! Logs whose lines are objects of JSON (`logformat`, which is beyond upstream): the message of an entry, and its time.
//!
//! | format | message | time |
//! |---|---|---|
//! | `docker-json` | `log`, of which a text without a newline at its end goes on in the next object of the same `stream` | `time` |
//! | `json[message=key, time=key]` | any key, `message` unless given | any key, `time` unless given |
//!
//! A key with dots names one in an object in an object, or one that has the dots itself. Of keys that are there twice the
//! last counts. A message must be a text; a time is a text in ISO 8601 or the seconds since 1970, or milli-, micro- or
//! nanoseconds if it is that large.
//!
//! Lines come from anybody: nesting takes no stack and no memory beyond the line, and a surrogate without its other half
//! does not hide the line that it is in. What is no such object is no entry, and is not searched, since text that somebody
//! sent would stand in it at any place. In the usual case nothing is allocated: the message is a part of the line.

use std::error::Error;
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::trim_line_end;

/// Bytes of a message in parts that count.
const MAX_MESSAGE: usize = 1 << 20;

/// Room for a message that is kept for the next one.
const KEPT_ROOM: usize = 16 << 10;

/// The second after the year 9999.
const END_OF_CALENDAR: f64 = 253_402_300_800.0;

/// Where in a line the message and its time are. Prints as it is written in a jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormat {
    message: String,
    time: String,
    is_docker: bool,
}

/// A `logformat` that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormatError {
    /// There is no format of this name.
    Name(String),
    /// The format has no option of this name.
    Option {
        /// The format.
        format: &'static str,
        /// The option.
        option: String,
    },
    /// A key is empty.
    EmptyKey(String),
}

impl fmt::Display for LogFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(f, "'{name}' is no logformat; write docker-json or json[message=<key>, time=<key>]")
            }
            Self::Option { format: "json", option } => {
                write!(f, "the logformat json has no option '{option}', only message and time")
            }
            Self::Option { format, option } => {
                write!(f, "the logformat {format} has no options, so not '{option}'")
            }
            Self::EmptyKey(option) => write!(f, "the key that {option} names in logformat is empty"),
        }
    }
}

impl Error for LogFormatError {}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_docker {
            true => f.write_str("docker-json"),
            false => write!(f, "json[message=\"{}\", time=\"{}\"]", self.message, self.time),
        }
    }
}

/// What a line of a log is.
#[derive(Debug, PartialEq)]
pub enum Entry<'l> {
    /// A message, without line ends at its end, and when it was written if that could be read.
    Message(&'l str, Option<EntryTime>),
    /// A part of a message that goes on.
    Part,
    /// No entry of this format.
    Other,
}

/// The time of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EntryTime {
    /// Seconds since 1970.
    Moment(f64),
    /// On the calendar of whoever wrote it.
    Local(DateTime),
}

impl EntryTime {
    /// Seconds since 1970, where a time without a zone has the offset, in minutes, or else the zone.
    pub(crate) fn seconds(self, offset: Option<i32>, zone: &TimeZone) -> Option<f64> {
        let local = match self {
            Self::Moment(seconds) => return Some(seconds),
            Self::Local(local) => local,
        };
        let fixed = offset.and_then(|minutes| Offset::from_seconds(minutes.checked_mul(60)?).ok());
        let stamp = match fixed {
            Some(offset) => offset.to_timestamp(local).ok()?,
            None => zone.to_timestamp(local).ok()?,
        };
        Some(seconds_of(stamp))
    }
}

/// What has come of messages that go on. Two are equal if the same is to come.
#[derive(Debug, Clone, Default)]
pub struct OpenMessages {
    /// One for each stream.
    open: [String; 2],
    /// The last whole one that had to be put together.
    whole: String,
}

impl PartialEq for OpenMessages {
    fn eq(&self, other: &Self) -> bool {
        self.open == other.open
    }
}

impl LogFormat {
    /// The format of that name with its options.
    ///
    /// # Errors
    ///
    /// [`LogFormatError`] says what is wrong with which of them.
    pub fn new(name: &str, options: &[(String, String)]) -> Result<Self, LogFormatError> {
        let (format, message) = match name {
            "docker-json" => ("docker-json", "log"),
            "json" => ("json", "message"),
            name => return Err(LogFormatError::Name(name.into())),
        };
        let is_docker = format == "docker-json";
        let mut made = Self { message: message.into(), time: "time".into(), is_docker };
        for (option, key) in options {
            let field = match option.as_str() {
                "message" if !is_docker => &mut made.message,
                "time" if !is_docker => &mut made.time,
                option => return Err(LogFormatError::Option { format, option: option.into() }),
            };
            if key.is_empty() {
                return Err(LogFormatError::EmptyKey(option.clone()));
            }
            field.clone_from(key);
        }
        Ok(made)
    }

    /// Whether a message may go on in another line.
    pub fn has_parts(&self) -> bool {
        self.is_docker
    }

    /// What the next line of a log is; `open` is what the lines before it have left open.
    pub fn read<'l>(&self, line: &'l str, open: &'l mut OpenMessages) -> Entry<'l> {
        let OpenMessages { open, whole } = open;
        let Some(fields) = self.fields(line) else { return Entry::Other };
        let Some(message) = fields.message.and_then(text_of) else { return Entry::Other };
        let time = fields.time.and_then(time_of);
        let is_error = fields.stream.and_then(text_of) == Some("stderr");
        let open = &mut open[usize::from(is_error)];
        let (message, goes_on) = match without_newline(message) {
            _ if !self.is_docker => (message, false),
            // Unless that backslash is an escaped one itself.
            Some(text) if trailing_backslashes(text).is_multiple_of(2) => (text, false),
            _ => (message, true),
        };
        if goes_on {
            unescape(message, open);
            return Entry::Part;
        }
        if open.is_empty() && memchr::memchr(b'\\', message.as_bytes()).is_none() {
            return Entry::Message(trim_line_end(message), time);
        }
        whole.clear();
        whole.shrink_to(KEPT_ROOM);
        if !open.is_empty() {
            std::mem::swap(whole, open);
        }
        unescape(message, whole);
        Entry::Message(trim_line_end(whole), time)
    }

    /// The time of an entry, whole or not; `None` for what is no entry, or doesn't say.
    pub(crate) fn time(&self, line: &str) -> Option<EntryTime> {
        self.fields(line)?.time.and_then(time_of)
    }

    /// The values in their spelling; `None` for what is no object.
    fn fields<'l>(&self, line: &'l str) -> Option<RawFields<'l>> {
        let mut fields = RawFields::default();
        let mut json = serde_json::Deserializer::from_str(line.trim_start_matches('\u{feff}'));
        let wanted = Wanted {
            message: Some(&self.message),
            time: Some(&self.time),
            stream: self.is_docker.then_some("stream"),
        };
        Object { wanted, fields: &mut fields }.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(fields)
    }
}

/// Values as they are spelled in the line.
#[derive(Debug, Default)]
struct RawFields<'l> {
    message: Option<&'l str>,
    time: Option<&'l str>,
    stream: Option<&'l str>,
}

/// The keys that are wanted of an object, each as far as it isn't known yet.
#[derive(Debug, Clone, Copy)]
struct Wanted<'k> {
    message: Option<&'k str>,
    time: Option<&'k str>,
    stream: Option<&'k str>,
}

/// What to do about a key: whether its value is wanted, or what is in it.
struct Chosen<'k> {
    message: bool,
    time: bool,
    stream: bool,
    inner: Wanted<'k>,
}

impl<'k> Wanted<'k> {
    fn choose(self, key: &str) -> Chosen<'k> {
        let is_it = |wanted: Option<&str>| wanted == Some(key);
        let inner = |wanted: Option<&'k str>| wanted?.strip_prefix(key)?.strip_prefix('.');
        Chosen {
            message: is_it(self.message),
            time: is_it(self.time),
            stream: is_it(self.stream),
            inner: Wanted { message: inner(self.message), time: inner(self.time), stream: None },
        }
    }

    fn is_nothing(self) -> bool {
        self.message.is_none() && self.time.is_none()
    }
}

/// Reads an object for what is wanted of it.
struct Object<'k, 'f, 'l> {
    wanted: Wanted<'k>,
    fields: &'f mut RawFields<'l>,
}

impl<'l> DeserializeSeed<'l> for Object<'_, '_, 'l> {
    type Value = ();
    fn deserialize<D: Deserializer<'l>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'l> Visitor<'l> for Object<'_, '_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'l>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(chosen) = map.next_key_seed(Key(self.wanted))? {
            if chosen.message || chosen.time || chosen.stream {
                let value = Some(map.next_value::<&RawValue>()?.get());
                for (is_it, field) in [
                    (chosen.message, &mut self.fields.message),
                    (chosen.time, &mut self.fields.time),
                    (chosen.stream, &mut self.fields.stream),
                ] {
                    if is_it {
                        *field = value;
                    }
                }
            } else if chosen.inner.is_nothing() {
                map.next_value::<IgnoredAny>()?;
            } else {
                let value = map.next_value::<&RawValue>()?.get();
                if value.starts_with('{') {
                    let mut inner = serde_json::Deserializer::from_str(value);
                    Object { wanted: chosen.inner, fields: self.fields }
                        .deserialize(&mut inner)
                        .map_err(serde::de::Error::custom)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a key.
struct Key<'k>(Wanted<'k>);

impl<'l, 'k> DeserializeSeed<'l> for Key<'k> {
    type Value = Chosen<'k>;
    fn deserialize<D: Deserializer<'l>>(self, json: D) -> Result<Chosen<'k>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'k> Visitor<'_> for Key<'k> {
    type Value = Chosen<'k>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Chosen<'k>, E> {
        Ok(self.0.choose(key))
    }
}

/// What stands between the quotes; `None` for what is no text.
fn text_of(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

fn trailing_backslashes(text: &str) -> usize {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count()
}

/// Adds the text that a valid spelling stands for, up to a length.
fn unescape(mut spelled: &str, text: &mut String) {
    while let Some((plain, escape)) = spelled.split_once('\\').filter(|_| text.len() < MAX_MESSAGE) {
        text.push_str(plain);
        let mut chars = escape.chars();
        let char = match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('u') => {
                let (char, rest) = escaped_char(chars.as_str());
                text.push(char);
                spelled = rest;
                continue;
            }
            Some(char) => char,
            None => break,
        };
        text.push(char);
        spelled = chars.as_str();
    }
    let room = MAX_MESSAGE.saturating_sub(text.len());
    text.push_str(&spelled[..spelled.floor_char_boundary(room)]);
}

/// The character behind `\u`, and what stands behind it.
fn escaped_char(digits: &str) -> (char, &str) {
    let number = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let Some(first) = number(digits) else { return (char::REPLACEMENT_CHARACTER, digits) };
    let rest = &digits[4..];
    if let Some(char) = char::from_u32(first) {
        return (char, rest);
    }
    let second = rest.strip_prefix("\\u").and_then(number).filter(|low| (0xdc00..0xe000).contains(low));
    match second.filter(|_| first < 0xdc00) {
        Some(low) => {
            let char = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
            (char.unwrap_or(char::REPLACEMENT_CHARACTER), &rest[6..])
        }
        None => (char::REPLACEMENT_CHARACTER, rest),
    }
}

/// The text before the newline at the end of one, in either of its spellings.
fn without_newline(text: &str) -> Option<&str> {
    ["\\n", "\\u000a", "\\u000A"].iter().find_map(|newline| text.strip_suffix(newline))
}

/// The time that a value stands for.
fn time_of(value: &str) -> Option<EntryTime> {
    match text_of(value) {
        None => epoch(value),
        Some(text) => moment(text).or_else(|| epoch(text)),
    }
}

fn moment(text: &str) -> Option<EntryTime> {
    if let Ok(stamp) = text.parse() {
        return Some(EntryTime::Moment(seconds_of(stamp)));
    }
    text.parse().ok().map(EntryTime::Local)
}

/// Seconds since 1970, or smaller units of so large a number.
fn epoch(text: &str) -> Option<EntryTime> {
    let number: f64 = text.parse().ok()?;
    let unit = match number {
        ..1e11 => 1.0,
        ..1e14 => 1e3,
        ..1e17 => 1e6,
        _ => 1e9,
    };
    let seconds = number / unit;
    (0.0..END_OF_CALENDAR).contains(&seconds).then_some(EntryTime::Moment(seconds))
}

fn seconds_of(stamp: Timestamp) -> f64 {
    SignedDuration::new(stamp.as_second(), stamp.subsec_nanosecond()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_124_013_600.0;

    fn docker() -> LogFormat {
        LogFormat::new("docker-json", &[]).unwrap()
    }

    fn json(message: &str, time: &str) -> LogFormat {
        let option = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        LogFormat::new("json", &[option("message", message), option("time", time)]).unwrap()
    }

    /// The message of a line by itself, and its time.
    #[track_caller]
    fn check(format: &LogFormat, line: &str, expected: Option<(&str, Option<f64>)>) {
        let mut open = OpenMessages::default();
        let seen = match format.read(line, &mut open) {
            Entry::Message(text, time) => {
                Some((text, time.and_then(|time| time.seconds(Some(120), &TimeZone::UTC))))
            }
            Entry::Part | Entry::Other => None,
        };
        assert_eq!(seen, expected, "{line}");
    }

    #[test]
    fn a_line_of_docker_is_a_message_with_its_time() {
        let line = r#"{"log":"fail 192.0.2.1\n","stream":"stderr","time":"2005-08-14T10:00:00.500000000Z"}"#;
        check(&docker(), line, Some(("fail 192.0.2.1", Some(NOW + 0.5))));
        let line =
            r#"{"log":"a \"b\" \\n\r\n","attrs":{"log":"x","tag":[{}]},"time":"2005-08-14T12:00:00+02:00"}"#;
        check(&docker(), line, Some((r#"a "b" \n"#, Some(NOW))));
        check(&docker(), r#"{"log":"no time\n","stream":7}"#, Some(("no time", None)));
        check(&docker(), r#"{"log":"\n","time":"soon"}"#, Some(("", None)));
        // The backslash is escaped, not the letter behind it: the message goes on.
        check(&docker(), r#"{"log":"dir\\n"}"#, None);
        check(&docker(), r#"{"log":"hex\u000a"}"#, Some(("hex", None)));
        check(&docker(), r#"{"log":"hex\r\u000A"}"#, Some(("hex", None)));
        check(&docker(), r#"{"log":"dir\\u000a"}"#, None);
    }

    #[test]
    fn a_split_message_goes_on_in_its_stream() {
        let (format, mut open) = (docker(), OpenMessages::default());
        let mut read = |log: &str, stream: &str| {
            let line = format!(r#"{{"log":"{log}","stream":"{stream}"}}"#);
            match format.read(&line, &mut open) {
                Entry::Message(text, _) => Some(text.to_owned()),
                Entry::Part => None,
                Entry::Other => panic!("{line}"),
            }
        };
        assert_eq!(read("fail ", "stdout"), None);
        assert_eq!(read("other", "stderr"), None);
        assert_eq!(read("19\\u0032.0.", "stdout"), None);
        assert_eq!(read("2.1\\n", "stdout").as_deref(), Some("fail 192.0.2.1"));
        assert_eq!(read("alone\\n", "stdout").as_deref(), Some("alone"));
        assert_eq!(read(" end\\n", "stderr").as_deref(), Some("other end"));
        assert_eq!(open, OpenMessages::default());
    }

    #[test]
    fn a_message_without_end_takes_no_memory() {
        let (format, mut open) = (docker(), OpenMessages::default());
        let line = format!(r#"{{"log":"{}é"}}"#, "x".repeat(16_383));
        for _ in 0..100 {
            assert_eq!(format.read(&line, &mut open), Entry::Part);
        }
        assert!(open.open[0].len() <= MAX_MESSAGE && open.open[0].capacity() <= 2 * MAX_MESSAGE);
        let Entry::Message(text, _) = format.read(r#"{"log":"\n"}"#, &mut open) else { panic!() };
        assert!(text.len() <= MAX_MESSAGE && text.len() > MAX_MESSAGE - 4);
        assert!(matches!(format.read(r#"{"log":"\t\n"}"#, &mut open), Entry::Message("\t", _)));
        assert!(open.whole.capacity() <= KEPT_ROOM);
    }

    #[test]
    fn keys_may_be_nested_or_have_dots() {
        let format = json("log.message", "@timestamp");
        for line in [
            r#"{"@timestamp":"2005-08-14T10:00:00Z","log":{"level":"x","message":"m"}}"#,
            r#"{"log.message":"m","@timestamp":"2005-08-14T10:00:00Z"}"#,
            r#"{"log":{"message":{}},"log":7,"lo\u0067":{"message":"m"},"@timestamp":1124013600}"#,
        ] {
            check(&format, line, Some(("m", Some(NOW))));
        }
        let format = json("a.b.c", "a.b.t");
        check(&format, r#"{"a":{"b.c":"first","b":{"c":"m","t":1}}}"#, Some(("m", Some(1.0))));
        check(&format, r#"{"a":{"b.c":"first","b":[{"c":"m"}]}}"#, Some(("first", None)));
    }

    #[test]
    fn times_are_texts_or_numbers() {
        for (time, expected) in [
            ("1124013600", Some(NOW)),
            ("1124013600.25", Some(NOW + 0.25)),
            ("1124013600250", Some(NOW + 0.25)),
            ("1124013600250000", Some(NOW + 0.25)),
            ("1124013600250000000", Some(NOW + 0.25)),
            ("1.1240136e9", Some(NOW)),
            (r#""1124013600""#, Some(NOW)),
            (r#""2005-08-14T10:00:00Z""#, Some(NOW)),
            (r#""2005-08-14 10:00:00.25+0000""#, Some(NOW + 0.25)),
            (r#""2005-08-14T12:00:00,25+02""#, Some(NOW + 0.25)),
            // In the zone of the log.
            (r#""2005-08-14T12:00:00""#, Some(NOW)),
            ("-1", None),
            ("1e300", None),
            ("null", None),
            ("{}", None),
            (r#""""#, None),
            (r#""nan""#, None),
            (r#""2005-02-30T10:00:00Z""#, None),
        ] {
            let line = format!(r#"{{"message":"m","time":{time}}}"#);
            check(&json("message", "time"), &line, Some(("m", expected)));
        }
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let format = json("message", "time");
        for line in [
            "",
            "plain text",
            "[]",
            "7",
            "{",
            "{}",
            r#"{"message":"m"} more"#,
            r#"{"message":"m""#,
            r#"{"message":7}"#,
            r#"{"message":null}"#,
            r#"{"message":["m"]}"#,
            r#"{"message":"m","message":7}"#,
            r#"{"Message":"m"}"#,
            "{\"message\":\"m\u{0}\"}",
            &deep,
            &format!(r#"{{"x":{}"#, "[".repeat(100_000)),
        ] {
            check(&format, line, None);
        }
        check(&format, &format!(r#"{{"x":{deep},"message":"m"}}"#), Some(("m", None)));
        check(&json("a.m", "a.t"), &format!(r#"{{"a":{deep},"a":{{"m":"m"}}}}"#), Some(("m", None)));
    }

    #[test]
    fn odd_characters_hide_no_line() {
        let format = json("message", "time");
        check(
            &format,
            r#"{"message":"\ud83d\ude00 \u00e9 \ud800 \udc00\ud800\u0041"}"#,
            Some(("😀 é \u{fffd} \u{fffd}\u{fffd}A", None)),
        );
        check(&format, "{\"message\":\"\u{fffd}é\"}", Some(("\u{fffd}é", None)));
        check(&format, "\u{feff}{\"message\":\"\\b\\f\\/\"}", Some(("\u{8}\u{c}/", None)));
        check(&format, r#" {"message" : "a\nb\r\n" } "#, Some(("a\nb", None)));
    }

    #[test]
    fn wrong_formats_are_explained() {
        let options = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let error = |name: &str, options: &[_]| LogFormat::new(name, options).unwrap_err().to_string();
        assert_eq!(
            error("jsonl", &[]),
            "'jsonl' is no logformat; write docker-json or json[message=<key>, time=<key>]"
        );
        assert_eq!(
            error("json", &options("msg", "x")),
            "the logformat json has no option 'msg', only message and time"
        );
        assert_eq!(
            error("docker-json", &options("time", "t")),
            "the logformat docker-json has no options, so not 'time'"
        );
        assert_eq!(error("json", &options("time", "")), "the key that time names in logformat is empty");
        let format = LogFormat::new("json", &options("message", "log.msg")).unwrap();
        assert_eq!(format.to_string(), r#"json[message="log.msg", time="time"]"#);
        assert_eq!(docker().to_string(), "docker-json");
    }
}
