//! Where lines go: standard output and error, a file, syslog, the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use f2b_types::{Level, Record};

use super::full_name;

/// Where `systemd-journald` listens for entries with fields of their own.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where syslog listens, unless told otherwise.
pub(super) const SYSLOG: &str = "/dev/log";

/// The facilities of syslog by name (`logging.handlers.SysLogHandler`).
const FACILITIES: &[(&str, u8)] = &[
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("NTP", 12),
    ("SECURITY", 13),
    ("CONSOLE", 14),
    ("SOLCRON", 15),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

pub(super) enum Sink {
    Stdout,
    Stderr,
    File { file: File, path: String },
    Syslog { socket: UnixDatagram, facility: u8 },
    Journal(UnixDatagram),
}

impl Sink {
    /// Writes one line; the journal keeps what the record is made of.
    pub(super) fn write(&mut self, line: &str, record: &Record) -> io::Result<()> {
        let ended = || format!("{line}\n");
        match self {
            Self::Stdout => io::stdout().lock().write_all(ended().as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(ended().as_bytes()),
            Self::File { file, .. } => file.write_all(ended().as_bytes()),
            Self::Syslog { socket, facility } => {
                let packet = format!("<{}>{line}\0", *facility * 8 + severity(record.level));
                socket.send(packet.as_bytes()).map(drop)
            }
            Self::Journal(socket) => socket.send(&journal_entry(record)).map(drop),
        }
    }
}

pub(super) fn open_file(name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(name)
}

/// The number of a facility; `None` for a name that is none.
pub(super) fn facility_named(name: &str) -> Option<u8> {
    FACILITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

/// Opens the socket of syslog, `auto` being `/dev/log`.
pub(super) fn open_syslog(socket: &str) -> io::Result<UnixDatagram> {
    let path = Path::new(if socket == "auto" { SYSLOG } else { socket });
    let is_socket = path.metadata().is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        let message = format!("Syslog socket file: {} does not exists or is not a socket", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    connect(path)
}

pub(super) fn open_journal() -> io::Result<UnixDatagram> {
    connect(Path::new(JOURNAL))
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let datagram = UnixDatagram::unbound()?;
    datagram.connect(path)?;
    Ok(datagram)
}

/// The severity that Python's handler gives a level by its name: those that fail2ban has added are warnings to it.
fn severity(level: Level) -> u8 {
    match level {
        Level::CRITICAL => 2,
        Level::ERROR => 3,
        Level::INFO => 6,
        Level::DEBUG => 7,
        _ => 4,
    }
}

/// The priority that Python's handler for the journal gives a level by its number.
fn priority(level: Level) -> &'static str {
    match level {
        level if level <= Level::DEBUG => "7",
        level if level <= Level::INFO => "6",
        level if level <= Level::WARNING => "4",
        level if level <= Level::ERROR => "3",
        _ => "2",
    }
}

/// The fields that `systemd.journal.JournalHandler` sends. A value with line ends in it goes with its length.
fn journal_entry(record: &Record) -> Vec<u8> {
    let thread = std::thread::current();
    let fields = [
        ("MESSAGE", record.message.as_str()),
        ("PRIORITY", priority(record.level)),
        ("LOGGER", &full_name(&record.logger)),
        ("THREAD_NAME", thread.name().unwrap_or("?")),
        ("SYSLOG_IDENTIFIER", "fail2ban"),
    ];
    let mut entry = Vec::new();
    for (name, value) in fields {
        entry.extend(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_gets_the_facility_and_the_severity() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let server = UnixDatagram::bind(&path).expect("a socket");
        let socket = open_syslog(&path.display().to_string()).expect("a connection");
        let facility = facility_named("local3").expect("a facility");
        let record = Record::new(Level::ERROR, "server", "x");
        Sink::Syslog { socket, facility }.write("fail2ban.server[1]: ERROR x", &record).expect("a write");
        let mut packet = [0; 100];
        let length = server.recv(&mut packet).expect("a packet");
        assert_eq!(&packet[..length], b"<155>fail2ban.server[1]: ERROR x\0");
        assert!(open_syslog("/nowhere").is_err() && facility_named("x").is_none());
    }

    #[test]
    fn the_journal_gets_fields() {
        let entry = journal_entry(&Record::new(Level::NOTICE, "actions", "a\nb"));
        assert!(entry.starts_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=4\nLOGGER=fail2ban.actions\n"));
        assert!(entry.ends_with(b"\nSYSLOG_IDENTIFIER=fail2ban\n"));
    }
}
