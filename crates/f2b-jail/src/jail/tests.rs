use super::*;
use crate::{Act, Names};

/// A jail with a database that answers from memory, driven over made-up time.
struct World {
    jail: Jail,
    history: BTreeMap<Id, History>,
    seen: Vec<String>,
}

impl World {
    fn new() -> Self {
        let mut jail = Jail::new("test", TimeZone::UTC, 1);
        jail.has_database = true;
        jail.log_level = Level::NOTICE;
        Self { jail, history: BTreeMap::new(), seen: Vec::new() }
    }

    fn with_increment(options: &[(&str, &str)]) -> Self {
        let mut world = Self::new();
        for (option, value) in options {
            assert_eq!(world.jail.increment.set(option, value), Ok(()));
        }
        world
    }

    /// Takes one step and carries the effects out until the jail is at rest; notes what happened.
    fn step(&mut self, event: Event, now: f64) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.jail.step(event, Time(now)) {
                self.carry_out(effect, &mut events);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, events: &mut Vec<Event>) {
        match effect {
            Effect::AskHistory { asked, id, .. } => {
                events.push(Event::Told(asked, self.history.get(&id).copied()))
            }
            Effect::AskCommand { question, ticket } => {
                self.seen.push(format!("ask {question} {}", ticket.id))
            }
            Effect::Remember { ban, ticket } => {
                let history = History { ban_count: ticket.ban_count, time_of_ban: ticket.time };
                self.history.insert(ticket.id.clone(), history);
                self.seen.push(format!("remember {} for {}", ticket.id, ticket.ban_time_or(0.0)));
                events.push(Event::Remembered(ban));
            }
            Effect::Forget(ids) => {
                self.seen.push(format!("forget {}", ids.map_or("all".into(), |ids| list(&ids))))
            }
            Effect::Log(record) => self.seen.push(record.message),
            Effect::Act(act) => self.seen.push(match act {
                Act::Ban { ticket, .. } => format!("act ban {}", ticket.id),
                Act::Verify { ticket, check: true, .. } => format!("act verify {}", ticket.id),
                Act::Verify { ticket, check: false, .. } => format!("act repeat {} if lost", ticket.id),
                Act::Banned { .. } | Act::Unbanned(_) => return,
                Act::Prolong(ticket) => format!("act prolong {} to {}", ticket.id, ticket.ban_time_or(0.0)),
                Act::Unban { ticket, .. } => format!("act unban {}", ticket.id),
                Act::Flush(tickets) => format!("act flush {}", tickets.len()),
                Act::Stop(tickets) => format!("act stop {}", tickets.len()),
            }),
            Effect::Answer { token, result } => self.seen.push(format!("answer {} {result:?}", token.0)),
        }
    }

    fn fail(&mut self, id: &str, now: f64) {
        let failure =
            Failure { id: Id::parse(id), time: Time(now), whole_time: false, data: FailData::default() };
        self.step(Event::Found(failure), now);
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.seen), expected);
    }
}

fn list(ids: &[Id]) -> String {
    ids.iter().map(Id::to_string).collect::<Vec<_>>().join(" ")
}

fn ids(texts: &[&str]) -> Vec<Id> {
    texts.iter().map(|text| Id::parse(text)).collect()
}

#[test]
fn maxretry_failures_lead_to_a_ban_that_ends() {
    let mut world = World::new();
    for now in [1000.0, 1001.0] {
        world.fail("192.0.2.1", now);
    }
    world.expect(&[]);
    world.fail("192.0.2.1", 1002.0);
    world.expect(&["remember 192.0.2.1 for 600", "[test] Ban 192.0.2.1", "act ban 192.0.2.1"]);
    assert_eq!(world.jail.counts(), Counts { found: 0, found_total: 3, banned: 1, banned_total: 1 });
    world.step(Event::Tick, 1602.0);
    world.expect(&[]);
    assert_eq!(world.jail.next_deadline(), Some(Time(1602.001)));
    world.step(Event::Tick, 1602.001);
    world.expect(&["act unban 192.0.2.1"]);
    assert_eq!(world.jail.next_deadline(), None);
}

#[test]
fn a_command_has_the_last_word_and_failures_keep_their_order() {
    let mut world = World::new();
    world.jail.log_level = Level::INFO;
    (world.jail.asks_command, world.jail.fails.max_retry) = (true, 1);
    for id in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        world.fail(id, 0.0);
    }
    world.expect(&["ask 0 192.0.2.1", "ask 1 192.0.2.2", "ask 2 192.0.2.3"]);
    let judged = |question, ignored, known| Event::Judged { question, ignored, known };
    world.step(judged(2, false, false), 1.0);
    world.step(judged(1, true, false), 1.0);
    world.step(judged(7, true, false), 1.0);
    world.expect(&[]);
    world.step(judged(0, false, false), 1.0);
    let ban = |id: &str| {
        [
            format!("[test] Found {id} - 1970-01-01 00:00:00"),
            format!("remember {id} for 600"),
            format!("[test] Ban {id}"),
            format!("act ban {id}"),
        ]
    };
    let seen = std::mem::take(&mut world.seen);
    // Both are accepted in one step; what the database answers comes afterwards.
    let mut expected = [ban("192.0.2.1"), ban("192.0.2.3")].concat();
    expected.push("[test] Ignore 192.0.2.2 by command".into());
    expected.sort();
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "{seen:?}");
    assert!(seen[0].contains("Found 192.0.2.1") && seen.iter().any(|line| line.contains("Found 192.0.2.3")));
    world.fail("192.0.2.4", 2.0);
    world.step(Event::Attempt { id: Id::parse("192.0.2.5"), lines: vec![], token: Token(9) }, 2.0);
    world.step(judged(3, true, true), 2.0);
    world.step(Event::Stop, 3.0);
    world.step(judged(4, false, false), 3.0);
    world.expect(&["ask 3 192.0.2.4", "ask 4 192.0.2.5", "answer 9 Ok(0)", "act stop 2"]);
}

#[test]
fn ignored_ids_are_not_counted() {
    let mut world = World::new();
    world.jail.log_level = Level::INFO;
    world.jail.ignore.add(Id::parse("192.0.2.0/24"));
    world.fail("192.0.2.1", 1000.0);
    world.expect(&["[test] Ignore 192.0.2.1 by ip"]);
    assert_eq!(world.jail.counts().found_total, 0);
}

#[test]
fn a_failure_in_the_future_counts_now() {
    let mut world = World::new();
    world.jail.log_level = Level::INFO;
    let failure = Failure {
        id: Id::parse("192.0.2.1"),
        time: Time(9000.0),
        whole_time: false,
        data: FailData::default(),
    };
    world.step(Event::Found(failure), 1000.0);
    world.expect(&["[test] Found 192.0.2.1 - 1970-01-01 00:16:40"]);
}

#[test]
fn the_second_ban_is_longer_and_the_actions_hear_of_it() {
    let mut world = World::with_increment(&[("increment", "true"), ("multipliers", "1 5 30")]);
    world.jail.fails.max_retry = 1;
    world.fail("192.0.2.1", 1000.0);
    world.step(Event::Tick, 1601.0);
    world.seen.clear();
    world.fail("192.0.2.1", 2000.0);
    world.expect(&[
        "remember 192.0.2.1 for 3000",
        "[test] Ban 192.0.2.1",
        "act ban 192.0.2.1",
        "[test] Increase Ban 192.0.2.1 (2 # 50m -> 1970-01-01 01:23:20)",
    ]);
    world.step(Event::Tick, 2010.0);
    world.expect(&["act prolong 192.0.2.1 to 3000"]);
    world.step(Event::Tick, 4999.0);
    world.expect(&[]);
    world.step(Event::Tick, 5000.1);
    world.expect(&["act unban 192.0.2.1"]);
}

#[test]
fn a_new_ban_is_not_prolonged_by_the_one_before() {
    let mut world = World::with_increment(&[("increment", "true"), ("multipliers", "1 5 30")]);
    world.jail.fails.max_retry = 1;
    let history = History { ban_count: 1, time_of_ban: Time(500.0) };
    world.history.insert(Id::parse("192.0.2.1"), history);
    world.fail("192.0.2.1", 1000.0);
    let ids = Some(ids(&["192.0.2.1"]));
    world.step(Event::Unban { ids, names: Names::new(), report_absent: false, token: Token(1) }, 1001.0);
    world.fail("192.0.2.1", 1002.0);
    world.seen.clear();
    world.step(Event::Tick, 1011.0);
    world.expect(&[]);
    world.step(Event::Tick, 1012.0);
    world.expect(&["act prolong 192.0.2.1 to 18000"]);
}

#[test]
fn a_shorter_bantime_ends_bans_at_once() {
    let mut world = World::new();
    world.jail.fails.max_retry = 1;
    world.fail("192.0.2.1", 1000.0);
    world.seen.clear();
    world.jail.bans.set_ban_time(60.0);
    world.step(Event::Tick, 1061.0);
    world.expect(&["act unban 192.0.2.1"]);
}

#[test]
fn failures_of_a_known_id_count_more() {
    let mut world = World::with_increment(&[("increment", "true")]);
    world.jail.log_level = Level::INFO;
    world.jail.fails.max_retry = 4;
    let history = History { ban_count: 3, time_of_ban: Time(500.0) };
    world.history.insert(Id::parse("192.0.2.1"), history);
    world.fail("192.0.2.1", 1000.0);
    world.expect(&[
        "[test] Found 192.0.2.1 - 1970-01-01 00:16:40",
        "[test] Found 192.0.2.1, bad - 1970-01-01 00:16:40, 3 # -> 4, Ban",
        "remember 192.0.2.1 for 4800",
        "[test] Ban 192.0.2.1",
        "act ban 192.0.2.1",
        "[test] IP 192.0.2.1 is bad: 3 # last 1970-01-01 00:08:20 - incr 10m to 1h 20m",
        "[test] Increase Ban 192.0.2.1 (4 # 1h 20m -> 1970-01-01 01:36:40)",
    ]);
    world.history.insert(Id::parse("192.0.2.2"), History { ban_count: 1, time_of_ban: Time(500.0) });
    world.fail("192.0.2.2", 1000.0);
    world.expect(&[
        "[test] Found 192.0.2.2 - 1970-01-01 00:16:40",
        "[test] Found 192.0.2.2, bad - 1970-01-01 00:16:40, 1 # -> 2.0",
    ]);
}

#[test]
fn a_line_read_again_after_a_restart_is_not_stored_twice() {
    let mut world = World::with_increment(&[("increment", "true")]);
    world.jail.fails.max_retry = 1;
    world.history.insert(Id::parse("192.0.2.1"), History { ban_count: 1, time_of_ban: Time(1000.0) });
    world.fail("192.0.2.1", 1000.0);
    world.expect(&[
        "[test] Ban 192.0.2.1",
        "act ban 192.0.2.1",
        "[test] Increase Ban 192.0.2.1 (2 # 20m -> 1970-01-01 00:36:40)",
    ]);
}

#[test]
fn bans_by_hand_are_answered_when_the_actions_have_run() {
    let mut world = World::new();
    let event = Event::Ban { ids: ids(&["192.0.2.1", "2001:db8::1"]), token: Token(7) };
    world.step(event, 1000.0);
    assert_eq!(world.seen.last().map(String::as_str), Some("answer 7 Ok(2)"));
    assert_eq!(world.seen.len(), 7);
    world.seen.clear();
    world.step(Event::Ban { ids: ids(&["192.0.2.1"]), token: Token(8) }, 1001.0);
    world.expect(&["answer 8 Ok(0)"]);
}

#[test]
fn bans_end_by_hand_one_by_one_by_subnet_or_all() {
    let mut world = World::new();
    let all = ids(&["192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.1"]);
    world.step(Event::Ban { ids: all, token: Token(1) }, 1000.0);
    world.seen.clear();
    let unban = |texts: &[&str], report_absent, token| Event::Unban {
        ids: Some(ids(texts)),
        names: [("home.example".into(), ids(&["192.0.2.9", "203.0.113.1"]))].into(),
        report_absent,
        token: Token(token),
    };
    world.step(unban(&["198.51.100.1"], false, 2), 1001.0);
    world.expect(&["forget 198.51.100.1", "act unban 198.51.100.1", "answer 2 Ok(1)"]);
    world.step(unban(&["192.0.2.0/24"], false, 3), 1001.0);
    world.expect(&[
        "forget 192.0.2.0/24",
        "forget 192.0.2.1 192.0.2.2",
        "act unban 192.0.2.1",
        "act unban 192.0.2.2",
        "answer 3 Ok(2)",
    ]);
    world.step(unban(&["192.0.2.1"], true, 4), 1001.0);
    world.expect(&["forget 192.0.2.1", "answer 4 Err(\"not banned: ['192.0.2.1']\")"]);
    let asked = ids(&["203.0.113.1", "192.0.2.0/24", "home.example", "a:b"]);
    assert_eq!(world.jail.names_among(&asked).collect::<Vec<_>>(), ["home.example"]);
    world.step(unban(&["other.example", "home.example"], true, 5), 1001.0);
    world.expect(&[
        "forget other.example home.example",
        "forget 203.0.113.1",
        "act unban 203.0.113.1",
        "answer 5 Err(\"not banned: ['other.example']\")",
    ]);
    assert_eq!(world.jail.names_among(&asked).count(), 0, "nobody is banned");
    world.step(Event::Ban { ids: ids(&["192.0.2.1"]), token: Token(6) }, 1001.0);
    world.seen.clear();
    world
        .step(Event::Unban { ids: None, names: Names::new(), report_absent: false, token: Token(7) }, 1001.0);
    world.expect(&["forget all", "act flush 1", "answer 7 Ok(1)"]);
}

#[test]
fn a_ban_that_ends_on_its_way_through_the_database_never_reaches_the_actions() {
    let mut jail = Jail::new("test", TimeZone::UTC, 1);
    jail.has_database = true;
    let effects = jail.step(Event::Ban { ids: ids(&["192.0.2.1"]), token: Token(1) }, Time(1000.0));
    let [Effect::Remember { ban, .. }] = effects[..] else { panic!("{effects:?}") };
    let unban = Event::Unban {
        ids: Some(ids(&["192.0.2.1"])),
        names: Names::new(),
        report_absent: false,
        token: Token(2),
    };
    let effects = jail.step(unban, Time(1000.0));
    assert!(effects.contains(&Effect::Answer { token: Token(1), result: Ok(1) }), "{effects:?}");
    let runs = |effect: &Effect| matches!(effect, Effect::Act(act) if !matches!(act, Act::Banned { .. }));
    assert!(!effects.iter().any(runs), "{effects:?}");
    assert_eq!(jail.step(Event::Remembered(ban), Time(1000.0)), []);
}

#[test]
fn bans_come_back_after_a_restart() {
    let mut world = World::new();
    let ticket = |id: &str, seconds| Ticket {
        ban_time: Some(Number::Int(seconds)),
        ..Ticket::new(Id::parse(id), Time(1000.0))
    };
    let tickets = vec![ticket("192.0.2.1", 900), ticket("192.0.2.2", 60), ticket("192.0.2.3", -1)];
    world.step(Event::Restore(tickets), 1500.0);
    world.expect(&[
        "[test] Restore Ban 192.0.2.1",
        "act ban 192.0.2.1",
        "[test] Restore Ban 192.0.2.3",
        "act ban 192.0.2.3",
    ]);
    world.step(Event::Stop, 1501.0);
    world.expect(&["act stop 2"]);
}

#[test]
fn somebody_who_fails_while_banned_is_a_reason_to_look() {
    let mut world = World::new();
    world.jail.fails.max_retry = 1;
    world.fail("192.0.2.1", 1000.0);
    world.seen.clear();
    world.fail("192.0.2.1", 1001.0);
    world.expect(&[]);
    world.fail("192.0.2.1", 1010.0);
    world.expect(&["[test] 192.0.2.1 already banned", "act verify 192.0.2.1"]);
}

#[test]
fn a_ban_by_hand_counts_when_all_of_its_actions_are_done() {
    let mut jail = Jail::new("test", TimeZone::UTC, 1);
    let by_hand = |n| Event::Ban { ids: ids(&["192.0.2.1"]), token: Token(n) };
    let counted = |effects: &[Effect], expected: i64| match effects {
        [.., Effect::Act(Act::Banned { count, token: Some(_) }), Effect::Answer { .. }] => *count == expected,
        _ => false,
    };
    let effects = jail.step(by_hand(1), Time(1000.0));
    assert!(counted(&effects, 1), "{effects:?}");
    // Whether an old ban has to be repeated is for the actions to know, and that counts for the same command.
    let effects = jail.step(by_hand(2), Time(1010.0));
    assert!(counted(&effects, 0), "{effects:?}");
    let verify = |effect: &Effect| matches!(effect, Effect::Act(Act::Verify { token: Some(Token(2)), .. }));
    assert!(effects.iter().any(verify), "{effects:?}");
}

#[test]
fn after_a_repair_bans_are_repeated_however_young_they_are() {
    let mut world = World::new();
    world.jail.fails.max_retry = 1;
    world.fail("192.0.2.1", 1000.0);
    world.jail.was_repaired = true;
    world.seen.clear();
    world.fail("192.0.2.1", 1001.0);
    world.expect(&["act repeat 192.0.2.1 if lost"]);
}

#[test]
fn attempts_by_hand_count_each_line() {
    let mut world = World::new();
    let lines = vec!["a".into(), "b".into(), "c".into()];
    world.step(Event::Attempt { id: Id::parse("192.0.2.1"), lines, token: Token(1) }, 1000.0);
    world.expect(&[
        "remember 192.0.2.1 for 600",
        "answer 1 Ok(1)",
        "[test] Ban 192.0.2.1",
        "act ban 192.0.2.1",
    ]);
}
