//! The socket: accepts clients, reads their commands, writes the replies.
//!
//! Each client has a thread of its own that waits for nobody but its client and its reply, so that a slow or silent
//! client costs one small thread and nothing else. The thread that lets a client in serves it, after it has made sure that
//! another one is at the door: to hand the client over would take longer than most answers. Upstream: `asyncserver.py`.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use f2b_protocol::frame::{self, Frame, FrameReader};
use f2b_protocol::pickle::{self, Limits};
use f2b_protocol::{Command, Reply, Value, reply_into_value};
use f2b_types::{Level, Log, Record};
use listenfd::ListenFd;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::Msg;
use super::errors::{no_command, shown};
use crate::logging::ServerLog;

/// More clients than this at once wait in the queue of the kernel.
const MAX_CLIENTS: usize = 512;

/// So many threads stay when they have nothing to do. With two, one client after the other finds a thread that waits.
const SPARE_THREADS: usize = 2;

/// How often a thread looks for an answer before it sleeps until there is one.
const YIELDS: usize = 100;

/// A client that has been silent for this long makes room for others where nobody is left to let them in.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the log is told that nobody can be let in.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// A client that takes longer than this to take its reply is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server waits at its end for the last replies to leave.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// The socket file, removed when the server is done with it.
pub(super) struct Socket {
    /// None for a socket that somebody else has made.
    path: Option<PathBuf>,
    /// Commands that have been taken and whose replies are not written yet.
    unanswered: Count,
}

/// Counts what is there at the moment.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

/// One of those that are counted.
struct Counted(Count);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }

    fn enter_below(&self, limit: usize) -> Option<Counted> {
        let more = |count| (count < limit).then_some(count + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Counted(self.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Socket {
    /// Binds the socket, or takes over the one that the service manager has bound, and serves clients from a thread of its
    /// own.
    ///
    /// # Errors
    ///
    /// The path exists already (unless `force`, which removes it) or can't be bound.
    pub(super) fn open(path: &Path, force: bool, core: &Sender<Msg>, log: &Arc<ServerLog>) -> Result<Self> {
        if let Some(listener) = inherited() {
            let message = format!("Using socket activation, inherited socket '{}'", path.display());
            log.write(Record::new(Level::INFO, "asyncserver", message));
            return Self::serve(listener?, None, core, log);
        }
        make_parent(path);
        if fs::symlink_metadata(path).is_ok() {
            log.write(Record::new(Level::ERROR, "asyncserver", "Fail2ban seems to be already running"));
            if !force {
                bail!("Server already running");
            }
            log.write(Record::new(Level::WARNING, "asyncserver", "Forcing execution of the server"));
            fs::remove_file(path).with_context(|| format!("Unable to remove socket {}", path.display()))?;
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("Unable to bind socket {}", path.display()))?;
        Self::serve(listener, Some(path.into()), core, log)
    }

    fn serve(
        listener: UnixListener,
        path: Option<PathBuf>,
        core: &Sender<Msg>,
        log: &Arc<ServerLog>,
    ) -> Result<Self> {
        let unanswered = Count::default();
        let door = Door {
            listener,
            core: core.clone(),
            log: Arc::clone(log),
            unanswered: unanswered.clone(),
            clients: Count::default(),
            waiting: Count::default(),
            warned: Mutex::default(),
        };
        Arc::new(door).open()?;
        Ok(Self { path, unanswered })
    }

    /// Removes the file and lets the last replies leave.
    pub(super) fn close(&self) {
        // A file that somebody else has removed is as good as gone.
        let _ = self.path.as_ref().map(fs::remove_file);
        let until = Instant::now() + LAST_REPLIES;
        while self.unanswered.get() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The socket that systemd has bound for us, if it has: of several the one that is named `fail2ban`, or else the first.
fn inherited() -> Option<io::Result<UnixListener>> {
    let mut sockets = ListenFd::from_env();
    let last = sockets.len().checked_sub(1)?;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let index = names.split(':').position(|name| name == "fail2ban").unwrap_or(0).min(last);
    let listener = sockets.take_unix_listener(index).transpose()?;
    Some(listener.and_then(|listener| listener.set_nonblocking(false).map(|()| listener)))
}

/// Where clients come in, and what each of their threads needs.
struct Door {
    listener: UnixListener,
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    unanswered: Count,
    clients: Count,
    /// The threads that wait for a client to come.
    waiting: Count,
    /// When the log was last told that nobody can be let in.
    warned: Mutex<Option<Instant>>,
}

impl Door {
    /// Lets clients in from one thread more.
    fn open(self: Arc<Self>) -> io::Result<()> {
        let thread = thread::Builder::new().name("f2b/socket".into()).stack_size(256 << 10);
        thread.spawn(move || self.attend()).map(drop)
    }

    /// Serves one client after the other, while there is need of this thread.
    fn attend(self: Arc<Self>) {
        while let Some(waiting) = self.waiting.enter_below(SPARE_THREADS) {
            let stream = self.listener.accept();
            let _client = self.clients.enter();
            drop(waiting);
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    self.warn(&error);
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            self.keep_open();
            // A client that has gone away has nobody left to tell.
            let _ = serve(stream, &self);
        }
    }

    /// Makes sure that somebody waits for the next client, and tells whether that is so.
    fn keep_open(self: &Arc<Self>) -> bool {
        if self.waiting.get() > 0 {
            return true;
        }
        let opened = self.clients.get() < MAX_CLIENTS
            && Arc::clone(self).open().inspect_err(|error| self.warn(error)).is_ok();
        // Another thread may have come back meanwhile.
        opened || self.waiting.get() > 0
    }

    fn warn(&self, error: &io::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|last| last.elapsed() < WARN_INTERVAL) {
            return;
        }
        *warned = Some(Instant::now());
        self.log.write(Record::new(Level::WARNING, "asyncserver", format!("Accept socket error: {error}")));
    }
}

/// Creates the last directory of an absolute path on demand, as upstream does for socket, pid file and database.
pub(super) fn make_parent(path: &Path) {
    if let Some(parent) = path.parent().filter(|parent| parent.is_absolute()) {
        // What fails here fails again, with its reason, when the file is opened.
        let _ = fs::create_dir(parent);
    }
}

fn serve(mut stream: UnixStream, door: &Arc<Door>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if door.log.enabled(Level::DEBUG)
        && let Ok(peer) = getsockopt(&stream, PeerCredentials)
    {
        let message = format!("Client of pid {}, uid {}, gid {}", peer.pid(), peer.uid(), peer.gid());
        door.log.write(Record::new(Level::DEBUG, "asyncserver", message));
    }
    let mut frames = FrameReader::default();
    let mut chunk = vec![0; 16 << 10];
    loop {
        let count = match stream.read(&mut chunk) {
            // Where there is a limit of time the kernel leaves it to the caller to go on behind a signal.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && door.keep_open() => continue,
            count => count?,
        };
        if count == 0 {
            return Ok(());
        }
        frames.push(&chunk[..count]);
        loop {
            match frames.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Close)) => return Ok(()),
                Ok(Some(Frame::Message(message))) => {
                    let _unanswered = door.unanswered.enter();
                    stream.write_all(&answer(&message, door))?;
                    door.keep_open();
                }
                Err(error) => {
                    stream.write_all(&frame::pack(&Value::from(format!("ERROR: {error}"))))?;
                    return Ok(());
                }
            }
        }
    }
}

/// The reply to one message, ready to be sent.
fn answer(message: &[u8], door: &Arc<Door>) -> Vec<u8> {
    let message = match pickle::decode(message, &Limits::default()) {
        Ok(message) => message,
        Err(error) => {
            let text = format!("PROTO-error: load message failed: {error}");
            door.log.write(Record::new(Level::ERROR, "asyncserver", text));
            return frame::pack(&Value::from(format!("ERROR: {error}")));
        }
    };
    let reply = match &message {
        Value::List(words) | Value::Tuple(words) => ask(Command(words.clone()), door),
        other => Some(Err(no_command(other))),
    };
    if let Some(Err(exception)) = &reply {
        let text = format!("Command {message} has failed. Received {}", shown(exception));
        door.log.write(Record::new(Level::ERROR, "transmitter", text));
    }
    match reply {
        Some(reply) => frame::pack(&reply_into_value(reply)),
        None => frame::pack(&Value::strings(["SHUTDOWN"])),
    }
}

/// The core's reply, unless the core has gone.
fn ask(command: Command, door: &Arc<Door>) -> Option<Reply> {
    let (sender, receiver) = mpsc::sync_channel(1);
    door.core.send(Msg::Command { command, answer: sender }).ok()?;
    // An answer often comes before this thread would have fallen asleep and been woken.
    for _ in 0..YIELDS {
        match receiver.try_recv() {
            Ok(reply) => return Some(reply),
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(reply) => return Some(reply),
            Err(RecvTimeoutError::Timeout) => _ = door.keep_open(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}
