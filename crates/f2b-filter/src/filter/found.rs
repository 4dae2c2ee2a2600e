//! What a line says: who failed, when, and the rest.

use std::borrow::Cow;

use f2b_types::{Failure, Family, Id, Number, Time};

use crate::fields::{Field, Fields};
use crate::pytext::ascii_digits;
use crate::settings::UseDns;

/// A match of a `failregex`.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The place of the expression in the list.
    pub regex: usize,
    /// Who it is about; `None` as long as the connection has no id (only if pending failures are asked for).
    pub who: Option<Who>,
    /// The date of the line: a whole number if the line named its zone, as upstream has it. `None` only if the age of
    /// lines doesn't matter.
    pub time: Option<Number>,
    /// All groups, and the lines as `matches`.
    pub fields: Fields,
}

/// Whom a failure is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// An id.
    Id(Id),
    /// A host name to be resolved: a failure for each of its addresses.
    Host(String),
}

impl Found {
    /// The id it is about; `None` as long as that isn't known.
    pub fn id(&self) -> Option<&Id> {
        match &self.who {
            Some(Who::Id(id)) => Some(id),
            Some(Who::Host(_)) | None => None,
        }
    }

    /// The failure of `id`, with `now` in place of a date that isn't known.
    pub fn failure(&self, id: Id, now: Time) -> Failure {
        let time = self.time.unwrap_or(Number::Float(now.0));
        let whole_time = matches!(time, Number::Int(_));
        let time = Time(time.as_f64());
        Failure { id, time, whole_time, data: self.fields.to_data() }
    }
}

/// Who the fields name.
pub(super) enum Named {
    /// Nobody, but the connection they belong to may be known later.
    Pending,
    /// Nobody at all.
    Nobody,
    /// A host that can't be an id, because `usedns` forbids to resolve it.
    Unresolved,
    /// Somebody.
    Who(Who),
}

/// Reads who failed from the groups, and notes the address beside an id of another kind.
pub(super) fn identify(fields: &mut Fields, raw_hosts: bool, use_dns: UseDns) -> Named {
    let given =
        |fields: &Fields, name: &str| fields.get(name).filter(|value| **value != Field::None).cloned();
    let raw = raw_hosts || use_dns == UseDns::Raw;
    let fid = given(fields, "fid");
    let address = [("ip4", Family::Inet4), ("ip6", Family::Inet6)]
        .into_iter()
        .find_map(|(name, family)| given(fields, name).map(|address| (address, family)));
    let host = match &address {
        Some(_) => None,
        None => given(fields, "dns"),
    };
    let plain = |value: &Field| match value {
        Field::Text(text) if raw => Id::raw(text),
        Field::Text(text) => Id::parse(text),
        other => Id::raw(&other.to_string()),
    };
    let ip = match (address, &host) {
        (Some((address, family)), _) => {
            let cidr = fields.text("cidr").filter(|cidr| !cidr.is_empty());
            let id = address_id(&show(&address), family, cidr);
            (address, id)
        }
        (None, Some(host)) if raw => (host.clone(), plain(host)),
        (None, Some(host)) => return resolve(&show(host), use_dns),
        (None, None) => {
            return match (&fid, given(fields, "mlfid")) {
                (Some(fid), _) => Named::Who(Who::Id(plain(fid))),
                (None, Some(_)) => Named::Pending,
                (None, None) => Named::Nobody,
            };
        }
    };
    match fid.filter(|fid| *fid != ip.0) {
        None => Named::Who(Who::Id(ip.1)),
        Some(fid) => {
            fields.set("ip", Field::Ip(ip.1));
            Named::Who(Who::Id(plain(&fid)))
        }
    }
}

/// The address or its subnet. A prefix that is too long leaves the address whole, whatever it is.
fn address_id(text: &str, family: Family, cidr: Option<&str>) -> Id {
    let Some(cidr) = cidr else { return Id::parse_family(text, family, None) };
    let widest = match family {
        Family::Inet4 => 32,
        Family::Inet6 => 128,
    };
    let prefix = ascii_digits(cidr).parse().map_or(widest, |prefix: u8| prefix.min(widest));
    Id::parse_family(text, family, Some(prefix))
}

/// A host that looks like an address is one (`DNSUtils.textToIp`).
fn resolve(host: &str, use_dns: UseDns) -> Named {
    match Id::parse(host) {
        id @ Id::Net { .. } => Named::Who(Who::Id(id)),
        Id::Text(_) if use_dns == UseDns::No => Named::Unresolved,
        Id::Text(_) => Named::Who(Who::Host(host.into())),
    }
}

fn show(value: &Field) -> Cow<'_, str> {
    match value {
        Field::Text(text) => Cow::Borrowed(&**text),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::name_of;

    #[track_caller]
    fn check(groups: &[(&str, &str)], use_dns: UseDns, expected: &str) {
        let mut fields = Fields::default();
        for (name, value) in groups {
            fields.set(name_of(name), Field::Text((*value).into()));
        }
        let named = match identify(&mut fields, false, use_dns) {
            Named::Pending => "pending".into(),
            Named::Nobody => "nobody".into(),
            Named::Unresolved => "unresolved".into(),
            Named::Who(Who::Host(host)) => format!("host {host}"),
            Named::Who(Who::Id(id)) => match fields.get("ip") {
                Some(ip) => format!("{id} at {ip}"),
                None => id.to_string(),
            },
        };
        assert_eq!(named, expected);
    }

    #[test]
    fn addresses_are_ids() {
        check(&[("ip4", "192.0.2.1")], UseDns::Warn, "192.0.2.1");
        check(&[("ip6", "2001:DB8::1")], UseDns::Warn, "2001:db8::1");
        check(&[("ip4", "192.0.2.1"), ("cidr", "24")], UseDns::Warn, "192.0.2.0/24");
        check(&[("ip4", "192.0.2.300")], UseDns::Warn, "192.0.2.300");
        check(&[("ip4", "192.0.2.1"), ("cidr", "99")], UseDns::Warn, "192.0.2.1");
    }

    #[test]
    fn an_id_of_another_kind_keeps_the_address_beside_it() {
        check(&[("fid", "bob"), ("ip4", "192.0.2.1")], UseDns::Warn, "bob at '192.0.2.1'");
        check(&[("fid", "192.0.2.1"), ("ip4", "192.0.2.1")], UseDns::Warn, "192.0.2.1");
        check(&[("fid", "[2001:DB8::1]")], UseDns::Warn, "2001:db8::1");
        check(&[("fid", "[2001:DB8::1]")], UseDns::Raw, "[2001:DB8::1]");
    }

    #[test]
    fn hosts_are_left_to_resolve() {
        check(&[("dns", "example.org")], UseDns::Warn, "host example.org");
        check(&[("dns", "example.org")], UseDns::No, "unresolved");
        check(&[("dns", "example.org")], UseDns::Raw, "example.org");
        check(&[("dns", "192.0.2.1")], UseDns::No, "192.0.2.1");
    }

    #[test]
    fn a_connection_may_be_pending() {
        check(&[("mlfid", "7")], UseDns::Warn, "pending");
        check(&[("user", "x")], UseDns::Warn, "nobody");
    }
}
