//! The log: records get a time and a process and go to the target.
//!
//! The line is an interface (`helpers.getVerbosityFormat`): logwatch, the recidive filter and log shippers match it.
//!
//! ```text
//! 2026-11-22 10:11:12,345 fail2ban.actions        [1234]: NOTICE  [sshd] Ban 192.0.2.1
//! ```

mod format;
mod sink;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use f2b_config::{NamedValues, extract_options};
use f2b_types::{Level, Log, Record, Time, is_on, local_time};
use jiff::tz::TimeZone;

use self::format::{Format, Moment};
use self::sink::{SYSLOG, Sink, facility_named, open_file, open_journal, open_syslog};
use crate::clock;

/// Writes records to the target of the server, from any thread.
pub struct ServerLog {
    level: AtomicU8,
    verbosity: u8,
    zone: TimeZone,
    started: Instant,
    output: Mutex<Output>,
}

struct Output {
    name: String,
    format: Format,
    sink: Sink,
}

/// The facility of syslog unless another one is given.
const FACILITY: &str = "DAEMON";

/// A target that can't be used.
#[derive(Debug)]
pub struct TargetError {
    target: String,
    reason: String,
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unable to log to '{}': {}", self.target, self.reason)
    }
}

impl std::error::Error for TargetError {}

/// What is said of a line that is not in the encoding of its log, aloud only if it is the `first`.
pub(crate) fn of_invalid_bytes(line: &[u8], path: &Path, encoding: &str, first: bool) -> [Record; 2] {
    let level = if first { Level::WARNING } else { Level::TRACEDEBUG };
    let (path, shown) = (path.display(), f2b_protocol::Value::Bytes(line.to_vec()));
    [
        format!("Error decoding line from '{path}' with '{encoding}'."),
        format!(
            "Consider setting logencoding to appropriate encoding for this jail. Continuing to process line \
             ignoring invalid characters: {shown}"
        ),
    ]
    .map(|message| Record::new(level, "filter", message))
}

impl ServerLog {
    /// A log at `INFO` to standard output, with times in `zone`. A server that is started with more than one `-v` has other
    /// columns.
    pub fn new(zone: TimeZone, verbose: i32) -> Self {
        let verbosity = if verbose > 2 { u8::try_from(verbose - 1).unwrap_or(u8::MAX) } else { 0 };
        let format = Format::of_verbosity(verbosity, true, true);
        let output = Output { name: "STDOUT".into(), format, sink: Sink::Stdout };
        Self {
            level: AtomicU8::new(Level::INFO.0),
            verbosity,
            zone,
            started: Instant::now(),
            output: Mutex::new(output),
        }
    }

    /// Sets the level from which on records are written.
    pub fn set_level(&self, level: Level) {
        self.level.store(level.0, Ordering::Relaxed);
    }

    /// The level from which on records are written.
    pub fn level(&self) -> Level {
        Level(self.level.load(Ordering::Relaxed))
    }

    /// Sends the records to another target: `STDOUT`, `STDERR`, `SYSOUT`, `SYSLOG`, `SYSTEMD-JOURNAL` or a file, or with
    /// `INHERITED` to the same as before. Options can stand behind the name, in brackets: `datetime`, `padding`, `format`, and `facility` for syslog
    /// (`server.Server.setLogTarget`).
    ///
    /// # Errors
    ///
    /// [`TargetError`] names a target that can't be opened, or an option that can't be; the old one stays.
    pub fn set_target(&self, target: &str, syslog_socket: &str) -> Result<(), TargetError> {
        let (name, options) = extract_options(target)
            .map_err(|error| TargetError { target: target.into(), reason: error.to_string() })?;
        let fail = |reason: String| TargetError { target: name.clone(), reason };
        let failed = |error: io::Error| fail(error.to_string());
        let system = name.to_uppercase();
        let sink = match &*system {
            "STDOUT" | "SYSOUT" => Sink::Stdout,
            "STDERR" => Sink::Stderr,
            "SYSLOG" => {
                let facility = self.facility(&options);
                Sink::Syslog { socket: open_syslog(syslog_socket).map_err(failed)?, facility }
            }
            "INHERITED" => {
                self.output().name = name;
                return Ok(());
            }
            "SYSTEMD-JOURNAL" => Sink::Journal(open_journal().map_err(failed)?),
            _ => Sink::File { file: open_file(&name).map_err(failed)?, path: name.clone() },
        };
        let format = self.format_of(&system, &options).map_err(fail)?;
        *self.output() = Output { name, format, sink };
        Ok(())
    }

    fn format_of(&self, target: &str, options: &NamedValues) -> Result<Format, String> {
        if let Some(format) = option(options, "format").filter(|format| !format.is_empty()) {
            return Format::parse(format).map_err(|error| error.0);
        }
        let time = option(options, "datetime").map_or(!matches!(target, "SYSLOG" | "SYSOUT"), is_on);
        let padding = option(options, "padding").map_or(target != "SYSLOG", is_on);
        Ok(Format::of_verbosity(self.verbosity, time, padding))
    }

    /// The name of the target, without its options.
    pub fn target(&self) -> String {
        self.output().name.clone()
    }

    /// Whether the target is a file.
    pub fn is_file(&self) -> bool {
        matches!(self.output().sink, Sink::File { .. })
    }

    /// Opens a file anew after it was rotated (`server.flushLogs`); the answer is upstream's.
    pub fn flush(&self) -> &'static str {
        let mut output = self.output();
        if matches!(&*output.name, "STDERR" | "STDOUT" | "SYSLOG" | "SYSTEMD-JOURNAL") {
            return "flushed";
        }
        // When the file can't be opened, the old one goes on: a line in a rotated file beats a lost line.
        if let Sink::File { file, path } = &mut output.sink
            && let Ok(again) = open_file(path)
        {
            *file = again;
        }
        "rolled over"
    }

    fn facility(&self, options: &NamedValues) -> u8 {
        let name = option(options, "facility").unwrap_or(FACILITY);
        facility_named(name).unwrap_or_else(|| {
            let message = format!("Unable to set facility '{name}', using '{FACILITY}'");
            self.write(Record::new(Level::ERROR, "server", message));
            facility_named(FACILITY).unwrap_or_default()
        })
    }

    fn output(&self) -> std::sync::MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for ServerLog {
    fn enabled(&self, level: Level) -> bool {
        level >= self.level()
    }

    fn write(&self, record: Record) {
        if !self.enabled(record.level) {
            return;
        }
        let moment = Moment { now: clock::now(), zone: &self.zone, since_start: self.started.elapsed() };
        let mut output = self.output();
        let line = output.format.line(&record, moment);
        // A log that can't be written has nowhere to say so.
        let _ = output.sink.write(&line, &record);
    }
}

fn option<'a>(options: &'a NamedValues, name: &str) -> Option<&'a str> {
    options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The socket of syslog that a target uses: once `auto` is used, it is called by its name.
pub(crate) fn syslog_socket<'a>(target: &str, socket: &'a str) -> &'a str {
    let is_syslog = target.split('[').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("SYSLOG"));
    if is_syslog && socket == "auto" { SYSLOG } else { socket }
}

/// Upstream's name of a logger: all of them are below `fail2ban`.
pub fn full_name(logger: &str) -> String {
    if logger.is_empty() { "fail2ban".into() } else { format!("fail2ban.{logger}") }
}

/// `2026-11-22 10:11:12,345`, Python's `%(asctime)s`.
pub fn asctime(time: Time, zone: &TimeZone) -> String {
    match local_time(time, zone) {
        Some(local) => {
            format!("{},{:03}", local.strftime("%Y-%m-%d %H:%M:%S"), local.subsec_nanosecond() / 1_000_000)
        }
        None => "9999-12-31 23:59:59,000".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        assert_eq!(asctime(Time(1_124_012_400.062_5), &TimeZone::UTC), "2005-08-14 09:40:00,062");
    }

    #[test]
    fn options_of_a_target_change_its_lines() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f2b.log");
        let log = ServerLog::new(TimeZone::UTC, 1);
        let pid = std::process::id();
        for (options, expected) in [
            ("[datetime=off]", format!("fail2ban.jail           [{pid}]: INFO    text")),
            ("[datetime=off, padding=off]", format!("fail2ban.jail[{pid}]: INFO text")),
            ("[format=\"%(levelname)s: %(message)s\"]", "INFO: text".into()),
        ] {
            let _ = std::fs::remove_file(&path);
            log.set_target(&format!("{}{options}", path.display()), "auto").expect("a file target");
            assert_eq!(log.target(), path.display().to_string());
            log.write(Record::new(Level::INFO, "jail", "text"));
            assert_eq!(std::fs::read_to_string(&path).expect("a file"), expected + "\n");
        }
        for (target, reason) in [
            ("/tmp/x[format=\"%(nope)s\"]", "the log format names the unknown column 'nope'"),
            ("STDOUT[", "unexpected option syntax"),
        ] {
            let error = log.set_target(target, "auto").expect_err("an error").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn records_go_to_a_file_from_the_level_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f2b.log");
        let log = ServerLog::new(TimeZone::UTC, 1);
        log.set_target(&path.display().to_string(), "auto").expect("a file target");
        log.write(Record::new(Level::DEBUG, "jail", "unseen"));
        log.write(Record::new(Level::INFO, "jail", "seen"));
        std::fs::rename(&path, dir.path().join("f2b.log.1")).expect("a rotation");
        assert_eq!(log.flush(), "rolled over");
        log.write(Record::new(Level::INFO, "jail", "after"));
        let text = std::fs::read_to_string(&path).expect("the new file");
        assert!(text.ends_with("INFO    after\n") && text.lines().count() == 1, "{text}");
        assert!(log.set_target("/nowhere/at/all.log", "auto").is_err());
        assert_eq!(log.target(), path.display().to_string());
        // Whatever it is called then, it is the same file.
        log.set_target("INHERITED", "auto").expect("a target");
        assert_eq!((log.target().as_str(), log.flush()), ("INHERITED", "rolled over"));
        log.write(Record::new(Level::INFO, "jail", "still here"));
        assert!(std::fs::read_to_string(&path).expect("the file").ends_with("still here\n"));
        assert!(!std::path::Path::new("INHERITED").exists());
    }
}
