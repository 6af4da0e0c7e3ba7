//! A Misskey for gateways to stand before: its HTTP API and its own streaming
//! address, over a world that tests make up.
//!
//! It answers as a real one would, refusals included; its Redis is the fleet's,
//! on which tests publish in its name.

mod api;
mod bus;
mod packed;
mod upstream;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};

pub use bus::{HOST, HOSTS};
pub use packed::{account, note, renote, reply};
pub use world::{List, Principal, Role, Room, World};

use crate::port::listener;

/// A Misskey, on a thread of its own: it works while a test is blocked.
pub struct Misskey {
    address: SocketAddr,
    state: Arc<State>,
    _dropped: oneshot::Sender<()>,
}

/// How it is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Well.
    #[default]
    Fair,
    /// It answers everything this much later.
    Slow(Duration),
    /// It answers everything with this status: 502, as a proxy does before one
    /// that is down, or 429.
    Failing(u16),
    /// It takes requests and never answers.
    Silent,
}

/// What requests find.
pub(crate) struct State {
    world: Mutex<World>,
    weather: Mutex<Weather>,
    asked: Mutex<BTreeMap<String, usize>>,
    caches: Mutex<Option<Caches>>,
    /// What its own streaming sockets are told.
    shouts: broadcast::Sender<Shout>,
    said: Mutex<Vec<String>>,
}

/// Where it keeps what it has read from its database.
#[derive(Clone)]
struct Caches {
    url: String,
    prefix: String,
}

/// What its own streaming sockets are told.
#[derive(Clone, Debug)]
enum Shout {
    /// To send this text.
    Text(String),
    /// To end without a word.
    End,
}

impl Misskey {
    /// Starts one in whose world nobody lives yet.
    ///
    /// # Panics
    /// If nobody can be listened to.
    pub fn start() -> Self {
        Self::of(World::default())
    }

    /// Starts one with this world.
    ///
    /// # Panics
    /// If nobody can be listened to.
    pub fn of(world: World) -> Self {
        let (listener, address) = listener();
        listener.set_nonblocking(true).expect("it can be polled");
        let state = Arc::new(State {
            world: Mutex::new(world),
            weather: Mutex::default(),
            asked: Mutex::default(),
            caches: Mutex::default(),
            shouts: broadcast::channel(64).0,
            said: Mutex::default(),
        });
        let router = api::router(Arc::clone(&state));
        let (end, dropped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime starts");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener);
                let listener = listener.expect("it is a listener");
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = dropped => {}
                }
            });
        });
        Self {
            address,
            state,
            _dropped: end,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its HTTP API is, as `api=` of a host names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its own streaming is, as `relay=` of a host names it.
    pub fn relay(&self) -> String {
        format!("ws://{}/streaming", self.address)
    }

    /// Changes the world.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut lock(&self.state.world));
    }

    /// From now on it does like this.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.state.weather) = weather;
    }

    /// How often this endpoint was asked, such as `i` or `users/lists/show`, in
    /// vain or not; `streaming` for its own streaming address.
    pub fn asked(&self, endpoint: &str) -> usize {
        lock(&self.state.asked).get(endpoint).copied().unwrap_or(0)
    }

    /// From now on it fills its caches of relations when somebody reads a
    /// timeline: in the Redis with this URL, under keys with this prefix.
    pub fn cache_in(&self, url: &str, prefix: &str) {
        *lock(&self.state.caches) = Some(Caches {
            url: url.to_owned(),
            prefix: prefix.to_owned(),
        });
    }

    /// How many sockets are open at its own streaming address.
    pub fn streams(&self) -> usize {
        self.state.shouts.receiver_count()
    }

    /// Sends a text to all of them.
    pub fn shout(&self, text: &str) {
        drop(self.state.shouts.send(Shout::Text(text.to_owned())));
    }

    /// Ends all of them.
    pub fn hang_up(&self) {
        drop(self.state.shouts.send(Shout::End));
    }

    /// All texts that they have sent, in order.
    pub fn said(&self) -> Vec<String> {
        lock(&self.state.said).clone()
    }
}

impl State {
    fn count(&self, endpoint: &str) {
        *lock(&self.asked).entry(endpoint.to_owned()).or_default() += 1;
    }

    fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// A test that panicked elsewhere must still be answered.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use redis::cmd;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Http;
    use crate::redis::PrivateRedis;
    use crate::socket::Upgrade;
    use broker::topology::Redis;

    async fn ask(misskey: &Misskey, endpoint: &str, body: Value) -> (u16, Value) {
        let http = Http::to(misskey.address());
        let (path, body) = (format!("/api/{endpoint}"), body.to_string());
        let answer = http.request("POST", &path, &[], body.as_bytes()).await;
        let answer = answer.unwrap();
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, body)
    }

    #[tokio::test]
    async fn it_knows_who_asks_and_what_is_theirs() {
        let misskey = Misskey::start();
        let mut token = String::new();
        misskey.change(|world| {
            token = world.user("u1");
            let app = Principal::app("u1", &["read:account"]);
            world.principals.insert("app".to_owned(), app);
            let suspended = Principal {
                suspended: true,
                ..Principal::native("u2")
            };
            world.principals.insert("gone".to_owned(), suspended);
            let list = List {
                owner: "u1".to_owned(),
                members: vec!["u2".to_owned()],
            };
            world.lists.insert("L1".to_owned(), list);
            let note = packed::note("n1", "u2", json!({}));
            world.notes.insert("n1".to_owned(), note);
            let reacted = ("n1".to_owned(), "u1".to_owned());
            world.reactions.insert(reacted, "👍".to_owned());
        });
        let me = ask(&misskey, "i", json!({ "i": token })).await;
        assert_eq!(
            (me.0, &me.1["id"], &me.1["policies"]["ltlAvailable"]),
            (200, &json!("u1"), &json!(true))
        );
        for (body, status, code) in [
            (json!({}), 401, "CREDENTIAL_REQUIRED"),
            (json!({ "i": "" }), 401, "AUTHENTICATION_FAILED"),
            (json!({ "i": "gone" }), 403, "YOUR_ACCOUNT_SUSPENDED"),
        ] {
            let refused = ask(&misskey, "i", body).await;
            assert_eq!(
                (refused.0, &refused.1["error"]["code"]),
                (status, &json!(code))
            );
        }
        let list = ask(
            &misskey,
            "users/lists/show",
            json!({ "i": "app", "listId": "L1" }),
        )
        .await;
        assert_eq!(list.1["userIds"], json!(["u2"]));
        let chats = ask(&misskey, "chat/history", json!({ "i": "app" })).await;
        assert_eq!(chats.0, 403);
        let note = ask(
            &misskey,
            "notes/show",
            json!({ "i": token, "noteId": "n1" }),
        )
        .await;
        assert_eq!(note.1["myReaction"], "👍");
        assert_eq!((misskey.asked("i"), misskey.asked("meta")), (4, 0));
        misskey.set_weather(Weather::Failing(502));
        assert_eq!(ask(&misskey, "i", json!({ "i": token })).await.0, 502);
    }

    #[tokio::test]
    async fn reading_a_timeline_fills_those_caches_that_are_gone() {
        let folder = crate::fleet::folder();
        let redis = PrivateRedis::start(&folder).await;
        let misskey = Misskey::start();
        let mut token = String::new();
        misskey.change(|world| {
            token = world.user("u1");
            world.relate("u1", "userMutings", json!(["m1"]));
        });
        misskey.cache_in(&redis.url(), "pre");
        let commands = Redis::open(&redis.url().parse().unwrap()).unwrap();
        let set = cmd("SET")
            .arg("pre:kvcache:userBlocked:u1")
            .arg("[\"b1\"]")
            .to_owned();
        commands.query::<String>(&set).await.unwrap();
        let read = ask(
            &misskey,
            "notes/timeline",
            json!({ "i": token, "limit": 1 }),
        )
        .await;
        assert_eq!(read, (200, json!([])));
        for (cache, value) in [
            ("userMutings", r#"["m1"]"#),
            ("userBlocked", r#"["b1"]"#),
            ("userFollowings", "{}"),
        ] {
            let get = cmd("GET").arg(format!("pre:kvcache:{cache}:u1")).to_owned();
            assert_eq!(commands.query::<String>(&get).await.unwrap(), value);
        }
        drop(redis);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn its_own_streaming_talks_as_far_as_it_is_relayed() {
        let misskey = Misskey::start();
        let refused = Upgrade::to(&format!("{}?i=wrong", misskey.relay()))
            .open()
            .await;
        assert_eq!(refused.err().unwrap().status(), 401);
        let mut socket = Upgrade::to(&misskey.relay()).open().await.unwrap();
        socket.connect("serverStats", "s", json!({})).await;
        socket
            .say(r#"{"type":"ch","body":{"id":"s","type":"requestLog","body":{"id":"1","length":1}}}"#)
            .await;
        let log = socket.json().await;
        assert_eq!(
            (&log["body"]["id"], &log["body"]["type"]),
            (&json!("s"), &json!("statsLog"))
        );
        assert_eq!((misskey.streams(), misskey.said().len()), (1, 2));
        misskey.shout(r#"{"type":"emojiAdded","body":{}}"#);
        assert_eq!(socket.json().await["type"], "emojiAdded");
        misskey.hang_up();
        assert_eq!(socket.end().await, crate::Heard::Gone);
    }
}
