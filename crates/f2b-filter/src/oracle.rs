//! What the differential tests share: random numbers, and Python to ask.
//!
//! `F2B_SEED` begins with other random numbers, `F2B_PYTHON` names another Python, and `PYTHONPATH` another fail2ban.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A generator of numbers that a seed determines (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 33) as usize % limit
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Where the random numbers begin.
pub(crate) fn seed() -> u64 {
    std::env::var("F2B_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// The bytes of a text in hexadecimal.
pub(crate) fn hex(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        write!(out, "{byte:02x}").unwrap();
    }
    out
}

/// The lines that a program prints; `None` where there is no Python.
pub(crate) fn python_prints(program: &str, input: String) -> Option<Vec<String>> {
    let path = std::env::var("F2B_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    if !Path::new(&path).exists() {
        assert!(std::env::var_os("F2B_CI").is_none(), "{path} is missing");
        let test = std::thread::current();
        let _ = writeln!(std::io::stderr(), "skipped: {} needs {path}", test.name().unwrap_or("a test"));
        return None;
    }
    let mut child = Command::new(path)
        .args(["-c", program])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect())
}

/// Python's `ascii()`.
pub(crate) fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in crate::pytext::repr(text).chars() {
        match u32::from(c) {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xff => write!(out, "\\x{code:02x}").unwrap(),
            code @ 0x100..=0xffff => write!(out, "\\u{code:04x}").unwrap(),
            code => write!(out, "\\U{code:08x}").unwrap(),
        }
    }
    out
}
