//! What one matching line says.

use std::fmt;

use serde_json::Value;

use crate::{Id, Time};

/// The named groups that a failure carries besides its id, in the order in which they were captured.
///
/// Kept as JSON because that is what the database stores (column `data`) and what upstream reads back.
pub type Fields = serde_json::Map<String, Value>;

/// A line that took part in a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchedLine {
    /// The line split around its date: what stands before, the date, what stands behind.
    Split([String; 3]),
    /// The line in one piece.
    Whole(String),
}

/// The whole line.
impl fmt::Display for MatchedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(parts) => parts.iter().try_for_each(|part| f.write_str(part)),
            Self::Whole(line) => f.write_str(line),
        }
    }
}

impl From<&str> for MatchedLine {
    fn from(line: &str) -> Self {
        Self::Whole(line.into())
    }
}

/// What is known of a failure besides who and when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FailData {
    /// The lines that matched, oldest first.
    pub matches: Vec<MatchedLine>,
    /// How often it failed (`failures` in the database).
    pub failures: i64,
    /// The named groups of the expression; `<F-USER>` asks here for `user`.
    pub fields: Fields,
    /// The address to act upon where it is not the id itself (`<F-ID>` beside `<HOST>`).
    pub ip: Option<Id>,
}

impl FailData {
    /// The text of a named group, as a tag expands to it; `None` where the expression has no such group.
    pub fn field(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Names and values as the database stores them: `matches` and `failures` first, then the groups.
    pub fn to_json(&self) -> Value {
        let mut all = Fields::new();
        if !self.matches.is_empty() {
            all.insert("matches".into(), self.matches.iter().map(line_to_json).collect());
        }
        all.insert("failures".into(), self.failures.into());
        for (name, value) in &self.fields {
            all.insert(name.clone(), value.clone());
        }
        if let Some(ip) = &self.ip {
            all.insert("ip".into(), ip.to_string().into());
        }
        Value::Object(all)
    }

    /// Reads what [`FailData::to_json`] or upstream wrote. What has another shape than expected is left out.
    pub fn from_json(json: Value) -> Self {
        let Value::Object(mut fields) = json else { return Self::default() };
        let matches = match fields.shift_remove("matches") {
            Some(Value::Array(lines)) => lines.iter().filter_map(line_from_json).collect(),
            _ => Vec::new(),
        };
        let failures = fields.shift_remove("failures").and_then(|n| n.as_i64()).unwrap_or(0);
        let ip = match fields.shift_remove("ip") {
            Some(Value::String(text)) => Some(Id::parse(&text)),
            _ => None,
        };
        Self { matches, failures, fields, ip }
    }
}

fn line_to_json(line: &MatchedLine) -> Value {
    match line {
        MatchedLine::Split(parts) => parts.iter().cloned().map(Value::String).collect(),
        MatchedLine::Whole(line) => Value::String(line.clone()),
    }
}

fn line_from_json(json: &Value) -> Option<MatchedLine> {
    match json {
        Value::String(line) => Some(MatchedLine::Whole(line.clone())),
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(before), Value::String(date), Value::String(behind)] => {
                Some(MatchedLine::Split([before.clone(), date.clone(), behind.clone()]))
            }
            parts => Some(MatchedLine::Whole(parts.iter().filter_map(Value::as_str).collect())),
        },
        _ => None,
    }
}

/// One failure: who, when, and what else the line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Who failed.
    pub id: Id,
    /// When, by the date in the line.
    pub time: Time,
    /// Python has that time as a whole number, and prints it so.
    pub whole_time: bool,
    /// What else is known.
    pub data: FailData,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_survives_the_database() {
        let mut data = FailData { failures: 3, ip: Some(Id::parse("192.0.2.1")), ..FailData::default() };
        data.matches.push(MatchedLine::Split(["[".into(), "now".into(), "] x".into()]));
        data.matches.push("whole".into());
        data.fields.insert("user".into(), "root".into());
        assert_eq!(
            data.to_json().to_string(),
            r#"{"matches":[["[","now","] x"],"whole"],"failures":3,"user":"root","ip":"192.0.2.1"}"#
        );
        assert_eq!(FailData::from_json(data.to_json()), data);
    }

    #[test]
    fn rubbish_in_the_database_is_left_out() {
        let json = serde_json::json!({"matches": [1, ["a", "b"]], "failures": "x", "users": ["a"]});
        let data = FailData::from_json(json);
        assert_eq!(data.matches, [MatchedLine::Whole("ab".into())]);
        assert_eq!(data.failures, 0);
        assert_eq!(data.field("users").as_deref(), Some(r#"["a"]"#));
        assert_eq!(FailData::from_json(Value::Null), FailData::default());
    }
}
