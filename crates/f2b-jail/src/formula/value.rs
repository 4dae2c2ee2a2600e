//! Numbers and lists as Python reckons with them.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use f2b_types::Number;

/// Why a formula has no value for some ban, in Python's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvalError(pub(crate) &'static str);

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for EvalError {}

/// A value; truth is 1 and 0, as in Python. A whole number that grows out of 128 bits goes on as a float.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i128),
    Float(f64),
    List(Vec<Value>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Prefix {
    Negate,
    Keep,
    Invert,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Infix {
    Power,
    Floor,
    Times,
    Divide,
    Modulo,
    Plus,
    Minus,
    Left,
    Right,
    And,
    Xor,
    Or,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const NO_NUMBER: EvalError = EvalError("a list is no number");
const NO_INTEGER: EvalError = EvalError("only whole numbers have bits");

impl Value {
    /// The number that it is; a float where 64 bits are too few.
    pub(super) fn to_number(&self) -> Result<Number, EvalError> {
        match self {
            Self::Int(n) => Ok(i64::try_from(*n).map_or(Number::Float(*n as f64), Number::Int)),
            other => other.number().map(Number::Float),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Int(n) => *n != 0,
            Self::Float(x) => *x != 0.0,
            Self::List(items) => !items.is_empty(),
        }
    }

    pub(crate) fn number(&self) -> Result<f64, EvalError> {
        match self {
            Self::Int(n) => Ok(*n as f64),
            Self::Float(x) => Ok(*x),
            Self::List(_) => Err(NO_NUMBER),
        }
    }

    pub(super) fn integer(&self) -> Result<i128, EvalError> {
        match self {
            Self::Int(n) => Ok(*n),
            _ => Err(NO_INTEGER),
        }
    }

    /// The item of a list, counted from its end where the index is below zero.
    pub(super) fn at(&self, index: &Self) -> Result<Self, EvalError> {
        let (Self::List(items), Self::Int(index)) = (self, index) else {
            return Err(EvalError("only lists have items, and these have whole numbers"));
        };
        let length = items.len() as i128;
        let place = if *index < 0 { index + length } else { *index };
        let item = usize::try_from(place).ok().and_then(|place| items.get(place));
        item.cloned().ok_or(EvalError("list index out of range"))
    }

    pub(super) fn order(&self, other: &Self) -> Result<Option<Ordering>, EvalError> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Ok(Some(a.cmp(b))),
            (a, b) => Ok(a.number()?.partial_cmp(&b.number()?)),
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(n) => Self::Int(n.into()),
            Number::Float(x) => Self::Float(x),
        }
    }
}

impl Prefix {
    pub(super) fn of(sign: &str) -> Self {
        match sign {
            "-" => Self::Negate,
            "~" => Self::Invert,
            _ => Self::Keep,
        }
    }

    pub(super) fn apply(self, value: Value) -> Result<Value, EvalError> {
        match (self, value) {
            (Self::Negate, Value::Int(n)) => {
                Ok(n.checked_neg().map_or(Value::Float(-(n as f64)), Value::Int))
            }
            (Self::Negate, value) => Ok(Value::Float(-value.number()?)),
            (Self::Keep, value) => value.number().map(|_| value),
            (Self::Invert, value) => Ok(Value::Int(!value.integer()?)),
        }
    }
}

impl Infix {
    pub(super) fn of(sign: &str) -> Self {
        match sign {
            "**" => Self::Power,
            "//" => Self::Floor,
            "*" => Self::Times,
            "/" => Self::Divide,
            "%" => Self::Modulo,
            "+" => Self::Plus,
            "-" => Self::Minus,
            "<<" => Self::Left,
            ">>" => Self::Right,
            "&" => Self::And,
            "^" => Self::Xor,
            _ => Self::Or,
        }
    }

    pub(super) fn apply(self, a: Value, b: Value) -> Result<Value, EvalError> {
        match (self, &a, &b) {
            (Self::Left | Self::Right | Self::And | Self::Xor | Self::Or, a, b) => {
                self.bits(a.integer()?, b.integer()?)
            }
            (Self::Divide, ..) => self.floats(a.number()?, b.number()?),
            (_, Value::Int(a), Value::Int(b)) => match self.integers(*a, *b)? {
                Some(n) => Ok(Value::Int(n)),
                None => self.floats(*a as f64, *b as f64),
            },
            _ => self.floats(a.number()?, b.number()?),
        }
    }

    /// `None` where the result is no whole number of 128 bits.
    fn integers(self, a: i128, b: i128) -> Result<Option<i128>, EvalError> {
        if b == 0 && matches!(self, Self::Floor | Self::Modulo) {
            return Err(EvalError("integer division or modulo by zero"));
        }
        // Python rounds down, so that the rest has the sign of the divisor.
        let is_down = || a.checked_rem(b).is_some_and(|rest| rest != 0 && (rest < 0) != (b < 0));
        Ok(match self {
            Self::Plus => a.checked_add(b),
            Self::Minus => a.checked_sub(b),
            Self::Times => a.checked_mul(b),
            Self::Floor => a.checked_div(b).map(|n| n - i128::from(is_down())),
            Self::Modulo => a.checked_rem(b).map(|rest| if is_down() { rest + b } else { rest }),
            Self::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            _ => None,
        })
    }

    fn floats(self, a: f64, b: f64) -> Result<Value, EvalError> {
        if b == 0.0 && matches!(self, Self::Divide | Self::Floor | Self::Modulo) {
            return Err(EvalError("division by zero"));
        }
        let value = match self {
            Self::Plus => a + b,
            Self::Minus => a - b,
            Self::Times => a * b,
            Self::Divide => a / b,
            Self::Floor => (a / b).floor(),
            Self::Modulo => a - (a / b).floor() * b,
            _ if a == 0.0 && b < 0.0 => return Err(EvalError("0.0 cannot be raised to a negative power")),
            _ => a.powf(b),
        };
        if value.is_infinite() && a.is_finite() && b.is_finite() {
            return Err(EvalError("Result too large"));
        }
        Ok(Value::Float(value))
    }

    fn bits(self, a: i128, b: i128) -> Result<Value, EvalError> {
        if b < 0 && matches!(self, Self::Left | Self::Right) {
            return Err(EvalError("negative shift count"));
        }
        let places = u32::try_from(b).unwrap_or(u32::MAX);
        Ok(Value::Int(match self {
            Self::And => a & b,
            Self::Xor => a ^ b,
            Self::Or => a | b,
            Self::Right => a >> places.min(127),
            // Whether bits are lost shows in the way back.
            _ => match a.checked_shl(places).filter(|n| n >> places == a) {
                Some(n) => n,
                None if a == 0 => 0,
                None => return Infix::Times.floats(a as f64, 2_f64.powf(f64::from(places))),
            },
        }))
    }
}

impl Compare {
    pub(super) fn of(sign: &str) -> Self {
        match sign {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            _ => Self::GreaterOrEqual,
        }
    }

    pub(super) fn holds(self, a: &Value, b: &Value) -> Result<bool, EvalError> {
        let order = a.order(b)?;
        Ok(match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        })
    }
}
