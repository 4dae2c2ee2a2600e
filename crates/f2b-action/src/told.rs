//! What a client tells an action to do, with arguments in JSON (`set J action A ban '{"aInfo": {"ip": "192.0.2.1"}}'`).
//!
//! Upstream calls whatever method the action has, with whatever the JSON says (`transmitter.py`); here each method knows
//! its arguments, and answers as Python answers where they don't fit.

use f2b_protocol::Value;
use serde_json::{Map, Value as Json};

use crate::error::ActionError;
use crate::families::Family;
use crate::info::from_json;
use crate::properties::is_true;
use crate::script::{Subject, TagSource};
use crate::tags::Tags;

/// The methods that take arguments: those that have to be given, then those that may be.
const PARAMETERS: &[(&str, &[&str], &[&str])] = &[
    ("ban", &["aInfo"], &["cmd"]),
    ("reban", &["aInfo"], &[]),
    ("prolong", &["aInfo"], &[]),
    ("unban", &["aInfo"], &[]),
    ("consistencyCheck", &[], &["beforeRepair"]),
    ("escapeTag", &["value"], &[]),
    ("executeCmd", &["realCmd"], &["timeout"]),
    ("replaceTag", &["query", "aInfo"], &["conditional", "addrepl", "cache"]),
    ("replaceDynamicTags", &["realCmd", "aInfo"], &["escapeVal"]),
];

/// The arguments of a call.
#[derive(Debug)]
pub(crate) struct Arguments(Map<String, Json>);

impl Arguments {
    /// Reads the arguments of a method of a class, of which there are none without a text.
    pub(crate) fn parse(class: &str, method: &str, text: Option<&Value>) -> Result<Self, ActionError> {
        let given = match text {
            None => Map::new(),
            Some(text) => object(&text.to_text()).map_err(|wrong| wrong.of(class, method))?,
        };
        if method == "reload" {
            // This one takes anything.
            return Ok(Self(given));
        }
        let known = PARAMETERS.iter().find(|(name, ..)| *name == method);
        let (required, optional) =
            known.map_or((&[][..], &[][..]), |(_, required, optional)| (*required, *optional));
        let wrong = |what: String| Err(ActionError::Call(format!("{class}.{method}() {what}")));
        if let Some(unknown) = given.keys().find(|name| !required.iter().chain(optional).any(|n| n == name)) {
            return wrong(format!("got an unexpected keyword argument '{unknown}'"));
        }
        let missing: Vec<String> = required
            .iter()
            .filter(|name| !given.contains_key(**name))
            .map(|name| format!("'{name}'"))
            .collect();
        match missing.as_slice() {
            [] => Ok(Self(given)),
            [one] => wrong(format!("missing 1 required positional argument: {one}")),
            some => {
                wrong(format!("missing {} required positional arguments: {}", some.len(), some.join(" and ")))
            }
        }
    }

    /// An argument as Python has it; `None` where it is not given.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(from_json)
    }

    /// An argument as a text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_text())
    }

    /// What the command is about.
    pub(crate) fn info(&self) -> Result<ToldInfo, ActionError> {
        match self.0.get("aInfo") {
            Some(Json::Object(entries)) => Ok(ToldInfo(entries.clone())),
            other => Err(ActionError::NoProperty { class: class_of(other), name: "get".into() }),
        }
    }
}

/// What Python calls the type of a value.
fn class_of(json: Option<&Json>) -> &'static str {
    match json {
        None | Some(Json::Null) => "NoneType",
        Some(Json::Bool(_)) => "bool",
        Some(Json::Number(number)) if number.is_f64() => "float",
        Some(Json::Number(_)) => "int",
        Some(Json::String(_)) => "str",
        Some(Json::Array(_)) => "list",
        Some(Json::Object(_)) => "dict",
    }
}

/// Why a text holds no arguments.
enum Wrong {
    /// It is no JSON.
    Json(String),
    /// It is something else than an object, of this type.
    Type(&'static str),
}

impl Wrong {
    fn of(self, class: &str, method: &str) -> ActionError {
        match self {
            Self::Json(reason) => ActionError::Options(reason),
            Self::Type(found) => ActionError::Call(format!(
                "fail2ban.server.action.{class}.{method}() argument after ** must be a mapping, not {found}"
            )),
        }
    }
}

fn object(text: &str) -> Result<Map<String, Json>, Wrong> {
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(other) => Err(Wrong::Type(class_of(Some(&other)))),
        Err(error) => {
            let before: usize =
                text.split('\n').take(error.line() - 1).map(|line| line.chars().count() + 1).sum();
            let (line, column) = (error.line(), error.column().max(1));
            let what = match error.classify() {
                serde_json::error::Category::Syntax
                    if error.to_string().starts_with("trailing characters") =>
                {
                    "Extra data"
                }
                _ => "Expecting value",
            };
            Err(Wrong::Json(format!("{what}: line {line} column {column} (char {})", before + column - 1)))
        }
    }
}

/// What a client says about a ban.
#[derive(Debug)]
pub(crate) struct ToldInfo(Map<String, Json>);

impl ToldInfo {
    /// The same as properties.
    pub(crate) fn into_tags(self) -> Tags {
        self.0.into_iter().map(|(name, value)| (name, from_json(&value).to_text())).collect()
    }
}

impl TagSource for ToldInfo {
    fn tag(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| from_json(value).to_text())
    }

    fn field(&self, name: &str) -> Option<String> {
        self.0.get("F-*")?.get(name).map(|value| from_json(value).to_text())
    }
}

impl Subject for ToldInfo {
    fn family(&self) -> Family {
        match self.0.get("family") {
            None => Some(String::new()),
            Some(Json::Null) => None,
            Some(family) => Some(from_json(family).to_text()),
        }
    }

    fn is_restored(&self) -> bool {
        self.0.get("restored").is_some_and(|value| is_true(&from_json(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, text: &str, expected: &str) {
        let error = Arguments::parse("CommandAction", method, Some(&text.into())).err();
        assert_eq!(error.map(|error| error.to_exception().to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_in_pythons_words() {
        check(
            "ban",
            "{}",
            "TypeError(\"CommandAction.ban() missing 1 required positional argument: 'aInfo'\")",
        );
        check(
            "start",
            r#"{"x": 1}"#,
            "TypeError(\"CommandAction.start() got an unexpected keyword argument 'x'\")",
        );
        check("ban", "ip", "ValueError('Expecting value: line 1 column 1 (char 0)')");
        check("ban", "{} {}", "ValueError('Extra data: line 1 column 4 (char 3)')");
        check(
            "ban",
            "[1]",
            "TypeError('fail2ban.server.action.CommandAction.ban() argument after ** must be a mapping, not list')",
        );
        assert!(Arguments::parse("CommandAction", "reload", Some(&r#"{"any": "thing"}"#.into())).is_ok());
    }

    #[test]
    fn what_is_told_answers_tags() {
        let text = r#"{"aInfo": {"ip": "192.0.2.1", "time": 1.5, "F-*": {"user": "x"}, "none": null}}"#;
        let arguments = Arguments::parse("CommandAction", "ban", Some(&text.into())).expect("arguments");
        let info = arguments.info().expect("an object");
        let tag = |name: &str| info.tag(name);
        assert_eq!(
            (tag("ip").as_deref(), tag("time").as_deref(), tag("none").as_deref(), tag("fid")),
            (Some("192.0.2.1"), Some("1.5"), Some("None"), None)
        );
        assert_eq!((info.field("user").as_deref(), info.family()), (Some("x"), Some(String::new())));
    }
}
