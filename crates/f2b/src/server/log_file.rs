//! A growing file, read line by line, whatever its owner does with it.
//!
//! The file stays open, so that a rotation by renaming loses nothing: it is read to its end, then the one that was begun
//! after it (which may have been renamed as well by then), and so on up to the one that has the name now. Old ones are read
//! on for a while, until whoever wrote them has noticed. A file that got shorter is read from its start, and so is one that
//! was emptied and has grown as long again since: the last bytes read are no longer there. Before that comes the rest of what was
//! in it, if somebody made a copy.
//!
//! Where reading goes on is the offset of the first byte that no whole line has covered yet, in the file with a certain first
//! line. After a restart this is found among the old ones, if it has been renamed meanwhile.
//!
//! Upstream (`filter.FileContainer`) opens the file for each change, recognises it by inode, size and the hash of its
//! first line, and loses what was written around a rotation.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use f2b_filter::Encoding;
use f2b_types::Number;
use nix::libc::ESTALE;

use super::fifo::{self, Fifo};
use super::generations::{self, Inode, Logs, Names, inode};
use super::retired::Retired;
use super::seek::{self, Sought};
use super::tail::{Filled, Place, RawLine, Tail};

/// Chunks after which the reader takes care of other files before it goes on with this one.
pub(super) const BUDGET: usize = 16;

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to read.
    More,
    /// Everything has been read.
    End,
    /// There is no such file at the moment.
    Missing,
    /// Names are being changed: it is to be looked at again very soon.
    Unsettled,
    /// Reading has come to the place that was given.
    Met,
}

/// What a file looks like from outside: as long as it looks the same there is nothing new in it (`FilterPoll.isModified`).
#[derive(Debug, PartialEq)]
struct Looks {
    inode: Inode,
    length: u64,
    modified: SystemTime,
}

impl Looks {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self { inode: inode(&meta), length: meta.len(), modified: meta.modified().ok()? })
    }
}

/// A log file by its name, and the places in the files that have it and had it.
#[derive(Debug)]
pub(super) struct LogFile {
    names: Names,
    tail: Option<Tail>,
    /// The file that has been emptied, while the rest of its copy is read, and of what has been copied since.
    emptied: Option<Tail>,
    /// In place of a file.
    fifo: Option<Fifo>,
    /// Where to begin in the file that is opened first.
    start: Place,
    /// When reading had come there, if that was before this reader, or before the file was closed.
    read: Option<SystemTime>,
    /// The same in files that had lost the name before this reader and were read on.
    old: Vec<Place>,
    /// Files that have lost the name and have been read.
    retired: Retired,
    /// Since when the file under the name has been another one.
    rotated: Option<Instant>,
    /// What the file under the name looked like when it was read to its end.
    looks: Option<Looks>,
    /// What it looked like at the last look, if nothing has been read since.
    looks_now: Option<Looks>,
    /// How often a file has been opened under the name.
    openings: u64,
    /// When there was something new last.
    changed: Instant,
    /// Something has been read.
    has_read: bool,
    /// The end has been reached after that: what comes now is news. So upstream has it (`FileFilter.getFailures`): where there was
    /// nothing to read at the start, what comes first is none.
    pub(super) in_operation: bool,
}

impl LogFile {
    /// The file at `path`, to be read from `start` on. `in_operation` where everything from there on is news.
    pub(super) fn new(path: PathBuf, start: Place, in_operation: bool) -> Self {
        Self {
            names: Names::new(path, Logs::default()),
            tail: None,
            emptied: None,
            fifo: None,
            start,
            read: None,
            old: Vec::new(),
            retired: Retired::default(),
            rotated: None,
            looks: None,
            looks_now: None,
            openings: 0,
            changed: Instant::now(),
            has_read: false,
            in_operation,
        }
    }

    /// The same, where `start` was the place at that time: what was written later has not been read, though there is no file to be
    /// found any more with that place in it. At the `old` places files were read on that had lost the name.
    pub(super) fn read_at(self, read: Option<SystemTime>, old: Vec<Place>) -> Self {
        Self { read, old, ..self }
    }

    /// The same, one of these.
    pub(super) fn among(self, logs: &Logs) -> Self {
        Self { names: Names::new(self.names.own().into(), logs.clone()), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        self.names.own()
    }

    /// Where reading goes on after a restart.
    pub(super) fn place(&self) -> Place {
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.has_begun()) {
            return tail.place();
        }
        // It leads to the file from where reading was before, which may have been read on since.
        let before = self.tail.as_ref().map_or(&self.start, |tail| &tail.before);
        let mut retired = self.retired.iter().map(Tail::place);
        retired.find(|old| !old.hash.is_empty() && old.hash == before.hash).unwrap_or_else(|| before.clone())
    }

    /// Which of the texts that were read since this reader began the place is in, if one has begun.
    pub(super) fn number(&self) -> Option<u64> {
        self.tail.as_ref().filter(|tail| tail.has_begun()).map(|tail| tail.number)
    }

    /// Where reading goes on after a restart in files that have lost the name, oldest first, those that are read again from
    /// `place` on left out, and those that nothing tells from others.
    pub(super) fn old_places(&self, place: &Place) -> Vec<Place> {
        let retired = self.retired.iter().map(Tail::place);
        let all: Vec<Place> = self.old.iter().cloned().chain(retired).collect();
        let is_one = |old: &Place| all.iter().filter(|other| other.hash == old.hash).count() == 1;
        let before = all.iter().take_while(|old| old.hash != place.hash);
        before.filter(|old| !old.hash.is_empty() && is_one(old)).cloned().collect()
    }

    /// Changes whenever another file than before is read under the name.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Another reader of the log, which goes on from the same place. A FIFO has no second one.
    pub(super) fn fork(&self) -> Option<Self> {
        if self.is_fifo() {
            return None;
        }
        Some(Self {
            names: self.names.clone(),
            tail: self.tail.as_ref().map(Tail::fork),
            emptied: self.emptied.as_ref().map(Tail::fork),
            fifo: None,
            start: self.start.clone(),
            read: self.read,
            old: self.old.clone(),
            retired: self.retired.fork(),
            rotated: self.rotated,
            looks: None,
            looks_now: None,
            openings: self.openings,
            changed: self.changed,
            has_read: self.has_read,
            in_operation: self.in_operation,
        })
    }

    /// Whether it is a FIFO: what one reader takes from it, no other gets.
    pub(super) fn is_fifo(&self) -> bool {
        self.fifo.is_some() || (self.tail.is_none() && fifo::is_fifo(self.names.own()))
    }

    /// How far away another reader of the log is that has only read more of the same file: zero if both are at the same
    /// place, and that one can do the work of both. It may know of more files that have lost the name.
    pub(super) fn distance_to(&self, other: &Self) -> Option<u64> {
        let (Some(tail), Some(others)) = (&self.tail, &other.tail) else {
            // What has been read of a line stays with who has read it.
            return (self.fifo.is_none() && self.is_fifo() && other.is_fifo()).then_some(0);
        };
        let is_read_by_both = |tail: &Tail| {
            other.retired.iter().any(|old| (old.inode, old.position) == (tail.inode, tail.position))
        };
        let is_same = tail.inode == others.inode
            && self.in_operation == other.in_operation
            && self.rotated.is_none()
            && other.rotated.is_none()
            && self.emptied.is_none()
            && other.emptied.is_none()
            && !tail.buffer.is_skipping()
            && !others.buffer.is_skipping()
            && tail.is_unchanged()
            && others.is_unchanged()
            && self.retired.iter().all(is_read_by_both);
        if is_same { others.position.checked_sub(tail.position) } else { None }
    }

    /// What becomes readable when something has been written, if this is a FIFO.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fifo.as_ref()?.fd()
    }

    /// Whether nothing is read but the file that has the name.
    pub(super) fn has_one_file(&self) -> bool {
        self.retired.is_empty()
    }

    /// How many files are open.
    pub(super) fn open_files(&self) -> usize {
        let one = |is_open| usize::from(is_open);
        one(self.tail.is_some()) + one(self.emptied.is_some()) + one(self.fifo.is_some()) + self.retired.len()
    }

    /// Less for a log that is rather to be closed than others; `None` for one that can't be.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        let is_skipping = self.tail.as_ref().is_some_and(|tail| tail.buffer.is_skipping());
        let can_close = self.fifo.is_none() && !is_skipping;
        can_close.then_some((self.open_files() > 1, self.changed))
    }

    /// Closes the file; it is opened again once it looks otherwise, or if it hasn't been read to its end.
    pub(super) fn close(&mut self) {
        self.retired.close_all();
        // It is found again by way of the copy.
        self.emptied = None;
        let Some(tail) = self.tail.take() else { return };
        self.start = tail.place();
        self.read = self.looks.as_ref().map(|looks| looks.modified);
        self.retired.close(tail);
    }

    /// Opens the file, if it isn't open yet. Answers why that isn't possible now.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read.
    pub(super) fn open(&mut self) -> io::Result<Option<Progress>> {
        if self.tail.is_none() { self.open_first() } else { Ok(None) }
    }

    /// The size of the file that is open.
    pub(super) fn size(&self) -> u64 {
        self.tail.as_ref().and_then(|tail| tail.file.metadata().ok()).map_or(0, |meta| meta.len())
    }

    /// Goes on to where lines are no older than `wanted`, as far as that can be told without reading all of them. `time_of`
    /// is asked for the time of a line, if there is a date in it, and if that is one.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub(super) fn seek_to_time(
        &mut self,
        encoding: &Encoding,
        wanted: f64,
        time_of: impl FnMut(&str) -> Option<Option<Number>>,
    ) -> io::Result<Option<Sought>> {
        let size = self.size();
        let Some(tail) = &mut self.tail else { return Ok(None) };
        let encoding = tail.encoding(encoding)?;
        let sought = seek::seek_to_time(&tail.file, &encoding, (tail.position, size), wanted, time_of)?;
        tail.go_to(sought.position)?;
        Ok(Some(sought))
    }

    /// Hands out lines from right before the place in the file that is open, oldest first: `length` bytes of them. What is missing
    /// comes from the generation before, as far as that can be read.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub(super) fn look_back(
        &mut self,
        encoding: &Encoding,
        length: u64,
        mut each: impl FnMut(&str),
    ) -> io::Result<()> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        let encoding = tail.encoding(encoding)?;
        if let Some(missing) = length.checked_sub(tail.position).filter(|missing| *missing > 0)
            && let Some(before) = generations::previous(&self.names, &tail.file)
            && let Ok(end) = before.metadata().map(|meta| meta.len())
        {
            // Its loss must not keep anybody from what is here.
            let _ = seek::lines_before(&before, &encoding, (end, missing), &mut each);
        }
        seek::lines_before(&tail.file, &encoding, (tail.position, length), each)
    }

    /// Hands out the whole lines that have come, up to a budget, oldest first. With a `distance`, those that begin so many bytes
    /// from here are left.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read.
    pub(super) fn read_lines(
        &mut self,
        encoding: &Encoding,
        distance: Option<u64>,
        mut each: impl FnMut(RawLine<'_>),
    ) -> io::Result<Progress> {
        if self.looks_now.is_none() && !self.has_news() {
            return Ok(Progress::End);
        }
        let looks = self.looks_now.take();
        self.looks = None;
        let progress = self.read_on(encoding, distance, &mut each);
        if progress.as_ref().is_err_and(|error| error.raw_os_error() == Some(ESTALE)) {
            // A server of files has it no more; another one may have the name.
            self.close();
        }
        let progress = progress?;
        if progress == Progress::End {
            self.looks = looks;
        }
        Ok(progress)
    }

    /// Whether there may be something to read: the file under the name looks otherwise than when it was read to its end.
    pub(super) fn has_news(&mut self) -> bool {
        // From before the reading, so that whatever is written meanwhile makes a difference.
        self.looks_now = Looks::of(self.names.own()).filter(|_| self.fifo.is_none());
        let is_same = self.looks_now.is_some() && self.looks_now == self.looks && self.retired.is_empty();
        if is_same {
            self.looks_now = None;
            self.tail.iter_mut().for_each(Tail::saw_name);
        }
        !is_same
    }

    /// Since when nothing new has come.
    pub(super) fn quiet_since(&self) -> Instant {
        self.changed
    }

    fn read_on(
        &mut self,
        encoding: &Encoding,
        distance: Option<u64>,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<Progress> {
        let limit =
            self.tail.as_ref().zip(distance).map(|(tail, distance)| (tail.number, tail.position + distance));
        let is_copy = |old: &Tail| self.tail.iter().chain(&self.emptied).any(|tail| tail.is_copied_in(old));
        if self.retired.read_lines(encoding, self.in_operation, is_copy, each)? {
            return Ok(Progress::More);
        }
        if let Some(progress) = self.read_fifo(encoding, each)? {
            return Ok(progress);
        }
        for _ in 0..BUDGET {
            if self.tail.is_none() && fifo::is_fifo(self.names.own()) {
                break;
            }
            if let Some(progress) = self.open()? {
                return Ok(progress);
            }
            let Some(tail) = &mut self.tail else { return Ok(Progress::Missing) };
            let limit = limit.filter(|(number, _)| *number == tail.number).map(|(_, limit)| limit);
            if limit == Some(tail.position) {
                return Ok(Progress::Met);
            }
            if let Some(progress) = self.look_for_return()? {
                return Ok(progress);
            }
            if let Some(progress) = self.look_for_copy()? {
                return Ok(progress);
            }
            let Some(tail) = &mut self.tail else { return Ok(Progress::Missing) };
            let behind = match tail.fill(limit)? {
                Filled::More => {
                    self.changed = Instant::now();
                    self.has_read = true;
                    tail.hand_out(encoding, self.in_operation, each)?;
                    None
                }
                Filled::Emptied => self.begin_anew()?,
                Filled::End => {
                    self.in_operation |= self.has_read;
                    self.look_behind()?
                }
            };
            if let Some(progress) = behind {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// Reads what is in the FIFO that has the name; `None` if that is no FIFO. Whatever comes out of one is news.
    fn read_fifo(
        &mut self,
        encoding: &Encoding,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<Option<Progress>> {
        if self.fifo.is_none() && self.tail.is_none() {
            self.fifo = Fifo::open(self.names.own())?;
            self.openings += u64::from(self.fifo.is_some());
        }
        let Some(fifo) = &mut self.fifo else { return Ok(None) };
        self.in_operation = true;
        for _ in 0..BUDGET {
            if !fifo.read(encoding, |bytes| each(RawLine { bytes, encoding, is_news: true, start: None }))? {
                if fifo.is_at(self.names.own()) {
                    return Ok(Some(Progress::End));
                }
                self.fifo = None;
                return Ok(None);
            }
        }
        Ok(Some(Progress::More))
    }
}

mod succession;
#[cfg(test)]
mod tests;
