//! Why a pickle could not be read.

use std::error::Error;
use std::fmt;

/// A pickle that could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PickleError {
    /// The opcode that was being executed.
    pub opcode: Option<u8>,
    /// The offset of that opcode.
    pub offset: usize,
    /// What is wrong.
    pub kind: PickleErrorKind,
}

/// What is wrong with a pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PickleErrorKind {
    /// The bytes end before the pickle does.
    Truncated,
    /// The opcode is unknown, or does more than build data.
    Opcode,
    /// The protocol is newer than any known.
    Protocol(u8),
    /// The opcode needs something else on the stack or in the memo.
    Operand(&'static str),
    /// The argument of the opcode is no number, no text, or a number beyond 64 bits.
    Argument(&'static str),
    /// A class or function outside the table.
    Class {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
    },
    /// One of the [`Limits`](super::Limits) is reached.
    Limit(&'static str),
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pickle: ")?;
        match &self.kind {
            PickleErrorKind::Truncated => f.write_str("it ends too early")?,
            PickleErrorKind::Opcode => f.write_str("opcode not allowed")?,
            PickleErrorKind::Protocol(version) => write!(f, "unsupported protocol {version}")?,
            PickleErrorKind::Operand(what) => write!(f, "{what} expected")?,
            PickleErrorKind::Argument(what) => write!(f, "invalid {what}")?,
            PickleErrorKind::Class { module, name } => write!(f, "global '{module}.{name}' is not allowed")?,
            PickleErrorKind::Limit(what) => write!(f, "too many {what}")?,
        }
        if let Some(opcode) = self.opcode {
            write!(f, " (opcode {})", opcode_name(opcode))?;
        }
        write!(f, " at offset {}", self.offset)
    }
}

impl Error for PickleError {}

/// The names of the opcodes that are refused by design; others print as they stand in the pickle.
fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        b'c' => "GLOBAL",
        b'R' => "REDUCE",
        b'b' => "BUILD",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x92 => "NEWOBJ_EX",
        0x93 => "STACK_GLOBAL",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        b'!'..=b'~' => return format!("'{}'", char::from(opcode)),
        _ => return format!("0x{opcode:02x}"),
    };
    name.into()
}
