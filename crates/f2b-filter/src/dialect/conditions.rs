//! Puts a choice in place of a condition, so that what follows is known in each branch.
//!
//! `(a)?b(?(1)c|d)` is `(?:(a)bc|bd)`: backtracking tries all that follows `a` before it does without it. The branches
//! stand in the order in which it would try them.

use super::ast::{Greed, Node};

/// Conditions in a pattern, each of which may double what follows.
const MAX_CONDITIONS: usize = 4;

/// An equal node with fewer conditions, with none if possible.
pub(super) fn split(root: Node) -> Node {
    let mut conditions = 0;
    root.each(&mut |node| conditions += usize::from(matches!(node, Node::Conditional { .. })));
    let referred = root.any(&|node| matches!(node, Node::Backref { .. }));
    match conditions {
        // What a reference refers to would stand in several branches.
        1..=MAX_CONDITIONS if !referred => below(root),
        _ => root,
    }
}

/// It goes down to where every node matches once at most: in a repetition, a group keeps what it was the time before.
fn below(node: Node) -> Node {
    match node {
        Node::Concat(nodes) => row(nodes),
        Node::Alt(nodes) => Node::Alt(nodes.into_iter().map(below).collect()),
        Node::Group { index, body } => Node::Group { index, body: Box::new(below(*body)) },
        node => node,
    }
}

fn row(nodes: Vec<Node>) -> Node {
    for place in 0..nodes.len() {
        let Some((before, [node, behind @ ..])) = nodes.split_at_checked(place) else { break };
        let mut groups = Vec::new();
        behind.iter().for_each(|node| {
            node.each(&mut |node| {
                if let Node::Conditional { group, .. } = node {
                    groups.push(*group);
                }
            });
        });
        let Some(cases) = groups.into_iter().find_map(|group| {
            let cases = if has_group(node, group) { cases(node, group)? } else { return None };
            Some(cases.into_iter().map(move |(node, took_part)| {
                let behind = behind.iter().map(|node| decide(node.clone(), group, took_part));
                below(Node::concat(std::iter::once(node).chain(behind).collect()))
            }))
        }) else {
            continue;
        };
        let choice = Node::Alt(cases.collect());
        return Node::concat(before.iter().cloned().chain([choice]).collect());
    }
    Node::concat(nodes.into_iter().map(below).collect())
}

/// The node in its cases, each with whether the group took part; `None` if that can't be told apart.
fn cases(node: &Node, group: usize) -> Option<Vec<(Node, bool)>> {
    if !has_group(node, group) {
        return Some(vec![(node.clone(), false)]);
    }
    match node {
        Node::Group { index, .. } if *index == group => Some(vec![(node.clone(), true)]),
        Node::Group { index, body } => {
            let wrap = |(body, took_part)| (Node::Group { index: *index, body: Box::new(body) }, took_part);
            Some(cases(body, group)?.into_iter().map(wrap).collect())
        }
        Node::Alt(nodes) => {
            let all: Option<Vec<_>> = nodes.iter().map(|node| cases(node, group)).collect();
            Some(all?.into_iter().flatten().collect())
        }
        Node::Repeat { min: 0, max: Some(1), greed, body } => {
            let mut some = cases(body, group)?;
            match greed {
                Greed::Greedy => some.push((Node::Empty, false)),
                Greed::Lazy => some.insert(0, (Node::Empty, false)),
                Greed::Possessive => return None,
            }
            Some(some)
        }
        Node::Concat(nodes) => {
            let place = nodes.iter().position(|node| has_group(node, group))?;
            let (before, [node, behind @ ..]) = nodes.split_at_checked(place)? else { return None };
            let in_row = |(node, took_part)| {
                let behind = behind.iter().map(|node| decide(node.clone(), group, took_part));
                (Node::concat(before.iter().cloned().chain([node]).chain(behind).collect()), took_part)
            };
            Some(cases(node, group)?.into_iter().map(in_row).collect())
        }
        _ => None,
    }
}

fn has_group(node: &Node, group: usize) -> bool {
    node.any(&|node| matches!(node, Node::Group { index, .. } if *index == group))
}

/// The node where it is known whether the group took part.
fn decide(node: Node, group: usize, took_part: bool) -> Node {
    match node {
        Node::Conditional { group: asked, yes, no } if asked == group => {
            decide(if took_part { *yes } else { *no }, group, took_part)
        }
        node => node.map(&mut |child| decide(child, group, took_part)),
    }
}
