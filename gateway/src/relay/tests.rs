//! Relays before a Misskey of our own.
