//! The client: sends commands to a server and prints what it answers.
//!
//! ```text
//! f2b-client status sshd     argv -> CmdLine -> Conf -> Command -> Connection -> Reply -> beautify -> standard output
//! ```
//!
//! Some commands do more than travel: `start` reads the configuration, starts a server and hands it the command stream,
//! `reload` and `restart` likewise ([`Client`]). A server that was started in the foreground configures itself in the
//! same way, through [`prepare`] and [`configure`].
//!
//! Upstream: `fail2banclient.Fail2banClient`, `csocket.CSocket`, and for starting `fail2banserver.Fail2banServer`.

mod beautify;
mod config;
mod connection;
mod console;
mod dump;
mod inspect;
mod interactive;
mod json;
mod session;
mod start;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use f2b_config::Judge;
use f2b_types::{Level, Log, Record};

pub use self::beautify::{Charset, Unfit, beautify, beautify_error};
pub use self::config::Prepared;
use self::config::Reader;
pub use self::connection::{Connection, ConnectionError};
pub use self::console::{Console, Output};
pub use self::session::Client;
pub use self::start::{configure, prepare, start};
use crate::cmdline::{self, Answer, CmdLine, Conf};
use crate::{complete, memory};

/// What a client leaves when it has failed.
const FAILURE: u8 = 255;

/// What a client says when it can't begin.
const INIT_FAILED: &str = "Init of command line failed";

/// Who tells what a server would refuse.
#[derive(Debug, Clone, Copy)]
pub struct Judges {
    /// Of everything.
    pub all: &'static dyn Judge,
    /// For a server that runs: what it can't follow logs with is left for it to say.
    pub running: &'static dyn Judge,
}

/// Something that did not work out; why has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// Runs the client: `args` are those of the process, its name first. The exit code is 0 or 255.
///
/// What compiles expressions and opens logs is the server's and not part of this program, which has to start quickly:
/// where a configuration is tried out, the server's binary takes its place and acts as this client.
pub fn run(args: Vec<OsString>) -> ExitCode {
    memory::hold();
    let line = match cmdline::parse(&args) {
        Ok(line) => line,
        Err(answer) => return finish(print(answer, &args)),
    };
    let console = Console::new(line.verbose);
    let mut out = Output::stdout();
    let done = match tries_out(&line) {
        true => Err(hand_over(&args, &console)),
        false => execute(&line, None, &console, &mut out),
    };
    finish(done)
}

/// Whether a configuration is going to be tried out before the server gets it.
fn tries_out(line: &CmdLine) -> bool {
    let hands_on = |word: &String| ["start", "restart", "reload"].contains(&word.as_str());
    !line.completes && (line.test || line.interactive || line.args.first().is_some_and(hands_on))
}

/// Puts the server's binary in the place of this process.
fn hand_over(args: &[OsString], log: &dyn Log) -> Failed {
    let mut server = start::server();
    server.args(args.iter().skip(1));
    if let Some(name) = args.first() {
        server.arg0(name);
    }
    let error = server.exec();
    fail(log, &format!("Unable to execute {}: {error}", server.get_program().display()))
}

/// Does what a command line asks a client for; the answer goes to `out`, everything else to `log`. Without
/// `judges` nothing is tested.
///
/// # Errors
///
/// [`Failed`] when any part of it did not work.
pub fn execute(
    line: &CmdLine,
    judges: Option<&'static Judges>,
    log: &dyn Log,
    out: &mut Output,
) -> Result<(), Failed> {
    let done = obey(line, judges, log, out);
    let code = if done.is_ok() { 0 } else { FAILURE };
    log.write(Record::new(Level::DEBUG, "", format!("Exit with code {code}")));
    done
}

fn obey(
    line: &CmdLine,
    judges: Option<&'static Judges>,
    log: &dyn Log,
    out: &mut Output,
) -> Result<(), Failed> {
    let Some((conf, config)) = settle(line, judges, log, out)? else { return Ok(()) };
    let mut client = Client::with_config(conf, config, log, out);
    if line.interactive {
        return interactive::run(&mut client, line, &mut io::stdin().lock());
    }
    match line.args.as_slice() {
        [] => {
            client.print(&cmdline::usage(&line.program));
            Err(Failed)
        }
        words => client.command(words),
    }
}

/// The options with which to run, or `None` when the command line asked for no more than a dump or a test, which has
/// been done (`Fail2banCmdLine.initCmdLine`). A server's command line goes the same way.
///
/// # Errors
///
/// [`Failed`] when the configuration does not stand the test.
pub fn resolve(
    line: &CmdLine,
    judges: &'static Judges,
    log: &dyn Log,
    out: &mut Output,
) -> Result<Option<Conf>, Failed> {
    settle(line, Some(judges), log, out).map(|settled| settled.map(|(conf, _)| conf))
}

fn settle(
    line: &CmdLine,
    judges: Option<&'static Judges>,
    log: &dyn Log,
    out: &mut Output,
) -> Result<Option<(Conf, Reader)>, Failed> {
    if line.completes {
        complete::candidates(&line.args).iter().for_each(|candidate| out.print(&format!("{candidate}\n")));
        return Ok(None);
    }
    if let Some(what) = &line.explain {
        return inspect::explain(&line.root, what, line.json, log, out).map(|()| None);
    }
    if let (true, Some(judges)) = (line.test, judges) {
        return test(line, judges, log, out);
    }
    let (conf, mut config) = configure_client(line, judges, log, out)?;
    let Some(style) = line.dump else { return Ok(Some((conf, config))) };
    memory::expect_much();
    if dump::print(style, &mut config, &conf, log, out).ok { Ok(None) } else { Err(init_failed(line, log)) }
}

/// The options with which to run, and the reader that goes on from there.
fn configure_client(
    line: &CmdLine,
    judges: Option<&'static Judges>,
    log: &dyn Log,
    out: &mut Output,
) -> Result<(Conf, Reader), Failed> {
    let say = |level, message: String| log.write(Record::new(level, "", message));
    let mut config = Reader::new(&line.root, judges);
    let conf = config.conf(line, log).map_err(|error| {
        match line.json {
            true => say(Level::ERROR, error.to_string()),
            false => out.print(&format!("ERROR: {error}\n")),
        }
        // A mere test has said what it had to say.
        if line.test && line.args.is_empty() { Failed } else { init_failed(line, log) }
    })?;
    say(Level::INFO, format!("Using socket file {}", conf.socket.display()));
    let level = conf.loglevel.parse::<Level>().map_or_else(|text| text, |level| level.to_string());
    let (pidfile, target) = (conf.pidfile.display(), &conf.logtarget);
    say(Level::INFO, format!("Using pid file {pidfile}, [{level}] logging to {target}"));
    Ok((conf, config))
}

/// Checks the configuration. Every problem and their number go to standard error, the verdict to standard output, as
/// fail2ban's; the verdict is also against a jail that the server would refuse, which fail2ban does not find out. A command
/// behind the options is executed if there is nothing against it.
fn test(
    line: &CmdLine,
    judges: &'static Judges,
    log: &dyn Log,
    out: &mut Output,
) -> Result<Option<(Conf, Reader)>, Failed> {
    let report = f2b_config::check(&line.root, judges.all);
    if !line.json {
        let _ = io::stderr().write_all(inspect::problems(&report).as_bytes());
    }
    // What matters has been said.
    let quiet = BelowWarning(log);
    let mut unread = Output::collected();
    let mut settled = configure_client(line, Some(judges), &quiet, if line.json { &mut unread } else { out });
    let mut ok = false;
    if let Ok((conf, config)) = &mut settled {
        ok = match line.dump {
            Some(style) => dump::print(style, config, conf, &quiet, out).is_flawless(),
            None => config.read::<Vec<_>>(conf, None, &quiet).is_flawless(),
        };
    }
    if line.json {
        out.print(&inspect::problems_as_json(&report, ok));
    }
    let settled = settled?;
    match (ok, line.args.is_empty()) {
        (true, false) => return Ok(Some(settled)),
        (false, false) => return Err(fail(log, "ERROR: test configuration failed")),
        (true, true) if line.json => {}
        (true, true) => out.print("OK: configuration test is successful\n"),
        (false, true) if line.json => return Err(Failed),
        (false, true) => {
            out.print("ERROR: test configuration failed\n");
            return Err(Failed);
        }
    }
    Ok(None)
}

fn fail(log: &dyn Log, message: &str) -> Failed {
    log.write(Record::new(Level::ERROR, "", message));
    Failed
}

/// Clients say so, servers don't.
fn init_failed(line: &CmdLine, log: &dyn Log) -> Failed {
    if line.is_server() { Failed } else { fail(log, INIT_FAILED) }
}

/// A log that hears of nothing bad.
struct BelowWarning<'a>(&'a dyn Log);

impl Log for BelowWarning<'_> {
    fn enabled(&self, level: Level) -> bool {
        level < Level::WARNING && self.0.enabled(level)
    }

    fn write(&self, record: Record) {
        if self.enabled(record.level) {
            self.0.write(record);
        }
    }
}

/// Prints what is known without a configuration. There is no log yet, so that its only line stands bare.
///
/// # Errors
///
/// [`Failed`] for a command line that could not be read.
pub fn print(answer: Answer, args: &[OsString]) -> Result<(), Failed> {
    let mut out = Output::stdout();
    let program = args.first().map(|name| cmdline::program_name(name.as_ref())).unwrap_or_default();
    let (text, done) = match answer {
        Answer::Print(text) => (text + "\n", Ok(())),
        Answer::Usage => (cmdline::usage(&program), Ok(())),
        Answer::Misuse => (cmdline::usage(&program), Err(Failed)),
        Answer::Invalid(message) => (format!("ERROR: {message}\n"), Err(Failed)),
    };
    out.print(&text);
    if done.is_err() && !cmdline::is_server(&program) {
        let _ = writeln!(io::stderr(), "{INIT_FAILED}");
    }
    done
}

fn finish(done: Result<(), Failed>) -> ExitCode {
    // Whoever closed standard output does not want the rest.
    let _ = io::stdout().flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::from(FAILURE),
    }
}
