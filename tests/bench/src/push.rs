//! The ways a push sets out.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use broker::annotation::schema;
use broker::annotation::store::Annotations;
use broker::identity::SignedIn;
use broker::message::Draft;
use broker::messages::Messages;
use broker::sites::Site;
use broker::topic::Tenant;
use broker::topology::Redis;
use redis::cmd;
use serde_json::json;
use tests::http::Http;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::limit;
use crate::marker::Marker;

/// Connections that an application keeps to the api.
const CONNECTIONS: usize = 64;

/// Pushes, without waiting for anything.
pub(crate) enum Pusher {
    /// Orders to the limit program, and how it spells a marker.
    Limit(TcpStream, fn(Marker) -> String),
    /// Tasks that push, and the runtime that has to live as long.
    Tasks {
        pushes: UnboundedSender<Marker>,
        _runtime: Runtime,
    },
}

/// The recipient that a topic's number stands for.
pub(crate) fn recipient(topic: usize) -> Arc<str> {
    format!("bench-{topic:05}").into()
}

/// The page that a topic's number stands for.
pub(crate) fn page(topic: u32) -> String {
    format!("https://example.com/{topic:05}")
}

impl Pusher {
    /// Orders the limit program to send what `spell` makes of a marker.
    pub(crate) fn limit(server: SocketAddr, spell: fn(Marker) -> String) -> Self {
        let mut stream = TcpStream::connect(server).expect("the limit program listens");
        stream.set_nodelay(true).expect("TCP can");
        stream
            .write_all(b"GET /control HTTP/1.1\r\n\r\n")
            .expect("the limit program listens");
        Self::Limit(stream, spell)
    }

    /// Pushes through the message store, as the api does. `in_order`: each after
    /// the one before is stored; else as many at once as there are.
    pub(crate) fn store(messages: Messages, tenant: Tenant, in_order: bool) -> Self {
        Self::tasks(|mut pushes| async move {
            while let Some(marker) = pushes.recv().await {
                let (messages, tenant) = (messages.clone(), tenant.clone());
                let push = async move {
                    let draft = Draft {
                        text: marker.write().into(),
                        label: None,
                        expires_at: None,
                        deliver_at: None,
                    };
                    let to = [recipient(marker.topic as usize)];
                    let outcome = messages.push(&tenant, &to, &draft, None).await;
                    assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
                };
                if in_order {
                    push.await;
                } else {
                    tokio::spawn(push);
                }
            }
        })
    }

    /// Annotates pages through the store of annotations, as the api does, each
    /// after the one before is stored.
    pub(crate) fn annotator(annotations: Annotations, site: Site, by: SignedIn) -> Self {
        Self::tasks(|mut pushes| async move {
            while let Some(marker) = pushes.recv().await {
                let draft = json!({
                    "uri": page(marker.topic),
                    "text": marker.write(),
                    "group": "__world__",
                    "permissions": { "read": ["group:__world__"] },
                    "target": [{ "selector": [{
                        "type": "TextQuoteSelector", "exact": "fog", "prefix": "the ", "suffix": " lifts",
                    }] }],
                });
                let draft = schema::draft(draft.to_string().as_bytes()).expect("it is one");
                let stored = annotations.create(&site, draft, &by, None).await;
                stored.expect("it is stored");
            }
        })
    }

    /// Publishes what `spell` makes of a marker: on which channel of Redis, and
    /// what. `in_order`: each after the one before is published; else as many at
    /// once as there are.
    pub(crate) fn publisher(
        redis: Redis,
        spell: fn(Marker) -> (String, String),
        in_order: bool,
    ) -> Self {
        Self::tasks(move |mut pushes| async move {
            while let Some(marker) = pushes.recv().await {
                let redis = redis.clone();
                let publish = async move {
                    let (channel, text) = spell(marker);
                    let mut publish = cmd("PUBLISH");
                    publish.arg(channel).arg(text);
                    let heard = redis.query::<u64>(&publish).await;
                    heard.expect("Redis is there");
                };
                if in_order {
                    publish.await;
                } else {
                    tokio::spawn(publish);
                }
            }
        })
    }

    /// Pushes through the api, one recipient per call, over [`CONNECTIONS`].
    pub(crate) fn api(server: SocketAddr, access_key: String) -> Self {
        Self::tasks(|mut pushes| async move {
            let http = Arc::new(Http::to(server));
            let free = Arc::new(Semaphore::new(CONNECTIONS));
            let key: Arc<str> = access_key.into();
            while let Some(marker) = pushes.recv().await {
                let permit = Arc::clone(&free).acquire_owned().await;
                let (http, key) = (Arc::clone(&http), Arc::clone(&key));
                tokio::spawn(async move {
                    let _permit = permit;
                    call(&http, &key, marker).await;
                });
            }
        })
    }

    fn tasks<F>(run: impl FnOnce(UnboundedReceiver<Marker>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread can be started");
        let (pushes, receiver) = unbounded_channel();
        runtime.spawn(run(receiver));
        Self::Tasks {
            pushes,
            _runtime: runtime,
        }
    }

    /// Sends one on its way.
    pub(crate) fn push(&mut self, marker: Marker) {
        match self {
            Self::Limit(stream, spell) => {
                let order = limit::order(marker.topic, spell(marker).as_bytes());
                stream.write_all(&order).expect("the limit program reads");
            }
            Self::Tasks { pushes, .. } => pushes.send(marker).expect("the runtime runs"),
        }
    }
}

async fn call(http: &Http, access_key: &str, marker: Marker) {
    let query = "mutation($input: MessageInput!) {
        pushMessage(input: $input) { item { id status } error { message } } }";
    let input = json!({
        "recipients": [*recipient(marker.topic as usize)],
        "message": marker.write(),
    });
    let body = json!({ "query": query, "variables": { "input": input } }).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-api-key", access_key),
    ];
    let response = http
        .request("POST", "/graphql", &headers, body.as_bytes())
        .await;
    let text = response.expect("the api answers").text();
    assert!(text.contains(r#""error":null"#), "{text}");
}
