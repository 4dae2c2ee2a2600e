//! An SMTP server on the loopback interface that keeps what it gets, or refuses it as a test wants.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// How the server treats its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Kind,
    /// Refuses to talk.
    Busy,
    /// Refuses everybody who sends.
    NoSender,
    /// Refuses every recipient whose address begins so.
    NoRecipient(&'static str),
    /// Refuses the mail itself.
    NoData,
    /// Refuses every password.
    NoLogin,
    /// Hangs up after the greeting.
    Rude,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// What came with `AUTH PLAIN`.
    pub login: Option<String>,
    pub data: String,
}

pub struct Mailbox {
    address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mailbox {
    pub fn new(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (letters, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, over) = (Arc::clone(&letters), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let kept = Arc::clone(&kept);
                // Clients may connect twice at a time, and hang up as they like.
                thread::spawn(move || drop(serve(&stream, mood, &kept)));
            }
        });
        Self { address, letters, ends, thread: Some(thread) }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What has come so far.
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().expect("no server thread has failed").clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, mood: Mood, kept: &Mutex<Vec<Letter>>) -> std::io::Result<()> {
    let mut out = stream;
    let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes());
    say(if mood == Mood::Busy { "554 5.3.2 go away" } else { "220 test ESMTP" })?;
    let mut letter = Letter { from: String::new(), to: Vec::new(), login: None, data: String::new() };
    let mut input = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 || mood == Mood::Rude {
            return Ok(());
        }
        let line = line.trim_end();
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match word.as_str() {
            "EHLO" => say("250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")?,
            "AUTH" if mood == Mood::NoLogin => say("535 5.7.8 wrong password")?,
            "AUTH" => {
                letter.login = line.split(' ').nth(2).map(str::to_owned);
                say("235 ok")?;
            }
            "MAIL" if mood == Mood::NoSender => say("550 5.7.1 not from you")?,
            "MAIL" => {
                letter.from = address(line);
                say("250 ok")?;
            }
            "RCPT" => match mood {
                Mood::NoRecipient(start) if address(line).starts_with(start) => {
                    say("550 5.1.1 it's nobody we know")?;
                }
                _ => {
                    letter.to.push(address(line));
                    say("250 ok")?;
                }
            },
            "DATA" => {
                say("354 go on")?;
                letter.data = data(&mut input)?;
                if mood == Mood::NoData {
                    say("552 5.3.4 too large")?;
                } else {
                    kept.lock().expect("no server thread has failed").push(letter.clone());
                    say("250 taken")?;
                }
            }
            "RSET" => say("250 ok")?,
            "QUIT" => return say("221 bye"),
            _ => say("502 what?")?,
        }
    }
}

/// `root` of `RCPT TO:<root> SIZE=1`.
fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().into()
}

/// The lines up to the dot, without the dots that protect them.
fn data(input: &mut impl BufRead) -> std::io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 || line == ".\r\n" {
            return Ok(data);
        }
        data += line.strip_prefix('.').unwrap_or(&line);
    }
}
