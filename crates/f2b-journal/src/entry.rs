//! An entry, and the line that it would be in a log of syslog.
//!
//! Upstream: `FilterSystemd.formatJournalEntry` and `getJrnEntTime`, on top of the conversions of `systemd.journal.Reader`.

use std::borrow::Cow;

use f2b_filter::Encoding;
use f2b_protocol::Value;
use f2b_types::{Level, Record};
use jiff::Timestamp;
use jiff::tz::Offset;

/// Bytes of a field that count; a line of a log file is cut at the same length.
pub(crate) const MAX_VALUE: usize = 1 << 20;

/// Digits that Python reads.
const MAX_DIGITS: usize = 4300;

/// Fields that make up a line.
const FIELDS: &[&str] = &[
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "SYSLOG_PID",
    "_PID",
    "MESSAGE",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_SOURCE_MONOTONIC_TIMESTAMP",
];

/// The fields of an entry that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    fields: Vec<(&'static str, Vec<u8>)>,
    /// When it was received: microseconds since 1970, and since the start of the machine.
    realtime: i64,
    monotonic: i64,
}

/// An entry as a line.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryLine {
    /// Seconds since 1970.
    pub time: f64,
    /// The same in ISO 8601, and a blank.
    pub date: String,
    /// Host, program and message.
    text: String,
    /// The same on one line, if it has several.
    joined: Option<String>,
}

impl EntryLine {
    /// What stands before the date (nothing), the date, and what stands behind, as a filter takes them.
    pub fn parts(&self) -> [&str; 3] {
        ["", &self.date, self.text()]
    }

    /// Host, program and message, on one line.
    pub fn text(&self) -> &str {
        self.joined.as_deref().unwrap_or(&self.text)
    }

    /// What upstream logs of it.
    pub fn record(&self, jail: &str) -> Record {
        let message = format!("[{jail}] Read systemd journal entry: {} {}", self.date.trim_end(), self.text);
        Record::new(Level::HEAVYDEBUG, "filtersystemd", message)
    }
}

impl Entry {
    pub(crate) fn new(realtime: u64, monotonic: u64) -> Self {
        let signed = |micros| i64::try_from(micros).unwrap_or(i64::MAX);
        Self { fields: Vec::new(), realtime: signed(realtime), monotonic: signed(monotonic) }
    }

    /// Takes a field, `NAME=value`, if it matters.
    pub(crate) fn take(&mut self, field: &[u8]) {
        let Some(at) = memchr_equals(field) else { return };
        let (name, value) = (&field[..at], &field[at + 1..]);
        if let Some(known) = FIELDS.iter().find(|known| known.as_bytes() == name) {
            self.fields.push((known, value[..value.len().min(MAX_VALUE)].to_vec()));
        }
    }

    /// The line that it would be in a log, with the time of the offset from UTC that the machine has.
    pub fn line(&self, encoding: &Encoding, offset: Offset) -> EntryLine {
        let micros = self.source_time();
        let mut parts: Vec<String> = Vec::new();
        let text = |bytes| decode(bytes, encoding).into_owned();
        parts.extend(self.first("_HOSTNAME").map(text));
        if let Some(program) = self.first("SYSLOG_IDENTIFIER").or_else(|| self.first("_COMM")) {
            let pid = self.pid("SYSLOG_PID").or_else(|| self.pid("_PID")).unwrap_or_default();
            let program = text(program) + &pid + ":";
            let is_kernel = program == "kernel:";
            parts.push(program);
            if is_kernel {
                let uptime = self.micros("_SOURCE_MONOTONIC_TIMESTAMP").unwrap_or(self.monotonic);
                parts.push(format!("[{:12.6}]", seconds(uptime)));
            }
        }
        let messages: Vec<_> = self.all("MESSAGE").map(|bytes| decode(bytes, encoding)).collect();
        parts.push(messages.join(" "));
        let text = parts.join(" ");
        let joined = text.contains('\n').then(|| text.replace('\n', "\\n"));
        EntryLine { time: seconds(micros), date: iso(micros, offset) + " ", text, joined }
    }

    /// When it was written, in seconds since 1970.
    pub fn time(&self) -> f64 {
        seconds(self.source_time())
    }

    fn source_time(&self) -> i64 {
        self.micros("_SOURCE_REALTIME_TIMESTAMP").unwrap_or(self.realtime)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }

    /// The first value that is not empty.
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).find(|value| !value.is_empty())
    }

    fn micros(&self, name: &str) -> Option<i64> {
        whole_number(self.first(name)?)?.parse().ok()
    }

    /// A process id in brackets; none where it is zero, as for the kernel. Several are a list, as Python shows it.
    fn pid(&self, name: &str) -> Option<String> {
        let shown = |value: &[u8]| Value::Bytes(value.to_vec()).to_string();
        let values: Vec<&[u8]> = self.all(name).collect();
        let [value] = values[..] else {
            let numbers = values.iter().map(|value| whole_number(value).unwrap_or_else(|| shown(value)));
            let list = numbers.collect::<Vec<_>>().join(", ");
            return (!values.is_empty()).then(|| format!("[[{list}]]"));
        };
        match whole_number(value) {
            Some(number) if number == "0" => None,
            None if value.is_empty() => None,
            number => {
                let number = number.or_else(|| number_with_base(value)).unwrap_or_else(|| shown(value));
                Some(format!("[{number}]"))
            }
        }
    }
}

/// A whole number of any length as `int` reads it: with blanks around it, a sign, underscores between digits.
fn whole_number(bytes: &[u8]) -> Option<String> {
    let (sign, digits) = signed(bytes)?;
    let digits = digits_of(digits, 10).filter(|digits| digits.len() <= MAX_DIGITS)?;
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".into() } else { format!("{sign}{digits}") })
}

/// A whole number with a base of its own, as `int(..., 0)` reads it.
fn number_with_base(bytes: &[u8]) -> Option<String> {
    let (sign, digits) = signed(bytes)?;
    let (prefix, digits) = digits.split_at_checked(2)?;
    let base = match prefix.to_ascii_lowercase().as_str() {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => return None,
    };
    let digits = digits_of(digits.strip_prefix('_').unwrap_or(digits), base)?;
    match u128::from_str_radix(&digits, base).ok()? {
        0 => Some("0".into()),
        number => Some(format!("{sign}{number}")),
    }
}

/// The sign, if it is a minus, and the digits.
fn signed(bytes: &[u8]) -> Option<(&'static str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    match text.strip_prefix('-') {
        Some(digits) => Some(("-", digits)),
        None => Some(("", text.strip_prefix('+').unwrap_or(text))),
    }
}

/// Digits of that base without the underscores, of which one may stand between two of them.
fn digits_of(text: &str, base: u32) -> Option<String> {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_digit(base));
    text.split('_').all(is_number).then(|| text.replace('_', ""))
}

fn memchr_equals(field: &[u8]) -> Option<usize> {
    field.iter().position(|byte| *byte == b'=')
}

/// Text is UTF-8; only what is not is in the encoding of the logs.
fn decode<'b>(bytes: &'b [u8], encoding: &Encoding) -> Cow<'b, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => encoding.decode(bytes).0,
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// As `datetime.isoformat` has it: without a fraction where there is none.
fn iso(micros: i64, offset: Offset) -> String {
    let time = Timestamp::from_microsecond(micros).ok();
    let local = time.unwrap_or(Timestamp::MAX).to_zoned(offset.to_time_zone());
    let format = if micros % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%6f%:z" };
    local.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: &str) {
        let mut entry = Entry::new(1_404_101_101_501_873, 1_753_961_140_951);
        fields.iter().for_each(|field| entry.take(field.as_bytes()));
        let line = entry.line(&Encoding::default(), Offset::UTC);
        assert_eq!(line.parts().concat(), expected);
    }

    #[test]
    fn a_line_has_host_program_and_message() {
        let fields =
            ["_HOSTNAME=h", "SYSLOG_IDENTIFIER=sshd", "_PID=7", "_COMM=x", "MESSAGE=a\nb", "OTHER=1"];
        check(&fields, "2014-06-30T04:05:01.501873+00:00 h sshd[7]: a\\nb");
        check(&["_COMM=x", "MESSAGE=a", "MESSAGE=b"], "2014-06-30T04:05:01.501873+00:00 x: a b");
        check(&[], "2014-06-30T04:05:01.501873+00:00 ");
        check(&["_SOURCE_REALTIME_TIMESTAMP=1404101101000000", "MESSAGE=a"], "2014-06-30T04:05:01+00:00 a");
    }

    #[test]
    fn the_kernel_has_the_time_since_the_start_in_place_of_a_process() {
        let kernel = "2014-06-30T04:05:01.501873+00:00 kernel: [";
        check(
            &["SYSLOG_IDENTIFIER=kernel", "SYSLOG_PID=0", "MESSAGE=a"],
            &format!("{kernel}1753961.140951] a"),
        );
        let source = "_SOURCE_MONOTONIC_TIMESTAMP=1500000";
        check(&["SYSLOG_IDENTIFIER=kernel", source, "MESSAGE=a"], &format!("{kernel}    1.500000] a"));
    }

    #[test]
    fn an_odd_process_id_is_shown() {
        let long = "9".repeat(40);
        for (pid, shown) in [
            ("0x10", "16"),
            ("-0B_11", "-3"),
            (" 12 ", "12"),
            ("+1_000", "1000"),
            ("-7", "-7"),
            ("007", "7"),
            (&*long, &*long),
            ("x", "b'x'"),
            ("1__0", "b'1__0'"),
            ("", "9"),
            ("0", "9"),
            ("-0", "9"),
            ("0x0", "0"),
        ] {
            let pid = format!("SYSLOG_PID={pid}");
            let expected = format!("2014-06-30T04:05:01.501873+00:00 p[{shown}]: ");
            check(&["SYSLOG_IDENTIFIER=p", &pid, "_PID=9"], &expected);
        }
    }

    #[test]
    fn several_process_ids_are_a_list() {
        let fields = ["SYSLOG_IDENTIFIER=p", "SYSLOG_PID=1", "SYSLOG_PID=x", "SYSLOG_PID=03", "MESSAGE=m"];
        check(&fields, "2014-06-30T04:05:01.501873+00:00 p[[1, b'x', 3]]: m");
    }

    #[test]
    fn of_a_field_that_is_there_twice_the_first_counts() {
        let twice = ["_HOSTNAME=h", "_HOSTNAME=i", "SYSLOG_IDENTIFIER=p", "SYSLOG_IDENTIFIER=q"];
        let times = ["_SOURCE_REALTIME_TIMESTAMP=1000000", "_SOURCE_REALTIME_TIMESTAMP=2000000"];
        check(&[&twice[..], &times].concat(), "1970-01-01T00:00:01+00:00 h p: ");
    }

    #[test]
    fn a_host_is_no_kernel() {
        check(&["_HOSTNAME=kernel:", "MESSAGE=m"], "2014-06-30T04:05:01.501873+00:00 kernel: m");
    }

    #[test]
    fn a_time_may_be_odd() {
        for (time, shown) in [
            ("1404101101_000001", "2014-06-30T04:05:01.000001"),
            ("-5", "1969-12-31T23:59:59.999995"),
            ("x", "2014-06-30T04:05:01.501873"),
            ("9999999999999999999999", "2014-06-30T04:05:01.501873"),
        ] {
            let field = format!("_SOURCE_REALTIME_TIMESTAMP={time}");
            check(&[&field, "MESSAGE=m"], &format!("{shown}+00:00 m"));
        }
    }

    #[test]
    fn times_have_the_offset_of_the_machine() {
        assert_eq!(iso(0, Offset::constant(-5)), "1969-12-31T19:00:00-05:00");
        assert_eq!(iso(1, Offset::constant(1)), "1970-01-01T01:00:00.000001+01:00");
        assert!(iso(i64::MAX, Offset::UTC).starts_with("9999-12-"));
    }

    #[test]
    fn what_is_no_utf8_is_in_the_encoding_of_the_logs() {
        let mut entry = Entry::new(0, 0);
        entry.take(b"MESSAGE=caf\xe9");
        let latin = Encoding::parse("latin1").unwrap();
        assert_eq!(entry.line(&latin, Offset::UTC).text, "café");
        assert_eq!(entry.line(&Encoding::default(), Offset::UTC).text, "caf\u{fffd}");
    }
}
