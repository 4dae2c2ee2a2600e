//! The commands as text: `-d` one on a line, `--dp` long ones over many lines, as Python's `pprint` lays them out with a
//! width of 1000 and steps of 2.

use f2b_config::Stream;
use f2b_protocol::{Command, Value};
use f2b_types::Log;

use super::config::{Read, Reader};
use super::console::Output;
use crate::cmdline::{Conf, Dump};

const WIDTH: usize = 1000;
const STEP: usize = 2;

/// Reads the configuration and prints its commands.
pub(super) fn print(
    style: Dump,
    config: &mut Reader,
    conf: &Conf,
    log: &dyn Log,
    out: &mut Output,
) -> Read<Vec<String>> {
    let read = match style {
        Dump::Plain => config.read::<Plain>(conf, None, log).map(|Plain(text)| text.0),
        Dump::Pretty => config.read::<Pretty>(conf, None, log).map(|Pretty(text)| text.0),
    };
    match &read.stream {
        Some(text) => text.iter().for_each(|piece| out.print(piece)),
        None => out.print("ERROR: The configuration stream failed because of the invalid syntax.\n"),
    }
    read
}

/// A text in pieces: one that grows as a whole is moved again and again.
#[derive(Default)]
struct Pieces(Vec<String>);

impl Pieces {
    /// A piece with some room in it.
    fn last(&mut self) -> &mut String {
        const PIECE: usize = 32 << 10;
        if self.0.last().is_none_or(|piece| piece.len() >= PIECE) {
            self.0.push(String::with_capacity(PIECE + PIECE / 4));
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

#[derive(Default)]
struct Plain(Pieces);

impl Stream for Plain {
    fn push(&mut self, command: Command) {
        let text = self.0.last();
        command.push_repr(text);
        text.push('\n');
    }
}

#[derive(Default)]
struct Pretty(Pieces);

impl Stream for Pretty {
    fn push(&mut self, command: Command) {
        let text = self.0.last();
        text.push_str(&pretty(&command.into()));
        text.push('\n');
    }
}

/// The command in lines.
fn pretty(command: &Value) -> String {
    let mut out = String::new();
    format(&mut out, command, Room { indent: 0, behind: 0 });
    out
}

/// Where a value may stand: how many columns are taken on its left, and how many brackets follow on its right.
#[derive(Clone, Copy)]
struct Room {
    indent: usize,
    behind: usize,
}

impl Room {
    fn fits(self, text: &str) -> bool {
        text.chars().count() + self.indent + self.behind <= WIDTH
    }
}

fn format(out: &mut String, value: &Value, room: Room) {
    let plain = repr(value);
    if room.fits(&plain) {
        out.push_str(&plain);
        return;
    }
    match value {
        Value::List(items) => bracketed(out, '[', items, "]", room),
        Value::Tuple(items) => bracketed(out, '(', items, if items.len() == 1 { ",)" } else { ")" }, room),
        Value::Str(text) => out.push_str(&literals(text, room).join(&line_end(room.indent))),
        _ => out.push_str(&plain),
    }
}

fn bracketed(out: &mut String, open: char, items: &[Value], close: &str, room: Room) {
    out.push(open);
    out.push_str(&" ".repeat(STEP - 1));
    let indent = room.indent + STEP;
    for (i, item) in items.iter().enumerate() {
        let is_last = i + 1 == items.len();
        if i > 0 {
            out.push(',');
            out.push_str(&line_end(indent));
        }
        format(out, item, Room { indent, behind: if is_last { room.behind + close.len() } else { 1 } });
    }
    out.push_str(close);
}

fn line_end(indent: usize) -> String {
    format!("\n{}", " ".repeat(indent))
}

/// A long text as adjacent literals: one a line of it, and lines that are still too long cut behind blanks.
fn literals(text: &str, room: Room) -> Vec<String> {
    let whole = Room { behind: 0, ..room };
    let mut literals = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (i, line) in lines.iter().enumerate() {
        let line_room = if i + 1 == lines.len() { room } else { whole };
        let literal = quote(line);
        if line_room.fits(&literal) {
            literals.push(literal);
            continue;
        }
        let mut current = String::new();
        let parts = words(line);
        for (j, part) in parts.iter().enumerate() {
            let candidate = format!("{current}{part}");
            let part_room = if j + 1 == parts.len() { line_room } else { whole };
            if part_room.fits(&quote(&candidate)) {
                current = candidate;
                continue;
            }
            if !current.is_empty() {
                literals.push(quote(&current));
            }
            current = (*part).into();
        }
        if !current.is_empty() {
            literals.push(quote(&current));
        }
    }
    literals
}

/// The words of a line, each with the blanks behind it.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut in_blanks = false;
    for (at, c) in line.char_indices() {
        if in_blanks && !c.is_whitespace() {
            words.extend(line.get(start..at));
            start = at;
        }
        in_blanks = c.is_whitespace();
    }
    words.extend(line.get(start..).filter(|rest| !rest.is_empty()));
    words
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// `pprint` sorts dictionaries.
fn repr(value: &Value) -> String {
    match value {
        Value::Dict(entries) => {
            let mut entries = entries.clone();
            entries.sort_by_key(|(key, _)| key.to_text());
            Value::Dict(entries).to_string()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_commands_take_one_line() {
        assert_eq!(pretty(&Value::strings(["set", "j", "maxretry"])), "['set', 'j', 'maxretry']");
    }

    #[test]
    fn long_commands_take_a_line_for_each_word() {
        let regexes = Value::List(vec![Value::from("a".repeat(600)), Value::from("b".repeat(600))]);
        let command = Value::List(vec!["set".into(), regexes]);
        let (a, b) = ("a".repeat(600), "b".repeat(600));
        assert_eq!(pretty(&command), format!("[ 'set',\n  [ '{a}',\n    '{b}']]"));
    }

    #[test]
    fn long_texts_are_cut_at_blanks() {
        let word = "x".repeat(300);
        let text = Value::from(format!("first\n{word} {word} {word} {word}"));
        assert_eq!(
            pretty(&Value::List(vec![text])),
            format!("[ 'first\\n'\n  '{word} {word} {word} '\n  '{word}']")
        );
    }
}
