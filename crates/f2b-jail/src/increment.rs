//! Longer bans for those who come back: `bantime.increment` and its companions.
//!
//! Upstream keeps these options in a dictionary of the jail and compiles them to a lambda (`jail.setBanTimeExtra`).

use std::error::Error;
use std::fmt;

use f2b_types::{DurationError, Number, is_on, str2seconds};

use crate::formula::{Ban, EvalError, Formula, FormulaError};

/// How the ban time grows with each ban of the same id.
#[derive(Debug, Clone, Default)]
pub struct Increment {
    /// Whether history counts at all (`bantime.increment`).
    pub enabled: bool,
    /// History of all jails counts, not only of this one (`bantime.overalljails`).
    pub overall_jails: bool,
    factor: Option<String>,
    factor_value: Option<Number>,
    multipliers: Option<String>,
    multiplier_values: Vec<i64>,
    max_time: Option<Number>,
    random_time: Option<Number>,
    overall_text: Option<String>,
    formula: Option<String>,
    parsed_formula: Option<Formula>,
}

/// A value that an option of the family `bantime.*` can't take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncrementError {
    /// Neither seconds nor an expression of them.
    Duration(DurationError),
    /// A multiplier is no whole number.
    Multiplier(String),
    /// A formula that can't be understood.
    Formula(FormulaError),
}

impl fmt::Display for IncrementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(error) => error.fmt(f),
            Self::Formula(error) => error.fmt(f),
            Self::Multiplier(text) => write!(f, "invalid literal for int() with base 10: '{text}'"),
        }
    }
}

impl Error for IncrementError {}

impl From<DurationError> for IncrementError {
    fn from(error: DurationError) -> Self {
        Self::Duration(error)
    }
}

impl From<FormulaError> for IncrementError {
    fn from(error: FormulaError) -> Self {
        Self::Formula(error)
    }
}

impl Increment {
    /// Sets `bantime.<option>`; an empty value takes the option back.
    ///
    /// # Errors
    ///
    /// [`IncrementError`] quotes a value that can't be read; the option keeps its old one.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), IncrementError> {
        let text = (!value.is_empty()).then(|| value.to_owned());
        match option {
            "increment" => self.enabled = is_on(value),
            "overalljails" => {
                // Upstream never converts this one, so that any text but the empty one switches it on.
                self.overall_jails = text.is_some();
                self.overall_text = text;
            }
            "factor" => {
                self.factor_value = text.as_deref().map(str2seconds).transpose()?;
                self.factor = text;
            }
            "multipliers" => {
                self.multiplier_values =
                    value.split_whitespace().map(multiplier).collect::<Result<_, _>>()?;
                self.multipliers = text;
            }
            "maxtime" => self.max_time = text.as_deref().map(str2seconds).transpose()?,
            "rndtime" => self.random_time = text.as_deref().map(str2seconds).transpose()?,
            "formula" => {
                self.parsed_formula = text.as_deref().map(Formula::parse).transpose()?;
                self.formula = text;
            }
            _ => {}
        }
        Ok(())
    }

    /// The value of `bantime.maxtime` as it was read.
    pub fn max_time_option(&self) -> Option<Number> {
        self.max_time
    }

    /// The value of `bantime.rndtime` as it was read.
    pub fn random_time_option(&self) -> Option<Number> {
        self.random_time
    }

    /// The text of `bantime.factor`, `.multipliers`, `.overalljails` or `.formula` as it was set.
    pub fn text_option(&self, option: &str) -> Option<&str> {
        match option {
            "factor" => self.factor.as_deref(),
            "multipliers" => self.multipliers.as_deref(),
            "overalljails" => self.overall_text.as_deref(),
            "formula" => self.formula.as_deref(),
            _ => None,
        }
    }

    /// Seconds of the ban of an id that has been banned `count` times before, where a first ban takes `ban_time`.
    /// `random` is a number from 0 up to 1.
    ///
    /// # Errors
    ///
    /// [`EvalError`] where the formula has no value.
    pub(crate) fn ban_time(&self, ban_time: Number, count: i64, random: f64) -> Result<Number, EvalError> {
        let factor = self.factor_value.unwrap_or(Number::Int(1));
        let mut seconds = match (self.multiplier_values.as_slice(), &self.parsed_formula) {
            ([], None) => longer(ban_time, ban_time * Number::Int(1 << count.clamp(0, 20)) * factor),
            ([], Some(formula)) => longer(ban_time, formula.eval(Ban { time: ban_time, count, factor })?),
            (values, _) => {
                let place = usize::try_from(count).unwrap_or(0).min(values.len() - 1);
                ban_time * factor * Number::Int(values[place])
            }
        };
        if let Some(limit) = self.max_time
            && limit.as_f64() < seconds.as_f64()
        {
            seconds = limit;
        }
        if seconds.as_f64().is_infinite() {
            return Err(EvalError("a ban without end needs bantime = -1"));
        }
        Ok(match self.random_time {
            Some(random_time) => seconds + Number::Float(random * random_time.as_f64()),
            None => seconds,
        })
    }
}

/// The first one, unless the other one is longer.
fn longer(one: Number, other: Number) -> Number {
    if other.as_f64() > one.as_f64() { other } else { one }
}

fn multiplier(text: &str) -> Result<i64, IncrementError> {
    text.parse().map_err(|_| IncrementError::Multiplier(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Number = Number::Int(600);

    fn increment(options: &[(&str, &str)]) -> Increment {
        let mut increment = Increment::default();
        for (option, value) in options {
            assert_eq!(increment.set(option, value), Ok(()), "{option}");
        }
        increment
    }

    #[test]
    fn the_default_doubles() {
        let plain = increment(&[("increment", "true")]);
        for (count, seconds) in [(0, 600), (1, 1200), (3, 4800), (20, 600 * 1048576), (99, 600 * 1048576)] {
            assert_eq!(plain.ban_time(SECONDS, count, 0.5), Ok(Number::Int(seconds)));
        }
        assert_eq!(increment(&[("factor", "0.1")]).ban_time(SECONDS, 1, 0.0), Ok(SECONDS));
    }

    #[test]
    fn multipliers_end_with_the_last_one() {
        let listed = increment(&[("multipliers", "1 5 30"), ("factor", "2")]);
        assert_eq!(listed.ban_time(SECONDS, 1, 0.0), Ok(Number::Int(6000)));
        assert_eq!(listed.ban_time(SECONDS, 2, 0.0), Ok(Number::Int(36000)));
        assert_eq!(listed.ban_time(SECONDS, 77, 0.0), Ok(Number::Int(36000)));
    }

    #[test]
    fn a_formula_takes_the_place_of_doubling() {
        let squared = increment(&[("formula", "ban.Time * ban.Count ** 2 * banFactor"), ("factor", "2")]);
        assert_eq!(squared.ban_time(SECONDS, 3, 0.0), Ok(Number::Int(10800)));
        // A ban never gets shorter, and multipliers win.
        assert_eq!(increment(&[("formula", "1")]).ban_time(SECONDS, 3, 0.0), Ok(SECONDS));
        let both = increment(&[("formula", "1"), ("multipliers", "7")]);
        assert_eq!(both.ban_time(SECONDS, 3, 0.0), Ok(Number::Int(4200)));
        let wrong = increment(&[("formula", "ban.Time / (ban.Count - 1)"), ("maxtime", "1h")]);
        assert_eq!(wrong.ban_time(SECONDS, 1, 0.0), Err(EvalError("division by zero")));
        assert!(Increment::default().set("formula", "ban.Time +").is_err());
    }

    #[test]
    fn random_time_comes_on_top_of_the_limit() {
        let limited = increment(&[("maxtime", "1h"), ("rndtime", "100")]);
        assert_eq!(limited.ban_time(SECONDS, 10, 0.25), Ok(Number::Float(3625.0)));
    }

    #[test]
    fn wrong_values_are_quoted_and_change_nothing() {
        let mut options = increment(&[("multipliers", "1 2")]);
        assert_eq!(options.set("multipliers", "1 x"), Err(IncrementError::Multiplier("x".into())));
        assert_eq!(options.ban_time(SECONDS, 1, 0.0), Ok(Number::Int(1200)));
        assert!(options.set("maxtime", "soon").is_err());
    }
}
