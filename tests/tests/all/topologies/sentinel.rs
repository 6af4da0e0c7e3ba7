//! A master that sentinels watch: killed, and cut off from its replicas.

use std::sync::Arc;

use tests::Fleet;
use tests::redis::{Setup, Tls, Topology};
use tests::until;
use tokio::time::Instant;

use super::backend::{Backend, Hearings, kept};
use super::takeover::survive;
use super::{RESUMES_WITHIN, replaced};

#[tokio::test]
async fn a_killed_master_is_replaced_and_only_what_had_no_copy_may_be_lost() {
    let setup = Setup::quick_to_fail_over(Topology::Sentinel);
    let fleet = Arc::new(Fleet::of(2, 1).on(setup).start().await);
    fleet.redis().replicates().await;
    let here = Hearings::of(fleet.connect_at(0, "ann").await);
    let there = Hearings::of(fleet.connect_at(1, "ann").await);
    let backend = Backend::start(&fleet, &["ann".to_owned()]);
    let kept = survive(&fleet, backend, "", 2).await;
    let texts: Vec<_> = kept.iter().map(|push| &*push.text).collect();
    here.tell(&texts).await;
    there.tell(&texts).await;
}

#[tokio::test]
async fn a_master_cut_off_and_back_is_left_for_the_one_that_replaced_it() {
    // Those among servers, and nobody else, sign in as this user.
    let mut setup = Setup::quick_to_fail_over(Topology::Sentinel);
    setup = setup.locked(tests::redis::users(), Tls::Off);
    let fleet = Arc::new(Fleet::of(1, 1).on(setup).start().await);
    let redis = fleet.redis();
    redis.replicates().await;
    // As operators are told to: without a replica it refuses to be written to.
    for lag in ["min-replicas-to-write", "min-replicas-max-lag"] {
        let _: Vec<()> = redis.each(&["CONFIG", "SET", lag, "1"]);
    }
    let told = Hearings::of(fleet.connect("ann").await);
    let backend = Backend::start(&fleet, &["ann".to_owned()]);
    backend.gets_on(50).await;

    let old = redis.master_of("");
    redis.cut_off(old);
    let cut_at = Instant::now();
    let replaced_at = replaced(redis, "", old.address()).await;
    // It still answers our processes, and no sentinel can tell it otherwise.
    assert!(old.answers());
    until("pushes are accepted again", async || {
        backend.resumed_after(replaced_at).is_some()
    })
    .await;
    let resumed_at = backend.resumed_after(replaced_at).expect("just seen");
    let after = resumed_at - replaced_at;
    assert!(after < RESUMES_WITHIN, "resumed after {after:?}");
    backend.gets_on(50).await;

    let healed_at = Instant::now();
    redis.join_again(old);
    redis.replicates().await;
    backend.gets_on(100).await;
    assert_eq!(backend.refused_since(healed_at), Vec::<String>::new());

    let accepted = backend.stop().await;
    let kept = kept(&fleet, &accepted).await;
    for push in &accepted {
        // What the old one took before it noticed is overwritten at its return.
        let may_be_lost = cut_at <= push.answered_at && push.asked_at <= replaced_at;
        let is_kept = kept.iter().any(|other| other.id == push.id);
        assert!(is_kept || may_be_lost, "{} is lost", push.text);
    }
    let texts: Vec<_> = kept.iter().map(|push| &*push.text).collect();
    told.tell(&texts).await;
}
