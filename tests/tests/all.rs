//! Carillon from outside: every test starts a cluster of its own.

#[path = "all/harness.rs"]
mod harness;
