//! The database: bans, their history, and how far the logs have been read.
//!
//! The file is an SQLite database in upstream's schema version 4. An existing file is carried on, and upstream can open
//! it again; it may be read by others and vacuumed at any time. What is in it is not trusted: rows of a wrong shape are
//! left out, and a file that is damaged is put aside and saved as far as possible.
//!
//! One thread owns the [`Store`]. Upstream: `database.Fail2BanDb`.

mod bans;
mod error;
mod json;
mod logs;
mod repair;
mod schema;
mod store;

pub use crate::bans::{CurrentBans, History, NewBan};
pub use crate::error::StoreError;
pub use crate::logs::{KnownLog, OldLog};
pub use crate::store::Store;
