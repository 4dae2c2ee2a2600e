//! What gets banned: an address, a subnet, or any text that a filter captures.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family, named as the tag `<family>` and conditional sections name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Inet4,
    /// IPv6.
    Inet6,
}

impl Family {
    /// `inet4` or `inet6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inet4 => "inet4",
            Self::Inet6 => "inet6",
        }
    }

    /// Bits of an address.
    fn width(self) -> u32 {
        match self {
            Self::Inet4 => 32,
            Self::Inet6 => 128,
        }
    }
}

/// The identity of a failure and of a ban (`ipdns.IPAddr`).
///
/// Two ids are the same when they print the same: addresses are kept in canonical form, a subnet has its host bits
/// cleared, and an IPv4-mapped IPv6 address is the IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// An address, or a subnet when `prefix` is shorter than the address.
    Net {
        /// The address, or the first address of the subnet.
        addr: IpAddr,
        /// Bits of the network part: 32 or 128 for a single address.
        prefix: u8,
    },
    /// Anything else, verbatim: a host name, a user name, a session id.
    Text(Box<str>),
}

/// A mask that has gaps: no prefix length means the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaskError {
    /// The mask.
    pub mask: String,
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid mask '{}', no plen representation", self.mask)
    }
}

impl Error for MaskError {}

impl Id {
    /// Reads an address (also in brackets), a subnet (`/24` or `/255.255.255.0`), or takes the text as it is.
    pub fn parse(text: &str) -> Self {
        Self::parse_strictly(text).unwrap_or_else(|_| Self::Text(text.into()))
    }

    /// The same, but a mask with gaps is an error.
    ///
    /// # Errors
    ///
    /// [`MaskError`] quotes the mask.
    pub fn parse_strictly(text: &str) -> Result<Self, MaskError> {
        let bare = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) if !inner.is_empty() => inner,
            _ => text,
        };
        let (address, prefix) = match bare.split_once('/') {
            Some((address, mask)) if looks_like_address(address) => match prefix_of(mask)? {
                Some(prefix) => (address, Some(prefix)),
                None => return Ok(Self::Text(bare.into())),
            },
            Some(_) => return Ok(Self::Text(bare.into())),
            None => (bare, None),
        };
        // Upstream has cut the mask off before it notices that there is no address.
        Ok(Self::address(address, prefix).unwrap_or_else(|| Self::Text(address.into())))
    }

    /// Reads an address of one family only, as captured by `<IP4>` or `<IP6>`, with an optional prefix length.
    /// What is no address of that family stays text.
    pub fn parse_family(text: &str, family: Family, prefix: Option<u8>) -> Self {
        let address = match family {
            Family::Inet4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            Family::Inet6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        };
        address.map_or_else(|| Self::Text(text.into()), |address| Self::net(address, prefix))
    }

    /// Takes the text as it is, whatever it looks like (`usedns = raw`, `<F-ID>`).
    pub fn raw(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn address(text: &str, prefix: Option<u8>) -> Option<Self> {
        text.parse().ok().map(|addr| Self::net(addr, prefix))
    }

    /// A subnet. A prefix that is longer than the address leaves all of it.
    fn net(addr: IpAddr, prefix: Option<u8>) -> Self {
        match (addr, prefix) {
            (IpAddr::V4(v4), Some(prefix)) => {
                let prefix = prefix.min(32);
                Self::Net { addr: Ipv4Addr::from(u32::from(v4) & mask32(prefix)).into(), prefix }
            }
            (IpAddr::V6(v6), Some(prefix)) => {
                let prefix = prefix.min(128);
                Self::Net { addr: Ipv6Addr::from(u128::from(v6) & mask128(prefix)).into(), prefix }
            }
            (addr, None) => Self::from(addr),
        }
    }

    /// The family of an address or subnet.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Net { addr: IpAddr::V4(_), .. } => Some(Family::Inet4),
            Self::Net { addr: IpAddr::V6(_), .. } => Some(Family::Inet6),
            Self::Text(_) => None,
        }
    }

    /// Whether this is one address, neither a subnet nor text.
    pub fn is_single(&self) -> bool {
        match self {
            Self::Net { prefix, .. } => self.family().is_some_and(|f| u32::from(*prefix) == f.width()),
            Self::Text(_) => false,
        }
    }

    /// Whether the network `self` (or the single address) covers `other`. Text covers equal text only.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Net { addr: IpAddr::V4(net), prefix }, Self::Net { addr: IpAddr::V4(addr), .. }) => {
                u32::from(*addr) & mask32(*prefix) == u32::from(*net)
            }
            (Self::Net { addr: IpAddr::V6(net), prefix }, Self::Net { addr: IpAddr::V6(addr), .. }) => {
                u128::from(*addr) & mask128(*prefix) == u128::from(*net)
            }
            _ => self == other,
        }
    }

    /// The labels of the reverse DNS name in front of `suffix`: `1.2.0.192.` and `suffix` (tag `<ip-rev>` with an
    /// empty suffix). Empty for text.
    pub fn ptr(&self, suffix: &str) -> String {
        let labels: Vec<String> = match self {
            Self::Net { addr: IpAddr::V4(_), .. } => {
                self.to_string().split('.').rev().map(Into::into).collect()
            }
            Self::Net { addr: IpAddr::V6(addr), .. } => {
                format!("{:032x}", u128::from(*addr)).chars().rev().map(String::from).collect()
            }
            Self::Text(_) => return String::new(),
        };
        format!("{}.{suffix}", labels.join("."))
    }
}

impl From<IpAddr> for Id {
    fn from(addr: IpAddr) -> Self {
        let addr = match addr {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(addr, IpAddr::V4),
            IpAddr::V4(_) => addr,
        };
        let prefix = if addr.is_ipv4() { 32 } else { 128 };
        Self::Net { addr, prefix }
    }
}

/// Prints what upstream prints (`IPAddr.ntoa`): glibc's spelling of an address, and `/prefix` for a subnet other
/// than the whole of the address space.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Net { addr, prefix } => {
                write_address(f, addr)?;
                if *prefix != 0 && !self.is_single() { write!(f, "/{prefix}") } else { Ok(()) }
            }
        }
    }
}

/// glibc writes IPv4-compatible addresses (`::192.0.2.1`) with dots where Rust writes hexadecimal.
fn write_address(f: &mut fmt::Formatter<'_>, addr: &IpAddr) -> fmt::Result {
    match addr {
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0 => {
            write!(f, "::{}", Ipv4Addr::from(u128::from(*v6) as u32))
        }
        addr => write!(f, "{addr}"),
    }
}

/// Whether a text has the form of an address, whatever its numbers are.
fn looks_like_address(text: &str) -> bool {
    let groups: Vec<&str> = text.split('.').collect();
    let is_number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let is_v4 = groups.len() == 4 && groups.into_iter().all(is_number);
    let is_group = |text: &str| text.len() <= 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_v4 || text.contains(':') && text.split(':').all(is_group)
}

/// A prefix length: a number, or a mask such as `255.255.255.0` or `ffff::`; `None` for what is neither. A mask whose
/// numbers are none covers everything, as upstream has it.
fn prefix_of(mask: &str) -> Result<Option<u8>, MaskError> {
    if !mask.is_empty() && mask.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Some(mask.parse().unwrap_or(u8::MAX)));
    }
    if !looks_like_address(mask) {
        return Ok(None);
    }
    let (bits, narrow) = match Id::address(mask, None) {
        Some(Id::Net { addr: IpAddr::V4(mask), .. }) => (u32::from(mask).into(), Some(u32::from(mask))),
        Some(Id::Net { addr: IpAddr::V6(mask), .. }) => {
            (u128::from(mask), u32::try_from(u128::from(mask)).ok())
        }
        _ => (0, Some(0)),
    };
    let ones = bits.leading_ones() as u8;
    if bits == mask128(ones) {
        return Ok(Some(ones));
    }
    let ones = narrow.map(|bits| (bits, bits.leading_ones() as u8));
    match ones.filter(|(bits, ones)| *bits == mask32(*ones)) {
        Some((_, ones)) => Ok(Some(ones)),
        None => Err(MaskError { mask: Id::parse(mask).to_string() }),
    }
}

fn mask32(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask128(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str, single: bool) {
        let id = Id::parse(text);
        assert_eq!((id.to_string().as_str(), id.is_single()), (printed, single), "{text}");
    }

    #[test]
    fn addresses_get_their_canonical_form() {
        check("192.0.2.1", "192.0.2.1", true);
        check("[2001:DB8::1]", "2001:db8::1", true);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
        check("::192.0.2.1", "::192.0.2.1", true);
        check("::1", "::1", true);
        check("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", true);
    }

    #[test]
    fn subnets_lose_their_host_bits() {
        check("192.0.2.77/24", "192.0.2.0/24", false);
        check("192.0.2.77/255.255.255.0", "192.0.2.0/24", false);
        check("2001:db8::1/32", "2001:db8::/32", false);
        check("192.0.2.1/32", "192.0.2.1", true);
        check("0.0.0.0/0", "0.0.0.0", false);
    }

    #[test]
    fn masks_that_are_none_are_taken_as_upstream_takes_them() {
        check("192.0.2.1/33", "192.0.2.1", true);
        check("192.0.2.1/4096", "192.0.2.1", true);
        check("::1/129", "::1", true);
        check("192.0.2.1/ffff::", "192.0.0.0/16", false);
        check("192.0.2.1/::ff00:0", "192.0.0.0/8", false);
        check("192.0.2.1/300.0.0.0", "0.0.0.0", false);
        check("300.0.2.1/24", "300.0.2.1", false);
        for (text, mask) in [
            ("10.0.0.0/255.0.255.0", "255.0.255.0"),
            ("::1/FFFF:0:FF00::", "ffff:0:ff00::"),
            ("[::1/::ffff:ffff:ff]", "255.255.0.255"),
        ] {
            assert_eq!(Id::parse_strictly(text), Err(MaskError { mask: mask.into() }), "{text}");
        }
    }

    #[test]
    fn the_rest_is_text() {
        for text in
            ["example.org", "300.1.2.3", "192.0.2.1/x", "192.0.2.1/255.0.255.0", "a/b", "a/8", "", "[]", "[x"]
        {
            assert_eq!(Id::parse(text), Id::raw(text), "{text}");
        }
        assert_eq!(Id::parse_family("2001:db8::1", Family::Inet4, None), Id::raw("2001:db8::1"));
    }

    #[test]
    fn networks_cover_their_addresses() {
        let net = Id::parse("192.0.2.0/24");
        assert!(net.contains(&Id::parse("192.0.2.200")));
        assert!(!net.contains(&Id::parse("192.0.3.1")));
        assert!(!net.contains(&Id::parse("2001:db8::1")));
        assert!(Id::parse("::/0").contains(&Id::parse("2001:db8::1")));
        assert!(Id::parse("192.0.2.1").contains(&Id::parse("::ffff:192.0.2.1")));
        assert!(Id::raw("x").contains(&Id::raw("x")));
    }

    #[test]
    fn reverse_names() {
        assert_eq!(Id::parse("192.0.2.1").ptr(""), "1.2.0.192.");
        assert_eq!(Id::raw("x").ptr(""), "");
        assert!(Id::parse("2001:db8::1").ptr("ip6.arpa.").ends_with("8.b.d.0.1.0.0.2.ip6.arpa."));
    }
}
