//! The pieces of a pattern as they stand in its text, for those who ask how much of it matches.

use std::ops::Range;

use super::DialectError;
use super::parse::Parser;

/// A piece of a pattern as it stands there, in bytes, or a `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// How many groups it is in.
    pub(crate) depth: usize,
    pub(crate) span: Range<usize>,
    pub(crate) is_bar: bool,
}

/// The pieces that `pattern` is put together from, those of groups too.
pub(crate) fn pieces(pattern: &str, multi_line: bool) -> Result<Vec<Piece>, DialectError> {
    let mut p = Parser::new(pattern)?;
    p.flags.multi_line = multi_line;
    p.pieces = Some(Vec::new());
    p.alternatives(0)?;
    let bytes: Vec<usize> = pattern.char_indices().map(|(at, _)| at).chain([pattern.len()]).collect();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(pattern.len());
    let pieces = p.pieces.unwrap_or_default().into_iter();
    Ok(pieces.map(|piece| Piece { span: byte(piece.span.start)..byte(piece.span.end), ..piece }).collect())
}

impl Parser<'_> {
    /// Notes what was just read: a piece, or what belongs to the one before it.
    pub(super) fn note_piece(&mut self, depth: usize, start: usize, is_new: bool) {
        let end = self.position();
        let Some(pieces) = &mut self.pieces else { return };
        match pieces.iter_mut().rev().find(|piece| piece.depth == depth && !piece.is_bar) {
            _ if is_new => pieces.push(Piece { depth, span: start..end, is_bar: false }),
            Some(last) if last.span.end == start => last.span.end = end,
            _ => {}
        }
    }

    pub(super) fn note_bar(&mut self, depth: usize, at: usize) {
        if let Some(pieces) = &mut self.pieces {
            pieces.push(Piece { depth, span: at..at + 1, is_bar: true });
        }
    }
}
