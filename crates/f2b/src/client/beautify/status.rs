//! The trees of `status`.

use f2b_protocol::Value;

use super::python::{Broken, Text, item, items};

/// `status`, `status JAIL`, `status --all`.
pub(super) fn render(command: &[Value], response: &Value) -> Text {
    let mut lines = Lines(Vec::new());
    let done = match command.get(1) {
        None => lines.server(response, false),
        Some(name) if name.as_str() == Some("--all") => lines.server(response, true),
        Some(name) => {
            lines.push(format!("Status for the jail: {}", name.to_text()));
            lines.jail(response, "")
        }
    };
    match done {
        Some(()) => Ok(lines.0.join("\n")),
        // Without a last element to split off, upstream has not begun to write.
        None if lines.0.is_empty() => Err(Broken(response.clone())),
        None => Err(Broken(Value::strings(lines.0))),
    }
}

/// Lines so far; a method gives `None` where the value does not have the shape that it should have.
struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, line: String) {
        self.0.push(line);
    }

    fn server(&mut self, response: &Value, with_jails: bool) -> Option<()> {
        let mut entries = match response {
            Value::List(_) | Value::Tuple(_) | Value::Str(_) => items(response)?,
            _ if with_jails => return None,
            other => {
                self.push("Status".into());
                items(other)?
            }
        };
        let jails = if with_jails { Some(entries.pop()?) } else { None };
        let jails = jails.filter(is_true);
        if self.0.is_empty() {
            self.push("Status".into());
        }
        let count = entries.len();
        for (i, entry) in entries.iter().enumerate() {
            let branch = if jails.is_none() && i + 1 == count { "`-" } else { "|-" };
            self.entry(branch, entry)?;
        }
        let Some(jails) = jails else { return Some(()) };
        self.push("`- Status for the jails:".into());
        let Value::Dict(jails) = jails else { return None };
        for (i, (name, status)) in jails.iter().enumerate() {
            let is_last = i + 1 == jails.len();
            self.push(format!("   {} Jail: {}", if is_last { "`-" } else { "|-" }, name.to_text()));
            self.jail(status, if is_last { "      " } else { "   |  " })?;
        }
        Some(())
    }

    fn jail(&mut self, response: &Value, indent: &str) -> Option<()> {
        let groups = items(response)?;
        for (i, group) in groups.iter().enumerate() {
            let is_last = i + 1 == groups.len();
            let name = item(group, 0)?.to_text();
            self.push(format!("{indent}{} {name}", if is_last { "`-" } else { "|-" }));
            let below = format!("{indent}{}", if is_last { "   " } else { "|  " });
            let entries = items(&item(group, 1)?)?;
            for (j, entry) in entries.iter().enumerate() {
                let branch = if j + 1 == entries.len() { "`-" } else { "|-" };
                self.entry(&format!("{below}{branch}"), entry)?;
            }
        }
        Some(())
    }

    /// A name and what belongs to it; lists stand on one line.
    fn entry(&mut self, branch: &str, entry: &Value) -> Option<()> {
        let value = match item(entry, 1)? {
            Value::List(items) => items.iter().map(Value::to_text).collect::<Vec<_>>().join(" "),
            other => other.to_text(),
        };
        self.push(format!("{branch} {}:\t{value}", item(entry, 0)?.to_text()));
        Some(())
    }
}

/// Python's `bool()`, as far as it matters here.
fn is_true(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(false) | Value::Int(0) => false,
        other => items(other).is_none_or(|items| !items.is_empty()),
    }
}
