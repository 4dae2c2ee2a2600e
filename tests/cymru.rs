//! `status J cymru` beside fail2ban's, both asking a name server of this test.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use simple_dns::rdata::{RData, TXT};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

use support::{Place, Process, available, binary, has_program, run};

/// Answers every question for an address out of a small world; the rest does not exist.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(question).ok()?;
    let asked = packet.questions.first()?.clone();
    let name = asked.qname.to_string();
    let records: &[&str] = match name.split('.').next()? {
        _ if name.starts_with("1.2.0.192.origin.") => &["64500 | 192.0.2.0/24 | US | arin | 1998-09-25"],
        _ if name.starts_with("2.2.0.192.origin.") => {
            &["64502 | 192.0.2.0/24 |  | ripencc | 2000-01-01", "64501 64503 | 192.0.2.0/25 | DE | ripencc |"]
        }
        _ if name.ends_with(".8.b.d.0.1.0.0.2.origin6.asn.cymru.com") => {
            &["64504 | 2001:db8::/32 | AT | ripencc | 2004-07-01"]
        }
        _ if name.starts_with("9.9.9.9.") => &["this is | no record"],
        _ => &[],
    };
    let mut reply = Packet::new_reply(packet.id());
    reply.set_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    if records.is_empty() {
        *reply.rcode_mut() = RCODE::NameError;
    }
    for record in records {
        let data = RData::TXT(TXT::new().with_string(record).ok()?);
        reply.answers.push(ResourceRecord::new(asked.qname.clone(), CLASS::IN, 60, data));
    }
    reply.questions.push(asked);
    reply.build_bytes_vec().ok()
}

/// A name server at an address of its own, as long as the test runs.
fn serve(address: &str) -> Option<()> {
    let socket = UdpSocket::bind((address, 53)).ok()?;
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = answer(&buffer[..length]) {
                let _ = socket.send_to(&reply, client);
            }
        }
    });
    Some(())
}

fn place() -> Place {
    let place = Place::new();
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nfilter = f\naction = none\nlogpath = {}/j.log\n",
            place.path().display()
        ),
    );
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban =\n");
    place.write("j.log", "");
    place
}

/// The command, where `resolv.conf` names our server.
fn with_resolver(place: &Place, address: &str, server: &Command) -> Command {
    place.write("resolv.conf", &format!("nameserver {address}\n"));
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(place.file("resolv.conf"));
    command.arg(server.get_program()).args(server.get_args());
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

/// What is told of the same bans: of the jail, then with an address for which the answer makes no sense, and of all jails.
fn statuses(place: &Place, _server: &Process) -> [String; 3] {
    place.ask(&["set", "j", "banip", "192.0.2.1", "192.0.2.2", "2001:db8::7", "198.51.100.1"]);
    let one = place.ask(&["status", "j", "cymru"]);
    let all = place.client(binary("f2b-client"), &["status", "--all", "cymru"]).output().expect("it runs");
    place.ask(&["set", "j", "banip", "9.9.9.9", "192.0.2.1"]);
    [one, place.ask(&["status", "j", "cymru"]), String::from_utf8_lossy(&all.stdout).into_owned()]
}

#[test]
fn networks_of_banned_addresses_are_told_as_fail2ban_tells_them() {
    const ADDRESS: &str = "127.86.0.53";
    let may = has_program("unshare") && nix::unistd::geteuid().is_root() && serve(ADDRESS).is_some();
    if !available("a name server of its own (port 53, mount namespaces)", may) {
        return;
    }
    let ours = {
        let place = place();
        let server = place.spawn(&mut with_resolver(&place, ADDRESS, &place.server()));
        let told = statuses(&place, &server);
        place.wait_for_log("Unhandled Exception");
        (told, place.path().display().to_string())
    };
    let list = |what: &str| ours.0[0].lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    assert!(list("ASN").ends_with("64500 64501 64503, 64502 64504 nxdomain"), "{}", list("ASN"));
    assert!(list("Country").ends_with("US DE, unknown AT nxdomain"), "{}", list("Country"));
    assert!(list("RIR").ends_with("arin ripencc ripencc nxdomain"), "{}", list("RIR"));

    let has_library =
        Command::new("/usr/bin/python3").args(["-c", "import dns"]).status().is_ok_and(|s| s.success());
    let Some(version) = upstream::version() else { return };
    if !available("python3-dnspython", has_library) {
        return;
    }
    let place = place();
    let server = place.spawn(&mut with_resolver(&place, ADDRESS, &upstream::server(&place)));
    let theirs = statuses(&place, &server);
    let theirs = theirs.map(|text| text.replace(&place.path().display().to_string(), &ours.1));
    // Before 1.1 there was no status of all jails.
    let compared = if version.starts_with("1.0") { 2 } else { 3 };
    assert_eq!(ours.0[..compared], theirs[..compared]);
    let _ = run(&mut place.client(binary("f2b-client"), &["stop"]));
}
