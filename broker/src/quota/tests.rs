//! Quotas on a real Redis, as several processes see them.

use super::*;

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

fn exceeded<T>(outcome: Result<T, Refused>) -> Exceeded {
    match outcome {
        Err(Refused::Exceeded(exceeded)) => exceeded,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let through"),
    }
}

#[tokio::test]
async fn quotas_are_set_listed_and_ended() {
    let (redis, keys) = crate::fixture::redis();
    let quotas = Quotas::new(redis.clone(), keys.clone());
    let (acme, other) = (tenant("acme"), tenant("other"));
    assert!(quotas.of(&acme).await.unwrap().is_empty());
    let changes = [(Kind::Sockets, Some(5)), (Kind::Payload, Some(100))];
    let set = quotas.set(&acme, &changes).await.unwrap();
    assert_eq!(set.limit(Kind::Sockets), Some(5));
    assert_eq!(quotas.of(&acme).await.unwrap(), set, "known here at once");
    quotas
        .set(&other, &[(Kind::Pushes, Some(0))])
        .await
        .unwrap();
    let listed = quotas.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|(tenant, _)| tenant.as_str()).collect();
    assert_eq!(names, ["acme", "other"]);
    let ended = [(Kind::Sockets, None), (Kind::Payload, None)];
    let left = quotas.set(&acme, &ended).await.unwrap();
    assert!(left.is_empty());
    assert_eq!(quotas.list().await.unwrap().len(), 1);

    let mut spoil = cmd("HSET");
    spoil.arg(keys.quota(&acme)).arg("sockets").arg("many");
    redis.query::<()>(&spoil).await.unwrap();
    assert!(quotas.read(&acme).await.is_err(), "no limit would be worse");
}

#[tokio::test]
async fn processes_share_what_a_tenant_may_push() {
    let (redis, keys) = crate::fixture::redis();
    let both = [(); 2].map(|()| Quotas::new(redis.clone(), keys.clone()));
    let acme = tenant("acme");
    let change = [(Kind::Pushes, Some(100))];
    both[0].set(&acme, &change).await.unwrap();
    let began = Instant::now();
    let mut passed = 0;
    let mut refused = None;
    for n in 0..400 {
        match both[n % 2].push(&acme, 1).await {
            Ok(()) => passed += 1,
            other => refused = Some(exceeded(other)),
        }
    }
    let earned = began.elapsed().as_secs_f64() * 100.0;
    assert!(100 <= passed, "{passed}");
    assert!(
        f64::from(passed) <= 101.0 + earned,
        "{passed} with {earned}"
    );
    let refused = refused.expect("400 are more than 100 in a second");
    assert_eq!((refused.kind, refused.limit), (Kind::Pushes, 100));
    assert!(refused.retry_after.unwrap() <= Duration::from_secs(1));
    for quotas in &both {
        quotas.push(&tenant("free"), 1_000_000).await.unwrap();
    }
}

#[tokio::test]
async fn most_pushes_ask_nobody_whether_they_may_be() {
    let (redis, keys) = crate::fixture::redis();
    let quotas = Quotas::new(redis.clone(), keys.clone());
    let acme = tenant("acme");
    let change = [(Kind::Pushes, Some(1000))];
    quotas.set(&acme, &change).await.unwrap();
    quotas.push(&acme, 1).await.unwrap();
    let bucket = keys.push_bucket(&acme);
    let gone: u32 = redis.query(cmd("DEL").arg(&bucket)).await.unwrap();
    assert_eq!(gone, 1, "it was drawn from");
    for _ in 0..33 {
        quotas.push(&acme, 3).await.unwrap();
    }
    let asked: u32 = redis.query(cmd("EXISTS").arg(&bucket)).await.unwrap();
    assert_eq!(asked, 0, "a tenth of a second's worth was drawn at once");
    quotas.push(&acme, 3).await.unwrap();
    let asked: u32 = redis.query(cmd("EXISTS").arg(&bucket)).await.unwrap();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_push_of_more_than_a_second_s_worth_is_never_let_through() {
    let (redis, keys) = crate::fixture::redis();
    let quotas = Quotas::new(redis, keys);
    let acme = tenant("acme");
    quotas
        .set(&acme, &[(Kind::Pushes, Some(10))])
        .await
        .unwrap();
    assert_eq!(exceeded(quotas.push(&acme, 11).await).retry_after, None);
    let began = Instant::now();
    quotas.push(&acme, 10).await.unwrap();
    let wait = exceeded(quotas.push(&acme, 10).await).retry_after.unwrap();
    let whole = wait + began.elapsed();
    assert!(Duration::from_millis(900) < whole, "{whole:?}");
    quotas.set(&acme, &[(Kind::Pushes, Some(0))]).await.unwrap();
    assert_eq!(exceeded(quotas.push(&acme, 1).await).retry_after, None);
}

#[tokio::test]
async fn gateways_share_the_places_of_a_tenant() {
    let (redis, keys) = crate::fixture::redis();
    let quotas = || Quotas::new(redis.clone(), keys.clone());
    let acme = tenant("acme");
    quotas()
        .set(&acme, &[(Kind::Sockets, Some(3))])
        .await
        .unwrap();
    let (here, there) = (Places::new(quotas(), "g1"), Places::new(quotas(), "g2"));
    let first = here.place(&acme).await.unwrap();
    let _second = here.place(&acme).await.unwrap();
    let _third = there.place(&acme).await.unwrap();
    for gateway in [&here, &there] {
        let refused = exceeded(gateway.place(&acme).await);
        assert_eq!((refused.kind, refused.limit), (Kind::Sockets, 3));
    }
    drop(first);
    let _fourth = here.place(&acme).await.unwrap();
    let _any = there.place(&tenant("free")).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_is_gone_holds_no_places() {
    let (redis, keys) = crate::fixture::redis();
    let quotas = || Quotas::new(redis.clone(), keys.clone());
    let acme = tenant("acme");
    quotas()
        .set(&acme, &[(Kind::Sockets, Some(1))])
        .await
        .unwrap();
    let counts = keys.socket_counts(&acme);
    let said = |millis: i64| {
        let mut said = cmd("HSET");
        said.arg(&counts).arg("dead").arg(format!("1 {millis}"));
        said
    };
    let now = redis.time().await.unwrap().millis();
    redis.query::<()>(&said(now)).await.unwrap();
    let here = Places::new(quotas(), "g1");
    exceeded(here.place(&acme).await);
    redis.query::<()>(&said(now - 16_000)).await.unwrap();
    let here = Places::new(quotas(), "g1");
    let place = here.place(&acme).await.unwrap();
    let known: Vec<String> = redis.query(cmd("HKEYS").arg(&counts)).await.unwrap();
    assert_eq!(known, ["g1"]);
    // And one that leaves says so, whatever it still has.
    here.announce(std::future::ready(())).await;
    let known: Vec<String> = redis.query(cmd("HKEYS").arg(&counts)).await.unwrap();
    assert!(known.is_empty(), "{known:?}");
    drop(place);
}
