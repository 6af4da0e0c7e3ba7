//! What is the same in all worlds and takes long to make.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::identity::SignedIn;
use broker::link::LinkMetrics;
use broker::misskey::caller::Caller;
use broker::misskey::hosts::Hosts;
use broker::misskey::viewer::Viewer;
use broker::people::Role;
use prometheus::Registry;

use super::subject::{CLUB, USERS, tenant, userid};
use crate::admission::{Admission, Capacity, Permit};
use crate::client::Client;
use crate::metrics::{Metrics, ShardMetrics};

/// What is the same in all worlds. Cheap to clone.
#[derive(Clone)]
pub(super) struct Setting {
    begun: Instant,
    metrics: ShardMetrics,
    link: LinkMetrics,
    admission: Arc<Admission>,
    caller: Arc<Caller>,
    viewer: Arc<Viewer>,
}

impl Setting {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("the registry is empty");
        let capacity = Capacity {
            connections: usize::MAX,
            per_address: 0,
            accept_rate: 1000,
            waiting: 1,
        };
        let hosts: Hosts = "misskey.example=acme".parse().expect("it is a host");
        let host = hosts.host(Some("misskey.example")).expect("it is there");
        Self {
            begun: Instant::now() + Duration::from_secs(1),
            link: LinkMetrics::register("gateway", &registry).expect("it has no link yet"),
            admission: Admission::new(capacity, metrics.admission.clone()),
            metrics: metrics.shard,
            caller: Arc::new(Caller {
                host: Arc::clone(host),
                account: None,
            }),
            viewer: Arc::default(),
        }
    }

    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    pub(super) fn metrics(&self) -> ShardMetrics {
        self.metrics.clone()
    }

    pub(super) fn link_metrics(&self) -> LinkMetrics {
        self.link.clone()
    }

    pub(super) fn permit(&self) -> Permit {
        let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.admission.place(nobody).expect("there is always room")
    }

    /// A visitor of a Misskey.
    pub(super) fn visitor(&self) -> Client {
        Client::Misskey {
            caller: Arc::clone(&self.caller),
            viewer: Arc::clone(&self.viewer),
        }
    }

    /// The user of this name.
    pub(super) fn user(name: &str) -> usize {
        let of = |user: &usize| userid(*user) == name;
        (0..USERS).find(of).expect("there are no others")
    }

    /// A user who has shown a token.
    pub(super) fn signed_in(user: usize, member: bool) -> SignedIn {
        let club = member.then(|| (CLUB.into(), Role::Member));
        SignedIn {
            tenant: tenant(),
            userid: userid(user).into(),
            memberships: club.into_iter().collect(),
            vouched: Arc::default(),
            token: "token".into(),
            expires_at: None,
        }
    }

    pub(super) fn viewer(&self) -> Arc<Viewer> {
        Arc::clone(&self.viewer)
    }
}
