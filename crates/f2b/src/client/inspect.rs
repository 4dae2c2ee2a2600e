//! What the client tells of a configuration without a server: `--test` and `--explain`, as text or as JSON.

use std::path::Path;

use f2b_config::{Diagnostic, Explained, Layer, Problem, Report};
use f2b_protocol::Value;
use f2b_types::{Level, Log, Record};
use serde_json::{Value as Json, json};

use super::console::Output;
use super::{Failed, config};

/// The problems as compilers print them, which jails have errors, and how many there are.
pub(super) fn problems(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        text += &format!("{}\n", Problem(problem));
    }
    for jail in &report.broken {
        text += &format!("Errors in jail {}.\n", Value::from(jail.as_str()));
    }
    if !report.problems.is_empty() {
        text += &format!("{}, {}\n", count(report.errors(), "error"), count(report.warnings(), "warning"));
    }
    text
}

/// The same for programs.
pub(super) fn problems_as_json(report: &Report, ok: bool) -> String {
    let problems: Vec<Json> = report.problems.iter().map(problem_as_json).collect();
    let (errors, warnings) = (report.errors(), report.warnings());
    format!(
        "{:#}\n",
        json!({ "ok": ok, "errors": errors, "warnings": warnings, "broken": report.broken, "problems": problems })
    )
}

fn problem_as_json(problem: &Diagnostic) -> Json {
    json!({
        "severity": if problem.is_error() { "error" } else { "warning" },
        "message": problem.record.message,
        "path": problem.at.as_ref().map(|at| &at.path),
        "line": problem.at.as_ref().map(|at| at.line),
        "column": problem.at.as_ref().map(|at| at.column),
        "text": problem.line_text,
        "hint": problem.hint,
    })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints where the options of `JAIL` or `JAIL.option` come from.
///
/// # Errors
///
/// [`Failed`] when there is no such jail or option, or when the files can't be read.
pub(super) fn explain(
    root: &Path,
    what: &str,
    as_json: bool,
    log: &dyn Log,
    out: &mut Output,
) -> Result<(), Failed> {
    let (explained, diagnostics) = f2b_config::explain(root, what);
    config::report(&diagnostics, log);
    match explained {
        Ok(options) if as_json => {
            let options: Vec<Json> = options.iter().map(option_as_json).collect();
            out.print(&format!("{:#}\n", Json::from(options)));
        }
        Ok(options) => out.print(&options.iter().map(option).collect::<String>()),
        Err(error) => {
            let message = Diagnostic::from(error).to_string();
            log.write(Record::new(Level::ERROR, "", message));
            return Err(Failed);
        }
    }
    Ok(())
}

/// `name = value`, and below it who says so.
fn option(explained: &Explained) -> String {
    let value = explained.value.to_text();
    let mut text = format!("{} = {}\n", explained.name, value.replace('\n', "\n    "));
    for (number, layer) in explained.layers.iter().enumerate() {
        let (place, written) = (place(layer), layer.text.replace('\n', "\n        "));
        text += &match number {
            0 if layer.text == value || layer.at.is_none() => format!("  # {place}\n"),
            0 => format!("  # {place}: {written}\n"),
            _ => format!("  # overrides {place}: {written}\n"),
        };
    }
    if explained.layers.is_empty() {
        text += "  # by default\n";
    }
    for (name, layer) in &explained.through {
        text += &format!("  # with {name}: {}: {}\n", place(layer), layer.text.replace('\n', "\n        "));
    }
    text
}

fn place(layer: &Layer) -> String {
    match &layer.at {
        Some(at) => format!("{at} [{}]", layer.section),
        None => "set by the program".into(),
    }
}

fn option_as_json(explained: &Explained) -> Json {
    let layers: Vec<Json> = explained.layers.iter().map(layer_as_json).collect();
    let through: serde_json::Map<String, Json> =
        explained.through.iter().map(|(name, layer)| (name.clone(), layer_as_json(layer))).collect();
    let value = value_as_json(&explained.value);
    json!({ "name": explained.name, "value": value, "layers": layers, "through": through })
}

fn layer_as_json(layer: &Layer) -> Json {
    json!({
        "section": layer.section,
        "path": layer.at.as_ref().map(|at| &at.path),
        "line": layer.at.as_ref().map(|at| at.line),
        "column": layer.at.as_ref().map(|at| at.column),
        "text": layer.text,
    })
}

fn value_as_json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        other => json!(other.to_text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_told_with_its_layers() {
        let layer = |text: &str| Layer { section: "j".into(), at: None, text: text.into() };
        let explained = |value: &str, layers| Explained {
            name: "x".into(),
            value: value.into(),
            layers,
            through: vec![],
        };
        assert_eq!(option(&explained("1\n2", vec![])), "x = 1\n    2\n  # by default\n");
        assert_eq!(
            option(&explained("1", vec![layer("1"), layer("0")])),
            "x = 1\n  # set by the program\n  # overrides set by the program: 0\n"
        );
    }
}
