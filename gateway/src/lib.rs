//! The process that holds the sockets.

pub mod client_address;
pub mod websocket;
