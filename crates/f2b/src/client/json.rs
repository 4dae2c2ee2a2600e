//! Answers of a server for programs: `f2b-client --json COMMAND...`.
//!
//! An answer is printed as it comes, before it is made a text for people: numbers stay numbers, lists lists. A list of
//! pairs, which `status` answers with, becomes an object, and its `Jail list` a list. A refusal is an object
//! `{"error": ..., "class": ...}`, and the exit code is that of every failure.

use f2b_protocol::{Exception, Value};
use serde_json::{Map, Value as Json, json};

use super::beautify::beautify_error;

/// Where a status names all jails, in one text.
const JAILS: &str = "Jail list";

pub(super) fn answer(value: &Value) -> String {
    format!("{:#}\n", to_json(value))
}

pub(super) fn refusal(exception: &Exception) -> String {
    format!("{:#}\n", json!({ "error": beautify_error(exception), "class": exception.class }))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(n) => json!(n),
        // What is no number there is none in JSON.
        Value::Float(x) => json!(x),
        Value::Str(text) => json!(text.as_str()),
        Value::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::List(items) if !items.is_empty() && items.iter().all(|item| pair(item).is_some()) => {
            let entries =
                items.iter().filter_map(pair).map(|(name, value)| (name.to_owned(), entry(name, value)));
            Json::Object(entries.collect())
        }
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.iter().map(to_json).collect(),
        Value::Dict(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.to_text(), to_json(value))).collect::<Map<_, _>>(),
        ),
        Value::Exception(exception) => {
            json!({ "error": beautify_error(exception), "class": exception.class })
        }
    }
}

fn pair(item: &Value) -> Option<(&str, &Value)> {
    match item {
        Value::Tuple(pair) => match pair.as_slice() {
            [Value::Str(name), value] => Some((name, value)),
            _ => None,
        },
        _ => None,
    }
}

fn entry(name: &str, value: &Value) -> Json {
    match value {
        Value::Str(jails) if name == JAILS => jails.split(", ").filter(|jail| !jail.is_empty()).collect(),
        value => to_json(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_objects_and_numbers_numbers() {
        let pair = |name: &str, value: Value| Value::Tuple(vec![name.into(), value]);
        let status = Value::List(vec![
            pair("Number of jail", Value::Int(2)),
            pair("Jail list", "a, b".into()),
            Value::Tuple(vec!["x".into(), Value::List(vec![pair("y", Value::Float(0.5))])]),
        ]);
        let expected = json!({ "Number of jail": 2, "Jail list": ["a", "b"], "x": { "y": 0.5 } });
        assert_eq!(to_json(&status), expected);
        assert_eq!(to_json(&Value::List(Vec::new())), json!([]));
        assert_eq!(to_json(&Value::Dict(vec![(Value::Int(1), Value::None)])), json!({ "1": null }));
        assert_eq!(to_json(&Value::Float(f64::NAN)), Json::Null);
    }
}
