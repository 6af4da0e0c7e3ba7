//! The store's scripts, and running them one by one or in a pipeline.
//!
//! Redis forgets scripts when it restarts. A call it does not know is sent again
//! with its source; nothing of it has run by then, so it runs once.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs};

use crate::error::Error;
use crate::topology::Redis;

/// Source with its digest, by which Redis knows it.
pub(super) struct Source {
    /// What it is counted as.
    name: &'static str,
    text: &'static str,
    digest: LazyLock<String>,
}

impl Source {
    const fn new(name: &'static str, text: &'static str, digest: fn() -> String) -> Self {
        Self {
            name,
            text,
            digest: LazyLock::new(digest),
        }
    }

    /// What it is counted as.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }
}

/// Declares scripts made of files, the shared ones first.
macro_rules! scripts {
    ($($name:ident as $label:literal = [$($file:literal),+];)+) => {$(
        pub(super) static $name: Source = {
            const TEXT: &str = concat!($(include_str!($file)),+);
            Source::new($label, TEXT, || redis::Script::new(TEXT).get_hash().to_owned())
        };
    )+};
}

scripts! {
    PUSH as "push" = ["common.lua", "place.lua", "push.lua"];
    PUSH_GLOBAL as "push_global" = ["common.lua", "active.lua", "push_global.lua"];
    BACKLOG as "backlog" = ["common.lua", "copy.lua", "backlog.lua"];
    CHECK_IN as "check_in" = ["common.lua", "check_in.lua"];
    CLAIM as "claim" = ["common.lua", "copy.lua", "claim.lua"];
    MARK as "mark" = ["common.lua", "mark.lua"];
    CANCEL as "cancel" = ["common.lua", "cancel.lua"];
    CANCEL_COPIES as "cancel_copies" = ["common.lua", "cancel_copies.lua"];
    REVOKE as "revoke" = ["common.lua", "revoke.lua"];
    PENDING_COUNT as "pending_count" = ["common.lua", "pending_count.lua"];
    SCAN as "scan" = ["common.lua", "scan.lua"];
    READ as "read" = ["common.lua", "read.lua"];
    SWEEP as "sweep" = ["common.lua", "sweep.lua"];
    RELEASE as "release" = ["common.lua", "active.lua", "place.lua", "release.lua"];
    TRIM_GLOBALS as "trim_globals" = ["common.lua", "active.lua", "trim_globals.lua"];
}

/// One script with its keys and arguments.
pub(super) struct Call {
    source: &'static Source,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(source: &'static Source) -> Self {
        Self {
            source,
            keys: Vec::new(),
            args: Vec::new(),
        }
    }

    pub(super) fn keys(mut self, keys: impl ToRedisArgs) -> Self {
        keys.write_redis_args(&mut self.keys);
        self
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// Runs this on `redis`.
    pub(super) async fn run<T: FromRedisValue>(&self, redis: &Redis) -> Result<T, Error> {
        let script = self.source.name;
        match redis.query_of(script, &self.by_digest()).await {
            Err(Error::Redis(error)) if unknown(&error) => {
                redis.query_of(script, &self.by_source()).await
            }
            result => result,
        }
    }

    /// Runs `calls`, all of one script and on one partition, in one round trip:
    /// one result each.
    pub(super) async fn run_all<T: FromRedisValue>(
        redis: &Redis,
        calls: &[Self],
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let mut pipeline = redis::Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.by_digest());
        }
        pipeline.ignore_errors();
        let Some(script) = calls.first().map(|call| call.source.name) else {
            return Ok(Vec::new());
        };
        let results: Vec<Result<T, RedisError>> = redis.pipeline_of(script, &pipeline).await?;
        let mut out = Vec::with_capacity(calls.len());
        for (call, result) in calls.iter().zip(results) {
            out.push(match result {
                Err(error) if unknown(&error) => redis.query_of(script, &call.by_source()).await,
                result => result.map_err(|error| {
                    redis.count_failure(&error);
                    error.into()
                }),
            });
        }
        Ok(out)
    }

    fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", self.source.digest.as_bytes())
    }

    fn by_source(&self) -> Cmd {
        self.command("EVAL", self.source.text.as_bytes())
    }

    fn command(&self, name: &str, script: &[u8]) -> Cmd {
        debug_assert!(self.keys_share_a_slot(), "a script touches one hash slot");
        let parts = self.keys.iter().chain(&self.args);
        let bytes = script.len() + 20 + parts.map(Vec::len).sum::<usize>();
        let mut command = Cmd::with_capacity(3 + self.keys.len() + self.args.len(), bytes);
        command.arg(name).arg(script).arg(self.keys.len());
        command.arg(&*self.keys).arg(&*self.args);
        command
    }

    fn keys_share_a_slot(&self) -> bool {
        let tag = |key: &[u8]| {
            key.split(|b| matches!(b, b'{' | b'}'))
                .nth(1)
                .map(<[u8]>::to_owned)
        };
        let mut tags = self.keys.iter().map(|key| tag(key));
        let first = tags.next().flatten();
        first.is_some() && tags.all(|tag| tag == first)
    }
}

fn unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
