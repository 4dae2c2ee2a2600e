//! Commands of the client, the texts that are pinned for them in `tests/snapshots/client.txt`, and the configuration of the
//! server that they are put to.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::support::{Place, binary};
use crate::upstream::Printed;

/// A command with what is pinned for it.
pub struct Pinned {
    /// Upstream knows it since 1.1 only.
    pub since_1_1: bool,
    /// A blank between words, `~` for a blank inside of one, `''` for an empty one, `ROOT` for the directory.
    pub command: String,
    /// What [`shown`] makes of the output.
    pub expected: String,
}

/// The text of the file with what is pinned.
pub const PINNED: &str = include_str!("../snapshots/client.txt");

/// The commands in their order: a line with a dollar for each, and below it standard output (`|`), standard error (`!`) and
/// the exit code (`=`), unless that is 0.
pub fn pinned() -> Vec<Pinned> {
    let mut since_1_1 = false;
    let mut all: Vec<Pinned> = Vec::new();
    for line in PINNED.lines() {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => {
                all.push(Pinned { since_1_1, command: command.into(), expected: String::new() })
            }
            (None, Some(last)) if is_output(line) => last.expected += &format!("{line}\n"),
            _ if line.starts_with('#') => since_1_1 = line == "# since 1.1",
            _ => {}
        }
    }
    all
}

/// What a client printed, without what differs from run to run.
pub fn shown(command: &str, printed: &Printed) -> String {
    let (mut out, err): (Vec<String>, Vec<String>) = comparable(command, printed);
    out.iter_mut().for_each(|line| line.insert_str(0, "| "));
    out.extend(err.into_iter().map(|line| format!("! {line}")));
    if printed.code != 0 {
        out.push(format!("= {}", printed.code));
    }
    out.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether a line of the file is pinned output, rather than a command or a heading.
pub fn is_output(line: &str) -> bool {
    ["| ", "! ", "= "].iter().any(|mark| line.starts_with(mark))
}

/// The lines of standard output and of standard error. Those of a list that has no order are sorted.
pub fn comparable(command: &str, printed: &Printed) -> (Vec<String>, Vec<String>) {
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(without_time).collect();
        if command.contains("ignoreip") {
            lines = lines.iter().flat_map(|line| line.split(", ")).map(bare_entry).collect();
            lines.sort();
        }
        lines
    };
    (lines(&printed.stdout), lines(&printed.stderr))
}

/// What our client prints of our server.
pub fn ask_ours(place: &Place, command: &str) -> Printed {
    let mut client = Command::new(binary("f2b-client"));
    client.env("TZ", "UTC").stdin(Stdio::null()).arg("-c").arg(place.path());
    // With all of them given, the client needs not read the configuration.
    client.arg("-s").arg(place.file("f2b.sock")).arg("-p").arg(place.file("f2b.pid"));
    client.args(["--loglevel", "INFO", "--syslogsocket", "auto", "--logtarget"]).arg(place.file("f2b.log"));
    let output = client.args(words_of(command, place)).output().expect("the client starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().map_or(-1, i64::from);
    normal(Printed { stdout: text(&output.stdout), stderr: text(&output.stderr), code }, place)
}

/// What both servers are configured with. The addresses that fail are in the logs.
pub fn configure(place: &Place, now: Timestamp) {
    let root = place.path().display().to_string();
    place.append("fail2ban.conf", "allowipv6 = auto\n");
    place.write(
        "jail.conf",
        &format!(
            "[DEFAULT]\nbackend = polling\nusedns = no\nignoreself = false\nbantime = 600\nfindtime = 10m\n\
             maxretry = 3\nfilter = f1\naction = note\n\
             [j1]\nenabled = true\nlogpath = {root}/j1.log\n\
             ignoreip = 203.0.113.0/24 192.0.2.200\nlogencoding = utf-8\n\
             [j2]\nenabled = true\nlogpath = {root}/j2.log\nbantime = 1h\n\
             action = note[name=second]\n         other\n\
             datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S\n"
        ),
    );
    place.write(
        "filter.d/f1.conf",
        "[Definition]\nfailregex = ^ ?fail from <HOST>$\n            ^ ?other <F-USER>\\S+</F-USER> <ADDR>\n\
         ignoreregex = ^fine\n",
    );
    place.write(
        "action.d/note.conf",
        &format!(
            "[Definition]\nactionstart = echo start >> {root}/<name>.out\nactionban = echo ban <ip> >> {root}/<name>.out\n\
             actionunban = echo unban <ip> >> {root}/<name>.out\n[Init]\nname = note\n"
        ),
    );
    place.write("action.d/other.conf", "[Definition]\nactionban = :\nactionflush = :\n[Init]\nport = 80\n");
    place.write("empty.log", "");
    place.write("fresh.log", "nothing\n");
    let line = |ago: i64, text: &str| {
        let time = Timestamp::from_second(now.as_second() - ago).expect("a time").to_zoned(TimeZone::UTC);
        format!("{} {text}\n", time.strftime("%Y-%m-%d %H:%M:%S"))
    };
    // Enough for a ban, one that is out of date, one that is not enough.
    let past: String = [(90, 1), (60, 1), (45, 1), (7200, 3), (40, 2)]
        .iter()
        .map(|(ago, n)| line(*ago, &format!("fail from 198.51.100.{n}")))
        .collect();
    place.write("j1.log", &past);
    place.write("j2.log", &line(30, "other root 2001:db8::1"));
}

/// The words of a command line: `ROOT` stands for the directory, `~` for a blank, and `''` for an empty word.
pub fn words_of(command: &str, place: &Place) -> Vec<String> {
    let root = place.path().display().to_string();
    let word = |word: &str| match word {
        "''" => String::new(),
        word => word.replace("ROOT", &root).replace("~", " "),
    };
    command.split(' ').map(word).collect()
}

pub fn normal(printed: Printed, place: &Place) -> Printed {
    let root = place.path().display().to_string();
    let text = |text: String| text.replace(&root, "ROOT");
    Printed { stdout: text(printed.stdout), stderr: text(printed.stderr), code: printed.code }
}

/// An entry of a list without the branch of the tree or the bracket that it hangs on.
pub fn bare_entry(text: &str) -> String {
    let text = text.trim_start_matches("list(").trim_start_matches("tuple(").trim_end_matches(')');
    text.trim_start_matches(['|', '`', '-', ' ']).to_owned()
}

/// A line of output or log without its times and the process that wrote it.
pub fn without_time(line: &str) -> String {
    let line = match (line.find(" fail2ban"), line.find('['), line.find("]: ")) {
        (Some(23), Some(process), Some(end)) => format!("TIME{}[PID{}", &line[23..process], &line[end..]),
        _ => line.into(),
    };
    let mut out = line.clone();
    for start in (0..line.len()).rev() {
        if time_at(&line, start).is_some() {
            out.replace_range(start..start + 19, "TIME");
        }
    }
    out
}

/// The times that a text tells, in seconds.
pub fn times(text: &str) -> Vec<i64> {
    (0..text.len()).filter_map(|start| time_at(text, start)).collect()
}

/// The time that a text tells at this place, as `2025-01-01 00:00:00`.
fn time_at(text: &str, start: usize) -> Option<i64> {
    let word = text.get(start..start + 19).filter(|word| word.as_bytes()[10] == b' ')?;
    let time: DateTime = word.parse().ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}
