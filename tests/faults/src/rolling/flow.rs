//! How clients move: how long each was without a socket, and whether they came back
//! as fast as planned.

use std::time::Duration;

use super::deployment::Leave;
use crate::crowd::Crowd;
use crate::manners::Manners;

/// Reconnects are counted in windows of this length.
const WINDOW: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// They may be so far from what is planned.
pub(super) const TOLERANCE: f64 = 0.3;

/// A time in which a client had no socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// Since when.
    pub(super) from: Duration,
    /// Until when, if it is over.
    pub(super) to: Option<Duration>,
}

impl Gap {
    /// How long it was, or is by now.
    pub(super) fn length(&self, now: Duration) -> Duration {
        self.to.unwrap_or(now).saturating_sub(self.from)
    }
}

/// All that began since.
pub(super) fn gaps(crowd: &Crowd, since: Duration) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for client in crowd.clients() {
        let stays = client.read(|diary| diary.stays.clone());
        let next = stays.iter().skip(1).map(|stay| Some(stay.from));
        for (stay, to) in stays.iter().zip(next.chain([None])) {
            gaps.extend(
                stay.to
                    .filter(|&from| since <= from)
                    .map(|from| Gap { from, to }),
            );
        }
    }
    gaps
}

/// How many times clients were refused or found nobody, so far.
pub(super) fn refused(crowd: &Crowd) -> u32 {
    let clients = crowd.clients().iter();
    clients
        .map(|client| client.read(|diary| diary.refused))
        .sum()
}

/// Whether clients came back as fast as gateways were to let them go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Windows of five seconds, without the first and the last.
    pub(super) windows: usize,
    /// Of these, so many had as many reconnects as planned, within the tolerance.
    pub(super) kept: usize,
    /// The least and the most reconnects in one, as a share of those planned.
    pub(super) least: f64,
    /// See above.
    pub(super) most: f64,
    /// The share of single seconds that were within the tolerance.
    pub(super) seconds: f64,
    /// Reconnects in a second that were planned while one gateway drained, on average.
    pub(super) planned: f64,
}

/// Compares when clients came back with when these gateways were to close their
/// sockets, evenly over `window`.
pub(super) fn pace(
    crowd: &Crowd,
    leaves: &[Leave],
    window: Duration,
    gaps: &[Gap],
) -> Option<Pace> {
    let drains: Vec<Drain> = leaves
        .iter()
        .map(|leave| Drain {
            from: leave.drained_from + pause(crowd),
            window,
            sockets: leave.sockets,
        })
        .collect();
    let back: Vec<Duration> = gaps.iter().filter_map(|gap| gap.to).collect();
    judge(&drains, &back)
}

/// How long clients are without their socket on average, if they are let in at once.
fn pause(crowd: &Crowd) -> Duration {
    let each = crowd.clients().iter();
    let sum: Duration = each
        .map(|client| Manners::Published.pause(client.kind.dialect()))
        .sum();
    sum / crowd.clients().len() as u32
}

/// Sockets that are to come back evenly over a while.
struct Drain {
    from: Duration,
    window: Duration,
    sockets: f64,
}

impl Drain {
    /// How many of them between two moments.
    fn between(&self, from: Duration, to: Duration) -> f64 {
        let end = self.from + self.window;
        let part = end.min(to).saturating_sub(self.from.max(from));
        self.sockets * part.as_secs_f64() / self.window.as_secs_f64()
    }
}

fn judge(drains: &[Drain], back: &[Duration]) -> Option<Pace> {
    let from = drains.iter().map(|drain| drain.from).min()?;
    let to = drains.iter().map(|drain| drain.from + drain.window).max()?;
    let shares = |length: Duration, from: Duration, to: Duration| -> Vec<f64> {
        let begins = (0..).map(|n| from + length * n);
        let begins = begins.take_while(|&begin| begin + length <= to);
        begins
            .map(|begin| {
                let end = begin + length;
                let planned: f64 = drains.iter().map(|drain| drain.between(begin, end)).sum();
                let seen = back.iter().filter(|&&at| begin <= at && at < end).count();
                (seen as f64, planned)
            })
            .filter(|&(_, planned)| 0.0 < planned)
            .map(|(seen, planned)| seen / planned)
            .collect()
    };
    let is_kept = |share: &&f64| (**share - 1.0).abs() <= TOLERANCE;
    let (from, to) = (from + WINDOW, to.saturating_sub(WINDOW));
    let windows = shares(WINDOW, from, to);
    let seconds = shares(SECOND, from, to);
    let rates = drains
        .iter()
        .map(|drain| drain.sockets / drain.window.as_secs_f64());
    Some(Pace {
        windows: windows.len(),
        kept: windows.iter().filter(is_kept).count(),
        least: windows.iter().copied().reduce(f64::min)?,
        most: windows.iter().copied().reduce(f64::max)?,
        seconds: seconds.iter().filter(is_kept).count() as f64 / seconds.len() as f64,
        planned: rates.sum::<f64>() / drains.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn drain(from: u64, sockets: f64) -> Drain {
        Drain {
            from: at(from * 1000),
            window: at(60_000),
            sockets,
        }
    }

    #[test]
    fn who_comes_back_evenly_keeps_the_pace() {
        // 10 per second from one, and as many from another 30 s later.
        let one = (0..600).map(|n| at(n * 100));
        let other = (300..900).map(|n| at(n * 100));
        let back: Vec<Duration> = one.chain(other).collect();
        let pace = judge(&[drain(0, 600.0), drain(30, 600.0)], &back).unwrap();
        assert_eq!((pace.windows, pace.kept), (16, 16));
        assert_eq!((pace.least, pace.most, pace.seconds), (1.0, 1.0, 1.0));
        assert_eq!(pace.planned, 10.0);
    }

    #[test]
    fn a_storm_and_a_calm_do_not() {
        let storm = (0..600).map(|n| at(7000 + n));
        let pace = judge(&[drain(0, 600.0)], &storm.collect::<Vec<_>>()).unwrap();
        assert_eq!((pace.windows, pace.kept), (10, 0));
        assert_eq!((pace.least, pace.most), (0.0, 12.0));
    }
}
