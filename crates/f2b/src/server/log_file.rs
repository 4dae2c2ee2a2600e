//! A growing file, read line by line, whatever its owner does with it.
//!
//! The file stays open, so that a rotation by renaming loses nothing: it is read to its end, then the one that was begun
//! after it (which may have been renamed as well by then), and so on up to the one that has the name now. Old ones are read
//! on for a while, until whoever wrote them has noticed. A file that got shorter is read from its start, and so is one that
//! was emptied and has grown as long again since: the last bytes read are no longer there.
//!
//! Where reading goes on is the offset of the first byte that no whole line has covered yet, in the file with a certain first
//! line. After a restart this is found among the old ones, if it has been renamed meanwhile.
//!
//! Upstream (`filter.FileContainer`) opens the file for each change, recognises it by inode, size and the hash of its
//! first line, and loses what was written around a rotation.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use f2b_filter::Encoding;
use f2b_types::Number;

use super::fifo::{self, Fifo};
use super::generations::{self, Inode, Looked, Names, inode};
use super::seek::{self, Sought};
use super::tail::{Closed, LineStart, Place, RawLine, Tail, first_line_hash_of, open_if_there};

/// Chunks after which the reader takes care of other files before it goes on with this one.
const BUDGET: usize = 16;

/// How long a file is read on that has lost its name.
const GRACE: Duration = Duration::from_secs(30);

/// How many files are read on that have lost their name.
const MAX_RETIRED: usize = 16;

/// How long a rotation is waited for that does not come to its end.
const LONGEST_ROTATION: Duration = Duration::from_secs(1);

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
    /// In place of a file.
    fifo: Option<Fifo>,
    /// Where to begin in the file that is opened first.
    start: Place,
    /// Files that have lost the name and have been read, and since when nothing has come in them.
    retired: VecDeque<(Tail, Instant)>,
    /// Since when the file under the name has been another one.
    rotated: Option<Instant>,
    /// What the file under the name looked like when it was read to its end.
    looks: Option<Looks>,
    /// How often a file has been opened under the name.
    openings: u64,
    /// When there was something new last.
    changed: Instant,
    /// The file that was closed for want of descriptors.
    closed: Option<Closed>,
    /// The end has been reached once: what comes now is news.
    pub(super) in_operation: bool,
}

impl LogFile {
    /// The file at `path`, to be read from `start` on. `in_operation` where everything from there on is news.
    pub(super) fn new(path: PathBuf, start: Place, in_operation: bool) -> Self {
        Self {
            names: Names::new(path),
            tail: None,
            fifo: None,
            start,
            retired: VecDeque::new(),
            rotated: None,
            looks: None,
            openings: 0,
            changed: Instant::now(),
            closed: None,
            in_operation,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.names.own()
    }

    /// Where reading goes on after a restart: at the line `open` if it is in the file that is being read.
    pub(super) fn place(&self, open: Option<LineStart>) -> Place {
        let Some(tail) = &self.tail else { return self.start.clone() };
        let Place { position, hash } = tail.place();
        let open = open.filter(|open| open.file == tail.number).map(|open| open.offset);
        Place { position: open.unwrap_or(u64::MAX).min(position), hash }
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
            fifo: None,
            start: self.start.clone(),
            retired: self.retired.iter().map(|(tail, since)| (tail.fork(), *since)).collect(),
            rotated: self.rotated,
            looks: None,
            openings: self.openings,
            changed: self.changed,
            closed: self.closed.clone(),
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
        let is_read_by_both = |(tail, _): &(Tail, Instant)| {
            other.retired.iter().any(|(old, _)| (old.inode, old.position) == (tail.inode, tail.position))
        };
        let is_same = tail.inode == others.inode
            && self.in_operation == other.in_operation
            && self.rotated.is_none()
            && other.rotated.is_none()
            && !tail.buffer.is_skipping()
            && !others.buffer.is_skipping()
            && self.retired.iter().all(is_read_by_both);
        if is_same { others.position.checked_sub(tail.position) } else { None }
    }

    /// What becomes readable when something has been written, if this is a FIFO.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fifo.as_ref()?.fd()
    }

    /// How many files are open.
    pub(super) fn open_files(&self) -> usize {
        usize::from(self.tail.is_some()) + usize::from(self.fifo.is_some()) + self.retired.len()
    }

    /// Less for a log that is rather to be closed than others; `None` for one that can't be.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        let is_skipping = self.tail.as_ref().is_some_and(|tail| tail.buffer.is_skipping());
        let can_close = self.fifo.is_none() && !is_skipping;
        can_close.then_some((!self.retired.is_empty(), self.changed))
    }

    /// Closes the file; it is opened again once it looks otherwise, or if it hasn't been read to its end.
    pub(super) fn close(&mut self) {
        self.retired.clear();
        let Some(tail) = self.tail.take() else { return };
        self.start = tail.place();
        let (inode, position, read) = (tail.inode, tail.position, tail.read());
        self.closed = Some(Closed { inode, position, read, emptied: tail.emptied });
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
        // From before the reading, so that whatever is written meanwhile makes a difference.
        let looks = Looks::of(self.names.own()).filter(|_| self.fifo.is_none());
        if looks.is_some() && looks == self.looks && self.retired.is_empty() {
            return Ok(Progress::End);
        }
        self.looks = None;
        let progress = self.read_on(encoding, distance, &mut each)?;
        if progress == Progress::End {
            self.looks = looks;
        }
        Ok(progress)
    }

    fn read_on(
        &mut self,
        encoding: &Encoding,
        distance: Option<u64>,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<Progress> {
        let limit =
            self.tail.as_ref().zip(distance).map(|(tail, distance)| (tail.number, tail.position + distance));
        if self.drain_retired(encoding, each)? == Progress::More {
            return Ok(Progress::More);
        }
        if let Some(progress) = self.read_fifo(encoding, each)? {
            return Ok(progress);
        }
        if let Some(tail) = &mut self.tail
            && tail.was_rewritten(tail.end())? != Some(false)
        {
            tail.rewind()?;
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
            if tail.fill(limit)? > 0 {
                self.changed = Instant::now();
                tail.hand_out(encoding, self.in_operation, each)?;
                continue;
            }
            self.in_operation = true;
            if let Some(progress) = self.look_behind()? {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// Reads on in files that have lost the name, and lets go of those that nobody has written to for long enough.
    fn drain_retired(
        &mut self,
        encoding: &Encoding,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<Progress> {
        for (tail, since) in &mut self.retired {
            for round in 0.. {
                if tail.fill(None)? == 0 {
                    break;
                }
                *since = Instant::now();
                tail.hand_out(encoding, self.in_operation, each)?;
                if round == BUDGET {
                    return Ok(Progress::More);
                }
            }
        }
        self.retired.retain(|(_, since)| since.elapsed() < GRACE);
        Ok(Progress::End)
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
        let start = LineStart { file: self.openings, offset: 0 };
        for _ in 0..BUDGET {
            if !fifo.read(encoding, |bytes| each(RawLine { bytes, encoding, is_news: true, start }))? {
                if fifo.is_at(self.names.own()) {
                    return Ok(Some(Progress::End));
                }
                self.fifo = None;
                return Ok(None);
            }
        }
        Ok(Some(Progress::More))
    }

    /// Opens the file where reading was left before the start: if another one has the name by now, the old one is read on
    /// first.
    fn open_first(&mut self) -> io::Result<Option<Progress>> {
        let Some(file) = open_if_there(self.names.own())? else { return Ok(Some(Progress::Missing)) };
        let Place { position, hash } = self.start.clone();
        let id = inode(&file.metadata()?);
        if let Some(closed) = self.closed.take_if(|closed| closed.inode == id) {
            let Closed { position, read, emptied, .. } = closed;
            let is_there = read.trace.is_empty() || read.is_in(&file);
            let (position, emptied) = if is_there { (position, emptied) } else { (0, Some(read)) };
            self.begin(file, position)?;
            if let Some(tail) = &mut self.tail {
                tail.emptied = emptied;
            }
            return Ok(None);
        }
        if hash.is_empty() || first_line_hash_of(&file)? == hash {
            self.begin(file, position)?;
            return Ok(None);
        }
        self.names.follow();
        if !self.rotation_is_over() {
            return Ok(Some(Progress::Unsettled));
        }
        let Looked { found, is_sure } = generations::with_hash(&self.names, &hash, position);
        if !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        match found {
            Some(old) => self.begin(old, position)?,
            None => self.begin(file, 0)?,
        }
        Ok(None)
    }

    /// At the end of the file: whether it is still the one under its name, and still as long. `None` means to go on.
    fn look_behind(&mut self) -> io::Result<Option<Progress>> {
        let Some(tail) = &mut self.tail else { return Ok(None) };
        if tail.file.metadata()?.len() < tail.end() {
            tail.rewind()?;
            return Ok(None);
        }
        let is_tail = |meta: io::Result<Metadata>| meta.is_ok_and(|meta| inode(&meta) == tail.inode);
        if is_tail(fs::metadata(self.names.own())) {
            self.rotated = None;
            return Ok(Some(Progress::End));
        }
        if fifo::is_fifo(self.names.own()) {
            self.retire();
            return Ok(None);
        }
        let named = open_if_there(self.names.own())?;
        if named.as_ref().is_some_and(|file| is_tail(file.metadata())) {
            // It was away and has come back between the two looks.
            return Ok(Some(Progress::Unsettled));
        }
        if !self.rotation_is_over() {
            return Ok(Some(Progress::Unsettled));
        }
        let Some(tail) = &self.tail else { return Ok(None) };
        let known = || self.retired.iter().map(|(retired, _)| retired).chain([tail]);
        let is_known = |file: &File| known().any(|known| known.is_of(file));
        // The file is open already: another rotation at this moment takes no generation away.
        let Looked { found, is_sure } = generations::next(&self.names, &tail.file, is_known);
        if !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        let Some(next) = found.or(named) else { return Ok(Some(Progress::Missing)) };
        self.begin(next, 0)?;
        Ok(None)
    }

    /// The file that was read so far, if there is one, has lost its name.
    fn retire(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        self.start = tail.place();
        self.retired.push_back((tail, Instant::now()));
        if self.retired.len() > MAX_RETIRED {
            self.retired.pop_front();
        }
    }

    /// Goes on in another file. One that has had the name before is read on from where that was: it has got its name back.
    fn begin(&mut self, file: File, position: u64) -> io::Result<()> {
        let own = inode(&file.metadata()?);
        if fs::metadata(self.names.own()).is_ok_and(|meta| inode(&meta) == own) {
            self.names.follow();
        }
        let known = self.retired.iter().position(|(tail, _)| tail.inode == own);
        let known = known.and_then(|index| self.retired.remove(index));
        self.retire();
        let before = self.place(None);
        self.tail = Some(match known {
            Some((tail, _)) => Tail { before, ..tail },
            None => Tail::new(file, (position, self.openings), before)?,
        });
        self.closed = None;
        self.openings += 1;
        self.rotated = None;
        Ok(())
    }

    /// Whether names have stopped changing, or have gone on for too long.
    fn rotation_is_over(&mut self) -> bool {
        self.has_waited() || generations::is_settled(&self.names)
    }

    /// Whether it has been waited long enough for a rotation to come to its end: there are directories in which names change
    /// all the time.
    fn has_waited(&mut self) -> bool {
        self.rotated.get_or_insert_with(Instant::now).elapsed() >= LONGEST_ROTATION
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::server::tail::{MAX_LINE, first_line_hash};

    fn from_the_start() -> Place {
        Place { position: 0, hash: String::new() }
    }

    struct Fixture {
        dir: tempfile::TempDir,
        log: LogFile,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let log = LogFile::new(dir.path().join("log"), from_the_start(), false);
            Self { dir, log }
        }

        fn append(&self, text: &str) {
            let path = self.dir.path().join("log");
            let mut file = File::options().append(true).create(true).open(path).expect("the log");
            file.write_all(text.as_bytes()).expect("a write");
        }

        fn rename(&self) {
            fs::rename(self.dir.path().join("log"), self.dir.path().join("log.1")).expect("a rename");
        }

        #[track_caller]
        fn expect(&mut self, lines: &[&str], progress: Progress) {
            let mut seen = Vec::new();
            let result = loop {
                let result = self.log.read_lines(&Encoding::default(), None, |line| {
                    seen.push(line.encoding.decode_line(line.bytes).0.into_owned());
                });
                match result {
                    Ok(Progress::Unsettled) => std::thread::sleep(Duration::from_millis(5)),
                    result => break result,
                }
            };
            assert_eq!(result.ok(), Some(progress));
            assert_eq!(seen, lines);
        }
    }

    #[test]
    fn a_file_that_is_closed_for_a_while_is_read_on() {
        let mut file = Fixture::new();
        file.append("one\ntw");
        file.expect(&["one"], Progress::End);
        file.log.close();
        file.expect(&[], Progress::End);
        assert_eq!((file.log.open_files(), file.log.place(None).position), (0, 4));
        file.append("o\n");
        file.expect(&["two"], Progress::End);
        file.log.close();
        // Emptied, and the same first line and more come.
        fs::write(file.dir.path().join("log"), "one\nnew\nmore\n").expect("a write");
        file.expect(&["one", "new", "more"], Progress::End);
        file.log.close();
        file.append("late\n");
        file.rename();
        file.append("next\n");
        file.expect(&["late", "next"], Progress::End);
    }

    #[test]
    fn lines_come_when_they_are_whole() {
        let mut file = Fixture::new();
        file.expect(&[], Progress::Missing);
        file.append("one\ntw");
        file.expect(&["one"], Progress::End);
        assert_eq!(file.log.place(None).position, 4);
        file.append("o\n\n");
        file.expect(&["two", ""], Progress::End);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
        let mut file = Fixture::new();
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        file.append("two\n");
        file.rename();
        file.expect(&["two"], Progress::Missing);
        file.append("three\n");
        file.expect(&["three"], Progress::End);
        assert_eq!(file.log.place(None).position, 6);
    }

    #[test]
    fn a_writer_that_has_not_noticed_the_rotation_is_heard() {
        let mut file = Fixture::new();
        file.append("one\n");
        let path = file.dir.path().join("log");
        let mut writer = File::options().append(true).open(path).expect("the log");
        file.expect(&["one"], Progress::End);
        file.rename();
        file.append("new\n");
        file.expect(&["new"], Progress::End);
        let since = |file: &Fixture| file.log.retired[0].1;
        let retired = since(&file);
        writer.write_all(b"late\n").expect("a write");
        file.expect(&["late"], Progress::End);
        assert_eq!(file.log.place(None).position, 4);
        // As long as it goes on.
        let heard = since(&file);
        assert!(heard > retired);
        file.append("newer\n");
        file.expect(&["newer"], Progress::End);
        assert_eq!(since(&file), heard);
    }

    /// As long as this two files are not told apart by their times.
    fn pass_time() {
        std::thread::sleep(Duration::from_millis(15));
    }

    #[test]
    fn generations_that_came_and_went_unseen_are_read_in_their_order() {
        let mut file = Fixture::new();
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        for (number, text) in ["two\n", "three\n", "four\n"].iter().enumerate() {
            pass_time();
            let name = format!("log.{}", 9 - number);
            fs::rename(file.dir.path().join("log"), file.dir.path().join(name)).expect("a rotation");
            file.append(text);
        }
        file.expect(&["two", "three", "four"], Progress::End);
    }

    #[test]
    fn a_copy_of_what_has_been_read_is_no_generation() {
        let mut file = Fixture::new();
        let path = |name: &str| file.dir.path().join(name);
        let (log, copy, old) = (path("log"), path("log.2"), path("log.1"));
        file.append("one\ntwo\n");
        file.expect(&["one", "two"], Progress::End);
        pass_time();
        fs::copy(&log, copy).expect("a copy");
        fs::write(&log, "six\n").expect("an emptied log");
        file.expect(&["six"], Progress::End);
        fs::rename(&log, old).expect("a rotation");
        pass_time();
        file.append("seven\n");
        file.expect(&["seven"], Progress::End);
    }

    #[test]
    fn the_first_line_may_be_that_of_another_generation() {
        let mut file = Fixture::new();
        file.append("\none\n");
        file.expect(&["", "one"], Progress::End);
        file.rename();
        pass_time();
        file.append("two\n");
        file.expect(&["two"], Progress::End);
        for (number, text) in [(2, "\nthree\n"), (3, "four\n")] {
            let to = file.dir.path().join(format!("log.{number}"));
            fs::rename(file.dir.path().join("log"), to).expect("a rotation");
            pass_time();
            file.append(text);
        }
        file.expect(&["", "three", "four"], Progress::End);
    }

    #[test]
    fn a_directory_that_never_comes_to_rest_holds_no_rotation_up() {
        let mut file = Fixture::new();
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        let (restless, (end, ended)) = (file.dir.path().join("other"), std::sync::mpsc::channel());
        let churn = std::thread::spawn(move || {
            let until = Instant::now() + LONGEST_ROTATION * 10;
            while ended.try_recv().is_err() {
                fs::write(&restless, "").expect("a file");
                fs::remove_file(&restless).expect("the file");
                if Instant::now() > until {
                    return false;
                }
            }
            true
        });
        file.rename();
        file.append("two\n");
        file.expect(&["two"], Progress::End);
        // The thread may be gone already.
        let _ = end.send(());
        assert!(
            churn.join().expect("a thread"),
            "the rotation was noticed when the directory had come to rest"
        );
    }

    #[test]
    fn reading_goes_on_in_a_file_that_was_renamed_while_nobody_read() {
        let mut file = Fixture::new();
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        let place = file.log.place(None);
        file.append("two\n");
        fs::rename(file.dir.path().join("log"), file.dir.path().join("log-20261125")).expect("a rotation");
        pass_time();
        file.append("three\n");
        file.log = LogFile::new(file.dir.path().join("log"), place, false);
        file.expect(&["two", "three"], Progress::End);
        // One that nobody knows of any more takes nothing with it.
        let place = Place { position: 4, hash: "0".repeat(40) };
        file.log = LogFile::new(file.dir.path().join("log"), place, false);
        file.expect(&["three"], Progress::End);
    }

    #[test]
    fn a_new_file_without_a_line_is_found_from_the_one_before() {
        let mut file = Fixture::new();
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        let place = file.log.place(None);
        file.rename();
        pass_time();
        file.append("tw");
        file.expect(&[], Progress::End);
        assert_eq!(file.log.place(None), place);
        file.append("o\n");
        file.expect(&["two"], Progress::End);
        assert_eq!(file.log.place(None).position, 4);
        assert_ne!(file.log.place(None).hash, place.hash);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let mut file = Fixture::new();
        let path = file.dir.path().join("log");
        let socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        assert!(first_line_hash(&path).is_err());
        assert!(file.log.read_lines(&Encoding::default(), None, |_| {}).is_err());
        drop(socket);
        fs::remove_file(&path).expect("the socket");
        fs::create_dir(&path).expect("a directory");
        let error = file.log.read_lines(&Encoding::default(), None, |_| {}).expect_err("a directory");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_truncated_file_is_read_from_its_start() {
        let mut file = Fixture::new();
        file.append("one\ntwo\n");
        file.expect(&["one", "two"], Progress::End);
        fs::write(file.dir.path().join("log"), "new\n").expect("a write");
        file.expect(&["new"], Progress::End);
    }

    #[test]
    fn a_file_that_was_emptied_and_has_grown_again_is_read_from_its_start() {
        let mut file = Fixture::new();
        file.append("one\ntw");
        file.expect(&["one"], Progress::End);
        fs::write(file.dir.path().join("log"), "six\n88").expect("a write");
        file.expect(&["six"], Progress::End);
        fs::write(file.dir.path().join("log"), "seven\neight\n").expect("a write");
        file.expect(&["seven", "eight"], Progress::End);
    }

    /// What a reader gets, up to a distance.
    fn read(log: &mut LogFile, distance: Option<u64>) -> (Vec<String>, Progress) {
        let mut seen = Vec::new();
        loop {
            let progress = log.read_lines(&Encoding::default(), distance, |line| {
                seen.push(line.encoding.decode_line(line.bytes).0.into_owned());
            });
            match progress.expect("a file") {
                Progress::More => {}
                progress => return (seen, progress),
            }
        }
    }

    #[test]
    fn readers_part_and_meet_again() {
        let mut file = Fixture::new();
        file.append("one\ntw");
        file.expect(&["one"], Progress::End);
        let mut behind = file.log.fork().expect("another reader");
        assert_eq!(behind.distance_to(&file.log), Some(0));
        file.append("o\nthree\nfo");
        file.expect(&["two", "three"], Progress::End);
        assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(10), None));
        file.append("ur\nfive\n");
        // One that is behind comes exactly to where the other one is, and the other one goes on.
        assert_eq!(read(&mut behind, Some(10)), (vec!["two".into(), "three".into()], Progress::Met));
        assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(0), Some(0)));
        file.expect(&["four", "five"], Progress::End);
        // Not over a rotation, until both have gone over it.
        file.rename();
        pass_time();
        file.append("six\n");
        file.expect(&["six"], Progress::End);
        assert_eq!(behind.distance_to(&file.log), None);
        let lines = ["four", "five", "six"].map(String::from).to_vec();
        assert_eq!(read(&mut behind, None), (lines, Progress::End));
        assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(0), Some(0)));
        // Who has begun in the new file may join those who read on in the old one, but not the other way round.
        let start = Place { position: 4, hash: first_line_hash(file.log.path()).expect("a hash") };
        let mut late = LogFile::new(file.log.path().into(), start, true);
        assert_eq!(read(&mut late, None), (vec![], Progress::End));
        assert_eq!((late.distance_to(&file.log), file.log.distance_to(&late)), (Some(0), None));
    }

    #[test]
    fn a_reader_that_parts_in_an_overlong_line_does_not_take_its_rest_for_a_line() {
        let mut file = Fixture::new();
        file.append(&"x".repeat(MAX_LINE + 200_000));
        let (first, _) = read(&mut file.log, None);
        assert_eq!(first.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE]);
        let mut other = file.log.fork().expect("another reader");
        assert_eq!(other.distance_to(&file.log), None);
        file.append("rest\nnext\n");
        assert_eq!(read(&mut other, None).0, ["next"]);
        assert_eq!(read(&mut file.log, None).0, ["next"]);
    }

    #[test]
    fn a_reader_that_parts_when_the_file_was_emptied_begins_anew() {
        let mut file = Fixture::new();
        file.append("one\ntwo\n");
        file.expect(&["one", "two"], Progress::End);
        fs::write(file.log.path(), "1234567\nnew\n").expect("a write");
        let mut other = file.log.fork().expect("another reader");
        assert_eq!(read(&mut other, None).0, ["1234567", "new"]);
        assert_eq!(read(&mut file.log, None).0, ["1234567", "new"]);
    }

    #[test]
    fn what_was_there_at_the_start_is_no_news() {
        let mut file = Fixture::new();
        file.append("old\n");
        let mut seen = Vec::new();
        file.log.read_lines(&Encoding::default(), None, |line| seen.push(line.is_news)).expect("lines");
        file.append("new\n");
        file.log.read_lines(&Encoding::default(), None, |line| seen.push(line.is_news)).expect("lines");
        assert_eq!(seen, [false, true]);
    }

    #[test]
    fn a_mark_at_the_start_counts_for_the_whole_file() {
        let file = Fixture::new();
        let path = file.dir.path().join("log");
        let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        fs::write(&path, bytes("\u{feff}one\n\u{0a0a}two\n")).expect("a write");
        let encoding = Encoding::parse("utf-16").expect("an encoding");
        // From its start, and from behind the first line.
        for (position, expected) in [(0, &["one", "\u{0a0a}two"][..]), (10, &["\u{0a0a}two"])] {
            let start = Place { position, hash: String::new() };
            let mut log = LogFile::new(path.clone(), start, false);
            let mut seen = Vec::new();
            log.read_lines(&encoding, None, |line| {
                seen.push(line.encoding.decode_line(line.bytes).0.into_owned())
            })
            .expect("lines");
            assert_eq!(seen, expected);
            assert_eq!(log.place(None).position, 20);
        }
    }

    #[test]
    fn the_hash_is_of_a_whole_first_line() {
        let file = Fixture::new();
        file.append("abc");
        let path = file.dir.path().join("log");
        assert_eq!(first_line_hash(&path).ok().as_deref(), Some(""));
        file.append("\n");
        assert_eq!(first_line_hash(&path).ok().as_deref(), Some("03cfd743661f07975fa2f1220c5194cbaff48451"));
    }
}
