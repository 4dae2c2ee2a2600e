//! The action `smtp.py` in a configuration: what it sends while a server lives, reloads and starts again.

#[path = "support/mailbox.rs"]
mod mailbox;
mod support;

use mailbox::{Mailbox, Mood};
use support::{Place, binary, both, wait_until};

fn configure(place: &Place, action: &str) {
    let dir = place.path().display();
    let text = format!(
        "[j]\nenabled = true\nbackend = polling\nbantime = 1h\nfilter = f1\nlogpath = {dir}/j.log\naction = {action}\n"
    );
    place.write("jail.conf", &text);
}

fn place(action: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.append("j.log", "");
    configure(&place, action);
    place
}

/// The subjects without the name of this host, and the recipients.
fn received(mailbox: &Mailbox) -> Vec<String> {
    let letters = mailbox.letters();
    let subject = |data: &str| {
        let unfolded = data.replace("\r\n ", " ");
        let line =
            unfolded.lines().find_map(|line| line.strip_prefix("Subject: [Fail2Ban] ")).map(str::to_owned);
        line.and_then(|line| Some(line.rsplit_once(' ')?.0.to_owned())).unwrap_or_default()
    };
    letters.iter().map(|letter| format!("{} -> {}", subject(&letter.data), letter.to.join(" "))).collect()
}

#[track_caller]
fn check_received(mailbox: &Mailbox, expected: &[&str]) {
    wait_until("the mails are there", || mailbox.letters().len() >= expected.len());
    assert_eq!(received(mailbox), expected);
}

#[test]
fn mails_follow_the_life_of_a_server() {
    let mailbox = Mailbox::new(Mood::Kind);
    let place =
        place(&format!("smtp.py[host=\"{}\", dest=\"a@example.org, b@example.org\"]", mailbox.host()));
    let mut server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    let start = "j: started on -> a@example.org b@example.org";
    let ban = "j: banned 192.0.2.1 from -> a@example.org b@example.org";
    check_received(&mailbox, &[start, ban]);
    assert_eq!(place.ask(&["get", "j", "action", "smtp", "fromaddr"]), "fail2ban\n");
    let methods = place.ask(&["get", "j", "actionmethods", "smtp"]);
    assert!(methods.contains("ban, reban, start, stop, unban"), "{methods}");

    // A reload with other options is no news, and what comes next has them.
    configure(&place, &format!("smtp.py[host=\"{}\", dest=c@example.org, matches=matches]", mailbox.host()));
    place.ask(&["reload"]);
    place.ask(&["set", "j", "action", "smtp", "fromaddr", "me@example.org"]);
    place.ask(&["set", "j", "banip", "192.0.2.2"]);
    let second = "j: banned 192.0.2.2 from -> c@example.org";
    check_received(&mailbox, &[start, ban, second]);
    assert_eq!(mailbox.letters()[2].from, "me@example.org");

    place.ask(&["set", "j", "unbanip", "192.0.2.2"]);
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
    let stop = "j: stopped on -> c@example.org";
    check_received(&mailbox, &[start, ban, second, stop]);
    // A ban that comes back is no news either.
    let _server = place.start();
    place.wait_for_log("[j] Restore Ban 192.0.2.1");
    place.ask(&["set", "j", "banip", "192.0.2.3"]);
    let (again, third) = ("j: started on -> c@example.org", "j: banned 192.0.2.3 from -> c@example.org");
    check_received(&mailbox, &[start, ban, second, stop, again, third]);
}

#[test]
fn what_is_wrong_is_said_and_costs_no_ban() {
    let mailbox = Mailbox::new(Mood::NoSender);
    let place = place(&format!("smtp.py[host=\"{}\"]\n         other.py[x=y]", mailbox.host()));
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    let host = mailbox.host();
    place.wait_for_log(&format!("ERROR   Error sending mail to host '{host}' from 'fail2ban' to 'root'"));
    let reason = "(550, b'5.7.1 not from you', 'fail2ban')";
    place.wait_for_log(&format!("ERROR   Failed to start jail 'j' action 'smtp': {reason}"));
    place.wait_for_log(&format!("}})': {reason}"));
    place.wait_for_log("/other.py', '{\"x\": \"y\"}'] has failed. Received FileNotFoundError(2, 'No such file or directory')");
    assert!(place.ask(&["status", "j"]).contains("192.0.2.1"));

    let ask = |words: &[&str]| {
        both(&place.client(binary("f2b-client"), words).output().expect("the client starts"))
    };
    let answer = ask(&["set", "j", "addaction", "mail", "/x/smtp.py", "{\"hots\": \"mx\"}"]);
    assert!(answer.contains("got an unexpected keyword argument 'hots'"), "{answer}");
    assert!(ask(&["set", "j", "addaction", "mail", "/x/smtp.py", "{"]).contains("EOF while parsing"));
    assert!(
        ask(&["get", "j", "action", "smtp", "dest"]).contains("'SMTPAction' object has no attribute 'dest'")
    );
}
