//! What a command line comes to.

use std::fmt;
use std::path::PathBuf;

use f2b_protocol::Value;
use f2b_types::Level;

use super::CmdLine;

/// The options with which client and server run: those of the command line, and where it is silent, those of
/// `fail2ban.conf` (`Fail2banCmdLine.initCmdLine`).
#[derive(Debug, Clone, PartialEq)]
pub struct Conf {
    /// The directory of the configuration.
    pub root: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// The pid file.
    pub pidfile: PathBuf,
    /// The name that the process gives itself.
    pub pname: Option<String>,
    /// The level of the log, as written.
    pub loglevel: String,
    /// The target of the log.
    pub logtarget: String,
    /// The socket of syslog.
    pub syslogsocket: String,
    /// Whether only a flawless configuration will do (`-t`).
    pub strict: bool,
    /// Whether the command stream is read to be printed (`-d`).
    pub dump: bool,
    /// Whether answers are printed as JSON (`--json`).
    pub json: bool,
    /// Whether commands are read from standard input (`-i`).
    pub interactive: bool,
    /// 1, plus the number of `-v`, minus the number of `-q`.
    pub verbose: i32,
    /// Start even though a socket exists.
    pub force: bool,
    /// Start a server in the background.
    pub background: bool,
    /// A server that is configured by its client.
    pub nonsync: bool,
    /// Seconds to wait for a server.
    pub timeout: f64,
}

/// Options by which nothing can run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfError {
    /// `fail2ban.conf` could not be read.
    Config(f2b_config::Error),
    /// No such log level.
    LogLevel(String),
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::LogLevel(level) => write!(f, "Invalid log level {}", Value::from(level.as_str())),
        }
    }
}

impl std::error::Error for ConfError {}

impl From<f2b_config::Error> for ConfError {
    fn from(error: f2b_config::Error) -> Self {
        Self::Config(error)
    }
}

/// What `fail2ban.conf` says, or its defaults.
#[derive(Default)]
pub(crate) struct Early {
    pub(crate) socket: PathBuf,
    pub(crate) pidfile: PathBuf,
    pub(crate) loglevel: String,
    pub(crate) logtarget: String,
    pub(crate) syslogsocket: String,
}

impl Conf {
    /// The options of `line` over those of `early`.
    pub(crate) fn new(line: &CmdLine, early: Early) -> Result<Self, ConfError> {
        let loglevel = line.loglevel.clone().unwrap_or(early.loglevel);
        if loglevel.parse::<Level>().is_err() {
            return Err(ConfError::LogLevel(loglevel));
        }
        Ok(Self {
            root: line.root.clone(),
            socket: line.socket.clone().unwrap_or(early.socket),
            pidfile: line.pidfile.clone().unwrap_or(early.pidfile),
            pname: line.pname.clone(),
            loglevel,
            logtarget: line.logtarget.clone().unwrap_or(early.logtarget),
            syslogsocket: line.syslogsocket.clone().unwrap_or(early.syslogsocket),
            strict: line.test,
            dump: line.dump.is_some(),
            json: line.json,
            interactive: line.interactive,
            verbose: line.verbose,
            force: line.force,
            background: line.background,
            nonsync: line.nonsync,
            timeout: line.timeout.as_f64(),
        })
    }
}
