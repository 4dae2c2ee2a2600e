//! The expressions to try: given as they are, or the name of a jail, a filter, or a filter's file
//! (`Fail2banRegex.readRegex`).

use std::path::{Path, PathBuf};

use f2b_config::{NamedValues, Rules, RulesReader, extract_options};
use f2b_filter::Filter;
use f2b_protocol::{Command, Value};
use f2b_types::{Level, Record};

use super::lines::shorten;
use super::options::Options;
use super::output::Output;
use super::{Failure, trial::Trial};

/// What the word on the command line stands for.
enum Source {
    /// A jail of that name.
    Jail { name: String, options: NamedValues },
    /// A filter in the configuration or a file anywhere.
    File { name: String, base: PathBuf, options: NamedValues },
    /// An expression.
    Expression,
}

/// Reads the failregex of the command line and sets the filter up.
pub(super) fn read_failregex(
    trial: &mut Trial,
    value: &str,
    options: &Options,
    backend: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut reader = RulesReader::new();
    let source = find(value, &options.config, &mut reader);
    out.log(records_of(&mut reader))?;
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            out.print(&format!("ERROR: Wrong filter name or options: {error}"))?;
            out.print(&format!("       while parsing: {value}"))?;
            return Err(Failure::Reported);
        }
    };
    let rules = match source {
        Source::Expression => return read_expression(trial, value, out),
        Source::Jail { name, options: given } => {
            out.say(&format!("Use {:>11} jail : {name}", ""))?;
            if !given.is_empty() {
                out.say(&format!("Use jail/flt options : {}", dict(&given)))?;
            }
            let mut given = given;
            given.retain(|(name, _)| name != "backend");
            given.push(("backend".into(), backend.into()));
            let rules = reader.read_jail(&options.config, &name, &given);
            let rules =
                rules.map_err(|error| error.to_string()).map(|rules| rules.map(|rules| (rules, given)));
            settle(rules, &mut reader, out, || {
                format!("ERROR: Failed to get jail for {}", Value::from(value))
            })?
        }
        Source::File { name, base, options: given } => {
            let rules = read_file(&mut reader, (&name, &base), &given, (options, backend), out)?;
            // Upstream notes the options of `[Init]` among those that were given.
            let rules = rules.map(|rules| {
                rules.map(|rules| {
                    let mut names = given;
                    for name in rules.init_names() {
                        if !names.iter().any(|(known, _)| known == name) {
                            names.push((name.to_owned(), String::new()));
                        }
                    }
                    (rules, names)
                })
            });
            settle(rules, &mut reader, out, || format!("ERROR: failed to load filter {value}"))?
        }
    };
    let (rules, given) = rules;
    let mut records = records_of(&mut reader);
    let later = records.split_off(rules.said_before_commands.min(records.len()));
    out.log(records)?;
    if options.verbose > 1 || out.is_debug() {
        out.say(&format!("Real  filter options : {}", real_options(&rules, &given)))?;
    }
    out.log(later)?;
    if rules.commands.is_empty() {
        // A file that says nothing is none.
        return read_expression(trial, value, out);
    }
    apply(trial, &rules.commands, value, out)
}

/// Takes the word on the command line for the expression.
fn read_expression(trial: &mut Trial, value: &str, out: &mut Output) -> Result<(), Failure> {
    out.say(&format!("Use {:>11} line : {}", "failregex", shorten(value)))?;
    trial.add_failregex(vec![value.to_owned()], out)
}

/// What the configuration had to say.
fn records_of(reader: &mut RulesReader) -> Vec<Record> {
    reader.take_diagnostics().into_iter().map(|diagnostic| diagnostic.record).collect()
}

/// Reads the ignoreregex of the command line, which replaces those of the filter.
pub(super) fn read_ignoreregex(trial: &mut Trial, value: &str, out: &mut Output) -> Result<(), Failure> {
    trial.filter.clear_ignoreregex();
    out.say(&format!("Use {:>11} line : {}", "ignoreregex", shorten(value)))?;
    trial.add_ignoreregex(vec![value.to_owned()], out)
}

/// Finds out what `value` is.
fn find(value: &str, config: &Path, reader: &mut RulesReader) -> Result<Source, String> {
    if !looks_like_name(value) {
        return Ok(Source::Expression);
    }
    let (name, options) = extract_options(value).map_err(|error| error.to_string())?;
    let is_path =
        name.contains('/') || name.lines().any(|line| line.ends_with(".conf") || line.ends_with(".local"));
    if !is_path && reader.has_jail(config, &name).map_err(|error| error.to_string())? {
        return Ok(Source::Jail { name, options });
    }
    let mut base = config.to_owned();
    let endings: &[&str] = if has_ending(&name) { &[""] } else { &["", ".conf", ".local"] };
    for ending in endings {
        let file = PathBuf::from(format!("{name}{ending}"));
        let file = if file.parent() == Some(Path::new("filter.d")) {
            base.join(file)
        } else if !name.contains('/') {
            match base.file_name().is_some_and(|last| last == "filter.d") {
                true => base.join(file),
                false => base.join("filter.d").join(file),
            }
        } else {
            base = file.parent().unwrap_or(Path::new("")).to_owned();
            file
        };
        if file.is_file() {
            return Ok(Source::File { name, base, options });
        }
    }
    Ok(Source::Expression)
}

/// Whether a line of it is nothing but the name of a file or filter, maybe with options in brackets.
fn looks_like_name(value: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '-' | '.');
    let starts = std::iter::once(0).chain(value.match_indices('\n').map(|(at, _)| at + 1));
    starts.filter_map(|at| value.get(at..)).any(|text| {
        let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
        let rest = text.get(end..).unwrap_or("");
        let closes = || rest.starts_with('[') && (rest.ends_with(']') || rest.contains("]\n"));
        end > 0 && (rest.is_empty() || rest.starts_with('\n') || closes())
    })
}

/// Whether the last six characters have a dot, as those of `x.conf` and `x.local` have.
fn has_ending(name: &str) -> bool {
    name.chars().rev().take(6).any(|c| c == '.')
}

type Read<T> = Result<Option<T>, String>;

fn read_file(
    reader: &mut RulesReader,
    (name, base): (&str, &Path),
    given: &NamedValues,
    (options, backend): (&Options, &str),
    out: &mut Output,
) -> Result<Read<Rules>, Failure> {
    let in_filter_d = base.file_name().is_some_and(|last| last == "filter.d");
    let bare = !has_ending(name) && !name.contains('/');
    let rules = if base == options.config || in_filter_d || bare {
        let root = if in_filter_d { base.parent().unwrap_or(Path::new("")) } else { base };
        let file = Path::new(name);
        let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy();
        out.say(&format!("Use {:>11} file : {stem}, basedir: {}", "filter", root.display()))?;
        say_options(given, out)?;
        reader.read_filter(root, &stem, given, backend)
    } else {
        out.say(&format!("Use {:>11} file : {name}", "filter"))?;
        say_options(given, out)?;
        let path = std::path::absolute(name).unwrap_or_else(|_| name.into());
        reader.read_filter_file(&path, given, backend)
    };
    Ok(match rules {
        Ok(rules) => Ok(rules),
        Err(error) => {
            out.print(&format!("Wrong config file: {error}"))?;
            Ok(None)
        }
    })
}

fn say_options(given: &NamedValues, out: &mut Output) -> Result<(), Failure> {
    if !given.is_empty() {
        out.say(&format!("Use   filter options : {}", dict(given)))?;
    }
    Ok(())
}

/// What was read, or the message that it could not be.
fn settle<T>(
    read: Read<T>,
    reader: &mut RulesReader,
    out: &mut Output,
    message: impl FnOnce() -> String,
) -> Result<T, Failure> {
    let read = match read {
        Ok(Some(read)) => return Ok(read),
        failed => failed,
    };
    out.log(records_of(reader))?;
    match read {
        Ok(_) => {
            out.print(&message())?;
            Err(Failure::Reported)
        }
        Err(error) => {
            out.log([Record::new(Level::CRITICAL, "fail2ban", error.clone())])?;
            out.print(&format!("ERROR: {error}"))?;
            Err(Failure::Reported)
        }
    }
}

/// Takes from the commands what concerns a filter.
fn apply(trial: &mut Trial, commands: &[Command], source: &str, out: &mut Output) -> Result<(), Failure> {
    let (mut fail, mut ignore) = (Vec::new(), Vec::new());
    for command in commands {
        let mut matches = Vec::new();
        let values: Vec<Value> = match command.word(0) {
            Some("multi-set") => command.0.get(3).and_then(Value::as_items).unwrap_or(&[]).to_vec(),
            Some("set") => command.0.get(3..).unwrap_or(&[]).to_vec(),
            _ => continue,
        };
        let key = command.word(2).unwrap_or("");
        for value in values {
            let text = value.to_text();
            let set = match key {
                "prefregex" => trial.filter.set_prefregex(&text).map_err(|error| error.to_string()),
                "addfailregex" => {
                    fail.push(text);
                    Ok(())
                }
                "addignoreregex" => {
                    ignore.push(text);
                    Ok(())
                }
                "addjournalmatch" => {
                    matches.push(text);
                    Ok(())
                }
                "maxlines" => trial.set_max_lines(&text, out)?,
                "datepattern" => trial.set_date_pattern(&text, out)?,
                _ => Ok(()),
            };
            if let Err(error) = set {
                match key {
                    "prefregex" => out.print(&format!("ERROR: {error}"))?,
                    key => out.print(&format!(
                        "ERROR: Invalid value for {key} ({value}) read from {source}: {error}"
                    ))?,
                }
                return Err(Failure::Reported);
            }
        }
        trial.set_journal_match(matches);
    }
    trial.add_failregex(fail, out)?;
    trial.add_ignoreregex(ignore, out)
}

/// The options that matter most, and those that were given, as they came out in the end.
fn real_options(rules: &Rules, given: &NamedValues) -> Value {
    let mut names = vec!["logtype", "datepattern"];
    names.extend(
        given.iter().map(|(name, _)| name.as_str()).filter(|name| !["logtype", "datepattern"].contains(name)),
    );
    let real = names.into_iter().filter_map(|name| Some((name.into(), rules.option(name)?)));
    Value::Dict(real.collect())
}

fn dict(values: &NamedValues) -> Value {
    Value::Dict(values.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect())
}

/// Adds expressions one by one until one is wrong.
pub(super) fn add_all(
    filter: &mut Filter,
    regexes: &[String],
    add: impl Fn(&mut Filter, &str) -> Result<(), f2b_filter::RegexError>,
    out: &mut Output,
) -> Result<(), Failure> {
    for regex in regexes {
        let added = add(filter, regex);
        out.log(filter.take_records())?;
        if let Err(error) = added {
            out.print(&format!("ERROR: {error}"))?;
            return Err(Failure::Reported);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_expressions() {
        for name in
            ["sshd", "sshd[mode=aggressive]", "/etc/x.conf", "filter.d/a-b_c.conf", "x\ny z", "a[b\nc]"]
        {
            assert!(looks_like_name(name), "{name}");
        }
        for regex in ["^<HOST>", "fail <HOST>", "", "a[b", "[a]", "a[b] c"] {
            assert!(!looks_like_name(regex), "{regex}");
        }
    }
}
