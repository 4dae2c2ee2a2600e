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
    realtime: u64,
    monotonic: u64,
}

/// An entry as a line.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryLine {
    /// Seconds since 1970.
    pub time: f64,
    /// The same in ISO 8601, and a blank.
    pub date: String,
    /// Host, program and message, on one line.
    pub text: String,
}

impl EntryLine {
    /// What stands before the date (nothing), the date, and what stands behind, as a filter takes them.
    pub fn parts(&self) -> [&str; 3] {
        ["", &self.date, &self.text]
    }

    /// What upstream logs of it.
    pub fn record(&self, jail: &str) -> Record {
        let message = format!("[{jail}] Read systemd journal entry: {} {}", self.date.trim_end(), self.text);
        Record::new(Level::HEAVYDEBUG, "filtersystemd", message)
    }
}

impl Entry {
    pub(crate) fn new(realtime: u64, monotonic: u64) -> Self {
        Self { fields: Vec::new(), realtime, monotonic }
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
            parts.push(text(program) + &pid + ":");
        }
        if parts.last().is_some_and(|last| last == "kernel:") {
            let uptime = self.micros("_SOURCE_MONOTONIC_TIMESTAMP").unwrap_or(self.monotonic);
            parts.push(format!("[{:12.6}]", uptime as f64 / 1e6));
        }
        let messages: Vec<_> = self.all("MESSAGE").map(|bytes| decode(bytes, encoding)).collect();
        parts.push(messages.join(" "));
        EntryLine {
            time: seconds(micros),
            date: iso(micros, offset) + " ",
            text: parts.join(" ").replace('\n', "\\n"),
        }
    }

    /// When it was written, in seconds since 1970.
    pub fn time(&self) -> f64 {
        seconds(self.source_time())
    }

    fn source_time(&self) -> u64 {
        self.micros("_SOURCE_REALTIME_TIMESTAMP").unwrap_or(self.realtime)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }

    /// The first value that is not empty.
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).find(|value| !value.is_empty())
    }

    fn micros(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(self.first(name)?).ok()?.trim().parse().ok()
    }

    /// A process id in brackets; none where it is zero, as for the kernel.
    fn pid(&self, name: &str) -> Option<String> {
        let value = self.first(name)?;
        let text = std::str::from_utf8(value).unwrap_or_default().trim();
        let number = text.parse().ok().or_else(|| {
            // What is no number at once is tried with a base of its own.
            let (digits, base) = match text.get(..2)?.to_ascii_lowercase().as_str() {
                "0x" => (text.get(2..)?, 16),
                "0o" => (text.get(2..)?, 8),
                "0b" => (text.get(2..)?, 2),
                _ => return None,
            };
            i64::from_str_radix(digits, base).ok()
        });
        match number {
            Some(0) => None,
            Some(number) => Some(format!("[{number}]")),
            // Python shows what it doesn't understand.
            None => Some(format!("[{}]", Value::Bytes(value.to_vec()))),
        }
    }
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

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// As `datetime.isoformat` has it: without a fraction where there is none.
fn iso(micros: u64, offset: Offset) -> String {
    let time = i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let local = time.unwrap_or(Timestamp::MAX).to_zoned(offset.to_time_zone());
    let format =
        if micros.is_multiple_of(1_000_000) { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%6f%:z" };
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
        for (pid, shown) in [("0x10", "16"), (" 12 ", "12"), ("x", "b'x'"), ("", "9")] {
            let pid = format!("SYSLOG_PID={pid}");
            let expected = format!("2014-06-30T04:05:01.501873+00:00 p[{shown}]: ");
            check(&["SYSLOG_IDENTIFIER=p", &pid, "_PID=9"], &expected);
        }
    }

    #[test]
    fn times_have_the_offset_of_the_machine() {
        assert_eq!(iso(0, Offset::constant(-5)), "1969-12-31T19:00:00-05:00");
        assert_eq!(iso(1, Offset::constant(1)), "1970-01-01T01:00:00.000001+01:00");
        assert!(iso(u64::MAX, Offset::UTC).starts_with("9999-12-"));
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
