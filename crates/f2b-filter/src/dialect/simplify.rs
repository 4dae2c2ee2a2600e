//! Drops what is always true where it stands.
//!
//! The address that `<HOST>` expands to has a look-behind for a colon right behind something that always ends in a
//! colon. Left in, it would keep every such pattern from the linear engine.

use super::ast::Node;

/// The same pattern without look-behinds for one character that certainly stands there.
pub(super) fn simplify(root: Node) -> Node {
    below(root, None)
}

/// `before` always consumes characters and stands directly in front of `node`.
fn below(node: Node, before: Option<&Node>) -> Node {
    let boxed = |body: Box<Node>, before| Box::new(below(*body, before));
    match node {
        Node::Look { behind: true, negative: false, body } => match (*body, before) {
            // A mark is the same in upper and lower case, so that flags don't matter.
            (Node::Char(c), Some(before)) if c.is_ascii_punctuation() && before.ends_with(c) => Node::Empty,
            (body, _) => Node::Look { behind: true, negative: false, body: Box::new(body) },
        },
        Node::Look { behind: false, negative, body } => {
            Node::Look { behind: false, negative, body: boxed(body, before) }
        }
        Node::Group { index, body } => Node::Group { index, body: boxed(body, before) },
        Node::Atomic(body) => Node::Atomic(boxed(body, before)),
        Node::Case { ignore, body } => Node::Case { ignore, body: boxed(body, before) },
        // From the second round on something else stands before the body.
        Node::Repeat { min, max, greed, body } => Node::Repeat { min, max, greed, body: boxed(body, None) },
        Node::Conditional { group, yes, no } => {
            let (yes, no) = (boxed(yes, before), boxed(no, before));
            match (&*yes, &*no) {
                // The engine would take it for a condition to be met.
                (Node::Empty, Node::Empty) => Node::Empty,
                _ => Node::Conditional { group, yes, no },
            }
        }
        Node::Alt(nodes) => Node::Alt(nodes.into_iter().map(|node| below(node, before)).collect()),
        Node::Concat(nodes) => concat(nodes, before),
        leaf => leaf,
    }
}

fn concat(nodes: Vec<Node>, before: Option<&Node>) -> Node {
    let mut done: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let known = match done.last() {
            None => before,
            Some(last) => Some(last).filter(|last| last.always_consumes()),
        };
        match below(node, known) {
            Node::Empty => {}
            node => done.push(node),
        }
    }
    Node::concat(done)
}

#[cfg(test)]
mod tests {
    use crate::dialect::{Mode, parse, write};

    #[track_caller]
    fn check(pattern: &str, regular: bool) {
        let parsed = parse(pattern, false).unwrap();
        assert_eq!(write(&parsed, Mode::Plain).irregular, !regular, "{pattern}");
    }

    #[test]
    fn look_behinds_that_always_hold_are_dropped() {
        check("(?:a::?|:){1,7}(?:b|(?<=:):)", true);
        check("(?i)(?:a::?|:){1,7}(?:b|(?<=:):)", true);
        check("(?P<x>a:)((?i:(?<=:)b))", true);
    }

    #[test]
    fn other_look_behinds_stay() {
        check("(?<=:)a", false);
        check("(?:a|:)(?<=:)b", false);
        check(":*(?<=:)b", false);
        check("::*(?<=:)b", false);
        check("a(?<=a)b", false);
        check(":(?:x(?<=:)|b)", false);
        check("(?:(?<=:)a)+", false);
        check(":(?:(?<=:)a)+", false);
        check("(?:a:)?(?<=:)b", false);
    }
}
