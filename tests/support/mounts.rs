//! Mounts that only the processes of a test see.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Process, available};

/// Mounts that only the processes of a test see.
pub struct Mounts(Process);

impl Mounts {
    /// What a shell script mounts; `None`, and a word about it, where that isn't allowed.
    pub fn new(script: &str) -> Option<Self> {
        let script = format!("set -e; {script}; echo mounted; exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process(command.spawn().ok()?);
        let mut said = String::new();
        let output = process.0.stdout.take().expect("a pipe");
        let _ = BufReader::new(output).read_line(&mut said);
        available("mounts of its own", said == "mounted\n").then_some(Self(process))
    }

    /// A command that sees them.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.wrap(&Command::new(program))
    }

    /// The same command, so that it sees them. Nothing is read or shown.
    pub fn wrap(&self, inner: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-m", "-t", &self.0.0.id().to_string(), "--"])
            .arg(inner.get_program())
            .args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Where a path below them is to be found from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.0.0.id()))
    }
}
