//! What is noted as read on a real Redis.

use futures_util::StreamExt;
use redis::FromRedisValue;

use super::*;
use crate::fixture;
use crate::misskey::hosts::Hosts;

/// A host with names of its own on the server.
struct Place {
    redis: Redis,
    keys: Keys,
    prefix: String,
    markers: Markers,
}

impl Place {
    fn new(bus: Option<&str>) -> Self {
        let (redis, keys) = fixture::redis();
        let prefix = keys.meta();
        let bus = bus.map_or_else(String::new, |bus| format!(" bus={prefix}{bus}"));
        let hosts: Hosts = format!("m.example=acme prefix={prefix}{bus}")
            .parse()
            .unwrap();
        let host = hosts.host(Some("m.example")).unwrap();
        let markers = Markers::new(host, redis.clone(), redis.clone(), keys.clone());
        Self {
            redis,
            keys,
            prefix,
            markers,
        }
    }

    async fn run<T: FromRedisValue>(&self, name: &str, key: &str, rest: &[&str]) -> T {
        let mut command = cmd(name);
        command.arg(format!("{}:{key}", self.prefix)).arg(rest);
        self.redis.query(&command).await.unwrap()
    }

    /// What is published on the channel while `work` is done.
    async fn told(&self, channel: &str, work: impl Future<Output = ()>) -> Vec<String> {
        let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
        let mut heard = client.get_async_pubsub().await.unwrap();
        heard.subscribe(channel).await.unwrap();
        work.await;
        let end = cmd("PUBLISH").arg(channel).arg("end").to_owned();
        self.redis.query::<()>(&end).await.unwrap();
        let payloads = heard
            .on_message()
            .map(|m| m.get_payload::<String>().unwrap());
        let until_end = payloads.take_while(|text| std::future::ready(text != "end"));
        until_end.collect().await
    }
}

#[tokio::test]
async fn notifications_are_read_once_and_the_bus_is_told() {
    let place = Place::new(Some("-bus"));
    let channel = format!("{}-bus", place.prefix);
    let read = async || place.markers.read_notifications("u1").await.unwrap();
    let word =
        r#"{"channel":"mainStream:u1","message":{"type":"readAllNotifications","body":null}}"#;

    assert!(place.told(&channel, read()).await.is_empty());
    let read_up_to: Option<String> = place.run("GET", "latestReadNotification:u1", &[]).await;
    assert_eq!(read_up_to, None, "there is no notification at all");

    for id in ["9-1", "10-0"] {
        let timeline = "notificationTimeline:u1";
        let _: String = place.run("XADD", timeline, &[id, "data", "{}"]).await;
        assert_eq!(place.told(&channel, read()).await, [word], "{id}");
        assert!(place.told(&channel, read()).await.is_empty(), "{id}");
        let read_up_to: String = place.run("GET", "latestReadNotification:u1", &[]).await;
        assert_eq!(read_up_to, id);
    }
}

#[tokio::test]
async fn a_host_without_a_bus_is_told_on_the_topic_of_the_user() {
    let place = Place::new(None);
    let topic = Topic::new(&"acme".parse().unwrap(), TopicKind::User, "u1");
    let timeline = "notificationTimeline:u1";
    let _: String = place.run("XADD", timeline, &["1-0", "data", "{}"]).await;
    let read = async { place.markers.read_notifications("u1").await.unwrap() };
    let told = place.told(&place.keys.channel(&topic), read).await;
    assert_eq!(told, [r#"{"v":1,"type":"readAllNotifications"}"#]);
}

#[tokio::test]
async fn what_was_written_in_a_chat_is_read() {
    let place = Place::new(None);
    for key in [
        "newUserChatMessageExists:u1:f1",
        "newRoomChatMessageExists:u1:r1",
    ] {
        let _: String = place.run("SET", key, &["m1"]).await;
    }
    let unread = "newChatMessagesExists:u1";
    let _: u8 = place
        .run("SADD", unread, &["user:f1", "user:f2", "room:r1"])
        .await;
    place.markers.read_chat_user("u1", "f1").await.unwrap();
    place.markers.read_chat_room("u1", "r1").await.unwrap();
    let left: Vec<String> = place.run("SMEMBERS", unread, &[]).await;
    assert_eq!(left, ["user:f2"]);
    for key in [
        "newUserChatMessageExists:u1:f1",
        "newRoomChatMessageExists:u1:r1",
    ] {
        let there: bool = place.run("EXISTS", key, &[]).await;
        assert!(!there, "{key}");
    }
}
