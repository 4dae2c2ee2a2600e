//! A dictionary that keeps the order in which its keys came, as Python's does.
//!
//! The order of options in a section, of sections in a jail file and of tags in an action is the order of the commands.

use std::rc::Rc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// Looking names up is most of what resolving does, hence the hash.
#[derive(Debug, Clone)]
pub(crate) struct Map<V>(IndexMap<Rc<str>, V, RandomState>);

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self(IndexMap::default())
    }
}

impl<V> Map<V> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(IndexMap::with_capacity_and_hasher(capacity, RandomState::default()))
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value and its place.
    pub(crate) fn find(&self, key: &str) -> Option<(usize, &V)> {
        self.0.get_full(key).map(|(index, _, value)| (index, value))
    }

    /// The key as it is kept, and the value.
    pub(crate) fn entry(&self, key: &str) -> Option<(&Rc<str>, &V)> {
        self.0.get_key_value(key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// The value in this place.
    pub(crate) fn at(&self, index: usize) -> &V {
        &self.0[index]
    }

    /// The key in this place.
    pub(crate) fn key_at(&self, index: usize) -> &str {
        self.0.get_index(index).map_or("", |(key, _)| key)
    }

    /// The value in this place, to be changed.
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut V {
        &mut self.0[index]
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A key that is there already keeps its place.
    pub(crate) fn insert(&mut self, key: impl Into<Rc<str>>, value: V) {
        self.0.insert(key.into(), value);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &V)> {
        self.0.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Rc<str>> {
        self.0.keys()
    }
}

impl<V: Clone> Map<V> {
    /// Takes over all entries of `other` (`dict.update`).
    pub(crate) fn update(&mut self, other: &Self) {
        for (key, value) in other.iter() {
            self.insert(Rc::clone(key), value.clone());
        }
    }

    /// Both, where `other` wins (`helpers._merge_dicts`).
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let mut both = Self::with_capacity(self.len() + other.len());
        both.update(self);
        both.update(other);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_place_they_came_to_first() {
        let mut map = Map::default();
        for (key, value) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
            map.insert(key, value);
        }
        let entries: Vec<_> = map.iter().map(|(key, value)| (&**key, *value)).collect();
        assert_eq!(entries, [("a", 4), ("b", 2), ("c", 3)]);
        assert_eq!((map.get("c"), map.get("x")), (Some(&3), None));
    }
}
