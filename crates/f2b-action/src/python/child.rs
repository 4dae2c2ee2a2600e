//! The process in which an action written in Python lives: how it starts, is spoken with and ends.
//!
//! Its standard input and output carry a line of JSON for each message. Two threads read what comes, so that the child
//! may log at any time and never waits for a full pipe: one takes replies and log records, the other what is written to
//! standard error. All waiting is bounded: for a reply, for the room to write a request, and for the end.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use f2b_protocol::Value;
use f2b_types::{Id, Level, Record, VERSION};

use super::Outside;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id as Process, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde_json::Value as Json;

/// What runs in the child before the action's own file.
const SHIM: &str = concat!(
    include_str!("helpers.py"),
    "\n",
    include_str!("ipdns.py"),
    "\n",
    include_str!("package.py"),
    "\n",
    include_str!("child.py")
);

/// Reads the shim from the pipe, which goes on with the requests: on the command line it would fill the list of processes.
const BOOT: &str = "import os, sys\n\
                    sys.path[:] = [path for path in sys.path if path]\n\
                    VERSION = sys.argv[2]\n\
                    _requests = os.fdopen(os.dup(0), 'rb')\n\
                    exec(compile(_requests.read(int(sys.argv[1])), '<f2b>', 'exec'))\n";

/// The longest line that the child may send.
const MAX_LINE: usize = 16 << 20;

/// The longest line of what it prints.
const MAX_PRINTED: usize = 16 << 10;

/// How many lines it may log and print in the course of one call, or in a minute without one; each kilobyte counts as one
/// more.
const MAX_LOGGED: usize = 1000;

/// How many addresses it may ban and unban in the same time: a list that somebody publishes fits.
const MAX_ORDERED: usize = 200_000;

/// How long the lines are counted when there is no call.
const PERIOD: Duration = Duration::from_secs(60);

/// How long it has between SIGTERM and SIGKILL, and to vanish after that.
const GRACE: Duration = Duration::from_millis(300);

/// How long it may take to end when it is no longer needed.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often it is looked after whether it still lives.
const LOOK: Duration = Duration::from_millis(100);

/// A child that is no longer there, or no longer to be spoken with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gone {
    /// It has ended in this way.
    Ended(String),
    /// It gave no answer in this time, and was killed.
    Silent(Duration),
    /// It sent what is no message, and was killed.
    Garbled,
}

/// A child that runs.
pub(super) struct Child {
    process: std::process::Child,
    /// Closed to let it end.
    requests: Option<ChildStdin>,
    messages: Receiver<Json>,
    budget: Arc<Budget>,
}

/// Where the lines of a child go in the log, and how many more there may be.
pub(super) struct Budget {
    outside: Outside,
    /// Who speaks: `[jail] action 'name'`.
    who: String,
    account: Mutex<Account>,
}

/// What has been spent since this moment, and how many lines were left out for it.
struct Account {
    since: Instant,
    spent: usize,
    lost: usize,
    /// Addresses that it has banned and unbanned, and those that were too many.
    ordered: usize,
    refused: usize,
}

impl Account {
    fn new() -> Self {
        Self { since: Instant::now(), spent: 0, lost: 0, ordered: 0, refused: 0 }
    }
}

impl Budget {
    pub(super) fn new(outside: Outside, who: String) -> Arc<Self> {
        Arc::new(Self { outside, who, account: Mutex::new(Account::new()) })
    }

    /// Who speaks.
    pub(super) fn who(&self) -> &str {
        &self.who
    }

    fn write(&self, record: Record) {
        if self.outside.log.enabled(record.level) && self.spend(1 + record.message.len() / 1024) {
            self.outside.log.write(record);
        }
    }

    /// Bans or unbans somebody for the action.
    fn order(&self, order: &Json) {
        let ids = order["ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids: Vec<Id> = ids.iter().filter_map(Json::as_str).map(Id::parse).collect();
        if self.may_order(ids.len()) {
            match order["do"].as_str() {
                Some("ban") => self.outside.orders.ban(ids),
                Some("unban") => self.outside.orders.unban(ids),
                _ => {}
            }
        }
    }

    /// Whether it may ban or unban so many more; lines of its log do not count.
    fn may_order(&self, amount: usize) -> bool {
        self.renew_in_time();
        let mut account = self.account();
        let may = account.ordered + amount <= MAX_ORDERED;
        *if may { &mut account.ordered } else { &mut account.refused } += amount;
        may
    }

    fn renew_in_time(&self) {
        if self.account().since.elapsed() >= PERIOD {
            self.renew();
        }
    }

    /// Whether there is something left to be spent.
    fn spend(&self, amount: usize) -> bool {
        self.renew_in_time();
        let mut account = self.account();
        if account.spent >= MAX_LOGGED {
            account.lost += 1;
            return false;
        }
        account.spent += amount;
        true
    }

    /// A call begins, or a minute without one is over; says how much has got lost.
    fn renew(&self) {
        let Account { lost, refused, .. } = std::mem::replace(&mut *self.account(), Account::new());
        if refused > 0 {
            let message = format!("{}: {refused} more addresses are neither banned nor unbanned", self.who);
            self.outside.log.write(Record::new(Level::ERROR, "action", message));
        }
        if lost > 0 {
            let message = format!("{}: {lost} more lines of its log are left out", self.who);
            self.outside.log.write(Record::new(Level::WARNING, "action", message));
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    /// Starts `python3` with the shim, for the action in `file`.
    ///
    /// # Errors
    ///
    /// There is no `python3`, or the system lacks what a process needs.
    pub(super) fn start(file: &str, budget: &Arc<Budget>) -> io::Result<Self> {
        let mut process = Command::new("python3")
            .args(["-c", BOOT, &SHIM.len().to_string(), VERSION, file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, messages) = mpsc::sync_channel(16);
        let (input, output, errors) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(requests), Some(output), Some(errors)) = (input, output, errors) else {
            return Err(io::Error::other("no pipes"));
        };
        let pipe = fcntl(&requests, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let mut child = Self { process, requests: Some(requests), messages, budget: Arc::clone(budget) };
        let budget = Arc::clone(budget);
        let printed = Arc::clone(&budget);
        let readers = pipe
            .map_err(io::Error::from)
            .and_then(|_| reader("f2b/py", move || read_messages(output, &sender, &budget)))
            .and_then(|()| reader("f2b/py-err", move || read_printed(errors, &printed)));
        if let Err(error) = readers {
            child.kill();
            return Err(error);
        }
        // A child that can't take it ends, which the first request finds out.
        let _ = child.write(SHIM.as_bytes(), Instant::now() + Duration::from_secs(60));
        Ok(child)
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// A call begins: what it logs is counted anew.
    pub(super) fn begin(&self) {
        self.budget.renew();
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`Gone`], after whatever was left of the child has been killed.
    pub(super) fn send(&mut self, message: &Json, limit: Duration, deadline: Instant) -> Result<(), Gone> {
        let mut line = message.to_string().into_bytes();
        line.push(b'\n');
        match self.write(&line, deadline) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.give_up(Gone::Silent(limit))),
            Err(_) => Err(self.end_of()),
        }
    }

    /// The next message from the child.
    ///
    /// # Errors
    ///
    /// [`Gone`], after whatever was left of the child has been killed.
    pub(super) fn receive(&mut self, limit: Duration, deadline: Instant) -> Result<Json, Gone> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Disconnected) => return Err(self.end_of()),
                // A process of its own may hold the pipe open when it has ended.
                Err(RecvTimeoutError::Timeout) if self.has_ended() => {
                    return self.messages.try_recv().map_err(|_| self.end_of());
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(self.give_up(Gone::Silent(limit)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// A child that does not keep to the rules is not spoken with any longer.
    pub(super) fn give_up(&mut self, why: Gone) -> Gone {
        self.kill();
        why
    }

    /// Writes all of it; false if the deadline comes first.
    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<bool> {
        while !bytes.is_empty() {
            let Some(requests) = &mut self.requests else { return Err(ErrorKind::BrokenPipe.into()) };
            match requests.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    let wait = PollTimeout::try_from(left.min(LOOK)).unwrap_or(PollTimeout::ZERO);
                    // Whatever comes of it, the next attempt to write tells.
                    let _ = poll(&mut [PollFd::new(requests.as_fd(), PollFlags::POLLOUT)], wait);
                    if self.has_ended() {
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether the process has ended; its status is not collected, so that its number stays taken.
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Process::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    fn wait_for_end(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.has_ended() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// It has closed its pipes, or is about to: how it ended.
    fn end_of(&mut self) -> Gone {
        if !self.wait_for_end(GRACE) {
            return self.give_up(Gone::Garbled);
        }
        match self.process.try_wait() {
            Ok(Some(status)) => Gone::Ended(in_words(status)),
            Ok(None) | Err(_) => Gone::Ended("ended".into()),
        }
    }

    /// Ends it and all of its group that has not left it.
    fn kill(&mut self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // The only possible error is that the whole group is gone.
            let _ = killpg(self.pid(), signal);
            self.wait_for_end(GRACE);
        }
        // One that does not even end by SIGKILL is left to the system.
        let _ = self.process.try_wait();
    }
}

/// It is no longer needed: the end of its input is the sign to end.
impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        self.requests = None;
        if !self.wait_for_end(FAREWELL) {
            self.kill();
        }
        let _ = self.process.try_wait();
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("was ended by {}", signal.as_str()),
            Err(_) => format!("was ended by signal {number}"),
        },
        (None, None) => "ended".into(),
    }
}

fn reader(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// Hands on messages and writes log records, until the pipe is closed or something else comes: what follows then could
/// mean anything.
fn read_messages(pipe: impl Read, messages: &SyncSender<Json>, budget: &Budget) {
    let mut pipe = BufReader::new(pipe);
    while let Some(line) = next_line(&mut pipe, MAX_LINE) {
        let Ok(message) = serde_json::from_slice::<Json>(&line) else {
            // No message: whoever waits for one takes it for what it is.
            let _ = messages.send(Json::Null);
            return;
        };
        if let Some(order) = message.get("order") {
            budget.order(order);
        } else if let Some(record) = message.get("log") {
            budget.write(record_of(record));
        } else if messages.send(message).is_err() {
            return;
        }
    }
}

fn record_of(record: &Json) -> Record {
    let text = |name: &str| record.get(name).and_then(Json::as_str).unwrap_or_default();
    let level = record.get("level").and_then(Json::as_u64).and_then(|level| u8::try_from(level).ok());
    let logger = text("logger").strip_prefix("fail2ban").unwrap_or_default();
    let logger = logger.strip_prefix('.').unwrap_or(logger).to_owned();
    Record::new(level.map_or(Level::ERROR, Level), logger, text("text"))
}

fn read_printed(pipe: impl Read, budget: &Budget) {
    let mut pipe = BufReader::new(pipe);
    while let Some(line) = next_line(&mut pipe, MAX_PRINTED) {
        let line = String::from_utf8_lossy(&line);
        let message = format!("{} -- stderr: {}", budget.who, Value::from(line.trim_end_matches('\r')));
        budget.write(Record::new(Level::ERROR, "action", message));
    }
}

/// The next line without its end, cut where it gets too long; `None` at the end.
fn next_line(pipe: &mut impl BufRead, limit: usize) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let count = pipe.by_ref().take(limit as u64).read_until(b'\n', &mut line).ok()?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    (count > 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_get_too_long() {
        let mut pipe = BufReader::new(&b"one\n\nlonger than that\nend"[..]);
        let lines: Vec<Vec<u8>> = std::iter::from_fn(|| next_line(&mut pipe, 8)).collect();
        assert_eq!(lines, [&b"one"[..], b"", b"longer t", b"han that", b"", b"end"]);
    }

    #[test]
    fn records_bear_the_name_of_their_logger_below_fail2ban() {
        let record = |name| record_of(&serde_json::json!({ "logger": name, "level": 25, "text": "x" }));
        assert_eq!(record("fail2ban.Note"), Record::new(Level::NOTICE, "Note", "x"));
        assert_eq!(record("fail2ban"), Record::new(Level::NOTICE, "", "x"));
        assert_eq!(record_of(&Json::Null).level, Level::ERROR);
    }
}
