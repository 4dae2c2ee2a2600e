//! Where in a large log to begin: near the first line that is young enough to count (`FileFilter.seekToTime`).
//!
//! Halves the part of the file in question until the place does not move any more, and never goes by more than it
//! knows to be too old; what is left of that is judged line by line. Lines without a date are searched past, six at a
//! time. Every step is upstream's, for the place is what decides which lines a jail has seen. So it is with
//! `datepattern = {NONE}`, where a line found here is of the last midnight, though it counts as one of now when it is read: what
//! such a log has from before the start is read only if midnight is within `findtime`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use f2b_filter::Encoding;
use f2b_types::Number;

use super::tail::MAX_LINE;
use crate::line_buffer::LineBuffer;

/// Lines that a step tries behind the first one to find a date.
const MORE_LINES: u32 = 5;

/// How often the place may stay what it is.
const ACCURACY: u32 = 3;

/// Bytes read at once at first; of a long line it is soon more.
const PART: u64 = 4 << 10;

/// Bytes in which a line end must be found. Otherwise there is no date, and nothing is known of the place; that may cost reading
/// what is too old.
const NEAR: u64 = 1 << 20;

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sought {
    /// Where to begin.
    pub(super) position: u64,
    /// The last place that was tried.
    pub(super) last: Option<u64>,
    /// The time nearest to the one that was wanted.
    pub(super) found: Option<Number>,
    /// The number of steps.
    pub(super) seeks: u32,
}

/// Searches the first `size` bytes of a log, from the line start at `from` on, for the time `wanted`. `time_of` says whether
/// there is a date in a line, and which time it stands for, if it is a real one.
///
/// # Errors
///
/// The file can't be read.
pub(super) fn seek_to_time(
    file: &File,
    encoding: &Encoding,
    (from, size): (u64, u64),
    wanted: f64,
    time_of: impl FnMut(&str) -> Option<Option<Number>>,
) -> io::Result<Sought> {
    let lines = Lines { file, encoding, buffer: LineBuffer::new(MAX_LINE), end: from };
    Search { lines, time_of, low: from, high: size, best: None, seeks: 0 }.run(from, wanted)
}

/// Hands out the lines that begin in the last `length` bytes before the line start at `end`, oldest first.
///
/// # Errors
///
/// The file can't be read.
pub(super) fn lines_before(
    file: &File,
    encoding: &Encoding,
    (end, length): (u64, u64),
    mut each: impl FnMut(&str),
) -> io::Result<()> {
    let mut lines = Lines { file, encoding, buffer: LineBuffer::new(MAX_LINE), end };
    let unit = encoding.unit() as u64;
    let start = lines.start_of_line(end.saturating_sub(length) / unit * unit)?;
    lines.seek(start);
    while lines.tell() < end && lines.next(u64::MAX, &mut each)?.is_some() {}
    Ok(())
}

struct Search<'f, F> {
    lines: Lines<'f>,
    time_of: F,
    /// What is before `low` is too old, and what is from `high` on is young enough.
    low: u64,
    high: u64,
    best: Option<Number>,
    seeks: u32,
}

/// What one step found.
struct Step {
    /// The line at which its time stands, or behind the last one without.
    at: u64,
    /// Where the step began.
    began: u64,
    time: Option<Number>,
    /// Behind the last line without a date.
    behind: Option<u64>,
}

impl<F: FnMut(&str) -> Option<Option<Number>>> Search<'_, F> {
    fn run(mut self, from: u64, wanted: f64) -> io::Result<Sought> {
        let (mut last, mut next, mut patience) = (None, Some(from), ACCURACY);
        while self.high > self.low {
            let place = next.take().unwrap_or(self.low + (self.high - self.low) / 2);
            let step = self.step(place)?;
            let at = self.narrow(&step, wanted)?;
            if last == Some(at) {
                patience -= 1;
                if patience == 0 || last == Some(self.low) {
                    break;
                }
                // No date far and wide; the one that counts may be right behind the line that is known to be old.
                next = Some(self.low);
                last = next;
            } else {
                last = Some(at);
            }
        }
        let position = if self.low == from { from } else { self.lines.start_of_line(self.low)? };
        Ok(Sought { position, last, found: self.best, seeks: self.seeks })
    }

    /// Looks for a date from the line on that begins behind `place`, or at it.
    fn step(&mut self, place: u64) -> io::Result<Step> {
        let began = self.lines.seek_behind(place)?;
        self.seeks += 1;
        let mut step = Step { at: began, began, time: None, behind: None };
        for _ in 0..=MORE_LINES {
            let Some(time) = self.lines.next(NEAR, &mut self.time_of)? else { break };
            match time {
                Some(time) => step.time = time,
                None => {
                    let behind = self.lines.tell();
                    step.behind = Some(behind);
                    if behind > self.high {
                        step.at = step.began;
                        break;
                    }
                    step.at = behind;
                }
            }
            if step.time.is_some() {
                break;
            }
        }
        Ok(step)
    }

    /// Draws `low` and `high` together by what a step found; answers where that was.
    fn narrow(&mut self, step: &Step, wanted: f64) -> io::Result<u64> {
        let Some(time) = step.time else { return Ok(step.at) };
        let best = self.best.map(Number::as_f64);
        let is_young = time.as_f64() >= wanted;
        let is_nearer =
            best.is_none_or(|best| if is_young { time.as_f64() <= best } else { time.as_f64() >= best });
        if is_nearer {
            self.best = Some(time);
        }
        if is_young {
            let at = if step.at == self.high { step.began } else { step.at };
            self.high = self.high.min(at);
            Ok(at)
        } else {
            let at = step.behind.unwrap_or_else(|| self.lines.tell());
            self.low = self.low.max(at);
            Ok(at)
        }
    }
}

/// The lines of a file from any place on.
struct Lines<'f> {
    file: &'f File,
    encoding: &'f Encoding,
    buffer: LineBuffer,
    /// Offset behind what is in the buffer.
    end: u64,
}

impl Lines<'_> {
    /// Goes to the next line from right before `place` on: to `place` itself if a line begins there. Answers where that is.
    fn seek_behind(&mut self, place: u64) -> io::Result<u64> {
        let unit = self.encoding.unit() as u64;
        self.seek(place.saturating_sub(2) / unit * unit);
        if self.end > 0 {
            self.next(NEAR, |_| ())?;
        }
        Ok(self.tell())
    }

    /// `place`, or where the next line begins if it is within one, as it may be within one that is too long to count.
    fn start_of_line(&mut self, place: u64) -> io::Result<u64> {
        let unit = self.encoding.unit() as u64;
        match place.checked_sub(unit) {
            Some(before) => {
                self.seek(before);
                self.next(u64::MAX, |_| ())?;
                Ok(self.tell())
            }
            None => Ok(place),
        }
    }

    fn seek(&mut self, place: u64) {
        self.buffer.clear();
        self.end = place;
    }

    /// Offset of the first byte that no line has covered yet.
    fn tell(&self) -> u64 {
        self.end - self.buffer.unread()
    }

    /// Hands out the next line, and what it was answered; the last line may lack its end. `None` at the end of the file, or
    /// if the line is too long.
    fn next<T>(&mut self, longest: u64, each: impl FnOnce(&str) -> T) -> io::Result<Option<T>> {
        let (begin, mut part) = (self.end, PART);
        loop {
            if let Some(line) = self.buffer.next_line(self.encoding) {
                return Ok(Some(each(&self.encoding.decode_line(line).0)));
            }
            if self.end - begin > longest {
                return Ok(None);
            }
            match self.buffer.fill(&mut At { file: self.file, at: self.end }.take(part))? {
                0 => break,
                count => self.end += count as u64,
            }
            part = part.saturating_mul(2);
        }
        let rest = self.buffer.next_or_last_line(self.encoding);
        Ok(rest.map(|line| each(&self.encoding.decode_line(line).0)))
    }
}

/// A file from an offset on, whose own place stays what it is.
pub(super) struct At<'f> {
    pub(super) file: &'f File,
    pub(super) at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(room, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that begin with their time, and where the search for 700 ends in them.
    #[track_caller]
    fn check(encoding: &str, bytes_of: fn(&str) -> Vec<u8>) {
        let text: Vec<String> = (0..1000).map(|n| format!("{n:03} \u{a0a} line\n")).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        std::fs::write(&path, bytes_of(&text.concat())).expect("a write");
        let file = File::open(path).expect("the log");
        let size = file.metadata().expect("a size").len();
        let time_of = |line: &str| line.get(..3).map(|time| time.parse().ok().map(Number::Int));
        let encoding = Encoding::parse(encoding).expect("an encoding");
        let sought = seek_to_time(&file, &encoding, (0, size), 700.0, time_of).expect("a place");
        assert_eq!(sought.found, Some(Number::Int(699)));
        assert_eq!(sought.position, bytes_of(&text[..700].concat()).len() as u64);
    }

    #[test]
    fn lines_before_a_place_are_whole() {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, b"one\ntwo\nthree\nfour\nfive").expect("a write");
        let before = |end, length| {
            let mut seen = Vec::new();
            let result = lines_before(&file, &Encoding::default(), (end, length), |line| {
                seen.push(line.trim_end().to_owned());
            });
            result.expect("a file");
            seen
        };
        assert_eq!(before(14, 100), ["one", "two", "three"]);
        assert_eq!(before(14, 10), ["two", "three"]);
        assert_eq!(before(14, 9), ["three"]);
        assert_eq!(before(14, 6), ["three"]);
        assert_eq!(before(14, 5), [""; 0]);
        assert_eq!(before(0, 100), [""; 0]);
        assert_eq!(before(23, 5), ["five"]);
    }

    #[test]
    fn the_place_is_the_start_of_a_line_in_any_encoding() {
        check("utf-8", |text| text.as_bytes().to_vec());
        check("utf-16-be", |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        check("utf-32-le", |text| text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect());
    }
}
