//! Finds a match and its groups in one pass over a text, with several patterns at once.
//!
//! An engine that backtracks, or that follows all threads of an automaton, pays for each byte and each thread. Here the
//! threads are followed once: what they come to behind a byte is a state of a deterministic automaton, which is made
//! when it first comes up and kept. The places of groups are what a state can't know, so its threads say in which
//! register each of theirs is, and a step from one state to the next notes the place at hand in one register at most
//! (V. Laurikari, "NFAs with tagged transitions", 2000, without copies of registers: one that no thread needs any more
//! is free, and the lowest free one is taken, so that loops come back to the states they have been in).
//!
//! Threads stand in the order in which backtracking would try them, and one that has matched ends those behind it. It
//! stays as the last one, until one before it matches too. The threads of each pattern stand before those of the next:
//! the first pattern that matches anywhere is the answer, not the one that matches nearest to the start.
//!
//! Texts are ASCII. Memory is bounded: where states have come up too often again, there is no answer, and the caller has
//! to ask another engine.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::PatternID;
use regex_automata::nfa::thompson::{self, NFA, State};
use regex_automata::util::look::Look;
use regex_automata::util::pool::Pool;
use regex_automata::util::primitives::StateID;

/// Bytes that an automaton may take, and the patterns of one that is worth it have.
const MAX_NFA: usize = 4 << 20;

/// Bytes of states and steps, after which they are forgotten.
const MAX_CACHE: usize = 4 << 20;

/// How often it pays to make the states again.
const MAX_CLEARED: usize = 8;

/// What threads call the register of a place that is not noted. Steps that note nothing write to it.
const NOWHERE: u8 = 0;

/// What threads call the register to be chosen for the place at hand.
const FRESH: u8 = u8::MAX;

/// Kinds of bytes in front of a place, as far as the patterns ask: none, a newline, a word, another one.
const KINDS: usize = 4;
const AT_START: u8 = 0;
const OTHER: u8 = 3;

/// A pattern, and the groups whose places somebody asks for; 0 is the whole match.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) groups: Vec<usize>,
}

/// Several patterns, and what came up of their automaton.
#[derive(Debug)]
pub(crate) struct Tagged {
    nfa: NFA,
    /// For each slot of the automaton the place among those of its pattern; `None` if nobody asks.
    tags: Vec<Option<usize>>,
    /// Slots of the pattern that has most.
    width: usize,
    /// Of each pattern its first state, and whether that is for the start of a text only.
    starts: Vec<(StateID, bool)>,
    /// The kind of each byte.
    kinds: [u8; 256],
    /// Whether a state asks for the byte in front.
    looks_back: Vec<bool>,
    stride: usize,
    caches: Pool<Box<Cache>, fn() -> Box<Cache>>,
}

/// The states that came up, and where they lead.
#[derive(Debug)]
struct Cache {
    states: Vec<Arc<Threads>>,
    numbers: HashMap<Arc<Threads>, usize>,
    /// By state and class of the next byte.
    steps: Vec<Step>,
    /// By the first pattern and the kind of the byte in front.
    starts: Vec<Option<usize>>,
    bytes: usize,
    cleared: usize,
    registers: [usize; 256],
}

/// Threads in the order in which backtracking would try them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Threads {
    /// The kind of the byte in front, if one of them asks for it.
    kind: u8,
    /// A state of the automaton, or that many more than it has for a pattern that may begin anywhere from here on.
    ids: Vec<u32>,
    /// Of each thread the registers of its slots.
    registers: Vec<u8>,
}

/// Where to go, and the register for the place of the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step(u32);

impl Step {
    const UNKNOWN: Self = Self(Self::STOP | u32::MAX);
    /// The state ahead knows its answer, or nobody knows where to go.
    const STOP: u32 = 1 << 31;

    fn new(state: usize, register: u8, stop: bool) -> Self {
        let stop = if stop { Self::STOP } else { 0 };
        Self(stop | (state as u32) << 8 | u32::from(register))
    }

    fn state(self) -> usize {
        (self.0 & !Self::STOP) as usize >> 8
    }

    fn register(self) -> u8 {
        self.0 as u8
    }

    fn stops(self) -> bool {
        self.0 & Self::STOP != 0
    }
}

/// There is no answer within the bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unknown;

impl Tagged {
    /// An automaton for `parts`; `None` if it would be too big.
    pub(crate) fn new(parts: impl Iterator<Item = Part>) -> Option<Self> {
        let (texts, wanted): (Vec<String>, Vec<Vec<usize>>) =
            parts.map(|part| (part.text, part.groups)).unzip();
        let config = thompson::Config::new().nfa_size_limit(Some(MAX_NFA));
        let nfa = NFA::compiler().configure(config).build_many(&texts).ok()?;
        let mut tags = vec![None; nfa.group_info().slot_len()];
        for (pattern, wanted) in nfa.patterns().zip(&wanted) {
            for (place, group) in wanted.iter().enumerate() {
                let slot = nfa.group_info().slot(pattern, *group)?;
                *tags.get_mut(slot)? = Some(2 * place);
                *tags.get_mut(slot + 1)? = Some(2 * place + 1);
            }
        }
        let starts = nfa.patterns().map(|pattern| {
            let start = nfa.start_pattern(pattern)?;
            Some((start, is_anchored(&nfa, start)))
        });
        Some(Self {
            starts: starts.collect::<Option<_>>()?,
            tags,
            width: wanted.iter().map(|wanted| 2 * wanted.len()).max()?,
            kinds: kinds(&nfa),
            looks_back: looks_back(&nfa),
            stride: nfa.byte_classes().alphabet_len(),
            caches: Pool::new(|| Box::new(Cache::new())),
            nfa,
        })
    }

    /// The first of the patterns from `first` on that matches in `text` at or behind the byte `start`. The places of its
    /// groups come in `slots`, two for each that was asked for.
    pub(crate) fn search(
        &self,
        text: &[u8],
        start: usize,
        first: usize,
        slots: &mut Vec<Option<usize>>,
    ) -> Result<Option<usize>, Unknown> {
        let mut cache = self.caches.get();
        if cache.cleared > MAX_CLEARED {
            return Err(Unknown);
        }
        let state = self.walk(&mut cache, text, start, first).ok_or(Unknown)?;
        let threads = cache.states.get(state / self.stride).ok_or(Unknown)?;
        let Some(pattern) = threads.ids.last().and_then(|id| self.matched(*id)) else { return Ok(None) };
        let last = threads.registers.len().saturating_sub(self.width);
        let registers = threads.registers.get(last..).unwrap_or(&[]);
        slots.clear();
        slots.extend(registers.iter().map(|register| match *register {
            NOWHERE => None,
            register => cache.registers.get(usize::from(register)).copied(),
        }));
        Ok(Some(pattern.as_usize()))
    }

    /// The state at the end of the text, or at the place where nothing can change any more.
    fn walk(&self, cache: &mut Cache, text: &[u8], start: usize, first: usize) -> Option<usize> {
        let classes = self.nfa.byte_classes();
        let mut state = self.start(cache, text, start, first)?;
        let mut at = start;
        loop {
            let Cache { steps, registers, .. } = &mut *cache;
            let stop = text.iter().enumerate().skip(at).find(|(place, byte)| {
                let step = steps.get(state + usize::from(classes.get(**byte)));
                let step = step.copied().unwrap_or(Step::UNKNOWN);
                if !step.stops() {
                    registers[usize::from(step.register())] = *place;
                    state = step.state();
                }
                step.stops()
            });
            let class = match stop {
                Some((_, byte)) => usize::from(classes.get(*byte)),
                None => classes.eoi().as_usize(),
            };
            at = stop.map_or(text.len(), |(place, _)| place);
            let mut step = *steps.get(state + class)?;
            if step == Step::UNKNOWN {
                step = self.step(cache, state, text, at)?;
                *cache.steps.get_mut(state + class)? = step;
            }
            cache.registers[usize::from(step.register())] = at;
            state = step.state();
            at += 1;
            if step.stops() {
                return Some(state);
            }
        }
    }

    /// The state in which a search begins.
    fn start(&self, cache: &mut Cache, text: &[u8], start: usize, first: usize) -> Option<usize> {
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        let kind = before.map_or(AT_START, |byte| self.kind(*byte));
        let place = first * KINDS + usize::from(kind);
        if let Some(Some(known)) = cache.starts.get(place) {
            return Some(*known);
        }
        let mut threads = Threads::default();
        for (pattern, (state, anchored)) in self.starts.iter().enumerate().skip(first) {
            threads.push(if *anchored { state.as_u32() } else { self.anywhere(pattern) }, self.nothing());
        }
        self.set_kind(&mut threads, kind);
        let known = cache.add(threads, self.stride)?;
        cache.starts.resize(cache.starts.len().max(place + 1), None);
        *cache.starts.get_mut(place)? = Some(known);
        Some(known)
    }

    /// Where `state` leads by the byte at `at`, or by the end of the text.
    #[cold]
    fn step(&self, cache: &mut Cache, state: usize, text: &[u8], at: usize) -> Option<Step> {
        let before = Arc::clone(cache.states.get(state / self.stride)?);
        let mut closure = Closure {
            tagged: self,
            text,
            at,
            seen: vec![false; self.nfa.states().len()],
            to: Threads::default(),
        };
        for (index, id) in before.ids.iter().enumerate() {
            let registers = before.registers.get(index * self.width..(index + 1) * self.width)?;
            if closure.add(*id, registers) {
                break;
            }
        }
        let mut threads = closure.to;
        let register = threads.settle()?;
        if let Some(byte) = text.get(at) {
            self.set_kind(&mut threads, self.kind(*byte));
        }
        let stop = threads.ids.iter().all(|id| self.matched(*id).is_some());
        let next = cache.add(threads, self.stride)?;
        Some(Step::new(next, register, stop))
    }

    fn set_kind(&self, threads: &mut Threads, kind: u8) {
        let asks = |id: &u32| {
            let place = *id as usize;
            match self.looks_back.get(place) {
                Some(asks) => *asks,
                None => self.starts.get(place - self.looks_back.len()).is_some_and(|(start, _)| {
                    self.looks_back.get(start.as_usize()).is_some_and(|asks| *asks)
                }),
            }
        };
        threads.kind = if threads.ids.iter().any(asks) { kind } else { OTHER };
    }

    fn kind(&self, byte: u8) -> u8 {
        self.kinds[usize::from(byte)]
    }

    /// The thread from which `pattern` begins anywhere.
    fn anywhere(&self, pattern: usize) -> u32 {
        (self.nfa.states().len() + pattern) as u32
    }

    fn nothing(&self) -> impl Iterator<Item = u8> {
        std::iter::repeat_n(NOWHERE, self.width)
    }

    /// The pattern that a thread has matched.
    fn matched(&self, id: u32) -> Option<PatternID> {
        match self.nfa.states().get(id as usize)? {
            State::Match { pattern_id } => Some(*pattern_id),
            _ => None,
        }
    }
}

/// Follows threads up to the next byte, and over it.
struct Closure<'a> {
    tagged: &'a Tagged,
    text: &'a [u8],
    at: usize,
    seen: Vec<bool>,
    to: Threads,
}

/// What is left to do on the way of a thread.
enum Todo {
    Follow(StateID),
    Restore(usize, u8),
}

impl Closure<'_> {
    /// Follows the thread `id`. True if it has matched, so that those behind it don't count.
    fn add(&mut self, id: u32, registers: &[u8]) -> bool {
        let count = self.tagged.nfa.states().len();
        let Some(pattern) = (id as usize).checked_sub(count) else {
            return StateID::new(id as usize).is_ok_and(|id| self.follow(id, registers));
        };
        let Some((start, _)) = self.tagged.starts.get(pattern) else { return false };
        if self.follow(*start, registers) {
            return true;
        }
        if self.at < self.text.len() {
            self.to.push(id, registers.iter().copied());
        }
        false
    }

    fn follow(&mut self, id: StateID, registers: &[u8]) -> bool {
        let nfa = &self.tagged.nfa;
        let mut registers = registers.to_vec();
        let mut todo = vec![Todo::Follow(id)];
        while let Some(next) = todo.pop() {
            let id = match next {
                Todo::Follow(id) => id,
                Todo::Restore(place, register) => {
                    if let Some(old) = registers.get_mut(place) {
                        *old = register;
                    }
                    continue;
                }
            };
            match self.seen.get_mut(id.as_usize()) {
                Some(seen @ false) => *seen = true,
                _ => continue,
            }
            match nfa.state(id) {
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, self.text, self.at) {
                        todo.push(Todo::Follow(*next));
                    }
                }
                State::Union { alternates } => {
                    todo.extend(alternates.iter().rev().map(|next| Todo::Follow(*next)))
                }
                State::BinaryUnion { alt1, alt2 } => {
                    todo.extend([Todo::Follow(*alt2), Todo::Follow(*alt1)]);
                }
                State::Capture { next, slot, .. } => {
                    let tag = self.tagged.tags.get(slot.as_usize()).copied().flatten();
                    if let Some((place, register)) = tag.and_then(|tag| Some((tag, registers.get_mut(tag)?)))
                    {
                        todo.push(Todo::Restore(place, *register));
                        *register = FRESH;
                    }
                    todo.push(Todo::Follow(*next));
                }
                State::Match { .. } => {
                    self.to.push(id.as_u32(), registers.iter().copied());
                    return true;
                }
                State::Fail => {}
                state => {
                    let next = self.text.get(self.at).and_then(|byte| over(state, *byte));
                    if let Some(next) = next.filter(|next| !self.to.ids.contains(&next.as_u32())) {
                        self.to.push(next.as_u32(), registers.iter().copied());
                    }
                }
            }
        }
        false
    }
}

impl Threads {
    fn push(&mut self, id: u32, registers: impl Iterator<Item = u8>) {
        self.ids.push(id);
        self.registers.extend(registers);
    }

    /// Chooses the register for the place at hand, and answers with it. `None` if there are too many.
    fn settle(&mut self) -> Option<u8> {
        if !self.registers.contains(&FRESH) {
            return Some(NOWHERE);
        }
        let mut used = [false; 256];
        self.registers.iter().for_each(|register| used[usize::from(*register)] = true);
        let free = (1..FRESH).find(|register| !used[usize::from(*register)])?;
        self.registers
            .iter_mut()
            .filter(|register| **register == FRESH)
            .for_each(|register| *register = free);
        Some(free)
    }
}

impl Cache {
    fn new() -> Self {
        Self {
            states: Vec::new(),
            numbers: HashMap::new(),
            steps: Vec::new(),
            starts: Vec::new(),
            bytes: 0,
            cleared: 0,
            registers: [0; 256],
        }
    }

    /// Where the steps of a state begin. `None` if there is no room; then everything is forgotten.
    fn add(&mut self, threads: Threads, stride: usize) -> Option<usize> {
        if let Some(known) = self.numbers.get(&threads) {
            return Some(*known);
        }
        self.bytes += stride * size_of::<Step>() + 5 * threads.ids.len() + threads.registers.len() + 128;
        if self.bytes > MAX_CACHE {
            *self = Self { cleared: self.cleared + 1, ..Self::new() };
            return None;
        }
        let threads = Arc::new(threads);
        let number = self.steps.len();
        self.steps.resize(number + stride, Step::UNKNOWN);
        self.states.push(Arc::clone(&threads));
        self.numbers.insert(threads, number);
        Some(number)
    }
}

/// Where `state` goes by `byte`.
fn over(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches_byte(byte),
        State::Dense(transitions) => transitions.matches_byte(byte),
        _ => None,
    }
}

/// Whether each way from `start` asks for the start of the text first.
fn is_anchored(nfa: &NFA, start: StateID) -> bool {
    let mut seen = vec![false; nfa.states().len()];
    let mut todo = vec![start];
    while let Some(id) = todo.pop() {
        match seen.get_mut(id.as_usize()) {
            Some(seen @ false) => *seen = true,
            _ => continue,
        }
        match nfa.state(id) {
            State::Look { look: Look::Start, .. } | State::Fail => {}
            State::Look { next, .. } | State::Capture { next, .. } => todo.push(*next),
            State::Union { alternates } => todo.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => todo.extend([*alt1, *alt2]),
            _ => return false,
        }
    }
    true
}

/// Of each state whether it asks for the byte in front, before it consumes one.
fn looks_back(nfa: &NFA) -> Vec<bool> {
    let mut asks = vec![false; nfa.states().len()];
    let mut changed = !nfa.look_set_any().is_empty();
    while changed {
        changed = false;
        for (id, state) in nfa.states().iter().enumerate().rev() {
            let ahead = |next: &StateID| asks.get(next.as_usize()).is_some_and(|asks| *asks);
            let known = match state {
                State::Look { look, next } => !matches!(look, Look::End | Look::EndLF) || ahead(next),
                State::Capture { next, .. } => ahead(next),
                State::Union { alternates } => alternates.iter().any(ahead),
                State::BinaryUnion { alt1, alt2 } => ahead(alt1) || ahead(alt2),
                _ => false,
            };
            if let Some(old @ false) = asks.get_mut(id)
                && known
            {
                (*old, changed) = (true, true);
            }
        }
    }
    asks
}

/// The kind of each byte, as far as the patterns ask for it.
fn kinds(nfa: &NFA) -> [u8; 256] {
    let looks = nfa.look_set_any();
    std::array::from_fn(|byte| match byte as u8 {
        b'\n' if looks.contains_anchor_line() => 1,
        byte if looks.contains_word() && (byte.is_ascii_alphanumeric() || byte == b'_') => 2,
        _ => OTHER,
    })
}

#[cfg(test)]
mod tests {
    use regex_automata::Input;
    use regex_automata::meta::Regex;
    use regex_automata::util::primitives::NonMaxUsize;

    use super::*;
    use crate::dialect::generate::{generate, mutate};
    use crate::dialect::{Effort, Mode, parse, write};
    use crate::oracle::Random;

    /// Compares with the engine's own answer from every place on.
    #[track_caller]
    fn check(pattern: &str, text: &str) {
        let regex = Regex::new(pattern).unwrap();
        let groups = regex.captures_len();
        let tagged =
            Tagged::new([Part { text: pattern.into(), groups: (0..groups).collect() }].into_iter()).unwrap();
        let mut slots = Vec::new();
        for start in 0..=text.len() {
            let mut expected = vec![None; 2 * groups];
            let found = regex.search_slots(&Input::new(text).range(start..), &mut expected).is_some();
            let Ok(answer) = tagged.search(text.as_bytes(), start, 0, &mut slots) else { continue };
            assert_eq!(answer.is_some(), found, "{pattern:?} in {text:?} from {start}");
            let expected: Vec<_> = expected.into_iter().map(|slot| slot.map(NonMaxUsize::get)).collect();
            assert!(
                !found || slots == expected,
                "{pattern:?} in {text:?} from {start}: {slots:?} {expected:?}"
            );
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
    }

    #[test]
    fn generated_patterns_agree_with_the_engine() {
        let mut random = Random::new(1);
        let mut compared = 0;
        while compared < 4000 {
            let generated = generate(&mut random);
            let Ok(parsed) = parse(&generated.pattern, false) else { continue };
            let written = write(&parsed, Mode { ascii: true, exact: false });
            if written.effort != Effort::Linear {
                continue;
            }
            for text in [mutate(&mut random, &generated.text), generated.text] {
                if text.is_ascii() {
                    check(&written.text, &text);
                    compared += 1;
                }
            }
        }
    }
}
