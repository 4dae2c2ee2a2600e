//! A regular expression of a filter, and a date pattern.
#![no_main]

use f2b_filter::Filter;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut filter = Filter::new("fuzz", 2026);
    let _ = filter.add_failregex(text);
    let _ = filter.set_date_pattern(text);
});
