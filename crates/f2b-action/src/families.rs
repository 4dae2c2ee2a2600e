//! What an action remembers of the families it was started for.
//!
//! Upstream: `CommandAction.__started` and `_operationExecuted`.

/// A family that an action distinguishes. The empty one stands for all of them; `None` is that of an id that is no
/// address.
pub(crate) type Family = Option<String>;

/// The action is started for the family.
pub(crate) const STARTED: u8 = 1;
/// Something is banned in the family.
pub(crate) const HAS_ITEMS: u8 = 2;

/// The state of each family, in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Families(Vec<(Family, u8)>);

impl Families {
    pub(crate) fn knows(&self, family: &Family) -> bool {
        self.0.iter().any(|(known, _)| known == family)
    }

    pub(crate) fn state(&self, family: &Family) -> u8 {
        self.0.iter().find(|(known, _)| known == family).map_or(0, |(_, state)| *state)
    }

    pub(crate) fn set(&mut self, family: &Family, state: u8) {
        match self.0.iter_mut().find(|(known, _)| known == family) {
            Some((_, old)) => *old = state,
            None => self.0.push((family.clone(), state)),
        }
    }

    pub(crate) fn filter(&self, wanted: impl Fn(u8) -> bool) -> Vec<Family> {
        self.0.iter().filter(|(_, state)| wanted(*state)).map(|(family, _)| family.clone()).collect()
    }
}

/// What is run for an action as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Start,
    Stop,
    Flush,
    Reload,
}

impl Operation {
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Start => "<actionstart>",
            Self::Stop => "<actionstop>",
            Self::Flush => "<actionflush>",
            Self::Reload => "<actionreload>",
        }
    }

    pub(crate) fn doing(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Flush => "flushing",
            Self::Reload => "reloading",
        }
    }
}

/// The commands that were last run for an operation, by family: what does the same for two families is run once.
#[derive(Debug, Default)]
pub(crate) struct Executed(Vec<(Operation, Family, String)>);

impl Executed {
    pub(crate) fn for_another_family(&self, operation: Operation, family: &Family, command: &str) -> bool {
        self.0.iter().any(|(op, f, c)| *op == operation && f != family && c == command)
    }

    pub(crate) fn note(&mut self, operation: Operation, family: &Family, command: String) {
        self.0.retain(|(op, f, _)| *op != operation || f != family);
        self.0.push((operation, family.clone(), command));
    }

    /// Forgets the command of an operation for this family and for every other one that has the same command.
    pub(crate) fn forget(&mut self, operation: Operation, family: &Family) {
        let known = self.0.iter().position(|(op, f, _)| *op == operation && f == family);
        let Some(known) = known else { return };
        let (_, _, command) = self.0.remove(known);
        self.0.retain(|(op, _, c)| *op != operation || *c != command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_is_forgotten_for_all_families() {
        let family = |name: &str| Some(name.to_owned());
        let mut executed = Executed::default();
        executed.note(Operation::Start, &family("inet4"), "x".into());
        executed.note(Operation::Stop, &family("inet6"), "x".into());
        assert!(executed.for_another_family(Operation::Start, &family("inet6"), "x"));
        assert!(!executed.for_another_family(Operation::Start, &family("inet4"), "x"));
        executed.note(Operation::Start, &family("inet6"), "x".into());
        executed.forget(Operation::Start, &family("inet4"));
        assert!(!executed.for_another_family(Operation::Start, &None, "x"));
        assert!(executed.for_another_family(Operation::Stop, &None, "x"));
    }

    #[test]
    fn states_are_kept_in_order() {
        let mut families = Families::default();
        families.set(&None, STARTED);
        families.set(&Some("inet4".into()), STARTED | HAS_ITEMS);
        families.set(&None, 0);
        assert!(families.knows(&None));
        assert_eq!(families.filter(|state| state != 0), [Some("inet4".into())]);
        assert_eq!(families.state(&Some("inet6".into())), 0);
    }
}
