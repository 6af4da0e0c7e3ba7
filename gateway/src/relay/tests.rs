//! Relays before a Misskey of our own, in which the test says every word.

use std::sync::Mutex;

use broker::misskey::Field;
use broker::misskey::caller::{Account, Grant, Token};
use broker::misskey::hosts::Host;
use futures_util::{SinkExt as _, StreamExt as _};
use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::*;
use crate::metrics::Metrics;

const SESSION: SessionKey = SessionKey { slot: 0, turn: 1 };

/// A Misskey, and a node that relays to it.
struct Scene {
    listener: TcpListener,
    relays: Relays,
    metrics: RelayMetrics,
}

type Upstream = WebSocketStream<TcpStream>;

impl Scene {
    async fn of(most: usize) -> Self {
        let metrics = Metrics::register(&Registry::new()).unwrap().relays;
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            relays: Relays::new(most, metrics.clone()),
            metrics,
        }
    }

    fn caller(&self, api: bool) -> Caller {
        let address = self.listener.local_addr().unwrap();
        let account = Account {
            user: "u1".into(),
            key: Field::User.key("u1"),
            grant: Grant::Native,
            token: Token::new("a b&c"),
        };
        Caller {
            host: Arc::new(Host {
                name: "misskey.example".into(),
                tenant: "acme".parse().unwrap(),
                bus: None,
                bus_redis: None,
                cache_redis: None,
                prefix: "misskey.example".into(),
                api: api.then(|| format!("http://{address}").parse().unwrap()),
                relay: Some(format!("ws://{address}/streaming").parse().unwrap()),
                old_bus: false,
            }),
            account: Some(account),
        }
    }

    /// A session that has asked for a relay.
    fn ask(&self) -> UnboundedReceiver<Mail> {
        self.ask_as(self.caller(true))
    }

    fn ask_as(&self, caller: Caller) -> UnboundedReceiver<Mail> {
        let (send, mail) = unbounded_channel();
        let relays = self.relays.clone();
        tokio::spawn(async move {
            let send = |mail| drop(send.send(mail));
            relays.serve(&caller, SESSION, send).await;
        });
        mail
    }

    /// The relay as it arrives at the Misskey, and what it asked for.
    async fn arrival(&self) -> (Upstream, String) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let asked = Mutex::default();
        #[expect(clippy::result_large_err, reason = "the library asks for it")]
        let look = |request: &Request, response: Response| {
            *asked.lock().unwrap() = request.uri().to_string();
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, look).await;
        (socket.unwrap(), asked.into_inner().unwrap())
    }

    fn ended(&self, ending: Ending) -> u64 {
        self.metrics.count(ending)
    }
}

/// What the session is told next; `None` once its relay has ended for good.
async fn told(mail: &mut UnboundedReceiver<Mail>) -> Option<Reply> {
    loop {
        match mail.recv().await? {
            Mail::Answer(SESSION, Answer::Misskey(reply)) => return Some(reply),
            Mail::Relayed(SESSION, relayed) => {
                if let Some(reply) = relayed.reply() {
                    return Some(reply);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn given(mail: &mut UnboundedReceiver<Mail>) -> Arc<Relay> {
    match told(mail).await {
        Some(Reply::Relay(relay)) => relay,
        other => panic!("{other:?} instead of a relay"),
    }
}

async fn text(mail: &mut UnboundedReceiver<Mail>) -> String {
    match told(mail).await {
        Some(Reply::Relayed(text)) => text.into(),
        other => panic!("{other:?} instead of a message"),
    }
}

async fn ends(mail: &mut UnboundedReceiver<Mail>) {
    match told(mail).await {
        Some(Reply::RelayEnded) => {}
        other => panic!("{other:?} instead of the end"),
    }
    assert!(told(mail).await.is_none(), "it is told once");
}

async fn heard(upstream: &mut Upstream) -> String {
    match upstream.next().await.unwrap().unwrap() {
        Message::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_either_side_says_reaches_the_other_in_order() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    relay.forward("before it is connected".into());
    let (mut upstream, asked) = scene.arrival().await;
    assert_eq!(asked, "/streaming?i=a+b%26c");
    relay.forward("2".into());
    assert_eq!(heard(&mut upstream).await, "before it is connected");
    assert_eq!(heard(&mut upstream).await, "2");
    for word in [Message::text("3"), Message::binary("?"), Message::text("4")] {
        upstream.send(word).await.unwrap();
    }
    assert_eq!(text(&mut mail).await, "3");
    assert_eq!(text(&mut mail).await, "4");
    assert_eq!(scene.metrics.open.get(), 1);
}

#[tokio::test]
async fn a_relay_ends_with_its_last_holder_after_all_that_was_said() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    let (mut upstream, _) = scene.arrival().await;
    upstream.send(Message::text("connected")).await.unwrap();
    assert_eq!(text(&mut mail).await, "connected");
    let other = Arc::clone(&relay);
    drop(relay);
    other.forward("my move".into());
    drop(other);
    assert_eq!(heard(&mut upstream).await, "my move");
    let end = upstream.next().await.unwrap().unwrap();
    assert!(matches!(end, Message::Close(_)), "{end:?}");
    assert!(told(&mut mail).await.is_none());
    assert_eq!(
        (scene.ended(Ending::Unused), scene.metrics.open.get()),
        (1, 0)
    );
}

#[tokio::test]
async fn a_relay_that_is_dropped_before_it_is_connected_holds_no_place() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    relay.forward("hello".into());
    let _silent = scene.listener.accept().await.unwrap();
    drop(relay);
    assert!(told(&mut mail).await.is_none());
    let _next = given(&mut scene.ask()).await;
}

#[tokio::test]
async fn nothing_is_told_of_a_relay_that_was_dropped() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    let (mut upstream, _) = scene.arrival().await;
    upstream.send(Message::text("late")).await.unwrap();
    let late = mail.recv().await;
    drop(relay);
    match late {
        Some(Mail::Relayed(_, relayed)) => assert!(relayed.reply().is_none()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_is_told_when_the_misskey_ends_its_relay() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let _relay = given(&mut mail).await;
    let (upstream, _) = scene.arrival().await;
    drop(upstream);
    ends(&mut mail).await;
    assert_eq!(scene.ended(Ending::Upstream), 1);
}

#[tokio::test]
async fn a_session_is_told_when_the_misskey_refuses() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let _relay = given(&mut mail).await;
    let (stream, _) = scene.listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the library asks for it")]
    let refuse = |_: &Request, _: Response| {
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = http::StatusCode::UNAUTHORIZED;
        Err(response)
    };
    let refused = tokio_tungstenite::accept_hdr_async(stream, refuse).await;
    assert!(refused.is_err());
    ends(&mut mail).await;
    assert_eq!(scene.ended(Ending::Refused), 1);
}

#[tokio::test]
async fn there_are_no_more_than_there_may_be() {
    let scene = Scene::of(1).await;
    let mut first = scene.ask();
    let relay = given(&mut first).await;
    let mut second = scene.ask();
    ends(&mut second).await;
    assert_eq!(
        (scene.metrics.refused.get(), scene.metrics.opened.get()),
        (1, 1)
    );
    drop(relay);
    assert!(told(&mut first).await.is_none());
    let _again = given(&mut scene.ask()).await;
}

#[tokio::test]
async fn a_misskey_that_takes_nothing_is_not_waited_for() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    let _silent = scene.listener.accept().await.unwrap();
    for _ in 0..=MAX_WAITING {
        relay.forward("{}".into());
    }
    ends(&mut mail).await;
    assert_eq!(scene.ended(Ending::Overrun), 1);
}

#[tokio::test]
async fn few_but_long_messages_may_not_wait_either() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    let _silent = scene.listener.accept().await.unwrap();
    relay.forward("x".repeat(MAX_WAITING_BYTES + 1).into());
    ends(&mut mail).await;
    assert_eq!(scene.ended(Ending::Overrun), 1);
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_relay() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let _relay = given(&mut mail).await;
    let (mut upstream, _) = scene.arrival().await;
    let most = "x".repeat(MAX_MESSAGE);
    upstream.send(Message::text(most.clone())).await.unwrap();
    assert_eq!(text(&mut mail).await, most);
    // It need not be taken to its end.
    let _ = upstream.send(Message::text(most + "x")).await;
    ends(&mut mail).await;
    assert_eq!(scene.ended(Ending::TooLong), 1);
}

#[tokio::test]
async fn a_shard_gets_no_more_than_it_has_taken() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask();
    let relay = given(&mut mail).await;
    let (mut upstream, _) = scene.arrival().await;
    let half = "x".repeat(MAX_MESSAGE / 2);
    for _ in 0..2 {
        upstream.send(Message::text(half.clone())).await.unwrap();
    }
    let (first, second) = (mail.recv().await, mail.recv().await);
    upstream.send(Message::text("third")).await.unwrap();
    upstream
        .send(Message::Ping(Default::default()))
        .await
        .unwrap();
    relay.forward("the relay lives".into());
    assert_eq!(heard(&mut upstream).await, "the relay lives");
    assert!(mail.try_recv().is_err(), "nobody has taken the first two");
    drop((first, second));
    assert_eq!(text(&mut mail).await, "third");
}

#[tokio::test]
async fn a_token_of_ours_is_shown_to_nobody() {
    let scene = Scene::of(1).await;
    let mut mail = scene.ask_as(scene.caller(false));
    ends(&mut mail).await;
    let mut ours = scene.caller(true);
    let account = ours.account.as_mut().unwrap();
    account.token = Token::new("ct_id_secret_checksum");
    ends(&mut scene.ask_as(ours)).await;
    assert_eq!(scene.metrics.opened.get(), 0);
    let visitor = Caller {
        account: None,
        ..scene.caller(false)
    };
    let mut mail = scene.ask_as(visitor);
    let _relay = given(&mut mail).await;
    assert_eq!(scene.arrival().await.1, "/streaming");
}
