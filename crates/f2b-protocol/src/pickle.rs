//! Python's pickles, as data only.
//!
//! Reading takes protocols 0 to 5 and knows the opcodes that build data. No name in a pickle is ever looked up or
//! called: the few callables that stand in real messages (`set`, `str`, exception classes) are entries of a closed
//! table, and each stands for a way to arrange data that has been read already. Everything else is an error that
//! names the opcode and its offset. Writing uses protocol 4, which every Python 3 reads.
//!
//! What is read is bounded by [`Limits`]: the values of a pickle may refer to each other, so a short pickle can
//! stand for a huge value, or for one that contains itself.
//!
//! Upstream: `pickle.loads` and `pickle.dumps` in `asyncserver` and `csocket`; the format: `Lib/pickletools.py`.

mod class;
mod decode;
mod encode;
mod error;
mod heap;
mod text;

pub use self::decode::decode;
pub use self::encode::encode;
pub use self::error::{PickleError, PickleErrorKind};

/// How much a pickle may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep containers may nest.
    pub depth: usize,
    /// How many values there may be, a value that is referred to twice counted twice.
    pub values: usize,
    /// How many bytes all texts may have together, counted likewise.
    pub bytes: usize,
}

/// Far beyond what any client or configuration sends.
impl Default for Limits {
    fn default() -> Self {
        Self { depth: 50, values: 4_000_000, bytes: 128 << 20 }
    }
}

#[cfg(test)]
mod tests;
