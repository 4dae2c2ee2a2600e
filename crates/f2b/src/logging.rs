//! The log: records get a time and a process and go to the target.
//!
//! The line is an interface (`helpers.getVerbosityFormat`): logwatch, the recidive filter and log shippers match it.
//!
//! ```text
//! 2026-11-22 10:11:12,345 fail2ban.actions        [1234]: NOTICE  [sshd] Ban 192.0.2.1
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use f2b_types::{Level, Log, Record, Time, local_time};
use jiff::tz::TimeZone;

use crate::clock;

/// Writes records to the target of the server, from any thread.
pub struct ServerLog {
    level: AtomicU8,
    zone: TimeZone,
    output: Mutex<Output>,
}

struct Output {
    name: String,
    sink: Sink,
}

enum Sink {
    Stdout { with_time: bool },
    Stderr,
    File(File),
    Syslog(UnixDatagram),
}

/// The target could not be opened.
#[derive(Debug)]
pub struct TargetError {
    target: String,
    error: io::Error,
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unable to log to '{}': {}", self.target, self.error)
    }
}

impl std::error::Error for TargetError {}

impl ServerLog {
    /// A log at `INFO` to standard output, with times in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        let output = Output { name: "STDOUT".into(), sink: Sink::Stdout { with_time: true } };
        Self { level: AtomicU8::new(Level::INFO.0), zone, output: Mutex::new(output) }
    }

    /// Sets the level from which on records are written.
    pub fn set_level(&self, level: Level) {
        self.level.store(level.0, Ordering::Relaxed);
    }

    /// The level from which on records are written.
    pub fn level(&self) -> Level {
        Level(self.level.load(Ordering::Relaxed))
    }

    /// Sends the records to another target: `STDOUT`, `STDERR`, `SYSOUT`, `SYSLOG` or a file. Options behind the name,
    /// in brackets, are accepted.
    ///
    /// # Errors
    ///
    /// [`TargetError`] names a target that can't be opened; the old one stays.
    pub fn set_target(&self, target: &str, syslog_socket: &str) -> Result<(), TargetError> {
        let name = target.split('[').next().unwrap_or(target).trim();
        let fail = |error| TargetError { target: name.into(), error };
        let sink = match name.to_uppercase().as_str() {
            "STDOUT" => Sink::Stdout { with_time: true },
            "SYSOUT" => Sink::Stdout { with_time: false },
            "STDERR" => Sink::Stderr,
            "SYSLOG" => Sink::Syslog(open_syslog(syslog_socket).map_err(fail)?),
            "SYSTEMD-JOURNAL" => {
                return Err(fail(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "not supported by this version",
                )));
            }
            _ => Sink::File(open_file(name).map_err(fail)?),
        };
        *self.output() = Output { name: name.into(), sink };
        Ok(())
    }

    /// The name of the target.
    pub fn target(&self) -> String {
        self.output().name.clone()
    }

    /// Opens a file anew after it was rotated (`server.flushLogs`); the answer is upstream's.
    pub fn flush(&self) -> &'static str {
        let mut output = self.output();
        if !matches!(output.sink, Sink::File(_)) {
            return "flushed";
        }
        // When the file can't be opened, the old one goes on: a line in a rotated file beats a lost line.
        if let Ok(file) = open_file(&output.name) {
            output.sink = Sink::File(file);
        }
        "rolled over"
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
        // A log that can't be written has nowhere to say so.
        let _ = self.output().write(&record, &self.zone);
    }
}

impl Output {
    fn write(&mut self, record: &Record, zone: &TimeZone) -> io::Result<()> {
        let plain = line(record);
        let timed = || format!("{} {plain}\n", asctime(clock::now(), zone));
        match &mut self.sink {
            Sink::Stdout { with_time: true } => io::stdout().lock().write_all(timed().as_bytes()),
            Sink::Stdout { with_time: false } => writeln!(io::stdout().lock(), "{plain}"),
            Sink::Stderr => io::stderr().lock().write_all(timed().as_bytes()),
            Sink::File(file) => file.write_all(timed().as_bytes()),
            Sink::Syslog(socket) => socket.send(syslog_packet(record).as_bytes()).map(drop),
        }
    }
}

/// The record without its time.
fn line(record: &Record) -> String {
    let name = full_name(&record.logger);
    format!("{name:<24}[{}]: {:<7} {}", std::process::id(), record.level, record.message)
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

/// Facility `daemon`, no padding, no time: syslog adds its own.
fn syslog_packet(record: &Record) -> String {
    let severity = match record.level {
        level if level >= Level::CRITICAL => 2,
        level if level >= Level::ERROR => 3,
        level if level >= Level::WARNING => 4,
        level if level >= Level::INFO => 6,
        _ => 7,
    };
    let name = full_name(&record.logger);
    format!("<{}>{name}[{}]: {} {}", 3 * 8 + severity, std::process::id(), record.level, record.message)
}

fn open_file(name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(name)
}

fn open_syslog(socket: &str) -> io::Result<UnixDatagram> {
    let path = if socket == "auto" { Path::new("/dev/log") } else { Path::new(socket) };
    let datagram = UnixDatagram::unbound()?;
    datagram.connect(path)?;
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_upstreams_columns() {
        let record = Record::new(Level::NOTICE, "actions", "[sshd] Ban 192.0.2.1");
        let pid = std::process::id();
        assert_eq!(line(&record), format!("fail2ban.actions        [{pid}]: NOTICE  [sshd] Ban 192.0.2.1"));
        assert_eq!(asctime(Time(1_124_012_400.062_5), &TimeZone::UTC), "2005-08-14 09:40:00,062");
        let packet = syslog_packet(&Record::new(Level::ERROR, "server", "x"));
        assert_eq!(packet, format!("<27>fail2ban.server[{pid}]: ERROR x"));
    }

    #[test]
    fn records_go_to_a_file_from_the_level_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f2b.log");
        let log = ServerLog::new(TimeZone::UTC);
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
    }
}
