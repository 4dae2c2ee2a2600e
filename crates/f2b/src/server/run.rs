//! The life of the server process: log, socket, pid file, signals, and the way out.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result, anyhow};
use f2b_protocol::{Command, Value};
use f2b_types::{Level, Log, Number, Record, VERSION};
use nix::sys::stat::{Mode, umask};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::Msg;
use super::core::{Core, ServerOptions};
use super::listener::{self, Socket};
use super::trial::JUDGES;
use crate::client::{self, Console, Failed, Output};
use crate::cmdline::{self, Conf};
use crate::logging::{ServerLog, syslog_socket};
use crate::{clock, memory};

/// Runs the program: `args` are those of the process, its name first. The exit code is 0 or 255.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let line = match cmdline::parse(&args) {
        Ok(line) => line,
        Err(answer) => return exit_code(client::print(answer, &args)),
    };
    let console = Console::new(line.verbose);
    let mut out = Output::stdout();
    let words: Vec<&str> = line.args.iter().map(String::as_str).collect();
    let detached = line.nonsync && words == [DETACHED];
    // A client that can't do it by itself has put this program in its place.
    if !line.is_server() {
        take_name(&line.program);
    }
    if !line.is_server() || line.interactive || !(detached || words.is_empty() || words == ["start"]) {
        return exit_code(client::execute(&line, Some(&JUDGES), &console, &mut out));
    }
    let conf = match client::resolve(&line, &JUDGES, &console, &mut out) {
        Ok(Some(conf)) => conf,
        Ok(None) => return ExitCode::SUCCESS,
        Err(failed) => return exit_code(Err(failed)),
    };
    exit_code(match (conf.background, conf.nonsync) {
        (true, true) if detached => become_daemon(&conf, &console),
        (true, true) => detach(&args, &console),
        (true, false) => client::start(&conf, &JUDGES, &console, &mut out),
        (false, _) => foreground(&conf, &console),
    })
}

/// What this process is called in a list of processes.
fn take_name(name: &str) {
    // Where there is no /proc, nobody lists processes by their names.
    let _ = fs::write("/proc/self/comm", name);
}

fn exit_code(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::from(255),
    }
}

/// The word that tells the process which a background server leaves behind that it is the one.
const DETACHED: &str = "detached";

/// What the server is called in a list of processes, whatever its program is called: scripts look for it.
const PROCESS: &str = "fail2ban-server";

/// Starts this program anew as a process without terminal, and leaves it alone.
///
/// Upstream forks twice. A fork of a process with threads needs care that a fresh process doesn't.
fn detach(args: &[OsString], log: &dyn Log) -> Result<(), Failed> {
    let fail = |error: std::io::Error| {
        log.write(Record::new(Level::ERROR, "server", format!("Could not create daemon: {error}")));
        Failed
    };
    let program = std::env::current_exe().map_err(fail)?;
    let mut server = process::Command::new(program);
    server.args(args.iter().skip(1)).arg(DETACHED);
    server.arg0(args.first().map_or(OsStr::new("f2b-server"), OsString::as_os_str));
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().map(drop).map_err(fail)
}

/// Runs the server as the process that was left alone: in a session of its own, in no directory that somebody may
/// want to unmount.
fn become_daemon(conf: &Conf, console: &Console) -> Result<(), Failed> {
    // A process that leads its group has a session of its own already.
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir("/");
    foreground(conf, console)
}

/// Runs the server in this process.
fn foreground(conf: &Conf, console: &Console) -> Result<(), Failed> {
    let stream = match conf.nonsync {
        true => None,
        false => Some(client::prepare(conf, &JUDGES, console)?.stream),
    };
    serve(conf, stream).map_err(|error| {
        console.write(Record::new(Level::ERROR, "server", format!("{error:#}")));
        Failed
    })
}

/// A panic costs its thread only; that there was one has to be seen, though nobody looks at standard error.
fn log_panics(log: &Arc<ServerLog>) {
    let (log, before) = (Arc::clone(log), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        let thread = std::thread::current();
        let message = format!("The thread {} has ended: {panic}", thread.name().unwrap_or("without a name"));
        log.write(Record::new(Level::CRITICAL, "server", message));
    }));
}

/// Runs the server until somebody stops it. With a command stream it configures itself, without one its client does.
///
/// # Errors
///
/// The socket is taken, a thread can't be started, or the command stream is refused.
fn serve(conf: &Conf, stream: Option<Vec<Command>>) -> Result<()> {
    memory::share();
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    take_name(conf.pname.as_deref().unwrap_or(PROCESS));
    let log = Arc::new(ServerLog::new(clock::local_zone(), conf.verbose));
    let options = open_log(conf, &log)?;
    log_panics(&log);
    let say = |level, message: String| log.write(Record::new(level, "server", message));
    say(Level::INFO, "-".repeat(50));
    say(Level::INFO, format!("Starting Fail2ban v{VERSION}"));

    let (sender, inbox) = mpsc::channel();
    catch_signals(conf, &sender)?;
    let mut core = Core::new(Arc::clone(&log), options, inbox, sender.clone())?;
    let socket = match Socket::open(&conf.socket, conf.force, &sender, &log) {
        Ok(socket) => socket,
        Err(error) => {
            say(
                Level::ERROR,
                format!("Could not start server: {error:#} (socket {})", conf.socket.display()),
            );
            return Err(error);
        }
    };
    say(Level::DEBUG, "Starting communication".into());
    // Only now: the pid file of a server that is running already stays as it is.
    say(Level::DEBUG, format!("Creating PID file {}", conf.pidfile.display()));
    if let Err(error) = write_pid_file(&conf.pidfile) {
        say(Level::ERROR, format!("Unable to create PID file: {error:#}"));
    }
    if let Some(stream) = stream {
        configure_self(conf, stream, &log, &sender)?;
    }
    core.run();
    say(Level::DEBUG, format!("Remove PID file {}", conf.pidfile.display()));
    if let Err(error) = fs::remove_file(&conf.pidfile) {
        say(Level::ERROR, format!("Unable to remove PID file {}: {error}", conf.pidfile.display()));
    }
    // At last: whoever waits for the socket to go starts another server then, which has a pid file of its own.
    socket.close();
    if core.is_useless {
        return Err(anyhow!("the server could not be configured"));
    }
    Ok(())
}

/// Sets level and target. A target that can't be opened leaves the log on standard output, where it says so.
fn open_log(conf: &Conf, log: &ServerLog) -> Result<ServerOptions> {
    let level = conf.loglevel.parse::<Level>().map_err(|error| anyhow!(error))?;
    log.set_level(level);
    if let Err(error) = log.set_target(&conf.logtarget, &conf.syslogsocket) {
        log.write(Record::new(Level::ERROR, "server", error.to_string()));
    }
    Ok(ServerOptions {
        loglevel: conf.loglevel.to_uppercase(),
        logtarget: log.target(),
        syslogsocket: syslog_socket(&conf.logtarget, &conf.syslogsocket).into(),
        thread: Value::Dict(vec![("stacksize".into(), Value::Int(0))]),
        dbmaxmatches: 10,
        dbpurgeage: Number::Int(86_400),
    })
}

/// A terminal that goes away ends a server that runs in it, and is nothing to one in the background.
fn catch_signals(conf: &Conf, core: &Sender<Msg>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1]).context("Unable to catch signals")?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP).context("Unable to catch signals")?;
    }
    let (core, background) = (core.clone(), conf.background);
    let forward = move || {
        for signal in signals.forever() {
            let heard = signal != SIGHUP || !background;
            if heard && core.send(Msg::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("f2b/signals".into()).spawn(forward)?;
    Ok(())
}

/// Whether whoever started this process wants it to ignore a signal, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

fn write_pid_file(path: &Path) -> Result<()> {
    listener::make_parent(path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.as_mut()
        .map_err(|error| anyhow!("{}: {error}", path.display()))
        .and_then(|file| writeln!(file, "{}", std::process::id()).map_err(Into::into))
}

/// Sends the server its own command stream, from a thread that plays the client.
fn configure_self(conf: &Conf, stream: Vec<Command>, log: &Arc<ServerLog>, core: &Sender<Msg>) -> Result<()> {
    let (conf, log, core) = (conf.clone(), Arc::clone(log), core.clone());
    let configure = move || {
        if client::configure(&conf, stream, &*log, &mut Output::stdout()).is_err() {
            let _ = core.send(Msg::Misconfigured);
        }
        memory::give_back();
    };
    thread::Builder::new().name("f2b/configure".into()).spawn(configure)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_panic_stands_in_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f2b.log");
        let log = Arc::new(ServerLog::new(TimeZone::UTC, 1));
        log.set_target(&path.display().to_string(), "auto").expect("a file target");
        log_panics(&log);
        let thread = thread::Builder::new().name("f2b/test".into()).spawn(|| panic!("of no use"));
        assert!(thread.expect("a thread").join().is_err());
        drop(std::panic::take_hook());
        let text = fs::read_to_string(path).expect("a log");
        assert!(text.contains("CRITICAL The thread f2b/test has ended: panicked at "), "{text}");
        assert!(text.contains("run.rs:") && text.contains("of no use"), "{text}");
    }

    #[test]
    fn an_ignored_signal_is_seen() {
        assert!(!is_ignored(SIGUSR1));
        // Rust's own start ignores this one.
        assert!(is_ignored(signal_hook::consts::SIGPIPE));
    }
}
