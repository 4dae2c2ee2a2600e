//! What directories hold, listed once.
//!
//! A filter and an action can each have four kinds of files, most of which are not there. One listing of their directory
//! spares the looking for each of them.

use std::collections::{HashMap, HashSet};
use std::fs;

use foldhash::fast::RandomState;

use crate::python::split_path;

/// In lower case.
type Names = HashSet<String, RandomState>;

/// The directories that were listed; None for those that can't be.
#[derive(Debug, Default)]
pub(crate) struct Listings(HashMap<String, Option<Names>, RandomState>);

impl Listings {
    /// False for a path that was not there when its directory was listed. True says little: the path can be a link to
    /// nowhere, it can be written in another case than its file, which some file systems take for the same, or its
    /// directory can be one of those that let themselves be entered, but not listed.
    pub(crate) fn may_exist(&mut self, path: &str) -> bool {
        let (directory, name) = split_path(path);
        if !self.0.contains_key(directory) {
            self.0.insert(directory.to_owned(), list(directory));
        }
        match self.0.get(directory) {
            Some(Some(names)) => !name.is_ascii() || names.contains(&name.to_ascii_lowercase()),
            _ => true,
        }
    }

    /// Whether the directory was there when it was listed.
    pub(crate) fn has_listed(&self, directory: &str) -> bool {
        self.0.get(directory).is_some_and(Option::is_some)
    }
}

fn list(directory: &str) -> Option<Names> {
    let entries = fs::read_dir(if directory.is_empty() { "." } else { directory }).ok()?;
    entries.map(|entry| Some(entry.ok()?.file_name().to_string_lossy().to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_ruled_out() {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| format!("{}/{name}", root.path().display());
        fs::write(path("Sshd.conf"), "").expect("a file");
        std::os::unix::fs::symlink("/nowhere", path("link.local")).expect("a link");
        let mut listings = Listings::default();
        assert!(!listings.has_listed(&path("")[..path("").len() - 1]));
        let mut may_exist = |name: &str| listings.may_exist(&path(name));
        assert!(may_exist("Sshd.conf") && may_exist("sshd.conf") && may_exist("link.local"));
        assert!(!may_exist("sshd.local") && !may_exist("sshd.d"));
        assert!(may_exist("k\u{e4}se.conf") && may_exist("no/directory"));
        assert!(listings.has_listed(&path("")[..path("").len() - 1]) && !listings.has_listed(&path("no")));
    }
}
