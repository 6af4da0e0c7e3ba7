//! The process that holds the sockets.

pub mod websocket;
