//! The socket of a server, from the client's side.
//!
//! One message is sent, one answered. As in `csocket.CSocket`, an answer is over when its terminator is the last that
//! arrived; since a text in it may contain the terminator, the pickle has to be whole besides.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use f2b_protocol::pickle::{Limits, PickleError, PickleErrorKind, decode};
use f2b_protocol::{Command, Reply, ReplyError, Value, frame, reply_from_value};

/// The longest answer that is taken: a server of the same user may have millions of addresses to list.
const MAX_REPLY: usize = 1 << 30;

const REPLY_LIMITS: Limits = Limits { depth: 50, values: 50_000_000, bytes: MAX_REPLY };

/// A connection to a server.
#[derive(Debug)]
pub struct Connection(UnixStream);

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The socket failed.
    Io(io::Error),
    /// Nothing came in time.
    TimedOut,
    /// The answer is beyond all bounds.
    TooLong,
    /// The answer is no pickle of data.
    Pickle(PickleError),
    /// The answer is no outcome of a command.
    Reply(ReplyError),
}

impl ConnectionError {
    /// Whether the socket is to blame, rather than what came through it.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io(_) | Self::TimedOut)
    }
}

/// Prints errors of the system as Python does: `[Errno 111] Connection refused`.
impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => match error.raw_os_error() {
                Some(number) => {
                    let text = error.to_string();
                    let text = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
                    write!(f, "[Errno {number}] {text}")
                }
                None => write!(f, "{error}"),
            },
            Self::TimedOut => f.write_str("timed out"),
            Self::TooLong => write!(f, "the answer is longer than {MAX_REPLY} bytes"),
            Self::Pickle(error) => write!(f, "{error}"),
            Self::Reply(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConnectionError {}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

impl Connection {
    /// Connects to the server at `socket`. `timeout` is for each step of an exchange; without it a client waits as
    /// long as the server works.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Io`]
    pub fn open(socket: &Path, timeout: Option<Duration>) -> Result<Self, ConnectionError> {
        let stream = UnixStream::connect(socket)?;
        // No time at all would mean no limit.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(timeout)?;
        Ok(Self(stream))
    }

    /// Sends a command and waits for its outcome.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when there is no outcome; a command that failed is an outcome.
    pub fn send(&mut self, command: &Command) -> Result<Reply, ConnectionError> {
        self.0.write_all(&frame::pack(&Value::List(command.0.clone())))?;
        let value = self.receive()?;
        reply_from_value(value).map_err(ConnectionError::Reply)
    }

    fn receive(&mut self) -> Result<Value, ConnectionError> {
        let mut message = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let len = match self.0.read(&mut chunk) {
                Ok(0) => return Err(io::Error::from_raw_os_error(nix::libc::ECONNRESET).into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            message.extend_from_slice(chunk.get(..len).unwrap_or_default());
            if message.len() > MAX_REPLY {
                return Err(ConnectionError::TooLong);
            }
            let Some(pickle) = message.strip_suffix(frame::END) else { continue };
            match decode(pickle, &REPLY_LIMITS) {
                Ok(value) => return Ok(value),
                Err(PickleError { kind: PickleErrorKind::Truncated, .. }) => {}
                Err(error) => return Err(ConnectionError::Pickle(error)),
            }
        }
    }
}

/// Says goodbye, so that the server does not have to notice by itself.
impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.0.write_all(&[frame::CLOSE, frame::END].concat());
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to a server that sends `answer` whatever it is asked.
    fn answered(answer: Vec<u8>) -> Result<Reply, ConnectionError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut question = [0; 64 << 10];
            let len = theirs.read(&mut question).unwrap();
            assert!(question[..len].ends_with(frame::END));
            theirs.write_all(&answer).unwrap();
        });
        let reply = Connection(ours).send(&Command::words(["ping"]));
        server.join().unwrap();
        reply
    }

    #[test]
    fn an_answer_may_contain_the_terminator() {
        let answer = Value::Tuple(vec![0.into(), "a<F2B_END_COMMAND>b".repeat(20_000).into()]);
        assert_eq!(answered(frame::pack(&answer)).unwrap(), Ok("a<F2B_END_COMMAND>b".repeat(20_000).into()));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let text = |answer: &[u8]| answered(answer.to_vec()).unwrap_err().to_string();
        assert_eq!(text(b"\x80\x04N"), "[Errno 104] Connection reset by peer");
        assert_eq!(
            text(b"cos\nsystem\n.<F2B_END_COMMAND>"),
            "pickle: global 'os.system' is not allowed (opcode GLOBAL) at offset 0"
        );
        assert_eq!(text(&frame::pack(&Value::strings(["SHUTDOWN"]))), "the server is shutting down");
    }

    #[test]
    fn a_missing_socket_is_an_error_of_the_system() {
        let error = Connection::open(Path::new("/nonexistent/socket"), None).unwrap_err();
        assert!(error.is_io());
        assert_eq!(error.to_string(), "[Errno 2] No such file or directory");
    }
}
