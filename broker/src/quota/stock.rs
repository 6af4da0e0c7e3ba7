//! What this process has drawn of what tenants may push.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;

use super::{Exceeded, Kind, Refused};
use crate::error::Error;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Draws from what a tenant may push.
static DRAW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("draw.lua")));

/// One part of a second's worth is drawn at a time, of so many.
const PART: u32 = 10;
/// What is not used for so long is nobody's: it would add to what was drawn since.
const LIFE: Duration = Duration::from_secs(1);
/// Tenants whose stocks are kept; those beyond draw anew.
const MOST: usize = 8192;

/// The stocks of all tenants.
#[derive(Debug, Default)]
pub(super) struct Stocks {
    /// Never held across an await.
    stocks: Mutex<HashMap<Tenant, Arc<tokio::sync::Mutex<Stock>>>>,
}

/// What was drawn for a tenant and not used yet. Whoever draws holds it, so that
/// others wait for what that brings instead of drawing too.
#[derive(Clone, Copy, Debug, Default)]
struct Stock {
    messages: usize,
    until: Option<Instant>,
    /// So many, and more, cannot be had before this.
    lacking: Option<(usize, Instant)>,
}

impl Stock {
    /// Takes so many, if they are there.
    fn take(&mut self, messages: usize, now: Instant) -> bool {
        if self.until.is_none_or(|until| until <= now) {
            self.messages = 0;
        }
        let there = messages <= self.messages;
        if there {
            self.messages -= messages;
        }
        there
    }
}

impl Stocks {
    pub(super) fn forget(&self, tenant: &Tenant) {
        self.stocks().remove(tenant);
    }

    pub(super) async fn take(
        &self,
        redis: &Redis,
        bucket: &str,
        tenant: &Tenant,
        limit: u32,
        messages: usize,
    ) -> Result<(), Refused> {
        let exceeded = |retry_after| {
            Refused::Exceeded(Exceeded {
                kind: Kind::Pushes,
                limit,
                retry_after,
            })
        };
        if (limit as usize) < messages {
            return Err(exceeded(None));
        }
        let stock = self.stock(tenant);
        let mut stock = stock.lock().await;
        let now = Instant::now();
        if stock.take(messages, now) {
            return Ok(());
        }
        if let Some((least, until)) = stock.lacking
            && least <= messages
            && now < until
        {
            return Err(exceeded(Some(until - now)));
        }
        let missing = messages - stock.messages;
        let wanted = missing.max((limit / PART) as usize);
        let (drawn, wait) = draw(redis, bucket, limit, missing, wanted).await?;
        if drawn < missing {
            let wait = Duration::from_millis(wait);
            stock.lacking = Some((messages, now + wait));
            return Err(exceeded(Some(wait)));
        }
        stock.messages += drawn;
        stock.messages -= messages;
        stock.until = Some(now + LIFE);
        stock.lacking = None;
        Ok(())
    }

    fn stock(&self, tenant: &Tenant) -> Arc<tokio::sync::Mutex<Stock>> {
        let mut stocks = self.stocks();
        if MOST <= stocks.len() && !stocks.contains_key(tenant) {
            stocks.clear();
        }
        Arc::clone(stocks.entry(tenant.clone()).or_default())
    }

    fn stocks(&self) -> std::sync::MutexGuard<'_, HashMap<Tenant, Arc<tokio::sync::Mutex<Stock>>>> {
        self.stocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Draws at least `least` and at most `most`: how many, or when there will be enough,
/// in milliseconds.
async fn draw(
    redis: &Redis,
    bucket: &str,
    limit: u32,
    least: usize,
    most: usize,
) -> Result<(usize, u64), Error> {
    let mut draw = DRAW.key(bucket);
    draw.arg(limit).arg(least).arg(most);
    redis.invoke(&draw).await
}
