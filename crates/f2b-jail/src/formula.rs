//! `bantime.formula`: an expression that says how long the next ban takes.
//!
//! Upstream hands the text to Python's `eval` (`jail.Jail.setBanTimeExtra`). Here it is parsed once, into what can be reckoned
//! with numbers: arithmetic, comparisons, conditions, lists, and the functions that make sense for a time. Nothing else can be
//! called, and a wrong formula is an error when it is set rather than when somebody is banned.

mod functions;
mod value;

use std::error::Error;
use std::fmt;

use f2b_types::Number;
use pest::Parser;
use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};
use pest_derive::Parser;

pub(crate) use self::value::EvalError;
use self::value::{Compare, Infix, Prefix, Value};

/// Longer texts are no formulas.
const MAX_LENGTH: usize = 2000;
/// So many operators are no formula either: each may lie within the other.
const MAX_OPERATORS: usize = 200;
/// Brackets in brackets.
const MAX_DEPTH: usize = 30;

#[derive(Parser)]
#[grammar = "formula.pest"]
struct Grammar;

/// A formula that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Formula(Expr);

/// Why a text is no formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// The text.
    pub formula: String,
    /// The character at which it stops making sense, from 1 on.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {} of the formula '{}'", self.message, self.column, self.formula)
    }
}

impl Error for FormulaError {}

/// What a formula can ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ban {
    /// `ban.Time`: seconds of a first ban.
    pub(crate) time: Number,
    /// `ban.Count`: the bans before this one.
    pub(crate) count: i64,
    /// `banFactor`: the option `bantime.factor`.
    pub(crate) factor: Number,
}

#[derive(Debug, Clone)]
enum Expr {
    Constant(Value),
    Variable(Variable),
    Prefix(Prefix, Box<Expr>),
    Infix(Box<Expr>, Infix, Box<Expr>),
    /// `a < b <= c`
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `then if condition else otherwise`
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    List(Vec<Expr>),
    Index(Box<Expr>, Box<Expr>),
    Call(functions::Function, Vec<Expr>),
}

#[derive(Debug, Clone, Copy)]
enum Variable {
    Time,
    Count,
    Factor,
}

impl Formula {
    /// Reads a formula.
    pub(crate) fn parse(text: &str) -> Result<Self, FormulaError> {
        let fail = |column: usize, message: &str| FormulaError {
            formula: text.chars().take(200).collect(),
            column,
            message: message.into(),
        };
        if text.len() > MAX_LENGTH {
            return Err(fail(1, "too long"));
        }
        let signs = text.chars().filter(|c| "+-*/%~<>&|^".contains(*c)).count();
        if signs + text.matches("not").count() > MAX_OPERATORS {
            return Err(fail(1, "too many operators"));
        }
        let mut depth: usize = 0;
        for (at, c) in text.chars().enumerate() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(fail(at + 1, "too many brackets"));
            }
        }
        let mut pairs = Grammar::parse(Rule::formula, text).map_err(|error| {
            let at = match error.location {
                pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
            };
            let message = if at >= text.len() { "something is missing" } else { "unexpected" };
            fail(text[..at].chars().count() + 1, message)
        })?;
        let missing = || fail(1, "something is missing");
        let expression = pairs.next().ok_or_else(missing)?;
        let formula = build(expression).map(Self);
        let formula = formula.map_err(|(at, message)| fail(text[..at].chars().count() + 1, &message))?;
        // A formula that fails for every ban is none; one that fails for some is up to its author.
        let factors =
            [(1, Number::Int(1)), (2, Number::Int(1)), (10, Number::Int(2)), (3, Number::Float(1.5))];
        let bans = factors.map(|(count, factor)| Ban { time: Number::Int(600), count, factor });
        let errors: Vec<EvalError> = bans.into_iter().map_while(|ban| formula.eval(ban).err()).collect();
        match errors.first() {
            Some(error) if errors.len() == bans.len() => Err(fail(1, error.0)),
            _ => Ok(formula),
        }
    }

    /// Seconds of the next ban.
    pub(crate) fn eval(&self, ban: Ban) -> Result<Number, EvalError> {
        self.0.eval(ban)?.to_number()
    }
}

/// Where a name or a number can't be, and why.
type Wrong = (usize, String);

fn build(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    match pair.as_rule() {
        Rule::expression => conditional(pair),
        Rule::disjunction => Ok(one_or(parts(pair)?, Expr::Or)),
        Rule::conjunction => Ok(one_or(parts(pair)?, Expr::And)),
        Rule::inversion => inversion(pair),
        Rule::comparison => comparison(pair),
        Rule::arithmetic => arithmetic(pair),
        Rule::primary => primary(pair),
        Rule::list => parts(pair).map(Expr::List),
        Rule::group => group(pair),
        Rule::call => call(pair),
        Rule::name => name(pair),
        _ => number(pair),
    }
}

fn parts(pair: Pair<'_, Rule>) -> Result<Vec<Expr>, Wrong> {
    let is_word = |part: &Pair<'_, Rule>| {
        matches!(part.as_rule(), Rule::if_ | Rule::else_ | Rule::or_ | Rule::and_ | Rule::comma)
    };
    pair.into_inner().filter(|part| !is_word(part)).map(build).collect()
}

/// One expression in brackets, or with a comma in them, a tuple.
fn group(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let is_tuple = pair.clone().into_inner().any(|part| part.as_rule() == Rule::comma);
    let parts = parts(pair)?;
    Ok(if is_tuple { Expr::List(parts) } else { one_or(parts, Expr::List) })
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn conditional(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let mut parts = parts(pair)?.into_iter();
    let then = parts.next().unwrap_or(Expr::List(Vec::new()));
    Ok(match (parts.next(), parts.next()) {
        (Some(condition), Some(otherwise)) => {
            Expr::If { condition: Box::new(condition), then: Box::new(then), otherwise: Box::new(otherwise) }
        }
        _ => then,
    })
}

fn inversion(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let (nots, rest): (Vec<_>, Vec<_>) = pair.into_inner().partition(|part| part.as_rule() == Rule::not_);
    let mut found = one_or(rest.into_iter().map(build).collect::<Result<_, _>>()?, Expr::And);
    for _ in nots {
        found = Expr::Not(Box::new(found));
    }
    Ok(found)
}

fn comparison(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let mut parts = pair.into_inner();
    let first = parts.next().map(build).transpose()?.unwrap_or(Expr::List(Vec::new()));
    let mut others = Vec::new();
    while let (Some(sign), Some(operand)) = (parts.next(), parts.next()) {
        others.push((Compare::of(sign.as_str()), build(operand)?));
    }
    Ok(if others.is_empty() { first } else { Expr::Compare(Box::new(first), others) })
}

fn arithmetic(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let left = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::or))
        .op(left(Rule::xor))
        .op(left(Rule::and))
        .op(left(Rule::left) | left(Rule::right))
        .op(left(Rule::plus) | left(Rule::minus))
        .op(left(Rule::times) | left(Rule::divide) | left(Rule::floor) | left(Rule::modulo))
        .op(Op::prefix(Rule::negate) | Op::prefix(Rule::keep) | Op::prefix(Rule::invert))
        .op(Op::infix(Rule::power, Assoc::Right))
        .map_primary(build)
        .map_prefix(|sign, operand| Ok(Expr::Prefix(Prefix::of(sign.as_str()), Box::new(operand?))))
        .map_infix(|a, sign, b| Ok(Expr::Infix(Box::new(a?), Infix::of(sign.as_str()), Box::new(b?))))
        .parse(pair.into_inner())
}

fn primary(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let mut parts = pair.into_inner();
    let mut found = parts.next().map(build).transpose()?.unwrap_or(Expr::List(Vec::new()));
    for index in parts.flat_map(Pair::into_inner) {
        found = Expr::Index(Box::new(found), Box::new(build(index)?));
    }
    Ok(found)
}

fn call(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let at = pair.as_span().start();
    let mut parts = pair.into_inner();
    let name = parts.next().map(|name| name.as_str()).unwrap_or_default();
    let arguments = parts.map(build).collect::<Result<Vec<_>, _>>()?;
    let function = functions::named(name).ok_or_else(|| (at, format!("there is no function {name}()")))?;
    if !functions::takes(name, arguments.len()) {
        return Err((at, format!("{name}() takes another number of arguments")));
    }
    Ok(Expr::Call(function, arguments))
}

fn name(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    use std::f64::consts::{E, PI, TAU};
    let constant = |value: Value| Ok(Expr::Constant(value));
    match pair.as_str() {
        "ban.Time" => Ok(Expr::Variable(Variable::Time)),
        "ban.Count" => Ok(Expr::Variable(Variable::Count)),
        "banFactor" => Ok(Expr::Variable(Variable::Factor)),
        "True" => constant(Value::Int(1)),
        "False" => constant(Value::Int(0)),
        "math.e" => constant(Value::Float(E)),
        "math.pi" => constant(Value::Float(PI)),
        "math.tau" => constant(Value::Float(TAU)),
        "math.inf" => constant(Value::Float(f64::INFINITY)),
        other => Err((pair.as_span().start(), format!("the name '{other}' is not defined"))),
    }
}

fn number(pair: Pair<'_, Rule>) -> Result<Expr, Wrong> {
    let text = pair.as_str().replace('_', "").to_lowercase();
    let whole = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let value = whole.map(Value::Int).or_else(|| text.parse().ok().map(Value::Float));
    value.map(Expr::Constant).ok_or_else(|| (pair.as_span().start(), "this is no number".into()))
}

impl Expr {
    fn eval(&self, ban: Ban) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Variable(Variable::Time) => Ok(ban.time.into()),
            Self::Variable(Variable::Count) => Ok(Value::Int(ban.count.into())),
            Self::Variable(Variable::Factor) => Ok(ban.factor.into()),
            Self::Prefix(prefix, operand) => prefix.apply(operand.eval(ban)?),
            Self::Infix(a, infix, b) => infix.apply(a.eval(ban)?, b.eval(ban)?),
            Self::Compare(first, others) => {
                let mut left = first.eval(ban)?;
                for (compare, right) in others {
                    let right = right.eval(ban)?;
                    if !compare.holds(&left, &right)? {
                        return Ok(Value::Int(0));
                    }
                    left = right;
                }
                Ok(Value::Int(1))
            }
            Self::Not(operand) => Ok(Value::Int(i128::from(!operand.eval(ban)?.is_true()))),
            Self::And(operands) => first_that_is(operands, false, ban),
            Self::Or(operands) => first_that_is(operands, true, ban),
            Self::If { condition, then, otherwise } => {
                if condition.eval(ban)?.is_true() {
                    then.eval(ban)
                } else {
                    otherwise.eval(ban)
                }
            }
            Self::List(items) => {
                items.iter().map(|item| item.eval(ban)).collect::<Result<_, _>>().map(Value::List)
            }
            Self::Index(list, index) => list.eval(ban)?.at(&index.eval(ban)?),
            Self::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.eval(ban));
                function(&arguments.collect::<Result<Vec<_>, _>>()?)
            }
        }
    }
}

/// The first operand that is as true as wanted, or else the last one.
fn first_that_is(operands: &[Expr], wanted: bool, ban: Ban) -> Result<Value, EvalError> {
    let mut found = Value::Int(0);
    for operand in operands {
        found = operand.eval(ban)?;
        if found.is_true() == wanted {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
