//! What directories hold, listed once.
//!
//! A filter and an action can each have four kinds of files, most of which are not there. One listing of their directory
//! spares the looking for each of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;

use foldhash::fast::RandomState;

use crate::python::{exists, split_path};

/// The directories that were listed; None for those that can't be.
#[derive(Debug, Default)]
pub(crate) struct Listings(HashMap<String, Option<Names>, RandomState>);

/// By their names in lower case.
type Names = HashMap<String, Kind, RandomState>;

/// What an entry is.
#[derive(Debug)]
enum Kind {
    /// A plain file, not even a link, whose name is in lower case.
    Plain,
    /// A plain file whose name is this.
    PlainAs(String),
    Other,
}

impl Listings {
    /// As [`exists`], of which a listing can often tell: that a name is not there, unless it is in another case, which
    /// some file systems take for the same; and that a plain file is. It can't tell of links, nor of what lies in a
    /// directory that lets itself be entered, but not listed.
    pub(crate) fn exists(&mut self, path: &str) -> bool {
        self.may_exist(path) && (self.is_plain(path) || exists(path))
    }

    /// False for what was not there when its directory was listed.
    pub(crate) fn may_exist(&mut self, path: &str) -> bool {
        let (directory, name) = split_path(path);
        let names = self.list(directory);
        !name.is_ascii() || names.is_none_or(|names| names.contains_key(&*lower_ascii(name)))
    }

    /// True for what was a plain file when its directory was listed.
    pub(crate) fn is_plain(&mut self, path: &str) -> bool {
        let (directory, name) = split_path(path);
        let lower = lower_ascii(name);
        match self.list(directory).and_then(|names| names.get(&*lower)) {
            Some(Kind::Plain) => lower == name,
            Some(Kind::PlainAs(written)) => written == name,
            Some(Kind::Other) | None => false,
        }
    }

    fn list(&mut self, directory: &str) -> Option<&Names> {
        if !self.0.contains_key(directory) {
            self.0.insert(directory.to_owned(), names_in(directory));
        }
        self.0.get(directory)?.as_ref()
    }

    /// Whether the directory was there when it was listed.
    pub(crate) fn has_listed(&self, directory: &str) -> bool {
        self.0.get(directory).is_some_and(Option::is_some)
    }
}

fn names_in(directory: &str) -> Option<Names> {
    let entries = fs::read_dir(if directory.is_empty() { "." } else { directory }).ok()?;
    let name_of = |entry: fs::DirEntry| {
        let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        match entry.file_name().into_string() {
            Ok(name) if is_plain && is_lower(&name) => (name, Kind::Plain),
            Ok(name) if is_plain => (name.to_ascii_lowercase(), Kind::PlainAs(name)),
            Ok(name) => (name.to_ascii_lowercase(), Kind::Other),
            Err(name) => (name.to_string_lossy().to_ascii_lowercase(), Kind::Other),
        }
    };
    entries.map(|entry| entry.ok().map(name_of)).collect()
}

fn is_lower(name: &str) -> bool {
    !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn lower_ascii(name: &str) -> Cow<'_, str> {
    if is_lower(name) { name.into() } else { name.to_ascii_lowercase().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_tell_what_is_not_there_and_what_is_a_file() {
        let root = tempfile::tempdir().expect("a directory");
        let base = root.path().display().to_string();
        fs::write(root.path().join("Sshd.conf"), "").expect("a file");
        fs::create_dir(root.path().join("sshd.d")).expect("a directory");
        std::os::unix::fs::symlink("/nowhere", root.path().join("link.local")).expect("a link");
        let mut listings = Listings::default();
        assert!(!listings.has_listed(&base));
        for (name, may_exist, exists, is_plain) in [
            ("Sshd.conf", true, true, true),
            ("sshd.conf", true, false, false),
            ("sshd.d", true, true, false),
            ("link.local", true, false, false),
            ("sshd.local", false, false, false),
            ("k\u{e4}se.conf", true, false, false),
            ("nowhere/sshd.conf", true, false, false),
        ] {
            let path = format!("{base}/{name}");
            let told = (listings.may_exist(&path), listings.exists(&path), listings.is_plain(&path));
            assert_eq!(told, (may_exist, exists, is_plain), "{name}");
        }
        assert!(listings.has_listed(&base) && !listings.has_listed(&format!("{base}/nowhere")));
    }
}
