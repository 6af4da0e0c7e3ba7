//! Speaking to gateways in the name of a Misskey: on its bus and in its caches,
//! or on topics of the cluster's own.

use redis::cmd;
use serde_json::{Value, json};

use super::{Misskey, lock};
use crate::fleet::{Fleet, FleetBuilder, TENANT};
use crate::redis::Topology;
use crate::socket::{Refusal, Socket, Upgrade};
use crate::until::until;

/// The host that fleets serve: what its bus and the prefix of its keys are called.
pub const HOST: &str = "misskey.example";

/// How many probes a gateway has heard again.
const PROOFS: &str = "carillon_gateway_probe_rtt_seconds_count";

/// Names the hosts that a gateway serves.
pub const HOSTS: &str = "CARILLON_MISSKEY_HOSTS";

impl Misskey {
    /// The setting by which gateways serve it as [`HOST`], for tenant
    /// [`TENANT`], with its bus and caches in their own Redis.
    pub fn host(&self) -> String {
        let url = self.url();
        format!("{HOST}={TENANT} bus={HOST} prefix={HOST} api={url}")
    }
}

impl FleetBuilder {
    /// Has gateways stand before this Misskey, as [`HOST`].
    pub fn misskey(self, misskey: &Misskey) -> Self {
        self.env(HOSTS, &misskey.host())
    }
}

impl Fleet {
    /// From now on no process may print a token of this Misskey, or what it
    /// keeps of its users that is nobody's business.
    pub fn hush(&self, misskey: &Misskey) {
        for token in lock(&misskey.state.world).principals.keys() {
            self.secrets().keep(token);
        }
        self.secrets().keep("$2b$08$hush");
        self.secrets().keep("HUSHHUSH");
        self.secrets().keep("@mail.misskey.example");
    }

    /// Publishes on the bus of [`HOST`], as a Misskey does, in this stream
    /// (`notesStream`, `mainStream:u1`, …). A note is the message itself, all
    /// else has `type` and `body`.
    ///
    /// # Panics
    /// If Redis is not there.
    pub async fn misskey_says(&self, stream: &str, message: &Value) {
        let frame = json!({ "channel": stream, "message": message });
        self.publish(HOST, &frame.to_string()).await;
    }

    /// Publishes on a topic of [`TENANT`], such as `user:u1` or
    /// `channel:notesStream`, as producers do who have no Misskey.
    ///
    /// # Panics
    /// If Redis is not there.
    pub async fn produce(&self, topic: &str, kind: &str, body: &Value) {
        self.primaries_are_heard().await;
        let frame = json!({ "v": 1, "type": kind, "body": body });
        let channel = format!("carillon:c:{TENANT}:{topic}");
        self.publish(&channel, &frame.to_string()).await;
    }

    /// Waits until running gateways have heard each primary of a Cluster prove
    /// itself. With the first proof after a start they close sockets that were
    /// told of events which are in no ring: others may have been missed.
    async fn primaries_are_heard(&self) {
        if self.redis().topology() == Topology::Cluster {
            let primaries = self.redis().servers().len() as f64 / 2.0;
            for gateway in self.gateways().iter().filter(|one| one.is_running()) {
                until("each primary has been heard", async || {
                    primaries <= gateway.metric(PROOFS).await
                })
                .await;
            }
        }
    }

    /// Publishes on a channel of its Redis.
    ///
    /// # Panics
    /// If Redis is not there.
    pub async fn publish(&self, channel: &str, text: &str) {
        // Always at the same server: only that keeps what is published in order.
        let published = self.redis().ask::<u64>("", &["PUBLISH", channel, text]);
        published.expect("Redis is there");
    }

    /// Sets a key of [`HOST`], such as `kvcache:userMutings:u1`.
    ///
    /// # Panics
    /// If Redis is not there.
    pub async fn misskey_keeps(&self, key: &str, value: &Value) {
        let mut set = cmd("SET");
        set.arg(format!("{HOST}:{key}")).arg(value.to_string());
        let set = self.commands().query::<String>(&set).await;
        set.expect("Redis is there");
    }

    /// Opens a streaming socket on this gateway: with a token as clients in
    /// browsers show it, or without.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn streaming_socket(
        &self,
        gateway: usize,
        token: Option<&str>,
    ) -> Result<Socket, Refusal> {
        if let Some(token) = token {
            self.secrets().keep(token);
        }
        let query = token.map(|token| format!("?i={token}"));
        let uri = format!("ws://{HOST}/streaming{}", query.unwrap_or_default());
        let address = self.gateway(gateway).address();
        Upgrade::to_host(&uri, address).open().await
    }
}

impl Socket {
    /// Opens a channel with a pong, and waits for it: then it is open, and all
    /// that was sent before has been acted on.
    ///
    /// # Panics
    /// If anything else comes first, or nothing.
    pub async fn connect(&mut self, channel: &str, id: &str, params: Value) {
        let body = json!({ "channel": channel, "id": id, "params": params, "pong": true });
        self.say(&json!({ "type": "connect", "body": body }).to_string())
            .await;
        let pong = json!({ "type": "connected", "body": { "id": id } });
        assert_eq!(self.json().await, pong);
    }

    /// Waits until the gateway has acted on all that was sent before.
    ///
    /// # Panics
    /// If anything comes meanwhile.
    pub async fn caught_up(&mut self) {
        self.connect("reversiGame", "caught up", json!({ "gameId": "caught-up" }))
            .await;
        let end = json!({ "type": "disconnect", "body": { "id": "caught up" } });
        self.say(&end.to_string()).await;
    }
}
