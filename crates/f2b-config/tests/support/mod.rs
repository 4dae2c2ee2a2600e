//! A configuration tree in a directory of its own, read by this crate and by the original.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{Write, stderr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use f2b_config::{Configurator, Diagnostic, Request, check_log_level};
use f2b_types::Level;
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
    /// There is a main configuration and a filter `f`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = Self { directory, originals: Originals::All };
        tree.file("fail2ban.conf", "[Definition]\n")
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
        let Some((theirs, is_new)) = Dump::theirs(self.root()) else { return };
        if is_new {
            assert_eq!(ours.log, theirs.log, "the log, ours first");
        } else if self.originals == Originals::New {
            return;
        }
        assert_eq!(ours.lines, theirs.lines, "the commands, ours first");
        assert_eq!(ours.ok, theirs.ok, "the exit, ours first");
    }
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

    /// What the original's client does, and whether it is 1.1 or later; `None` if there is no client.
    fn theirs(root: &Path) -> Option<(Self, bool)> {
        let client = env::var("FAIL2BAN_CLIENT").unwrap_or("/usr/bin/fail2ban-client".into());
        let run = |args: &[&str]| Command::new(&client).arg("-c").arg(root).args(args).output();
        let Ok(version) = run(&["-V"]) else {
            assert!(env::var_os("F2B_CI").is_none(), "{client} is not installed");
            say_skipped(&client);
            return None;
        };
        let is_new = !version.stdout.starts_with(b"1.0");
        let output = run(&["-v", "-d"]).expect("a dump");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines = text(&output.stdout).lines().map(str::to_owned).collect();
        let log = records(&text(&output.stderr));
        Some((Self { lines, log, placed: Vec::new(), ok: output.status.success() }, is_new))
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
