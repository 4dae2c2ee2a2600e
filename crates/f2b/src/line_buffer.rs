//! Bytes of a log, cut into lines where the encoding of the log has a line end (`FileContainer.readline`).

use std::io::{self, Read};
use std::ops::Range;

use f2b_filter::Encoding;

/// Bytes read at once.
pub(crate) const CHUNK: usize = 64 << 10;

/// What has been read and not yet handed out.
#[derive(Debug, Clone)]
pub(crate) struct LineBuffer {
    /// Bytes of a line that count. Of a longer one they are the line, and the rest is skipped.
    longest: usize,
    bytes: Vec<u8>,
    /// Where in them the next line begins.
    start: usize,
    /// Where in them what was read ends. Behind is room, which is not cleared each time.
    end: usize,
    /// As many zeros before that have been dropped, which the next line begins with.
    hole: u64,
    /// As many bytes from there on have no line end.
    scanned: usize,
    /// The rest of an overlong line is being skipped.
    skipping: bool,
}

impl LineBuffer {
    pub(crate) fn new(longest: usize) -> Self {
        Self { longest, bytes: Vec::new(), start: 0, end: 0, hole: 0, scanned: 0, skipping: false }
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    /// As many bytes of what was read have not been handed out.
    pub(crate) fn unread(&self) -> u64 {
        self.hole + self.len() as u64
    }

    /// As many of them, the first ones, are zeros that are not kept.
    pub(crate) fn hole(&self) -> u64 {
        self.hole
    }

    /// The others.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or(&[])
    }

    /// As many bytes, at most, that were handed out last since the last chunk came.
    pub(crate) fn before(&self, count: usize) -> &[u8] {
        self.bytes.get(self.start.saturating_sub(count)..self.start).unwrap_or(&[])
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Another buffer at the same place in the log, of which nothing has been read yet behind that.
    pub(crate) fn fork(&self) -> Self {
        Self { skipping: self.skipping, ..Self::new(self.longest) }
    }

    /// Whether the rest of an overlong line is to come.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Reads the next chunk; zero at the end.
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        if self.bytes.len() < self.end + CHUNK {
            self.bytes.resize(self.end + CHUNK, 0);
        }
        let room = &mut self.bytes[self.end..self.end + CHUNK];
        let count = loop {
            match source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += count;
        if self.end == 0 {
            // A log in which nothing happens needs no room; there may be thousands of them.
            self.bytes = Vec::new();
        }
        Ok(count)
    }

    /// Forgets so many of the bytes that were read last.
    pub(crate) fn take_back(&mut self, count: usize) {
        self.end -= count.min(self.len());
    }

    /// The next line with its end, if all of it is there.
    pub(crate) fn next_line(&mut self, encoding: &Encoding) -> Option<&[u8]> {
        let line = self.take_line(encoding)?;
        self.bytes.get(line)
    }

    /// The same at the end of a log: what is left is a line too, if it is anything.
    pub(crate) fn next_or_last_line(&mut self, encoding: &Encoding) -> Option<&[u8]> {
        let line = self.take_line(encoding).or_else(|| self.take_rest())?;
        self.bytes.get(line)
    }

    fn take_line(&mut self, encoding: &Encoding) -> Option<Range<usize>> {
        loop {
            if self.len() > self.longest && !self.skipping {
                self.drop_hole(encoding);
            }
            let (from, length) = (self.start, self.len());
            // Between two characters.
            let whole_units = length / encoding.unit() * encoding.unit();
            let unscanned = self.bytes().get(self.scanned..).unwrap_or(&[]);
            let (taken, is_whole) = match encoding.line_end(unscanned) {
                Some(end) => (self.scanned + end, true),
                None if length > self.longest => (whole_units, false),
                None => {
                    self.scanned = whole_units;
                    return None;
                }
            };
            self.start += taken;
            (self.scanned, self.hole) = (0, 0);
            if !std::mem::replace(&mut self.skipping, !is_whole) {
                return Some(from..from + taken.min(self.longest));
            }
        }
    }

    /// Drops zeros before a line that has become too long: a file that is emptied under a writer who keeps his place has as
    /// many of them as there was text, and the line behind them counts.
    fn drop_hole(&mut self, encoding: &Encoding) {
        let zeros = self.bytes().iter().take_while(|byte| **byte == 0).count();
        let hole = zeros / encoding.unit() * encoding.unit();
        self.start += hole;
        self.hole += hole as u64;
        self.scanned = self.scanned.saturating_sub(hole);
    }

    fn take_rest(&mut self) -> Option<Range<usize>> {
        let from = std::mem::replace(&mut self.start, self.end);
        (self.scanned, self.hole) = (0, 0);
        (from < self.end && !self.skipping).then_some(from..self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LINE: usize = 1 << 20;

    fn lines(encoding: &str, log: &[u8]) -> Vec<String> {
        let encoding = Encoding::parse(encoding).unwrap().by_mark(log);
        let (mut buffer, mut log) = (LineBuffer::new(MAX_LINE), log);
        let mut lines = Vec::new();
        loop {
            while let Some(line) = buffer.next_line(&encoding) {
                lines.push(encoding.decode_line(line).0.into_owned());
            }
            if buffer.fill(&mut log).unwrap() == 0 {
                return lines;
            }
        }
    }

    fn encoded(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn lines_end_at_a_line_end_of_the_encoding() {
        // The second character of each has a byte that is a newline elsewhere.
        let text = "a\u{0a30}b\u{300a}\r\n\u{0a0a}c\nrest";
        let expected = ["a\u{0a30}b\u{300a}", "\u{0a0a}c"];
        assert_eq!(lines("utf-16le", &encoded(text, u16::to_le_bytes)), expected);
        assert_eq!(lines("utf-16be", &encoded(text, u16::to_be_bytes)), expected);
        assert_eq!(lines("utf-16", &encoded(text, u16::to_le_bytes)), expected);
        let marked = format!("\u{feff}{text}");
        assert_eq!(lines("utf-16", &encoded(&marked, u16::to_le_bytes)), expected);
        assert_eq!(lines("utf-16", &encoded(&marked, u16::to_be_bytes)), expected);
        let utf32 = |bytes_of: fn(u32) -> [u8; 4]| -> Vec<u8> {
            marked.chars().flat_map(|c| bytes_of(u32::from(c))).collect()
        };
        assert_eq!(lines("utf-32", &utf32(u32::to_le_bytes)), expected);
        assert_eq!(lines("utf-32", &utf32(u32::to_be_bytes)), expected);
        assert_eq!(lines("utf-8", text.as_bytes()), expected);
    }

    #[test]
    fn a_log_that_has_been_read_takes_no_memory() {
        let (mut buffer, mut log) = (LineBuffer::new(MAX_LINE), &b"a\nb"[..]);
        let encoding = Encoding::parse("utf-8").unwrap();
        assert_eq!(buffer.fill(&mut log).unwrap(), 4 - 1);
        assert_eq!(buffer.next_line(&encoding), Some(&b"a\n"[..]));
        assert_eq!((buffer.fill(&mut log).unwrap(), buffer.bytes()), (0, &b"b"[..]));
        let mut more = &b"\n"[..];
        assert_eq!(buffer.fill(&mut more).unwrap(), 1);
        assert_eq!(buffer.next_line(&encoding), Some(&b"b\n"[..]));
        assert_eq!(buffer.fill(&mut more).unwrap(), 0);
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[test]
    fn an_overlong_line_is_cut_and_the_next_one_is_whole() {
        for (encoding, bytes_of) in [("utf-8", None), ("utf-16-be", Some(u16::to_be_bytes as fn(u16) -> _))] {
            let text =
                "x".repeat(MAX_LINE + 3 * CHUNK + 1) + "\nnext\n" + &"y".repeat(MAX_LINE + 5) + "\n!\n";
            let log = bytes_of.map_or_else(|| text.as_bytes().to_vec(), |bytes_of| encoded(&text, bytes_of));
            let width = if bytes_of.is_some() { 2 } else { 1 };
            let lines = lines(encoding, &log);
            let lengths: Vec<_> = lines.iter().map(String::len).collect();
            assert_eq!(lengths, [MAX_LINE / width, 4, MAX_LINE / width, 1], "{encoding}");
        }
    }

    #[test]
    fn a_hole_is_no_part_of_the_line_that_is_too_long_with_it() {
        for hole in [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 5 * MAX_LINE + 7 * CHUNK + 3] {
            let log = ["x\n", &"\0".repeat(hole), "line\nnext\n"].concat();
            let found = lines("utf-8", log.as_bytes());
            let found: Vec<_> = found.iter().map(|line| line.trim_start_matches('\0')).collect();
            assert_eq!(found, ["x", "line", "next"], "{hole}");
            for (name, bytes_of) in [
                ("utf-16-be", u16::to_be_bytes as fn(u16) -> [u8; 2]),
                ("utf-16-le", u16::to_le_bytes as fn(u16) -> [u8; 2]),
            ] {
                let found = lines(name, &encoded(&log, bytes_of));
                let found: Vec<_> = found.iter().map(|line| line.trim_start_matches('\0')).collect();
                assert_eq!(found, ["x", "line", "next"], "{name} {hole}");
            }
        }
        // What is short enough is as it was.
        assert_eq!(lines("utf-8", b"\0\0line\n"), ["\0\0line"]);
    }

    #[test]
    fn a_last_line_may_lack_its_end() {
        let mut buffer = LineBuffer::new(MAX_LINE);
        buffer.fill(&mut &b"a\nb"[..]).unwrap();
        let encoding = Encoding::default();
        assert_eq!(buffer.next_line(&encoding), Some(&b"a\n"[..]));
        assert_eq!(buffer.next_line(&encoding), None);
        assert_eq!(buffer.next_or_last_line(&encoding), Some(&b"b"[..]));
        assert_eq!(buffer.next_or_last_line(&encoding), None);
    }
}
