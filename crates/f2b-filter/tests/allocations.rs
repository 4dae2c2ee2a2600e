//! A line that is missed takes no memory, once lines like it came up.

use std::alloc::System;
use std::sync::Mutex;

use f2b_filter::{Clock, Entry, Filter, LineContext, LogFormat, OpenMessages};
use f2b_types::Time;
use jiff::tz::TimeZone;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time, since what others allocate counts.
static ALONE: Mutex<()> = Mutex::new(());

const MISSED: [&str; 7] = [
    "Aug 14 11:59:59 host sshd[17]: Accepted password for root from 192.0.2.1 port 22",
    "Aug 14 11:59:58 host sshd[17]: Failed none for invalid user x from",
    // Its date is where it was before; to search all of such a line for one may take memory.
    "Aug 14 11:59:58 host sshd[17]: Failed none for invalid user é from",
    "Aug 14 11:59:58 host cron[17]: something else",
    "2005-08-14 11:59:59 host sshd[17]: something else",
    "Aug 14 11:59:59 no prefix",
    "no date at all",
];

#[test]
fn a_missed_line_takes_no_memory() {
    let _alone = ALONE.lock();
    let mut filter = Filter::new("j", 2005);
    filter.set_prefregex(r"^\s*\S+ <F-MLFID>sshd\[\d+\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$").unwrap();
    for regex in [
        r"^Failed \S+ for (?P<cond_inv>invalid user )?<F-USER>(?P<cond_user>\S+)|(?(cond_inv)(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>$",
        "^Invalid user <F-USER>.*</F-USER> from <ADDR>$",
        "refused connect from (?!host)<HOST>$",
    ] {
        filter.add_failregex(regex).unwrap();
    }
    filter.add_ignoreregex("^Accepted .* from <ADDR>$").unwrap();
    let clock = Clock::new(Time(1_124_020_800.0), TimeZone::UTC);
    let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
    takes_nothing(|line| filter.process_line(line, &context).unwrap().is_empty());
    // Nor does it if it is searched ahead of its turn.
    let (mut dates, mut searcher) = (filter.take_date_detector().unwrap(), filter.searcher().unwrap());
    takes_nothing(|line| {
        let date = dates.find(line, &context);
        let mut matches = searcher.search(line, &date);
        filter.process_found(line, &date, Some(&mut matches), &context).unwrap().is_empty()
    });
    filter.restore_date_detector(dates);
    // The test would see it.
    let region = Region::new(ALLOCATOR);
    let line = "Aug 14 11:59:59 host sshd[17]: Invalid user x from 192.0.2.1";
    assert_eq!(filter.process_line(line, &context).unwrap().len(), 1);
    assert!(region.change().allocations > 0);
}

#[track_caller]
fn takes_nothing(mut misses: impl FnMut(&str) -> bool) {
    for line in MISSED.iter().cycle().take(20) {
        assert!(misses(line), "{line}");
    }
    for line in MISSED.iter().cycle().take(60) {
        let region = Region::new(ALLOCATOR);
        let is_missed = misses(line);
        let change = region.change();
        assert!(is_missed, "{line}");
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{line}");
    }
}

#[test]
fn an_entry_takes_no_memory() {
    let _alone = ALONE.lock();
    let json = [("message".to_owned(), "log.msg".to_owned())];
    let formats = [LogFormat::new("docker-json", &[]).unwrap(), LogFormat::new("json", &json).unwrap()];
    let lines = [
        r#"{"log":"plain text\n","stream":"stderr","time":"2005-08-14T10:00:00.5Z"}"#,
        r#"{"log":"GET \"/\" \u003chtml\u003e\n","stream":"stdout","time":"2005-08-14T10:00:00.5Z"}"#,
        r#"{"log":{"msg":"text"},"time":1124013600,"other":[[{"x":7}],"y"],"level":"info"}"#,
        "no entry",
    ];
    let mut open = OpenMessages::default();
    let mut read =
        |line: &str, format: &LogFormat| matches!(format.read(line, &mut open), Entry::Message(..));
    for format in formats {
        for line in lines {
            read(line, &format);
            let region = Region::new(ALLOCATOR);
            read(line, &format);
            let change = region.change();
            // serde_json keeps the brackets that are open, and what is wrong with a line, in memory of its own.
            let expected = if line.contains("[[") || line == "no entry" { 1 } else { 0 };
            assert!(change.allocations <= expected, "{line}: {change:?}");
        }
    }
}
