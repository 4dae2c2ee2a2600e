//! The lines to try: of a file, or given on the command line.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use f2b_filter::Encoding;
use f2b_types::Record;

use super::packed;
use crate::logging::of_invalid_bytes;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// The complete lines of a file; a last line without its end is left out, since it is still being written. Compressed
/// files and standard input are at their end when they end.
pub(super) struct FileLines {
    reader: Box<dyn Read + Send>,
    /// A last line without its end counts.
    is_final: bool,
    encoding: Encoding,
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
    path: PathBuf,
    /// It was said that a line is not in the encoding.
    warned: bool,
}

/// A line of a file.
pub(super) struct FileLine<'l> {
    pub(super) text: Cow<'l, str>,
    /// What is said once of a line that is not in the encoding.
    pub(super) records: Option<[Record; 2]>,
}

impl FileLines {
    pub(super) fn open(path: &Path, encoding: Encoding) -> io::Result<Self> {
        let (reader, is_packed) = packed::unpacked(File::open(path)?)?;
        Ok(Self::new(reader, is_packed, path, encoding))
    }

    /// Those of standard input.
    pub(super) fn standard_input(encoding: Encoding) -> io::Result<Self> {
        let (reader, _) = packed::unpacked(io::stdin())?;
        Ok(Self::new(reader, true, Path::new("-"), encoding))
    }

    fn new(reader: Box<dyn Read + Send>, is_final: bool, path: &Path, encoding: Encoding) -> Self {
        Self {
            reader,
            is_final,
            encoding,
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            path: path.into(),
            warned: false,
        }
    }

    /// Reads on, which may take its time. False at the end.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let read = self.reader.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        self.at_end = read == 0;
        Ok(!self.at_end)
    }

    /// The next line of what was read, without its end.
    pub(super) fn next_line(&mut self) -> Option<FileLine<'_>> {
        let rest = self.buffer.get(self.start..).unwrap_or(&[]);
        let line = match self.encoding.line_end(rest) {
            None if !(self.at_end && self.is_final) || rest.is_empty() => return None,
            end => rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest),
        };
        self.start += line.len();
        let (text, is_valid) = self.encoding.decode_line(line);
        let warns = !is_valid && !self.warned;
        let records = warns.then(|| of_invalid_bytes(line, &self.path, self.encoding.name()));
        self.warned |= !is_valid;
        Some(FileLine { text, records })
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
