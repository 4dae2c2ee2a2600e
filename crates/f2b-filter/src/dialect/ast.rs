//! The tree of a pattern.
//!
//! Flags are resolved while parsing: each node says itself what it depends on, and where the case is ignored, classes
//! name every character that is equal.

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing.
    Empty,
    /// One character.
    Char(char),
    /// `.`, with or without the newline.
    Any { newline: bool },
    /// `[...]`, or a category such as `\d` by itself.
    Class(Class),
    /// A place in the text.
    At(At),
    /// A capturing group with its number.
    Group { index: usize, body: Box<Node> },
    /// `(?=...)` and its kin.
    Look { behind: bool, negative: bool, body: Box<Node> },
    /// `(?>...)`
    Atomic(Box<Node>),
    /// `*`, `+`, `?`, `{m,n}`; no `max` for no limit.
    Repeat { min: u32, max: Option<u32>, greed: Greed, body: Box<Node> },
    /// `\1`, `(?P=name)`
    Backref { group: usize, ignore_case: bool },
    /// `(?(1)yes|no)`
    Conditional { group: usize, yes: Box<Node>, no: Box<Node> },
    /// One after the other.
    Concat(Vec<Node>),
    /// `a|b`
    Alt(Vec<Node>),
}

/// How a repetition goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// `\A`, or `^` without the flag `m`.
    TextStart,
    /// `^` with the flag `m`.
    LineStart,
    /// `\Z`
    TextEnd,
    /// `$` without the flag `m`: the end, or before a newline at the end.
    LastLineEnd,
    /// `$` with the flag `m`.
    LineEnd,
    /// `\b`
    WordBoundary { ascii: bool },
    /// `\B`
    NoWordBoundary { ascii: bool },
    /// Anywhere but inside of a word. Python has no sign for it.
    WordEdge,
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    pub(super) negated: bool,
    pub(super) items: Vec<ClassItem>,
}

/// What a set is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ClassItem {
    Char(char),
    Range(char, char),
    Category { kind: Category, negated: bool, ascii: bool },
}

/// `\d`, `\s`, `\w`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Digit,
    Space,
    Word,
}

impl Node {
    /// Joins what stands in a row.
    pub(super) fn concat(mut nodes: Vec<Node>) -> Node {
        match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        }
    }

    /// The nodes directly below.
    pub(super) fn children(&self) -> Vec<&Node> {
        match self {
            Node::Empty
            | Node::Char(_)
            | Node::Any { .. }
            | Node::Class(_)
            | Node::At(_)
            | Node::Backref { .. } => Vec::new(),
            Node::Group { body, .. }
            | Node::Look { body, .. }
            | Node::Atomic(body)
            | Node::Repeat { body, .. } => vec![body],
            Node::Conditional { yes, no, .. } => vec![yes, no],
            Node::Concat(nodes) | Node::Alt(nodes) => nodes.iter().collect(),
        }
    }

    /// The node with `change` applied to those directly below.
    pub(super) fn map(self, change: &mut impl FnMut(Node) -> Node) -> Node {
        let mut boxed = |body: Box<Node>| Box::new(change(*body));
        match self {
            Node::Group { index, body } => Node::Group { index, body: boxed(body) },
            Node::Look { behind, negative, body } => Node::Look { behind, negative, body: boxed(body) },
            Node::Atomic(body) => Node::Atomic(boxed(body)),
            Node::Repeat { min, max, greed, body } => Node::Repeat { min, max, greed, body: boxed(body) },
            Node::Conditional { group, yes, no } => {
                Node::Conditional { group, yes: boxed(yes), no: boxed(no) }
            }
            Node::Concat(nodes) => Node::Concat(nodes.into_iter().map(change).collect()),
            Node::Alt(nodes) => Node::Alt(nodes.into_iter().map(change).collect()),
            leaf => leaf,
        }
    }

    /// Shows `see` this node and all below.
    pub(super) fn each(&self, see: &mut impl FnMut(&Node)) {
        see(self);
        self.children().into_iter().for_each(|child| child.each(see));
    }

    /// What matches nowhere.
    pub(super) fn never() -> Node {
        Node::Class(Class { negated: false, items: Vec::new() })
    }

    /// Whether `test` holds for this node or one below.
    pub(super) fn any(&self, test: &impl Fn(&Node) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|child| child.any(test))
    }

    /// Whether it never consumes a character.
    pub(super) fn is_zero_width(&self) -> bool {
        match self {
            Node::Empty | Node::At(_) | Node::Look { .. } => true,
            Node::Char(_) | Node::Any { .. } | Node::Class(_) | Node::Backref { .. } => false,
            _ => self.children().into_iter().all(Node::is_zero_width),
        }
    }

    /// Whether it consumes a character whenever it matches.
    pub(super) fn always_consumes(&self) -> bool {
        match self {
            Node::Char(_) | Node::Any { .. } | Node::Class(_) => true,
            Node::Group { body, .. } | Node::Atomic(body) => body.always_consumes(),
            Node::Repeat { min, body, .. } => *min > 0 && body.always_consumes(),
            Node::Conditional { yes, no, .. } => yes.always_consumes() && no.always_consumes(),
            Node::Concat(nodes) => nodes.iter().any(Node::always_consumes),
            Node::Alt(nodes) => nodes.iter().all(Node::always_consumes),
            Node::Empty | Node::At(_) | Node::Look { .. } | Node::Backref { .. } => false,
        }
    }

    /// Whether the last character it consumes, if any, is the mark `last`.
    pub(super) fn ends_with(&self, last: char) -> bool {
        match self {
            Node::Char(c) => *c == last,
            Node::Any { .. } | Node::Class(_) | Node::Backref { .. } => false,
            Node::Empty | Node::At(_) | Node::Look { .. } => true,
            Node::Group { body, .. } | Node::Atomic(body) | Node::Repeat { body, .. } => body.ends_with(last),
            Node::Conditional { yes, no, .. } => yes.ends_with(last) && no.ends_with(last),
            Node::Alt(nodes) => nodes.iter().all(|node| node.ends_with(last)),
            Node::Concat(nodes) => {
                for node in nodes.iter().rev() {
                    if !node.ends_with(last) {
                        return false;
                    }
                    if node.always_consumes() {
                        return true;
                    }
                }
                true
            }
        }
    }
}
