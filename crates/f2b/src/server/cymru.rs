//! `status J cymru`: which networks banned addresses belong to, by the name service of Team Cymru.
//!
//! Answers to `banmanager.getBanListExtendedCymruInfo`. A question goes to the name servers of `/etc/resolv.conf`, as a
//! TXT record of the address read backwards; the answer is `ASN | network | country | registry | date`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use f2b_protocol::Value;
use f2b_types::Log as _;
use f2b_types::{Family, Id, Level, Record};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use crate::logging::ServerLog;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// For one question, over all name servers.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one name server.
const TRY: Duration = Duration::from_secs(5);
/// An answer without extensions is no longer than 512 bytes; some servers send more all the same.
const MAX_ANSWER: usize = 4096;

/// Adds to the status of a jail where its banned addresses belong to. This takes seconds.
pub(super) fn complete(status: &mut Value, banned: &[Id], log: &ServerLog) {
    let (origins, failure) = Origins::of(banned);
    if let Some(failure) = failure {
        log.write(Record::new(Level::ERROR, "banmanager", failure));
    }
    let Value::List(parts) = status else { return };
    if let Some(Value::Tuple(actions)) = parts.last_mut()
        && let Some(Value::List(actions)) = actions.last_mut()
    {
        actions.extend(origins.pairs());
    }
}

/// For each address the numbers, countries and registries of its networks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Origins {
    asn: Vec<String>,
    country: Vec<String>,
    rir: Vec<String>,
}

/// Why there is no answer; prints as upstream logs it.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The network of the address is in nobody's books.
    Unknown,
    Dns(String),
    /// The answer is not what it should be.
    Unhandled(String),
}

impl Origins {
    /// Asks for one address after the other; the first one for which there is no answer ends it, and what is to be logged
    /// about that comes back as well.
    fn of(ids: &[Id]) -> (Self, Option<String>) {
        let servers = name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        let mut found = Self::default();
        for id in ids {
            let question = question(id);
            match ask(&servers, &question).and_then(|records| Self::read(&records)) {
                Ok(one) => found.append(one),
                Err(Failure::Unknown) => found.append(Self::unknown()),
                Err(failure) => return (found, Some(format!("{failure} querying Cymru for {question} TXT"))),
            }
        }
        (found, None)
    }

    /// The entries that a status has of it.
    fn pairs(&self) -> [Value; 3] {
        let pair = |name: &str, list: &[String]| Value::Tuple(vec![name.into(), Value::strings(list)]);
        [
            pair("Banned ASN list", &self.asn),
            pair("Banned Country list", &self.country),
            pair("Banned RIR list", &self.rir),
        ]
    }

    fn unknown() -> Self {
        let word = || vec!["nxdomain".to_owned()];
        Self { asn: word(), country: word(), rir: word() }
    }

    /// All records of one address, each thing once.
    fn read(records: &[String]) -> Result<Self, Failure> {
        let (mut asns, mut countries, mut rirs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for record in records {
            let fields: Vec<&str> =
                record.split('|').map(|field| field.trim_matches(['\'', '"', ' '])).collect();
            let [asn, _, country, rir, _] = fields.as_slice() else {
                let message = format!("Unhandled Exception ValueError({})", Value::from(record.as_str()));
                return Err(Failure::Unhandled(message));
            };
            let or_unknown = |field: &str| if field.is_empty() { "unknown".into() } else { field.to_owned() };
            asns.insert(or_unknown(asn));
            countries.insert(or_unknown(country));
            rirs.insert(or_unknown(rir));
        }
        let join = |all: BTreeSet<String>| vec![all.into_iter().collect::<Vec<_>>().join(", ")];
        Ok(Self { asn: join(asns), country: join(countries), rir: join(rirs) })
    }

    fn append(&mut self, other: Self) {
        self.asn.extend(other.asn);
        self.country.extend(other.country);
        self.rir.extend(other.rir);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("DNSException NXDOMAIN()"),
            Self::Dns(text) => write!(f, "DNSException {text}"),
            Self::Unhandled(text) => f.write_str(text),
        }
    }
}

/// The name to ask for.
fn question(id: &Id) -> String {
    id.ptr(if id.family() == Some(Family::Inet6) { "origin6.asn.cymru.com" } else { "origin.asn.cymru.com" })
}

/// The servers in the order of the file; without any it is this machine.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()
    };
    let servers: Vec<IpAddr> = resolv_conf.lines().filter_map(address).collect();
    if servers.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { servers }
}

/// Asks the servers in turn until one answers or the time is over.
fn ask(servers: &[IpAddr], question: &str) -> Result<Vec<String>, Failure> {
    let dns = |text: &dyn fmt::Display| Failure::Dns(text.to_string());
    let id = fastrand::u16(..);
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(question).map_err(|error| dns(&error))?;
    packet.questions.push(Question::new(name, TYPE::TXT.into(), CLASS::IN.into(), false));
    let bytes = packet.build_bytes_vec().map_err(|error| dns(&error))?;
    let start = Instant::now();
    let mut last = dns(&"Timeout");
    while start.elapsed() < PATIENCE {
        for server in servers {
            let left = PATIENCE.saturating_sub(start.elapsed()).min(TRY);
            if left.is_zero() {
                break;
            }
            match ask_one(*server, &bytes, left) {
                Ok(answer) => match read_answer(&answer, id, question) {
                    Err(Failure::Dns(text)) => last = Failure::Dns(text),
                    answer => return answer,
                },
                Err(error) => last = dns(&error),
            }
        }
        // A server that refuses at once is not asked without a pause.
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(last)
}

fn ask_one(server: IpAddr, question: &[u8], patience: Duration) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Connected, it hears of nobody else.
    socket.connect(SocketAddr::from((server, PORT)))?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(question)?;
    let mut answer = vec![0; MAX_ANSWER];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// The texts in an answer to the question.
fn read_answer(answer: &[u8], id: u16, question: &str) -> Result<Vec<String>, Failure> {
    let packet = Packet::parse(answer).map_err(|error| Failure::Dns(error.to_string()))?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(Failure::Dns("BadResponse()".into()));
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err(Failure::Unknown),
        code => return Err(Failure::Dns(format!("{code:?}"))),
    }
    let text = |data: &RData<'_>| match data {
        RData::TXT(txt) => {
            // The library takes each text for an attribute; nothing is lost by putting it together again.
            let bytes = txt.iter_raw().flat_map(|(name, value)| match value {
                Some(value) => [name, b"=", value].concat(),
                None => name.to_vec(),
            });
            Some(String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned())
        }
        _ => None,
    };
    let texts: Vec<String> = packet.answers.iter().filter_map(|record| text(&record.rdata)).collect();
    if texts.is_empty() {
        return Err(Failure::Unhandled(format!("DNSException NoAnswer({question})")));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_backwards() {
        let name = |text: &str| question(&Id::parse(text));
        assert_eq!(name("192.0.2.1"), "1.2.0.192.origin.asn.cymru.com");
        assert_eq!(
            name("2001:db8::1"),
            format!("1.{}8.b.d.0.1.0.0.2.origin6.asn.cymru.com", "0.".repeat(23))
        );
        assert_eq!(name("alice"), "");
    }

    #[test]
    fn records_are_cut_at_their_bars() {
        let read =
            |records: &[&str]| Origins::read(&records.iter().map(ToString::to_string).collect::<Vec<_>>());
        let origins = read(&["23028 | 192.0.2.0/24 | US | arin | 1998-09-25", "7 |192.0.2.0/24||arin|"])
            .expect("five fields");
        assert_eq!(origins.asn, ["23028, 7"]);
        assert_eq!((origins.country, origins.rir), (vec!["US, unknown".into()], vec!["arin".into()]));
        assert!(read(&["23028 | 192.0.2.0/24"]).is_err());
    }

    #[test]
    fn name_servers_come_in_the_order_of_the_file() {
        assert_eq!(
            name_servers("# x\nsearch a\nnameserver 192.0.2.1\nnameserver ::1\nnameserver x\n").len(),
            2
        );
        assert_eq!(name_servers(""), [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn hostile_answers_are_failures() {
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut packet = Packet::new_reply(7);
            packet.questions.push(Question::new(
                Name::new("a.b").expect("a name"),
                TYPE::TXT.into(),
                CLASS::IN.into(),
                false,
            ));
            let mut bytes = packet.build_bytes_vec().expect("bytes");
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            bytes.truncate(rng.usize(..=bytes.len()));
            assert!(read_answer(&bytes, 7, "a.b").is_err());
        }
    }
}
