//! Finds the groups of a match whose place is known, without trying in vain.
//!
//! A backtracking engine tries branches that turn out to lead nowhere; with a few `.*` in a row that is nearly all it
//! does. Here a walk backwards over the match notes for each place which states of the automaton lead to its end, and
//! a walk forwards takes at each branch the first that does: that is the one that backtracking would end up with. The
//! sets of states are made once each, and kept with the way from one to the next, so that both walks take a few
//! instructions for each byte.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use regex_automata::nfa::thompson::{self, NFA, State};
use regex_automata::util::primitives::{NonMaxUsize, StateID};

/// Bytes of the longest match to trace, since each of them takes a number.
const MAX_TRACED: usize = 64 * 1024;

/// States of an automaton that is worth it.
const MAX_STATES: usize = 8192;

/// Words of all sets together, after which they are forgotten.
const MAX_WORDS: usize = 128 * 1024;

/// How often it pays to make the sets again.
const MAX_CLEARED: usize = 8;

/// Kinds of bytes in front of a place: none, a word, a newline, another one.
const KINDS: usize = 4;

const UNKNOWN: u32 = u32::MAX;

/// Traces the groups of one pattern in texts of ASCII characters.
#[derive(Debug)]
pub(crate) struct Tracer {
    nfa: NFA,
    /// The states that reach each state without a byte.
    before: Vec<Vec<StateID>>,
    /// Words in a set.
    words: usize,
    sets: Mutex<Sets>,
}

/// Sets of states that came up. The first is that behind the end of a match, which is empty.
#[derive(Debug, Default)]
struct Sets {
    bits: Vec<u64>,
    numbers: HashMap<Box<[u64]>, u32>,
    /// From a set, the byte in front of its place and the kind of the one before that, to the set one place before.
    steps: Vec<u32>,
    /// The sets at the places of the match at hand, its end first.
    path: Vec<u32>,
    cleared: usize,
}

impl Tracer {
    /// A tracer of the pattern `text`; `None` if that is too big.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let config = thompson::Config::new().nfa_size_limit(Some(1 << 20));
        let nfa = NFA::compiler().configure(config).build(text).ok()?;
        let count = nfa.states().len();
        if count > MAX_STATES {
            return None;
        }
        let mut before = vec![Vec::new(); count];
        for (index, state) in nfa.states().iter().enumerate() {
            let id = StateID::new(index).ok()?;
            let mut reach = |next: &StateID| {
                if let Some(list) = before.get_mut(next.as_usize()) {
                    list.push(id);
                }
            };
            match state {
                State::Look { next, .. } | State::Capture { next, .. } => reach(next),
                State::Union { alternates } => alternates.iter().for_each(reach),
                State::BinaryUnion { alt1, alt2 } => [alt1, alt2].into_iter().for_each(reach),
                _ => {}
            }
        }
        Some(Self { nfa, before, words: count.div_ceil(64), sets: Mutex::default() })
    }

    /// Fills in the places of the groups of the match at `span`. False if it could not be traced.
    pub(crate) fn trace(&self, text: &str, span: Range<usize>, slots: &mut [Option<NonMaxUsize>]) -> bool {
        if span.len() > MAX_TRACED {
            return false;
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.cleared > MAX_CLEARED {
            return false;
        }
        self.walk_back(&mut sets, text.as_bytes(), &span).is_some()
            && self.walk_forth(&sets, text.as_bytes(), &span, slots).is_some()
    }

    /// Notes for each place of the match, from its end to its start, which states lead to the end.
    fn walk_back(&self, sets: &mut Sets, text: &[u8], span: &Range<usize>) -> Option<()> {
        let classes = self.nfa.byte_classes();
        let stride = classes.alphabet_len() * KINDS;
        if sets.steps.is_empty() {
            sets.add(vec![0; self.words].into(), stride);
        }
        sets.path.clear();
        let mut set = 0;
        for at in span.clone().chain([span.end]).rev() {
            let class =
                text.get(at).map_or(classes.alphabet_len() - 1, |byte| usize::from(classes.get(*byte)));
            let kind = at.checked_sub(1).and_then(|before| text.get(before)).map_or(0, |byte| kind(*byte));
            let step = set as usize * stride + class * KINDS + kind;
            let known = *sets.steps.get(step)?;
            set = match known {
                UNKNOWN => {
                    let states = self.states_at(sets.bits(set, self.words)?, text, at, at == span.end);
                    if sets.bits.len() > MAX_WORDS {
                        *sets = Sets { cleared: sets.cleared + 1, ..Sets::default() };
                        return None;
                    }
                    let next = sets.add(states.into(), stride);
                    *sets.steps.get_mut(step)? = next;
                    next
                }
                known => known,
            };
            sets.path.push(set);
        }
        Some(())
    }

    /// The states at the place `at` that lead to the end of the match, if `behind` are those one place further.
    fn states_at(&self, behind: &[u64], text: &[u8], at: usize, is_end: bool) -> Vec<u64> {
        let mut states = vec![0; self.words];
        let mut fresh = Vec::new();
        for (index, state) in self.nfa.states().iter().enumerate() {
            let next = text.get(at).and_then(|byte| next(state, *byte));
            let leads = match state {
                State::Match { .. } => is_end,
                _ => !is_end && next.is_some_and(|next| contains(behind, next)),
            };
            if leads && let Ok(id) = StateID::new(index) {
                insert(&mut states, id);
                fresh.push(id);
            }
        }
        while let Some(id) = fresh.pop() {
            for before in self.before.get(id.as_usize()).into_iter().flatten() {
                let holds = match self.nfa.state(*before) {
                    State::Look { look, .. } => self.nfa.look_matcher().matches(*look, text, at),
                    _ => true,
                };
                if holds && !contains(&states, *before) {
                    insert(&mut states, *before);
                    fresh.push(*before);
                }
            }
        }
        states
    }

    /// Takes the first way that leads to the end. `None` for a circle that consumes nothing: what is right there takes a
    /// memory of where the walk has been.
    fn walk_forth(
        &self,
        sets: &Sets,
        text: &[u8],
        span: &Range<usize>,
        slots: &mut [Option<NonMaxUsize>],
    ) -> Option<()> {
        slots.fill(None);
        let mut id = self.nfa.start_anchored();
        let mut path = sets.path.iter().rev();
        for at in span.clone().chain([span.end]) {
            let states = sets.bits(*path.next()?, self.words)?;
            let mut left = self.before.len();
            id = loop {
                left = left.checked_sub(1)?;
                id = match self.nfa.state(id) {
                    State::Look { next, .. } => *next,
                    State::Capture { next, slot, .. } => {
                        if let Some(slot) = slots.get_mut(slot.as_usize()) {
                            *slot = NonMaxUsize::new(at);
                        }
                        *next
                    }
                    State::Union { alternates } => {
                        *alternates.iter().find(|next| contains(states, **next))?
                    }
                    State::BinaryUnion { alt1, .. } if contains(states, *alt1) => *alt1,
                    State::BinaryUnion { alt2, .. } => *alt2,
                    State::Match { .. } => return (at == span.end).then_some(()),
                    state => break next(state, *text.get(at)?)?,
                };
            };
        }
        None
    }
}

impl Sets {
    fn bits(&self, set: u32, words: usize) -> Option<&[u64]> {
        let start = set as usize * words;
        self.bits.get(start..start + words)
    }

    /// The number of a set.
    fn add(&mut self, states: Box<[u64]>, stride: usize) -> u32 {
        let next = self.numbers.len() as u32;
        // What is behind the end is no other set, though an empty one.
        if next > 0
            && let Some(known) = self.numbers.get(&states)
        {
            return *known;
        }
        self.bits.extend_from_slice(&states);
        self.steps.resize(self.steps.len() + stride, UNKNOWN);
        self.numbers.insert(states, next);
        next
    }
}

/// Where `state` goes by `byte`.
fn next(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches_byte(byte),
        State::Dense(transitions) => transitions.matches_byte(byte),
        _ => None,
    }
}

fn kind(byte: u8) -> usize {
    match byte {
        b'\n' => 2,
        byte if byte.is_ascii_alphanumeric() || byte == b'_' => 1,
        _ => 3,
    }
}

fn contains(set: &[u64], id: StateID) -> bool {
    set.get(id.as_usize() / 64).is_some_and(|word| word >> (id.as_usize() % 64) & 1 == 1)
}

fn insert(set: &mut [u64], id: StateID) {
    if let Some(word) = set.get_mut(id.as_usize() / 64) {
        *word |= 1 << (id.as_usize() % 64);
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::meta::Regex;

    use super::*;

    /// Compares with the engine's own answer.
    #[track_caller]
    fn check(pattern: &str, text: &str) {
        let regex = Regex::new(pattern).unwrap();
        let span = regex.find(text).unwrap().range();
        let mut expected = vec![None; 2 * regex.captures_len()];
        let _ = regex.search_slots(&regex_automata::Input::new(text), &mut expected);
        let tracer = Tracer::new(pattern).unwrap();
        for _ in 0..2 {
            let mut slots = vec![None; expected.len()];
            assert!(tracer.trace(text, span.clone(), &mut slots));
            assert_eq!(slots, expected);
        }
    }

    #[test]
    fn the_groups_are_the_engines() {
        check("^(.*) (a|b)( .*?)(c*)(?m:$)", "x a a b cc\n");
        check(r"\b(?:(a)|(ab))(c|bcd)(d*)", "-abcd");
        check(r"(a*)(a|b\b)(?:(x)|y)?\z", "aab");
        check("(a){2,3}?(a*?)(b|)", "aaaab");
        check("()", "x");
        check("(?:(a)|b)*", "ab");
        check(r"(\b|x)(a+)\b", "x a-aa");
    }

    #[test]
    fn circles_are_left_to_the_engine() {
        let tracer = Tracer::new("(?:(a*)*b?)*c").unwrap();
        let mut slots = [None; 4];
        let _ = tracer.trace("aabac", 0..5, &mut slots);
        assert!(!Tracer::new("(?:(a|b??)*)*c").unwrap().trace("c", 0..2, &mut slots));
    }
}
