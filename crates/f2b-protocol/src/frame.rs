//! Where one message ends and the next begins.
//!
//! Each pickle is followed by [`END`]; a client that leaves sends [`CLOSE`] as a message of its own. Neither is escaped
//! inside a pickle, so a text that contains the terminator breaks its message in two, here as upstream
//! (`asyncserver.RequestHandler.found_terminator`, `protocol.CSPROTO`).

use std::error::Error;
use std::fmt;

use crate::{Value, pickle};

/// Ends every message.
pub const END: &[u8] = b"<F2B_END_COMMAND>";

/// The message by which a client says that it leaves.
pub const CLOSE: &[u8] = b"<F2B_CLOSE_COMMAND>";

/// The longest message that a [`FrameReader`] takes unless told otherwise: room for the command stream of a large
/// configuration.
pub const DEFAULT_LIMIT: usize = 48 << 20;

/// The pickle of `value` with the terminator, to be sent in one write.
pub fn pack(value: &Value) -> Vec<u8> {
    let mut bytes = pickle::encode(value);
    bytes.extend_from_slice(END);
    bytes
}

/// One message, without its terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Something to be unpickled.
    Message(Vec<u8>),
    /// The other side leaves.
    Close,
}

/// A message that is longer than the reader's limit. The stream is of no use after that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameTooLong {
    /// The limit in bytes.
    pub limit: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message is longer than {} bytes", self.limit)
    }
}

impl Error for FrameTooLong {}

/// Cuts a stream that arrives in chunks of any size into messages.
///
/// It holds at most one chunk more than its limit, provided that [`next_frame`](Self::next_frame) is called after each
/// [`push`](Self::push) until it has nothing more to give.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where the current message starts.
    start: usize,
    /// Up to where no terminator begins.
    searched: usize,
    limit: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }
}

impl FrameReader {
    /// A reader that takes messages of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, limit }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole message, or `None` until more has arrived.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] as soon as a message, whole or not, is beyond the limit.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLong> {
        let unsearched = &self.buffer[self.searched..];
        let end = unsearched.windows(END.len()).position(|window| window == END).map(|at| self.searched + at);
        if end.unwrap_or(self.buffer.len()) - self.start > self.limit.saturating_add(END.len()) {
            return Err(FrameTooLong { limit: self.limit });
        }
        let Some(end) = end else {
            self.searched = self.searched.max(self.buffer.len().saturating_sub(END.len() - 1));
            return Ok(None);
        };
        let message = &self.buffer[self.start..end];
        if message.len() > self.limit {
            return Err(FrameTooLong { limit: self.limit });
        }
        let frame = if message == CLOSE { Frame::Close } else { Frame::Message(message.to_vec()) };
        self.start = end + END.len();
        self.searched = self.start;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(reader: &mut FrameReader) -> Vec<Frame> {
        std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
    }

    #[track_caller]
    fn check(stream: &[u8], expected: &[&[u8]]) {
        let expected: Vec<Frame> = expected
            .iter()
            .map(|&bytes| if bytes == CLOSE { Frame::Close } else { Frame::Message(bytes.to_vec()) })
            .collect();
        for size in 1..=stream.len().max(1) {
            let mut reader = FrameReader::with_limit(64);
            let mut found = Vec::new();
            for chunk in stream.chunks(size) {
                reader.push(chunk);
                found.extend(frames(&mut reader));
            }
            assert_eq!(found, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn a_stream_is_cut_at_its_terminators_however_it_arrives() {
        check(b"", &[]);
        check(b"unfinished<F2B_END_COMMAN", &[]);
        check(b"one<F2B_END_COMMAND>two<F2B_END_COMMAND>rest", &[b"one", b"two"]);
        check(b"<F2B_END_COMMAND>", &[b""]);
        check(b"a<F2B_END_COMMAND><F2B_CLOSE_COMMAND><F2B_END_COMMAND>", &[b"a", CLOSE]);
        check(b"<F2B_<F2B_END_COMMAND>", &[b"<F2B_"]);
    }

    #[test]
    fn a_message_beyond_the_limit_is_an_error_before_it_is_complete() {
        let mut reader = FrameReader::with_limit(8);
        reader.push(&[0; 8]);
        reader.push(END);
        assert_eq!(reader.next_frame(), Ok(Some(Frame::Message(vec![0; 8]))));
        reader.push(&[0; 9]);
        reader.push(END);
        assert_eq!(reader.next_frame(), Err(FrameTooLong { limit: 8 }));
        let mut reader = FrameReader::with_limit(8);
        reader.push(&[0; 30]);
        assert_eq!(reader.next_frame(), Err(FrameTooLong { limit: 8 }));
    }
}
