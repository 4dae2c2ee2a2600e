//! Programs that do nothing but write down how they were called, in place of those that the stock actions call.
//!
//! The commands run by the real shell, with a directory first in `PATH` in which `iptables`, `mail`, `curl`... are all
//! the same script. A test may let some of the calls fail.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What the stock actions call and what would touch, ask or tell anybody. `mark` is for actions of the tests.
const PROGRAMS: [&str; 39] = [
    "apf",
    "apprise",
    "conntrack",
    "csf",
    "curl",
    "date",
    "dig",
    "file",
    "firewall-cmd",
    "geoiplookup",
    "host",
    "iconv",
    "ip",
    "ip6tables",
    "ipfw",
    "ipset",
    "iptables",
    "jq",
    "mail",
    "mark",
    "nft",
    "nginx",
    "nslookup",
    "nsupdate",
    "perl",
    "pfctl",
    "sendmail",
    "shorewall",
    "shorewall6",
    "shorewallinet4",
    "shorewallinet6",
    "sleep",
    "ss",
    "sudo",
    "ufw",
    "uname",
    "wget",
    "whois",
    "xtables-multi",
];

/// Writes one record: the process group, which is that of the command, the own name, the arguments, and for some
/// programs what comes in. The separators are not in any argument. A file in `fail` makes one call fail that contains its
/// text, one in `broken` all of them.
const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*} name=${0##*/} sep=$(printf '\037')
read -r stat < /proc/self/stat
stat=${stat##*) } stat=${stat#* } stat=${stat#* }
words=
for word in "$@"; do words="$words$sep$word"; done
case $name in mail|sendmail|apprise|nsupdate|pfctl) words="$words$sep<$(cat)" ;; esac
printf '%s\036' "${stat%% *}$sep$name$words" >> "$here/../calls"
case $name in
    date) case $words in *+%s) echo 1700000000 ;; *) echo a date ;; esac ;;
    uname) echo a.machine ;;
    dig) echo '"abuse@example.org"' ;;
esac
for file in "$here"/../fail/* "$here"/../broken/*; do
    [ -e "$file" ] || continue
    read -r text < "$file"
    case "$name$words" in
        *"$text"*) case $file in */fail/*) rm "$file" ;; esac; echo "$name does not work" >&2; exit 1 ;;
    esac
done
# At once, as somebody who has heard enough would end the writer of the rest.
[ ! -e "$here/../says/$name" ] || echo "$(cat "$here/../says/$name")"
exit 0
"#;

/// The directory with the programs and with what they have written.
pub struct Recorder {
    directory: PathBuf,
}

impl Recorder {
    /// Sets up everything below a directory that exists.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.join("recorder");
        for part in ["bin", "fail", "broken", "says"] {
            fs::create_dir_all(directory.join(part)).expect("a directory");
        }
        let script = directory.join("bin/.script");
        fs::write(&script, SCRIPT).expect("a file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an executable file");
        for program in PROGRAMS {
            symlink(".script", directory.join("bin").join(program)).expect("a link");
        }
        let recorder = Self { directory };
        recorder.clear();
        recorder
    }

    /// `PATH` for a server.
    pub fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{rest}:/usr/sbin:/sbin", self.directory.join("bin").display())
    }

    /// Lets a program print this whenever it is called.
    pub fn says(&self, program: &str, text: &str) {
        fs::write(self.directory.join("says").join(program), format!("{text}\n")).expect("a file");
    }

    /// Lets so many of the calls fail that contain a text; words are separated by a blank.
    pub fn fail(&self, times: usize, text: &str) {
        let kind = text.replace(['/', ' '], "_");
        for number in 0..times {
            let file = self.directory.join(format!("fail/{kind}-{number}"));
            fs::write(file, Self::pattern(text)).expect("a file");
        }
    }

    /// Lets all calls fail that contain a text, until [`Self::mend`].
    pub fn break_all(&self, text: &str) {
        let kind = text.replace(['/', ' '], "_");
        fs::write(self.directory.join("broken").join(kind), Self::pattern(text)).expect("a file");
    }

    /// Lets everything work again.
    pub fn mend(&self) {
        for part in ["fail", "broken"] {
            for file in fs::read_dir(self.directory.join(part)).expect("a directory").flatten() {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn pattern(text: &str) -> String {
        format!("{}\n", text.replace(' ', "\x1f"))
    }

    /// The calls since the last time, those of one command together: its programs may run beside each other.
    pub fn take(&self) -> Vec<Vec<String>> {
        let bytes = fs::read(self.directory.join("calls")).expect("the calls");
        self.clear();
        let text = String::from_utf8_lossy(&bytes);
        let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
        for record in text.split_terminator('\x1e') {
            let (group, call) = record.split_once('\x1f').expect("a record");
            let call = call.replace('\x1f', " | ");
            match groups.iter_mut().rev().find(|(known, _)| *known == group) {
                Some((_, calls)) => calls.push(call),
                None => groups.push((group, vec![call])),
            }
        }
        let sorted = |mut calls: Vec<String>| {
            calls.sort();
            calls
        };
        groups.into_iter().map(|(_, calls)| sorted(calls)).collect()
    }

    /// How many calls that contain a text have been written down since the last time.
    pub fn count(&self, text: &str) -> usize {
        let bytes = fs::read(self.directory.join("calls")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\x1f', " ").matches(text).count()
    }

    fn clear(&self) {
        fs::write(self.directory.join("calls"), "").expect("a file");
    }
}
