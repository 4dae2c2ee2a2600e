//! A dictionary that keeps the order in which its keys came, as Python's does.
//!
//! The order of options in a section, of sections in a jail file and of tags in an action is the order of the commands.

use std::collections::HashMap;
use std::rc::Rc;

#[derive(Debug, Clone)]
pub(crate) struct Map<V> {
    entries: Vec<(Rc<str>, V)>,
    places: HashMap<Rc<str>, usize>,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new() }
    }
}

impl<V> Map<V> {
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        let place = *self.places.get(key)?;
        self.entries.get(place).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// A key that is there already keeps its place.
    pub(crate) fn insert(&mut self, key: impl Into<Rc<str>>, value: V) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(slot) => *slot = value,
            None => {
                self.places.insert(Rc::clone(&key), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Rc<str>> {
        self.entries.iter().map(|(key, _)| key)
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
        let mut both = self.clone();
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
