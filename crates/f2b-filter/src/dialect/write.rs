//! Writes a pattern out in the engine's syntax.
//!
//! Everything that has a meaning of its own is escaped or spelled out, so that the engine reads the tree that Python
//! read. Python's `\w` is spelled as letters, numbers and `_`, its `\s` includes the four separators U+001C to U+001F.

use std::fmt::Write;

use super::Parsed;
use super::ast::{At, Category, Class, ClassItem, Greed, Node};

/// What the text to search is known to be, and what the answer is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The text has no newline but maybe a last one, and no character beyond ASCII where the pattern asks for word
    /// boundaries. Under these conditions `$` and `\b` are what the linear engine has too.
    Plain,
    /// Any text, at the price of look-around for `$` and `\b`.
    Exact,
    /// A pattern without look-around, references and conditions that matches whenever the pattern itself does, in
    /// `Exact` texts if so asked. It sieves out lines for the backtracking engine.
    Screen { exact: bool },
}

/// A pattern for the engine.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// The linear engine can't do it alone.
    pub(crate) irregular: bool,
}

/// Writes `parsed` for texts of the kind that `mode` says.
pub(crate) fn write(parsed: &Parsed, mode: Mode) -> Written {
    let mut writer = Writer { parsed, mode, text: String::new(), irregular: false };
    match &parsed.root {
        // The engine turns a look-ahead at the very end into a regular pattern by itself.
        Node::Concat(nodes) if mode == Mode::Plain => {
            let last = nodes.len() - 1;
            nodes.iter().take(last).for_each(|node| writer.piece(node));
            let before = writer.irregular;
            nodes.iter().skip(last).for_each(|node| writer.piece(node));
            let eased = |body: &Node| !body.any(&|node| !is_regular(node));
            if let Some(Node::Look { behind: false, negative: false, body }) = nodes.last()
                && eased(body)
            {
                writer.irregular = before;
            }
        }
        root => writer.node(root),
    }
    Written { text: writer.text, irregular: writer.irregular }
}

impl Parsed {
    /// Whether `$` stands in it, which [`Mode::Plain`] simplifies.
    pub(crate) fn asks_for_line_end(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::At(At::LastLineEnd)))
    }

    /// Whether `\b` or `\B` stands in it, which [`Mode::Plain`] simplifies.
    pub(crate) fn asks_for_words(&self) -> bool {
        let is_boundary = |at: &At| matches!(at, At::WordBoundary { .. } | At::NoWordBoundary { .. });
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
        Node::Look { .. } | Node::Atomic(_) | Node::Backref(_) | Node::Conditional { .. } => false,
        Node::Repeat { greed, .. } => *greed != Greed::Possessive,
        Node::At(At::WordBoundary { ascii } | At::NoWordBoundary { ascii }) => !ascii,
        _ => true,
    }
}

const UNICODE_WORD: &str = r"\p{L}\p{N}_";
const ASCII_WORD: &str = "0-9A-Za-z_";

struct Writer<'a> {
    parsed: &'a Parsed,
    mode: Mode,
    text: String,
    irregular: bool,
}

impl Writer<'_> {
    fn is_screen(&self) -> bool {
        matches!(self.mode, Mode::Screen { .. })
    }

    fn node(&mut self, node: &Node) {
        if self.is_screen() {
            return self.screened(node);
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
            Node::Group { body, .. } => self.wrapped("(", body),
            Node::Atomic(body) => self.wrapped("(?>", body),
            Node::Backref(group) => self.format(format_args!(r"\k<{group}>")),
            Node::Conditional { group, yes, no } => {
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
            Node::Backref(group) => match self.parsed.group(*group) {
                Some(body) if is_small(body) => self.wrapped("(?i:", body),
                _ => self.text.push_str("(?s:.*)"),
            },
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

    fn regular(&mut self, node: &Node) {
        match node {
            Node::Char(c) => push_literal(&mut self.text, *c),
            Node::Any { newline: false } => self.text.push('.'),
            Node::Any { newline: true } => self.text.push_str("(?s:.)"),
            Node::Class(class) => self.class(class),
            Node::At(at) => self.at(*at),
            Node::Case { ignore: true, body } => self.wrapped("(?i:", body),
            Node::Case { ignore: false, body } => self.wrapped("(?-i:", body),
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
        match body {
            Node::Char(_) | Node::Class(_) | Node::Any { .. } | Node::Group { .. } | Node::Case { .. } => {
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
        let exact = matches!(self.mode, Mode::Exact | Mode::Screen { exact: true });
        match at {
            At::TextStart => self.text.push_str(r"\A"),
            At::LineStart => self.text.push_str("(?m:^)"),
            At::TextEnd => self.text.push_str(r"\z"),
            At::LineEnd => self.text.push_str("(?m:$)"),
            At::LastLineEnd if !exact => self.text.push_str("(?m:$)"),
            At::WordBoundary { ascii: false } if !exact => self.text.push_str(r"\b"),
            At::NoWordBoundary { ascii: false } if !exact => self.text.push_str(r"\B"),
            // A screen may leave out any condition.
            _ if self.is_screen() => {}
            At::LastLineEnd => {
                self.irregular = true;
                self.text.push_str(r"(?=\n?\z)");
            }
            At::WordBoundary { ascii } => self.boundary(ascii, ["(?!", "(?="]),
            At::NoWordBoundary { ascii } => self.boundary(ascii, ["(?=", "(?!"]),
        }
    }

    /// A place with a word character before it and behind it one as the first of `ahead` says, or the other way round.
    fn boundary(&mut self, ascii: bool, [after_word, after_other]: [&str; 2]) {
        self.irregular = true;
        let word = if ascii { ASCII_WORD } else { UNICODE_WORD };
        self.format(format_args!(
            "(?:(?<=[{word}]){after_word}[{word}])|(?<![{word}]){after_other}[{word}]))"
        ));
    }

    fn class(&mut self, class: &Class) {
        match (class.items.is_empty(), class.negated) {
            (true, false) => return self.text.push_str(r"[^\x{0}-\x{10FFFF}]"),
            (true, true) => return self.text.push_str("(?s:.)"),
            _ => {}
        }
        self.text.push_str(if class.negated { "[^" } else { "[" });
        for item in &class.items {
            match item {
                ClassItem::Char(c) => push_class_char(&mut self.text, *c),
                ClassItem::Range(from, to) => {
                    push_class_char(&mut self.text, *from);
                    self.text.push('-');
                    push_class_char(&mut self.text, *to);
                }
                ClassItem::Category { kind, negated, ascii } => {
                    self.text.push_str(if *negated { "[^" } else { "[" });
                    self.text.push_str(category(*kind, *ascii));
                    self.text.push(']');
                }
            }
        }
        self.text.push(']');
    }
}

fn category(kind: Category, ascii: bool) -> &'static str {
    match (kind, ascii) {
        (Category::Digit, false) => r"\p{Nd}",
        (Category::Digit, true) => "0-9",
        (Category::Space, false) => r"\s\x{1C}-\x{1F}",
        (Category::Space, true) => r"\x{9}-\x{D}\x{20}",
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

/// Worth repeating in place of a reference to it.
fn is_small(body: &Node) -> bool {
    !body.any(&|node| matches!(node, Node::Backref(_) | Node::Repeat { .. } | Node::Concat(_)))
}
