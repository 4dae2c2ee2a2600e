//! `name[option=value, other="value"]`, as filters and actions are given in a jail.
//!
//! Answers to `helpers.extractOptions` and `helpers.splitWithOptions`, which are regular expressions. What they match
//! is followed to the letter, since it decides which odd spellings work: a name keeps blanks before the bracket, blanks
//! between a value and the comma are an error behind quotes and part of the value without.

use std::error::Error;
use std::fmt;

use crate::python::{is_space, is_word, strip};

/// Brackets that are not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionSyntaxError {
    /// What was to be read.
    pub text: String,
    /// Upstream's words.
    pub message: String,
}

impl fmt::Display for OptionSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for OptionSyntaxError {}

/// Options in the order in which they are given, each once; a later value wins.
pub type NamedValues = Vec<(String, String)>;

/// Takes `name[option=value]` apart.
///
/// # Errors
///
/// Upstream's words for what it does not expect, quoting the text.
pub fn extract_options(text: &str) -> Result<(String, NamedValues), OptionSyntaxError> {
    let fail = |message: String| OptionSyntaxError { text: text.to_owned(), message };
    let unexpected = || fail("unexpected option syntax".into());
    let (name, brackets) = text.split_at(text.find('[').unwrap_or(text.len()));
    if name.is_empty() {
        return Err(unexpected());
    }
    let Some(inner) = brackets.strip_prefix('[') else {
        return Ok((name.to_owned(), NamedValues::new()));
    };
    let inner = inner.trim_end_matches(is_space).strip_suffix(']').ok_or_else(unexpected)?;
    Ok((name.to_owned(), named_values(inner).map_err(fail)?))
}

/// What stands between the outer brackets.
fn named_values(inner: &str) -> Result<NamedValues, String> {
    let mut values = NamedValues::new();
    let mut rest = inner;
    let position = |rest: &str| inner[..inner.len() - rest.len()].chars().count();
    while !is_end(rest.strip_prefix(',').unwrap_or(rest)) {
        let Some((name, behind)) = option_name(rest.trim_start_matches(is_space)) else {
            return Err(format!("expected option, wrong syntax at {}: {}", position(rest), excerpt(rest)));
        };
        let (value, behind) = value(behind);
        match values.iter_mut().find(|(other, _)| other == name) {
            Some((_, slot)) => *slot = strip(value).to_owned(),
            None => values.push((name.to_owned(), strip(value).to_owned())),
        }
        rest = match behind.strip_prefix(',').or_else(|| next_group(behind)) {
            Some(next) => next,
            None if behind.is_empty() || behind == "\n" => "",
            None => {
                let name = crate::python::repr(name);
                let at = position(behind);
                return Err(format!("unexpected syntax at {at} after option {name}: {}", excerpt(behind)));
            }
        };
    }
    Ok(values)
}

fn is_end(rest: &str) -> bool {
    rest.chars().all(is_space)
}

/// Upstream quotes 25 characters.
fn excerpt(text: &str) -> String {
    text.chars().take(25).collect()
}

/// The name of an option, conditional or not, and what stands behind its `=`.
fn option_name(text: &str) -> Option<(&str, &str)> {
    let word = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let plain = word(text);
    if plain == 0 {
        return None;
    }
    if let Some(value) = text[plain..].strip_prefix('=') {
        return Some((&text[..plain], value));
    }
    let condition = text[plain..].strip_prefix('?')?;
    let (key, rest) = condition.split_at(word(condition));
    let wanted = rest.strip_prefix('=')?;
    let (value, rest) = wanted.split_at(word(wanted));
    let end = text.len() - rest.len();
    (!key.is_empty() && !value.is_empty()).then_some((&text[..end], rest.strip_prefix('=')?))
}

fn is_name(c: char) -> bool {
    is_word(c) || c == '-' || c == '.'
}

/// A value in quotes or up to a comma or a bracket, and what stands behind it.
fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(parts) = text.strip_prefix(quote).and_then(|inner| inner.split_once(quote)) {
            return parts;
        }
    }
    text.split_at(text.find([',', ']']).unwrap_or(text.len()))
}

/// What stands behind `][`.
fn next_group(text: &str) -> Option<&str> {
    text.strip_prefix(']')?.trim_start_matches(is_space).strip_prefix('[')
}

/// Cuts a list of `name[options]` at blanks and line ends outside of brackets.
pub(crate) fn split_with_options(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut brackets = Brackets::new(text);
    let mut at = 0;
    while let Some(start) = text[at..].find(|c| !is_space(c)).map(|n| at + n) {
        let name_end = end_of(text, start, |c| c == '[' || is_space(c));
        let end = if name_end > start { brackets.end(name_end) } else { None };
        let end = end.unwrap_or_else(|| end_of(text, start, is_space));
        found.push(&text[start..end]);
        at = end;
    }
    found
}

/// Where the first character from a place on is at which something ends.
fn end_of(text: &str, from: usize, ends: impl Fn(char) -> bool) -> usize {
    text[from..].find(ends).map_or(text.len(), |n| from + n)
}

/// Finds the end of brackets. What they hold can be read in several ways; upstream's expression tries them in a fixed
/// order and takes the first that leads to a closing bracket before a blank. Each state is tried once, whoever comes
/// to it, so the work is in proportion to the text.
struct Brackets<'a> {
    text: &'a str,
    /// For each place where the name of an option could start: where it would end.
    name_ends: Vec<u32>,
    /// One bit for each state, one byte for each place in the text.
    tried: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    /// Before an option or the closing bracket.
    Option,
    /// Before a value.
    Value,
    /// In a value without quotes.
    Plain,
    /// Behind a value.
    Behind,
    /// Behind a comma, or where none had to be.
    Next,
}

impl<'a> Brackets<'a> {
    fn new(text: &'a str) -> Self {
        // Without brackets nothing of this is needed.
        let places = if text.contains('[') { text.len() + 1 } else { 0 };
        let mut name_ends = vec![text.len() as u32; places];
        for (at, c) in text.char_indices().rev().take(places) {
            name_ends[at] = if is_name(c) { name_ends[at + c.len_utf8()] } else { at as u32 };
        }
        Self { text, name_ends, tried: vec![0; places] }
    }

    /// The end of the brackets that open at `from` or behind the blanks there.
    fn end(&mut self, from: usize) -> Option<usize> {
        let inner = self.text[from..].trim_start_matches(is_space).strip_prefix('[')?;
        // Blanks behind the bracket are the same as blanks behind a comma.
        let mut states = vec![(State::Next, self.text.len() - inner.len())];
        while let Some((state, at)) = states.pop() {
            let bit = 1 << state as u8;
            if self.tried[at] & bit != 0 {
                continue;
            }
            self.tried[at] |= bit;
            match state {
                State::Option if self.text[at..].starts_with(']') => {
                    if self.is_last(at + 1) {
                        return Some(at + 1);
                    }
                }
                _ => self.push_next(state, at, &mut states),
            }
        }
        None
    }

    /// What can come after a state, the last one pushed being tried first.
    fn push_next(&self, state: State, at: usize, states: &mut Vec<(State, usize)>) {
        let rest = &self.text[at..];
        let first = rest.chars().next();
        let after = at + first.map_or(0, char::len_utf8);
        let place_of = |tail: &str| self.text.len() - tail.len();
        match state {
            State::Option => states.extend(self.value_place(at).map(|place| (State::Value, place))),
            State::Value => {
                states.push((State::Plain, at));
                for quote in ['\'', '"'] {
                    let quoted = rest.strip_prefix(quote).and_then(|value| value.split_once(quote));
                    states.extend(quoted.map(|(_, tail)| (State::Behind, place_of(tail))));
                }
            }
            State::Plain => {
                states.push((State::Behind, at));
                if first.is_some_and(|c| c != ',' && c != ']') {
                    states.push((State::Plain, after));
                }
            }
            State::Behind => {
                states.push((State::Next, at));
                if first == Some(',') {
                    states.push((State::Next, after));
                }
                states.extend(next_group(rest).map(|tail| (State::Next, place_of(tail))));
                if first.is_some_and(is_space) {
                    states.push((State::Behind, after));
                }
            }
            State::Next => {
                states.push((State::Option, at));
                if first.is_some_and(is_space) {
                    states.push((State::Next, after));
                }
            }
        }
    }

    /// Where the value of an option starts whose name starts at `at`; as [`option_name`], but without reading the name.
    fn value_place(&self, at: usize) -> Option<usize> {
        let name_end = |at: usize| Some(self.name_ends[at] as usize).filter(|end| *end > at);
        let sign = |at: usize, sign: u8| self.text.as_bytes().get(at) == Some(&sign);
        let end = name_end(at)?;
        if sign(end, b'=') {
            return Some(end + 1);
        }
        let key_end = if sign(end, b'?') { name_end(end + 1)? } else { return None };
        let wanted_end = if sign(key_end, b'=') { name_end(key_end + 1)? } else { return None };
        sign(wanted_end, b'=').then_some(wanted_end + 1)
    }

    /// Whether the bracket that closes before `end` is followed by a blank or by nothing.
    fn is_last(&self, end: usize) -> bool {
        self.text[end..].chars().next().is_none_or(is_space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Result<(&'a str, &'a [(&'a str, &'a str)]), &'a str>;

    #[track_caller]
    fn check(text: &str, expected: Expected<'_>) {
        let found = extract_options(text).map_err(|e| e.message);
        let expected = expected.map_err(str::to_owned).map(|(name, values)| {
            let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            (name.to_owned(), values)
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn options_are_taken_from_brackets() {
        check("sshd", Ok(("sshd", &[])));
        check("sshd[]", Ok(("sshd", &[])));
        check("sshd[mode=aggressive]", Ok(("sshd", &[("mode", "aggressive")])));
        check("a[x=\"1,]\", y='\"' ,]", Err("unexpected syntax at 14 after option 'y':  ,"));
        check("a[x=\"1,]\", y='\"', z = 1]", Err("expected option, wrong syntax at 15:  z = 1"));
        check("a[x=\"1,]\",\n y='\"',z= 1 ,]\n", Ok(("a", &[("x", "1,]"), ("y", "\""), ("z", "1")])));
        check("a[x=1][y=2]  [z=3]", Ok(("a", &[("x", "1"), ("y", "2"), ("z", "3")])));
        check("a[n?family=inet6=v, q=]", Ok(("a", &[("n?family=inet6", "v"), ("q", "")])));
        check("a[x=1, x=2]", Ok(("a", &[("x", "2")])));
        check("a [x=1]", Ok(("a ", &[("x", "1")])));
        check("a[x=\"1]", Ok(("a", &[("x", "\"1")])));
    }

    #[test]
    fn other_brackets_are_errors_in_upstreams_words() {
        check("", Err("unexpected option syntax"));
        check("[x=1]", Err("unexpected option syntax"));
        check("a[x=1", Err("unexpected option syntax"));
        check("a[x=1]b", Err("unexpected option syntax"));
        check("a[x]", Err("expected option, wrong syntax at 0: x"));
        check("a[x=1,,y=2]", Err("expected option, wrong syntax at 4: ,y=2"));
        check("a[x='1'2]", Err("unexpected syntax at 5 after option 'x': 2"));
    }

    #[track_caller]
    fn check_split(text: &str, expected: &[&str]) {
        let words: Vec<_> = split_with_options(text).into_iter().map(strip).collect();
        assert_eq!(words, expected, "{text}");
    }

    #[test]
    fn lists_are_cut_outside_of_brackets() {
        check_split("a b\nc", &["a", "b", "c"]);
        check_split("a[x=\"1 2\", y='3 ]'] b[]\n c", &["a[x=\"1 2\", y='3 ]']", "b[]", "c"]);
        check_split("a\n  [x=1]\nb", &["a\n  [x=1]", "b"]);
        check_split("a[x=1 2, y=3][z=4] b", &["a[x=1 2, y=3][z=4]", "b"]);
        check_split("a[x=1 b c", &["a[x=1", "b", "c"]);
        check_split("a[x=\"1 ] b]", &["a[x=\"1 ]", "b]"]);
        check_split("[a b] c", &["[a", "b]", "c"]);
        check_split("", &[]);
    }

    #[test]
    fn long_lists_take_no_longer_in_proportion() {
        let hostile = "a[b=x ".repeat(50_000);
        assert_eq!(split_with_options(&hostile).len(), 50_000);
        for (start, repeated) in
            [("a[b=", "x"), ("a[b=", "x="), ("a[b=", "x=' "), ("a[", "] ["), ("a[b=c", "]\n[")]
        {
            split_with_options(&(start.to_owned() + &repeated.repeat(100_000)));
        }
    }
}
