//! A configuration file, and the option language of its values.
#![no_main]

use f2b_config::{Document, extract_options, shell_words};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Document::parse("fuzz.conf", text);
    let _ = extract_options(text);
    let _ = shell_words(text);
    let _ = f2b_types::str2seconds(text);
});
