//! A configuration tree in a directory of its own, read by this crate and by the original.
#![allow(dead_code, reason = "each test includes this file and uses its own part of it")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use f2b_config::{Configurator, Diagnostic, Request, check_log_level};
use f2b_types::Level;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// With which originals a tree is compared.
#[derive(Clone, Copy, PartialEq)]
enum Originals {
    All,
    /// Those that read as 1.1 does.
    New,
    None,
}

pub(crate) struct Tree {
    directory: TempDir,
    originals: Originals,
}

impl Tree {
    /// Nothing is there.
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), originals: Originals::All }
    }

    /// There is a main configuration and a filter `f`.
    pub(crate) fn new() -> Self {
        Self::empty()
            .file("fail2ban.conf", "[Definition]\n")
            .file("filter.d/f.conf", "[Definition]\nfailregex = ^<HOST>$\n")
    }

    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), text).expect("a file");
        self
    }

    pub(crate) fn link(self, name: &str, to: &str) -> Self {
        symlink(to, self.path(name)).expect("a link");
        self
    }

    /// Before 1.1 this came out otherwise.
    pub(crate) fn new_in_1_1(self) -> Self {
        Self { originals: Originals::New, ..self }
    }

    /// The original takes too long, or ends in a limit of Python's.
    pub(crate) fn ours_alone(self) -> Self {
        Self { originals: Originals::None, ..self }
    }

    /// Compares with `expected`: the warnings and errors with their places, then the commands for jails, then whether it
    /// all can be used; `ROOT` stands for the directory.
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let ours = Dump::ours(self.root());
        let commands =
            ours.lines.iter().filter(|line| !line.starts_with("['set', '") || line.contains("', 'f', "));
        let all: Vec<_> = ours.placed.iter().chain(commands).cloned().collect();
        let found = format!("{}\n{}", all.join("\n"), if ours.ok { "ok" } else { "wrong" });
        let found = found.replace(&*self.root().to_string_lossy(), "ROOT");
        assert_eq!(found, expected);
        self.compare(&ours);
    }

    #[track_caller]
    pub(crate) fn check_ok(&self, ok: bool) {
        let ours = Dump::ours(self.root());
        assert_eq!(ours.ok, ok);
        self.compare(&ours);
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        path
    }

    #[track_caller]
    fn compare(&self, ours: &Dump) {
        if self.originals == Originals::None {
            return;
        }
        let mut original = ORIGINAL.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(original) = original.get_or_insert_with(Original::start) else { return };
        let theirs = original.dump(self.root());
        if !original.is_old {
            assert_eq!(ours.log, theirs.log, "the log, ours first");
        } else if self.originals == Originals::New {
            return;
        }
        assert_eq!(ours.lines, theirs.lines, "the commands, ours first");
        assert_eq!(ours.ok, theirs.ok, "the exit, ours first");
    }

    /// Compares with what the original makes of it, and tells whether it can be used, or else where they differ.
    pub(crate) fn compare_with(&self, original: &mut Original) -> Result<bool, String> {
        let (ours, theirs) = (Dump::ours(self.root()), original.dump(self.root()));
        let first = |ours: &[String], theirs: &[String]| {
            let at = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
            let at = at.or((ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())))?;
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".into());
            Some(format!("ours:   {}\ntheirs: {}", line(ours), line(theirs)))
        };
        // What has no end comes to it by different limits, in the original's case somewhere in Python.
        let limits = ["is included through more than", "properties grow beyond all bounds"];
        if !ours.ok && ours.log.iter().any(|record| limits.iter().any(|limit| record.contains(limit))) {
            return if theirs.ok { Err("the original reads it".into()) } else { Ok(false) };
        }
        let by_log = if original.is_old { None } else { first(&ours.log, &theirs.log) };
        let by_exit = (ours.ok != theirs.ok).then(|| format!("ours can be used: {}", ours.ok));
        let Some(difference) = first(&ours.lines, &theirs.lines).or(by_log).or(by_exit) else {
            return Ok(ours.ok);
        };
        let file = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            format!("--- {}\n{text}", path.display())
        };
        let files: Vec<_> = files_below(self.root()).into_iter().map(file).collect();
        Err(format!("{}\n{difference}", files.join("\n")))
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files.sort();
    files
}

/// What a dump shows, whoever makes it.
#[derive(Debug, Default)]
struct Dump {
    lines: Vec<String>,
    log: Vec<String>,
    /// Warnings and errors with the place that caused them; the original knows none.
    placed: Vec<String>,
    ok: bool,
}

impl Dump {
    /// What the client does for `-d`.
    fn ours(root: &Path) -> Self {
        let mut configurator = Configurator::new(root);
        let mut dump = Self::default();
        let early = configurator.early_options().and_then(|early| {
            check_log_level(&early.loglevel)?;
            Ok(early)
        });
        dump.take(&configurator.take_diagnostics());
        let early = match early {
            Ok(early) => early,
            Err(error) => {
                let message = format!("ERROR: {error}");
                dump.placed.extend(error.at().map(|at| format!("({at})")));
                dump.lines = message.lines().map(str::to_owned).collect();
                return dump;
            }
        };
        let main_options = [
            ("loglevel", early.loglevel),
            ("logtarget", early.logtarget),
            ("syslogsocket", early.syslogsocket),
        ];
        let loaded = configurator.load(&Request {
            ignore_wrong: true,
            allow_no_files: true,
            main_options: main_options.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            ..Request::default()
        });
        dump.take(&loaded.diagnostics);
        dump.ok = loaded.ok;
        dump.lines = match loaded.stream {
            Some(stream) => stream.iter().map(ToString::to_string).collect(),
            None => vec!["ERROR: The configuration stream failed because of the invalid syntax.".into()],
        };
        dump
    }

    fn take(&mut self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let record = &diagnostic.record;
            if record.level >= Level::INFO {
                let message = record.message.trim_start();
                self.log.push(format!("{} {} {message}", record.logger, record.level));
            }
            if record.level >= Level::WARNING {
                let at = diagnostic.at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
                self.placed.push(format!("{} {}{at}", record.level, record.message));
            }
        }
    }
}

/// Runs the original's client in a fork of itself for each directory it is told, so that only the first one has to wait
/// for Python.
const DRIVER: &str = r#"
import json, os, sys, tempfile
from fail2ban.client.fail2banclient import exec_command_line
from fail2ban.version import version

print(version, flush=True)
for line in sys.stdin:
    root = json.loads(line)
    files = [tempfile.TemporaryFile() for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        code = 70
        for number, file in enumerate(files): os.dup2(file.fileno(), number + 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try: exec_command_line(['fail2ban-client', '-c', root, '-v', '-d'])
        except SystemExit as end: code = end.code or 0
        sys.stdout.flush()
        os._exit(code & 255)
    status = os.waitpid(pid, 0)[1]
    for file in files: file.seek(0)
    print(json.dumps([file.read().decode('utf-8', 'replace') for file in files] + [status == 0]), flush=True)
"#;

/// The original, once for all tests of a program.
static ORIGINAL: Mutex<Option<Option<Original>>> = Mutex::new(None);

/// The fail2ban that Debian's Python finds; `PYTHONPATH` may name another release than the installed one.
pub(crate) struct Original {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Before 1.1 some things were read otherwise.
    pub(crate) is_old: bool,
}

impl Original {
    /// `None` if there is none.
    pub(crate) fn start() -> Option<Self> {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", DRIVER]).env("PYTHONIOENCODING", "utf-8").env("LANG", "C.UTF-8");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = command.spawn().ok().and_then(|mut process| {
            let requests = process.stdin.take()?;
            let mut answers = BufReader::new(process.stdout.take()?);
            let mut version = String::new();
            answers.read_line(&mut version).ok().filter(|length| *length > 0)?;
            Some(Self { process, requests, answers, is_old: version.starts_with("1.0") })
        });
        if started.is_none() {
            assert!(env::var_os("F2B_CI").is_none(), "fail2ban is not installed");
            say_skipped("fail2ban");
        }
        started
    }

    /// What its client does for `-d`.
    fn dump(&mut self, root: &Path) -> Dump {
        writeln!(self.requests, "{}", json!(root)).expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        let answer: Json = serde_json::from_str(&answer).expect("JSON");
        let lines = answer[0].as_str().expect("a text").lines().map(str::to_owned).collect();
        let log = records(answer[1].as_str().expect("a text"));
        Dump { lines, log, placed: Vec::new(), ok: answer[2] == true }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes `2025-01-01 00:00:00,000 fail2ban.jailreader [1]: ERROR text` apart; other lines continue a text.
fn records(log: &str) -> Vec<String> {
    let mut records: Vec<String> = Vec::new();
    for line in log.lines() {
        match line.split_once("]: ").filter(|(head, _)| head.contains(" fail2ban")) {
            Some((head, text)) => {
                let name =
                    head.split([' ', '[']).find(|word| word.starts_with("fail2ban")).unwrap_or_default();
                let (level, text) = text.split_once(' ').unwrap_or((text, ""));
                let name = name.strip_prefix("fail2ban.").unwrap_or(name);
                records.push(format!("{name} {level} {}", text.trim_start()));
            }
            None => match records.last_mut() {
                Some(record) => *record += &format!("\n{line}"),
                None => records.push(line.to_owned()),
            },
        }
    }
    // These come from the client rather than from what it reads.
    let of_client = ["fail2ban INFO Using ", "fail2ban ERROR Init of command line failed"];
    records.retain(|record| !of_client.iter().any(|text| record.starts_with(text)));
    records
}

/// Says once for each test that it is skipped, past libtest, which shows the output of failing tests only.
fn say_skipped(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("skipped: {} needs {what}", thread::current().name().unwrap_or("a test"));
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
        let _ = writeln!(stderr(), "{line}");
    }
}
