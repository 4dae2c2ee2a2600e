//! Lists of addresses and networks as text: strictly, as strangers publish them, and leniently, as an administrator
//! writes them.
//!
//! What comes from a web server decides who is never banned, so that it is taken as a whole or not at all: the page of
//! a captive portal, a list that has been cut off in a word and one that covers half of the Internet are refused.
//!
//! Upstream, for files: `ipdns.FileIPAddrSet.load`, `helpers.splitwords`, `helpers.removeComments`.

use std::error::Error;
use std::fmt;

use f2b_types::{Family, Id};

/// As many entries a published list may have; those of whole countries fit.
const MAX_ENTRIES: usize = 50_000;

/// The shortest prefixes that anybody has reason to publish: no provider holds a larger block in one piece.
const SHORTEST_V4: u8 = 6;
const SHORTEST_V6: u8 = 12;

/// As many addresses all entries together may have, as a power of two: half of IPv4, and of what is in use of IPv6.
const WIDEST_V4: u32 = 31;
const WIDEST_V6: u32 = 124;

/// As much of a wrong word is quoted.
const MAX_QUOTED: usize = 40;

/// A list that is refused, with the line that is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListError {
    /// Something else than an address or a network.
    NoAddress {
        /// The line, counted from one.
        line: usize,
        /// The beginning of the word.
        word: String,
    },
    /// A network that is too large to be meant.
    TooWide {
        /// The line, counted from one.
        line: usize,
        /// The network as it is written.
        word: String,
        /// The shortest prefix that is taken.
        shortest: u8,
    },
    /// More entries than any list has use for.
    TooMany {
        /// The line, counted from one, with the first one too many.
        line: usize,
    },
    /// Networks that together are too large to be meant.
    TooWideInAll {
        /// The line, counted from one, with the first one too many.
        line: usize,
    },
    /// No entry at all.
    Empty,
}

/// Reads a published list: addresses and networks, one a line or with blanks or commas between them; `#` and `;` begin
/// a comment.
///
/// # Errors
///
/// [`ListError`], for the first line that is wrong. Nothing of such a list is to be used.
pub fn parse_list(text: &str) -> Result<Vec<Id>, ListError> {
    let mut ids = Vec::new();
    let (mut all_v4, mut all_v6) = (0_u128, 0_u128);
    for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let text = text.split(['#', ';']).next().unwrap_or_default();
        for word in words(text) {
            if ids.len() == MAX_ENTRIES {
                return Err(ListError::TooMany { line });
            }
            let quoted = || word.chars().take(MAX_QUOTED).collect();
            let id = Id::parse(word);
            let (prefix, shortest, bits, all, widest) = match (&id, id.family()) {
                (Id::Net { prefix, .. }, Some(Family::Inet4)) => {
                    (*prefix, SHORTEST_V4, 32_u8, &mut all_v4, WIDEST_V4)
                }
                (Id::Net { prefix, .. }, Some(Family::Inet6)) => {
                    (*prefix, SHORTEST_V6, 128, &mut all_v6, WIDEST_V6)
                }
                _ => return Err(ListError::NoAddress { line, word: quoted() }),
            };
            if is_cut(word, prefix) {
                return Err(ListError::NoAddress { line, word: quoted() });
            }
            if prefix < shortest {
                return Err(ListError::TooWide { line, word: quoted(), shortest });
            }
            *all += 1 << bits.saturating_sub(prefix);
            if *all >= 1 << widest {
                return Err(ListError::TooWideInAll { line });
            }
            ids.push(id);
        }
    }
    if ids.is_empty() { Err(ListError::Empty) } else { Ok(ids) }
}

/// Reads the words of a file: addresses, networks and host names, with anything else taken for a name. A comment begins
/// with `#` or `;` at the start of a line or behind a blank.
pub fn parse_file(text: &str) -> Vec<Id> {
    text.lines().flat_map(|line| words(without_comment(line))).map(Id::parse).collect()
}

/// Whether a prefix was written that is longer than the address. Where somebody writes it by hand it leaves the whole address.
fn is_cut(word: &str, prefix: u8) -> bool {
    let written = word.trim_end_matches(']').rsplit_once('/').and_then(|(_, mask)| mask.parse::<u64>().ok());
    written.is_some_and(|written| written > u64::from(prefix))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (index, c) in line.char_indices() {
        if matches!(c, '#' | ';') && before.is_whitespace() {
            return &line[..index];
        }
        before = c;
    }
    line
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress { line, word } => {
                write!(f, "line {line}: {word:?} is neither an address nor a network")
            }
            Self::TooWide { line, word, shortest } => {
                write!(f, "line {line}: {word:?} is wider than /{shortest}, which nobody can mean")
            }
            Self::TooWideInAll { line } => {
                write!(f, "line {line}: up to here it covers half of all addresses, which nobody can mean")
            }
            Self::TooMany { line } => write!(f, "line {line}: more than {MAX_ENTRIES} entries"),
            Self::Empty => f.write_str("there is no entry in it"),
        }
    }
}

impl Error for ListError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &str>) {
        let printed = parse_list(text).map(|ids| ids.iter().map(Id::to_string).collect::<Vec<_>>());
        let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(printed.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn lists_have_lines_or_words() {
        check("173.245.48.0/20\n103.21.244.0/22\n", Ok(&["173.245.48.0/20", "103.21.244.0/22"]));
        check("2400:cb00::/32", Ok(&["2400:cb00::/32"]));
        check(
            "\u{feff}# by hand\r\n192.0.2.1, 192.0.2.2;two\r\n\r\n[2001:db8::1] 198.51.100.0/255.255.255.0#net\r\n",
            Ok(&["192.0.2.1", "192.0.2.2", "2001:db8::1", "198.51.100.0/24"]),
        );
        check("240.0.0.0/6 2000::/12", Ok(&["240.0.0.0/6", "2000::/12"]));
        let most: String = (0..64).map(|n| format!("{}.0.0.0/6\n", 4 * n)).collect();
        check(&most, Err("line 32: up to here it covers half of all addresses, which nobody can mean"));
        let most: String = (0..512).map(|n| format!("{:x}::/12\n", 0x2000 + 0x10 * n)).collect();
        check(&most, Err("line 256: up to here it covers half of all addresses, which nobody can mean"));
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        check("", Err("there is no entry in it"));
        check("# nothing\n\n , ;\n", Err("there is no entry in it"));
        check("<!DOCTYPE html>\n", Err("line 1: \"<!DOCTYPE\" is neither an address nor a network"));
        check("192.0.2.1\n{\"a\":\n", Err("line 2: \"{\\\"a\\\":\" is neither an address nor a network"));
        check("192.0.2.1\n173.245.48", Err("line 2: \"173.245.48\" is neither an address nor a network"));
        check("192.0.2.0/33", Err("line 1: \"192.0.2.0/33\" is neither an address nor a network"));
        check("[::1/129]", Err("line 1: \"[::1/129]\" is neither an address nor a network"));
        check("a\u{1b}[2J\n", Err("line 1: \"a\\u{1b}[2J\" is neither an address nor a network"));
        let long = "x".repeat(5000);
        let quoted = format!("line 1: \"{}\" is neither an address nor a network", &long[..40]);
        check(&long, Err(&quoted));
    }

    #[test]
    fn what_covers_half_of_the_internet_is_refused() {
        let wide =
            |word, shortest| format!("line 2: \"{word}\" is wider than /{shortest}, which nobody can mean");
        for (word, shortest) in
            [("0.0.0.0/0", 6), ("128.0.0.0/1", 6), ("8.0.0.0/5", 6), ("::/0", 12), ("2000::/3", 12)]
        {
            check(&format!("192.0.2.1\n{word}\n"), Err(&wide(word, shortest)));
        }
        let many = "192.0.2.1 192.0.2.2\n".repeat(MAX_ENTRIES / 2);
        assert_eq!(parse_list(&many).map(|ids| ids.len()), Ok(MAX_ENTRIES));
        check(&(many + "192.0.2.3\n"), Err("line 25001: more than 50000 entries"));
    }

    #[test]
    fn files_may_have_names_and_comments() {
        let text = "office.example   ; the office\nhome.example, 192.0.2.0/24\t# two\n# none\n;none\na#b 0.0.0.0/0\n";
        let ids: Vec<Id> = parse_file(text);
        let expected = ["office.example", "home.example", "192.0.2.0/24", "a#b", "0.0.0.0/0"].map(Id::parse);
        assert_eq!(ids, expected);
        assert_eq!(parse_file(""), []);
    }
}
