//! The lines to try: of a file, or given on the command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use f2b_filter::Encoding;
use f2b_types::Record;

use crate::logging::of_invalid_bytes;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// The complete lines of a file; a last line without its end is left out, since it is still being written.
pub(super) struct FileLines {
    file: File,
    encoding: Encoding,
    buffer: Vec<u8>,
    start: usize,
    path: PathBuf,
    /// What is said once of a line that is not in the encoding.
    records: Option<[Record; 2]>,
    warned: bool,
}

impl FileLines {
    pub(super) fn open(path: &Path, encoding: Encoding) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            encoding,
            buffer: Vec::new(),
            start: 0,
            path: path.into(),
            records: None,
            warned: false,
        })
    }

    /// What there is to say of the last line.
    pub(super) fn take_records(&mut self) -> Option<[Record; 2]> {
        self.records.take()
    }

    /// The next line without its end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or(&[]);
            if let Some(end) = self.encoding.line_end(rest) {
                let line = rest.get(..end).unwrap_or(rest);
                let (text, is_valid) = self.encoding.decode_line(line);
                if !is_valid && !self.warned {
                    self.warned = true;
                    self.records = Some(of_invalid_bytes(line, &self.path, self.encoding.name()));
                }
                let text = text.into_owned();
                self.start += end;
                return Ok(Some(text));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let read = self.file.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
            if read == 0 {
                return Ok(None);
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
