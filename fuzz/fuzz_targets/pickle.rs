//! A message of a client, in chunks and whole.
#![no_main]

use f2b_protocol::frame::{Frame, FrameReader};
use f2b_protocol::pickle::{self, Limits};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(value) = pickle::decode(data, &Limits::default()) {
        // What was read can be written, and reads the same.
        let again = pickle::decode(&pickle::encode(&value), &Limits::default());
        assert_eq!(again.map(|value| value.to_string()).ok(), Some(value.to_string()));
    }
    let mut reader = FrameReader::with_limit(1 << 16);
    for chunk in data.chunks(7) {
        reader.push(chunk);
        while let Ok(Some(Frame::Message(_) | Frame::Close)) = reader.next_frame() {}
    }
});
