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
mod interactive;
mod session;
mod shell_words;
mod start;
mod trial;

use std::ffi::OsString;
use std::io::{self, Write};
use std::mem;
use std::process::ExitCode;

use f2b_types::{Level, Log, Record};

pub use self::beautify::{Charset, Unfit, beautify, beautify_error};
pub use self::config::Prepared;
use self::config::Reader;
pub use self::connection::{Connection, ConnectionError};
pub use self::console::{Console, Output};
pub use self::session::Client;
pub use self::start::{configure, prepare, start};
use crate::cmdline::{self, Answer, CmdLine, Conf, Dump};

/// Something that did not work out; why has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// Runs the client: `args` are those of the process, its name first. The exit code is 0 or 255.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let line = match cmdline::parse(&args) {
        Ok(line) => line,
        Err(answer) => return finish(print(answer, &args)),
    };
    let console = Console::new(line.verbose);
    let mut out = Output::stdout();
    let done = execute(&line, &console, &mut out);
    finish(done)
}

/// Does what a command line asks a client for; the answer goes to `out`, everything else to `log`.
///
/// # Errors
///
/// [`Failed`] when any part of it did not work.
pub fn execute(line: &CmdLine, log: &dyn Log, out: &mut Output) -> Result<(), Failed> {
    let Some((conf, config)) = settle(line, log, out)? else { return Ok(()) };
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
pub fn resolve(line: &CmdLine, log: &dyn Log, out: &mut Output) -> Result<Option<Conf>, Failed> {
    settle(line, log, out).map(|settled| settled.map(|(conf, _)| conf))
}

fn settle(line: &CmdLine, log: &dyn Log, out: &mut Output) -> Result<Option<(Conf, Reader)>, Failed> {
    let say = |level, message: String| log.write(Record::new(level, "", message));
    let fail = |message: &str| {
        say(Level::ERROR, message.into());
        Failed
    };
    let mut config = Reader::new(&line.root);
    let conf = config.conf(line, log).map_err(|error| {
        out.print(&format!("ERROR: {error}\n"));
        // A mere test has said what it had to say.
        if line.test && line.args.is_empty() { Failed } else { fail("Init of command line failed") }
    })?;
    say(Level::INFO, format!("Using socket file {}", conf.socket.display()));
    let level = conf.loglevel.parse::<Level>().map_or_else(|text| text, |level| level.to_string());
    let (pidfile, target) = (conf.pidfile.display(), &conf.logtarget);
    say(Level::INFO, format!("Using pid file {pidfile}, [{level}] logging to {target}"));
    if line.dump.is_none() && !line.test {
        return Ok(Some((conf, config)));
    }
    let read = config.read(&conf, None, log);
    if let Some(style) = line.dump {
        match read.stream {
            Some(stream) => print_stream(stream, style, out),
            None => out.print("ERROR: The configuration stream failed because of the invalid syntax.\n"),
        }
        if !line.test {
            return if read.ok { Ok(None) } else { Err(fail("Init of command line failed")) };
        }
    }
    match (read.ok, line.args.is_empty()) {
        (true, true) => out.print("OK: configuration test is successful\n"),
        (true, false) => return Ok(Some((conf, config))),
        (false, true) => {
            out.print("ERROR: test configuration failed\n");
            return Err(Failed);
        }
        (false, false) => return Err(fail("ERROR: test configuration failed")),
    }
    Ok(None)
}

fn print_stream(stream: Vec<f2b_protocol::Command>, style: Dump, out: &mut Output) {
    const PIECE: usize = 32 << 10;
    let mut text = String::new();
    for command in &stream {
        match style {
            // Writing into a String never fails.
            Dump::Plain => drop(command.write_repr(&mut text)),
            Dump::Pretty => text.push_str(&dump::pretty(&command.clone().into())),
        }
        text.push('\n');
        if text.len() > PIECE {
            out.print(&text);
            text.clear();
        }
    }
    out.print(&text);
    // The process is about to end, and gives all of it back at once.
    mem::forget(stream);
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
    if done.is_err() {
        let _ = writeln!(io::stderr(), "Init of command line failed");
    }
    done
}

fn finish(done: Result<(), Failed>) -> ExitCode {
    // Whoever closed standard output does not want the rest.
    let _ = io::stdout().flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::from(255),
    }
}
