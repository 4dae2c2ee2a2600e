//! Patterns made up by a grammar of Python's, each with a text that it may well match, for the differential test.

use crate::oracle::Random;

/// Ordinary characters of patterns and of texts.
const LETTERS: &[&str] = &[
    "a", "a", "b", "b", "c", "A", "B", "k", "s", "i", "I", "0", "1", "7", "_", " ", "-", ":", ".", "\n", "/",
    "<", ">", "&", "~", "|", "[", "]", "{", "}", ",", "#", "\"", "'", "^", "$", "\t", "(", ")", "\\", "*",
    "+", "=",
];

/// Characters with a case, a category or a width of their own.
const STRANGE: &[&str] = &[
    "é", "É", "ß", "ẞ", "ſ", "K", "İ", "ı", "Σ", "ς", "σ", "µ", "μ", "ǅ", "ǆ", "Å", "å", "ͅ", "ι", "ι", "²",
    "½", "٣", "四", "\u{301}", "\u{85}", "\u{a0}", "\u{1c}", "\u{2028}", "\u{200d}", "😀", "𐐀", "𐐨", "ﬅ",
    "ﬆ", "\0", "\u{7f}", "Ⅷ", "ⅷ", "‿",
];

const NAMES: &[&str] = &["n", "user", "é", "_x1"];

/// What stands in brackets and may be read in another way elsewhere.
const CLASS_PIECES: &[&str] = &[
    "a",
    "b",
    "A",
    "k",
    "s",
    "i",
    "0",
    "1",
    "7",
    ".",
    "-",
    ":",
    " ",
    "é",
    "ß",
    "İ",
    "😀",
    "a-c",
    "A-C",
    "0-9",
    "a-z",
    "A-Z",
    "à-ü",
    "!-/",
    r"\x00-\x1f",
    r"\d",
    r"\w",
    r"\s",
    r"\D",
    r"\W",
    r"\S",
    "[",
    "[:alpha:]",
    "[:^x:]",
    "&&",
    "--",
    "~~",
    "||",
    r"\]",
    r"\-",
    r"\\",
    r"\n",
    r"\t",
    r"\b",
    r"\0",
    r"\101",
    r"\x41",
    r"\u00e9",
    r"\.",
    r"\/",
    "^",
    "$",
    "(",
    ")",
    "|",
    "*",
    "+",
    "?",
    "{",
    "}",
    "\"",
    "#",
    ",",
    "~",
    "&",
    r"\^",
    r"\[",
    "&&[",
    "--[",
    "_",
];

/// What Python refuses, alone or where it will end up.
const WRONG: &[&str] = &[
    r"\q",
    r"\8",
    r"\x4",
    r"\u12",
    r"\U00110000",
    r"\400",
    "[z-a]",
    r"[\d-z]",
    "[a",
    "(?z)",
    "(?P<1>a)",
    "(?P<n-m>a)",
    "(?P>n)",
    "(?P=zz)",
    "(?<n>a)",
    "(?i",
    "(?-i)",
    "(?i-i:a)",
    "(?L:a)",
    "(?au:a)",
    "(?a-u:a)",
    "(?",
    "(?P<n",
    "(?P<>a)",
    "(",
    ")",
    "*",
    "+",
    "?",
    "{2}",
    "{3,1}",
    "a**",
    "a+*",
    "a{2}{2}",
    "(?<=a*)b",
    "(?<!a|bc)d",
    "(?(99)a|b)",
    "(?(zz)a)",
    "(?(0)a)",
    "(?(1)a|b|c)",
    r"\99",
    "(?#",
    r"\N{NO SUCH NAME}",
    r"\N",
    r"\N{",
    r"[\8]",
    r"[\q]",
    r"[a-\d]",
    "(?:",
    "(?=",
    "(?<",
    "(?s-:a)",
    "(?-:a)",
    "(?i-s",
    "(?P",
    "(?Px)",
    "a{99999999999}",
    "\\",
    "(?x-u:a)",
    r"(?<=(a))b\1",
    "(?(1",
    "(?()a)",
    "(?(-1)a)",
    "(?(+)a)",
    "(?P<n>(?P=n))",
    "^*",
    r"\b*",
    "$?",
    "(?i)",
];

/// A pattern and a text.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) pattern: String,
    pub(crate) text: String,
}

pub(crate) fn generate(random: &mut Random) -> Generated {
    let mut grammar = Grammar { random, groups: 0, open: 0, names: Vec::new(), verbose: false };
    let mut out = Generated { pattern: String::new(), text: String::new() };
    if grammar.random.once_in(6) {
        let flags = grammar.random.pick(&["i", "s", "m", "x", "a", "u", "im", "isx", "ai", "ms"]);
        grammar.verbose = flags.contains('x');
        out.pattern = format!("(?{flags})");
    }
    let count = 1 + grammar.random.below(3);
    grammar.alternatives(count, 3, &mut out);
    if grammar.random.once_in(25) {
        let wrong = grammar.random.pick(WRONG);
        let mut at = grammar.random.below(out.pattern.len() + 1);
        while !out.pattern.is_char_boundary(at) {
            at -= 1;
        }
        out.pattern.insert_str(at, wrong);
    }
    out
}

/// `text` with something cut, put in or changed.
pub(crate) fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..1 + random.below(3) {
        let at = random.below(chars.len() + 1);
        match random.below(5) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 if at < chars.len() => {
                let c = chars[at].clone();
                let upper = c.to_uppercase();
                chars[at] = if upper == c { c.to_lowercase() } else { upper };
            }
            2 => chars.push("\n".into()),
            3 => chars.insert(at, random.pick(STRANGE).into()),
            _ => chars.insert(at, random.pick(LETTERS).into()),
        }
    }
    chars.concat()
}

struct Grammar<'r> {
    random: &'r mut Random,
    /// Groups opened so far.
    groups: usize,
    /// Groups that are open.
    open: usize,
    names: Vec<&'static str>,
    verbose: bool,
}

impl Grammar<'_> {
    fn alternatives(&mut self, count: usize, depth: usize, out: &mut Generated) {
        let chosen = self.random.below(count);
        let before = out.text.clone();
        let mut text = before.clone();
        for branch in 0..count {
            if branch > 0 {
                out.pattern.push('|');
            }
            out.text = before.clone();
            for _ in 0..self.random.below(4) {
                self.piece(depth, out);
            }
            if branch == chosen {
                text = out.text.clone();
            }
        }
        out.text = text;
    }

    fn piece(&mut self, depth: usize, out: &mut Generated) {
        if self.verbose && self.random.once_in(4) {
            out.pattern.push_str(self.random.pick(&[" ", "\n", "\t", "# c\n", "\\ ", "\\#"]));
        }
        let start = out.text.len();
        match self.random.below(if depth == 0 { 6 } else { 11 }) {
            0..=2 => self.character(out),
            3 | 4 => self.class(out),
            5 => return self.place(out),
            6 if self.groups > 0 => self.reference(depth, out),
            _ => self.group(depth, out),
        }
        if self.random.below(5) < 2 {
            self.repetition(start, out);
        }
    }

    fn repetition(&mut self, start: usize, out: &mut Generated) {
        let (sign, times) = self.random.pick(&[
            ("*", 2),
            ("*", 0),
            ("+", 1),
            ("+", 3),
            ("?", 1),
            ("?", 0),
            ("{2}", 2),
            ("{1,3}", 2),
            ("{,2}", 1),
            ("{1,}", 2),
            ("{0}", 0),
            ("{0,1}", 1),
        ]);
        out.pattern.push_str(sign);
        out.pattern.push_str(self.random.pick(&["", "", "", "?", "?", "+"]));
        let unit = out.text.split_off(start);
        out.text.push_str(&unit.repeat(times));
    }

    fn character(&mut self, out: &mut Generated) {
        let c = if self.random.once_in(4) { self.random.pick(STRANGE) } else { self.random.pick(LETTERS) };
        out.text.push_str(c);
        let first = c.chars().next().unwrap();
        let code = u32::from(first);
        match self.random.below(14) {
            0 if code < 0x100 => out.pattern.push_str(&format!("\\x{code:02x}")),
            1 if code < 0x1_0000 => out.pattern.push_str(&format!("\\u{code:04x}")),
            2 => out.pattern.push_str(&format!("\\U{code:08x}")),
            3 if code < 0x100 => out.pattern.push_str(&format!("\\{code:03o}")),
            4 => out.pattern.push('.'),
            5 => out.pattern.push_str(self.random.pick(&[r"\w", r"\W", r"\s", r"\S", r"\d", r"\D"])),
            6 if matches!(c, "{" | "}" | "]" | "-" | "&" | "~" | "#" | " ") => out.pattern.push_str(c),
            7 => {
                let (text, escape) = self.random.pick(&[
                    ("\u{7}", r"\a"),
                    ("\u{c}", r"\f"),
                    ("\u{b}", r"\v"),
                    ("\r", r"\r"),
                    ("\t", r"\t"),
                    ("\n", r"\n"),
                    ("\0", r"\0"),
                    ("<", r"\<"),
                    (">", r"\>"),
                    ("`", r"\`"),
                    ("'", r"\'"),
                    ("é", r"\é"),
                    ("a", r"\N{LATIN SMALL LETTER A}"),
                ]);
                out.text.truncate(out.text.len() - c.len());
                out.text.push_str(text);
                out.pattern.push_str(escape);
            }
            _ if "\\.^$*+?{[()|".contains(c) || (self.verbose && "# \n\t".contains(c)) => {
                out.pattern.push('\\');
                out.pattern.push_str(c);
            }
            _ => out.pattern.push_str(c),
        }
    }

    fn class(&mut self, out: &mut Generated) {
        out.pattern.push('[');
        if self.random.once_in(4) {
            out.pattern.push('^');
        }
        if self.random.once_in(10) {
            out.pattern.push(']');
        }
        let mut text = self.random.pick(LETTERS);
        for _ in 0..1 + self.random.below(4) {
            let piece = self.random.pick(CLASS_PIECES);
            out.pattern.push_str(piece);
            if !piece.starts_with('\\') && self.random.once_in(2) {
                text = piece.get(..1).unwrap_or(text);
            }
        }
        if self.random.once_in(8) {
            out.pattern.push('-');
        }
        out.pattern.push(']');
        out.text.push_str(text);
    }

    fn place(&mut self, out: &mut Generated) {
        let place = self.random.pick(&["^", "$", r"\b", r"\b", r"\B", r"\A", r"\Z", "(?#c)", "(?:)", "()"]);
        if place == "()" {
            self.groups += 1;
        }
        out.pattern.push_str(place);
        if place == "$" && self.random.once_in(3) {
            out.text.push('\n');
        }
    }

    fn reference(&mut self, depth: usize, out: &mut Generated) {
        if self.random.once_in(2) {
            let group = 1 + self.random.below(self.groups);
            let by_name = !self.names.is_empty() && self.random.once_in(3);
            match by_name {
                true => out.pattern.push_str(&format!("(?({})", self.random.pick(&self.names))),
                false => out.pattern.push_str(&format!("(?({group})")),
            }
            let mut no = Generated { pattern: String::new(), text: out.text.clone() };
            for _ in 0..self.random.below(3) {
                self.piece(depth.saturating_sub(1), out);
            }
            if self.random.below(3) > 0 {
                for _ in 0..self.random.below(3) {
                    self.piece(depth.saturating_sub(1), &mut no);
                }
                out.pattern.push('|');
                out.pattern.push_str(&no.pattern);
                if self.random.once_in(2) {
                    out.text = no.text;
                }
            }
            out.pattern.push(')');
            return;
        }
        match self.names.is_empty() || self.random.once_in(2) {
            false => out.pattern.push_str(&format!("(?P={})", self.random.pick(&self.names))),
            true => out.pattern.push_str(&format!("\\{}", 1 + self.random.below(self.groups))),
        }
        if let Some(last) = out.text.chars().next_back() {
            out.text.push(last);
        }
    }

    fn group(&mut self, depth: usize, out: &mut Generated) {
        let before = out.text.clone();
        let verbose = self.verbose;
        let kind = self.random.below(16);
        match kind {
            0..=3 => {
                self.groups += 1;
                out.pattern.push('(');
            }
            4 | 5 => {
                let name = NAMES[self.names.len() % NAMES.len()];
                if self.names.len() < NAMES.len() {
                    self.names.push(name);
                }
                self.groups += 1;
                out.pattern.push_str(&format!("(?P<{name}>"));
            }
            6 => out.pattern.push_str("(?>"),
            7 => out.pattern.push_str("(?="),
            8 => out.pattern.push_str("(?!"),
            9 => out.pattern.push_str("(?<="),
            10 => out.pattern.push_str("(?<!"),
            11 | 12 => {
                let flags = self
                    .random
                    .pick(&["i", "s", "m", "x", "a", "u", "-i", "-s", "i-s", "sm-i", "-x", "ai", "-m"]);
                match flags.split_once('-') {
                    Some((_, off)) if off.contains('x') => self.verbose = false,
                    _ => self.verbose |= flags.contains('x'),
                }
                out.pattern.push_str(&format!("(?{flags}:"));
            }
            _ => out.pattern.push_str("(?:"),
        }
        self.open += 1;
        let count = 1 + self.random.below(3);
        match kind {
            // Behind something, the same width is needed.
            9 | 10 if self.random.below(8) > 0 => {
                for _ in 0..1 + self.random.below(2) {
                    if self.random.once_in(2) { self.character(out) } else { self.class(out) }
                }
            }
            _ => self.alternatives(count, depth - 1, out),
        }
        self.open -= 1;
        out.pattern.push(')');
        self.verbose = verbose;
        // What is looked for ahead has to come; what must not be there is left out.
        if matches!(kind, 8 | 10) || (kind == 7 && self.random.once_in(2)) {
            out.text = before;
        }
    }
}
