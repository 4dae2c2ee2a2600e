//! One client at work: each command of the command line, and what stands behind it.

use std::collections::VecDeque;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use f2b_protocol::{Command, Exception, ReplyError, Value};
use f2b_types::{Level, Log, Record};
use nix::unistd::{AccessFlags, access};

use super::beautify::{Charset, beautify, beautify_error, exception_args};
use super::config::Reader;
use super::connection::{Connection, ConnectionError};
use super::console::Output;
use super::json;
use super::start::Launched;
use super::{Failed, Judges};
use crate::cmdline::Conf;

/// How long `start` and `restart` wait for an answer to the first `ping`.
const PING_TIMEOUT: Duration = Duration::from_millis(100);

/// A client with its options, its log and its output.
pub struct Client<'a> {
    pub(super) conf: Conf,
    pub(super) config: Reader,
    pub(super) log: &'a dyn Log,
    out: &'a mut Output,
    charset: Charset,
}

/// Whose answers are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// The user's: answers, errors and all.
    All,
    /// The program's own: only what is meant to be seen (`echo`, `server-status`).
    Own,
}

/// Why waiting for a server came to an end.
#[derive(Debug)]
pub(super) enum WaitError {
    /// The time is over.
    TimedOut,
    /// The process of the server has failed.
    ServerFailed(ExitStatus),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("Failed to start server"),
            Self::ServerFailed(status) => write!(f, "Could not find server, waiting failed: {status}"),
        }
    }
}

impl<'a> Client<'a> {
    /// A client that writes answers to `out` and everything else to `log`.
    pub fn new(conf: Conf, judges: Option<&'static Judges>, log: &'a dyn Log, out: &'a mut Output) -> Self {
        let config = Reader::new(&conf.root, judges);
        Self::with_config(conf, config, log, out)
    }

    /// A client that goes on reading where the options of the command line were read.
    pub(super) fn with_config(conf: Conf, config: Reader, log: &'a dyn Log, out: &'a mut Output) -> Self {
        let charset = Charset::from_locale(|name| std::env::var(name).ok());
        Self { conf, config, log, out, charset }
    }

    /// Executes a command of the user (`Fail2banClient.__processCommand`).
    ///
    /// # Errors
    ///
    /// [`Failed`] when the server could not be asked, or would not.
    pub fn command(&mut self, words: &[String]) -> Result<(), Failed> {
        let Some((name, arguments)) = words.split_first() else { return Err(Failed) };
        match (name.as_str(), arguments) {
            ("start", []) => self.start(),
            ("restart", []) => self.restart(),
            ("restart", jail) => {
                let mut arguments = vec!["--restart".to_owned()];
                arguments.extend_from_slice(jail);
                self.reload(arguments)
            }
            ("reload", arguments) => self.reload(arguments.to_vec()),
            ("ping", [timeout, ..]) => {
                let timeout = self.seconds(timeout)?;
                self.send(&[Command::words(words)], Show::All, timeout)
            }
            _ => self.send(&[Command::words(words)], Show::All, None),
        }
    }

    /// Restarts the server.
    fn restart(&mut self) -> Result<(), Failed> {
        self.note("stop");
        // Without a server to stop there is still one to start.
        let _ = self.send(&[Command::words(["stop"])], Show::All, None);
        self.wait_for_server(false, None).map_err(|failure| self.fail(failure.to_string()))?;
        self.note("start");
        self.start()
    }

    /// Reads the configuration and hands it to the server, all of it or that of one jail.
    fn reload(&mut self, arguments: Vec<String>) -> Result<(), Failed> {
        let mut rest = VecDeque::from(arguments);
        let mut options = Vec::new();
        while let Some(option) = rest.pop_front_if(|word| is_reload_option(word)) {
            options.push(option);
        }
        if rest.len() > 1 {
            let rest = Value::strings(rest);
            return Err(self.fail(format!("Unexpected argument(s) for reload: {rest}")));
        }
        if self.ping(None).is_err() {
            return Err(self.fail("Could not find server"));
        }
        let jail = rest.pop_front().filter(|jail| jail != "--all");
        let stream = self.config.read_for_reload(&self.conf, jail.as_deref(), self.log).flawless()?;
        self.note("reload");
        let command = Command(vec![
            "reload".into(),
            jail.unwrap_or_else(|| "--all".into()).into(),
            Value::strings(options),
            Value::List(stream.into_iter().map(Value::from).collect()),
        ]);
        self.send(&[command], Show::All, None)
    }

    /// Sends commands one after another and prints the answers (`Fail2banClient.__processCmd`).
    pub(super) fn send(
        &mut self,
        commands: &[Command],
        show: Show,
        timeout: Option<Duration>,
    ) -> Result<(), Failed> {
        let mut connection = None;
        let mut done = Ok(());
        for command in commands {
            let reply = match &mut connection {
                Some(open) => Connection::send(open, command),
                closed => Connection::open(&self.conf.socket, timeout)
                    .and_then(|open| closed.insert(open).send(command)),
            };
            match reply {
                Ok(Ok(value)) => self.show(command, &value, show),
                Ok(Err(exception)) => {
                    self.show_exception(command, &exception, show);
                    done = Err(Failed);
                }
                Err(error) => {
                    self.report(command, &error, show);
                    return Err(Failed);
                }
            }
        }
        done
    }

    /// Whether a server answers.
    pub(super) fn ping(&mut self, timeout: Option<Duration>) -> Result<(), Failed> {
        let mut command = Command::words(["ping"]);
        command.0.extend(timeout.map(|timeout| Value::Float(timeout.as_secs_f64())));
        self.send(&[command], Show::Own, timeout)
    }

    /// Whether a server answers soon.
    pub(super) fn is_server_up(&mut self) -> bool {
        self.ping(Some(PING_TIMEOUT)).is_ok()
    }

    /// Whether a server answers. To somebody who waits for its end, one that is about to go is still there.
    fn is_there(&mut self, up: bool, timeout: Duration) -> bool {
        let stops = || {
            let answer = Connection::open(&self.conf.socket, Some(timeout))
                .and_then(|mut open| open.send(&Command::words(["ping"])));
            matches!(answer, Err(ConnectionError::Reply(ReplyError::Stopping)))
        };
        !up && stops() || self.ping(Some(timeout)).is_ok()
    }

    /// Waits until a server answers, or until none does any more (`Fail2banClient.__waitOnServer`). A server that this
    /// client started is given up when its process has failed.
    pub(super) fn wait_for_server(
        &mut self,
        up: bool,
        mut launched: Option<&mut Launched>,
    ) -> Result<(), WaitError> {
        let limit = Duration::try_from_secs_f64(self.conf.timeout.max(0.0)).unwrap_or(Duration::MAX);
        let started = std::time::Instant::now();
        let mut pause = Duration::from_micros(6250);
        loop {
            let is_there = self.conf.socket.exists() && self.is_there(up, pause);
            if is_there == up {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited >= limit {
                return Err(WaitError::TimedOut);
            }
            if let Some(status) = launched.as_mut().and_then(|launched| launched.failure()) {
                return Err(WaitError::ServerFailed(status));
            }
            let longest = Duration::from_millis(if waited > Duration::from_millis(200) { 500 } else { 100 });
            pause = (pause * 2).min(longest);
            std::thread::sleep(pause);
        }
    }

    /// Between commands that people type, the steps of one are told apart.
    fn note(&mut self, step: &str) {
        if self.conf.interactive {
            self.print(&format!("  ## {step} ... \n"));
        }
    }

    /// Prints a text to standard output.
    pub fn print(&mut self, text: &str) {
        self.out.print(text);
    }

    /// Logs an error.
    pub(super) fn fail(&self, message: impl Into<String>) -> Failed {
        self.log.write(Record::new(Level::ERROR, "", message));
        Failed
    }

    fn show(&mut self, command: &Command, value: &Value, show: Show) {
        self.trace(|| format!("OK : {value}"));
        if show == Show::Own && !matches!(command.word(0), Some("echo" | "server-status")) {
            return;
        }
        if self.conf.json {
            self.print(&json::answer(value));
            return;
        }
        let text = beautify(&command.0, value, self.charset).unwrap_or_else(|unfit| {
            let say = |level, message: &str| self.log.write(Record::new(level, "beautifier", message));
            say(Level::WARNING, "Beautifier error. Please report the error");
            say(Level::ERROR, &format!("Beautify {value} with {command} failed"));
            unfit.text
        });
        self.print(&(text + "\n"));
    }

    fn show_exception(&mut self, command: &Command, exception: &Exception, show: Show) {
        self.fail(format!("NOK: {}", Value::Tuple(exception_args(exception))));
        match show {
            Show::All if self.conf.json => self.print(&json::refusal(exception)),
            Show::All => {
                let message = format!("Beautify (error) {exception} with {command}");
                self.log.write(Record::new(Level::DEBUG, "beautifier", message));
                self.print(&(beautify_error(exception) + "\n"));
            }
            Show::Own => {}
        }
    }

    /// Says why there is no answer. The program's own commands fail in silence unless asked to talk.
    fn report(&self, command: &Command, error: &ConnectionError, show: Show) {
        let is_ping = command.word(0) == Some("ping");
        match show {
            Show::Own if self.conf.verbose <= 1 => {}
            Show::Own if is_ping && error.is_io() => {
                self.trace(|| format!(" -- {command} failed -- {error}"));
            }
            _ if error.is_io() => self.report_socket(error, is_ping),
            _ => drop(self.fail(error.to_string())),
        }
    }

    /// Tells a missing server from a missing permission (`Fail2banClient.__logSocketError`).
    fn report_socket(&self, error: &ConnectionError, is_ping: bool) {
        let socket = &self.conf.socket;
        let path = socket.display();
        let may = |how| access(socket, how).is_ok();
        self.fail(match () {
            () if !may(AccessFlags::F_OK) => {
                format!("Failed to access socket path: {path}. Is fail2ban running?")
            }
            () if !may(AccessFlags::W_OK) => {
                format!("Permission denied to socket: {path}, (you must be root)")
            }
            () if is_ping => error.to_string(),
            () => format!("[{error}] Unable to contact server. Is it running?"),
        });
    }

    fn trace(&self, message: impl Fn() -> String) {
        if self.log.enabled(Level::HEAVYDEBUG) {
            self.log.write(Record::new(Level::HEAVYDEBUG, "", message()));
        }
    }

    /// A timeout of the user; -1 is none.
    fn seconds(&self, text: &str) -> Result<Option<Duration>, Failed> {
        let seconds: f64 = text
            .trim()
            .parse()
            .map_err(|_| self.fail(format!("could not convert string to float: {}", Value::from(text))))?;
        if seconds == -1.0 {
            return Ok(None);
        }
        match Duration::try_from_secs_f64(seconds) {
            Ok(timeout) => Ok(Some(timeout)),
            Err(_) => Err(self.fail("Timeout value out of range")),
        }
    }
}

fn is_reload_option(word: &str) -> bool {
    matches!(word, "--restart" | "--unban" | "--if-exists")
}
