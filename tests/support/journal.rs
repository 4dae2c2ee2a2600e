//! Journal files made by `systemd-journal-remote` from text that a test writes.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::available;

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

const BOOT: &str = "7c49d7d0a1d24f6e9f5b1e2f3a4b5c6d";

/// Whether journal files can be made.
pub fn can_be_made() -> bool {
    available("systemd-journal-remote", Path::new(REMOTE).exists())
}

/// Whether upstream can read them.
pub fn upstream_reads() -> bool {
    let script = "import systemd.journal, fail2ban.server.filtersystemd";
    let output = crate::upstream::python(script).output();
    available("fail2ban with python3-systemd", output.is_ok_and(|output| output.status.success()))
}

/// Runs a program where there is no libsystemd: something else is mounted in its place, for this program only.
pub fn without_library(program: &Path) -> Option<Command> {
    let script = "for file in $(ldconfig -p | sed -n 's/.*libsystemd[.]so[.]0 .* => //p'); do \
                  mount --bind /dev/null \"$file\" || exit 70; done; exec \"$0\" \"$@\"";
    let can_mount = Command::new("unshare").args(["-m", "true"]).output();
    if !available("mounts of its own", can_mount.is_ok_and(|output| output.status.success())) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(program);
    Some(command)
}

/// An entry that was received at `micros`, as the text that the journal is exported in.
pub fn entry(micros: u64, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut head = String::new();
    let _ = write!(
        head,
        "__REALTIME_TIMESTAMP={micros}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={BOOT}\n",
        micros % 10_000_000_000,
    );
    let mut text = head.into_bytes();
    for (name, value) in fields {
        text.extend(name.bytes());
        // What is no plain text comes with its length.
        match value.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            true => text.push(b'='),
            false => {
                text.push(b'\n');
                text.extend((value.len() as u64).to_le_bytes());
            }
        }
        text.extend(*value);
        text.push(b'\n');
    }
    text.push(b'\n');
    text
}

/// Adds entries to a journal file, which is made if there is none.
#[track_caller]
pub fn write(path: &Path, entries: &[u8]) {
    let mut remote = Command::new(REMOTE)
        .arg("-o")
        .arg(path)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-journal-remote starts");
    remote.stdin.take().expect("a pipe").write_all(entries).expect("it reads");
    assert!(remote.wait().expect("it ends").success());
}
