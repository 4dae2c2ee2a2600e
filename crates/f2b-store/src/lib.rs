//! The database: bans, their history and log positions, in fail2ban's schema.
