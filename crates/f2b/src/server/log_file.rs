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
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use f2b_filter::Encoding;
use nix::fcntl::OFlag;
use sha1::{Digest, Sha1};

use super::generations::{self, Inode, Looked, inode};
use crate::line_buffer::LineBuffer;

/// Chunks after which the reader takes care of other files before it goes on with this one.
const BUDGET: usize = 16;

/// As many bytes before the place in the file tell whether it is still the same text.
const TRACE: usize = 64;

/// Bytes of a line that count.
const MAX_LINE: usize = 1 << 20;

/// Bytes of the longest byte order mark.
const LONGEST_MARK: usize = 4;

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
}

/// How far a log has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the first byte that has not been handed out.
    pub(super) position: u64,
    /// The hash of the first line of the file that this is an offset in; empty if it had none.
    pub(super) hash: String,
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
    path: PathBuf,
    tail: Option<Tail>,
    /// Where to begin in the file that is opened first.
    start: Place,
    /// Files that have lost the name and have been read, and since when.
    retired: VecDeque<(Tail, Instant)>,
    /// Since when the file under the name has been another one.
    rotated: Option<Instant>,
    /// What the file under the name looked like when it was read to its end.
    looks: Option<Looks>,
    /// How often a file has been opened under the name.
    openings: u64,
    /// The end has been reached once: what comes now is news.
    pub(super) in_operation: bool,
}

impl LogFile {
    /// The file at `path`, to be read from `start` on. `in_operation` where everything from there on is news.
    pub(super) fn new(path: PathBuf, start: Place, in_operation: bool) -> Self {
        Self {
            path,
            tail: None,
            start,
            retired: VecDeque::new(),
            rotated: None,
            looks: None,
            openings: 0,
            in_operation,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where reading goes on after a restart.
    pub(super) fn place(&self) -> Place {
        self.tail.as_ref().map_or_else(|| self.start.clone(), Tail::place)
    }

    /// Changes whenever another file than before is read under the name.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Hands out the whole lines that have come, up to a budget, each with the encoding to read it by and whether it is news.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read.
    pub(super) fn read_lines(
        &mut self,
        encoding: &Encoding,
        mut each: impl FnMut(&[u8], &Encoding, bool),
    ) -> io::Result<Progress> {
        // From before the reading, so that whatever is written meanwhile makes a difference.
        let looks = Looks::of(&self.path);
        if looks.is_some() && looks == self.looks && self.retired.is_empty() {
            return Ok(Progress::End);
        }
        self.looks = None;
        let progress = self.read_on(encoding, &mut each)?;
        if progress == Progress::End {
            self.looks = looks;
        }
        Ok(progress)
    }

    fn read_on(
        &mut self,
        encoding: &Encoding,
        each: &mut impl FnMut(&[u8], &Encoding, bool),
    ) -> io::Result<Progress> {
        if self.drain_retired(encoding, each)? == Progress::More {
            return Ok(Progress::More);
        }
        if let Some(tail) = &mut self.tail
            && tail.was_rewritten(tail.end())? != Some(false)
        {
            tail.rewind(tail.end())?;
        }
        for _ in 0..BUDGET {
            if self.tail.is_none()
                && let Some(progress) = self.open_first()?
            {
                return Ok(progress);
            }
            let Some(tail) = &mut self.tail else { return Ok(Progress::Missing) };
            if tail.fill()? > 0 {
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
        each: &mut impl FnMut(&[u8], &Encoding, bool),
    ) -> io::Result<Progress> {
        for (tail, _) in &mut self.retired {
            for round in 0.. {
                if tail.fill()? == 0 {
                    break;
                }
                tail.hand_out(encoding, self.in_operation, each)?;
                if round == BUDGET {
                    return Ok(Progress::More);
                }
            }
        }
        self.retired.retain(|(_, since)| since.elapsed() < GRACE);
        Ok(Progress::End)
    }

    /// Opens the file where reading was left before the start: if another one has the name by now, the old one is read on
    /// first.
    fn open_first(&mut self) -> io::Result<Option<Progress>> {
        let Some(file) = open_if_there(&self.path)? else { return Ok(Some(Progress::Missing)) };
        let Place { position, hash } = self.start.clone();
        if hash.is_empty() || first_line_hash_of(&file)? == hash {
            self.begin(file, position)?;
            return Ok(None);
        }
        if !self.rotation_is_over() {
            return Ok(Some(Progress::Unsettled));
        }
        let Looked { found, is_sure } = generations::with_hash(&self.path, &hash, position);
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
            tail.rewind(tail.end())?;
            return Ok(None);
        }
        let is_tail = |meta: io::Result<Metadata>| meta.is_ok_and(|meta| inode(&meta) == tail.inode);
        if is_tail(fs::metadata(&self.path)) {
            self.rotated = None;
            return Ok(Some(Progress::End));
        }
        let named = open_if_there(&self.path)?;
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
        let Looked { found, is_sure } = generations::next(&self.path, &tail.file, is_known);
        let place = tail.place();
        if !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        let Some(next) = found.or(named) else { return Ok(Some(Progress::Missing)) };
        self.start = place;
        self.retired.extend(self.tail.take().map(|tail| (tail, Instant::now())));
        if self.retired.len() > MAX_RETIRED {
            self.retired.pop_front();
        }
        self.begin(next, 0)?;
        Ok(None)
    }

    fn begin(&mut self, file: File, position: u64) -> io::Result<()> {
        self.tail = Some(Tail::new(file, position, self.place())?);
        self.openings += 1;
        self.rotated = None;
        Ok(())
    }

    /// Whether names have stopped changing, or have gone on for too long.
    fn rotation_is_over(&mut self) -> bool {
        self.has_waited() || generations::is_settled(&self.path)
    }

    /// Whether it has been waited long enough for a rotation to come to its end: there are directories in which names change
    /// all the time.
    fn has_waited(&mut self) -> bool {
        self.rotated.get_or_insert_with(Instant::now).elapsed() >= LONGEST_ROTATION
    }
}

/// An open file and the place in it.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: Inode,
    /// The hash of its first line, as long as that was there when it was looked for.
    hash: String,
    /// Where reading was before: in the file before this one, or in this one before it was emptied.
    before: Place,
    /// What was read last before it was emptied, and where that ended.
    emptied: Option<(u64, Vec<u8>)>,
    /// Offset of the first byte that has not been handed out.
    position: u64,
    /// Bytes from `position` on that have been read.
    buffer: LineBuffer,
    /// The first bytes of the file, which may tell the order of the others.
    head: Vec<u8>,
    /// The last bytes that have been read.
    trace: Vec<u8>,
}

impl Tail {
    /// Goes to `start`, or to the beginning where the file isn't that long.
    fn new(mut file: File, start: u64, before: Place) -> io::Result<Self> {
        let meta = file.metadata()?;
        let position = if meta.len() < start { 0 } else { start };
        file.seek(SeekFrom::Start(position))?;
        let length = position.min(TRACE as u64);
        let mut trace = vec![0; length as usize];
        file.read_exact_at(&mut trace, position - length)?;
        Ok(Self {
            hash: first_line_hash_of(&file)?,
            before,
            emptied: None,
            inode: inode(&meta),
            file,
            position,
            buffer: LineBuffer::new(MAX_LINE),
            head: Vec::new(),
            trace,
        })
    }

    /// Whether it is this file, or a copy of what was in it before it was emptied.
    fn is_of(&self, file: &File) -> bool {
        let is_this = file.metadata().is_ok_and(|meta| inode(&meta) == self.inode);
        let is_copy =
            |(end, trace): &(u64, Vec<u8>)| is_there(trace, file, *end).is_ok_and(|is| is == Some(true));
        is_this || self.emptied.as_ref().is_some_and(is_copy)
    }

    /// How far reading has come. Before its first line is there, nothing tells a file from others; but the way leads to it
    /// from where reading was before.
    fn place(&self) -> Place {
        if self.position == 0 && self.hash.is_empty() {
            return self.before.clone();
        }
        Place { position: self.position, hash: self.hash.clone() }
    }

    /// Offset behind the last byte that has been read.
    fn end(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }

    /// Whether the bytes that were read last are no longer where they were; `None` if the file does not get there.
    fn was_rewritten(&self, end: u64) -> io::Result<Option<bool>> {
        Ok(is_there(&self.trace, &self.file, end)?.map(|is_there| !is_there))
    }

    /// Begins anew, once it has been emptied; `end` is where what was read before ended.
    fn rewind(&mut self, end: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.before = self.place();
        if !self.trace.is_empty() {
            self.emptied = Some((end, std::mem::take(&mut self.trace)));
        }
        self.position = 0;
        self.buffer.clear();
        self.hash.clear();
        self.head.clear();
        self.trace.clear();
        Ok(())
    }

    /// Reads the next chunk behind what is in the buffer.
    fn fill(&mut self) -> io::Result<usize> {
        let end = self.end();
        let mut count = self.buffer.fill(&mut self.file)?;
        if count > 0 && self.was_rewritten(end)? == Some(true) {
            // It was emptied and has grown since somebody looked: these bytes are from its middle.
            self.rewind(end)?;
            count = self.buffer.fill(&mut self.file)?;
        }
        if count > 0 {
            if self.hash.is_empty() {
                self.hash = first_line_hash_of(&self.file)?;
            }
            let bytes = self.buffer.bytes();
            self.trace.clear();
            self.trace.extend_from_slice(&bytes[bytes.len() - count.min(TRACE)..]);
        }
        Ok(count)
    }

    fn hand_out(
        &mut self,
        encoding: &Encoding,
        news: bool,
        each: &mut impl FnMut(&[u8], &Encoding, bool),
    ) -> io::Result<()> {
        if self.head.is_empty() && encoding.unit() > 1 {
            let mut head = [0; LONGEST_MARK];
            let count = self.file.read_at(&mut head, 0)?;
            self.head.extend_from_slice(&head[..count]);
        }
        let encoding = encoding.clone().by_mark(&self.head);
        let before = self.buffer.len();
        while let Some(line) = self.buffer.next_line(&encoding) {
            each(line, &encoding, news);
        }
        self.position += (before - self.buffer.len()) as u64;
        Ok(())
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match open_regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file has these bytes up to that offset; `None` if it does not get there.
fn is_there(trace: &[u8], file: &File, end: u64) -> io::Result<Option<bool>> {
    let mut there = [0; TRACE];
    let there = &mut there[..trace.len()];
    match file.read_exact_at(there, end.saturating_sub(there.len() as u64)) {
        Ok(()) => Ok(Some(*there == *trace)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file to read, and nothing else: to open a FIFO would wait for somebody who writes, and every jail with it.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(nix::errno::Errno::EISDIR as i32));
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// What tells one generation of a file from the next: the SHA-1 of its first line, empty while there is no whole line.
///
/// # Errors
///
/// The file can't be read, or is no regular file.
pub(super) fn first_line_hash(path: &Path) -> io::Result<String> {
    first_line_hash_of(&open_regular(path)?)
}

/// The same of a file that is open, wherever it is being read.
pub(super) fn first_line_hash_of(file: &File) -> io::Result<String> {
    let (mut line, mut part) = (Vec::new(), [0; 512]);
    while line.len() < MAX_LINE {
        let count = file.read_at(&mut part, line.len() as u64)?;
        let Some(end) = memchr::memchr(b'\n', &part[..count]) else {
            line.extend_from_slice(&part[..count]);
            if count == 0 {
                break;
            }
            continue;
        };
        line.extend_from_slice(&part[..=end]);
        break;
    }
    if !line.ends_with(b"\n") && !line.ends_with(b"\r") {
        return Ok(String::new());
    }
    Ok(Sha1::digest(&line).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

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
                let result = self.log.read_lines(&Encoding::default(), |line, encoding, _| {
                    seen.push(encoding.decode_line(line).0.into_owned());
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
    fn lines_come_when_they_are_whole() {
        let mut file = Fixture::new();
        file.expect(&[], Progress::Missing);
        file.append("one\ntw");
        file.expect(&["one"], Progress::End);
        assert_eq!(file.log.place().position, 4);
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
        assert_eq!(file.log.place().position, 6);
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
        writer.write_all(b"late\n").expect("a write");
        file.expect(&["late"], Progress::End);
        assert_eq!(file.log.place().position, 4);
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
        let place = file.log.place();
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
        let place = file.log.place();
        file.rename();
        pass_time();
        file.append("tw");
        file.expect(&[], Progress::End);
        assert_eq!(file.log.place(), place);
        file.append("o\n");
        file.expect(&["two"], Progress::End);
        assert_eq!(file.log.place().position, 4);
        assert_ne!(file.log.place().hash, place.hash);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let mut file = Fixture::new();
        let path = file.dir.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        assert!(first_line_hash(&path).is_err());
        assert!(file.log.read_lines(&Encoding::default(), |_, _, _| {}).is_err());
        fs::remove_file(&path).expect("the fifo");
        fs::create_dir(&path).expect("a directory");
        let error = file.log.read_lines(&Encoding::default(), |_, _, _| {}).expect_err("a directory");
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

    #[test]
    fn what_was_there_at_the_start_is_no_news() {
        let mut file = Fixture::new();
        file.append("old\n");
        let mut seen = Vec::new();
        file.log.read_lines(&Encoding::default(), |_, _, news| seen.push(news)).expect("lines");
        file.append("new\n");
        file.log.read_lines(&Encoding::default(), |_, _, news| seen.push(news)).expect("lines");
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
            log.read_lines(&encoding, |line, encoding, _| {
                seen.push(encoding.decode_line(line).0.into_owned())
            })
            .expect("lines");
            assert_eq!(seen, expected);
            assert_eq!(log.place().position, 20);
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
