//! Many addresses and networks, as a list brings them, and whether an address is among them.

use std::net::IpAddr;

use f2b_types::{Family, Id};

use crate::ignore::is_name;

/// Addresses and networks, searched in logarithmic time however many there are, and host names, which somebody has to
/// look up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdSet {
    entries: usize,
    v4: Ranges,
    v6: Ranges,
    names: Vec<Box<str>>,
}

impl IdSet {
    /// Addresses and networks among the entries, overlapping ones too (`IPAddrSet._list2set` counts them apart).
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nobody is in here.
    pub fn is_empty(&self) -> bool {
        self.entries == 0 && self.names.is_empty()
    }

    /// What can be a host name among the entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether an address is one of these, or in one of these networks. A network counts by its first address.
    pub fn contains(&self, id: &Id) -> bool {
        let (Id::Net { addr, .. }, Some(family)) = (id, id.family()) else { return false };
        match family {
            Family::Inet4 => self.v4.contains(bits(addr)),
            Family::Inet6 => self.v6.contains(bits(addr)),
        }
    }
}

impl FromIterator<Id> for IdSet {
    fn from_iter<T: IntoIterator<Item = Id>>(ids: T) -> Self {
        let mut set = Self::default();
        for id in ids {
            let (addr, prefix) = match id {
                Id::Net { addr, prefix } => (addr, u32::from(prefix)),
                Id::Text(name) => {
                    if is_name(&name) {
                        set.names.push(name);
                    }
                    continue;
                }
            };
            let (ranges, width) = if addr.is_ipv4() { (&mut set.v4, 32) } else { (&mut set.v6, 128) };
            let host = u128::MAX.checked_shr(128 - width + prefix).unwrap_or(0);
            ranges.0.push((bits(&addr), bits(&addr) | host));
            set.entries += 1;
        }
        set.v4.merge();
        set.v6.merge();
        set
    }
}

/// First and last address of each range, in order, none touching the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    fn merge(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|next, kept| {
            let touches = next.0 <= kept.1.saturating_add(1);
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
    }

    fn contains(&self, address: u128) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, last)| address <= *last)
    }
}

fn bits(addr: &IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u32::from(*v4).into(),
        IpAddr::V6(v6) => u128::from(*v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_overlapping_networks() {
        let list = [
            "198.51.100.0/24",
            "192.0.2.7",
            "198.51.0.0/16",
            "2001:db8::/126",
            "::1",
            "255.255.255.255",
            "2001:db8:0:0:ffff::/80",
            "home.example",
            "no:name",
            "192.0.2.8/31",
        ];
        let set: IdSet = list.iter().map(|text| Id::parse(text)).collect();
        assert_eq!((set.len(), set.names().collect::<Vec<_>>()), (8, vec!["home.example"]));
        for inside in [
            "198.51.0.0",
            "198.51.255.255",
            "192.0.2.7",
            "192.0.2.9",
            "2001:db8::3",
            "::1",
            "255.255.255.255",
            "2001:db8::ffff:1:2:3",
            "198.51.7.0/24",
        ] {
            assert!(set.contains(&Id::parse(inside)), "{inside}");
        }
        for outside in ["198.50.255.255", "198.52.0.0", "192.0.2.6", "192.0.2.10", "2001:db8::4", "::", "x"] {
            assert!(!set.contains(&Id::parse(outside)), "{outside}");
        }
    }

    #[test]
    fn whole_address_spaces_and_nothing_at_all_are_sets_too() {
        let all: IdSet = ["0.0.0.0/0", "::/0"].iter().map(|text| Id::parse(text)).collect();
        assert!(
            ["0.0.0.0", "255.255.255.255", "::", "ffff::1"].iter().all(|id| all.contains(&Id::parse(id)))
        );
        let nobody = IdSet::default();
        assert!(nobody.is_empty() && !nobody.contains(&Id::parse("0.0.0.0")));
    }
}
