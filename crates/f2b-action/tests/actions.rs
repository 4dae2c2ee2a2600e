//! The set of a jail's actions, with a shell that only takes notes.

use std::cell::RefCell;

use f2b_action::{ActionError, Actions, Context, FixedNames, JailCounts, Outcome, Runner, Script};
use f2b_protocol::Value;
use f2b_types::{Id, Number, Recorder, Ticket, Time};

/// Writes down what it is to run; all of it succeeds but what calls `false`.
#[derive(Default)]
struct Paper(RefCell<Vec<String>>);

impl Runner for Paper {
    fn run(&self, script: &Script, _: Number) -> Outcome {
        self.0.borrow_mut().push(script.text.clone());
        Outcome::exited(i32::from(script.text.starts_with("false ")))
    }
}

#[derive(Default)]
struct Desk {
    paper: Paper,
    names: FixedNames,
    log: Recorder,
}

impl Desk {
    fn context(&self) -> Context<'_> {
        Context {
            now: Time(1000.0),
            ban_time: 600.0,
            counts: JailCounts::default(),
            ipv6: true,
            shell: &self.paper,
            names: &self.names,
            earlier: None,
            log: &self.log,
        }
    }

    fn add(&self, actions: &mut Actions, name: &str) {
        actions.add(name, &self.context()).expect("added");
        for what in ["start", "stop", "ban", "unban"] {
            let (property, command) = (format!("action{what}"), format!("{name} {what} <ip>"));
            actions.set(name, &property, command.as_str().into(), &self.context()).expect("set");
        }
    }

    #[track_caller]
    fn check(&self, expected: &[&str]) {
        assert_eq!(self.paper.0.take(), expected);
    }
}

#[test]
fn actions_can_be_handed_to_a_thread() {
    fn sendable<T: Send>() {}
    sendable::<Actions>();
}

#[test]
fn names_are_unique_and_known() {
    let (desk, mut actions) = (Desk::default(), Actions::new("j"));
    desk.add(&mut actions, "a");
    assert_eq!(actions.add("a", &desk.context()), Err(ActionError::Exists("a".into())));
    assert_eq!(actions.delete("b"), Err(ActionError::Unknown("b".into())));
    assert_eq!(actions.names(), ["a"]);
    assert_eq!(actions.property("a", "timeout", &desk.context()), Ok(Value::Int(60)));
    assert_eq!(
        actions.property("a", "none", &desk.context()),
        Err(ActionError::NoProperty { class: "CommandAction", name: "none".into() })
    );
    actions.delete("a").expect("deleted");
    desk.check(&[]);
}

#[test]
fn what_is_new_in_a_reload_starts_and_what_is_gone_stops() {
    let (desk, mut actions) = (Desk::default(), Actions::new("j"));
    desk.add(&mut actions, "old");
    desk.add(&mut actions, "kept");
    actions.start(&desk.context());
    let ticket = Ticket::new(Id::parse("192.0.2.1"), Time(1000.0));
    actions.ban(&ticket, &desk.context());
    desk.check(&["old start ", "kept start ", "old ban 192.0.2.1", "kept ban 192.0.2.1"]);
    actions.begin_reload();
    desk.add(&mut actions, "kept");
    desk.add(&mut actions, "new");
    actions.end_reload(std::slice::from_ref(&ticket), &desk.context()).expect("reloaded");
    desk.check(&["old unban 192.0.2.1", "old stop ", "new start ", "new ban 192.0.2.1"]);
    assert_eq!(actions.names(), ["kept", "new"]);
    actions.stop(&[ticket], &desk.context());
    desk.check(&["kept unban 192.0.2.1", "new unban 192.0.2.1", "new stop ", "kept stop "]);
}

#[test]
fn an_action_that_fails_to_reload_keeps_no_other_from_it() {
    let (desk, mut actions) = (Desk::default(), Actions::new("j"));
    for name in ["a", "b", "old"] {
        desk.add(&mut actions, name);
    }
    actions.start(&desk.context());
    desk.check(&["a start ", "b start ", "old start "]);
    actions.begin_reload();
    for (name, command) in [("a", "false a"), ("b", "b reload")] {
        desk.add(&mut actions, name);
        actions.set(name, "actionreload", command.into(), &desk.context()).expect("set");
    }
    let error = actions.end_reload(&[], &desk.context()).expect_err("one has failed");
    assert_eq!(error.to_string(), "Error reloading action Jail('j')/a: 'Script error'");
    desk.check(&["false a", "b reload", "old stop "]);
    assert_eq!(actions.names(), ["a", "b"]);
}

#[test]
fn a_method_can_be_called_by_hand() {
    let (desk, mut actions) = (Desk::default(), Actions::new("j"));
    desk.add(&mut actions, "a");
    actions.tell("a", "start", None, &desk.context()).expect("started");
    actions.tell("a", "invalidateBanEpoch", None, &desk.context()).expect("done");
    assert_eq!(actions.property("a", "banEpoch", &desk.context()), Ok(Value::Int(1)));
    let ticket = Ticket::new(Id::parse("192.0.2.1"), Time(1000.0));
    assert!(actions.verify(&ticket, true, &desk.context()));
    assert!(!actions.verify(&ticket, true, &desk.context()));
    desk.check(&["a start ", "a ban 192.0.2.1"]);
    assert!(actions.tell("a", "executeCmd", None, &desk.context()).is_err());
}
