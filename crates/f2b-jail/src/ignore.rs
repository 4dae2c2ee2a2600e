//! Who is never counted: `ignoreip` and `ignoreself`.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use f2b_types::Id;

use crate::id_set::IdSet;
use crate::list_source::ListSource;

/// An entry of the list that is not a single address.
#[derive(Debug)]
struct Entry {
    /// A subnet, or the text of a host name or list.
    id: Id,
    /// Set for a list that is kept elsewhere.
    list: Option<ListSource>,
    /// Who is in the list, as far as it is known.
    set: Arc<IdSet>,
    /// Host names, that of the entry itself or those in the list, and what each stood for when it was last looked up.
    names: Vec<(Box<str>, Vec<Id>)>,
}

impl Entry {
    fn new(id: Id) -> Self {
        let names = match &id {
            Id::Text(name) if is_name(name) => vec![(name.clone(), Vec::new())],
            _ => Vec::new(),
        };
        Self { id, list: None, set: Arc::default(), names }
    }

    /// Why the entry covers an id, if it does.
    fn reason(&self, id: &Id) -> Option<IgnoreReason<'_>> {
        let covers = self.set.contains(id) || self.names.iter().any(|(_, ids)| ids.contains(id));
        match (&self.list, &self.id) {
            (Some(list), _) => covers.then_some(IgnoreReason::List(list.as_str())),
            (None, Id::Text(_)) => covers.then_some(IgnoreReason::Name),
            (None, net) => net.contains(id).then_some(IgnoreReason::Net),
        }
    }
}

/// Whether a text may be a host name. Nothing with a colon is one.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(':')
}

/// The ids that a jail does not count (`filter.addIgnoreIP`, `filter._inIgnoreIPList`).
#[derive(Debug)]
pub struct IgnoreList {
    /// Ignore every address of this machine (`ignoreself`, on by default).
    pub ignore_self: bool,
    own: HashSet<Id>,
    singles: Vec<Id>,
    single_set: HashSet<Id>,
    others: Vec<Entry>,
}

/// What an id is ignored by, as the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreReason<'a> {
    /// An address of this machine.
    OwnAddress,
    /// An entry that is this very address.
    Single,
    /// A subnet.
    Net,
    /// A host name that stands for the address.
    Name,
    /// A list that is kept elsewhere.
    List(&'a str),
}

impl fmt::Display for IgnoreReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "ignoreself rule",
            Self::Single | Self::Net => "ip",
            Self::Name => "dns",
            Self::List(list) => list,
        })
    }
}

impl Default for IgnoreList {
    fn default() -> Self {
        Self {
            ignore_self: true,
            own: HashSet::new(),
            singles: Vec::new(),
            single_set: HashSet::new(),
            others: Vec::new(),
        }
    }
}

impl IgnoreList {
    /// Adds an entry; false if it is in the list already.
    pub fn add(&mut self, id: Id) -> bool {
        if self.single_set.contains(&id) || self.others.iter().any(|entry| entry.id == id) {
            return false;
        }
        if id.is_single() {
            self.single_set.insert(id.clone());
            self.singles.push(id);
        } else {
            self.others.push(Entry::new(id));
        }
        true
    }

    /// Adds a list, of which nobody is known yet; false if it is in here already.
    pub fn add_list(&mut self, list: ListSource) -> bool {
        let id = Id::raw(list.as_str());
        let is_new = self.others.iter().all(|entry| entry.id != id);
        if is_new {
            self.others.push(Entry { list: Some(list), ..Entry::new(id) });
        }
        is_new
    }

    /// Takes an entry out; false if it is not in the list.
    pub fn remove(&mut self, id: &Id) -> bool {
        let before = self.len();
        self.single_set.remove(id);
        self.singles.retain(|single| single != id);
        self.others.retain(|entry| entry.id != *id);
        self.len() < before
    }

    /// Empties the list.
    pub fn clear(&mut self) {
        self.single_set.clear();
        self.singles.clear();
        self.others.clear();
    }

    /// The entries: subnets, names and lists first, then single addresses, as upstream lists them.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.others.iter().map(|entry| &entry.id).chain(&self.singles)
    }

    /// The lists among the entries, whose contents somebody has to read.
    pub fn lists(&self) -> impl Iterator<Item = &ListSource> {
        self.others.iter().filter_map(|entry| entry.list.as_ref())
    }

    /// Takes note of who is in a list now. What its host names stood for is kept.
    pub fn listed(&mut self, list: &ListSource, set: Arc<IdSet>) {
        let Some(entry) = self.others.iter_mut().find(|entry| entry.list.as_ref() == Some(list)) else {
            return;
        };
        let mut known = std::mem::take(&mut entry.names);
        entry.names = set
            .names()
            .map(|name| {
                let index = known.iter().position(|(old, _)| **old == *name);
                index.map_or_else(|| (name.into(), Vec::new()), |index| known.swap_remove(index))
            })
            .collect();
        entry.set = set;
    }

    /// The host names among the entries and in lists, whose addresses somebody has to look up.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.iter().flat_map(|entry| entry.names.iter().map(|(name, _)| &**name))
    }

    /// Takes note of what a host name stands for.
    pub fn resolved(&mut self, name: &str, addresses: &[Id]) {
        for (_, known) in
            self.others.iter_mut().flat_map(|entry| &mut entry.names).filter(|(n, _)| **n == *name)
        {
            *known = addresses.to_vec();
        }
    }

    /// Takes note of the addresses of this machine.
    pub fn set_own(&mut self, own: impl IntoIterator<Item = Id>) {
        self.own = own.into_iter().collect();
    }

    /// Why `id` is to be ignored, if it is.
    pub fn reason(&self, id: &Id) -> Option<IgnoreReason<'_>> {
        if self.ignore_self && self.own.contains(id) {
            return Some(IgnoreReason::OwnAddress);
        }
        if self.single_set.contains(id) {
            return Some(IgnoreReason::Single);
        }
        self.others.iter().find_map(|entry| entry.reason(id))
    }

    fn len(&self) -> usize {
        self.singles.len() + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> IgnoreList {
        let mut list = IgnoreList::default();
        for entry in entries {
            assert!(list.add(Id::parse(entry)), "{entry}");
        }
        list
    }

    #[test]
    fn addresses_subnets_names_and_own_addresses_are_ignored() {
        let mut list = list(&["192.0.2.1", "198.51.100.0/24", "2001:db8::/32", "home.example"]);
        list.resolved("home.example", &[Id::parse("203.0.113.9")]);
        list.set_own([Id::parse("10.0.0.1")]);
        for (id, reason) in [
            ("192.0.2.1", Some(IgnoreReason::Single)),
            ("192.0.2.2", None),
            ("198.51.100.77", Some(IgnoreReason::Net)),
            ("2001:db8:1::1", Some(IgnoreReason::Net)),
            ("203.0.113.9", Some(IgnoreReason::Name)),
            ("10.0.0.1", Some(IgnoreReason::OwnAddress)),
        ] {
            assert_eq!(list.reason(&Id::parse(id)), reason, "{id}");
        }
        assert_eq!(list.names().collect::<Vec<_>>(), ["home.example"]);
        list.ignore_self = false;
        assert_eq!(list.reason(&Id::parse("10.0.0.1")), None);
    }

    #[test]
    fn entries_come_once_and_go() {
        let mut list = list(&["192.0.2.1", "198.51.100.0/24"]);
        assert!(!list.add(Id::parse("198.51.100.5/24")));
        assert!(!list.add(Id::parse("[192.0.2.1]")));
        assert!(list.remove(&Id::parse("192.0.2.1")));
        assert!(!list.remove(&Id::parse("192.0.2.1")));
        assert_eq!(list.iter().count(), 1);
        list.clear();
        assert_eq!(list.iter().count(), 0);
    }

    #[test]
    fn lists_are_one_entry_whatever_is_in_them() {
        let parse = |text: &str| ListSource::parse(text).expect("no error").expect("a list");
        let mut ignore = list(&["192.0.2.1"]);
        let (file, url) = (parse("file:/etc/office"), parse("url:https://h/x"));
        assert!(ignore.add_list(file.clone()) && ignore.add_list(url.clone()));
        assert!(!ignore.add_list(parse("file:///etc/office")));
        let entries: Vec<String> = ignore.iter().map(Id::to_string).collect();
        assert_eq!(entries, ["file://etc/office", "url:https://h/x", "192.0.2.1"]);
        assert_eq!(ignore.reason(&Id::parse("198.51.100.7")), None);

        let set = |texts: &[&str]| Arc::new(texts.iter().map(|text| Id::parse(text)).collect::<IdSet>());
        ignore.listed(&url, set(&["198.51.100.0/24", "2001:db8::/32"]));
        ignore.listed(&file, set(&["203.0.113.1", "home.example", "file:/x"]));
        assert_eq!(ignore.names().collect::<Vec<_>>(), ["home.example"]);
        ignore.resolved("home.example", &[Id::parse("203.0.113.9")]);
        let shown = |ignore: &IgnoreList, id: &str| ignore.reason(&Id::parse(id)).map(|r| r.to_string());
        assert_eq!(shown(&ignore, "198.51.100.7").as_deref(), Some("url:https://h/x"));
        assert_eq!(shown(&ignore, "2001:db8::7").as_deref(), Some("url:https://h/x"));
        assert_eq!(shown(&ignore, "203.0.113.9").as_deref(), Some("file://etc/office"));
        // A list that has changed forgets who left it, not what the names that stayed stood for.
        ignore.listed(&file, set(&["other.example", "home.example"]));
        assert_eq!(shown(&ignore, "203.0.113.1"), None);
        assert_eq!(shown(&ignore, "203.0.113.9").as_deref(), Some("file://etc/office"));

        assert!(ignore.remove(&Id::raw(url.as_str())));
        assert_eq!(shown(&ignore, "198.51.100.7"), None);
        assert_eq!(ignore.lists().collect::<Vec<_>>(), [&file]);
    }
}
