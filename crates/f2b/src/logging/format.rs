//! How a record becomes a line: Python's `%(name)-24s` formats, and those that fail2ban makes of its options
//! (`helpers.getVerbosityFormat`).

use std::fmt::Write as _;
use std::time::Duration;

use f2b_types::{Record, Time};
use jiff::tz::TimeZone;

use super::{asctime, full_name};

/// Wider columns than this are nobody's wish.
const MAX_WIDTH: usize = 1000;

/// A format, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Field { name: Field, left: bool, zeros: bool, width: usize, precision: Option<usize>, kind: Kind },
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Created,
    Milliseconds,
    SinceStart,
    Name,
    Level,
    LevelNumber,
    Message,
    Process,
    ProcessName,
    Thread,
    ThreadName,
    /// Where in upstream's source a record comes from: there is no such place here.
    Module,
    Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Decimal,
    Hex,
    Float,
}

/// A format that can't be used, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormatError(pub(crate) String);

/// When and where a record is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Time,
    pub(crate) zone: &'a TimeZone,
    pub(crate) since_start: Duration,
}

impl Format {
    /// The format for `verbosity`, with or without the time, and with columns of a fixed width or without padding.
    pub(crate) fn of_verbosity(verbosity: u8, time: bool, padding: bool) -> Self {
        let mut text = String::new();
        let time_column = if time { "%(asctime)-15s" } else { "" };
        text += &match verbosity {
            0 | 1 if time => "%(asctime)s %(name)-24s[%(process)d]: %(levelname)-7s".to_owned(),
            0 | 1 => "%(name)-24s[%(process)d]: %(levelname)-7s".to_owned(),
            2 if time => format!(" {time_column} %(thread)X %(levelname)-5.5s"),
            2 => " %(thread)X %(levelname)-5.5s".to_owned(),
            3 => " +%(relativeCreated)5d %(thread)X %(name)-25.25s %(levelname)-5.5s".to_owned(),
            _ => " +%(relativeCreated)5d %(thread)X %(name)-25.25s %(levelname)-5.5s | \
                  %(module)15.15s-%(levelno)-2d: %(funcName)-20.20s |"
                .to_owned(),
        };
        text += " %(message)s";
        // Written above, so that it can be read.
        let mut format = Self::parse(&text).unwrap_or(Self { pieces: Vec::new() });
        if !padding {
            format.pieces.iter_mut().for_each(Piece::take_padding);
        }
        format
    }

    /// Reads a format of Python's `logging` in its `%` style.
    pub(crate) fn parse(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            plain += &rest[..percent];
            rest = &rest[percent + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                plain.push('%');
                rest = behind;
                continue;
            }
            let (piece, behind) = field(rest)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
            rest = behind;
        }
        plain += rest;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return Err(FormatError(format!("the log format '{text}' shows nothing of a record")));
        }
        Ok(Self { pieces })
    }

    /// The line of a record, without a line end.
    pub(crate) fn line(&self, record: &Record, moment: Moment<'_>) -> String {
        let mut line = String::with_capacity(record.message.len() + 80);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field { name: Field::Message, width: 0, precision: None, .. } => {
                    line.push_str(&record.message);
                }
                Piece::Field { name, left, zeros, width, precision, kind } => {
                    let value = value(*name, *kind, *precision, record, moment);
                    pad(&mut line, &value, *width, *left, *zeros);
                }
            }
        }
        line
    }
}

impl Piece {
    /// Upstream takes widths and precisions away from columns of text.
    fn take_padding(&mut self) {
        if let Self::Field { kind: Kind::Text, width, precision, .. } = self {
            (*width, *precision) = (0, None);
        }
    }
}

/// Reads `(name)-24.24s` behind a percent sign.
fn field(text: &str) -> Result<(Piece, &str), FormatError> {
    let wrong = || {
        FormatError(format!(
            "the log format has '%{}', which is no column",
            text.chars().take(20).collect::<String>()
        ))
    };
    let (name, spec) = text.strip_prefix('(').and_then(|text| text.split_once(')')).ok_or_else(wrong)?;
    let name = field_named(name)
        .ok_or_else(|| FormatError(format!("the log format names the unknown column '{name}'")))?;
    let flags = spec.len() - spec.trim_start_matches(['-', '0', '+', ' ', '#']).len();
    let (flags, spec) = spec.split_at(flags);
    let number = |text: &str| -> Result<usize, FormatError> {
        if text.is_empty() { Ok(0) } else { text.parse().ok().filter(|n| *n <= MAX_WIDTH).ok_or_else(wrong) }
    };
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (width, spec) = spec.split_at(digits(spec));
    let (precision, spec) = match spec.strip_prefix('.') {
        Some(spec) => {
            let (precision, spec) = spec.split_at(digits(spec));
            (Some(number(precision)?), spec)
        }
        None => (None, spec),
    };
    let kind = match spec.chars().next() {
        Some('s' | 'r') => Kind::Text,
        Some('d' | 'i') => Kind::Decimal,
        Some('x' | 'X') => Kind::Hex,
        Some('f') => Kind::Float,
        _ => return Err(wrong()),
    };
    let piece = Piece::Field {
        name,
        left: flags.contains('-'),
        zeros: flags.contains('0') && kind != Kind::Text,
        width: number(width)?,
        precision,
        kind,
    };
    let is_number = !matches!(
        name,
        Field::Time
            | Field::Name
            | Field::Level
            | Field::Message
            | Field::ProcessName
            | Field::ThreadName
            | Field::Module
    );
    if kind != Kind::Text && !is_number {
        return Err(wrong());
    }
    Ok((piece, &spec[1..]))
}

fn field_named(name: &str) -> Option<Field> {
    Some(match name {
        "asctime" => Field::Time,
        "created" => Field::Created,
        "msecs" => Field::Milliseconds,
        "relativeCreated" => Field::SinceStart,
        "name" => Field::Name,
        "levelname" => Field::Level,
        "levelno" => Field::LevelNumber,
        "message" => Field::Message,
        "process" => Field::Process,
        "processName" => Field::ProcessName,
        "thread" => Field::Thread,
        "threadName" => Field::ThreadName,
        "module" | "funcName" | "filename" | "pathname" => Field::Module,
        "lineno" => Field::Line,
        _ => return None,
    })
}

fn value(name: Field, kind: Kind, precision: Option<usize>, record: &Record, moment: Moment<'_>) -> String {
    let number = match name {
        Field::Created => moment.now.0,
        Field::Milliseconds => (moment.now.0.fract() * 1000.0).trunc(),
        Field::SinceStart => moment.since_start.as_secs_f64() * 1000.0,
        Field::LevelNumber => f64::from(record.level.0),
        Field::Process => f64::from(std::process::id()),
        Field::Thread => f64::from(nix::unistd::gettid().as_raw()),
        Field::Line => 0.0,
        _ => return cut(text(name, record, moment), precision),
    };
    match kind {
        Kind::Decimal => format!("{:0>1$}", number as i64, precision.unwrap_or(1)),
        Kind::Hex => format!("{:0>1$X}", number as i64, precision.unwrap_or(1)),
        Kind::Float => format!("{number:.0$}", precision.unwrap_or(6)),
        Kind::Text => {
            cut(f2b_types::Number::Float(number).to_string().trim_end_matches(".0").to_owned(), precision)
        }
    }
}

fn text(name: Field, record: &Record, moment: Moment<'_>) -> String {
    match name {
        Field::Time => asctime(moment.now, moment.zone),
        Field::Name => full_name(&record.logger),
        Field::Level => record.level.to_string(),
        Field::Message => record.message.clone(),
        Field::ThreadName => std::thread::current().name().unwrap_or("?").to_owned(),
        Field::ProcessName => "MainProcess".into(),
        _ => record.logger.clone().into_owned(),
    }
}

fn cut(text: String, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}

fn pad(line: &mut String, value: &str, width: usize, left: bool, zeros: bool) {
    // Writing into a String never fails.
    let _ = match (left, zeros) {
        (true, _) => write!(line, "{value:<width$}"),
        (false, true) => write!(line, "{value:0>width$}"),
        (false, false) => write!(line, "{value:>width$}"),
    };
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use f2b_types::Level;

    use super::*;

    const MOMENT: Moment<'_> = Moment {
        now: Time(1_124_012_400.062_5),
        zone: &TimeZone::UTC,
        since_start: Duration::from_millis(1234),
    };

    fn record() -> Record {
        Record::new(Level::NOTICE, "actions", "[sshd] Ban 192.0.2.1")
    }

    fn written(format: &Format) -> String {
        let pid = std::process::id().to_string();
        format.line(&record(), MOMENT).replace(&format!("[{pid}]"), "[PID]")
    }

    #[test]
    fn the_formats_of_the_options_are_upstreams() {
        let of = |verbosity, time, padding| written(&Format::of_verbosity(verbosity, time, padding));
        assert_eq!(
            of(0, true, true),
            "2005-08-14 09:40:00,062 fail2ban.actions        [PID]: NOTICE  [sshd] Ban 192.0.2.1"
        );
        assert_eq!(of(0, false, false), "fail2ban.actions[PID]: NOTICE [sshd] Ban 192.0.2.1");
        let thread = format!("{:X}", nix::unistd::gettid().as_raw());
        assert_eq!(
            of(2, true, true),
            format!(" 2005-08-14 09:40:00,062 {thread} NOTIC [sshd] Ban 192.0.2.1")
        );
        assert_eq!(
            of(3, true, true),
            format!(" + 1234 {thread} fail2ban.actions          NOTIC [sshd] Ban 192.0.2.1")
        );
    }

    #[test]
    fn formats_that_can_not_be_used_are_named() {
        for (format, message) in [
            ("plain", "the log format 'plain' shows nothing of a record"),
            ("%(nmae)s", "the log format names the unknown column 'nmae'"),
            ("%(message)", "the log format has '%(message)', which is no column"),
            ("%s", "the log format has '%s', which is no column"),
            ("%(message)d", "the log format has '%(message)d', which is no column"),
            ("%(message)99999s", "the log format has '%(message)99999s', which is no column"),
        ] {
            assert_eq!(Format::parse(format).map(|_| ()), Err(FormatError(message.into())), "{format}");
        }
    }

    #[test]
    fn python_fills_formats_in_alike() {
        let formats = [
            "%(message)s",
            "%(levelname)s:%(name)s:%(message)s",
            "[%(levelname)-8s] %(message).6s|",
            "%(levelname)10.3s|%(levelno)d|%(levelno)05d|%(levelno)-5d|%(levelno)x|%(levelno)s",
            "100%% %(name)s",
            "%(msecs)03d %(msecs)d",
            "%(created).3f",
            "%(asctime)s",
        ];
        let script = "import sys, json, logging, time\n\
            logging.Formatter.converter = time.gmtime\n\
            logging.addLevelName(25, 'NOTICE')\n\
            for text in json.load(sys.stdin):\n\
            \x20 r = logging.LogRecord('fail2ban.actions', 25, '', 0, '[sshd] Ban 192.0.2.1', None, None)\n\
            \x20 r.created = 1124012400.0625; r.msecs = 62\n\
            \x20 print(logging.Formatter(text).format(r))\n";
        let python =
            Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut python) = python else {
            assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks python3");
            let _ = writeln!(std::io::stderr(), "skipped: python_fills_formats_in_alike needs python3");
            return;
        };
        let input = serde_json::to_vec(&formats).expect("JSON");
        python.stdin.take().expect("a pipe").write_all(&input).expect("a write");
        let output = python.wait_with_output().expect("python3 ends");
        let theirs = String::from_utf8(output.stdout).expect("a text");
        let ours = formats.map(|format| written(&Format::parse(format).expect("a format")));
        assert_eq!(ours.to_vec(), theirs.lines().collect::<Vec<_>>());
    }
}
