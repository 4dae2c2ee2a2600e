//! The column `data`: the data of a ticket as JSON.
//!
//! Upstream writes it as Python's `json.dumps` formats it, and as bytes: scripts that read the column may depend on both.

use f2b_types::{FailData, surplus_matches};
use serde_json::Value;

/// Longer texts than this are not read.
const MAX_LEN: usize = 16 << 20;

/// What is stored of the data, with at most the last `max_matches` lines.
pub(crate) fn write(data: &FailData, max_matches: i64) -> Vec<u8> {
    let surplus = surplus_matches(data.matches.len(), max_matches);
    let mut json = data.to_json();
    match (&mut json, surplus) {
        (_, 0) => {}
        (Value::Object(all), _) if max_matches == 0 => drop(all.shift_remove("matches")),
        (Value::Object(all), _) => {
            if let Some(Value::Array(lines)) = all.get_mut("matches") {
                lines.drain(..surplus.min(lines.len()));
            }
        }
        _ => {}
    }
    let mut out = String::new();
    dump(&json, &mut out);
    out.into_bytes()
}

/// Reads what this program or upstream wrote; `None` for anything else.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > MAX_LEN {
        return None;
    }
    serde_json::from_str(&String::from_utf8_lossy(bytes)).ok().filter(Value::is_object)
}

/// Data is nested as deep as the parser allowed when it was read, and no deeper than a few levels otherwise.
fn dump(json: &Value, out: &mut String) {
    let mut separator = "";
    match json {
        Value::Array(items) => {
            out.push('[');
            for item in items {
                out.push_str(separator);
                dump(item, out);
                separator = ", ";
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (name, value) in entries {
                out.push_str(separator);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                dump(value, out);
                separator = ", ";
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], max_matches: i64, expected: &str) {
        let mut data = FailData { failures: 2, ..FailData::default() };
        data.matches = lines.iter().map(|line| (*line).into()).collect();
        data.fields.insert("u".into(), serde_json::json!({"a": ["é\"\n\u{1}", 1.0, null]}));
        assert_eq!(String::from_utf8_lossy(&write(&data, max_matches)), expected);
        assert!(read(expected.as_bytes()).is_some());
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let rest = r#""failures": 2, "u": {"a": ["é\"\n\u0001", 1.0, null]}}"#;
        check(&[], 10, &format!("{{{rest}"));
        check(&["a", "b", "c"], 10, &format!(r#"{{"matches": ["a", "b", "c"], {rest}"#));
        check(&["a", "b", "c"], 2, &format!(r#"{{"matches": ["b", "c"], {rest}"#));
        check(&["a", "b", "c"], 0, &format!("{{{rest}"));
    }

    #[test]
    fn rubbish_is_no_data() {
        for text in ["", "{", "[]", "1", "\0", &"[".repeat(100_000)] {
            assert_eq!(read(text.as_bytes()), None);
        }
        assert!(read(b"{\"a\": \"\xff\"}").is_some());
    }
}
