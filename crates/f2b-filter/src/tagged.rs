//! Finds a match and its groups in one pass over a text, with several patterns at once.
//!
//! An engine that backtracks, or that follows all threads of an automaton, pays for each byte and each thread. Here the
//! threads are followed once: what they come to behind a byte is a state of a deterministic automaton, which is made
//! when it first comes up and kept. The places of groups are what a state can't know, so its threads say in which
//! register each of theirs is, and a step from one state to the next notes the place at hand in one register at most
//! (V. Laurikari, "NFAs with tagged transitions", 2000, without copies of registers: one that no thread needs any more
//! is free, and the lowest free one is taken, so that loops come back to the states they have been in).
//!
//! Most states are literals in a pattern, which one byte leads on from: the step by it is kept beside those of other
//! states, since a table of all steps is too large for the cache nearest to the processor.
//!
//! Where a state is left by a few bytes only, as in the `.+` at the end of a pattern, the next of them is looked for
//! instead of taking each step.
//!
//! Texts are UTF-8, and steps are taken over bytes. Memory is bounded: where states have come up too often again, there is no answer, and the caller has
//! to ask another engine.

mod threads;

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::pool::Pool;

use self::threads::{AT_START, KINDS, Threader, Threads};
use crate::dialect::Look;

/// Bytes that the patterns of an automaton may take.
const MAX_NFA: usize = 4 << 20;

/// Bytes of states and steps, after which they are forgotten.
const MAX_CACHE: usize = 4 << 20;

/// How often it pays to make the states again.
const MAX_CLEARED: usize = 8;

/// Bytes that leave a state, if they are looked for.
const MAX_WAYS_OUT: usize = 3;

/// A pattern, and the groups whose places somebody asks for; 0 is the whole match.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) groups: Vec<usize>,
    /// What has to follow or must not, where empty groups stand in the text.
    pub(crate) looks: Vec<Look>,
}

/// A text, or what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'t> {
    bytes: &'t [u8],
    goes_on: bool,
}

impl<'t> Text<'t> {
    /// All of a text.
    pub(crate) fn whole(text: &'t str) -> Self {
        Self { bytes: text.as_bytes(), goes_on: false }
    }

    /// The characters of ASCII that a text with others begins with. There is an answer if what follows can't change it.
    pub(crate) fn ascii_beginning(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
        Self { bytes: bytes.get(..end).unwrap_or(bytes), goes_on: true }
    }
}

/// Where a group begins and ends, in bytes.
pub(crate) type Place = [u32; 2];

/// Of a group that took no part.
pub(crate) const NO_PLACE: Place = [u32::MAX; 2];

/// Bytes of the longest text.
pub(crate) const MAX_TEXT: usize = u32::MAX as usize - 1;

/// The places of the groups that were asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'c> {
    /// Where each begins and ends.
    slots: &'c [u8],
    registers: &'c [u32; 256],
}

impl Places<'_> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Place> {
        let place = |register: u8| self.registers[usize::from(register)];
        self.slots.chunks_exact(2).map(move |slots| match slots {
            [start, end] if ![*start, *end].contains(&threads::NOWHERE) => [place(*start), place(*end)],
            _ => NO_PLACE,
        })
    }
}

/// Several patterns, and what came up of their automaton.
#[derive(Debug)]
pub(crate) struct Tagged {
    threader: Threader,
    /// The class of each byte, and that of the end.
    classes: [u8; 256],
    end: usize,
    /// Steps of a state, as a power of two.
    stride: u32,
    /// Texts have no byte above this one.
    highest: u8,
    caches: Pool<Box<Cache>, fn() -> Box<Cache>>,
}

/// The states that came up, and where they lead.
#[derive(Debug)]
struct Cache {
    states: Vec<State>,
    numbers: HashMap<Arc<Threads>, usize>,
    /// By state and class of the next byte.
    steps: Vec<Step>,
    /// By state the step that was found out last.
    usual: Vec<Usual>,
    /// By the first pattern and the kind of the byte in front.
    starts: Vec<Option<usize>>,
    bytes: usize,
    cleared: usize,
    /// Places in the text.
    registers: [u32; 256],
}

#[derive(Debug)]
struct State {
    threads: Arc<Threads>,
    /// No byte changes anything any more.
    is_final: bool,
    ways_out: WaysOut,
}

/// The bytes that change the state.
#[derive(Debug)]
enum WaysOut {
    Unknown,
    Many,
    Few(Vec<u8>),
}

/// A step by bytes of that class.
#[derive(Debug, Clone, Copy)]
struct Usual {
    class: u16,
    step: Step,
}

impl Usual {
    const NONE: Self = Self { class: u16::MAX, step: Step::UNKNOWN };
}

/// Where to go, and the register for the place of the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step(u32);

impl Step {
    const UNKNOWN: Self = Self(u32::MAX);
    /// There is more to do than to note the place and to go to the next state, or nobody knows where to go.
    const STOP: u32 = 1 << 23;

    /// The state stands in the bits below [`Self::STOP`], which a full cache leaves enough of.
    fn new(state: usize, register: u8) -> Self {
        const { assert!(MAX_CACHE / size_of::<Step>() < Step::STOP as usize) };
        Self(u32::from(register) << 24 | state as u32)
    }

    fn stopping(self) -> Self {
        Self(self.0 | Self::STOP)
    }

    fn state(self) -> usize {
        (self.0 & (Self::STOP - 1)) as usize
    }

    fn register(self) -> usize {
        (self.0 >> 24) as usize
    }

    fn stops(self) -> bool {
        self.0 & Self::STOP != 0
    }
}

/// There is no answer within the bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unknown;

impl Tagged {
    /// An automaton for `parts` and texts that may be `ascii` only; `None` if it would be too big.
    pub(crate) fn new(parts: impl Iterator<Item = Part>, ascii: bool) -> Option<Self> {
        let parts: Vec<Part> = parts.collect();
        let looks = parts.iter().flat_map(|part| &part.looks).map(|look| &look.text);
        let texts: Vec<&String> = parts.iter().map(|part| &part.text).chain(looks).collect();
        let config = thompson::Config::new().nfa_size_limit(Some(MAX_NFA));
        let nfa = NFA::compiler().configure(config).build_many(&texts).ok()?;
        let classes = nfa.byte_classes();
        Some(Self {
            classes: std::array::from_fn(|byte| classes.get(byte as u8)),
            end: classes.eoi().as_usize(),
            stride: classes.alphabet_len().next_power_of_two().ilog2(),
            highest: if ascii { 0x7f } else { u8::MAX },
            caches: Pool::new(|| Box::new(Cache::new())),
            threader: Threader::new(nfa, &parts)?,
        })
    }

    /// The first of the patterns from `first` on that matches in `text`, which is no longer than [`MAX_TEXT`], at or
    /// behind the byte `start`, and what `read` makes of it and the places of its groups.
    pub(crate) fn search<R>(
        &self,
        text: Text<'_>,
        start: usize,
        first: usize,
        read: impl FnOnce(usize, Places<'_>) -> R,
    ) -> Result<Option<R>, Unknown> {
        let start = start.min(text.bytes.len());
        let mut cache = self.caches.get();
        if cache.cleared > MAX_CLEARED {
            return Err(Unknown);
        }
        let state = self.walk(&mut cache, text, start, first).ok_or(Unknown)?;
        let threads = &cache.states.get(state).ok_or(Unknown)?.threads;
        let matched = self.threader.matched(threads);
        Ok(matched.map(|(pattern, slots)| read(pattern, Places { slots, registers: &cache.registers })))
    }

    /// The state at the end of the text, unless it goes on there, or where nothing can change any more.
    fn walk(&self, cache: &mut Cache, text: Text<'_>, start: usize, first: usize) -> Option<usize> {
        let Text { bytes: text, goes_on } = text;
        let mut state = self.start(cache, text, start, first)?;
        let mut at = start;
        loop {
            // Nearly all steps are taken here, where each instruction counts.
            let (steps, usual) = (cache.steps.as_slice(), cache.usual.as_slice());
            while let Some(byte) = text.get(at) {
                let class = self.classes[usize::from(*byte)];
                let step = match usual.get(state)? {
                    Usual { class: usual, step } if *usual == u16::from(class) => *step,
                    _ => *steps.get(self.place(state, usize::from(class)))?,
                };
                if step.stops() {
                    break;
                }
                cache.registers[step.register()] = at as u32;
                state = step.state();
                at += 1;
            }
            let class = match text.get(at) {
                Some(byte) => usize::from(self.classes[usize::from(*byte)]),
                None if goes_on => return None,
                None => self.end,
            };
            let mut step = *steps.get(self.place(state, class))?;
            if step == Step::UNKNOWN {
                step = self.step(cache, state, class, text, at)?;
            }
            cache.registers[step.register()] = at as u32;
            at += 1;
            let is_loop = step.state() == state;
            state = step.state();
            if at > text.len() {
                return Some(state);
            }
            if step.stops() {
                let known = cache.states.get(state)?;
                match known.is_final {
                    true => return Some(state),
                    false if is_loop => at = known.ways_out.next(text, at),
                    false => {}
                }
            }
        }
    }

    /// Where the step of a state by bytes of that class stands.
    fn place(&self, state: usize, class: usize) -> usize {
        (state << self.stride) + class
    }

    /// The state in which a search begins.
    fn start(&self, cache: &mut Cache, text: &[u8], start: usize, first: usize) -> Option<usize> {
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        let kind = before.map_or(AT_START, |byte| self.threader.kind(*byte));
        let place = first * KINDS + usize::from(kind);
        if let Some(Some(known)) = cache.starts.get(place) {
            return Some(*known);
        }
        let known = self.add(cache, self.threader.start(first, kind))?;
        cache.starts.resize(cache.starts.len().max(place + 1), None);
        *cache.starts.get_mut(place)? = Some(known);
        Some(known)
    }

    /// Finds out where `state` leads by the byte at `at` or the end, which is of that class.
    #[cold]
    #[inline(never)]
    fn step(&self, cache: &mut Cache, state: usize, class: usize, text: &[u8], at: usize) -> Option<Step> {
        let threads = Arc::clone(&cache.states.get(state)?.threads);
        let before = at.checked_sub(1).and_then(|before| text.get(before)).copied();
        let Some((ahead, register)) = self.threader.over(&threads, before, text.get(at).copied()) else {
            cache.cleared = MAX_CLEARED + 1;
            return None;
        };
        let next = self.add(cache, ahead)?;
        let mut step = Step::new(next, register);
        if cache.states.get(next)?.is_final {
            step = step.stopping();
        }
        let place = self.place(state, class);
        *cache.steps.get_mut(place)? = step;
        if step == Step::new(state, threads::NOWHERE) {
            self.find_ways_out(cache, state, before)?;
        }
        let step = *cache.steps.get(place)?;
        *cache.usual.get_mut(state)? = Usual { class: class as u16, step };
        Some(step)
    }

    /// Finds out by which bytes a state that leads to itself is left, and if they are few, has those that don't stop.
    fn find_ways_out(&self, cache: &mut Cache, state: usize, before: Option<u8>) -> Option<()> {
        let known = cache.states.get_mut(state)?;
        if !matches!(known.ways_out, WaysOut::Unknown) {
            return Some(());
        }
        let mut stays = vec![None; self.end];
        let mut ways_out = Vec::new();
        for byte in 0..=self.highest {
            let class = stays.get_mut(usize::from(self.classes[usize::from(byte)]))?;
            let stays = *class.get_or_insert_with(|| {
                let ahead = self.threader.over(&known.threads, before, Some(byte));
                ahead.is_some_and(|(ahead, register)| ahead == *known.threads && register == threads::NOWHERE)
            });
            if !stays {
                ways_out.push(byte);
            }
            if ways_out.len() > MAX_WAYS_OUT {
                known.ways_out = WaysOut::Many;
                return Some(());
            }
        }
        known.ways_out = WaysOut::Few(ways_out);
        for (class, stays) in stays.into_iter().enumerate() {
            if stays == Some(true) {
                let place = self.place(state, class);
                *cache.steps.get_mut(place)? = Step::new(state, threads::NOWHERE).stopping();
            }
        }
        Some(())
    }

    /// The number of a state. `None` if there is no room; then everything is forgotten.
    fn add(&self, cache: &mut Cache, threads: Threads) -> Option<usize> {
        if let Some(known) = cache.numbers.get(&threads) {
            return Some(*known);
        }
        let stride = 1 << self.stride;
        cache.bytes += stride * size_of::<Step>() + threads.bytes() + size_of::<State>() + size_of::<Usual>();
        if cache.bytes > MAX_CACHE {
            *cache = Cache { cleared: cache.cleared + 1, ..Cache::new() };
            return None;
        }
        let number = cache.states.len();
        cache.steps.resize(self.place(number + 1, 0), Step::UNKNOWN);
        cache.usual.push(Usual::NONE);
        let threads = Arc::new(threads);
        cache.states.push(State {
            is_final: self.threader.is_final(&threads),
            threads: Arc::clone(&threads),
            ways_out: WaysOut::Unknown,
        });
        cache.numbers.insert(threads, number);
        Some(number)
    }
}

impl WaysOut {
    /// The next place at or behind `at` where the state may change.
    fn next(&self, text: &[u8], at: usize) -> usize {
        let rest = text.get(at..).unwrap_or(&[]);
        let found = match self {
            Self::Few(bytes) => match bytes.as_slice() {
                [] => None,
                [a] => memchr::memchr(*a, rest),
                [a, b] => memchr::memchr2(*a, *b, rest),
                [a, b, c] => memchr::memchr3(*a, *b, *c, rest),
                _ => Some(0),
            },
            _ => Some(0),
        };
        found.map_or(text.len(), |place| at + place)
    }
}

impl Cache {
    fn new() -> Self {
        Self {
            states: Vec::new(),
            numbers: HashMap::new(),
            steps: Vec::new(),
            usual: Vec::new(),
            starts: Vec::new(),
            bytes: 0,
            cleared: 0,
            registers: [0; 256],
        }
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::Input;
    use regex_automata::meta::Regex;

    use super::*;
    use crate::dialect::generate::{generate, mutate};
    use crate::dialect::{Effort, Mode, parse, write};
    use crate::oracle::{Random, seed};

    /// Compares with the engine's own answer from every place on.
    #[track_caller]
    fn check(pattern: &str, text: &str) {
        let regex = Regex::new(pattern).unwrap();
        let groups = regex.captures_len();
        let part = Part { text: pattern.into(), groups: (0..groups).collect(), looks: Vec::new() };
        let tagged = Tagged::new(std::iter::once(part), text.is_ascii()).unwrap();
        for start in (0..=text.len()).filter(|start| text.is_char_boundary(*start)) {
            let mut slots = vec![None; 2 * groups];
            let found = regex.search_slots(&Input::new(text).range(start..), &mut slots).map(|_| {
                let places = slots.chunks_exact(2).map(|slots| match slots {
                    [Some(start), Some(end)] => [start.get() as u32, end.get() as u32],
                    _ => NO_PLACE,
                });
                places.collect()
            });
            let read = |_, places: Places<'_>| -> Vec<_> { places.iter().collect() };
            let Ok(answer) = tagged.search(Text::whole(text), start, 0, read) else { continue };
            assert_eq!(answer, found, "{pattern:?} in {text:?} from {start}");
        }
    }

    #[test]
    fn the_groups_are_the_engines() {
        check("^(.*) (a|b)( .*?)(c*)(?m:$)", "x a a b cc\n");
        check(r"\b(?:(a)|(ab))(c|bcd)(d*)", "-abcd");
        check(r"(a*)(a|b\b)(?:(x)|y)?\z", "aab");
        check("(a){2,3}?(a*?)(b|)", "aaaab");
        check("()", "x");
        check("(?:(a)|b)*", "abba");
        check(r"(\b|x)(a+)\b", "x a-aa");
        check("(?:(a*)*b?)*c", "aabac");
        check("(?:(a|b??)*)*c", "c");
        check("(a+)(b+)|(a)(bc)", "aabbc aab");
        check("(?m:^)(a*)(?m:$)", "aa\naaa\n\na");
        check("a[^x]", "aé");
        check("(é+|.)([^é]*)(é?)", "aééb€");
        check(r"(\w+) (\S+?)(\s|$)", "naïve ½€ x");
    }

    #[test]
    fn generated_patterns_agree_with_the_engine() {
        let mut random = Random::new(seed());
        let mut compared = [0, 0];
        while compared[0] < 1000 || compared[1] < 4000 {
            let generated = generate(&mut random);
            let Ok(parsed) = parse(&generated.pattern, false) else { continue };
            for text in [mutate(&mut random, &generated.text), generated.text] {
                let ascii = text.is_ascii();
                let written = write(&parsed, Mode { ascii, exact: !ascii && parsed.asks_for_words() });
                if written.effort == Effort::Linear {
                    check(&written.text, &text);
                    compared[usize::from(ascii)] += 1;
                }
            }
        }
    }
}
