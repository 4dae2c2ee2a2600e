//! Lives a life with upstream's classes, in a Python process. `PYTHONPATH` may name another release than the installed
//! one.
//!
//! Skipped where fail2ban is not installed, unless `F2B_CI` is set.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use f2b_types::Id;
use serde_json::{Value, json};

use crate::life::{Happening, Life};
use crate::world::BEGIN;

const PYTHON: &str = "/usr/bin/python3";

/// Takes a life in each line and answers with the decisions of each of its moments.
const DRIVER: &str = include_str!("upstream.py");

pub(crate) struct Upstream {
    process: Child,
    lives: ChildStdin,
    decisions: BufReader<ChildStdout>,
}

impl Upstream {
    /// Nothing where fail2ban is not installed.
    pub(crate) fn start() -> Option<Self> {
        let python = |program: &str| {
            let mut python = Command::new(PYTHON);
            python.args(["-W", "ignore", "-c", program]).env("TZ", "UTC");
            python
        };
        let probe = python("import fail2ban.server.jail").stderr(Stdio::null()).status();
        if !probe.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("F2B_CI").is_none(), "fail2ban is not installed");
            let _ =
                writeln!(std::io::stderr(), "skipped: the comparison with upstream's classes needs fail2ban");
            return None;
        }
        let mut process = python(DRIVER)
            .arg(BEGIN.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let lives = process.stdin.take().expect("a pipe");
        let decisions = BufReader::new(process.stdout.take().expect("a pipe"));
        Some(Self { process, lives, decisions })
    }

    /// Begins to live a life.
    pub(crate) fn begin(&mut self, life: &Life) {
        writeln!(self.lives, "{}", to_json(life)).expect("the driver listens");
    }

    /// What was decided in each moment of the life that was begun.
    pub(crate) fn decisions(&mut self) -> Vec<Vec<String>> {
        let mut line = String::new();
        self.decisions.read_line(&mut line).expect("the driver answers");
        serde_json::from_str(&line).expect("lists of texts")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn to_json(life: &Life) -> Value {
    // The jail draws a number for each longer ban, from the start again after a restart.
    let mut rng = fastrand::Rng::with_seed(life.seed);
    let random: Vec<f64> = life.moments.iter().flat_map(|_| [rng.f64(), rng.f64(), rng.f64()]).collect();
    let moments: Vec<Value> =
        life.moments.iter().map(|moment| json!([moment.seconds, what(&moment.what)])).collect();
    let elsewhere: Vec<Value> =
        life.elsewhere.iter().map(|(id, ago, count)| json!([id.to_string(), ago, count])).collect();
    json!({
        "bantime": life.ban_time,
        "findtime": life.find_time,
        "maxretry": life.max_retry,
        "maxmatches": life.max_matches,
        "extra": life.extra,
        "random": random,
        "elsewhere": elsewhere,
        "moments": moments,
    })
}

fn what(what: &Happening) -> Value {
    let texts = |ids: &[Id]| ids.iter().map(Id::to_string).collect::<Vec<_>>();
    match what {
        Happening::Found { id, later } => json!(["found", id.to_string(), later]),
        Happening::Attempt { id, lines } => json!(["attempt", id.to_string(), lines]),
        Happening::Ban { ids } => json!(["ban_ip", texts(ids)]),
        Happening::Unban { ids } => json!(["unban", ids.as_deref().map(texts)]),
        Happening::Restart { seconds } => json!(["restart", seconds]),
        Happening::Quiet => json!(["quiet"]),
    }
}
