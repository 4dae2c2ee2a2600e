//! The lines to try: of a file, or given on the command line.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use f2b_filter::Encoding;
use f2b_journal::EntryLine;
use f2b_types::{Level, Record};

use super::packed;
use crate::line_buffer::LineBuffer;
use crate::logging::of_invalid_bytes;

/// A line, or an entry of the journal, which knows its date.
#[derive(Debug)]
pub(super) enum Line<'a> {
    Text(&'a str),
    Entry(&'a EntryLine),
}

impl Line<'_> {
    /// All of it.
    pub(super) fn whole(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => (*text).into(),
            Self::Entry(entry) => entry.parts().concat().into(),
        }
    }

    /// What is searched.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Entry(entry) => &entry.text,
        }
    }
}

/// Bytes of a line that count: more than in a server, since somebody may want to know.
const MAX_LINE: usize = 16 << 20;

/// The complete lines of a file; a last line without its end is left out, since it is still being written. Compressed
/// files and standard input are at their end when they end.
pub(super) struct FileLines {
    reader: Box<dyn Read>,
    /// A last line without its end counts.
    is_final: bool,
    encoding: Encoding,
    buffer: LineBuffer,
    at_end: bool,
    path: PathBuf,
    /// What is said of a line that is not in the encoding: once, unless somebody wants to know everything.
    records: Option<[Record; 2]>,
    warned: bool,
    log_level: Level,
    /// Bytes handed out so far, and those of the whole file where that is known.
    read: u64,
    size: Option<u64>,
}

impl FileLines {
    pub(super) fn open(path: &Path, encoding: Encoding) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata().map(|meta| meta.len()).ok();
        let (reader, is_packed) = packed::unpacked(file)?;
        let lines = Self::new(reader, is_packed, path, encoding);
        Ok(Self { size: size.filter(|_| !is_packed), ..lines })
    }

    /// Those of standard input.
    pub(super) fn standard_input(encoding: Encoding) -> io::Result<Self> {
        let (reader, _) = packed::unpacked(io::stdin())?;
        Ok(Self::new(reader, true, Path::new("-"), encoding))
    }

    fn new(reader: Box<dyn Read>, is_final: bool, path: &Path, encoding: Encoding) -> Self {
        Self {
            reader,
            is_final,
            encoding,
            buffer: LineBuffer::new(MAX_LINE),
            at_end: false,
            path: path.into(),
            records: None,
            warned: false,
            log_level: Level::WARNING,
            read: 0,
            size: None,
        }
    }

    /// How many bytes have been handed out, and how many there are if that is known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        (self.read, self.size)
    }

    /// From which level on messages are wanted.
    pub(super) fn set_log_level(&mut self, level: Level) {
        self.log_level = level;
    }

    /// What there is to say of the last line.
    pub(super) fn take_records(&mut self) -> Option<[Record; 2]> {
        self.records.take()
    }

    /// The next line without its end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let (before, known) = (self.buffer.len(), self.read);
            let line = match self.buffer.next_line(&self.encoding) {
                None if self.at_end && self.is_final => self.buffer.last_line(),
                line => line,
            };
            if let Some(line) = line {
                let (text, is_valid) = self.encoding.decode_line(line);
                if !is_valid && (!self.warned || self.log_level <= Level::TRACEDEBUG) {
                    let (path, name, is_first) = (&self.path, self.encoding.name(), !self.warned);
                    self.warned = true;
                    self.records = Some(of_invalid_bytes(line, path, name, is_first));
                }
                let text = text.into_owned();
                self.read = known + (before - self.buffer.len()) as u64;
                return Ok(Some(text));
            }
            if self.at_end {
                return Ok(None);
            }
            self.read = known + (before - self.buffer.len()) as u64;
            let is_start = self.read == 0 && self.buffer.len() == 0;
            self.at_end = self.buffer.fill(&mut self.reader)? == 0;
            if is_start {
                self.encoding = std::mem::take(&mut self.encoding).by_mark(self.buffer.bytes());
            }
        }
    }
}

/// `text`, or its start if it is longer than 53 characters.
pub(super) fn shorten(text: &str) -> String {
    const MAX: usize = 53;
    match text.chars().count() > MAX {
        true => text.chars().take(MAX - 3).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}
