//! What the tests of the whole program share: the built binaries, a server in a directory of its own, and the rule for
//! tests that need something which isn't there.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

pub mod filters;

use std::fs;
use std::io::{Write, stderr};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anybody waits for what is sure to come. On a busy machine that takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The built binary of this name; all three lie side by side.
pub fn binary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_f2b-server")).with_file_name(name)
}

/// The top of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Whether a test can run; says why it is skipped where it can't, and fails in CI, where everything is there.
///
/// What `eprintln!` prints is shown of failing tests only, so this is written past it.
pub fn available(what: &str, is_there: bool) -> bool {
    if !is_there {
        assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks {what}");
        let _ = writeln!(stderr(), "skipped: {} needs {what}", thread::current().name().unwrap_or("a test"));
    }
    is_there
}

/// Whether a program can be found.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).any(|dir| dir.join(name).is_file())
}

/// Waits until something is true.
#[track_caller]
pub fn wait_until(what: &str, is_true: impl FnMut() -> bool) {
    assert!(comes_true(is_true), "waited in vain: {what}");
}

/// Waits until something is true, and says whether it is.
pub fn comes_true(mut is_true: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !is_true() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Runs a command and gives its standard output; fails with both outputs if the command does.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard output and standard error, one behind the other.
pub fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration directory with everything a server writes, removed with the test.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A directory with a `fail2ban.conf` that logs to a file and keeps its bans in one.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = Self { dir };
        let conf = format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {0}/f2b.log\nsyslogsocket = auto\nsocket = {0}/f2b.sock\n\
             pidfile = {0}/f2b.pid\ndbfile = {0}/f2b.sqlite3\ndbpurgeage = 1d\ndbmaxmatches = 10\n",
            place.path().display()
        );
        place.write("fail2ban.conf", &conf);
        place
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file below the directory, with the directories on the way.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// Appends to a file below the directory.
    pub fn append(&self, name: &str, text: &str) {
        let mut file = fs::File::options().append(true).create(true).open(self.file(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("a write");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The log of the server.
    pub fn log(&self) -> String {
        self.read("f2b.log")
    }

    /// A command of the client, with upstream's or our program.
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.path()).arg("-s").arg(self.file("f2b.sock")).args(words);
        command
    }

    /// What our client prints for a command that succeeds.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> String {
        run(&mut self.client(binary("f2b-client"), words))
    }

    /// Starts the server in the foreground and waits until it is ready.
    #[track_caller]
    pub fn start(&self) -> Process {
        self.spawn(&mut self.server())
    }

    /// Runs a command that starts a server in the foreground and waits until it is ready, its jails and all.
    #[track_caller]
    pub fn spawn(&self, command: &mut Command) -> Process {
        command.stdout(fs::File::create(self.file("server.out")).expect("a file"));
        let server = Process(command.spawn().expect("the server starts"));
        let is_ready = comes_true(|| self.read("server.out").contains("Server ready"));
        assert!(is_ready, "the server is not ready: {}\n{}", self.read("server.out"), self.log());
        self.wait_until_ready();
        server
    }

    /// The command that starts the server in the foreground.
    pub fn server(&self) -> Command {
        self.server_with(&[])
    }

    /// The same with more options.
    pub fn server_with(&self, options: &[&str]) -> Command {
        let mut command = Command::new(binary("f2b-server"));
        command.arg("-c").arg(self.path()).args(options).args(["-f", "start"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// As [`Place::server`], but as somebody whom permissions and limits concern, who gets the directory. Whoever is no root
    /// stays who they are.
    pub fn server_as(&self, user: u32) -> Command {
        if !nix::unistd::geteuid().is_root() {
            return self.server();
        }
        // The directory that it was built in may be closed to others.
        let program = self.file("f2b-server");
        fs::copy(binary("f2b-server"), &program).expect("a copy");
        for entry in fs::read_dir(self.path()).expect("a directory").flatten() {
            chown(entry.path(), Some(user), Some(user)).expect("a new owner");
        }
        chown(self.path(), Some(user), Some(user)).expect("a new owner");
        let mut server = Command::new(program);
        server.arg("-c").arg(self.path()).args(["-f", "start"]).uid(user).gid(user);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until("the server answers", || {
            let output = self.client(binary("f2b-client"), &["ping"]).output().expect("the client starts");
            output.status.success()
        });
    }

    /// Waits until the log contains a text.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "not in the log: {text}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
