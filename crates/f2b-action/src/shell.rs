//! Runs scripts with `/bin/sh -c`, bounded in time and in output.
//!
//! Each script leads a process group of its own, so that a timeout ends everything it started: SIGTERM to the group, and
//! SIGKILL a moment later. (Upstream makes it a session. That would need code between fork and exec, hence `unsafe`
//! and a slow fork instead of the standard library's `posix_spawn`.) Its input is empty, where upstream hands on the
//! server's own input, which a daemon has pointed at `/dev/null`.
//!
//! Waiting is driven by events: both pipes and the end of the shell wake one `poll`, without a thread for it. The pipes
//! are emptied all the time, so that no amount of output blocks the script, but only the first part of it is kept. Once
//! the shell has ended nothing else is waited for: a process in the background that still holds the pipes open keeps
//! nobody.
//!
//! Upstream: `utils.Utils.executeCmd`.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use f2b_types::Number;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::script::Script;

/// Who runs scripts: the shell, or a stand-in for it in tests.
pub trait Runner {
    /// Runs `script` and waits for it, at most `timeout` seconds.
    fn run(&self, script: &Script, timeout: Number) -> Outcome;
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the shell.
    pub end: End,
    /// It had to be stopped, because its time was over.
    pub timed_out: bool,
    /// The beginning of what it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of what it wrote to its standard error output.
    pub stderr: Vec<u8>,
}

/// What became of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It ended by itself with this status.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
    /// It could not be started; the system's reason in Python's words.
    NotStarted(String),
    /// The process of this number did not even end by SIGKILL.
    Stuck(u32),
}

impl Outcome {
    /// A script that ended by itself with this status and wrote nothing.
    pub fn exited(status: i32) -> Self {
        Self { end: End::Exited(status), timed_out: false, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Whether the command counts as done.
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }

    fn not_started(error: &io::Error) -> Self {
        let reason = match error.raw_os_error() {
            Some(code) => format!("[Errno {code}] {}: '{SHELL}'", Errno::from_raw(code).desc()),
            None => error.to_string(),
        };
        Self { end: End::NotStarted(reason), ..Self::exited(0) }
    }
}

const SHELL: &str = "/bin/sh";

/// How much of each output is kept.
const MAX_KEPT: usize = 1 << 20;

/// How much is read from a pipe after the shell has ended: a pipe holds no more than this, and what else comes was
/// written by somebody in the background.
const MAX_REST: usize = 1 << 20;

/// How long a script has between SIGTERM and SIGKILL, and to vanish after that.
const GRACE: Duration = Duration::from_millis(200);

/// How often the shell is looked after, in milliseconds, where its end is no event.
const LOOK_INTERVAL: u8 = 2;

/// `/bin/sh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shell;

impl Runner for Shell {
    fn run(&self, script: &Script, timeout: Number) -> Outcome {
        match Running::start(script) {
            Ok(running) => running.finish(seconds(timeout)),
            Err(error) => Outcome::not_started(&error),
        }
    }
}

/// The duration of a timeout, nothing for a negative one.
fn seconds(timeout: Number) -> Duration {
    const LONGEST: f64 = 1e9;
    let seconds = timeout.as_f64();
    // What is not a number is not greater than anything.
    Duration::from_secs_f64(if seconds > 0.0 { seconds.min(LONGEST) } else { 0.0 })
}

/// A script that runs.
struct Running {
    child: Child,
    /// Is readable when the shell has ended; nothing where the system has no such thing.
    exit: Option<OwnedFd>,
    outputs: [Output; 2],
}

impl Running {
    fn start(script: &Script) -> io::Result<Self> {
        let mut child = Command::new(SHELL)
            .arg("-c")
            .arg(&script.text)
            .args(&script.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let outputs = [
            Output::new(child.stdout.take().map(Into::into)),
            Output::new(child.stderr.take().map(Into::into)),
        ];
        let exit = pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty()).ok();
        Ok(Self { child, exit, outputs })
    }

    fn finish(mut self, timeout: Duration) -> Outcome {
        let timed_out = !self.wait_for_end(Instant::now().checked_add(timeout));
        if timed_out {
            self.signal(Signal::SIGTERM);
            // The rest of the group gets its moment even when the shell is quick.
            self.drain_until(Instant::now() + GRACE);
            self.signal(Signal::SIGKILL);
            self.wait_for_end(Some(Instant::now() + GRACE));
        }
        let [stdout, stderr] = self.outputs.map(|output| output.kept);
        Outcome { end: collect(self.child), timed_out, stdout, stderr }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Signals the whole group. The shell has not been waited for yet, so its number can't mean anybody else.
    fn signal(&self, signal: Signal) {
        // The only possible error is that the whole group is gone.
        let _ = killpg(self.pid(), signal);
    }

    /// Waits until the shell has ended; false if the deadline comes first.
    fn wait_for_end(&mut self, deadline: Option<Instant>) -> bool {
        loop {
            let Some(left) = time_left(deadline) else { return false };
            if self.wait(left, true) {
                return true;
            }
        }
    }

    /// Empties the pipes until the deadline, whether or not the shell has ended.
    fn drain_until(&mut self, deadline: Instant) {
        while let Some(left) = time_left(Some(deadline)) {
            self.wait(left, false);
        }
    }

    /// Sleeps until there is output or the shell has ended, reads what there is, and says whether it has ended if that is
    /// of interest.
    fn wait(&mut self, mut timeout: PollTimeout, for_end: bool) -> bool {
        let pipes = self.outputs.iter().filter_map(|output| Some(output.pipe.as_ref()?.as_fd()));
        let exit = self.exit.as_ref().filter(|_| for_end).map(AsFd::as_fd);
        let mut watched: Vec<PollFd<'_>> =
            pipes.chain(exit).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if for_end && exit.is_none() {
            timeout = timeout.min(LOOK_INTERVAL.into());
        }
        // An interrupted poll has found nothing; the caller looks at the time and tries again.
        if poll(&mut watched, timeout).is_err() {
            return false;
        }
        let has_ended = match (for_end, exit) {
            (false, _) => false,
            (true, Some(_)) => watched.last().is_some_and(|exit| exit.any().unwrap_or(false)),
            (true, None) => has_ended(self.pid()),
        };
        for output in &mut self.outputs {
            output.read(MAX_REST);
        }
        has_ended
    }
}

/// Whether a process has ended, whose exit status stays to be collected.
fn has_ended(pid: Pid) -> bool {
    let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::Pid(pid), how), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
}

/// How a process has ended that has been given all the time it gets.
fn collect(mut child: Child) -> End {
    match child.try_wait() {
        Ok(Some(status)) => end_of(status),
        Ok(None) => {
            let pid = child.id();
            // Whenever it ends, somebody has to take note of it. Nobody wants to know.
            let _ = thread::Builder::new().name("f2b/wait".into()).spawn(move || child.wait());
            End::Stuck(pid)
        }
        Err(error) => End::NotStarted(error.to_string()),
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Killed(signal.unwrap_or(0)),
    }
}

/// The time left for one `poll`, at least a millisecond; `None` once the deadline has passed. Without a deadline, or
/// with a distant one, `poll` returns from time to time.
fn time_left(deadline: Option<Instant>) -> Option<PollTimeout> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let left = match deadline {
        Some(deadline) => deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?,
        None => LONGEST,
    };
    let milliseconds = left.min(LONGEST).as_micros().div_ceil(1000);
    Some(
        i32::try_from(milliseconds)
            .ok()
            .and_then(|ms| PollTimeout::try_from(ms).ok())
            .unwrap_or(PollTimeout::MAX),
    )
}

/// One of the outputs of a script.
struct Output {
    /// Open as long as somebody may write.
    pipe: Option<File>,
    kept: Vec<u8>,
}

impl Output {
    fn new(pipe: Option<OwnedFd>) -> Self {
        let pipe = pipe.filter(|pipe| fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok());
        Self { pipe: pipe.map(File::from), kept: Vec::new() }
    }

    /// Reads what is there, but no more than `budget` bytes, and keeps the first of it.
    fn read(&mut self, mut budget: usize) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &mut self.pipe
            && budget > 0
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = MAX_KEPT.saturating_sub(self.kept.len()).min(count);
                    self.kept.extend_from_slice(&buffer[..room]);
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Outcome {
        Shell.run(&Script::new(text), Number::Int(10))
    }

    #[track_caller]
    fn check(text: &str, end: End, stdout: &str, stderr: &str) {
        let outcome = run(text);
        assert_eq!((&outcome.end, outcome.timed_out), (&end, false), "{text}");
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), stdout, "{text}");
        assert_eq!(String::from_utf8_lossy(&outcome.stderr), stderr, "{text}");
    }

    #[test]
    fn output_and_status_come_back() {
        check("echo out; echo err >&2", End::Exited(0), "out\n", "err\n");
        check("exit 3", End::Exited(3), "", "");
        check("kill -USR1 $$", End::Killed(10), "", "");
        check("exec /no/such/command 2>/dev/null", End::Exited(127), "", "");
    }

    #[test]
    fn without_an_event_for_its_end_the_shell_is_looked_after() {
        let finish = |text: &str, timeout: Duration| {
            let mut running = Running::start(&Script::new(text)).expect("a shell");
            running.exit = None;
            running.finish(timeout)
        };
        let outcome = finish("echo out; sleep 0.05; (sleep 30) & exit 3", Duration::from_secs(10));
        assert_eq!((outcome.end, outcome.timed_out), (End::Exited(3), false));
        assert_eq!(outcome.stdout, b"out\n");
        let outcome = finish("exec sleep 30", Duration::from_millis(20));
        assert_eq!((outcome.end, outcome.timed_out), (End::Killed(15), true));
    }

    #[test]
    fn nothing_can_be_read_from_the_input() {
        check("cat; echo end", End::Exited(0), "end\n", "");
    }

    #[test]
    fn arguments_are_not_read_by_the_shell() {
        let args = vec!["$(echo executed) `id` ' \" \n ;".to_owned()];
        let outcome =
            Shell.run(&Script { text: "v=$0\nprintf %s \"$v\"".into(), args: args.clone() }, 10.into());
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), args[0]);
    }

    #[test]
    fn a_timeout_ends_the_whole_group() {
        let started = Instant::now();
        let script = Script::new("echo before; trap '' TERM; sh -c 'sleep 60; :' & sleep 60");
        let outcome = Shell.run(&script, Number::Float(0.1));
        assert_eq!((outcome.end, outcome.timed_out), (End::Killed(9), true));
        assert_eq!(outcome.stdout, b"before\n");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_script_may_end_itself_on_sigterm() {
        let script = Script::new("trap 'echo bye; exit 7' TERM; while :; do sleep 0.02; done");
        let outcome = Shell.run(&script, Number::Float(0.3));
        assert_eq!((outcome.end, outcome.timed_out), (End::Exited(7), true));
        assert_eq!(outcome.stdout, b"bye\n");
    }

    #[test]
    fn the_background_is_not_waited_for() {
        let started = Instant::now();
        check("(sleep 30; echo late) & echo now", End::Exited(0), "now\n", "");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn floods_are_kept_in_part() {
        let outcome = run("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2");
        assert_eq!(outcome.end, End::Exited(0));
        assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (MAX_KEPT, MAX_KEPT));
    }

    #[test]
    fn a_flood_from_the_background_keeps_nobody() {
        let outcome = run("(timeout 20 cat /dev/zero) & exit 0");
        assert_eq!(outcome.end, End::Exited(0));
    }

    #[test]
    fn a_closed_output_does_not_keep_the_waiter_busy() {
        check("exec >&- 2>&-; sleep 0.1; exit 4", End::Exited(4), "", "");
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let outcome = run(&"x".repeat(200_000));
        assert_eq!(outcome.end, End::NotStarted("[Errno 7] Argument list too long: '/bin/sh'".into()));
    }

    #[test]
    fn many_scripts_leave_nothing_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
        run(":");
        let before = open();
        for _ in 0..50 {
            run(":");
        }
        // Other tests run beside this one, each with a few files open.
        assert!(open() < before + 40, "{before} -> {}", open());
    }
}
