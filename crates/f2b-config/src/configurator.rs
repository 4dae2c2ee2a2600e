//! The whole configuration: main options, jails, and the stream of commands that sets a server up.
//!
//! Answers to `configurator.Configurator`, `fail2banreader.Fail2banReader`, `jailsreader.JailsReader` and to
//! `fail2bancmdline.Fail2banCmdLine.readConfig`.

use std::path::Path;

use f2b_protocol::{Command, Value};
use f2b_types::Level;

use crate::diagnostic::{Diagnostic, logger};
use crate::error::{Error, ErrorKind};
use crate::files::{Files, Reading};
use crate::jails::SetUp;
use crate::judge::Judge;
use crate::python::repr;
use crate::setting::Setting;
use crate::stream::Stream;
use crate::template::Fallback::{self, Unset};
use crate::template::Type::{Int, Text};
use crate::template::{Query, Wanted, want};

pub(crate) const EARLY: &[Wanted] = &[
    want(Text, "socket", Fallback::Text("/var/run/fail2ban/fail2ban.sock")),
    want(Text, "pidfile", Fallback::Text("/var/run/fail2ban/fail2ban.pid")),
    want(Text, "loglevel", Fallback::Text("INFO")),
    want(Text, "logtarget", Fallback::Text("/var/log/fail2ban.log")),
    want(Text, "syslogsocket", Fallback::Text("auto")),
];

pub(crate) const MAIN: &[Wanted] = &[
    want(Text, "loglevel", Fallback::Text("INFO")),
    want(Text, "logtarget", Fallback::Text("STDERR")),
    want(Text, "syslogsocket", Fallback::Text("auto")),
    want(Text, "allowipv6", Fallback::Text("auto")),
    want(Text, "dbfile", Fallback::Text("/var/lib/fail2ban/fail2ban.sqlite3")),
    want(Int, "dbmaxmatches", Unset),
    want(Text, "dbpurgeage", Fallback::Text("1d")),
];

pub(crate) const THREAD: &[Wanted] = &[want(Int, "stacksize", Unset)];

/// The main options that are commands, in the order in which the server has to get them: the log first, so that it
/// shows what goes wrong later, and the database before its options.
const ORDER: &[&str] =
    &["syslogsocket", "loglevel", "logtarget", "allowipv6", "dbfile", "dbmaxmatches", "dbpurgeage"];

/// What to read, and how to take what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// Only this jail, rather than all that are enabled.
    pub jail: Option<String>,
    /// Wrong jails are left out as long as there is a sound one; without it, one wrong jail is a failure.
    pub ignore_wrong: bool,
    /// That a jail has no log file is a warning rather than a failure; a dump wants that.
    pub allow_no_files: bool,
    /// Options that win over `fail2ban.conf`. Upstream's client always hands over `loglevel`, `logtarget` and
    /// `syslogsocket`, from its command line or else from [`EarlyOptions`], and other names that change nothing.
    pub main_options: Vec<(String, String)>,
    /// Looks through the commands of each jail; a jail with a fault is left out, and with `ignore_wrong` so is one with an
    /// error at which upstream stops altogether. Upstream has nothing like it.
    pub judge: Option<&'a dyn Judge>,
}

impl Request<'_> {
    /// Whether an error in one jail costs that jail only; where one is asked for, there are no others.
    pub(crate) fn spares_jails(&self) -> bool {
        self.judge.is_some() && self.ignore_wrong && self.jail.is_none()
    }
}

/// The configuration as a server is told.
#[derive(Debug, Clone)]
pub struct Loaded<S = Vec<Command>> {
    /// It can be used.
    pub ok: bool,
    /// The commands in order; `None` where reading failed altogether. There can be commands though `ok` is false.
    pub stream: Option<S>,
    /// A jail was left out that upstream would have stopped at, see [`Request::judge`].
    pub faulty: bool,
    /// What upstream logs, in its order.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a client has to know before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyOptions {
    /// The server's socket.
    pub socket: String,
    /// The server's PID file.
    pub pidfile: String,
    /// The name or the number of a level.
    pub loglevel: String,
    /// A file or one of the special targets.
    pub logtarget: String,
    /// The socket of syslog, or `auto`.
    pub syslogsocket: String,
}

/// Reads the configuration under a directory. `fail2ban.conf` is read once for both of its uses.
#[derive(Debug)]
pub struct Configurator {
    pub(crate) base: String,
    pub(crate) files: Files,
}

/// [`Configurator::load`] for a single use.
pub fn load(root: &Path, request: &Request<'_>) -> Loaded {
    Configurator::new(root).load(request)
}

/// [`Configurator::early_options`] for a single use.
///
/// # Errors
///
/// That there is no main configuration, or that it is wrong.
pub fn early_options(root: &Path) -> Result<EarlyOptions, Error> {
    Configurator::new(root).early_options()
}

impl Configurator {
    /// For the configuration directory `root`.
    pub fn new(root: &Path) -> Self {
        Self { base: base_of(root), files: Files::default() }
    }

    /// As [`Configurator::new`] for somebody who does not want to hear of what matters less than `level`.
    pub fn heard_from(root: &Path, level: Level) -> Self {
        let mut configurator = Self::new(root);
        configurator.files.log.from = level;
        configurator
    }

    /// What there was to say since the last time somebody asked.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.files.log.diagnostics)
    }

    /// Reads `fail2ban.conf` for what a client has to know first (`Fail2banReader.getEarlyOptions`).
    ///
    /// # Errors
    ///
    /// That there is no main configuration, or that it is wrong; upstream's client prints `ERROR: ` and the message.
    pub fn early_options(&mut self) -> Result<EarlyOptions, Error> {
        let main = self.read_main()?;
        let query = Query { merged: &main.merged, section: "Definition", template: EARLY };
        let options = query.read(&mut self.files.log)?;
        let text = |name: &str| {
            options.get(name).map(|setting| setting.datum.to_text().to_string()).unwrap_or_default()
        };
        Ok(EarlyOptions {
            socket: text("socket"),
            pidfile: text("pidfile"),
            loglevel: text("loglevel"),
            logtarget: text("logtarget"),
            syslogsocket: text("syslogsocket"),
        })
    }

    /// Reads everything that is asked for (`Fail2banCmdLine.readConfig`).
    pub fn load(&mut self, request: &Request<'_>) -> Loaded {
        self.load_as(request)
    }

    /// As [`Configurator::load`], where the commands become something else.
    pub fn load_as<S: Stream>(&mut self, request: &Request<'_>) -> Loaded<S> {
        let (ok, faulty, stream) = match self.read(request) {
            Ok((ok, faulty, stream)) => (ok, faulty, Some(stream)),
            Err(error) => {
                let message = format!("Failed during configuration: {error}");
                self.files.log.say_error(logger::ROOT, message, error);
                (false, false, None)
            }
        };
        Loaded { ok, stream, faulty, diagnostics: self.take_diagnostics() }
    }

    fn read<S: Stream>(&mut self, request: &Request<'_>) -> Result<(bool, bool, S), Error> {
        let main = self.read_main()?;
        let jails = self.read_jails()?;
        let mut stream = S::default();
        for command in self.main_commands(&main, &request.main_options)? {
            stream.push(command);
        }
        let SetUp { mut ok, faulty, mut stream, started, .. } = self.set_up_jails(jails, stream, request)?;
        // A server without any jail, because of what is wrong with them, is none that upstream would start.
        ok &= !faulty || !started.is_empty();
        started.iter().for_each(|name| stream.push(Command::words(["start", name])));
        Ok((ok, faulty, stream))
    }

    pub(crate) fn read_main(&mut self) -> Result<Reading, Error> {
        let main = self.files.read(&self.base, "fail2ban")?;
        if main.complete {
            Ok(main)
        } else {
            Err(Error::new(ErrorKind::Lookup, "Read fail2ban configuration failed."))
        }
    }

    pub(crate) fn main_commands(
        &mut self,
        main: &Reading,
        given: &[(String, String)],
    ) -> Result<Vec<Command>, Error> {
        let query = |section, template| Query { merged: &main.merged, section, template };
        let mut options = query("Definition", MAIN).read(&mut self.files.log)?;
        for (key, value) in given {
            // What the client has from the same file keeps its place there.
            if options.get(key).is_none_or(|setting| *setting.datum.to_text() != **value) {
                options.insert(key.as_str(), Setting::text(value));
            }
        }
        if let Some(setting) = options.get("loglevel") {
            check_log_level(&setting.datum.to_text()).map_err(|error| error.at_place(setting.place()))?;
        }
        let mut stream = Vec::new();
        if main.merged.has_section("Thread") {
            let thread = query("Thread", THREAD).read(&mut self.files.log)?;
            let entries: Vec<_> = thread
                .iter()
                .map(|(key, setting)| (Value::from(&**key), Value::from(&setting.datum)))
                .collect();
            if !entries.is_empty() {
                stream.push(Command(vec!["set".into(), "thread".into(), Value::Dict(entries)]));
            }
        }
        for (name, setting) in ORDER.iter().filter_map(|name| Some((*name, options.get(name)?))) {
            stream.push(Command(vec!["set".into(), name.into(), Value::from(&setting.datum)]));
        }
        Ok(stream)
    }
}

/// The directory as upstream writes it in its messages.
pub(crate) fn base_of(root: &Path) -> String {
    root.to_string_lossy().trim_end_matches('/').to_owned()
}

/// A level is a number or one of Python's names in any case (`helpers.str2LogLevel`).
///
/// # Errors
///
/// Upstream's words for a text that is neither.
pub fn check_log_level(text: &str) -> Result<(), Error> {
    let is_number = !text.is_empty() && text.chars().all(char::is_numeric);
    if is_number || text.parse::<Level>().is_ok() {
        return Ok(());
    }
    Err(Error::value(format!("Invalid log level {}", repr(text))))
}
