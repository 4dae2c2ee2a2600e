//! A log file with all that happens to one: how its lines come, and how it is rotated.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::fs::{self, File};
use std::io::Write;
use std::mem;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

/// What is done to a log between two of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// It is renamed, and a new one is there at once.
    Rename,
    /// It is renamed, as others were before, each of which moves on by one.
    Shift,
    /// It is renamed, and whoever writes goes on in the old one for a while. There is a new one meanwhile.
    RenameLate,
    /// The same, but the new one is made by whoever writes, later.
    RenameMissing,
    /// It is renamed, and compressed as soon as it has been read.
    Compress,
    /// It is copied and emptied.
    CopyTruncate,
    /// It is emptied.
    Truncate,
    /// It is emptied, and as long as before when somebody looks.
    Rewrite,
    /// It is removed, and comes back later.
    Delete,
    /// Another file is renamed to its name.
    Replace,
    /// It is a link, which points elsewhere from now on.
    Retarget,
    /// Its directory is renamed, written in, and renamed back.
    MoveDirectory,
    /// Its directory is renamed, and another one with another log takes its place.
    ReplaceDirectory,
}

impl Deed {
    pub const ALL: [Self; 13] = [
        Self::Rename,
        Self::Shift,
        Self::RenameLate,
        Self::RenameMissing,
        Self::Compress,
        Self::CopyTruncate,
        Self::Truncate,
        Self::Rewrite,
        Self::Delete,
        Self::Replace,
        Self::Retarget,
        Self::MoveDirectory,
        Self::ReplaceDirectory,
    ];

    /// What nobody has read of the old log before is lost for every reader.
    pub fn destroys_lines(self) -> bool {
        matches!(self, Self::Truncate | Self::Rewrite)
    }

    /// The old log can be read to its end only by somebody who has it open: its name tells nobody where it is.
    pub fn needs_an_open_file(self) -> bool {
        !matches!(self, Self::Rename | Self::Shift | Self::RenameLate | Self::CopyTruncate)
    }
}

/// How old logs are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Dates,
    /// Each moves on by one.
    Numbers,
    /// Now like this, now like that, so that names do not tell which came later.
    Both,
}

/// A log and the directory that is its own.
pub struct RotatedLog {
    path: PathBuf,
    name: String,
    file: File,
    /// Another log, which nobody follows, with a name that a rotation might give. Its lines have the number zero.
    beside: File,
    rng: Rng,
    pub naming: Naming,
    /// Lines that have been written.
    pub lines: u64,
    /// Whether somebody goes on writing in a log that has lost its name.
    pub has_late_writers: bool,
    /// What has been done, and behind which line.
    pub history: Vec<(u64, Deed)>,
    /// Old logs that have a name.
    generations: usize,
    others: usize,
}

impl RotatedLog {
    /// An empty log below a directory, whose lines begin with `name`.
    pub fn new(below: &Path, name: &str, seed: u64) -> Self {
        let path = below.join(name).join("f.log");
        fs::create_dir(below.join(name)).expect("a directory");
        let file = create(&path);
        let beside = create(&path.with_file_name("f-20261126.log"));
        let rng = Rng::with_seed(seed);
        Self {
            path,
            name: name.into(),
            file,
            beside,
            rng,
            naming: Naming::Both,
            lines: 0,
            has_late_writers: true,
            history: Vec::new(),
            generations: 0,
            others: 0,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands for the line of that number.
    pub fn id(&self, number: u64) -> String {
        format!("{}{number}", self.name)
    }

    /// What stands for the line that was written last.
    pub fn last_id(&self) -> String {
        self.id(self.lines)
    }

    /// Writes lines in one piece, with one kind of line end or the other.
    pub fn append(&mut self, count: u64) {
        let text: String = (0..count).map(|_| self.next_line()).collect();
        self.write(text.as_bytes());
    }

    /// Writes lines in pieces that have nothing to do with where they end.
    pub fn append_in_pieces(&mut self, count: u64) {
        let text: String = (0..count).map(|_| self.next_line()).collect();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.rng.usize(1..=rest.len()));
            self.write(piece);
            rest = behind;
            if self.rng.u8(..) < 40 {
                thread::sleep(Duration::from_millis(self.rng.u64(1..8)));
            }
        }
    }

    /// Writes what is no line of ours: nothing, zeros, bytes of no encoding, very much. A first line is what a log is known
    /// by, so it is none of this.
    pub fn append_noise(&mut self) {
        if self.file.metadata().expect("a log").len() == 0 {
            return;
        }
        let noise: &[u8] = match self.rng.u8(..6) {
            0 => b"\n",
            1 => b"\0\0\0\0\0\0\n",
            2 => b"\xff\xfe \xc3\x28 line \xe2\x82\n",
            3 => b"\r\r\n",
            4 => &[b'x'; 70_000],
            _ => b"1 line without a number\r\n",
        };
        self.write(noise);
        self.write(b"\n");
    }

    /// Does it. What is written meanwhile is heard of: `pause` waits for whatever has to be waited for.
    pub fn rotate(&mut self, deed: Deed, pause: &mut impl FnMut(&Self)) {
        let deed = match (deed, self.naming) {
            (Deed::Shift, Naming::Dates) => Deed::Rename,
            (Deed::Rename, Naming::Numbers) => Deed::Shift,
            _ => deed,
        };
        self.history.push((self.lines, deed));
        match deed {
            Deed::Rename => {
                let name = self.with_date();
                fs::rename(&self.path, name).expect("a rotation");
                self.file = create(&self.path);
            }
            Deed::Shift => {
                let name = self.with_number();
                fs::rename(&self.path, name).expect("a rotation");
                self.file = create(&self.path);
            }
            Deed::RenameLate => {
                let name = self.old_name();
                fs::rename(&self.path, name).expect("a rotation");
                let mut other = create(&self.path);
                for count in [3, 5] {
                    // Some are in the new one before.
                    mem::swap(&mut self.file, &mut other);
                    self.append_late(2, &mut |_| {});
                    mem::swap(&mut self.file, &mut other);
                    self.append_late(count, pause);
                }
                self.file = other;
            }
            Deed::RenameMissing => {
                let name = self.old_name();
                fs::rename(&self.path, name).expect("a rotation");
                self.append_late(3, pause);
                self.file = create(&self.path);
            }
            Deed::Compress => {
                let name = self.old_name();
                fs::rename(&self.path, &name).expect("a rotation");
                self.file = create(&self.path);
                pause(self);
                let mut compressed = name.clone().into_os_string();
                compressed.push(".gz");
                fs::rename(name, compressed).expect("it is compressed");
            }
            Deed::CopyTruncate => {
                let name = self.old_name();
                fs::copy(&self.path, name).expect("a copy");
                self.file.set_len(0).expect("an empty log");
                // After a restart only its time tells a copy from a log that was renamed.
                thread::sleep(Duration::from_millis(10));
            }
            Deed::Truncate => self.file.set_len(0).expect("an empty log"),
            Deed::Rewrite => {
                let length = self.file.metadata().expect("a log").len();
                self.file.set_len(0).expect("an empty log");
                while self.file.metadata().expect("a log").len() < length {
                    self.append(100);
                }
            }
            Deed::Delete => {
                fs::remove_file(&self.path).expect("a log");
                self.append_late(2, pause);
                self.file = create(&self.path);
            }
            Deed::Replace => {
                let aside = self.other_name();
                self.file = create(&aside);
                self.append(1);
                fs::rename(aside, &self.path).expect("another log");
            }
            Deed::Retarget => {
                let (target, link) = (self.other_name(), self.other_name());
                self.file = create(&target);
                symlink(target, &link).expect("a link");
                fs::rename(link, &self.path).expect("a link in place of the other");
            }
            Deed::MoveDirectory => {
                let (directory, aside) = (self.directory(), self.other_directory());
                fs::rename(&directory, &aside).expect("another name");
                self.append_late(5, pause);
                fs::rename(aside, directory).expect("the name it had");
            }
            Deed::ReplaceDirectory => {
                let (directory, aside) = (self.directory(), self.other_directory());
                fs::rename(&directory, aside).expect("another name");
                self.append_late(3, pause);
                fs::create_dir(&directory).expect("a directory");
                self.file = create(&self.path);
            }
        }
    }

    /// Writes a line to the other log, when somebody may have seen what has happened to this one.
    pub fn append_beside(&mut self) {
        thread::sleep(Duration::from_millis(self.rng.u64(..30)));
        self.beside.write_all(format!("{} line {}\n", now(), self.id(0)).as_bytes()).expect("a write");
    }

    fn append_late(&mut self, count: u64, pause: &mut impl FnMut(&Self)) {
        if self.has_late_writers {
            self.append_in_pieces(count);
            pause(self);
        }
    }

    fn next_line(&mut self) -> String {
        self.lines += 1;
        let end = if self.rng.bool() { "\n" } else { "\r\n" };
        format!("{} line {}{end}", now(), self.last_id())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("a write");
    }

    fn numbered(&self, number: usize) -> PathBuf {
        self.path.with_file_name(format!("f.log.{number}"))
    }

    /// A name for an old log.
    fn old_name(&mut self) -> PathBuf {
        if self.naming == Naming::Numbers { self.with_number() } else { self.with_date() }
    }

    /// The first number, which those before have made way for.
    fn with_number(&mut self) -> PathBuf {
        for number in (1..=self.generations).rev() {
            // Those that were renamed otherwise have no number.
            let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        self.generations += 1;
        self.numbered(1)
    }

    fn with_date(&mut self) -> PathBuf {
        self.others += 1;
        self.path.with_file_name(format!("f.log-20261125-{:06}", self.others))
    }

    /// A name that says nothing.
    fn other_name(&mut self) -> PathBuf {
        self.others += 1;
        self.path.with_file_name(format!("other{}", self.others))
    }

    fn directory(&self) -> PathBuf {
        self.path.parent().expect("a directory").into()
    }

    fn other_directory(&mut self) -> PathBuf {
        self.others += 1;
        self.directory().with_file_name(format!("away-{}-{}", self.name, self.others))
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

fn create(path: &Path) -> File {
    File::options().append(true).create_new(true).open(path).expect("a new log")
}
