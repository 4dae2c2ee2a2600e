//! Logs that were compressed when they were rotated. Their first bytes tell, whatever their names are.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that tell a format.
const LONGEST_MARK: u64 = 6;

/// What to read in place of `source`, and whether that is its unpacked content.
pub(super) fn unpacked(mut source: impl Read + Send + 'static) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let mut head = Vec::new();
    source.by_ref().take(LONGEST_MARK).read_to_end(&mut head)?;
    let is = |mark: &[u8]| head.starts_with(mark);
    let (gzip, xz, zstd) = (is(GZIP), is(XZ), is(ZSTD));
    let source = BufReader::new(Cursor::new(head).chain(source));
    Ok(if gzip {
        (Box::new(MultiGzDecoder::new(source)), true)
    } else if xz {
        (Box::new(XzReader::new(source, true)), true)
    } else if zstd {
        (Box::new(ZstdFrames::Source(source)), true)
    } else {
        (Box::new(source), false)
    })
}

/// One frame of zstd after the other.
enum ZstdFrames<R: Read> {
    /// Between frames.
    Source(BufReader<R>),
    Frame(Box<StreamingDecoder<BufReader<R>, ruzstd::decoding::FrameDecoder>>),
    /// At the end, or broken.
    Done,
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Done) {
                Self::Done => return Ok(0),
                Self::Source(mut source) => {
                    if io::BufRead::fill_buf(&mut source)?.is_empty() {
                        return Ok(0);
                    }
                    let decoder = StreamingDecoder::new(source).map_err(io::Error::other)?;
                    *self = Self::Frame(Box::new(decoder));
                }
                Self::Frame(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => *self = Self::Source(decoder.into_inner()),
                    read => {
                        *self = Self::Frame(decoder);
                        return Ok(read);
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `zstd` of "a\n" and of "b\n", one behind the other.
    const TWO_FRAMES: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x02, 0x11, 0x00, 0x00, b'a', b'\n', 0x28, 0xb5, 0x2f, 0xfd, 0x20,
        0x02, 0x11, 0x00, 0x00, b'b', b'\n',
    ];

    #[track_caller]
    fn check(bytes: &'static [u8], expected: &str, packed: bool) {
        let (mut reader, is_packed) = unpacked(bytes).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), is_packed), (expected, packed));
    }

    #[test]
    fn the_first_bytes_tell_the_format() {
        check(b"", "", false);
        check(b"a\n", "a\n", false);
        check(TWO_FRAMES, "a\nb\n", true);
    }

    #[test]
    fn broken_files_are_errors() {
        for bytes in [&[0x1f, 0x8b, 8][..], &[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff], b"\xfd7zXZ\0broken"] {
            let (mut reader, _) = unpacked(bytes).unwrap();
            assert!(reader.read_to_end(&mut Vec::new()).is_err());
        }
    }
}
