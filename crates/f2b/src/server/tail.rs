//! An open file and the place in it, and what tells one file from another of the same name.
//!
//! A file is told by its first line, as upstream tells it, and while it is being read by the bytes before the place: where
//! these are no longer there, it has been emptied. What is behind the place may still change, as long as no line end has come.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use f2b_filter::Encoding;
use nix::fcntl::OFlag;

use super::fifo;
use super::first_line::FirstLine;
use super::generations::{Inode, inode};
use super::seek::At;
use crate::line_buffer::LineBuffer;

/// As many bytes before the place in the file tell whether it is still the same text.
pub(super) const TRACE: usize = 64;

/// As many bytes of a line that is not finished are compared whenever more of it comes.
const COMPARED: usize = 64 << 10;

/// Bytes of a line that count.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Bytes of the longest byte order mark.
const LONGEST_MARK: usize = 4;

/// A line as it stands in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawLine<'l> {
    pub(super) bytes: &'l [u8],
    /// What to read it by.
    pub(super) encoding: &'l Encoding,
    /// It was written since the end of the file was reached.
    pub(super) is_news: bool,
    /// Where it begins, if that is a place in the log at which reading can go on.
    pub(super) start: Option<LineStart<'l>>,
}

/// Where a line begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineStart<'l> {
    /// The hash of the first line of its file.
    hash: &'l str,
    position: u64,
    /// The file had lost its name when it was read up to here.
    pub(super) is_late: bool,
}

impl LineStart<'_> {
    /// The same of a file that has lost its name.
    pub(super) fn late(self) -> Self {
        Self { is_late: true, ..self }
    }

    pub(super) fn place(self) -> Place {
        Place { position: self.position, hash: self.hash.into() }
    }
}

/// How far a log has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset of the first byte that has not been handed out.
    pub(super) position: u64,
    /// The hash of the first line of the file that this is an offset in; empty if it had none.
    pub(super) hash: String,
}

/// What was read of a file that has been emptied since.
#[derive(Debug, Clone)]
pub(super) struct Emptied {
    pub(super) hash: String,
    /// Offset behind the last byte that was read, and the last bytes before.
    pub(super) end: u64,
    pub(super) trace: Vec<u8>,
}

impl Emptied {
    /// What is in a file.
    fn of(file: &File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        let length = end.min(TRACE as u64);
        let mut trace = vec![0; length as usize];
        file.read_exact_at(&mut trace, end - length)?;
        Ok(Self { hash: first_line_hash_of(file)?, end, trace })
    }

    /// Whether the file has it: a copy was made before. The first line alone does not tell, it may be empty in many files, and
    /// it may not have been read to its end.
    pub(super) fn is_in(&self, file: &File) -> bool {
        let mut there = vec![0; self.trace.len()];
        let at = self.end.saturating_sub(there.len() as u64);
        !there.is_empty()
            && (self.hash.is_empty() || first_line_hash_of(file).is_ok_and(|hash| hash == self.hash))
            && file.read_exact_at(&mut there, at).is_ok()
            && there == self.trace
    }
}

/// What is left in a file of what was read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Everything.
    All,
    /// The lines that were handed out, but the unfinished one behind them has been overwritten or cut off.
    Lines,
    /// There is something else.
    Nothing,
    /// It ends before.
    Less,
}

/// What has come in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The next chunk.
    More,
    /// Nothing.
    End,
    /// What was read last is not there any more; what is there now has not been read.
    Emptied,
}

/// A file that is not open for a while, and the place in it.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) inode: Inode,
    pub(super) position: u64,
    trace: Vec<u8>,
    pub(super) read: Emptied,
    /// What was in it before, as in [`Tail`].
    pub(super) emptied: Option<Emptied>,
}

/// An open file and the place in it.
#[derive(Debug)]
pub(super) struct Tail {
    /// Shared by those who read it from different places.
    pub(super) file: Rc<File>,
    pub(super) inode: Inode,
    /// How many files were opened before, or texts begun in them.
    pub(super) number: u64,
    pub(super) first_line: FirstLine,
    /// Where reading was before: in the file before this one, or in this one before it was emptied.
    pub(super) before: Place,
    /// What was in it before it was emptied.
    pub(super) emptied: Option<Emptied>,
    /// Offset of the first byte that has not been handed out.
    pub(super) position: u64,
    /// Bytes from `position` on that have been read.
    pub(super) buffer: LineBuffer,
    /// The first bytes of the file, which may tell the order of the others.
    pub(super) head: Vec<u8>,
    /// The last bytes before the place.
    pub(super) trace: Vec<u8>,
    /// When it had the name of the log at the last look.
    pub(super) had_name: Option<SystemTime>,
    /// If nothing has been read, since when that may be for another reason than that nothing was written.
    pub(super) unread: Option<SystemTime>,
}

impl Tail {
    /// Goes to `start`, or to the beginning where the file isn't that long.
    pub(super) fn new(file: File, (start, number): (u64, u64), before: Place) -> io::Result<Self> {
        let meta = file.metadata()?;
        let position = if meta.len() < start { 0 } else { start };
        let mut tail = Self {
            first_line: FirstLine::of(&file)?,
            before,
            emptied: None,
            inode: inode(&meta),
            number,
            file: file.into(),
            position: 0,
            buffer: LineBuffer::new(MAX_LINE),
            head: Vec::new(),
            trace: Vec::new(),
            had_name: None,
            // Before the first one nothing was read: what was written a moment ago is none of a copy.
            unread: if number == 0 { Some(SystemTime::now()) } else { a_moment_ago() },
        };
        tail.go_to(position)?;
        Ok(tail)
    }

    /// Another reader of the same file from the same place.
    pub(super) fn fork(&self) -> Self {
        Self {
            file: Rc::clone(&self.file),
            inode: self.inode,
            number: self.number,
            first_line: self.first_line.clone(),
            before: self.before.clone(),
            emptied: self.emptied.clone(),
            position: self.position,
            // Without anything before it, only that tells whether it is the same text.
            buffer: if self.position == 0 { self.buffer.clone() } else { self.buffer.fork() },
            head: self.head.clone(),
            trace: self.trace.clone(),
            had_name: self.had_name,
            unread: self.unread,
        }
    }

    /// Whether what another file holds is in this one, which it is a copy of then.
    pub(super) fn holds(&self, copy: &File) -> bool {
        Emptied::of(copy).is_ok_and(|copy| copy.is_in(&self.file))
    }

    /// Whether it is this file, or a copy of what was in it before it was emptied.
    pub(super) fn is_of(&self, file: &File) -> bool {
        let is_this = file.metadata().is_ok_and(|meta| inode(&meta) == self.inode);
        is_this || self.emptied.as_ref().is_some_and(|emptied| emptied.is_in(file))
    }

    /// Whether another file, of which the first bytes have been read, is a copy of what it holds, or held.
    pub(super) fn is_copied_in(&self, other: &Self) -> bool {
        let mut beginning = vec![0; other.buffer.bytes().len()];
        let is_like = self.file.read_exact_at(&mut beginning, 0).is_ok() && beginning == other.buffer.bytes();
        is_like || self.read().is_in(&other.file) || self.is_of(&other.file)
    }

    /// The hash of its first line, as far as that was there when it was looked for.
    pub(super) fn hash(&self) -> &str {
        self.first_line.hash()
    }

    /// Whether its first line is there: before, nothing tells a file from others.
    pub(super) fn has_begun(&self) -> bool {
        self.position > 0 || !self.hash().is_empty()
    }

    /// How far reading has come.
    pub(super) fn place(&self) -> Place {
        if self.has_begun() {
            Place { position: self.position, hash: self.hash().into() }
        } else {
            self.before.clone()
        }
    }

    /// Offset behind the last byte that has been read.
    pub(super) fn end(&self) -> u64 {
        self.position + self.buffer.unread()
    }

    /// Whether what has been read is still in the file.
    pub(super) fn is_unchanged(&self) -> bool {
        self.left(0).is_ok_and(|left| left == Left::All)
    }

    /// What is left of what was read before so many bytes came.
    fn left(&self, new: usize) -> io::Result<Left> {
        match self.has(&self.trace, self.position - self.trace.len() as u64)? {
            Some(true) => {}
            Some(false) => return Ok(Left::Nothing),
            None => return Ok(Left::Less),
        }
        let bytes = self.buffer.bytes();
        let (unfinished, hole) = (&bytes[..bytes.len() - new], self.buffer.hole());
        let zeros = &[0; TRACE][..usize::try_from(hole).map_or(TRACE, |hole| hole.min(TRACE))];
        let is_left = match (unfinished.len() <= COMPARED || new == 0, unfinished.len().saturating_sub(TRACE))
        {
            (true, _) => self.has(unfinished, self.position + hole)?,
            // It may go on in many small pieces.
            (false, last) => self.has(&unfinished[last..], self.position + hole + last as u64)?,
        };
        Ok(match self.has(zeros, self.position)?.zip(is_left) {
            Some((true, true)) => Left::All,
            _ if self.position > 0 => Left::Lines,
            Some(_) => Left::Nothing,
            None => Left::Less,
        })
    }

    /// Where the lines begin that are no longer what they were, if all that is known of those before them is left: some write the
    /// end of a list, a line of its own, and put the next one in its place.
    fn changed_line(&self) -> io::Result<Option<u64>> {
        // Half a character may look like a line end.
        if self.trace.len() < TRACE || !self.head.is_empty() {
            return Ok(None);
        }
        let (start, mut there) = (self.position - TRACE as u64, [0; TRACE]);
        let count = self.file.read_at(&mut there, start)?;
        let left = there[..count].iter().zip(&self.trace).take_while(|(is, was)| is == was).count();
        let end = memchr::memrchr(b'\n', &there[..left]).filter(|_| left >= TRACE / 2);
        Ok(end.map(|end| start + end as u64 + 1))
    }

    /// Goes on where it was in what was there before it was emptied, which has come back.
    pub(super) fn go_back(&mut self) -> io::Result<()> {
        self.first_line = FirstLine::of(&self.file)?;
        self.emptied = None;
        self.go_to(self.before.position)
    }

    /// Whether the file has these bytes there; `None` if it ends before.
    fn has(&self, bytes: &[u8], mut at: u64) -> io::Result<Option<bool>> {
        let mut room = [0; 1024];
        for part in bytes.chunks(room.len()) {
            let there = &mut room[..part.len()];
            match self.file.read_exact_at(there, at) {
                Ok(()) if there == part => at += part.len() as u64,
                Ok(()) => return Ok(Some(false)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(true))
    }

    /// It has been seen under the name of the log.
    pub(super) fn saw_name(&mut self) {
        self.had_name = a_moment_ago();
    }

    /// Whether somebody has written to the file since.
    pub(super) fn was_written_since(&self, since: SystemTime) -> bool {
        let modified = self.file.metadata().and_then(|meta| meta.modified());
        modified.is_ok_and(|modified| modified > since)
    }

    /// Another text begins in the file, which is another one from now on.
    pub(super) fn rewind(&mut self, number: u64) -> io::Result<()> {
        self.before = self.place();
        self.number = number;
        self.emptied = Some(self.read());
        (self.first_line, self.trace) = (FirstLine::default(), Vec::new());
        self.head.clear();
        // It may have been emptied more than once.
        self.unread = self.had_name.or_else(a_moment_ago);
        self.go_to(0)
    }

    /// Closes the file.
    pub(super) fn close(self) -> Closed {
        let read = self.read();
        Closed { inode: self.inode, position: self.position, trace: self.trace, read, emptied: self.emptied }
    }

    /// Goes on where reading was when the file was closed. If what had been read is not in it any more, this is found when it is
    /// read.
    pub(super) fn resume(mut self, closed: Closed) -> io::Result<Self> {
        let Closed { position, trace, read, emptied, .. } = closed;
        self.emptied = emptied;
        if read.trace.is_empty() || read.is_in(&self.file) {
            self.go_to(position)?;
        } else {
            self.first_line = FirstLine::known(read.hash);
            (self.position, self.trace, self.unread) = (position, trace, None);
            if self.trace.is_empty() {
                self.rewind(self.number)?;
            }
        }
        Ok(self)
    }

    /// What has been read.
    pub(super) fn read(&self) -> Emptied {
        let unfinished = self.buffer.bytes();
        let mut trace = self.trace.clone();
        trace.extend([0; TRACE].iter().take(usize::try_from(self.buffer.hole()).unwrap_or(TRACE)));
        trace.extend_from_slice(&unfinished[unfinished.len().saturating_sub(TRACE)..]);
        trace.drain(..trace.len().saturating_sub(TRACE));
        Emptied { hash: self.hash().into(), end: self.end(), trace }
    }

    /// Goes on reading elsewhere.
    pub(super) fn go_to(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        self.unread = self.unread.filter(|_| position == 0);
        self.buffer.clear();
        self.trace_back()
    }

    /// Takes note of what is before the place in the file.
    pub(super) fn trace_back(&mut self) -> io::Result<()> {
        let length = self.position.min(TRACE as u64);
        self.trace.resize(length as usize, 0);
        self.file.read_exact_at(&mut self.trace, self.position - length)
    }

    /// The encoding to read the file by: its first bytes may tell the order of the others.
    pub(super) fn encoding(&mut self, encoding: &Encoding) -> io::Result<Encoding> {
        if self.head.is_empty() && encoding.unit() > 1 {
            let mut head = [0; LONGEST_MARK];
            let count = self.file.read_at(&mut head, 0)?;
            self.head.extend_from_slice(&head[..count]);
        }
        Ok(encoding.clone().by_mark(&self.head))
    }

    /// Reads the next chunk behind what is in the buffer, up to a limit in the file unless a line goes beyond it. A file that was
    /// emptied may have grown since somebody looked: then these bytes are from its middle. What it holds behind the last line
    /// may be written anew, as by somebody who puts lines in place of zeros.
    pub(super) fn fill(&mut self, limit: Option<u64>) -> io::Result<Filled> {
        for _ in 0..2 {
            let end = self.end();
            let room =
                limit.and_then(|limit| limit.checked_sub(end)).filter(|room| *room > 0).unwrap_or(u64::MAX);
            let count = self.buffer.fill(&mut At { file: &self.file, at: end }.take(room))?;
            match (count, self.left(count)?) {
                (0, Left::All) => return Ok(Filled::End),
                (_, Left::Nothing) | (0, Left::Less) => {
                    self.buffer.take_back(count);
                    match self.changed_line()? {
                        Some(position) => self.go_to(position)?,
                        None => return Ok(Filled::Emptied),
                    }
                }
                (_, Left::Lines) => self.buffer = self.buffer.fork(),
                // If it is emptied at this moment, it was not before.
                (_, Left::All | Left::Less) => {
                    self.unread = None;
                    self.first_line.read_on(&self.file)?;
                    return Ok(Filled::More);
                }
            }
        }
        Ok(Filled::End)
    }

    pub(super) fn hand_out(
        &mut self,
        encoding: &Encoding,
        is_news: bool,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<()> {
        let encoding = self.encoding(encoding)?;
        let (end, had_hole) = (self.end(), self.buffer.hole() > 0);
        loop {
            let position = end - self.buffer.unread();
            let Some(bytes) = self.buffer.next_line(&encoding) else { break };
            let start = LineStart { hash: self.first_line.hash(), position, is_late: false };
            each(RawLine { bytes, encoding: &encoding, is_news, start: Some(start) });
        }
        self.position = end - self.buffer.unread();
        if had_hole || self.buffer.hole() > 0 {
            // What stands there is not kept.
            return self.trace_back();
        }
        self.trace.extend_from_slice(self.buffer.before(TRACE));
        self.trace.drain(..self.trace.len().saturating_sub(TRACE));
        Ok(())
    }
}

/// Now, or a little earlier: the times of files are not as fine as the clock.
pub(super) fn a_moment_ago() -> Option<SystemTime> {
    SystemTime::now().checked_sub(Duration::from_millis(10))
}

pub(super) fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match open_regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file to read, and nothing else: to open a FIFO like this would wait for somebody who writes, and every jail with it.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let check = |meta: fs::Metadata| match meta.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(io::Error::from_raw_os_error(nix::errno::Errno::EISDIR as i32)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    };
    // Not even for a moment: a writer would take us for a reader.
    check(fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// What tells one generation of a file from the next: the SHA-1 of its first line, empty while there is no whole line.
///
/// # Errors
///
/// The file can't be read, or is neither a regular file nor a FIFO.
pub(super) fn first_line_hash(path: &Path) -> io::Result<String> {
    if fifo::is_fifo(path) { Ok(String::new()) } else { first_line_hash_of(&open_regular(path)?) }
}

/// The same of a file that is open.
pub(super) fn first_line_hash_of(file: &File) -> io::Result<String> {
    Ok(FirstLine::of(file)?.hash().into())
}
