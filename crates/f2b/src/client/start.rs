//! How a server comes to life.
//!
//! In the background: the client reads the configuration, starts the server's binary, which detaches itself, waits
//! until it answers and sends it the command stream. In the foreground the server does the same for itself, with a
//! thread in the client's place: [`prepare`] before it listens, [`configure`] as soon as it does
//! (`Fail2banClient.configureServer`, `Fail2banServer.startServerAsync`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use f2b_protocol::{Command, Value};
use f2b_types::{Level, Log, Record};

use super::session::{Client, Show, WaitError};
use super::{Failed, Judges, Output, Prepared};
use crate::cmdline::{Conf, program_name};

/// Starts a server in the background and configures it.
///
/// # Errors
///
/// [`Failed`] when the configuration has errors, when the server does not come up, or refuses a command.
pub fn start(conf: &Conf, judges: &'static Judges, log: &dyn Log, out: &mut Output) -> Result<(), Failed> {
    let mut client = Client::new(conf.clone(), Some(judges), log, out);
    let prepared = client.prepare_own_start()?;
    client.start_prepared(prepared)
}

/// Reads the configuration for a server that is about to start, and sees whether it may.
///
/// # Errors
///
/// [`Failed`] when a server is running already, when its socket is in the way, or when the configuration has errors.
pub fn prepare(conf: &Conf, judges: &'static Judges, log: &dyn Log) -> Result<Prepared, Failed> {
    Client::new(conf.clone(), Some(judges), log, &mut Output::collected()).prepare_own_start()
}

/// Waits until the server answers, hands it the command stream and prints that it is ready.
///
/// # Errors
///
/// [`Failed`] when the server does not answer in time, or refuses a command.
pub fn configure(conf: &Conf, stream: Vec<Command>, log: &dyn Log, out: &mut Output) -> Result<(), Failed> {
    Client::new(conf.clone(), None, log, out).send_stream(stream, None)
}

/// The process of a server, until it has detached itself.
pub(super) struct Launched(Child);

impl Launched {
    /// How the process ended, unless it still runs or ended well.
    pub(super) fn failure(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten().filter(|status| !status.success())
    }
}

impl Client<'_> {
    /// Starts the server; in the foreground it takes the place of this process.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
        if !self.conf.background {
            let error = self.foreground_server().exec();
            return Err(self.fail(format!("Exception while starting server foreground: {error}")));
        }
        let prepared = self.prepare_start()?;
        self.start_prepared(prepared)
    }

    fn start_prepared(&mut self, Prepared { stream, faulty }: Prepared) -> Result<(), Failed> {
        let mut launched = self.launch()?;
        self.send_stream(stream, Some(&mut launched))?;
        // The server runs with every jail that is in order; that not all of them are is the caller's to know.
        if faulty { Err(Failed) } else { Ok(()) }
    }

    /// The same as [`Client::prepare_start`], where a server and not its client is asked to start.
    fn prepare_own_start(&mut self) -> Result<Prepared, Failed> {
        self.prepare_start().map_err(|Failed| self.fail("Async configuration of server failed"))
    }

    fn prepare_start(&mut self) -> Result<Prepared, Failed> {
        if self.is_server_up() {
            return Err(self.fail("Server already running"));
        }
        let prepared = self.config.read(&self.conf, None, self.log).usable()?;
        if !self.conf.force && self.conf.socket.exists() {
            return Err(
                self.fail("Fail2ban seems to be in unexpected state (not running but the socket exists)")
            );
        }
        Ok(prepared)
    }

    fn send_stream(&mut self, stream: Vec<Command>, launched: Option<&mut Launched>) -> Result<(), Failed> {
        self.wait_for_server(true, launched).map_err(|failure| match failure {
            WaitError::TimedOut => self.fail(format!(
                "Could not start server. Maybe an old socket file is still present. Try to remove {}. If you used \
                 fail2ban-client to start the server, adding the -x option will do it",
                self.conf.socket.display()
            )),
            failed @ WaitError::ServerFailed(_) => self.fail(failed.to_string()),
        })?;
        let stream = Value::List(stream.into_iter().map(Value::from).collect());
        let commands = [Command(vec!["server-stream".into(), stream]), Command::words(["server-status"])];
        self.send(&commands, Show::Own, None)
    }

    fn launch(&self) -> Result<Launched, Failed> {
        let mut server = self.background_server();
        self.log.write(Record::new(Level::DEBUG, "", format!("Starting {server:?}")));
        server.spawn().map(Launched).map_err(|error| {
            let program = server.get_program().to_string_lossy().into_owned();
            self.fail(format!("Exception while starting server background: {program}: {error}"))
        })
    }

    /// A server without a configuration, which waits for its client.
    fn background_server(&self) -> std::process::Command {
        let mut server = self::server();
        server.args(["--async", "-b"]).args(self.server_options());
        server
    }

    /// A server that configures itself.
    fn foreground_server(&self) -> std::process::Command {
        let mut server = self::server();
        server.arg("-f").arg("-c").arg(&self.conf.root).args(self.server_options());
        server.arg("--timeout").arg(self.conf.timeout.to_string()).arg("start");
        server
    }

    fn server_options(&self) -> Vec<OsString> {
        let Conf { socket, pidfile, loglevel, logtarget, syslogsocket, .. } = &self.conf;
        let mut options: Vec<OsString> = vec!["-s".into(), socket.into(), "-p".into(), pidfile.into()];
        if self.conf.force {
            options.push("-x".into());
        }
        if let Ok(more @ 1..) = usize::try_from(self.conf.verbose - 1) {
            options.push(format!("-{}", "v".repeat(more)).into());
        }
        let named = [("--loglevel", loglevel), ("--logtarget", logtarget), ("--syslogsocket", syslogsocket)];
        options.extend(named.into_iter().flat_map(|(name, value)| [name.into(), value.into()]));
        if let Some(pname) = &self.conf.pname {
            options.extend(["--pname".into(), pname.into()]);
        }
        options
    }
}

/// The program of the server, without arguments.
pub(super) fn server() -> std::process::Command {
    std::process::Command::new(server_path())
}

/// The server's binary beside this one. A client that was started under its old name starts the server under its old
/// name too, by which scripts find the process; but never a server that comes from elsewhere.
fn server_path() -> PathBuf {
    const NAME: &str = "f2b-server";
    const OLD_NAME: &str = "fail2ban-server";
    let own = std::env::current_exe().ok();
    let Some(home) = own.as_deref().and_then(Path::parent) else { return NAME.into() };
    let started_as = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if program_name(&started_as).starts_with("fail2ban") {
        let lies_here = |path: &Path| path.canonicalize().is_ok_and(|real| real.parent() == Some(home));
        if let Some(server) =
            directories(&started_as).into_iter().map(|dir| dir.join(OLD_NAME)).find(|path| lies_here(path))
        {
            return server;
        }
    }
    home.join(NAME)
}

/// Where a program of that name may have been found.
fn directories(started_as: &Path) -> Vec<PathBuf> {
    match started_as.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => vec![dir.to_owned()],
        _ => std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
    }
}
