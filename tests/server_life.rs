//! The life of a server: what survives its end, a reload, a crash.
