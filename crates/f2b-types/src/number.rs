//! Numbers that remember, as Python's do, whether they are whole.

use std::fmt;
use std::ops::{Add, Mul, Sub};

/// An integer or a float. `str2seconds("1h")` is the integer 3600 and `"1mo"` the float 2629800.0, and both
/// reach clients and scripts in that shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number, Python's `int`.
    Int(i64),
    /// Any other number, Python's `float`.
    Float(f64),
}

impl Number {
    /// The value for arithmetic.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(x) => x,
        }
    }

    /// The value cut to a whole number, as Python's `int()` cuts it.
    pub fn as_i64(self) -> i64 {
        match self {
            Self::Int(n) => n,
            Self::Float(x) => x as i64,
        }
    }
}

impl From<i64> for Number {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl Number {
    /// Reckons with whole numbers as long as both are and the result fits.
    fn reckon(self, other: Self, whole: fn(i64, i64) -> Option<i64>, float: fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => whole(a, b).map(Self::Int),
            _ => None,
        }
        .unwrap_or_else(|| Self::Float(float(self.as_f64(), other.as_f64())))
    }
}

impl Add for Number {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.reckon(other, i64::checked_add, |a, b| a + b)
    }
}

impl Sub for Number {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.reckon(other, i64::checked_sub, |a, b| a - b)
    }
}

/// Whole if both are.
impl Mul for Number {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.reckon(other, i64::checked_mul, |a, b| a * b)
    }
}

/// Prints what Python's `str()` prints.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(x) => f.write_str(&float_repr(x)),
        }
    }
}

/// Python's `repr` of a float: the shortest digits that read back as the same number, an exponent below 1e-4 and
/// from 1e16 on.
fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let magnitude = x.abs();
    if x != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = format!("{x}");
    if text.contains('.') { text } else { text + ".0" }
}

/// Python's `int()`: blanks around, and single underscores between digits.
pub fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let grouped =
        digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if grouped { text.replace('_', "").parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_as_long_as_they_can_be() {
        use Number::{Float, Int};
        assert_eq!((Int(2) + Int(3), Int(2) - Int(3), Int(2) * Int(3)), (Int(5), Int(-1), Int(6)));
        assert_eq!(Int(2) * Float(3.0), Float(6.0));
        assert_eq!(Int(i64::MAX) + Int(1), Float(i64::MAX as f64 + 1.0));
    }

    #[test]
    fn floats_print_as_in_python() {
        for (x, text) in [
            (0.0, "0.0"),
            (2629800.0, "2629800.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (123456789012345.6, "123456789012345.6"),
            (-3.25, "-3.25"),
        ] {
            assert_eq!(Number::Float(x).to_string(), text);
        }
        assert_eq!(Number::Int(600).to_string(), "600");
    }
}
