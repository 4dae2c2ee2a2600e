//! Groups of every kind: capturing, named, look-around, conditional, with flags, comments.

use super::DialectError;
use super::ast::Node;
use super::parse::{MAX_DEPTH, Parser, Row, Token, Width, is_flag, is_identifier, show};
use crate::pytext::repr;

impl Parser<'_> {
    /// Everything that begins with a parenthesis.
    pub(super) fn group(&mut self, depth: usize, first: bool, row: &mut Row) -> Result<(), DialectError> {
        let start = self.position() - 1;
        let outer = self.flags;
        if !self.eat('?')? {
            return self.capture(depth, None, start, row);
        }
        let Some(token) = self.get()? else { return Err(self.error("unexpected end of pattern", 0)) };
        match token {
            Token::Plain('P') => self.python_extension(depth, start, row),
            Token::Plain(':') => {
                let (node, width) = self.body(depth, start)?;
                row.push_group(node, width);
                Ok(())
            }
            Token::Plain('#') => loop {
                if self.next.is_none() {
                    return Err(self.error_since("missing ), unterminated comment", start));
                }
                if self.get()? == Some(Token::Plain(')')) {
                    return Ok(());
                }
            },
            Token::Plain(c @ ('=' | '!')) => self.look(depth, start, false, c == '!', row),
            Token::Plain('<') => match self.get()? {
                None => Err(self.error("unexpected end of pattern", 0)),
                Some(Token::Plain(c @ ('=' | '!'))) => self.look(depth, start, true, c == '!', row),
                Some(other) => {
                    Err(self.error(format!("unknown extension ?<{}", show(other)), other.len() + 2))
                }
            },
            Token::Plain('(') => self.conditional(depth, start, row),
            Token::Plain('>') => {
                let (node, width) = self.body(depth, start)?;
                row.push(Node::Atomic(Box::new(node)), width);
                Ok(())
            }
            Token::Plain(c) if c == '-' || is_flag(c) => {
                let scoped = self.read_flags(c)?;
                if !scoped {
                    if !first || !row.nodes.is_empty() {
                        return Err(
                            self.error_since("global flags not at the start of the expression", start)
                        );
                    }
                    return Ok(());
                }
                let result = self.body(depth, start);
                self.flags = outer;
                let (node, width) = result?;
                row.push_group(node, width);
                Ok(())
            }
            other => Err(self.error(format!("unknown extension ?{}", show(other)), other.len() + 1)),
        }
    }

    /// The inside of a group up to and with its parenthesis.
    fn body(&mut self, depth: usize, start: usize) -> Result<(Node, Width), DialectError> {
        let inside = self.alternatives(depth + 1)?;
        self.close(start)?;
        Ok(inside)
    }

    fn close(&mut self, start: usize) -> Result<(), DialectError> {
        match self.eat(')')? {
            true => Ok(()),
            false => Err(self.error_since("missing ), unterminated subpattern", start)),
        }
    }

    fn capture(
        &mut self,
        depth: usize,
        name: Option<String>,
        start: usize,
        row: &mut Row,
    ) -> Result<(), DialectError> {
        self.groups.push(None);
        let index = self.groups.len();
        if let Some(name) = name {
            if let Some((_, other)) = self.names.iter().find(|(known, _)| *known == name) {
                let text = repr(&name);
                let message =
                    format!("redefinition of group name {text} as group {index}; was group {other}");
                return Err(self.error(message, name.chars().count() + 1));
            }
            self.names.push((name, index));
        }
        let (body, width) = self.body(depth, start)?;
        if let Some(slot) = self.groups.get_mut(index - 1) {
            *slot = Some(width);
        }
        row.push(Node::Group { index, body: Box::new(body) }, width);
        Ok(())
    }

    /// `(?P<name>...)` and `(?P=name)`, behind the `P`.
    fn python_extension(&mut self, depth: usize, start: usize, row: &mut Row) -> Result<(), DialectError> {
        if self.eat('<')? {
            let name = self.take_until('>', "group name")?;
            self.check_name(&name)?;
            return self.capture(depth, Some(name), start, row);
        }
        if self.eat('=')? {
            let name = self.take_until(')', "group name")?;
            self.check_name(&name)?;
            let group = self.group_named(&name)?;
            let length = name.chars().count();
            let Some(width) = self.groups.get(group - 1).copied().flatten() else {
                return Err(self.error("cannot refer to an open group", length + 1));
            };
            self.check_look_behind(group)?;
            let ignore_case = self.flags.ignore_case;
            row.push(Node::Backref { group, ignore_case }, width);
            return Ok(());
        }
        match self.get()? {
            None => Err(self.error("unexpected end of pattern", 0)),
            Some(other) => Err(self.error(format!("unknown extension ?P{}", show(other)), other.len() + 2)),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), DialectError> {
        match is_identifier(name) {
            true => Ok(()),
            false => Err(self.bad_name(name)),
        }
    }

    fn bad_name(&self, name: &str) -> DialectError {
        self.error(format!("bad character in group name {}", repr(name)), name.chars().count() + 1)
    }

    fn group_named(&self, name: &str) -> Result<usize, DialectError> {
        match self.names.iter().find(|(known, _)| known == name) {
            Some((_, group)) => Ok(*group),
            None => Err(self.error(format!("unknown group name {}", repr(name)), name.chars().count() + 1)),
        }
    }

    /// Whether `\group`, written as `digits`, refers to a group that is complete.
    pub(super) fn check_reference(&self, group: usize, digits: &str) -> Result<usize, DialectError> {
        match group.checked_sub(1).and_then(|index| self.groups.get(index)) {
            None => Err(self.error(format!("invalid group reference {group}"), digits.len())),
            Some(None) => Err(self.error("cannot refer to an open group", digits.len() + 1)),
            Some(Some(_)) => self.check_look_behind(group).map(|()| group),
        }
    }

    fn check_look_behind(&self, group: usize) -> Result<(), DialectError> {
        let Some(before) = self.look_behind else { return Ok(()) };
        if self.groups.get(group - 1).copied().flatten().is_none() {
            return Err(self.error("cannot refer to an open group", 0));
        }
        match group > before {
            true => Err(self.error("cannot refer to group defined in the same lookbehind subpattern", 0)),
            false => Ok(()),
        }
    }

    fn look(
        &mut self,
        depth: usize,
        start: usize,
        behind: bool,
        negative: bool,
        row: &mut Row,
    ) -> Result<(), DialectError> {
        let outermost = behind && self.look_behind.is_none();
        if outermost {
            self.look_behind = Some(self.groups.len());
        }
        let (body, (least, most)) = self.alternatives(depth + 1)?;
        if outermost {
            self.look_behind = None;
        }
        self.close(start)?;
        self.variable_look_behind |= behind && least != most;
        row.push(Node::Look { behind, negative, body: Box::new(body) }, (0, 0));
        Ok(())
    }

    /// `(?(group)yes|no)`, behind the second parenthesis.
    fn conditional(&mut self, depth: usize, start: usize, row: &mut Row) -> Result<(), DialectError> {
        if depth >= MAX_DEPTH {
            return Err(self.error("groups nested too deeply", 0));
        }
        let name = self.take_until(')', "group name")?;
        let length = name.chars().count();
        let group = if is_identifier(&name) {
            self.group_named(&name)?
        } else {
            let group: usize = name.parse().map_err(|_| self.bad_name(&name))?;
            if group == 0 {
                return Err(self.error("bad group number", length + 1));
            }
            self.conditions.push((group, self.position() - length - 1));
            group
        };
        self.check_look_behind(group)?;
        let (yes, yes_width) = self.sequence(depth + 1, false)?;
        let (no, no_width) = match self.eat('|')? {
            false => (Node::Empty, (0, 0)),
            true => {
                let no = self.sequence(depth + 1, false)?;
                if self.next == Some(Token::Plain('|')) {
                    return Err(self.error("conditional backref with more than two branches", 0));
                }
                no
            }
        };
        self.close(start)?;
        let width = (yes_width.0.min(no_width.0), yes_width.1.max(no_width.1));
        row.push(Node::Conditional { group, yes: Box::new(yes), no: Box::new(no) }, width);
        Ok(())
    }

    /// Flags up to `)` (for the whole pattern, answers false) or `:` (for the group, true).
    fn read_flags(&mut self, first: char) -> Result<bool, DialectError> {
        let mut on = Vec::new();
        let mut sign = first;
        if first != '-' {
            on.push(first);
            if first == 'L' {
                return Err(self.error("bad inline flags: cannot use 'L' flag with a str pattern", 0));
            }
            loop {
                sign = self.flag_or("missing -, : or )", &[')', '-', ':'])?;
                if !is_flag(sign) {
                    break;
                }
                if sign == 'L' {
                    return Err(self.error("bad inline flags: cannot use 'L' flag with a str pattern", 0));
                }
                on.push(sign);
                if on.contains(&'a') && on.contains(&'u') {
                    let message = "bad inline flags: flags 'a', 'u' and 'L' are incompatible";
                    return Err(self.error(message, 0));
                }
            }
        }
        if sign == ')' {
            self.flags.set(&on, true);
            return Ok(false);
        }
        if on.contains(&'t') {
            return Err(self.error("bad inline flags: cannot turn on global flag", 1));
        }
        let mut off = Vec::new();
        if sign == '-' {
            let mut flag = self.flag_or("missing flag", &[])?;
            loop {
                if matches!(flag, 'a' | 'u' | 'L') {
                    let message = "bad inline flags: cannot turn off flags 'a', 'u' and 'L'";
                    return Err(self.error(message, 0));
                }
                off.push(flag);
                flag = self.flag_or("missing :", &[':'])?;
                if flag == ':' {
                    break;
                }
            }
        }
        if off.contains(&'t') {
            return Err(self.error("bad inline flags: cannot turn off global flag", 1));
        }
        if on.iter().any(|flag| off.contains(flag)) {
            return Err(self.error("bad inline flags: flag turned on and off", 1));
        }
        self.flags.set(&on, true);
        self.flags.set(&off, false);
        Ok(true)
    }

    /// The next character where it is a flag or one of `ends`.
    fn flag_or(&mut self, missing: &str, ends: &[char]) -> Result<char, DialectError> {
        match self.get()? {
            None => Err(self.error(missing, 0)),
            Some(Token::Plain(c)) if ends.contains(&c) || is_flag(c) => Ok(c),
            Some(Token::Plain(c)) if c.is_alphabetic() => Err(self.error("unknown flag", 1)),
            Some(other) => Err(self.error(missing, other.len())),
        }
    }
}
