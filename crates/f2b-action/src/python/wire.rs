//! Values on their way to the child and back, as JSON. What JSON lacks is an object of one entry that names the type:
//! `{"tuple": [1, 2]}`.
//!
//! The depth of what comes in is bounded by the parser, its length by the reader of the pipe.

use f2b_protocol::{Exception, Value};
use serde_json::{Value as Json, json};

/// The value as the child reads it.
pub(super) fn to_json(value: &Value) -> Json {
    let all = |items: &[Value]| -> Vec<Json> { items.iter().map(to_json).collect() };
    match value {
        Value::None => Json::Null,
        Value::Bool(yes) => (*yes).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(x) if x.is_finite() => (*x).into(),
        Value::Float(x) => json!({ "float": x.to_string() }),
        Value::Str(text) => text.as_str().into(),
        Value::Bytes(bytes) => json!({ "bytes": bytes }),
        Value::List(items) => all(items).into(),
        Value::Tuple(items) => json!({ "tuple": all(items) }),
        Value::Set(items) => json!({ "set": all(items) }),
        Value::Dict(entries) => {
            let pairs: Vec<[Json; 2]> = entries.iter().map(|(key, v)| [to_json(key), to_json(v)]).collect();
            json!({ "dict": pairs })
        }
        Value::Exception(exception) => exception.to_string().into(),
    }
}

/// The value that the child has written; `None` for what it never writes.
pub(super) fn from_json(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::None,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(number) => match number.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(items_of(items)?),
        Json::Object(object) => {
            let (kind, inner) = object.iter().next()?;
            match kind.as_str() {
                "float" => Value::Float(inner.as_str()?.parse().ok()?),
                "tuple" => Value::Tuple(items_of(inner.as_array()?)?),
                "set" => Value::Set(items_of(inner.as_array()?)?),
                "bytes" => {
                    let byte = |number: &Json| u8::try_from(number.as_u64()?).ok();
                    Value::Bytes(inner.as_array()?.iter().map(byte).collect::<Option<_>>()?)
                }
                "dict" => {
                    let pair = |pair: &Json| Some((from_json(pair.get(0)?)?, from_json(pair.get(1)?)?));
                    Value::Dict(inner.as_array()?.iter().map(pair).collect::<Option<_>>()?)
                }
                "raised" => Value::from(exception(inner)?),
                _ => return None,
            }
        }
    })
}

fn items_of(items: &[Json]) -> Option<Vec<Value>> {
    items.iter().map(from_json).collect()
}

/// `{"module": ..., "class": ..., "args": [...]}`
pub(super) fn exception(json: &Json) -> Option<Exception> {
    Some(Exception {
        module: json.get("module")?.as_str()?.into(),
        class: json.get("class")?.as_str()?.into(),
        args: items_of(json.get("args")?.as_array()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_way() {
        let value = Value::Dict(vec![
            ("none".into(), Value::None),
            (Value::Int(1), Value::Tuple(vec![Value::Bool(true), Value::Float(1.0), Value::Float(-0.5)])),
            (Value::Tuple(vec![]), Value::Bytes(vec![0, 255])),
            ("set".into(), Value::Set(vec!["a".into()])),
            ("list".into(), Value::List(vec![Value::Float(f64::INFINITY), "\u{e9}\n".into()])),
        ]);
        assert_eq!(from_json(&to_json(&value)), Some(value));
    }

    #[test]
    fn what_is_none_of_them_is_no_value() {
        for wrong in [
            json!({}),
            json!({ "complex": 1 }),
            json!({ "tuple": 1 }),
            json!({ "bytes": [256] }),
            json!([{ "dict": [[1]] }]),
            json!({ "raised": { "module": "m" } }),
        ] {
            assert_eq!(from_json(&wrong), None, "{wrong}");
        }
    }
}
