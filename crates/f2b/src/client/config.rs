//! The configuration, as client and server read it before they talk.

use std::mem;
use std::path::{Path, PathBuf};

use f2b_config::{Configurator, Diagnostic, Judge, Request, Stream};
use f2b_protocol::Command;
use f2b_types::{Level, Log, Record};

use super::{Failed, Judges};
use crate::cmdline::{CmdLine, Conf, ConfError, Early};

/// Reads the configuration of one directory.
///
/// What a command line needs and the configuration that it then asks for come from one reading, so that nothing is said
/// twice; each further reading begins anew, because people edit files between commands.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    judges: Option<&'static Judges>,
    begun: Option<Configurator>,
}

/// What reading came to.
pub(super) struct Read<S = Vec<Command>> {
    /// Whether it is fit to be used.
    pub(super) ok: bool,
    /// The command stream, unless the configuration could not be read at all.
    pub(super) stream: Option<S>,
    /// A jail was left out because the server would have refused it.
    pub(super) faulty: bool,
}

impl<S> Read<S> {
    /// Nothing is wrong with it, and the server would refuse none of it.
    pub(super) fn is_flawless(&self) -> bool {
        self.ok && !self.faulty
    }

    /// The same with another stream.
    pub(super) fn map<T>(self, change: impl FnOnce(S) -> T) -> Read<T> {
        Read { ok: self.ok, stream: self.stream.map(change), faulty: self.faulty }
    }
}

impl Read {
    /// The command stream of a configuration with at least one sound jail.
    pub(super) fn usable(self) -> Result<Prepared, Failed> {
        let stream = self.stream.filter(|_| self.ok).ok_or(Failed)?;
        Ok(Prepared { stream, faulty: self.faulty })
    }

    /// The command stream of a configuration that may replace the one that is running.
    pub(super) fn flawless(self) -> Result<Vec<Command>, Failed> {
        self.usable().and_then(|prepared| if prepared.faulty { Err(Failed) } else { Ok(prepared.stream) })
    }
}

/// A command stream for a server that is about to start.
#[derive(Debug)]
pub struct Prepared {
    /// The commands.
    pub stream: Vec<Command>,
    /// Jails were left out that the server would have refused: it runs without them, and whoever started it fails.
    pub faulty: bool,
}

impl Reader {
    /// Without `judges`, everything passes.
    pub(super) fn new(root: &Path, judges: Option<&'static Judges>) -> Self {
        Self { root: root.into(), judges, begun: None }
    }

    /// The options of `line`, and where it is silent, those of `fail2ban.conf`, which need not be there otherwise.
    pub(super) fn conf(&mut self, line: &CmdLine, log: &dyn Log) -> Result<Conf, ConfError> {
        if line.says_all() {
            return Conf::new(line, Early::default());
        }
        let reader = self.begun.insert(reader(&self.root, log));
        let options = reader.early_options();
        report(&reader.take_diagnostics(), log);
        let options = options?;
        let early = Early {
            socket: options.socket.into(),
            pidfile: options.pidfile.into(),
            loglevel: options.loglevel,
            logtarget: options.logtarget,
            syslogsocket: options.syslogsocket,
        };
        Conf::new(line, early)
    }

    /// Reads the configuration of the server and of all jails, or of one, and logs what there is to say about it
    /// (`Fail2banCmdLine.readConfig`).
    pub(super) fn read<S: Stream>(&mut self, conf: &Conf, jail: Option<&str>, log: &dyn Log) -> Read<S> {
        self.read_by(self.judges.map(|judges| judges.all), conf, jail, log)
    }

    /// As [`Reader::read`], for a server that runs and says itself that it can't follow a jail in another way than before.
    pub(super) fn read_for_reload(&mut self, conf: &Conf, jail: Option<&str>, log: &dyn Log) -> Read {
        self.read_by(self.judges.map(|judges| judges.running), conf, jail, log)
    }

    fn read_by<S: Stream>(
        &mut self,
        judge: Option<&dyn Judge>,
        conf: &Conf,
        jail: Option<&str>,
        log: &dyn Log,
    ) -> Read<S> {
        let main_options = [
            ("loglevel", &conf.loglevel),
            ("logtarget", &conf.logtarget),
            ("syslogsocket", &conf.syslogsocket),
        ];
        let request = Request {
            jail: jail.map(Into::into),
            ignore_wrong: !conf.strict,
            allow_no_files: conf.dump,
            main_options: main_options.map(|(name, value)| (name.into(), value.clone())).into(),
            judge: judge.filter(|_| !conf.dump),
        };
        let mut reader = self.begun.take().unwrap_or_else(|| reader(&self.root, log));
        let loaded = reader.load_as(&request);
        report(&loaded.diagnostics, log);
        if conf.dump {
            // The process is about to end, and gives all of it back at once.
            mem::forget(reader);
        }
        Read { ok: loaded.ok, stream: loaded.stream, faulty: loaded.faulty }
    }
}

/// A reader that says what `log` wants to hear.
fn reader(root: &Path, log: &dyn Log) -> Configurator {
    let levels = [Level::HEAVYDEBUG, Level::TRACEDEBUG, Level::DEBUG, Level::INFO, Level::NOTICE];
    let from = levels.into_iter().find(|level| log.enabled(*level)).unwrap_or(Level::WARNING);
    Configurator::heard_from(root, from)
}

/// Logs the records, and below each where its cause stands.
pub(super) fn report(diagnostics: &[Diagnostic], log: &dyn Log) {
    let heard = diagnostics.iter().filter(|diagnostic| log.enabled(diagnostic.record.level));
    let records = heard.map(|diagnostic| {
        let Record { level, logger, .. } = &diagnostic.record;
        let logger = if logger == "fail2ban" { "".into() } else { logger.clone() };
        Record::new(*level, logger, diagnostic.to_string())
    });
    log.write_all(records.collect());
}
