//! Lists of bans with their times, as `get J banip --with-time` tells them.
#![allow(unreachable_pub, reason = "each test includes this file")]

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Compares two lists of bans in any order. The database keeps whole seconds, so that a ban may begin half a second
/// sooner or later than it did.
#[track_caller]
pub fn check_bans(found: &str, expected: &str) {
    let parse = |text: &str| {
        let mut bans: Vec<(String, i64, i64)> = text.lines().map(parse_ban).collect();
        bans.sort();
        bans
    };
    let (found, expected) = (parse(found), parse(expected));
    let same = |((id, seconds, end), (other, others, its)): (&(String, i64, i64), &(String, i64, i64))| {
        id == other && seconds == others && (end - its).abs() <= 1
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(&expected).all(same),
        "{found:?}\nis not\n{expected:?}"
    );
}

/// The id, the length and the end of `ID \tBEGIN + LENGTH = END`.
#[track_caller]
fn parse_ban(line: &str) -> (String, i64, i64) {
    let (id, times) = line.split_once(" \t").expect("an id");
    let (begin, end) = times.split_once(" = ").expect("an end");
    let seconds = begin.split_once(" + ").expect("a length").1.parse().expect("a number");
    let end: DateTime = end.parse().expect("a time");
    (id.into(), seconds, end.to_zoned(TimeZone::UTC).expect("a time").timestamp().as_second())
}
