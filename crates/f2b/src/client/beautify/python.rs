//! The few habits of Python that texts are made by.

use f2b_protocol::Value;

/// The value that upstream was building when a response turned out not to fit.
pub(super) struct Broken(pub(super) Value);

pub(super) type Text = Result<String, Broken>;

/// `head + value`, which only texts allow.
pub(super) fn plus(head: &str, value: &Value) -> Option<String> {
    value.as_str().map(|text| format!("{head}{text}"))
}

/// `separator.join(value)`: of texts only, but a text is a sequence of texts itself.
pub(super) fn join(separator: &str, value: &Value) -> Option<String> {
    let texts: Option<Vec<String>> = items(value)?.iter().map(|item| plus("", item)).collect();
    Some(texts?.join(separator))
}

/// What a loop over the value meets.
pub(super) fn items(value: &Value) -> Option<Vec<Value>> {
    Some(match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.clone(),
        Value::Str(text) => text.chars().map(|c| Value::from(String::from(c))).collect(),
        Value::Dict(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        _ => return None,
    })
}

/// What `value[:-1]` and `value[-1]` give together: only sequences can be cut.
pub(super) fn sequence(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.iter().map(|&byte| Value::Int(byte.into())).collect()),
        Value::Set(_) | Value::Dict(_) => None,
        other => items(other),
    }
}

/// `value[index]`
pub(super) fn item(value: &Value, index: usize) -> Option<Value> {
    match value {
        Value::List(items) | Value::Tuple(items) => items.get(index).cloned(),
        Value::Str(text) => text.chars().nth(index).map(|c| Value::from(String::from(c))),
        _ => None,
    }
}

/// `len(value)`
pub(super) fn len(value: &Value) -> Option<usize> {
    match value {
        Value::Bytes(bytes) => Some(bytes.len()),
        other => items(other).map(|items| items.len()),
    }
}

/// `none` for an empty value, an error for one without a length, and nothing for any other.
pub(super) fn text_or(none: &str, value: &Value) -> Option<Text> {
    match len(value) {
        None => Some(Err(Broken(value.clone()))),
        Some(0) => Some(Ok(none.into())),
        Some(_) => None,
    }
}
