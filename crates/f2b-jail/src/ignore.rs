//! Who is never counted: `ignoreip` and `ignoreself`.

use std::collections::HashSet;
use std::fmt;

use f2b_types::Id;

/// An entry of the list that is not a single address.
#[derive(Debug)]
struct Entry {
    /// A subnet, or the text of a host name.
    id: Id,
    /// What a host name stood for when it was last looked up.
    addresses: Vec<Id>,
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
pub enum IgnoreReason {
    /// An address of this machine.
    OwnAddress,
    /// An entry that is this very address.
    Single,
    /// A subnet.
    Net,
    /// A host name that stands for the address.
    Name,
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "ignoreself rule",
            Self::Single | Self::Net => "ip",
            Self::Name => "dns",
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
            self.others.push(Entry { id, addresses: Vec::new() });
        }
        true
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

    /// The entries: subnets and names first, then single addresses, as upstream lists them.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.others.iter().map(|entry| &entry.id).chain(&self.singles)
    }

    /// The host names among the entries, whose addresses somebody has to look up. Nothing with a colon is one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.iter().filter_map(|entry| match &entry.id {
            Id::Text(name) if !name.is_empty() && !name.contains(':') => Some(&**name),
            _ => None,
        })
    }

    /// Takes note of what a host name stands for.
    pub fn resolved(&mut self, name: &str, addresses: Vec<Id>) {
        let id = Id::raw(name);
        if let Some(entry) = self.others.iter_mut().find(|entry| entry.id == id) {
            entry.addresses = addresses;
        }
    }

    /// Takes note of the addresses of this machine.
    pub fn set_own(&mut self, own: impl IntoIterator<Item = Id>) {
        self.own = own.into_iter().collect();
    }

    /// Why `id` is to be ignored, if it is.
    pub fn reason(&self, id: &Id) -> Option<IgnoreReason> {
        if self.ignore_self && self.own.contains(id) {
            return Some(IgnoreReason::OwnAddress);
        }
        if self.single_set.contains(id) {
            return Some(IgnoreReason::Single);
        }
        self.others.iter().find_map(|entry| match &entry.id {
            Id::Text(_) => entry.addresses.contains(id).then_some(IgnoreReason::Name),
            net => net.contains(id).then_some(IgnoreReason::Net),
        })
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
        list.resolved("home.example", vec![Id::parse("203.0.113.9")]);
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
}
