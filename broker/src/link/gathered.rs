//! What has arrived for each listener and was not handed over yet.

use super::outlets::Arrival;
use super::wanted::Listeners;

/// What an arrival costs beside its payload.
pub(super) const ARRIVAL_COST: usize = 64;

/// Arrivals for each listener, in order.
#[derive(Debug)]
pub struct Gathered(Vec<Share>);

#[derive(Debug, Default)]
struct Share {
    arrivals: Vec<Arrival>,
    cost: usize,
}

impl Gathered {
    /// Nothing, for so many listeners.
    pub(crate) fn new(listeners: usize) -> Self {
        Self((0..listeners).map(|_| Share::default()).collect())
    }

    /// Notes an arrival of this size for these listeners.
    pub(crate) fn collect(
        &mut self,
        mut listeners: Listeners,
        size: usize,
        arrival: impl Fn() -> Arrival,
    ) {
        while listeners != 0 {
            let listener = listeners.trailing_zeros() as usize;
            listeners &= listeners - 1;
            if let Some(share) = self.0.get_mut(listener) {
                share.arrivals.push(arrival());
                share.cost += size + ARRIVAL_COST;
            }
        }
    }

    /// Takes what there is for a listener, with the bytes it counts as.
    pub fn take(&mut self, listener: usize) -> (Vec<Arrival>, usize) {
        let share = std::mem::take(&mut self.0[listener]);
        (share.arrivals, share.cost)
    }
}
