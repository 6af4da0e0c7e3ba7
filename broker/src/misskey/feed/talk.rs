//! Where a host's own processes are listened to.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::metrics::OfHost;
use crate::misskey::hosts::Host;
use crate::misskey::internal::Internal;

/// What a host's processes told each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose.
    pub host: Arc<Host>,
    /// What.
    pub what: Internal,
}

/// Tells it. What finds no room is lost, and that it was is told once there is
/// room again: who follows whom must hold up nobody's notes.
pub(super) struct Talk {
    host: Arc<Host>,
    told: mpsc::Sender<Told>,
    lost: bool,
    metrics: OfHost,
}

impl Talk {
    pub(super) fn new(host: &Arc<Host>, told: mpsc::Sender<Told>, metrics: OfHost) -> Self {
        Self {
            host: Arc::clone(host),
            told,
            lost: false,
            metrics,
        }
    }

    /// Tells something.
    pub(super) fn tell(&mut self, what: Internal) {
        self.go_on();
        if self.lost || !self.send(what) {
            self.lost = true;
            self.metrics.reject("overflow");
        }
    }

    /// Something was missed.
    pub(super) fn missed(&mut self) {
        self.lost = true;
        self.go_on();
    }

    /// Tells that something was lost, if that is so and there is room for it.
    pub(super) fn go_on(&mut self) {
        if self.lost && self.send(Internal::Gap) {
            self.lost = false;
        }
    }

    fn send(&self, what: Internal) -> bool {
        let host = Arc::clone(&self.host);
        self.told.try_send(Told { host, what }).is_ok()
    }
}
