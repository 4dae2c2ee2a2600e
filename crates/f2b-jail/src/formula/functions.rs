//! The functions that a formula can call: those of Python's builtins and of its module `math` that give a number.

use std::cmp::Ordering;

use super::value::{EvalError, Infix, Value};

pub(super) type Function = fn(&[Value]) -> Result<Value, EvalError>;

const ARGUMENTS: EvalError = EvalError("a function has too few or too many arguments");
const DOMAIN: EvalError = EvalError("math domain error");

/// The function of that name.
pub(super) fn named(name: &str) -> Option<Function> {
    Some(match name {
        "min" => |arguments| extreme(arguments, Ordering::Less),
        "max" => |arguments| extreme(arguments, Ordering::Greater),
        "int" | "math.trunc" => |arguments| whole(arguments, f64::trunc),
        "math.floor" => |arguments| whole(arguments, f64::floor),
        "math.ceil" => |arguments| whole(arguments, f64::ceil),
        "float" => |arguments| float(arguments, |x| x),
        "abs" => |arguments| match one(arguments)? {
            Value::Int(n) => Ok(n.checked_abs().map_or(Value::Float((*n as f64).abs()), Value::Int)),
            value => Ok(Value::Float(value.number()?.abs())),
        },
        "round" => round,
        "pow" => |arguments| two(arguments).and_then(|(a, b)| Infix::Power.apply(a.clone(), b.clone())),
        "len" => |arguments| match one(arguments)? {
            Value::List(items) => Ok(Value::Int(items.len() as i128)),
            _ => Err(EvalError("a number has no len()")),
        },
        "sum" => |arguments| match one(arguments)? {
            Value::List(items) => {
                let add = |sum: Value, item: &Value| Infix::Plus.apply(sum, item.clone());
                items.iter().try_fold(Value::Int(0), add)
            }
            _ => Err(EvalError("sum() wants a list")),
        },
        "math.exp" => |arguments| float(arguments, f64::exp),
        "math.expm1" => |arguments| float(arguments, f64::exp_m1),
        "math.sqrt" => |arguments| float(arguments, f64::sqrt),
        "math.fabs" => |arguments| float(arguments, f64::abs),
        "math.log2" => |arguments| float(arguments, f64::log2),
        "math.log10" => |arguments| float(arguments, f64::log10),
        "math.log1p" => |arguments| float(arguments, f64::ln_1p),
        "math.log" => |arguments| match arguments {
            [_] => float(arguments, f64::ln),
            [x, base] => {
                let logarithm = |value: &Value| float(std::slice::from_ref(value), f64::ln);
                Infix::Divide.apply(logarithm(x)?, logarithm(base)?)
            }
            _ => Err(ARGUMENTS),
        },
        "math.sin" => |arguments| float(arguments, f64::sin),
        "math.cos" => |arguments| float(arguments, f64::cos),
        "math.tan" => |arguments| float(arguments, f64::tan),
        "math.atan" => |arguments| float(arguments, f64::atan),
        "math.tanh" => |arguments| float(arguments, f64::tanh),
        "math.pow" => |arguments| floats(arguments, f64::powf),
        "math.fmod" => |arguments| floats(arguments, |a, b| a % b),
        "math.hypot" => |arguments| floats(arguments, f64::hypot),
        _ => return None,
    })
}

/// Whether a function can be called with so many arguments.
pub(super) fn takes(name: &str, count: usize) -> bool {
    match name {
        "min" | "max" => count > 0,
        "round" | "math.log" => (1..=2).contains(&count),
        "pow" | "math.pow" | "math.fmod" | "math.hypot" => count == 2,
        _ => count == 1,
    }
}

fn one(arguments: &[Value]) -> Result<&Value, EvalError> {
    if let [only] = arguments { Ok(only) } else { Err(ARGUMENTS) }
}

fn two(arguments: &[Value]) -> Result<(&Value, &Value), EvalError> {
    if let [a, b] = arguments { Ok((a, b)) } else { Err(ARGUMENTS) }
}

/// The function of a float; nothing finite may lead to what is no number or without end.
fn float(arguments: &[Value], function: fn(f64) -> f64) -> Result<Value, EvalError> {
    let x = one(arguments)?.number()?;
    checked(x.is_finite(), function(x))
}

fn floats(arguments: &[Value], function: fn(f64, f64) -> f64) -> Result<Value, EvalError> {
    let (a, b) = two(arguments)?;
    let (a, b) = (a.number()?, b.number()?);
    checked(a.is_finite() && b.is_finite(), function(a, b))
}

fn checked(was_finite: bool, result: f64) -> Result<Value, EvalError> {
    if was_finite && !result.is_finite() { Err(DOMAIN) } else { Ok(Value::Float(result)) }
}

fn whole(arguments: &[Value], cut: fn(f64) -> f64) -> Result<Value, EvalError> {
    match one(arguments)? {
        Value::Int(n) => Ok(Value::Int(*n)),
        value => integer(cut(value.number()?)),
    }
}

fn integer(x: f64) -> Result<Value, EvalError> {
    if x.is_finite() {
        Ok(Value::Int(x as i128))
    } else {
        Err(EvalError("cannot convert float infinity to integer"))
    }
}

/// Half-way numbers go to the even neighbour; with places, the number stays a float.
fn round(arguments: &[Value]) -> Result<Value, EvalError> {
    match arguments {
        [Value::Int(n)] => Ok(Value::Int(*n)),
        [x] => integer(x.number()?.round_ties_even()),
        [Value::Int(n), Value::Int(0..)] => Ok(Value::Int(*n)),
        [x, places] => {
            let (x, places) = (x.number()?, places.integer()?.clamp(0, 300) as usize);
            Ok(Value::Float(format!("{x:.places$}").parse().unwrap_or(x)))
        }
        _ => Err(ARGUMENTS),
    }
}

/// The smallest or the greatest of the arguments, or of the one list that is given; of equal ones the first.
fn extreme(arguments: &[Value], wanted: Ordering) -> Result<Value, EvalError> {
    let values = match arguments {
        [Value::List(items)] => items,
        [_] => return Err(EvalError("min() and max() want several numbers or a list")),
        values => values,
    };
    let (first, others) = values.split_first().ok_or(ARGUMENTS)?;
    first.number()?;
    let mut best = first;
    for value in others {
        if value.order(best)? == Some(wanted) {
            best = value;
        }
    }
    Ok(best.clone())
}
