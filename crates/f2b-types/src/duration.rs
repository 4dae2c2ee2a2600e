//! Durations as people write them, `1d12h`, and as the log prints them.
//!
//! Upstream (`mytime.MyTime.str2seconds`) rewrites the abbreviations to factors by regular expressions and evaluates
//! what comes out as a Python expression. So `1h 30m` is a sum, `1year-6mo` a difference, a month a float, and a
//! unit is only read where a digit or a blank stands right before it; so also is what follows a `#` a comment, and a whole
//! number in quotes a text that becomes a number. The same happens here in three steps: a rewriting that knows the units,
//! the one line that is left without comments, and a grammar of the arithmetic; anything else that Python could
//! evaluate is an error.

use std::error::Error;
use std::fmt;

use pest::Parser;
use pest::iterators::{Pair, Pairs};
use pest_derive::Parser;

use crate::{Number, int};

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurationError {
    /// What was to be read.
    pub text: String,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no duration; write seconds or units as in '1d 12h 30m'", self.text)
    }
}

impl Error for DurationError {}

#[derive(Parser)]
#[grammar = "duration.pest"]
struct Arithmetic;

/// Each unit: its spellings and the factor in upstream's own arithmetic (a year has 365.25 days, a month is a
/// twelfth of it).
const UNITS: &[(&[&str], &str)] = &[
    (&["days", "day", "da", "dd", "d"], "*86400"),
    (&["weeks", "week", "wee", "we", "ww", "w"], "*604800"),
    (&["months", "month", "mon", "mo"], "*2629800.0"),
    (&["years", "year", "yea", "ye", "yy", "y"], "*31557600.0"),
    (&["seconds", "second", "sec", "se", "ss", "s"], "*1"),
    (&["minutes", "minute", "min", "mi", "mm", "m"], "*60"),
    (&["hours", "hour", "hou", "ho", "hh", "h"], "*3600"),
];

/// Longer texts than this are refused unread: no duration needs them, and the parser's depth follows the text.
const MAX_LEN: usize = 500;

/// The seconds that an expression such as `1d12h`, `10m` or `3600` stands for.
///
/// # Errors
///
/// [`DurationError`] quotes a text that is no arithmetic of numbers and known units.
pub fn str2seconds(text: &str) -> Result<Number, DurationError> {
    let fail = || DurationError { text: text.chars().take(MAX_LEN).collect() };
    if text.len() > MAX_LEN {
        return Err(fail());
    }
    let arithmetic = logical_line(&join_neighbours(&replace_units(text))).ok_or_else(fail)?;
    if let Some(quoted) = unquote(arithmetic.trim()) {
        return int(quoted).map(Number::Int).ok_or_else(fail);
    }
    let mut pairs = Arithmetic::parse(Rule::expression, &arithmetic).map_err(|_| fail())?;
    pairs.next().and_then(evaluate).filter(|n| n.as_f64().is_finite()).ok_or_else(fail)
}

/// Puts a blank between a letter and the digit behind it, then factors in place of the units.
fn replace_units(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_alphabetic() {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            out.push_str(factor_of(word, before, tail).unwrap_or(word));
            if tail.starts_with(|c: char| c.is_ascii_digit()) {
                out.push(' ');
            }
            before = word.chars().last();
            rest = tail;
        } else {
            out.push(c);
            before = Some(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// The factor for `word` where it is a unit, stands behind a digit or a blank, and ends as a word (a digit behind it
/// has been set apart by a blank already).
fn factor_of(word: &str, before: Option<char>, tail: &str) -> Option<&'static str> {
    let stands_alone = before.is_some_and(|c| c.is_ascii_digit() || c.is_whitespace());
    let ends = !tail.starts_with(|c: char| c == '_' || (c.is_alphanumeric() && !c.is_ascii_digit()));
    if !(stands_alone && ends) {
        return None;
    }
    let word = word.to_ascii_lowercase();
    UNITS.iter().find(|(names, _)| names.contains(&word.as_str())).map(|(_, factor)| *factor)
}

/// Puts `+` in place of the blanks between two numbers. A digit that has been joined to the number before it is not joined
/// to the one behind it (`1 2 3` is a sum and a number too many).
fn join_neighbours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_digit = false;
    while let Some(c) = rest.chars().next() {
        let behind = rest.trim_start();
        match behind.chars().next().filter(|next| after_digit && c.is_whitespace() && next.is_ascii_digit()) {
            Some(digit) => {
                out.extend(['+', digit]);
                after_digit = false;
                rest = &behind[1..];
            }
            None => {
                out.push(c);
                after_digit = c.is_ascii_digit();
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// What an expression has besides comments. It ends with its line, unless a bracket is open; `None` if something follows.
fn logical_line(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quote, mut is_comment) = (0_usize, None, false);
    for c in text.chars() {
        match c {
            '\n' => is_comment = false,
            _ if is_comment => continue,
            '#' if quote.is_none() => {
                is_comment = true;
                continue;
            }
            '(' if quote.is_none() => depth += 1,
            ')' if quote.is_none() => depth = depth.saturating_sub(1),
            '\'' | '"' if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ => {}
        }
        out.push(if c == '\n' && depth > 0 { ' ' } else { c });
    }
    let out = out.trim();
    (!out.contains('\n')).then(|| out.to_owned())
}

/// The inside of a text in quotes.
fn unquote(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.strip_prefix(quote)?.strip_suffix(quote).filter(|inside| !inside.contains([quote, '\\']))
}

/// The value of a node of the grammar; `None` for a division by zero or a result beyond the numbers.
fn evaluate(pair: Pair<'_, Rule>) -> Option<Number> {
    match pair.as_rule() {
        Rule::number => parse_number(pair.as_str()),
        Rule::sum | Rule::product => fold(pair.into_inner()),
        Rule::power => {
            let mut parts = pair.into_inner();
            let base = evaluate(parts.next()?)?;
            match parts.nth(1) {
                None => Some(base),
                Some(exponent) => power(base, evaluate(exponent)?),
            }
        }
        Rule::sign => pair.into_inner().rev().try_fold(Number::Int(0), |value, part| match part.as_rule() {
            Rule::plus => Some(value),
            Rule::minus => binary(Rule::minus, Number::Int(0), value),
            _ => evaluate(part),
        }),
        _ => None,
    }
}

fn parse_number(text: &str) -> Option<Number> {
    let text = text.replace('_', "");
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // Python refuses a leading zero in a whole number, unless it is zero.
        let zero_led = text.len() > 1 && text.starts_with('0') && text.bytes().any(|b| b != b'0');
        return if zero_led { None } else { text.parse().ok().map(Number::Int) };
    }
    text.parse().ok().map(Number::Float)
}

fn fold(mut parts: Pairs<'_, Rule>) -> Option<Number> {
    let mut value = evaluate(parts.next()?)?;
    while let (Some(operator), Some(operand)) = (parts.next(), parts.next()) {
        value = binary(operator.as_rule(), value, evaluate(operand)?)?;
    }
    Some(value)
}

/// Python's rules: whole numbers stay whole except under `/`; `//` and `%` round towards minus infinity.
fn binary(operator: Rule, left: Number, right: Number) -> Option<Number> {
    use Number::{Float, Int};
    if let (Int(a), Int(b)) = (left, right) {
        return match operator {
            Rule::plus => a.checked_add(b).map(Int),
            Rule::minus => a.checked_sub(b).map(Int),
            Rule::times => a.checked_mul(b).map(Int),
            Rule::int_div => floor_div(a, b).map(Int),
            Rule::modulo => floor_div(a, b).and_then(|q| a.checked_sub(q.checked_mul(b)?)).map(Int),
            _ => (b != 0).then(|| Float(a as f64 / b as f64)),
        };
    }
    let (a, b) = (left.as_f64(), right.as_f64());
    match operator {
        Rule::plus => Some(Float(a + b)),
        Rule::minus => Some(Float(a - b)),
        Rule::times => Some(Float(a * b)),
        _ if b == 0.0 => None,
        Rule::int_div => Some(Float((a / b).floor())),
        Rule::modulo => Some(Float(a - b * (a / b).floor())),
        _ => Some(Float(a / b)),
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

fn power(base: Number, exponent: Number) -> Option<Number> {
    if let (Number::Int(base), Number::Int(exponent)) = (base, exponent)
        && let Ok(exponent) = u32::try_from(exponent)
    {
        return base.checked_pow(exponent).map(Number::Int);
    }
    Some(Number::Float(base.as_f64().powf(exponent.as_f64())))
}

/// The seconds in words with at most three units, rounded the more the longer they last (`MyTime.seconds2str`).
pub fn seconds2str(span: impl Into<Number>) -> String {
    const YEAR: i64 = 365 * 86400;
    const WEEK: i64 = 7 * 86400;
    const DAY: i64 = 86400;
    const HOUR: i64 = 3600;
    const MINUTE: i64 = 60;
    let span = span.into();
    let seconds = span.as_f64();
    if seconds >= YEAR as f64 {
        in_units(round_to(seconds, DAY), &[(YEAR, 'y'), (WEEK, 'w'), (DAY, 'd')])
    } else if seconds >= WEEK as f64 {
        in_units(round_to(seconds, HOUR), &[(WEEK, 'w'), (DAY, 'd'), (HOUR, 'h')])
    } else if seconds >= DAY as f64 {
        in_units(round_to(seconds, MINUTE), &[(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm')])
    } else if seconds >= (HOUR - 5) as f64 {
        in_units(round_to(seconds, 10), &[(HOUR, 'h'), (MINUTE, 'm')])
    } else {
        short_span(span)
    }
}

fn round_to(seconds: f64, unit: i64) -> i64 {
    (seconds / unit as f64).round_ties_even() as i64 * unit
}

fn in_units(mut seconds: i64, units: &[(i64, char)]) -> String {
    let mut parts = Vec::new();
    for &(size, name) in units {
        if seconds >= size {
            parts.push(format!("{}{name}", seconds / size));
            seconds %= size;
        }
    }
    parts.join(" ")
}

/// Below an hour nothing is rounded, and a span that is no whole number shows it in each of its parts.
fn short_span(span: Number) -> String {
    let seconds = span.as_f64();
    let number = |x: f64| match span {
        Number::Int(_) => Number::Int(x as i64),
        Number::Float(_) => Number::Float(x),
    };
    if seconds == 0.0 {
        return "0".into();
    }
    let (minutes, rest) = ((seconds / 60.0).floor(), seconds.rem_euclid(60.0));
    match (seconds >= 60.0, rest != 0.0) {
        (true, true) => format!("{}m {}s", number(minutes), number(rest)),
        (true, false) => format!("{}m", number(minutes)),
        (false, _) => format!("{span}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: impl Into<Number>) {
        assert_eq!(str2seconds(text), Ok(expected.into()), "{text}");
    }

    #[test]
    fn units_add_up() {
        check("3600", 3600);
        check("1h30m", 5400);
        check("1hour+30min", 5400);
        check("0d 1h 30m", 5400);
        check("1d12h", 129_600);
        check(" 10m ", 600);
        check("1D", 86_400);
        check("-1", -1);
        check("2 weeks 3 days", 1_468_800);
        check("10\n20", 30);
        check("10 m", 600);
    }

    #[test]
    fn months_and_years_are_floats() {
        check("1mo", 2_629_800.0);
        check("1year-6mo", 15_778_800.0);
        check("6 months", 15_778_800.0);
    }

    #[test]
    fn arithmetic_follows_python() {
        check("2*60", 120);
        check("7//2", 3);
        check("-7//2", -4);
        check("-7%3", 2);
        check("7/2", 3.5);
        check("2**3", 8);
        check("-2**2", -4);
        check("(1+2)*3m", 540);
        check("1.5h", 5400.0);
    }

    #[test]
    fn a_comment_ends_with_its_line() {
        check("1h # one hour", 3600);
        check("1h#c", 3600);
        check("1h # 5m 30s", 3600);
        check("10 # c1\n20", 10);
        check("10 # c\n  # d", 10);
        check("(1h # one\n + 5) # two", 3605);
    }

    #[test]
    fn numbers_have_underscores_and_quotes() {
        check("1_000", 1000);
        check("1_0.5_0", 10.5);
        check("'5'", 5);
        check("\" -6_00 \" # c", -600);
        check("0_0", 0);
    }

    #[test]
    fn everything_else_is_an_error_that_quotes_it() {
        for text in [
            "",
            "one hour",
            "1x",
            "h",
            "1//0",
            "010",
            "__import__('os')",
            "1_d",
            "1e3",
            "9**99",
            "(((",
            "# c",
            "10 # c\n+1",
            "10\n+1",
            "1 2 3",
            "'1h'",
            "'5",
            "'5' * 2",
            "\"5'",
            "'5 # c'",
            "1__0",
            "_1",
            "1_",
            "0_1",
        ] {
            assert_eq!(str2seconds(text), Err(DurationError { text: text.into() }), "{text}");
        }
        assert!(str2seconds(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn spans_print_as_upstream_documents_them() {
        for (seconds, text) in [
            (Number::Int(86400 * 390), "1y 3w 4d"),
            (Number::Int(86400 * 368), "1y 3d"),
            (Number::Float(86400.0 * 365.49), "1y"),
            (Number::Int(86400 * 2 + 3600 * 7 + 60 * 15), "2d 7h 15m"),
            (Number::Int(86400 * 2 + 3599), "2d 1h"),
            (Number::Int(3595), "1h"),
            (Number::Int(3590), "59m 50s"),
            (Number::Int(59), "59s"),
            (Number::Int(0), "0"),
            (Number::Int(600), "10m"),
            (Number::Float(600.0), "10.0m"),
            (Number::Float(3.0), "3.0s"),
            (Number::Float(64.25), "1.0m 4.25s"),
            (Number::Int(604800 * 2 + 86400 * 3 + 3600), "2w 3d 1h"),
            (Number::Int(3001), "50m 1s"),
        ] {
            assert_eq!(seconds2str(seconds), text, "{seconds:?}");
        }
    }
}
