//! Python's regular expressions, read by their own rules and written out for the engine.
//!
//! Filters are written for Python's `re`. Its syntax and that of fancy-regex look alike, but `$`, `\w`, `\s`, `\Z`,
//! `{`, classes such as `[[a]` and `[a&&b]`, octal escapes and the errors differ. So a pattern is parsed as Python
//! 3.11 parses it ([`parse`]), into a tree ([`ast`]) that is freed of what is always true ([`simplify`]) and written
//! out again ([`write`]). Nothing of the pattern's text reaches the engine unread.
//!
//! A tree can be written out in several ways, see [`write::Mode`]. For an automaton, look-aheads are written apart from it
//! ([`write_guarded`]), and conditions become choices ([`conditions`]).

mod ast;
mod case;
mod conditions;
#[cfg(test)]
mod differential;
mod error;
mod escape;
#[cfg(test)]
pub(crate) mod generate;
mod group;
mod parse;
mod pieces;
mod simplify;
mod write;

use std::cell::LazyCell;

pub use self::error::DialectError;
pub(crate) use self::pieces::{Piece, pieces};
pub(crate) use self::write::{Effort, Look, Mode, write, write_guarded, write_screen};

use self::ast::Node;

/// A pattern as Python understood it.
#[derive(Debug)]
pub(crate) struct Parsed {
    root: Node,
    /// Number of capturing groups.
    #[cfg(test)]
    pub(crate) groups: usize,
    /// Named groups and their numbers, in the order of the pattern (Python's `groupindex`).
    pub(crate) names: Vec<(String, usize)>,
}

impl Parsed {
    /// What there is in the pattern that the engines are known to take otherwise than Python: of a group that is repeated
    /// around something that may be empty Python reports the last empty round, where it backtracks it ends such a
    /// repetition with one, and what a group in a look-behind has matched it forgets.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        // Of all the pattern, and of no interest to most.
        let is_linear = LazyCell::new(|| self.is_linear());
        let is_group = |node: &Node| matches!(node, Node::Group { .. });
        let repeats_nothing = |node: &Node| match node {
            Node::Repeat { body, .. } => !body.always_consumes() && (body.any(&is_group) || !*is_linear),
            _ => false,
        };
        let looks_back_for_group =
            |node: &Node| matches!(node, Node::Look { behind: true, body, .. } if body.any(&is_group));
        let refers = |node: &Node| matches!(node, Node::Conditional { .. } | Node::Backref { .. });
        match () {
            () if self.root.any(&repeats_nothing) => Some("repeats what may be empty"),
            () if self.root.any(&looks_back_for_group) && self.root.any(&refers) => {
                Some("refers to a group in a look-behind")
            }
            () => None,
        }
    }

    fn is_linear(&self) -> bool {
        write(self, Mode { ascii: false, exact: false }).effort == Effort::Linear
    }
}

/// Reads `pattern`; `multi_line` stands for `re.MULTILINE`.
pub(crate) fn parse(pattern: &str, multi_line: bool) -> Result<Parsed, DialectError> {
    let mut parsed = parse::parse(pattern, multi_line)?;
    parsed.root = simplify::simplify(parsed.root);
    Ok(parsed)
}
