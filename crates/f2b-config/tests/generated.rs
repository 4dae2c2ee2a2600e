//! Configuration trees that nobody wrote: pieces of every part of the language thrown together by a seeded generator, most
//! of them nearly right. The installed fail2ban has to come to the same commands, the same log and the same exit.
//!
//! `F2B_TREES=1000` tries more of them, `F2B_SEED=17` the one that failed; `PYTHONPATH` names another release.

mod support;

use std::env;
use std::fmt::Write as _;

use fastrand::Rng;
use support::{Original, Tree};

/// How many trees are tried unless `F2B_TREES` says otherwise.
const TREES: u64 = 250;

#[test]
fn generated_trees_read_as_the_original_reads_them() {
    let Some(mut original) = Original::start() else { return };
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("F2B_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("F2B_TREES").unwrap_or(TREES),
    };
    let (mut sound, mut failed) = (0, Vec::new());
    for seed in seeds.clone() {
        let tree = Generator { rng: Rng::with_seed(seed), old: original.is_old }.tree();
        match tree.compare_with(&mut original) {
            Ok(ok) => sound += u64::from(ok),
            Err(difference) => failed.push((seed, difference)),
        }
    }
    if let Some((seed, difference)) = failed.first() {
        let seeds: Vec<_> = failed.iter().map(|(seed, _)| seed).collect();
        panic!("seed {seed}: {difference}\nfailed in all: {seeds:?}");
    }
    // A generator of nothing but errors would show little.
    assert!(
        seeds.end - seeds.start == 1 || sound * 4 > seeds.end - seeds.start,
        "{sound} of {seeds:?} are sound"
    );
}

/// Writes the files of a tree.
struct Generator {
    rng: Rng,
    /// For a release before 1.1, which reads some things otherwise.
    old: bool,
}

/// The kinds of files, by what their options are about.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Main,
    Jail,
    Filter,
    Action,
}

const JAILS: &[&str] = &["f", "g", "j-1"];
const CUSTOM: &[&str] = &["x", "y", "z", "Port", "_p", "x.y", "lt", "mode"];

impl Generator {
    fn tree(mut self) -> Tree {
        let mut tree = Tree::empty();
        let mut add = |name: &str, text: String| {
            let tree_before = std::mem::replace(&mut tree, Tree::empty());
            tree = tree_before.file(name, text);
        };
        add("fail2ban.conf", self.main());
        add("jail.conf", self.jails(true));
        add("filter.d/f.conf", self.definition("f", Kind::Filter));
        add("action.d/a.conf", self.definition("a", Kind::Action));
        let more: &[(&str, Kind)] = &[
            ("fail2ban.local", Kind::Main),
            ("jail.local", Kind::Jail),
            ("jail.d/1.conf", Kind::Jail),
            ("jail.d/2.local", Kind::Jail),
            ("filter.d/f.local", Kind::Filter),
            ("filter.d/g.conf", Kind::Filter),
            ("filter.d/g.conf", Kind::Filter),
            ("filter.d/common.conf", Kind::Filter),
            ("filter.d/common.local", Kind::Filter),
            ("action.d/a.local", Kind::Action),
            ("action.d/b.conf", Kind::Action),
            ("action.d/b.conf", Kind::Action),
            ("action.d/common.conf", Kind::Action),
        ];
        if self.one_in(6) {
            add("jail.d/many.conf", self.many_jails());
        }
        for (name, kind) in more {
            if self.rng.u8(..3) == 0 {
                let text = match kind {
                    Kind::Main => self.main(),
                    Kind::Jail => self.jails(false),
                    kind => {
                        let stem = name.split(['/', '.']).nth(2).unwrap_or_default();
                        self.definition(stem, *kind)
                    }
                };
                add(name, text);
            }
        }
        tree
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(..choices.len())]
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn main(&mut self) -> String {
        let mut text = String::from("[Definition]\n");
        for _ in 0..self.rng.usize(..3) {
            let (key, value) = self.pick(&[
                ("loglevel", "INFO"),
                ("loglevel", "%(x)s"),
                ("x", "DEBUG"),
                ("dbpurgeage", "1d"),
                ("dbmaxmatches", "10"),
                ("dbmaxmatches", "ten"),
                ("allowipv6", "no"),
                ("logtarget", "STDOUT"),
                ("dbfile", "None"),
            ]);
            self.once(&mut text, key, value);
        }
        if self.one_in(4) {
            let _ = write!(text, "[Thread]\nstacksize = {}\n", self.pick(&["0", "32", "x"]));
        }
        text
    }

    /// Adds an option unless it is there, which would be an error for the whole file.
    fn once(&mut self, text: &mut String, key: &str, value: &str) {
        let lower = key.to_lowercase();
        let section = text.rfind("\n[").unwrap_or(0);
        let is_there = text[section..].lines().any(|line| {
            line.split(['=', ':']).next().is_some_and(|name| name.trim().to_lowercase() == lower)
        });
        if is_there && !self.one_in(1000) {
            return;
        }
        let sign = self.pick(&["=", " = ", ": ", "\t=\t", " =", " : "]);
        let indent = if self.one_in(150) { " " } else { "" };
        let end = if self.one_in(60) { "\r\n" } else { "\n" };
        let _ = write!(text, "{indent}{key}{sign}{value}{end}");
        if self.one_in(12) {
            text.push_str(self.pick(&["# remark\n", "; remark\n", "\n", "  # remark\n", "\n\n"]));
        }
    }

    fn jails(&mut self, first: bool) -> String {
        let mut text = String::new();
        if self.one_in(6) {
            text.push_str("[INCLUDES]\n");
            let what = self.pick(&["before", "after"]);
            let names = self.pick(&[
                "paths.conf",
                "jail.conf",
                "jail.local",
                "no.conf\n  jail.d/1.conf",
                "%(x)s.conf",
            ]);
            self.once(&mut text, what, names);
        }
        if first || self.one_in(2) {
            text.push_str("[DEFAULT]\n");
            if first {
                text.push_str("enabled = true\nfilter = f\naction = a\n");
                self.basics(&mut text);
            }
            self.options(&mut text, Kind::Jail, 4);
        }
        for name in JAILS {
            if self.one_in(2) || (first && *name == "f") {
                let _ = writeln!(text, "[{name}]{}", if self.one_in(30) { " ; remark" } else { "" });
                self.options(&mut text, Kind::Jail, 6);
            }
        }
        self.mutated(text)
    }

    /// Many, and alike enough to share what their action comes to.
    fn many_jails(&mut self) -> String {
        let mut text = String::new();
        for number in 0..self.rng.usize(20..60) {
            let _ = writeln!(text, "[m{number}]");
            for _ in 0..self.rng.usize(..3) {
                let line = self.pick(&[
                    "action = a[name=%(__name__)s, port=\"1,2\"]",
                    "action = a[name=%(__name__)s, port=\"1,2\"]",
                    "action = a[x=1, y=2]",
                    "action = a[x=<y>, y=3]",
                    "action = a[x=\"a<b>c\"]\n  a[actname=again, mode=5]",
                    "action = a[lt=1]\n  smtp.py[x=1]",
                    "port = ssh",
                    "maxretry = 3",
                    "maxretry = 3",
                    "usedns = no",
                    "x = 7",
                    "mode = 8",
                    "filter = f[mode=9]",
                    "filter = f[x=<y>]",
                    "logtype = short",
                    "enabled = false",
                ]);
                let key = line.split(' ').next().unwrap_or_default();
                let value = line.split_once(" = ").map_or("", |(_, value)| value);
                self.once(&mut text, key, value);
            }
            if self.one_in(400) {
                self.once(&mut text, "bantime", "%(m1/known/x)s");
            }
        }
        text
    }

    fn definition(&mut self, stem: &str, kind: Kind) -> String {
        let mut text = String::new();
        if self.one_in(3) && stem != "common" {
            text.push_str("[INCLUDES]\n");
            let what = self.pick(&["before", "after"]);
            let names = [
                "common.conf",
                "f.conf",
                "a.conf",
                "no.conf",
                "common.conf\n  b.conf",
                "../filter.d/common.conf",
            ];
            let mut names = self.pick(&names);
            // A `.local` that includes its own `.conf` is a circle that takes the original long to give up.
            if names.starts_with(stem) && !self.one_in(20) {
                names = "common.conf";
            }
            self.once(&mut text, what, names);
        }
        if !self.one_in(10) {
            text.push_str("[DEFAULT]\n");
            self.basics(&mut text);
            self.options(&mut text, kind, 1);
        }
        if !self.one_in(15) {
            text.push_str("[Definition]\n");
            self.options(&mut text, kind, 7);
        }
        if self.one_in(2) {
            text.push_str("[Init]\n");
            self.options(&mut text, kind, 4);
        }
        // Before 1.1 what a jail gives did not hold for conditional variants.
        if !self.old && self.one_in(4) {
            text.push_str("[Init?family=inet6]\n");
            self.options(&mut text, kind, 2);
        }
        self.mutated(text)
    }

    fn options(&mut self, text: &mut String, kind: Kind, most: usize) {
        for _ in 0..self.rng.usize(..=most) {
            let key = self.key(kind);
            let value = self.value_for(&key, kind);
            self.once(text, &key, &value);
        }
    }

    /// What nearly every reference finds.
    fn basics(&mut self, text: &mut String) {
        for name in CUSTOM {
            if !self.one_in(40) {
                let value = self.pick(&["1", "a", "b c", "10m", "é\n  more"]);
                self.once(text, name, value);
            }
        }
    }

    fn key(&mut self, kind: Kind) -> String {
        if self.one_in(3) {
            let name = self.pick(CUSTOM);
            return match self.rng.u8(..12) {
                0 if !self.old => format!("{name}?family=inet6"),
                1 => format!("known/{name}"),
                2 => name.to_uppercase(),
                _ => name.to_owned(),
            };
        }
        let names = match kind {
            Kind::Main => "loglevel",
            Kind::Jail => {
                "enabled backend maxretry maxmatches findtime bantime bantime.increment bantime.factor \
                 bantime.rndtime ignorecommand ignoreself ignoreip filter logpath action usedns prefregex \
                 ignoreregex failregex maxlines datepattern journalmatch logencoding banaction port mode logtype"
            }
            Kind::Filter => {
                "usedns prefregex ignoreregex failregex failregex failregex maxlines datepattern journalmatch \
                 logtype _daemon __prefix"
            }
            Kind::Action => {
                "actionstart actionstart_on_demand actionstop actionflush actionreload actioncheck actionrepair \
                 actionrepair_on_unban actionban actionban actionprolong actionunban norestored timeout name \
                 port protocol matches"
            }
        };
        let names: Vec<&str> = names.split(' ').collect();
        self.pick(&names).to_owned()
    }

    fn value_for(&mut self, key: &str, kind: Kind) -> String {
        if self.one_in(8) {
            return self.text(3);
        }
        match key {
            "enabled" => {
                self.pick(&["true", "1", "yes", "on", "false", "TRUE", "2", "%(default/enabled)s"]).to_owned()
            }
            "filter" => self.reference(&["f", "f", "f", "f", "f", "f", "f", "g", "no"]),
            "action" => {
                let mut value = self.reference(&["a", "a", "a", "a", "a", "a", "b", "smtp.py", "no"]);
                while self.one_in(3) {
                    let next = self.reference(&["a", "a", "a", "b", "x.py"]);
                    let _ =
                        write!(value, "{}{next}", self.pick(&["\n  ", " ", "\n\n\t", "\n  # remark\n  "]));
                }
                value
            }
            "maxretry" | "maxmatches" | "maxlines" => {
                self.pick(&["5", " 7 ", "1_0", "+3", "x", "5.0", "", "%(x)s"]).to_owned()
            }
            "backend" => {
                self.pick(&["auto", "polling", "systemd", "systemd[journalflags=1]", "%(x)s"]).to_owned()
            }
            "logpath" => self
                .pick(&[
                    "/nope",
                    "/etc/hostname",
                    "/etc/hostname tail",
                    "/etc/host*\n  /nope",
                    "/etc/[h]ostname head",
                ])
                .to_owned(),
            "ignoreip" => self.pick(&["127.0.0.1/8 ::1", "a,b , c", "", "192.0.2.1\n  192.0.2.2"]).to_owned(),
            "journalmatch" => self.pick(&["_COMM=sshd", "'A=b c' + _X=1", "A=1\n  B=2"]).to_owned(),
            _ if kind == Kind::Filter && key.ends_with("regex") => {
                let mut value = format!("^{}<HOST>{}$", self.text(1), self.text(1));
                while self.one_in(3) {
                    let _ = write!(value, "\n  ^{} <F-USER>{}</F-USER>", self.text(1), self.text(1));
                }
                value
            }
            _ => {
                let most = self.rng.usize(1..4);
                self.text(most)
            }
        }
    }

    /// `name[option=value]`
    fn reference(&mut self, names: &[&str]) -> String {
        let mut text = self.pick(names).to_owned();
        for _ in 0..self.rng.usize(..3) {
            if self.one_in(2) {
                continue;
            }
            text.push('[');
            for number in 0..self.rng.usize(..4) {
                if number > 0 {
                    text.push_str(self.pick(&[", ", ",", " , ", "][", "]\n    [", ",\n    "]));
                }
                let keys = [
                    "x",
                    "y",
                    "mode",
                    "name",
                    "actname",
                    "lt",
                    "port",
                    "x?family=inet6",
                    "failregex",
                    "timeout",
                ];
                let key = self.pick(&keys);
                let quoted =
                    ["\"a,b\"", "'c d'", "\"%(x)s\"", "\"<y>]\"", "\"a'b\"", "'x=\"1\"'", "\"a\nb\""];
                let bare = ["1", "<y>", "a b", "", "%(known/x)s", "%(__name__)s"];
                let value = if self.one_in(2) { self.pick(&quoted) } else { self.pick(&bare) };
                let key = if self.old && key.contains('?') { "x" } else { key };
                let _ = write!(text, "{key}={value}");
            }
            text.push_str(if self.one_in(150) { "" } else { "]" });
        }
        text
    }

    fn text(&mut self, most: usize) -> String {
        (0..self.rng.usize(1..=most)).map(|_| self.piece()).collect()
    }

    fn piece(&mut self) -> String {
        let name = self.pick(CUSTOM);
        let sections = ["f", "g", "Init", "Definition", "default", "KNOWN", "j-1"];
        match self.rng.u8(..34) {
            0..=5 => self.pick(&["word", "a b", "1", "10m", "é", "-I <ip>", "\\d+", "(?:x|y)*"]).into(),
            6..=9 => format!("<{name}>"),
            10..=12 => format!("%({name})s"),
            13 if self.one_in(2) => format!("%(known/{name})s"),
            14 => format!("<known/{name}>"),
            15 => format!("%(default/{name})s"),
            16 if self.one_in(4) => format!("%({}/{name})s", self.pick(&sections)),
            17 => format!("<{}/{name}>", self.pick(&sections)),
            18 => format!("<<{name}>_p>"),
            19 => "%%".into(),
            20 => self.pick(&[" ; remark", ";x", " #x", "#"]).into(),
            21 => self.pick(&["\n  ", "\n\n\t", "\n  # remark\n  "]).into(),
            22 => self.pick(&["[a]", "\n  [a]", "=", " : ", "\"", "'", "\\"]).into(),
            23 => "%(__name__)s".into(),
            24 => {
                self.pick(&["<ip>", "<F-ID>", "<matches>", "<br>", "<bantime>", "$x", "${x}", "$(x)"]).into()
            }
            25 if !self.old => {
                self.pick(&["%(fail2ban_version)s", "%(fail2ban_confpath)s", "<fail2ban_version>"]).into()
            }
            26 if self.one_in(20) => self.pick(&["%", "%x", "%(", "%()s", "%(x)d"]).into(),
            27 if self.one_in(15) => {
                self.pick(&["%(nope)s", "%(X)s", "%(PORT)s", "%(known/nope)s", "%(f/nope)s"]).into()
            }
            28 => "<lt>".into(),
            _ => name.into(),
        }
    }

    /// Now and then something is broken anywhere.
    fn mutated(&mut self, mut text: String) -> String {
        if !self.one_in(80) || text.is_empty() {
            return text;
        }
        let at = (0..=self.rng.usize(..text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        match self.rng.u8(..4) {
            0 => text.truncate(at),
            1 => text.insert(at, '\n'),
            2 => text.insert_str(
                at,
                self.pick(&["[", "]", "=", "%", "<", "\t", "\u{a0}", "\u{feff}", "\r", "\0"]),
            ),
            _ => {
                let line = text[at..].lines().next().unwrap_or_default().to_owned();
                text.insert_str(at, &format!("\n{line}\n"));
            }
        }
        text
    }
}
