//! A growing file, read line by line, whatever its owner does with it.
//!
//! The file stays open, so that a rotation by renaming loses nothing: the old file is read on for a while beside the new
//! one under the same name, until whoever wrote it has noticed. A file that got shorter is read from its start, and so is
//! one that was emptied and has grown as long again since: the last bytes read are no longer there. Where reading goes on
//! is the offset of the first byte that no whole line has covered yet.
//!
//! Upstream (`filter.FileContainer`) opens the file for each change, recognises it by inode, size and the hash of its
//! first line, and loses what was written around a rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use f2b_filter::Encoding;
use f2b_types::Number;
use nix::fcntl::OFlag;
use sha1::{Digest, Sha1};

use super::seek::{self, Sought};
use crate::line_buffer::LineBuffer;

/// Chunks after which the reader takes care of other files before it goes on with this one.
const BUDGET: usize = 16;

/// As many bytes before the place in the file tell whether it is still the same text.
const TRACE: usize = 64;

/// Bytes of a line that count.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Bytes of the longest byte order mark.
const LONGEST_MARK: usize = 4;

/// How long a file is read on that has lost its name.
const GRACE: Duration = Duration::from_secs(30);

/// A line as it stands in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawLine<'l> {
    pub(super) bytes: &'l [u8],
    /// What to read it by.
    pub(super) encoding: &'l Encoding,
    /// It was written since the end of the file was reached.
    pub(super) is_news: bool,
    /// Where it begins.
    pub(super) at: Place,
}

/// A place in one of the files that have had the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many files were opened before it.
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to read.
    More,
    /// Everything has been read.
    End,
    /// There is no such file at the moment.
    Missing,
}

/// A log file by its name, and the places in the files that have it and had it.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    tail: Option<Tail>,
    /// Where to begin in the file that is opened next.
    start: u64,
    /// Files that have lost the name, and when.
    retired: Vec<(Tail, Instant)>,
    /// How often a file has been opened under the name.
    openings: u64,
    /// The end has been reached once: what comes now is news.
    pub(super) in_operation: bool,
}

impl LogFile {
    /// The file at `path`, to be read from `start` on. `in_operation` where everything from there on is news.
    pub(super) fn new(path: PathBuf, start: u64, in_operation: bool) -> Self {
        Self { path, tail: None, start, retired: Vec::new(), openings: 0, in_operation }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where reading goes on after a restart: in the file that has the name, from `open` on if that is in it.
    pub(super) fn position(&self, open: Option<Place>) -> u64 {
        let Some(tail) = &self.tail else { return self.start };
        let open = open.filter(|open| open.file == tail.number).map(|open| open.offset);
        open.unwrap_or(u64::MAX).min(tail.position)
    }

    /// Changes whenever another file than before is read under the name.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Opens the file, if it isn't open yet; answers with its size, unless there is none.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read.
    pub(super) fn open(&mut self) -> io::Result<Option<u64>> {
        if self.tail.is_none() {
            self.tail = Tail::open(&self.path, self.start, self.openings)?;
            self.openings += u64::from(self.tail.is_some());
        }
        self.tail.as_ref().map(|tail| Ok(tail.file.metadata()?.len())).transpose()
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
        size: u64,
        wanted: f64,
        time_of: impl FnMut(&str) -> Option<Option<Number>>,
    ) -> io::Result<Option<Sought>> {
        let Some(tail) = &mut self.tail else { return Ok(None) };
        let encoding = tail.encoding(encoding)?;
        let sought = seek::seek_to_time(&tail.file, &encoding, (tail.position, size), wanted, time_of)?;
        tail.go_to(sought.position)?;
        Ok(Some(sought))
    }

    /// Hands out the whole lines that have come, up to a budget, oldest first.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read.
    pub(super) fn read_lines(
        &mut self,
        encoding: &Encoding,
        mut each: impl FnMut(RawLine<'_>),
    ) -> io::Result<Progress> {
        if self.drain_retired(encoding, &mut each)? == Progress::More {
            return Ok(Progress::More);
        }
        if let Some(tail) = &mut self.tail
            && tail.was_rewritten()?
        {
            tail.rewind()?;
        }
        for _ in 0..BUDGET {
            self.open()?;
            let Some(tail) = &mut self.tail else { return Ok(Progress::Missing) };
            if tail.fill()? > 0 {
                tail.hand_out(encoding, self.in_operation, &mut each)?;
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
        for (tail, _) in &mut self.retired {
            for round in 0.. {
                if tail.fill()? == 0 {
                    break;
                }
                tail.hand_out(encoding, true, each)?;
                if round == BUDGET {
                    return Ok(Progress::More);
                }
            }
        }
        self.retired.retain(|(_, since)| since.elapsed() < GRACE);
        Ok(Progress::End)
    }

    /// At the end of the file: whether it is still the one under its name, and still as long. `None` means to go on.
    fn look_behind(&mut self) -> io::Result<Option<Progress>> {
        let Some(tail) = &mut self.tail else { return Ok(None) };
        if tail.file.metadata()?.len() < tail.end() {
            tail.rewind()?;
            return Ok(None);
        }
        match fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == tail.inode => Ok(Some(Progress::End)),
            Ok(_) => {
                self.start = 0;
                self.retired.extend(self.tail.take().map(|tail| (tail, Instant::now())));
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Progress::Missing)),
            Err(error) => Err(error),
        }
    }
}

/// An open file and the place in it.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: (u64, u64),
    /// How many files were opened before.
    number: u64,
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
    /// Opens the file at `start`, or at its beginning where it isn't that long; `None` if there is none.
    fn open(path: &Path, start: u64, number: u64) -> io::Result<Option<Self>> {
        let mut file = match open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let position = if meta.len() < start { 0 } else { start };
        file.seek(SeekFrom::Start(position))?;
        let inode = (meta.dev(), meta.ino());
        Ok(Some(Self {
            file,
            inode,
            number,
            position,
            buffer: LineBuffer::new(MAX_LINE),
            head: Vec::new(),
            trace: Vec::new(),
        }))
    }

    /// Offset behind the last byte that has been read.
    fn end(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }

    /// Whether the bytes that were read last are no longer where they were.
    fn was_rewritten(&self) -> io::Result<bool> {
        let mut there = [0; TRACE];
        let there = &mut there[..self.trace.len()];
        match self.file.read_exact_at(there, self.end().saturating_sub(there.len() as u64)) {
            Ok(()) => Ok(*there != *self.trace),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Another text begins in the file.
    fn rewind(&mut self) -> io::Result<()> {
        self.head.clear();
        self.go_to(0)
    }

    /// Goes on reading elsewhere.
    fn go_to(&mut self, position: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(position))?;
        self.position = position;
        self.buffer.clear();
        self.trace.clear();
        Ok(())
    }

    /// The encoding to read the file by: its first bytes may tell the order of the others.
    fn encoding(&mut self, encoding: &Encoding) -> io::Result<Encoding> {
        if self.head.is_empty() && encoding.unit() > 1 {
            let mut head = [0; LONGEST_MARK];
            let count = self.file.read_at(&mut head, 0)?;
            self.head.extend_from_slice(&head[..count]);
        }
        Ok(encoding.clone().by_mark(&self.head))
    }

    /// Reads the next chunk behind what is in the buffer.
    fn fill(&mut self) -> io::Result<usize> {
        let count = self.buffer.fill(&mut self.file)?;
        if count > 0 {
            let bytes = self.buffer.bytes();
            self.trace.clear();
            self.trace.extend_from_slice(&bytes[bytes.len() - count.min(TRACE)..]);
        }
        Ok(count)
    }

    fn hand_out(
        &mut self,
        encoding: &Encoding,
        is_news: bool,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<()> {
        let encoding = self.encoding(encoding)?;
        let end = self.end();
        loop {
            let at = Place { file: self.number, offset: end - self.buffer.len() as u64 };
            let Some(bytes) = self.buffer.next_line(&encoding) else { break };
            each(RawLine { bytes, encoding: &encoding, is_news, at });
        }
        self.position = end - self.buffer.len() as u64;
        Ok(())
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
    let mut line = Vec::new();
    BufReader::new(open_regular(path)?).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") && !line.ends_with(b"\r") {
        return Ok(String::new());
    }
    Ok(Sha1::digest(&line).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        log: LogFile,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let log = LogFile::new(dir.path().join("log"), 0, false);
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
            let result = self.log.read_lines(&Encoding::default(), |line| {
                seen.push(line.encoding.decode_line(line.bytes).0.into_owned());
            });
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
        assert_eq!(file.log.position(None), 4);
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
        assert_eq!(file.log.position(None), 6);
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
        assert_eq!(file.log.position(None), 4);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let mut file = Fixture::new();
        let path = file.dir.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        assert!(first_line_hash(&path).is_err());
        assert!(file.log.read_lines(&Encoding::default(), |_| {}).is_err());
        fs::remove_file(&path).expect("the fifo");
        fs::create_dir(&path).expect("a directory");
        let error = file.log.read_lines(&Encoding::default(), |_| {}).expect_err("a directory");
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
        file.log.read_lines(&Encoding::default(), |line| seen.push(line.is_news)).expect("lines");
        file.append("new\n");
        file.log.read_lines(&Encoding::default(), |line| seen.push(line.is_news)).expect("lines");
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
        for (start, expected) in [(0, &["one", "\u{0a0a}two"][..]), (10, &["\u{0a0a}two"])] {
            let mut log = LogFile::new(path.clone(), start, false);
            let mut seen = Vec::new();
            log.read_lines(&encoding, |line| seen.push(line.encoding.decode_line(line.bytes).0.into_owned()))
                .expect("lines");
            assert_eq!(seen, expected);
            assert_eq!(log.position(None), 20);
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
