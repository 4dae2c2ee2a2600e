//! Tickets by id that also keep the order in which they came, as Python's dictionaries do.

use std::collections::{BTreeMap, HashMap};

use f2b_types::{Id, Ticket};

/// A map from id to ticket, iterated in insertion order. Removing costs a logarithm, whatever the position.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    places: HashMap<Id, u64>,
    tickets: BTreeMap<u64, Ticket>,
    next: u64,
}

impl Ordered {
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(crate) fn contains(&self, id: &Id) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn get(&self, id: &Id) -> Option<&Ticket> {
        self.places.get(id).and_then(|place| self.tickets.get(place))
    }

    pub(crate) fn get_mut(&mut self, id: &Id) -> Option<&mut Ticket> {
        self.places.get(id).and_then(|place| self.tickets.get_mut(place))
    }

    /// Adds a ticket at the end; a ticket of the same id keeps its place and is replaced.
    pub(crate) fn insert(&mut self, ticket: Ticket) {
        let place = *self.places.entry(ticket.id.clone()).or_insert(self.next);
        self.next = self.next.max(place + 1);
        self.tickets.insert(place, ticket);
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<Ticket> {
        self.places.remove(id).and_then(|place| self.tickets.remove(&place))
    }

    /// Takes out every ticket for which `gone` says so, in order.
    pub(crate) fn extract(&mut self, mut gone: impl FnMut(&Ticket) -> bool) -> Vec<Ticket> {
        let ids: Vec<Id> =
            self.iter().filter(|ticket| gone(ticket)).map(|ticket| ticket.id.clone()).collect();
        ids.iter().filter_map(|id| self.remove(id)).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.values()
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::Time;

    use super::*;

    #[test]
    fn tickets_stay_in_the_order_in_which_they_came() {
        let mut map = Ordered::default();
        for text in ["b", "a", "c"] {
            map.insert(Ticket::new(Id::raw(text), Time(1.0)));
        }
        map.insert(Ticket::new(Id::raw("b"), Time(2.0)));
        map.remove(&Id::raw("a"));
        map.insert(Ticket::new(Id::raw("a"), Time(3.0)));
        let ids: Vec<_> = map.iter().map(|ticket| ticket.id.to_string()).collect();
        assert_eq!(ids, ["b", "c", "a"]);
        assert_eq!(map.get(&Id::raw("b")).map(|ticket| ticket.time), Some(Time(2.0)));
        assert_eq!(map.extract(|ticket| ticket.time == Time(2.0)).len(), 1);
        assert_eq!(map.len(), 2);
    }
}
