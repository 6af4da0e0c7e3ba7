//! Commands and subscriptions over TLS, to a server that asks who comes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Error;
use crate::fixture::Guarded;
use crate::link::connect::sign_in;
use crate::link::resp::{Push, Reader, command};
use crate::topology::{Redis, RedisSettings, TlsFiles};

fn open(url: &str, files: TlsFiles) -> Redis {
    let settings: RedisSettings = url.parse().unwrap();
    Redis::open(&settings.with_tls_files(files)).unwrap()
}

#[tokio::test]
async fn commands_and_subscriptions_go_over_tls_by_user_and_password() {
    for mutual in [false, true] {
        let server = Guarded::start(mutual);
        let redis = open(&server.url(), server.files("authority", mutual));
        redis.ping().await.unwrap();
        let mut own = redis
            .own_connection_of("a", Duration::from_secs(1))
            .await
            .unwrap();
        let () = own.query(redis::cmd("SET").arg("a").arg(1)).await.unwrap();

        let there = redis.server(None).await.unwrap();
        let mut stream = there.dial().await.unwrap();
        let mut out = Vec::new();
        sign_in(&mut out, &there.access.login.get());
        command(&mut out, [b"SUBSCRIBE".as_slice(), b"bells"].into_iter());
        stream.write_all(&out).await.unwrap();
        stream.flush().await.unwrap();
        let mut reader = Reader::default();
        let long = "ding".repeat(50_000);
        loop {
            assert_ne!(stream.read_buf(reader.space()).await.unwrap(), 0);
            let mut heard = false;
            while let Some(push) = reader.next().unwrap() {
                match push {
                    Push::Done => {}
                    Push::Subscribed(channel) => {
                        assert_eq!(channel, b"bells");
                        let ring = redis::cmd("PUBLISH").arg("bells").arg(&long).to_owned();
                        let () = redis.query(&ring).await.unwrap();
                    }
                    Push::Message { payload, .. } => heard = payload == long.as_bytes(),
                    other => panic!("{other:?}"),
                }
            }
            if heard {
                break;
            }
        }
    }
}

#[tokio::test]
async fn who_is_not_believed_or_not_let_in_is_told_so_and_no_secret_is() {
    let server = Guarded::start(true);
    let failure = async |url: &str, files| open(url, files).ping().await.unwrap_err().to_string();
    let strange = failure(&server.url(), server.files("stranger", true)).await;
    assert!(strange.contains("certificate"), "{strange}");
    let system = failure(&server.url(), TlsFiles::default()).await;
    assert!(system.contains("certificate"), "{system}");
    let unknown = failure(&server.url(), server.files("authority", false)).await;
    assert!(unknown.starts_with("redis: "), "{unknown}");
    let wrong = failure(&server.url_with("hush"), server.files("authority", true)).await;
    assert!(wrong.to_lowercase().contains("password"), "{wrong}");
    assert!(!wrong.contains("hush"), "{wrong}");
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let settings: RedisSettings = "rediss://a".parse().unwrap();
    let files = TlsFiles {
        authorities: Some("/nowhere/ca.pem".into()),
        own: None,
    };
    match Redis::open(&settings.with_tls_files(files)) {
        Err(Error::Topology(why)) => assert!(why.contains("/nowhere/ca.pem"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
}
