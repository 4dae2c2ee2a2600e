//! A line of a log.
#![no_main]

use f2b_filter::{Filter, LineContext};
use f2b_types::Time;
use jiff::tz::TimeZone;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut filter = Filter::new("fuzz", 2026);
    let added = filter.add_failregex(r"^.*\[Client <HOST>\] <F-USER>.*?</F-USER>(?: x)*$");
    assert!(added.is_ok());
    let context = LineContext { now: Time(1.7e9), zone: &TimeZone::UTC, in_operation: true, check_find_time: true };
    for line in bytes.split(|byte| *byte == b'\n') {
        let (line, _) = filter.log_encoding().decode_line(line);
        let _ = filter.process_line(&line, &context);
    }
});
