//! A Cluster that loses a primary, and one whose slots move.

use std::sync::Arc;

use broker::topic::Topic;
use tests::fleet::TENANT;
use tests::redis::{Setup, Topology};
use tests::{Fleet, until};
use tokio::time::Instant;

use super::RESUMES_WITHIN;
use super::backend::{Backend, Hearings, kept};
use super::takeover::survive;

/// Enough recipients for each primary to have some.
const RECIPIENTS: usize = 9;

/// What is kept where a recipient's messages are.
fn place(recipient: &str) -> String {
    let tenant = TENANT.parse().expect("the tenant is valid");
    let topic = Topic::recipient(&tenant, recipient);
    format!("{{{}}}", topic.partition().tag())
}

fn recipients() -> Vec<String> {
    (0..RECIPIENTS).map(|n| format!("recipient-{n}")).collect()
}

/// Sockets of all of them, on both gateways in turn.
async fn listen(fleet: &Fleet, recipients: &[String]) -> Vec<Hearings> {
    let mut told = Vec::new();
    for (n, recipient) in recipients.iter().enumerate() {
        told.push(Hearings::of(fleet.connect_at(n % 2, recipient).await));
    }
    told
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_only_what_had_no_copy_may_be_lost() {
    let setup = Setup::quick_to_fail_over(Topology::Cluster);
    let fleet = Arc::new(Fleet::of(2, 1).on(setup).start().await);
    fleet.redis().replicates().await;
    let recipients = recipients();
    let told = listen(&fleet, &recipients).await;
    let backend = Backend::start(&fleet, &recipients);
    let kept = survive(&fleet, backend, &place(&recipients[0]), 1).await;
    for (recipient, told) in recipients.iter().zip(&told) {
        let own = kept.iter().filter(|push| push.recipient == *recipient);
        let texts: Vec<_> = own.map(|push| &*push.text).collect();
        told.tell(&texts).await;
    }
}

#[tokio::test]
async fn slots_that_move_under_load_lose_nothing() {
    let fleet = Fleet::of(2, 1).on(Setup::of(Topology::Cluster));
    let fleet = Arc::new(fleet.start().await);
    let redis = fleet.redis();
    let recipients = recipients();
    let told = listen(&fleet, &recipients).await;
    let backend = Backend::start(&fleet, &recipients);
    backend.gets_on(50).await;
    for recipient in recipients.iter().take(3) {
        let place = place(recipient);
        let before = redis.master_of(&place).address();
        let owner = redis.move_slot_of(&place).address();
        let moved_at = Instant::now();
        assert_ne!(owner, before);
        until("pushes are accepted again", async || {
            backend.resumed_after(moved_at).is_some()
        })
        .await;
        backend.gets_on(2 * RECIPIENTS).await;
        let all_well_at = Instant::now();
        backend.gets_on(2 * RECIPIENTS).await;
        assert_eq!(backend.refused_since(all_well_at), Vec::<String>::new());
        assert!(all_well_at - moved_at < RESUMES_WITHIN);
    }
    let accepted = backend.stop().await;
    let kept = kept(&fleet, &accepted).await;
    assert_eq!(kept.len(), accepted.len(), "nothing is lost");
    for (recipient, told) in recipients.iter().zip(&told) {
        let own = kept.iter().filter(|push| push.recipient == *recipient);
        let texts: Vec<_> = own.map(|push| &*push.text).collect();
        told.tell(&texts).await;
    }
}
