//! Puts regular nodes in place of some that aren't, so that more patterns are for the linear engine.
//!
//! The address that `<HOST>` expands to has a look-behind for a colon right behind something that always ends in a
//! colon; such look-behinds are dropped. Dates stand between look-aheads that say that they aren't part of a word, for
//! which the linear engine has a sign. And dates have a separator that is one of a few marks and has to come again; such a
//! reference becomes a choice between the marks.

use std::collections::BTreeSet;

use super::ast::{At, Category, Class, ClassItem, Node};

/// Marks in a class that are worth a branch each.
const MAX_MARKS: usize = 4;

/// An equal pattern, more regular if possible.
pub(super) fn simplify(root: Node) -> Node {
    let root = with_edges(below(without_unused(root), None));
    let mut references = Vec::new();
    root.each(&mut |node| {
        if let Node::Backref { group, .. } = node {
            references.push(*group);
        }
    });
    // Conditions may refer to groups further on, whose numbers would change.
    let conditional = root.any(&|node| matches!(node, Node::Conditional { .. }));
    match references.is_empty() || conditional {
        true => root,
        false => split_marks(root, &references),
    }
}

/// Replaces `(?=\b|\W|$)`, and `(?=^|\b|\W)` in front of characters: what is neither a boundary nor followed by
/// something else than a word lies inside of a word, or at the end of the text.
fn with_edges(node: Node) -> Node {
    match node {
        Node::Concat(nodes) => {
            let last = nodes.iter().rposition(Node::always_consumes);
            let eased = nodes.into_iter().enumerate().map(|(place, node)| match is_edge(&node) {
                Some(anywhere) if anywhere || last > Some(place) => Node::At(At::WordEdge),
                _ => with_edges(node),
            });
            Node::Concat(eased.collect())
        }
        node => node.map(&mut with_edges),
    }
}

/// Whether the node is such a look-ahead; and if so, whether it holds at the end of the text too.
fn is_edge(node: &Node) -> Option<bool> {
    let Node::Look { behind: false, negative: false, body } = node else { return None };
    let Node::Alt(nodes) = &**body else { return None };
    let [first, second, third] = nodes.as_slice() else { return None };
    let is_boundary = |node: &Node| matches!(node, Node::At(At::WordBoundary { ascii: false }));
    let is_other = |node: &Node| match node {
        Node::Class(Class { negated: false, items }) => {
            *items == [ClassItem::Category { kind: Category::Word, negated: true, ascii: false }]
        }
        _ => false,
    };
    match (first, third) {
        (Node::At(At::TextStart), other) if is_boundary(second) && is_other(other) => Some(false),
        (boundary, Node::At(At::LastLineEnd)) if is_boundary(boundary) && is_other(second) => Some(true),
        _ => None,
    }
}

/// Replaces references to a mark by a choice between the marks. It goes down to where every node matches once at most:
/// in a repetition the groups of several branches could all have taken part.
fn split_marks(node: Node, references: &[usize]) -> Node {
    match node {
        Node::Group { index, body } => Node::Group { index, body: Box::new(split_marks(*body, references)) },
        Node::Concat(nodes) => {
            let mut nodes: Vec<Node> = nodes.into_iter().map(|node| split_marks(node, references)).collect();
            while let Some((start, end, marks)) = mark_span(&nodes, references) {
                let span: Vec<Node> = nodes.drain(start..=end).collect();
                let branches = marks.into_iter().map(|mark| branch(&span, mark)).collect();
                nodes.insert(start, Node::Alt(branches));
            }
            Node::concat(nodes)
        }
        other => other,
    }
}

/// Where the group of a mark stands in a row, and the last reference to it; and its marks. Nobody else may refer to
/// the groups in between, since each branch has its own.
fn mark_span(nodes: &[Node], references: &[usize]) -> Option<(usize, usize, Vec<char>)> {
    nodes.iter().enumerate().find_map(|(start, node)| {
        let Node::Group { index, body } = node else { return None };
        let marks = marks_of(body)?;
        let refers = |node: &Node| matches!(node, Node::Backref { group, .. } if group == index);
        let end = nodes.iter().rposition(refers).filter(|end| *end > start)?;
        let span = nodes.get(start..=end)?;
        let count = |list: &[usize]| list.iter().filter(|group| *group == index).count();
        let all_here = span.iter().filter(|node| refers(node)).count() == count(references);
        let mut inside = BTreeSet::new();
        span.iter().for_each(|node| collect_groups(node, &mut inside));
        inside.remove(index);
        let others = references.iter().any(|group| inside.contains(group));
        (all_here && !others).then_some((start, end, marks))
    })
}

/// The row for one of the marks.
fn branch(span: &[Node], mark: char) -> Node {
    let index = match span.first() {
        Some(Node::Group { index, .. }) => *index,
        _ => 0,
    };
    let row = span.iter().enumerate().map(|(place, node)| match node {
        Node::Group { .. } if place == 0 => Node::Group { index, body: Box::new(Node::Char(mark)) },
        Node::Backref { group, .. } if *group == index => Node::Char(mark),
        node => node.clone(),
    });
    Node::Concat(row.collect())
}

/// The characters of a class of a few marks.
fn marks_of(body: &Node) -> Option<Vec<char>> {
    let Node::Class(Class { negated: false, items }) = body else { return None };
    let marks: Option<Vec<char>> = items
        .iter()
        .map(|item| match item {
            ClassItem::Char(c) if c.is_ascii_punctuation() => Some(*c),
            _ => None,
        })
        .collect();
    marks.filter(|marks| (1..=MAX_MARKS).contains(&marks.len()))
}

fn collect_groups(node: &Node, groups: &mut BTreeSet<usize>) {
    node.each(&mut |node| {
        if let Node::Group { index, .. } = node {
            groups.insert(*index);
        }
    });
}

/// Drops what is to come no times. The groups in it never take part.
fn without_unused(root: Node) -> Node {
    let mut unused = BTreeSet::new();
    let is_unused = |node: &Node| matches!(node, Node::Repeat { max: Some(0), .. });
    if !root.any(&is_unused) {
        return root;
    }
    let mut known = None;
    while known.replace(unused.len()) != Some(unused.len()) {
        root.each(&mut |node| match node {
            node if is_unused(node) => collect_groups(node, &mut unused),
            Node::Conditional { group, yes, .. } if unused.contains(group) => {
                collect_groups(yes, &mut unused)
            }
            _ => {}
        });
    }
    drop_unused(root, &unused)
}

fn drop_unused(node: Node, unused: &BTreeSet<usize>) -> Node {
    match node {
        Node::Repeat { max: Some(0), .. } => Node::Empty,
        Node::Backref { group, .. } if unused.contains(&group) => Node::never(),
        Node::Conditional { group, no, .. } if unused.contains(&group) => drop_unused(*no, unused),
        node => node.map(&mut |child| drop_unused(child, unused)),
    }
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
        // From the second round on something else stands before the body.
        Node::Repeat { min, max, greed, body } => match boxed(body, None) {
            body if *body == Node::Empty => Node::Empty,
            body => Node::Repeat { min, max, greed, body },
        },
        Node::Conditional { group, yes, no } => {
            let (yes, no) = (boxed(yes, before), boxed(no, before));
            match (&*yes, &*no) {
                // The engine would take it for a condition to be met.
                (Node::Empty, Node::Empty) => Node::Empty,
                _ => Node::Conditional { group, yes, no },
            }
        }
        Node::Alt(nodes) => match nodes.into_iter().map(|node| below(node, before)).collect::<Vec<_>>() {
            nodes if nodes.iter().all(|node| *node == Node::Empty) => Node::Empty,
            nodes => Node::Alt(nodes),
        },
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
    use crate::dialect::{Effort, Mode, parse, write};

    const MODE: Mode = Mode { ascii: false, exact: false };

    #[track_caller]
    fn check(pattern: &str, regular: bool) {
        let parsed = parse(pattern, false).unwrap();
        assert_eq!(write(&parsed, MODE).effort == Effort::Linear, regular, "{pattern}");
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

    #[test]
    fn edges_of_words_are_regular() {
        check(r"(?=^|\b|\W)(a)(?=\b|\W|$)", true);
        check(r"(?=^|\b|\W)(a?)(?=\b|\W|$)", false);
        check(r"(?=^|\b|\W)", false);
        check(r"a(?=\b|\s|$)b", false);
        check(r"(?a)a(?=\b|\W|$)b", false);
    }

    #[test]
    fn references_to_marks_become_choices() {
        check(r"(?P<s>[-/.])(\d)(?P=s)", true);
        check(r"(?i)x([-/])(?P<d>\d)\1(a)\1", true);
        check(r"([-/])\1|a", false);
        check(r"(?:([-/])a\1)+", false);
        check(r"([-a])\1", false);
        check(r"([-/])(a)\1\2", false);
        check(r"([-/])a\1(?(3)x|y)(b)(c)", false);
    }
}
