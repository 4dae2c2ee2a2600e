//! The threads that a state of the automaton is made of, and what they come to over a byte.
//!
//! Threads stand in the order in which backtracking would try them, and one that has matched ends those behind it. It
//! stays as the last one, until one before it matches too. The threads of each pattern stand before those of the next:
//! the first pattern that matches anywhere is the answer, not the one that matches nearest to the start.
//!
//! A look-ahead is a pattern too, whose threads begin where it stands and are carried on by the thread that passed there,
//! as a guard. When the first of them has matched, a guard that forbids this ends its thread, and one that demands it is
//! gone; when none is left, it is the other way round. As long as it has guards, a thread that has matched ends none.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::{PatternID, StateID};

use super::Part;

/// Ways to states over one byte. Guards multiply them.
const MAX_WAYS: usize = 100_000;

/// What threads call the register of a place that is not noted. Steps that note nothing write to it.
pub(super) const NOWHERE: u8 = 0;

/// What threads call the register to be chosen for the place at hand.
const FRESH: u8 = u8::MAX;

/// Kinds of bytes in front of a place, as far as the patterns ask: none, a newline, a word, another one.
pub(super) const KINDS: usize = 4;
pub(super) const AT_START: u8 = 0;
const NEWLINE: u8 = 1;
const WORD: u8 = 2;
const OTHER: u8 = 3;

/// Follows the threads of some patterns.
#[derive(Debug)]
pub(super) struct Threader {
    nfa: NFA,
    /// What each slot of the automaton stands for.
    tags: Vec<Tag>,
    /// Slots of the pattern that has most.
    width: usize,
    /// Of each pattern its first state, and whether that is for the start of a text only.
    starts: Vec<(StateID, bool)>,
    /// Of each look-ahead the guard where it stands.
    guards: Vec<Guard>,
    /// The kind of each byte.
    kinds: [u8; 256],
    /// Whether a state asks for the byte in front.
    looks_back: Vec<bool>,
}

/// Threads in the order in which backtracking would try them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Threads {
    /// The kind of the byte in front, if one of them asks for it.
    kind: u8,
    /// A state of the automaton, or that many more than it has for a pattern that may begin anywhere from here on.
    ids: Vec<u32>,
    /// Of each thread the registers of its slots.
    registers: Vec<u8>,
    /// Of each thread its guards, sorted; shorter where those behind have none.
    guards: Vec<Guards>,
}

/// What a look-ahead came to so far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Guard {
    /// Whether it has to match, or must not.
    demands: bool,
    /// Its threads, sorted since any will do.
    ids: Vec<u32>,
}

type Guards = Vec<Guard>;

/// What becomes of a guard over a byte.
enum Guarded {
    /// It needs to know more.
    On(Guard),
    /// It is content.
    Passed,
    /// Its thread ends.
    Failed,
}

/// What a slot stands for.
#[derive(Debug, Clone, Copy)]
enum Tag {
    /// Nothing that anybody asks for.
    None,
    /// A place among the slots of its pattern.
    Slot(usize),
    /// A look-ahead.
    Guard(usize),
}

impl Threader {
    /// For the patterns of `nfa`, which are `parts` and behind them their look-aheads.
    pub(super) fn new(nfa: NFA, parts: &[Part]) -> Option<Self> {
        let slot = |pattern: usize, group: usize| nfa.group_info().slot(PatternID::new(pattern).ok()?, group);
        let start = |pattern: usize| nfa.start_pattern(PatternID::new(pattern).ok()?);
        let mut tags = vec![Tag::None; nfa.group_info().slot_len()];
        let (mut guards, mut looks) = (Vec::new(), HashMap::new());
        for (pattern, part) in parts.iter().enumerate() {
            for (place, group) in part.groups.iter().enumerate() {
                let slot = slot(pattern, *group)?;
                *tags.get_mut(slot)? = Tag::Slot(2 * place);
                *tags.get_mut(slot + 1)? = Tag::Slot(2 * place + 1);
            }
            for look in &part.looks {
                let slot = slot(pattern, look.group)?;
                let start = start(parts.len() + guards.len())?;
                *tags.get_mut(slot)? = Tag::Guard(guards.len());
                looks.insert(slot, start);
                guards.push(Guard { demands: look.demands, ids: vec![start.as_u32()] });
            }
        }
        let starts = (0..parts.len()).map(|pattern| {
            let start = start(pattern)?;
            Some((start, is_anchored(&nfa, start)))
        });
        Some(Self {
            starts: starts.collect::<Option<_>>()?,
            tags,
            guards,
            width: parts.iter().map(|part| 2 * part.groups.len()).max()?,
            kinds: kinds(&nfa),
            looks_back: looks_back(&nfa, &looks),
            nfa,
        })
    }

    /// The threads at the start of a search behind a byte of that kind, by the patterns from `first` on.
    pub(super) fn start(&self, first: usize, kind: u8) -> Threads {
        let mut threads = Threads::default();
        let nothing = vec![NOWHERE; self.width];
        for (pattern, (start, anchored)) in self.starts.iter().enumerate().skip(first) {
            let id = if *anchored { start.as_u32() } else { self.anywhere(pattern) };
            threads.push(id, &nothing, &[]);
        }
        threads.kind = if self.look_back(&threads) { kind } else { OTHER };
        threads
    }

    /// What `threads` come to over `byte`, or by the end where there is none, if `before` stands in front; and the
    /// register for the place at hand. `None` if there are too many registers or ways.
    pub(super) fn over(
        &self,
        threads: &Threads,
        before: Option<u8>,
        byte: Option<u8>,
    ) -> Option<(Threads, u8)> {
        let mut text: Vec<u8> = before.into_iter().collect();
        text.extend(byte);
        let mut walk = Walk {
            threader: self,
            byte,
            at: usize::from(before.is_some()),
            text,
            seen: HashMap::new(),
            ways: 0,
            ahead: Threads::default(),
        };
        for (index, id) in threads.ids.iter().enumerate() {
            let registers = threads.registers.get(index * self.width..(index + 1) * self.width)?;
            let Some(guards) = walk.guards_ahead(threads.guards_of(index)) else { continue };
            if walk.add(*id, registers, guards) {
                break;
            }
        }
        if walk.ways > MAX_WAYS {
            return None;
        }
        let mut ahead = walk.ahead;
        let register = ahead.settle()?;
        ahead.kind = match byte {
            Some(byte) if self.look_back(&ahead) => self.kind(byte),
            _ => OTHER,
        };
        Some((ahead, register))
    }

    /// The pattern that matched, and the registers of its groups.
    pub(super) fn matched<'t>(&self, threads: &'t Threads) -> Option<(usize, &'t [u8])> {
        let pattern = threads.ids.last().and_then(|id| self.pattern_of(*id))?;
        let first = threads.registers.len().checked_sub(self.width)?;
        Some((pattern, threads.registers.get(first..)?))
    }

    /// Whether nothing can come of the threads beyond what they have matched.
    pub(super) fn is_final(&self, threads: &Threads) -> bool {
        threads.guards.is_empty() && threads.ids.iter().all(|id| self.pattern_of(*id).is_some())
    }

    pub(super) fn kind(&self, byte: u8) -> u8 {
        self.kinds[usize::from(byte)]
    }

    /// Whether the threads ask for the byte in front.
    fn look_back(&self, threads: &Threads) -> bool {
        let guards = threads.guards.iter().flatten().flat_map(|guard| &guard.ids);
        threads.ids.iter().chain(guards).any(|id| {
            let state = self.beginning(*id).map_or(*id as usize, |pattern| {
                self.starts.get(pattern).map_or(0, |(start, _)| start.as_usize())
            });
            self.looks_back.get(state).is_some_and(|looks| *looks)
        })
    }

    /// The thread from which `pattern` begins anywhere.
    fn anywhere(&self, pattern: usize) -> u32 {
        (self.nfa.states().len() + pattern) as u32
    }

    /// The pattern that begins anywhere from the thread `id`.
    fn beginning(&self, id: u32) -> Option<usize> {
        (id as usize).checked_sub(self.nfa.states().len())
    }

    /// The pattern that the thread `id` has matched.
    fn pattern_of(&self, id: u32) -> Option<usize> {
        match self.nfa.states().get(id as usize)? {
            State::Match { pattern_id } => Some(pattern_id.as_usize()),
            _ => None,
        }
    }
}

/// Threads on their way over a byte.
struct Walk<'a> {
    threader: &'a Threader,
    byte: Option<u8>,
    /// The bytes around the place at hand.
    text: Vec<u8>,
    at: usize,
    /// The guards of each way that has led to a state. One with the same guards or more leads nowhere else.
    seen: HashMap<StateID, Vec<Guards>>,
    /// How many of them there are.
    ways: usize,
    ahead: Threads,
}

/// What is left to do on the way of a thread.
enum Todo {
    Follow(StateID),
    Restore(usize, u8),
    Dismiss(Guards),
}

impl Walk<'_> {
    /// Follows the thread `id`. True if it has matched, so that those behind it don't count.
    fn add(&mut self, id: u32, registers: &[u8], guards: Guards) -> bool {
        let Some(pattern) = self.threader.beginning(id) else {
            return StateID::new(id as usize).is_ok_and(|id| self.follow(id, registers, guards));
        };
        let Some((start, _)) = self.threader.starts.get(pattern) else { return false };
        // Nothing begins within a character.
        let is_within = self.byte.is_some_and(|byte| (0x80..0xc0).contains(&byte));
        if !is_within && self.follow(*start, registers, guards) {
            return true;
        }
        if self.byte.is_some() {
            self.ahead.push(id, registers, &[]);
        }
        false
    }

    fn follow(&mut self, id: StateID, registers: &[u8], mut guards: Guards) -> bool {
        let Threader { nfa, tags, .. } = self.threader;
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
                Todo::Dismiss(new) => {
                    guards = new;
                    continue;
                }
            };
            let seen = self.seen.entry(id).or_default();
            if seen.iter().any(|seen| is_subset(seen, &guards)) {
                continue;
            }
            seen.push(guards.clone());
            self.ways += 1;
            if self.ways > MAX_WAYS {
                return true;
            }
            match nfa.state(id) {
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, &self.text, self.at) {
                        todo.push(Todo::Follow(*next));
                    }
                }
                State::Union { alternates } => {
                    todo.extend(alternates.iter().rev().map(|next| Todo::Follow(*next)));
                }
                State::BinaryUnion { alt1, alt2 } => {
                    todo.extend([Todo::Follow(*alt2), Todo::Follow(*alt1)]);
                }
                State::Capture { next, slot, .. } => {
                    match tags.get(slot.as_usize()) {
                        Some(Tag::Slot(place)) => {
                            let Some(register) = registers.get_mut(*place) else { continue };
                            todo.push(Todo::Restore(*place, *register));
                            *register = FRESH;
                        }
                        Some(Tag::Guard(look)) => {
                            let Some(guard) = self.threader.guards.get(*look) else { continue };
                            match self.guard_ahead(guard) {
                                Guarded::On(guard) => {
                                    todo.push(Todo::Dismiss(guards.clone()));
                                    insert(&mut guards, guard);
                                }
                                Guarded::Passed => {}
                                Guarded::Failed => continue,
                            }
                        }
                        _ => {}
                    }
                    todo.push(Todo::Follow(*next));
                }
                State::Match { .. } => {
                    self.ahead.push(id.as_u32(), &registers, &guards);
                    if guards.is_empty() {
                        return true;
                    }
                }
                State::Fail => {}
                state => {
                    let next = self.byte.and_then(|byte| over(state, byte));
                    if let Some(next) = next.filter(|next| !self.ahead.covers(next.as_u32(), &guards)) {
                        self.ahead.push(next.as_u32(), &registers, &guards);
                    }
                }
            }
        }
        false
    }

    /// The guards of a thread behind the byte; `None` if one of them ends it.
    fn guards_ahead(&self, guards: &[Guard]) -> Option<Guards> {
        let mut ahead = Guards::new();
        for guard in guards {
            match self.guard_ahead(guard) {
                Guarded::On(guard) => insert(&mut ahead, guard),
                Guarded::Passed => {}
                Guarded::Failed => return None,
            }
        }
        Some(ahead)
    }

    fn guard_ahead(&self, guard: &Guard) -> Guarded {
        let nfa = &self.threader.nfa;
        let mut seen = HashSet::new();
        let mut todo: Vec<StateID> =
            guard.ids.iter().filter_map(|id| StateID::new(*id as usize).ok()).collect();
        let mut ids = Vec::new();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            match nfa.state(id) {
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, &self.text, self.at) {
                        todo.push(*next);
                    }
                }
                State::Capture { next, .. } => todo.push(*next),
                State::Union { alternates } => todo.extend(alternates.iter()),
                State::BinaryUnion { alt1, alt2 } => todo.extend([*alt1, *alt2]),
                State::Match { .. } if guard.demands => return Guarded::Passed,
                State::Match { .. } => return Guarded::Failed,
                State::Fail => {}
                state => ids.extend(self.byte.and_then(|byte| over(state, byte)).map(|next| next.as_u32())),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        match (ids.is_empty(), guard.demands) {
            (false, demands) => Guarded::On(Guard { demands, ids }),
            (true, false) => Guarded::Passed,
            (true, true) => Guarded::Failed,
        }
    }
}

fn insert(guards: &mut Guards, guard: Guard) {
    if let Err(place) = guards.binary_search(&guard) {
        guards.insert(place, guard);
    }
}

fn is_subset(some: &[Guard], all: &[Guard]) -> bool {
    some.iter().all(|guard| all.binary_search(guard).is_ok())
}

impl Threads {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let guards: usize = self.guards.iter().flatten().map(|guard| 32 + 4 * guard.ids.len()).sum();
        size_of::<Self>() + 4 * self.ids.len() + self.registers.len() + 24 * self.guards.len() + guards
    }

    fn push(&mut self, id: u32, registers: &[u8], guards: &[Guard]) {
        if !guards.is_empty() {
            self.guards.resize(self.ids.len(), Guards::new());
            self.guards.push(guards.to_vec());
        }
        self.ids.push(id);
        self.registers.extend_from_slice(registers);
    }

    fn guards_of(&self, index: usize) -> &[Guard] {
        self.guards.get(index).map_or(&[], Vec::as_slice)
    }

    /// Whether a thread before says all that one at `id` with `guards` could.
    fn covers(&self, id: u32, guards: &[Guard]) -> bool {
        let mut before = self.ids.iter().enumerate().filter(|(_, known)| **known == id);
        before.any(|(index, _)| is_subset(self.guards_of(index), guards))
    }

    /// Chooses the register for the place at hand, and answers with it. `None` if there are too many.
    fn settle(&mut self) -> Option<u8> {
        if !self.registers.contains(&FRESH) {
            return Some(NOWHERE);
        }
        let free = (NOWHERE + 1..FRESH).find(|register| !self.registers.contains(register))?;
        self.registers
            .iter_mut()
            .filter(|register| **register == FRESH)
            .for_each(|register| *register = free);
        Some(free)
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

/// Of each state whether it asks for the byte in front, before it consumes one, by itself or by a look-ahead, which
/// begin where their slots are.
fn looks_back(nfa: &NFA, looks: &HashMap<usize, StateID>) -> Vec<bool> {
    let mut asks = vec![false; nfa.states().len()];
    let mut changed = !nfa.look_set_any().is_empty();
    while changed {
        changed = false;
        for (id, state) in nfa.states().iter().enumerate().rev() {
            let ahead = |next: &StateID| asks.get(next.as_usize()).is_some_and(|asks| *asks);
            let known = match state {
                State::Look { look, next } => !matches!(look, Look::End | Look::EndLF) || ahead(next),
                State::Capture { next, slot, .. } => {
                    ahead(next) || looks.get(&slot.as_usize()).is_some_and(ahead)
                }
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
        b'\n' if looks.contains_anchor_line() => NEWLINE,
        byte if looks.contains_word() && (byte.is_ascii_alphanumeric() || byte == b'_') => WORD,
        _ => OTHER,
    })
}
