//! Up to where clients have everything, as a simulated server keeps it for those
//! that may come back.

use broker::resumption::Client;
use broker::ring::LIFE;

use super::{Away, Redis, Time};

/// The points of a server's clients, each with all it was, for a replica may know
/// an earlier one.
#[derive(Debug, Default)]
pub(super) struct Points(Vec<(Client, Vec<Point>)>);

#[derive(Clone, Copy, Debug)]
struct Point {
    /// In Unix milliseconds by Redis' clock.
    until: u64,
    /// When that was written.
    at: Time,
    dies_at: Time,
}

impl Points {
    fn of(&mut self, client: &Client) -> &mut Vec<Point> {
        let known = self.0.iter().position(|(known, _)| known == client);
        let at = known.unwrap_or_else(|| {
            self.0.push((client.clone(), Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// They are as a replica has them that has not heard what came after `until`.
    pub(super) fn as_heard(&mut self, until: Time) {
        for (_, points) in &mut self.0 {
            points.retain(|point| point.at <= until);
        }
    }
}

impl Redis {
    /// A client has come: its point, or that from now on it has one, as
    /// [`Resumption`](broker::resumption::Resumption) has it.
    pub(in super::super) fn come(
        &mut self,
        client: &Client,
        now: Time,
    ) -> Result<Option<u64>, Away> {
        let clock = self.millis(0, now);
        let points = self.running(0)?.points.of(client);
        let dies_at = now + LIFE.as_millis() as Time;
        let last = points.last_mut().filter(|point| now < point.dies_at);
        if let Some(point) = last {
            point.dies_at = dies_at;
            return Ok(Some(point.until));
        }
        points.push(Point {
            until: clock,
            at: now,
            dies_at,
        });
        Ok(None)
    }

    /// A client has all that was published before this time.
    pub(in super::super) fn reach(
        &mut self,
        client: &Client,
        until: u64,
        now: Time,
    ) -> Result<(), Away> {
        let dies_at = now + LIFE.as_millis() as Time;
        self.running(0)?.points.of(client).push(Point {
            until,
            at: now,
            dies_at,
        });
        Ok(())
    }
}
