//! A node's shards and their turns, as `shard.rs` drives them, without waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::link::Wants;
use rand::rngs::SmallRng;
use tokio::sync::Semaphore;

use super::super::redis::Time;
use super::super::schedule::Climate;
use super::super::setting::Setting;
use super::happening::Happening;
use super::{Floor, World};
use crate::dialect::Protocol;
use crate::errands::Errands;
use crate::session::SessionLimits;
use crate::shard::{Berth, Held, Shard, ShardSettings};

impl Floor {
    pub(super) fn new(
        number: usize,
        climate: &Climate,
        wants: &Wants,
        random: SmallRng,
        begun: Instant,
        setting: &Setting,
    ) -> Self {
        let session = SessionLimits {
            frames_per_second: 1000,
            heartbeat: Duration::from_millis(climate.heartbeat),
        };
        let settings = ShardSettings {
            session: [session; Protocol::EVERY.len()],
            max_frame: 1 << 16,
            max_queue: climate.queue,
            drain_window: Duration::from_secs(5),
            missed_rate: 1.0,
            max_age: Duration::ZERO,
        };
        let errands = Errands::default();
        let berth = Berth::new(
            number,
            settings,
            Held::new(usize::MAX),
            wants.clone(),
            errands.clone(),
            setting.metrics(),
        );
        let berth = berth.expect("the system gives polls");
        let inbox = berth.inbox();
        Self {
            shard: Shard::new(berth, random, begun),
            inbox,
            errands,
            room: Arc::new(Semaphore::new(climate.room as usize)),
            asleep: 0,
            turn: None,
            coming: Vec::new(),
            ready: Vec::new(),
        }
    }
}

impl World {
    /// A shard has something to do then, or before.
    pub(super) fn turn_after(&mut self, node: usize, shard: usize, after: Time) {
        let floor = &mut self.nodes[node].shards[shard];
        let at = (self.now + after).max(floor.asleep);
        if floor.turn.is_none_or(|turn| at < turn) {
            floor.turn = Some(at);
            self.enter(at - self.now, Happening::Turn { node, shard });
        }
    }

    pub(super) fn turn(&mut self, node: usize, shard: usize) {
        let now = self.clock();
        let floor = &mut self.nodes[node].shards[shard];
        if floor.turn != Some(self.now) {
            // An earlier one came in between.
            return;
        }
        floor.turn = None;
        if self.now < floor.asleep {
            let after = floor.asleep - self.now;
            return self.turn_after(node, shard, after);
        }
        floor.shard.begin_turn(now);
        floor.shard.open_mail(now);
        for (slot, ready) in std::mem::take(&mut floor.ready) {
            floor.shard.socket(slot, ready, now);
        }
        for client in std::mem::take(&mut floor.coming) {
            self.let_in(client, now);
        }
        let floor = &mut self.nodes[node].shards[shard];
        floor.shard.end_turn(now);
        let wait = floor.shard.wait(now.steady);
        let (asked, marks) = floor.errands.taken();
        for asked in asked {
            let delay = self.command_delay();
            self.enter(delay, Happening::Run { node, asked });
        }
        for mark in marks {
            let delay = self.command_delay();
            self.enter(delay, Happening::Note { node, mark });
        }
        self.look_at_clients(node, shard);
        if let Some(wait) = wait {
            self.turn_after(node, shard, wait.as_millis() as Time);
        }
        self.go_on_handing_over(node);
    }
}
