//! The mails about a jail, and their form on the wire.
//!
//! Subjects and texts are what mail filters match, and stay as they are in upstream's `config/action.d/smtp.py`. What a
//! log line brought in can break no header, and makes no mail of unlimited size.

use std::time::{Duration, SystemTime};

use f2b_types::Time;
use lettre::message::Body;
use lettre::message::header::{Date, Header, HeaderName, HeaderValue, Headers};

/// As many characters of a header are sent.
const MAX_HEADER: usize = 900;

/// As many bytes of the lines that led to a ban are sent.
const MAX_MATCHES: usize = 1 << 20;

/// The last second that a date can name.
const MAX_DATE: f64 = 253_402_300_799.0;

/// A mail, before it is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// Which lines a mail about a ban tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matches {
    /// Those of this ban.
    Ban,
    /// Those of all bans of the address.
    Ip,
    /// Those of all its bans in this jail.
    IpInJail,
}

impl Matches {
    /// What the option `matches` asks for; nothing for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "matches" => Some(Self::Ban),
            "ipmatches" => Some(Self::Ip),
            "ipjailmatches" => Some(Self::IpInJail),
            _ => None,
        }
    }

    /// The tag with the lines.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Ban => "matches",
            Self::Ip => "ipmatches",
            Self::IpInJail => "ipjailmatches",
        }
    }
}

/// A ban to write about.
pub(crate) struct BanNews<'a> {
    pub(crate) jail: &'a str,
    pub(crate) host: &'a str,
    pub(crate) ip: &'a str,
    /// Seconds.
    pub(crate) ban_time: i64,
    pub(crate) failures: &'a str,
    pub(crate) matches: Option<(Matches, &'a str)>,
}

impl Mail {
    pub(crate) fn started(jail: &str, host: &str) -> Self {
        Self {
            subject: format!("[Fail2Ban] {jail}: started on {host}"),
            text: format!("Hi,\n\nThe jail {jail} has been started successfully.\n\nRegards,\nFail2Ban"),
        }
    }

    pub(crate) fn stopped(jail: &str, host: &str) -> Self {
        Self {
            subject: format!("[Fail2Ban] {jail}: stopped on {host}"),
            text: format!("Hi,\n\nThe jail {jail} has been stopped.\n\nRegards,\nFail2Ban"),
        }
    }

    pub(crate) fn banned(news: &BanNews<'_>) -> Self {
        let BanNews { jail, host, ip, ban_time, failures, matches } = news;
        let lines = match matches {
            None => String::new(),
            Some((kind, lines)) => {
                let title = match kind {
                    Matches::Ban => "Matches for this ban:".into(),
                    Matches::Ip => format!("Matches for {ip}:"),
                    Matches::IpInJail => format!("Matches for {ip} for jail {jail}:"),
                };
                format!("\n{title}\n{}\n", shortened(lines))
            }
        };
        let text = format!(
            "Hi,\n\nThe IP {ip} has just been banned for {ban_time} seconds\nby Fail2Ban after {failures} attempts \
             against {jail}.\n{lines}\nRegards,\nFail2Ban"
        );
        Self { subject: format!("[Fail2Ban] {jail}: banned {ip} from {host}"), text }
    }

    /// The mail as it is sent, without an end of its last line.
    pub(crate) fn compose(&self, from: (&str, &str), to: &str, now: Time) -> Vec<u8> {
        let text = self.text.replace("\r\n", "\n").replace('\r', "\n");
        let body = Body::new(text);
        let mut headers = Headers::new();
        let mut add = |name, value: &str| headers.insert_raw(HeaderValue::new(name, printable(value)));
        add(HeaderName::new_from_ascii_str("Content-Type"), "text/plain; charset=\"utf-8\"");
        add(HeaderName::new_from_ascii_str("Content-Transfer-Encoding"), &body.encoding().to_string());
        add(HeaderName::new_from_ascii_str("MIME-Version"), "1.0");
        add(HeaderName::new_from_ascii_str("Subject"), &self.subject);
        add(HeaderName::new_from_ascii_str("From"), &mailbox(from.0, from.1));
        add(HeaderName::new_from_ascii_str("To"), to);
        let seconds = if now.0.is_finite() { now.0.clamp(0.0, MAX_DATE) } else { 0.0 };
        headers.insert_raw(Date::new(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)).display());
        let mut mail = format!("{headers}\r\n").into_bytes();
        mail.extend_from_slice(body.as_ref());
        mail
    }
}

/// Lines up to the limit, without half a character.
fn shortened(lines: &str) -> &str {
    let end = (0..=MAX_MATCHES.min(lines.len())).rev().find(|index| lines.is_char_boundary(*index));
    &lines[..end.unwrap_or(0)]
}

/// A header has one line.
fn printable(value: &str) -> String {
    value.chars().take(MAX_HEADER).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `name <address>`, with the name quoted or encoded where it has to be (`email.utils.formataddr`).
fn mailbox(name: &str, address: &str) -> String {
    if name.is_empty() {
        address.to_owned()
    } else if !name.is_ascii() {
        format!("{} <{address}>", encoded(name))
    } else if name.contains(|c| r#"[]\()<>@,:;"."#.contains(c)) {
        format!("\"{}\" <{address}>", name.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        format!("{name} <{address}>")
    }
}

/// A name as words of RFC 2047, each with whole characters and no longer than 75.
fn encoded(name: &str) -> String {
    const LONGEST: usize = 75 - "=?utf-8?q??=".len();
    let mut words = vec![String::new()];
    for c in name.chars() {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).bytes();
        let code: String = match c {
            ' ' => "_".into(),
            c if c.is_ascii_alphanumeric() => c.into(),
            _ => bytes.map(|byte| format!("={byte:02X}")).collect(),
        };
        match words.last_mut() {
            Some(word) if word.len() + code.len() <= LONGEST => word.push_str(&code),
            _ => words.push(code),
        }
    }
    words.iter().map(|word| format!("=?utf-8?q?{word}?=")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news<'a>(ip: &'a str, matches: Option<(Matches, &'a str)>) -> Mail {
        Mail::banned(&BanNews { jail: "sshd", host: "host", ip, ban_time: 600, failures: "3", matches })
    }

    fn composed(mail: &Mail) -> String {
        let bytes = mail.compose(("Fail2Ban", "fail2ban"), "root", Time(1_700_000_000.0));
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_ban_is_told_with_its_lines() {
        let mail = news("192.0.2.1", Some((Matches::IpInJail, "line 1\nline 2")));
        let expected = "Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\
                        MIME-Version: 1.0\r\nSubject: [Fail2Ban] sshd: banned 192.0.2.1 from host\r\n\
                        From: Fail2Ban <fail2ban>\r\nTo: root\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\nHi,\r\n\
                        \r\nThe IP 192.0.2.1 has just been banned for 600 seconds\r\nby Fail2Ban after 3 attempts \
                        against sshd.\r\n\r\nMatches for 192.0.2.1 for jail sshd:\r\nline 1\r\nline 2\r\n\r\n\
                        Regards,\r\nFail2Ban";
        assert_eq!(composed(&mail), expected);
    }

    #[test]
    fn hostile_text_breaks_no_header_and_no_line() {
        let mail = news("x\r\nBcc: all@example.org\r\n\r\nhello", None);
        let text = composed(&mail);
        let (head, _) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.lines().all(|line| !line.starts_with("Bcc")), "{head}");
        assert!(head.contains("banned x  Bcc: all@example.org    hello from host"), "{head}");
        let mail = news("192.0.2.1", Some((Matches::Ban, "a\rb\r\nc\n.\n\0")));
        let text = composed(&mail);
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
        let long = "ä".repeat(MAX_MATCHES);
        assert!(news("192.0.2.1", Some((Matches::Ban, &long))).text.len() < MAX_MATCHES + 1000);
        for now in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            assert!(!mail.compose(("", ""), "", Time(now)).is_empty());
        }
    }

    #[test]
    fn names_are_quoted_and_encoded() {
        assert_eq!(mailbox("", "a@b"), "a@b");
        assert_eq!(mailbox("Fail2Ban at home", "a@b"), "Fail2Ban at home <a@b>");
        assert_eq!(mailbox("J. \"R\" Doe", "a@b"), "\"J. \\\"R\\\" Doe\" <a@b>");
        assert_eq!(mailbox("Wächter, 1", "a@b"), "=?utf-8?q?W=C3=A4chter=2C_1?= <a@b>");
        let long = encoded(&"ä".repeat(30));
        assert!(long.split(' ').count() == 3 && long.split(' ').all(|word| word.len() <= 75), "{long}");
    }
}
