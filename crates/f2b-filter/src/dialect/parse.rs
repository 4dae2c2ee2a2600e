//! Python's pattern syntax (CPython 3.11, `re._parser`), with its errors and the places where they are noticed.
//!
//! What begins with a parenthesis is read in `group`, what begins with a backslash in `escape`.

use super::ast::{At, Class, ClassItem, Greed, Node};
use super::case;
use super::escape::{self, Escape};
use super::pieces::Piece;
use super::{DialectError, Parsed};

/// Groups deeper than this are refused, so that a pattern can't exhaust the stack. The engine has its own limit of 64.
pub(super) const MAX_DEPTH: usize = 50;

/// Python's figure for "no limit" (`MAXREPEAT`): a repetition may not name it, a width never exceeds it.
const MAX_REPEAT: u64 = 4_294_967_295;

/// Fewest and most characters that a piece matches.
pub(super) type Width = (u64, u64);

/// One step of the pattern: a character, or an escaped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Plain(char),
    Escaped(char),
}

impl Token {
    pub(super) fn len(self) -> usize {
        match self {
            Token::Plain(_) => 1,
            Token::Escaped(_) => 2,
        }
    }
}

/// The flags in force at a place of the pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
    pub(super) verbose: bool,
    pub(super) ascii: bool,
}

/// Reads `pattern` as `re.compile` would.
pub(super) fn parse(pattern: &str, multi_line: bool) -> Result<Parsed, DialectError> {
    let mut p = Parser::new(pattern)?;
    p.flags.multi_line = multi_line;
    let (root, _) = p.alternatives(0)?;
    if p.next.is_some() {
        return Err(p.error("unbalanced parenthesis", 0));
    }
    let groups = p.groups.len();
    if let Some((group, position)) = p.conditions.iter().find(|(group, _)| *group > groups) {
        let message = format!("invalid group reference {group}");
        return Err(DialectError::new(message, Some(*position), pattern));
    }
    if p.variable_look_behind {
        return Err(DialectError::new("look-behind requires fixed-width pattern", None, pattern));
    }
    Ok(Parsed {
        root,
        #[cfg(test)]
        groups,
        names: p.names,
    })
}

/// The state of reading one pattern.
pub(super) struct Parser<'a> {
    pattern: &'a str,
    chars: Vec<char>,
    index: usize,
    pub(super) next: Option<Token>,
    pub(super) flags: Flags,
    /// The width of each group, `None` while it is open.
    pub(super) groups: Vec<Option<Width>>,
    pub(super) names: Vec<(String, usize)>,
    /// Groups before the outermost look-behind that is being read.
    pub(super) look_behind: Option<usize>,
    /// Conditions by number, which may be defined later.
    pub(super) conditions: Vec<(usize, usize)>,
    pub(super) variable_look_behind: bool,
    /// In characters; kept if they are asked for.
    pub(super) pieces: Option<Vec<Piece>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(pattern: &'a str) -> Result<Self, DialectError> {
        let mut parser = Self {
            pattern,
            chars: pattern.chars().collect(),
            index: 0,
            next: None,
            flags: Flags::default(),
            groups: Vec::new(),
            names: Vec::new(),
            look_behind: None,
            conditions: Vec::new(),
            variable_look_behind: false,
            pieces: None,
        };
        parser.advance()?;
        Ok(parser)
    }

    /// An error `back` characters before the token that comes next.
    pub(super) fn error(&self, message: impl Into<String>, back: usize) -> DialectError {
        DialectError::new(message, Some(self.position().saturating_sub(back)), self.pattern)
    }

    pub(super) fn error_since(&self, message: &str, start: usize) -> DialectError {
        self.error(message, self.position().saturating_sub(start))
    }

    /// The place of the token that comes next.
    pub(super) fn position(&self) -> usize {
        self.index - self.next.map_or(0, Token::len)
    }

    /// Reads the token behind the next one.
    pub(super) fn advance(&mut self) -> Result<(), DialectError> {
        self.next = match self.chars.get(self.index) {
            None => None,
            Some('\\') => match self.chars.get(self.index + 1) {
                Some(c) => Some(Token::Escaped(*c)),
                None => {
                    let position = Some(self.chars.len() - 1);
                    return Err(DialectError::new("bad escape (end of pattern)", position, self.pattern));
                }
            },
            Some(c) => Some(Token::Plain(*c)),
        };
        self.index += self.next.map_or(0, Token::len);
        Ok(())
    }

    pub(super) fn get(&mut self) -> Result<Option<Token>, DialectError> {
        let token = self.next;
        self.advance()?;
        Ok(token)
    }

    pub(super) fn eat(&mut self, c: char) -> Result<bool, DialectError> {
        let found = self.next == Some(Token::Plain(c));
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// The next token where it is a plain character.
    pub(super) fn next_char(&self) -> Option<char> {
        match self.next {
            Some(Token::Plain(c)) => Some(c),
            _ => None,
        }
    }

    /// At most `limit` characters that fulfil `test`.
    pub(super) fn take_while(
        &mut self,
        limit: usize,
        test: impl Fn(char) -> bool,
    ) -> Result<String, DialectError> {
        let mut taken = String::new();
        for _ in 0..limit {
            let Some(c) = self.next_char().filter(|c| test(*c)) else { break };
            taken.push(c);
            self.advance()?;
        }
        Ok(taken)
    }

    /// Everything up to `end`, which is read too.
    pub(super) fn take_until(&mut self, end: char, what: &str) -> Result<String, DialectError> {
        let mut taken = String::new();
        loop {
            match self.get()? {
                None if taken.is_empty() => return Err(self.error(format!("missing {what}"), 0)),
                None => {
                    let length = taken.chars().count();
                    return Err(self.error(format!("missing {end}, unterminated name"), length));
                }
                Some(Token::Plain(c)) if c == end => {
                    return if taken.is_empty() {
                        Err(self.error(format!("missing {what}"), 1))
                    } else {
                        Ok(taken)
                    };
                }
                Some(Token::Plain(c)) => taken.push(c),
                Some(Token::Escaped(c)) => taken.extend(['\\', c]),
            }
        }
    }

    /// `a|b|c`
    pub(super) fn alternatives(&mut self, depth: usize) -> Result<(Node, Width), DialectError> {
        if depth > MAX_DEPTH {
            return Err(self.error("groups nested too deeply", 0));
        }
        let mut branches = Vec::new();
        let mut width = (MAX_REPEAT - 1, 0);
        loop {
            let (node, (least, most)) = self.sequence(depth, depth == 0 && branches.is_empty())?;
            width = (width.0.min(least), width.1.max(most));
            branches.push(node);
            let bar = self.position();
            if !self.eat('|')? {
                break;
            }
            self.note_bar(depth, bar);
        }
        match branches.len() {
            1 => Ok((branches.remove(0), width)),
            _ => Ok((Node::Alt(branches), width)),
        }
    }

    /// What stands in a row up to `|` or `)`. Only the very `first` sequence may begin with flags for the whole.
    pub(super) fn sequence(&mut self, depth: usize, first: bool) -> Result<(Node, Width), DialectError> {
        let mut row = Row::default();
        while let Some(token) = self.next {
            if matches!(token, Token::Plain('|' | ')')) {
                break;
            }
            let (start, length) = (self.position(), row.nodes.len());
            self.advance()?;
            match token {
                Token::Escaped(c) => self.escaped(c, &mut row)?,
                Token::Plain(c) if self.flags.verbose && is_python_blank(c) => {}
                Token::Plain('#') if self.flags.verbose => {
                    while !matches!(self.get()?, None | Some(Token::Plain('\n'))) {}
                }
                Token::Plain(c @ ('*' | '+' | '?' | '{')) => self.repetition(c, &mut row)?,
                Token::Plain('[') => {
                    let class = self.class()?;
                    row.push(class, (1, 1));
                }
                Token::Plain('(') => self.group(depth, first, &mut row)?,
                Token::Plain('.') => row.push(Node::Any { newline: self.flags.dot_all }, (1, 1)),
                Token::Plain('^') => {
                    let at = if self.flags.multi_line { At::LineStart } else { At::TextStart };
                    row.push(Node::At(at), (0, 0));
                }
                Token::Plain('$') => {
                    let at = if self.flags.multi_line { At::LineEnd } else { At::LastLineEnd };
                    row.push(Node::At(at), (0, 0));
                }
                Token::Plain(c) => row.push(self.literal(c), (1, 1)),
            }
            self.note_piece(depth, start, row.nodes.len() > length);
        }
        let width = row.width();
        Ok((Node::concat(row.nodes), width))
    }

    /// One character, or those that are equal to it.
    fn literal(&self, c: char) -> Node {
        let equal = match self.flags.ignore_case {
            true => case::equal(c, self.flags.ascii),
            false => return Node::Char(c),
        };
        match equal.len() {
            1 => Node::Char(c),
            _ => {
                Node::Class(Class { negated: false, items: equal.into_iter().map(ClassItem::Char).collect() })
            }
        }
    }

    fn escaped(&mut self, c: char, row: &mut Row) -> Result<(), DialectError> {
        match escape::outside_class(self, c)? {
            Escape::At(at) => row.push(Node::At(at), (0, 0)),
            Escape::Char(Some(c)) => row.push(self.literal(c), (1, 1)),
            Escape::Char(None) => row.push(Node::never(), (1, 1)),
            Escape::Category(item) => {
                row.push(Node::Class(Class { negated: false, items: vec![item] }), (1, 1));
            }
            Escape::Backref(group) => {
                let width = self.groups.get(group - 1).copied().flatten().unwrap_or((0, 0));
                let ignore_case = self.flags.ignore_case;
                row.push(Node::Backref { group, ignore_case }, width);
            }
        }
        Ok(())
    }

    /// `*`, `+`, `?` or `{...}` behind the last piece; a `{` that begins no repetition is itself.
    fn repetition(&mut self, sign: char, row: &mut Row) -> Result<(), DialectError> {
        let here = self.position();
        let (min, max) = match sign {
            '?' => (0, Some(1)),
            '*' => (0, None),
            '+' => (1, None),
            _ => match self.bounds(here)? {
                Some(bounds) => bounds,
                None => {
                    row.push(Node::Char('{'), (1, 1));
                    return Ok(());
                }
            },
        };
        let (body, width) = match row.pop() {
            None | Some((Node::At(_), _)) => return Err(self.error_since("nothing to repeat", here - 1)),
            Some((Node::Repeat { .. }, _)) if row.last_is_repeat => {
                return Err(self.error_since("multiple repeat", here - 1));
            }
            Some(piece) => piece,
        };
        let greed = if self.eat('?')? {
            Greed::Lazy
        } else if self.eat('+')? {
            Greed::Possessive
        } else {
            Greed::Greedy
        };
        let most = max.map_or(MAX_REPEAT, u64::from);
        let width = (width.0.saturating_mul(u64::from(min)), width.1.saturating_mul(most));
        row.push(Node::Repeat { min, max, greed, body: Box::new(body) }, width);
        row.last_is_repeat = true;
        Ok(())
    }

    /// `m}`, `m,}`, `,n}` or `m,n}` behind a `{`; `None`, and nothing read, for anything else.
    fn bounds(&mut self, here: usize) -> Result<Option<(u32, Option<u32>)>, DialectError> {
        if self.next == Some(Token::Plain('}')) {
            return Ok(None);
        }
        let digit = |c: char| c.is_ascii_digit();
        let low = self.take_while(usize::MAX, digit)?;
        let high = if self.eat(',')? { self.take_while(usize::MAX, digit)? } else { low.clone() };
        if !self.eat('}')? {
            self.index = here;
            self.advance()?;
            return Ok(None);
        }
        let number = |digits: &str| match digits.parse::<u32>() {
            _ if digits.is_empty() => Ok(None),
            Ok(number) if number != u32::MAX => Ok(Some(number)),
            _ => Err(DialectError::new("the repetition number is too large", None, self.pattern)),
        };
        let (min, max) = (number(&low)?.unwrap_or(0), number(&high)?);
        if max.is_some_and(|max| max < min) {
            return Err(self.error_since("min repeat greater than max repeat", here));
        }
        Ok(Some((min, max)))
    }

    /// `[...]`, behind the bracket.
    fn class(&mut self) -> Result<Node, DialectError> {
        let here = self.position() - 1;
        let negated = self.eat('^')?;
        let mut items = Vec::new();
        let mut empty = true;
        loop {
            let Some(this) = self.get()? else {
                return Err(self.error_since("unterminated character set", here));
            };
            if this == Token::Plain(']') && !empty {
                break;
            }
            empty = false;
            let from = self.class_item(this)?;
            if !self.eat('-')? {
                items.extend(from);
                continue;
            }
            match self.get()? {
                None => return Err(self.error_since("unterminated character set", here)),
                Some(Token::Plain(']')) => {
                    items.extend(from);
                    items.push(ClassItem::Char('-'));
                    break;
                }
                Some(that) => {
                    let to = self.class_item(that)?;
                    match (from, to) {
                        (Some(ClassItem::Char(from)), Some(ClassItem::Char(to))) if from <= to => {
                            items.push(ClassItem::Range(from, to));
                        }
                        _ => {
                            let text = format!("{}-{}", show(this), show(that));
                            let length = this.len() + 1 + that.len();
                            return Err(self.error(format!("bad character range {text}"), length));
                        }
                    }
                }
            }
        }
        if self.flags.ignore_case {
            case::close(&mut items, self.flags.ascii);
        }
        Ok(Node::Class(Class { negated, items }))
    }

    fn class_item(&mut self, token: Token) -> Result<Option<ClassItem>, DialectError> {
        match token {
            Token::Plain(c) => Ok(Some(ClassItem::Char(c))),
            Token::Escaped(c) => escape::inside_class(self, c),
        }
    }
}

impl Flags {
    pub(super) fn set(&mut self, flags: &[char], value: bool) {
        for flag in flags {
            match flag {
                'i' => self.ignore_case = value,
                'm' => self.multi_line = value,
                's' => self.dot_all = value,
                'x' => self.verbose = value,
                'a' => self.ascii = value,
                'u' => self.ascii = !value,
                _ => {}
            }
        }
    }
}

/// The pieces of a sequence, with the width of each.
#[derive(Default)]
pub(super) struct Row {
    pub(super) nodes: Vec<Node>,
    widths: Vec<Width>,
    /// Whether the last piece carries a repetition itself, not inside a group.
    last_is_repeat: bool,
}

impl Row {
    pub(super) fn push(&mut self, node: Node, width: Width) {
        self.nodes.push(node);
        self.widths.push(width);
        self.last_is_repeat = false;
    }

    /// A group without a number is its content, but counts as one piece even where it is empty.
    pub(super) fn push_group(&mut self, node: Node, width: Width) {
        self.push(
            match node {
                at @ Node::At(_) => Node::Concat(vec![at]),
                node => node,
            },
            width,
        );
    }

    fn pop(&mut self) -> Option<(Node, Width)> {
        Some((self.nodes.pop()?, self.widths.pop()?))
    }

    fn width(&self) -> Width {
        let sum = |widths: &mut dyn Iterator<Item = u64>| widths.fold(0, u64::saturating_add);
        (
            sum(&mut self.widths.iter().map(|w| w.0)).min(MAX_REPEAT - 1),
            sum(&mut self.widths.iter().map(|w| w.1)).min(MAX_REPEAT),
        )
    }
}

pub(super) fn show(token: Token) -> String {
    match token {
        Token::Plain(c) => c.to_string(),
        Token::Escaped(c) => format!("\\{c}"),
    }
}

pub(super) fn is_flag(c: char) -> bool {
    matches!(c, 'i' | 'L' | 'm' | 's' | 'x' | 'a' | 't' | 'u')
}

fn is_python_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

pub(super) fn is_identifier(name: &str) -> bool {
    let word = |c: char| c == '_' || c.is_alphanumeric();
    name.starts_with(|c: char| c == '_' || c.is_alphabetic()) && name.chars().all(word)
}
