//! The properties of an action: its commands, its settings, and whatever else the configuration names for use as tags.
//!
//! Upstream keeps them as attributes of a Python object, so they carry Python's values: a `timeout` is a number, a switch
//! such as `norestored` is what came in, and decides by Python's idea of truth. A name that begins with `_` is kept
//! but is no tag.
//!
//! Upstream: `CommandAction.__setattr__`, `_properties`, `clearAllParams`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use f2b_protocol::Value;
use f2b_types::{Number, str2seconds};

use crate::error::ActionError;
use crate::names::Names;
use crate::tags::{Tags, replace_static, resolve};

/// The commands that every action has, empty until they are set.
const COMMANDS: &[&str] = &[
    "actionban",
    "actioncheck",
    "actionflush",
    "actionreban",
    "actionreload",
    "actionrepair",
    "actionstart",
    "actionstop",
    "actionunban",
];

/// Seconds that a command may take, unless something else is set.
pub(crate) const DEFAULT_TIMEOUT: Number = Number::Int(60);

/// What upstream's object has besides the properties.
const CONSTANTS: &[&str] = &["ESCAPE_CRE", "ESCAPE_VN_CRE", "banEpoch"];

/// What upstream's object can do (`get J actionmethods A`).
pub(crate) const METHODS: &[&str] = &[
    "ban",
    "clearAllParams",
    "consistencyCheck",
    "escapeTag",
    "executeCmd",
    "flush",
    "invalidateBanEpoch",
    "prolong",
    "reban",
    "reload",
    "replaceDynamicTags",
    "replaceTag",
    "start",
    "stop",
    "unban",
];

/// Properties by name.
#[derive(Debug, Clone)]
pub(crate) struct Properties {
    values: BTreeMap<String, Value>,
    cache: RefCell<Cache>,
}

/// What has been resolved since a property last changed.
#[derive(Debug, Clone, Default)]
struct Cache {
    /// All properties, by condition.
    resolved: BTreeMap<String, Tags>,
    /// Commands, by condition and query.
    commands: BTreeMap<(String, String), String>,
}

impl Properties {
    pub(crate) fn new() -> Self {
        let mut properties = Self { values: BTreeMap::new(), cache: RefCell::default() };
        properties.reset();
        properties
    }

    /// Empties the commands and sets the timeout back; what else has been set stays.
    pub(crate) fn reset(&mut self) {
        self.cache.take();
        self.values.insert("timeout".into(), DEFAULT_TIMEOUT.into());
        for name in COMMANDS {
            self.values.insert((*name).into(), Value::from(""));
        }
    }

    /// Sets a property to a value from the command stream and gives back the value as it is kept; `None` for one that is
    /// ignored.
    pub(crate) fn set(&mut self, name: &str, value: Value) -> Result<Option<&Value>, ActionError> {
        if CONSTANTS.contains(&name) || METHODS.contains(&name) {
            return Err(ActionError::NotSettable(name.into()));
        }
        let value = match name {
            "bantime" => return Ok(None),
            "timeout" => seconds(value)?,
            _ => value,
        };
        self.cache.take();
        self.values.insert(name.to_owned(), value);
        Ok(self.values.get(name))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The names of all public ones, in Python's order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.values.keys().map(String::as_str).chain(CONSTANTS.iter().copied()).collect();
        names.retain(|name| !name.starts_with('_'));
        names.sort_unstable();
        names
    }

    /// Whether the property is set to something that Python takes for true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    /// How long a command may take.
    pub(crate) fn timeout(&self) -> Number {
        match self.get("timeout") {
            Some(Value::Int(n)) => Number::Int(*n),
            Some(Value::Float(x)) => Number::Float(*x),
            _ => DEFAULT_TIMEOUT,
        }
    }

    /// Whether some property has a value of its own for a family (`cftarget?family=inet6`).
    pub(crate) fn has_conditions(&self) -> bool {
        let conditional = |name: &&String| {
            name.split_once('?').is_some_and(|(name, condition)| {
                let word = |c: char| c == '_' || c.is_alphanumeric();
                !name.starts_with('_')
                    && !name.is_empty()
                    && name.chars().all(word)
                    && condition.starts_with("family=")
            })
        };
        self.values.keys().any(|name| conditional(&name))
    }

    /// The command that `query` (`<actionban>`) stands for where `family` is concerned, with all static tags replaced.
    pub(crate) fn command(
        &self,
        query: &str,
        family: Option<&str>,
        epoch: u64,
        names: &dyn Names,
    ) -> Result<String, ActionError> {
        let conditional = match family {
            Some(family) if !family.is_empty() => format!("family={family}"),
            _ => String::new(),
        };
        let key = (conditional, query.to_owned());
        if let Some(command) = self.cache.borrow().commands.get(&key) {
            return Ok(command.clone());
        }
        let mut cache = self.cache.borrow_mut();
        if !cache.resolved.contains_key(&key.0) {
            let resolved = resolve(&self.tags(epoch), &key.0)?;
            cache.resolved.insert(key.0.clone(), resolved);
        }
        let Some(resolved) = cache.resolved.get(&key.0) else { return Ok(query.to_owned()) };
        let command = replace_static(query, resolved, &key.0, names)?;
        cache.commands.insert(key, command.clone());
        Ok(command)
    }

    fn tags(&self, epoch: u64) -> Tags {
        let public =
            self.values.iter().filter(|(name, value)| !name.starts_with('_') && **value != Value::None);
        let mut tags: Tags = public.map(|(name, value)| (name.clone(), value.to_text())).collect();
        tags.insert("banEpoch".into(), epoch.to_string());
        tags
    }
}

fn seconds(value: Value) -> Result<Value, ActionError> {
    match value {
        Value::Int(_) | Value::Float(_) => Ok(value),
        other => Ok(str2seconds(&other.to_text())?.into()),
    }
}

/// Python's idea of truth.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(b) => *b,
        Value::Int(n) => *n != 0,
        Value::Float(x) => *x != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => !items.is_empty(),
        Value::Dict(entries) => !entries.is_empty(),
        Value::Exception(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::FixedNames;

    #[test]
    fn values_keep_their_types() {
        let mut properties = Properties::new();
        assert_eq!(properties.set("timeout", "1m 30s".into()), Ok(Some(&Value::Int(90))));
        assert_eq!(properties.timeout(), Number::Int(90));
        assert!(properties.set("timeout", "soon".into()).is_err());
        assert_eq!(properties.set("bantime", "1h".into()), Ok(None));
        assert_eq!(properties.set("norestored", true.into()), Ok(Some(&Value::Bool(true))));
        assert!(properties.is_true("norestored"));
        assert!(!properties.is_true("actionban"));
        assert!(properties.set("start", "x".into()).is_err());
    }

    #[test]
    fn names_are_sorted_as_python_sorts_them() {
        let mut properties = Properties::new();
        properties.set("name", "sshd".into()).expect("settable");
        properties.set("_hidden", "x".into()).expect("settable");
        let names = properties.names();
        assert_eq!(names.first(), Some(&"ESCAPE_CRE"));
        assert_eq!(names[names.len() - 3..], ["banEpoch", "name", "timeout"]);
    }

    #[test]
    fn commands_follow_a_change() {
        let mut properties = Properties::new();
        let names = FixedNames::default();
        let command = |p: &Properties, family| p.command("<actionban>", family, 0, &names);
        properties.set("actionban", "add <set> <timeout> <_x>".into()).expect("settable");
        properties.set("set", "a".into()).expect("settable");
        assert_eq!(command(&properties, None), Ok("add a 60 <_x>".into()));
        assert!(!properties.has_conditions());
        properties.set("set?family=inet6", "b".into()).expect("settable");
        assert!(properties.has_conditions());
        assert_eq!(command(&properties, None), Ok("add a 60 <_x>".into()));
        assert_eq!(command(&properties, Some("inet6")), Ok("add b 60 <_x>".into()));
        properties.reset();
        assert_eq!(command(&properties, Some("inet6")), Ok("".into()));
    }
}
