//! What can come next in a command, by the list of commands that `-h` prints.
//!
//! ```text
//! set <JAIL> unbanip [--report-absent] <IP> ... <IP>
//! ```
//!
//! A word stands for itself, `a|b` for one of several, `<NAME>` for a value, brackets make optional, `...` repeats the
//! value before it.

use crate::cmdline::COMMANDS;

/// How wide the column of the commands is, with its indentation.
const COLUMN: usize = 45;
const INDENT: usize = 4;

/// What can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Word(&'static str),
    Slot(Slot),
}

/// A value, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Jail,
    Address,
    Action,
    Property,
    Method,
    Level,
    Target,
    Flavor,
    Backend,
    File,
    Value,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    next: Next,
    is_optional: bool,
    /// What follows any number of times.
    repeats: bool,
}

/// What can follow these words.
pub(super) fn next(words: &[String]) -> Vec<Next> {
    let mut found = Vec::new();
    for command in commands() {
        follow(&alternatives(command), words, &mut found);
    }
    found
}

/// The left column of the list.
fn commands() -> impl Iterator<Item = &'static str> {
    let lines =
        COMMANDS.lines().filter(|line| line.len() > INDENT && !line.starts_with(&" ".repeat(INDENT + 1)));
    lines.map(|line| {
        let is_long = line.as_bytes().get(COLUMN - 1).is_some_and(|byte| *byte != b' ');
        let command = if is_long || line.len() < COLUMN { line } else { &line[..COLUMN] };
        command.trim()
    })
}

/// The words of a command, each with all that it can be.
fn alternatives(command: &'static str) -> Vec<Vec<Item>> {
    let mut places: Vec<Vec<Item>> = Vec::new();
    let mut is_inside = false;
    for word in command.split(' ') {
        let opens = word.starts_with('[');
        is_inside |= opens;
        if word == "..." {
            if let Some(last) = places.last_mut() {
                last.iter_mut().for_each(|item| item.repeats = true);
            }
            continue;
        }
        let is_optional = is_inside;
        is_inside &= !word.ends_with(']');
        // `<ACT>[ <JSON>]` has a bracket that opens behind a word.
        let (word, opens_behind) = match word.strip_suffix('[') {
            Some(word) => (word, true),
            None => (word, false),
        };
        is_inside |= opens_behind;
        // `stat[istic]s` is one word with two spellings.
        if let ("stat[istic]s", false) = (word, opens) {
            places.push(["stats", "statistics"].map(|word| item(Next::Word(word), false)).to_vec());
            continue;
        }
        let bare = word.trim_matches(['[', ']', '\'']);
        let all = bare.split('|').map(|word| item(meaning(word), is_optional));
        places.push(all.collect());
    }
    // The second of `<IP> ... <IP>` is what the dots stand for.
    places.dedup_by(|later, earlier| earlier[0].repeats && later[0].next == earlier[0].next);
    places
}

fn item(next: Next, is_optional: bool) -> Item {
    Item { next, is_optional, repeats: false }
}

fn meaning(word: &'static str) -> Next {
    let Some(name) = word.strip_prefix('<').and_then(|name| name.strip_suffix('>')) else {
        return if word == "FLAVOR" { Next::Slot(Slot::Flavor) } else { Next::Word(word) };
    };
    Next::Slot(match name {
        "JAIL" => Slot::Jail,
        "IP" => Slot::Address,
        "ACT" => Slot::Action,
        "PROPERTY" => Slot::Property,
        "METHOD" => Slot::Method,
        "LEVEL" => Slot::Level,
        "TARGET" => Slot::Target,
        "BACKEND" => Slot::Backend,
        "FILE" => Slot::File,
        "VALUE" => Slot::Value,
        _ => Slot::Other,
    })
}

/// Goes along a command as far as the words do.
fn follow(places: &[Vec<Item>], words: &[String], found: &mut Vec<Next>) {
    let Some((place, rest)) = places.split_first() else { return };
    let is_optional = place.iter().any(|item| item.is_optional);
    let repeats = place.iter().any(|item| item.repeats);
    if is_optional {
        follow(rest, words, found);
    }
    let Some((word, behind)) = words.split_first() else {
        for item in place {
            if !found.contains(&item.next) {
                found.push(item.next);
            }
        }
        return;
    };
    if place.iter().any(|item| fits(item.next, word)) {
        if repeats {
            follow(places, behind, found);
        }
        follow(rest, behind, found);
    }
}

fn fits(next: Next, word: &str) -> bool {
    match next {
        Next::Word(expected) => expected == word,
        // An option is no value, and `set loglevel` is about no jail.
        Next::Slot(Slot::Jail) => !word.starts_with('-') && !is_server_option(word),
        Next::Slot(_) => true,
    }
}

fn is_server_option(word: &str) -> bool {
    const OPTIONS: &[&str] =
        &["loglevel", "logtarget", "syslogsocket", "dbfile", "dbmaxmatches", "dbpurgeage"];
    OPTIONS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &[&str]) {
        let words: Vec<String> = words.split(' ').filter(|word| !word.is_empty()).map(String::from).collect();
        let found: Vec<String> = next(&words)
            .into_iter()
            .map(|next| match next {
                Next::Word(word) => word.to_owned(),
                Next::Slot(slot) => format!("{slot:?}"),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_list_of_commands_is_a_grammar() {
        check("set x idle", &["on", "off"]);
        check("unban", &["--all", "Address"]);
        check("unban 192.0.2.1", &["Address"]);
        check("set sshd unbanip", &["Address", "--report-absent"]);
        check("set sshd unbanip --report-absent", &["Address"]);
        check("get sshd banip", &["Other", "--with-time"]);
        check("status", &["--all", "Jail"]);
        check("status sshd", &["Flavor"]);
        check("restart --unban", &["Jail", "--if-exists"]);
        check("reload --restart --unban", &["--all", "Jail", "--if-exists"]);
        check("set loglevel", &["Level"]);
        check("set syslogsocket", &["auto", "Other"]);
        check("get sshd action iptables actionban", &[]);
        check("set sshd action", &["Action"]);
        check("nonsense", &[]);
        let mut first: Vec<Next> = next(&[]);
        first.retain(|next| {
            [Next::Word("stats"), Next::Word("statistics"), Next::Word("ping")].contains(next)
        });
        assert_eq!(first.len(), 3);
    }
}
