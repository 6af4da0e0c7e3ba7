//! Commands to one real server that comes and goes.

mod cluster;
mod sentinel;
mod tls;

use super::lane::LANES;
use super::*;
use crate::fixture;

fn lanes(redis: &Redis) -> &Lanes {
    match &redis.inner.servers {
        Servers::One(lanes) => lanes,
        Servers::Many(_) => panic!("the fixture is one server"),
    }
}

#[tokio::test]
async fn a_redis_that_is_back_is_used_at_the_first_call() {
    let (redis, mut server) = fixture::Own::start();
    for _ in 0..LANES {
        redis.ping().await.unwrap();
    }
    server.restart();
    // The system tells of it whenever it likes.
    while lanes(&redis).ended.count() < LANES {
        tokio::task::yield_now().await;
    }
    for lane in 0..LANES {
        let answer = redis.ping().await;
        assert!(answer.is_ok(), "lane {lane}: {answer:?}");
    }
}

#[tokio::test]
async fn commands_and_what_fails_are_counted() {
    let (redis, line) = fixture::cuttable().await;
    for _ in 0..LANES {
        redis.ping().await.unwrap();
    }
    let of = |script| redis.inner.metrics.scripts.with_label_values(&[script]);
    let errors = |kind| redis.inner.metrics.errors.with_label_values(&[kind]).get();
    assert_eq!(redis.inner.metrics.connections.get(), LANES as i64);
    assert_eq!(of(NO_SCRIPT).get(), LANES as u64);
    let wrong = redis::cmd("GET").arg("a").arg("b").clone();
    assert!(redis.query_of::<()>("wrong", &wrong).await.is_err());
    assert_eq!((of("wrong").get(), errors("refused")), (1, 1));
    let text = redis::cmd("ECHO").arg("no number").clone();
    assert!(redis.query::<u64>(&text).await.is_err());
    assert_eq!(errors("unreadable"), 1);

    line.abort();
    assert!(line.await.unwrap_err().is_cancelled());
    for _ in 0..2 * LANES {
        assert!(redis.ping().await.is_err());
    }
    assert_eq!(errors("connect") + errors("lost"), 2 * LANES as u64);
    assert!(LANES as u64 <= errors("connect"));
    assert_eq!(redis.inner.metrics.connections.get(), 0);
    assert_eq!(redis.inner.metrics.under_way.get(), 0);
}

#[tokio::test]
async fn a_password_is_in_no_error_of_a_server_that_repeats_what_it_does_not_know() {
    // As a server that is too old for it, or a proxy in front of one.
    let server = fixture::Own::start_with(&["--rename-command", "HELLO", ""]);
    for scheme in ["redis", "redis+cluster"] {
        let redis = fixture::open_url(&format!("{scheme}://ann:hush@{}", server.address()));
        let error = redis.ping().await.unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hush"), "{text}");
            assert!(text.contains("HELLO"), "{text}");
        }
    }
    let sentinels = format!(
        "redis+sentinel://{0}/m?sentinel_password=hush",
        server.address()
    );
    let error = fixture::open_url(&sentinels).ping().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");

    let redis = fixture::open(fixture::address());
    let unknown = redis::cmd("STORE").arg("hush").clone();
    let error = redis.query::<()>(&unknown).await.unwrap_err().to_string();
    assert!(
        error.contains("STORE") && !error.contains("hush"),
        "{error}"
    );
}
