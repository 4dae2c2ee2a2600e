//! Writes a pattern out in the engine's syntax.
//!
//! Everything that has a meaning of its own is escaped or spelled out, so that the engine reads the tree that Python
//! read. Python's `\w` is spelled as letters, numbers and `_`, its `\s` includes the four separators U+001C to U+001F.

use std::fmt::Write;

use super::ast::{At, Category, Class, ClassItem, Greed, Node};
use super::{Parsed, conditions};

/// What the texts to search are known to be. The less a program has to expect, the smaller and faster it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// They are ASCII.
    pub(crate) ascii: bool,
    /// `$` and `\b` have to be spelled out in look-around. Otherwise the linear engine's own will do, for texts that have
    /// no newline but maybe a last one, and none but ASCII characters where the pattern asks for word boundaries.
    pub(crate) exact: bool,
}

/// What it takes to search for a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It is for the linear engine.
    Linear,
    /// It is regular but for a look-ahead at its very end, which the backtracking engine makes regular by itself.
    Eased,
    Backtracking,
}

/// A pattern for the engine.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) effort: Effort,
    /// Which group of the pattern each group of the text is. Several can be the same one, of which one takes part.
    pub(crate) groups: Vec<usize>,
}

/// Writes `parsed` for texts of the kind that `mode` says.
pub(crate) fn write(parsed: &Parsed, mode: Mode) -> Written {
    let mut writer = Writer::new(parsed, mode, false);
    writer.node(&parsed.root);
    let effort = match (writer.irregular, eased_at_end(&parsed.root)) {
        (false, _) => Effort::Linear,
        (true, Some(true)) if !mode.exact => Effort::Eased,
        _ => Effort::Backtracking,
    };
    Written { text: writer.text, effort, groups: writer.groups }
}

/// A look-ahead of a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// The empty group of the engine's that stands in its place.
    pub(crate) group: usize,
    /// Whether it has to match, or must not.
    pub(crate) demands: bool,
    /// What it looks for.
    pub(crate) text: String,
}

/// A regular pattern with marks for the look-aheads, and these; `None` if it isn't regular otherwise. Conditions are
/// choices in it.
pub(crate) fn write_guarded(parsed: &Parsed, mode: Mode) -> Option<(Written, Vec<Look>)> {
    let root = conditions::split(parsed.root.clone());
    let mut writer = Writer::new(parsed, mode, false);
    writer.looks = Some(Vec::new());
    writer.node(&root);
    let written = Written { text: writer.text, effort: Effort::Linear, groups: writer.groups };
    (!writer.irregular).then_some((written, writer.looks?))
}

/// A pattern without look-around, references, conditions and groups that matches whenever `parsed` does. It sieves out
/// lines for the backtracking engine.
pub(crate) fn write_screen(parsed: &Parsed, mode: Mode) -> String {
    let mut writer = Writer::new(parsed, mode, true);
    writer.node(&parsed.root);
    writer.text
}

/// Whether the only irregular node is a look-ahead at the very end, which the engine makes regular by itself; `None` if
/// there is no such look-ahead.
fn eased_at_end(node: &Node) -> Option<bool> {
    let regular = |node: &Node| !node.any(&|node| !is_regular(node));
    match node {
        Node::Concat(nodes) => match nodes.split_last()? {
            (Node::Look { behind: false, negative: false, body }, before) => {
                Some(regular(body) && before.iter().all(regular))
            }
            _ => None,
        },
        _ => None,
    }
}

impl Parsed {
    /// Whether `$` stands in it, on which [`Mode::exact`] has an effect.
    pub(crate) fn asks_for_line_end(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::At(At::LastLineEnd)))
    }

    /// Whether `\b` or `\B` stands in it, on which [`Mode::exact`] has an effect.
    pub(crate) fn asks_for_words(&self) -> bool {
        let is_boundary =
            |at: &At| matches!(at, At::WordBoundary { .. } | At::NoWordBoundary { .. } | At::WordEdge);
        self.root.any(&|node| matches!(node, Node::At(at) if is_boundary(at)))
    }

    fn group(&self, index: usize) -> Option<&Node> {
        fn find(node: &Node, index: usize) -> Option<&Node> {
            match node {
                Node::Group { index: own, body } if *own == index => Some(body),
                node => node.children().into_iter().find_map(|child| find(child, index)),
            }
        }
        find(&self.root, index)
    }
}

/// Whether the linear engine knows what the node is, leaving aside what is below.
fn is_regular(node: &Node) -> bool {
    match node {
        Node::Look { .. } | Node::Atomic(_) | Node::Backref { .. } | Node::Conditional { .. } => false,
        Node::Repeat { greed, .. } => *greed != Greed::Possessive,
        Node::At(At::WordBoundary { ascii } | At::NoWordBoundary { ascii }) => !ascii,
        _ => true,
    }
}

const ANY_ASCII: &str = r"[\x{0}-\x{7F}]";
const UNICODE_WORD: &str = r"\p{L}\p{N}_";
const ASCII_WORD: &str = "0-9A-Za-z_";

struct Writer<'a> {
    parsed: &'a Parsed,
    mode: Mode,
    screen: bool,
    text: String,
    irregular: bool,
    groups: Vec<usize>,
    /// The look-aheads, where they are not written.
    looks: Option<Vec<Look>>,
}

/// What stands in the list of groups for the mark of a look-ahead.
const NO_GROUP: usize = usize::MAX;

impl<'a> Writer<'a> {
    fn new(parsed: &'a Parsed, mode: Mode, screen: bool) -> Self {
        Self { parsed, mode, screen, text: String::new(), irregular: false, groups: Vec::new(), looks: None }
    }

    fn node(&mut self, node: &Node) {
        if self.screen {
            return self.screened(node);
        }
        if let Node::Look { behind: false, negative, body } = node
            && self.looks.is_some()
        {
            return self.mark(!negative, body);
        }
        self.irregular |= !is_regular(node);
        match node {
            Node::Look { behind, negative, body } => {
                self.text.push_str(match (behind, negative) {
                    (false, false) => "(?=",
                    (false, true) => "(?!",
                    (true, false) => "(?<=",
                    (true, true) => "(?<!",
                });
                self.node(body);
                self.text.push(')');
            }
            Node::Group { index, body } => {
                self.groups.push(*index);
                self.wrapped("(", body);
            }
            Node::Atomic(body) => self.wrapped("(?>", body),
            Node::Backref { group, ignore_case } => {
                let group = self.number_of(*group);
                match ignore_case {
                    true => self.format(format_args!(r"(?i:\k<{group}>)")),
                    false => self.format(format_args!(r"\k<{group}>")),
                }
            }
            Node::Conditional { group, yes, no } => {
                let group = self.number_of(*group);
                self.format(format_args!("(?({group})"));
                self.wrapped("(?:", yes);
                if **no != Node::Empty {
                    self.text.push('|');
                    self.wrapped("(?:", no);
                }
                self.text.push(')');
            }
            Node::Repeat { min, max, greed: Greed::Possessive, body } => {
                self.text.push_str("(?>");
                self.repeat(*min, *max, Greed::Greedy, body);
                self.text.push(')');
            }
            node => self.regular(node),
        }
    }

    /// What the linear engine can't do, replaced by something that matches at least as much.
    fn screened(&mut self, node: &Node) {
        match node {
            Node::Look { .. } => {}
            Node::Group { body, .. } | Node::Atomic(body) => self.wrapped("(?:", body),
            Node::Backref { group, ignore_case: false } => match self.parsed.group(*group) {
                Some(body) if is_small(body) => self.wrapped("(?:", body),
                _ => self.text.push_str("(?s:.*)"),
            },
            Node::Backref { .. } => self.text.push_str("(?s:.*)"),
            Node::Conditional { yes, no, .. } => {
                self.text.push_str("(?:");
                self.node(yes);
                self.text.push('|');
                self.node(no);
                self.text.push(')');
            }
            Node::Repeat { min, max, greed: Greed::Possessive, body } => {
                self.repeat(*min, *max, Greed::Greedy, body);
            }
            node => self.regular(node),
        }
    }

    /// Leaves a look-ahead to be looked for elsewhere. Its groups would be lost.
    fn mark(&mut self, demands: bool, body: &Node) {
        let mut writer = Writer::new(self.parsed, self.mode, false);
        writer.node(body);
        self.irregular |= writer.irregular || !writer.groups.is_empty();
        self.text.push_str("()");
        self.groups.push(NO_GROUP);
        let look = Look { group: self.groups.len(), demands, text: writer.text };
        self.looks.get_or_insert_default().push(look);
    }

    fn regular(&mut self, node: &Node) {
        match node {
            Node::Char(c) => push_literal(&mut self.text, *c),
            Node::Any { newline: false } if self.mode.ascii => {
                self.text.push_str(r"[\x{0}-\x{9}\x{B}-\x{7F}]")
            }
            Node::Any { newline: false } => self.text.push('.'),
            Node::Any { newline: true } if self.mode.ascii => self.text.push_str(ANY_ASCII),
            Node::Any { newline: true } => self.text.push_str("(?s:.)"),
            Node::Class(class) => self.class(class),
            Node::At(at) => self.at(*at),
            Node::Repeat { min, max, greed, body } => self.repeat(*min, *max, *greed, body),
            Node::Concat(nodes) => nodes.iter().for_each(|node| self.piece(node)),
            Node::Alt(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    if index > 0 {
                        self.text.push('|');
                    }
                    self.node(node);
                }
            }
            // The rest is irregular and written elsewhere.
            _ => {}
        }
    }

    /// A node in a row of others.
    fn piece(&mut self, node: &Node) {
        match node {
            Node::Alt(_) => self.wrapped("(?:", node),
            node => self.node(node),
        }
    }

    fn wrapped(&mut self, open: &str, body: &Node) {
        self.text.push_str(open);
        self.node(body);
        self.text.push(')');
    }

    fn format(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a String never fails.
        let _ = self.text.write_fmt(text);
    }

    fn repeat(&mut self, min: u32, max: Option<u32>, greed: Greed, body: &Node) {
        if body.is_zero_width() {
            return self.repeat_of_nothing(min, greed, body);
        }
        let may_be_nothing = self.screen
            && body.any(&|node| {
                matches!(node, Node::Look { .. } | Node::Conditional { .. } | Node::Backref { .. })
            });
        match body {
            body if may_be_nothing || matches!(body, Node::Conditional { .. }) => {
                // The engine repeats nothing that it sees to be empty.
                self.text.push_str("(?:");
                self.piece(body);
                self.text.push_str(r"|[^\x{0}-\x{10FFFF}])");
            }
            Node::Char(_) | Node::Class(_) | Node::Any { .. } | Node::Group { .. } => {
                self.node(body);
            }
            body => self.wrapped("(?:", body),
        }
        match (min, max) {
            (0, None) => self.text.push('*'),
            (1, None) => self.text.push('+'),
            (0, Some(1)) => self.text.push('?'),
            (min, None) => self.format(format_args!("{{{min},}}")),
            (min, Some(max)) => self.format(format_args!("{{{min},{max}}}")),
        }
        if greed == Greed::Lazy {
            self.text.push('?');
        }
    }

    /// The engine repeats nothing that has no width. Once is as good as often, and none at all is allowed if `min` is 0.
    fn repeat_of_nothing(&mut self, min: u32, greed: Greed, body: &Node) {
        match (min, greed) {
            (0, Greed::Lazy) => self.wrapped("(?:|", body),
            (0, _) => {
                self.text.push_str("(?:");
                self.node(body);
                self.text.push_str("|)");
            }
            _ => self.wrapped("(?:", body),
        }
    }

    fn at(&mut self, at: At) {
        let exact = self.mode.exact;
        match at {
            At::TextStart => self.text.push_str(r"\A"),
            At::LineStart => self.text.push_str("(?m:^)"),
            At::TextEnd => self.text.push_str(r"\z"),
            At::LineEnd => self.text.push_str("(?m:$)"),
            At::LastLineEnd if !exact => self.text.push_str("(?m:$)"),
            At::WordBoundary { ascii } if !exact && (!ascii || self.mode.ascii) => self.text.push_str(r"\b"),
            At::NoWordBoundary { ascii } if !exact && (!ascii || self.mode.ascii) => {
                self.text.push_str(r"\B")
            }
            At::WordEdge if !exact => self.text.push_str(r"(?:\b{start-half}|\b{end-half})"),
            // A screen may leave out any condition.
            _ if self.screen => {}
            At::LastLineEnd => {
                self.irregular = true;
                self.text.push_str(r"(?=\n?\z)");
            }
            At::WordEdge => {
                self.irregular = true;
                self.format(format_args!("(?:(?<![{UNICODE_WORD}])|(?![{UNICODE_WORD}]))"));
            }
            At::WordBoundary { ascii } => self.boundary(ascii, ["(?!", "(?="]),
            At::NoWordBoundary { ascii } => self.boundary(ascii, ["(?=", "(?!"]),
        }
    }

    /// A place with a word character before it and behind it one as the first of `ahead` says, or the other way round.
    fn boundary(&mut self, ascii: bool, [after_word, after_other]: [&str; 2]) {
        self.irregular = true;
        if after_word == "(?=" {
            // To Python 3.11 there is not even the absence of a boundary in an empty text.
            self.text.push_str(r"(?!\A\z)");
        }
        let word = if ascii { ASCII_WORD } else { UNICODE_WORD };
        self.format(format_args!(
            "(?:(?<=[{word}]){after_word}[{word}])|(?<![{word}]){after_other}[{word}]))"
        ));
    }

    fn class(&mut self, class: &Class) {
        let is_empty = class.items.iter().all(|item| match item {
            ClassItem::Char(c) => self.mode.ascii && !c.is_ascii(),
            _ => false,
        });
        match (is_empty, class.negated) {
            (true, false) => self.text.push_str(r"[^\x{0}-\x{10FFFF}]"),
            (true, true) => self.node(&Node::Any { newline: true }),
            (false, negated) => {
                let close = self.open_class(negated);
                for item in &class.items {
                    match item {
                        ClassItem::Char(c) if self.mode.ascii && !c.is_ascii() => {}
                        item => self.class_item(item),
                    }
                }
                self.text.push_str(close);
            }
        }
    }

    /// Opens a class; answers with what closes it.
    fn open_class(&mut self, negated: bool) -> &'static str {
        let (open, close) = match (negated, self.mode.ascii) {
            (false, _) => ("[", "]"),
            (true, false) => ("[^", "]"),
            (true, true) => (r"[\x{0}-\x{7F}&&[^", "]]"),
        };
        self.text.push_str(open);
        close
    }

    fn class_item(&mut self, item: &ClassItem) {
        match item {
            ClassItem::Char(c) => push_class_char(&mut self.text, *c),
            ClassItem::Range(from, to) => {
                push_class_char(&mut self.text, *from);
                self.text.push('-');
                push_class_char(&mut self.text, *to);
            }
            ClassItem::Category { kind, negated, ascii } => {
                let narrow = *ascii || self.mode.ascii;
                let close = self.open_class(*negated);
                self.text.push_str(category(*kind, narrow, *ascii));
                self.text.push_str(close);
            }
        }
    }

    /// The number that the engine gives to a group of the pattern. A condition may refer to a group further on.
    fn number_of(&self, group: usize) -> usize {
        self.groups.iter().position(|known| *known == group).map_or(group, |place| place + 1)
    }
}

/// The members of a category, or those in ASCII only. Under the flag `a` the separators are no blanks.
fn category(kind: Category, narrow: bool, flag_a: bool) -> &'static str {
    match (kind, narrow) {
        (Category::Digit, false) => r"\p{Nd}",
        (Category::Digit, true) => "0-9",
        (Category::Space, false) => r"\s\x{1C}-\x{1F}",
        (Category::Space, true) if flag_a => r"\x{9}-\x{D}\x{20}",
        (Category::Space, true) => r"\x{9}-\x{D}\x{1C}-\x{20}",
        (Category::Word, false) => UNICODE_WORD,
        (Category::Word, true) => ASCII_WORD,
    }
}

fn push_literal(text: &mut String, c: char) {
    if c.is_ascii_punctuation()
        && !matches!(c, '_' | '<' | '>' | ',' | ':' | ';' | '=' | '!' | '"' | '\'' | '@')
    {
        text.push('\\');
    }
    text.push(c);
}

fn push_class_char(text: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        // Writing into a String never fails.
        let _ = write!(text, r"\x{{{:X}}}", u32::from(c));
    } else {
        text.push(c);
    }
}

/// Worth repeating in place of a reference to it, and free of conditions on the place where it stands.
fn is_small(body: &Node) -> bool {
    !body.any(&|node| {
        !matches!(
            node,
            Node::Empty
                | Node::Char(_)
                | Node::Any { .. }
                | Node::Class(_)
                | Node::Group { .. }
                | Node::Alt(_)
        )
    })
}
