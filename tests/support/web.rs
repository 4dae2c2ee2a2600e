//! A web server on the loopback interface that answers whatever a test wants it to.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the server says to everybody who asks.
#[derive(Clone)]
pub enum Answer {
    /// A status and a body.
    Text(u16, String),
    /// So many bytes of a list that is one.
    Huge(usize),
    /// A letter every now and then, for ten seconds.
    Slow,
    /// Elsewhere; `/` is the server itself, again and again.
    Redirect(String),
    /// These bytes instead of HTTP.
    Raw(Vec<u8>),
}

pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Mutex<Answer>,
    hits: AtomicUsize,
    ends: AtomicBool,
}

impl Web {
    pub fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared =
            Shared { answer: Mutex::new(answer), hits: AtomicUsize::new(0), ends: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if serving.ends.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that hangs up early is what some tests are about.
                thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn text(text: &str) -> Self {
        Self::new(Answer::Text(200, text.into()))
    }

    pub fn url(&self) -> String {
        format!("http://{}/list", self.address)
    }

    pub fn set(&self, answer: Answer) {
        *self.shared.answer.lock().expect("no test has failed in here") = answer;
    }

    /// How many requests have come.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        for line in BufReader::new(stream.try_clone()?).lines() {
            if line?.is_empty() {
                break;
            }
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().expect("no test has failed in here").clone();
        match answer {
            Answer::Text(status, body) => {
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
            }
            Answer::Huge(bytes) => {
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                let lines = "192.0.2.1\n".repeat(1000);
                (0..bytes / lines.len()).try_for_each(|_| stream.write_all(lines.as_bytes()))
            }
            Answer::Slow => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
                (0..100).try_for_each(|_| {
                    thread::sleep(Duration::from_millis(100));
                    stream.write_all(b"\n")
                })
            }
            Answer::Redirect(target) => {
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            }
            Answer::Raw(bytes) => stream.write_all(&bytes),
        }
    }
}
