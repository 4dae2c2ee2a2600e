//! What tells one generation of a log from the next: the SHA-1 of its first line, which is what upstream keeps in its database
//! (`filter.FileContainer`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha1::{Digest, Sha1};

/// Bytes of a first line that count; a longer one is known by as many.
const MAX_FIRST_LINE: u64 = 16 << 20;

/// The first line of a file, as far as it has been written. Each look goes on where the one before has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstLine {
    hasher: Sha1,
    hashed: u64,
    is_whole: bool,
    hash: String,
}

impl FirstLine {
    /// The first line of a file that is open, wherever it is being read.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut line = Self::default();
        line.read_on(file)?;
        Ok(line)
    }

    /// One that has this hash, of a file that is not there any more.
    pub(super) fn known(hash: String) -> Self {
        Self { is_whole: true, hash, ..Self::default() }
    }

    /// Takes in what has been written of it since.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub(super) fn read_on(&mut self, file: &File) -> io::Result<()> {
        let mut part = [0; 4096];
        let mut last = None;
        while !self.is_whole {
            let count = match file.read_at(&mut part, self.hashed)? {
                0 => break,
                count => usize::try_from(MAX_FIRST_LINE - self.hashed).map_or(count, |room| count.min(room)),
            };
            let end = memchr::memchr(b'\n', &part[..count]).map(|end| end + 1);
            let line = &part[..end.unwrap_or(count)];
            self.hasher.update(line);
            self.hashed += line.len() as u64;
            self.is_whole = end.is_some() || self.hashed == MAX_FIRST_LINE;
            last = line.last().copied();
        }
        if let Some(last) = last {
            // To upstream a line ends here as well, until something comes behind it.
            let is_line = self.is_whole || last == b'\r';
            self.hash = if is_line { hexadecimal(&self.hasher) } else { String::new() };
        }
        Ok(())
    }

    /// The hash; empty while there is no whole line.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }
}

fn hexadecimal(hasher: &Sha1) -> String {
    hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn hash_of(bytes: &[u8]) -> String {
        hexadecimal(&Sha1::new_with_prefix(bytes))
    }

    #[test]
    fn the_hash_is_of_a_whole_first_line_however_long_and_in_however_many_pieces() {
        let long = [&[b'x'; 3 << 20][..], b"\n"].concat();
        for line in [&b"\n"[..], b"abcdefghi\n", &long] {
            let mut file = tempfile::tempfile().expect("a file");
            let mut known = FirstLine::default();
            for piece in line.chunks(line.len().div_ceil(7)) {
                known.read_on(&file).expect("a file");
                assert_eq!(known.hash(), "");
                file.write_all(piece).expect("a write");
            }
            known.read_on(&file).expect("a file");
            assert_eq!(known.hash(), hash_of(line));
            file.write_all(b"more\n").expect("a write");
            known.read_on(&file).expect("a file");
            assert_eq!((known.hash(), known.hashed), (&*hash_of(line), line.len() as u64));
            assert_eq!(FirstLine::of(&file).expect("a file").hash(), hash_of(line));
        }
    }

    #[test]
    fn a_look_reads_what_is_new() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut line = FirstLine::default();
        for length in [5, 10] {
            file.write_all(b"abcde").expect("a write");
            line.read_on(&file).expect("a file");
            assert_eq!((line.hashed, line.hash()), (length, ""));
        }
        // What it has read is not looked at again.
        file.write_all_at(b"ABCDE", 0).expect("a write");
        file.write_all(b"\n").expect("a write");
        line.read_on(&file).expect("a file");
        assert_eq!(line.hash(), hash_of(b"abcdeabcde\n"));
    }

    #[test]
    fn a_carriage_return_at_the_end_may_be_that_of_the_line() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut line = FirstLine::default();
        for (piece, expected) in
            [("one\r", hash_of(b"one\r")), ("two", String::new()), ("\r\n", hash_of(b"one\rtwo\r\n"))]
        {
            file.write_all(piece.as_bytes()).expect("a write");
            line.read_on(&file).expect("a file");
            assert_eq!(line.hash(), expected);
            line.read_on(&file).expect("a file");
            assert_eq!(line.hash(), expected);
        }
    }

    #[test]
    fn of_a_line_without_end_the_beginning_counts() {
        let file = tempfile::tempfile().expect("a file");
        // A hole takes no room.
        file.set_len(MAX_FIRST_LINE - 1).expect("a length");
        assert_eq!(FirstLine::of(&file).expect("a file").hash(), "");
        file.set_len(MAX_FIRST_LINE * 1000).expect("a length");
        let line = FirstLine::of(&file).expect("a file");
        assert_eq!((line.hashed, line.hash().len()), (MAX_FIRST_LINE, 40));
    }
}
