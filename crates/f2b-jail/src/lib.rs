//! A jail as a pure state machine.
//!
//! [`Jail::step`] takes an [`Event`] and the time and gives back [`Effect`]s; [`Jail::next_deadline`] says when it wants
//! an [`Event::Tick`]. No clock, thread, socket, file or name lookup is in here, so that counting, banning, extending,
//! restoring and forgetting can be tested with a made-up clock, and a log replayed in simulated time runs the same code.
//!
//! ```text
//! Found ──► ignored? ──► FailManager ──maxretry──► BanManager ──► AskHistory ─► Remember ─► Log "Ban" + Act(Ban)
//!                             ▲                         │          (longer ban)  (database)
//!                             └── history counts more ──┘ Tick ──► Log "Unban" + Act(Unban)
//! ```
//!
//! A ban is announced and carried out only after the database has confirmed it: what is in the log survives a crash.
//!
//! Upstream: `failmanager.py`, `banmanager.py`, `observer.py`, `jail.py` and the deciding half of `actions.py`.

mod ban_manager;
mod event;
mod fail_manager;
mod formula;
mod id_set;
mod ignore;
mod increment;
mod jail;
mod list_source;
mod ordered;

pub use crate::ban_manager::{BanManager, Banned};
pub use crate::event::{Act, Asked, Effect, Event, History, Names, Token};
pub use crate::fail_manager::FailManager;
pub use crate::formula::FormulaError;
pub use crate::id_set::IdSet;
pub use crate::ignore::{IgnoreList, IgnoreReason};
pub use crate::increment::{Increment, IncrementError};
pub use crate::jail::{Counts, Jail};
pub use crate::list_source::{ListPlace, ListSource, ListSourceError};
