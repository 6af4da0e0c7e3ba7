//! Who is let in: limits on connections, and what a token permits.

mod allowance;
mod denial;
pub mod late;
mod queue;
mod turns;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use broker::Timestamp;
use broker::messages::{CheckIn, Messages};
use broker::quota::{Place, Places, Refused};
use broker::token::{Keyring, RecipientToken, normal_origin};
use broker::topic::{Tenant, Topic};
use tokio::sync::Notify;
use tracing::debug;

pub use self::denial::Denial;
use self::turns::Turns;
use crate::metrics::AdmissionMetrics;

/// What a node may hold.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Sockets.
    pub connections: usize,
    /// Sockets per client address; 0 means no limit.
    pub per_address: usize,
    /// Upgrades per second.
    pub accept_rate: u32,
    /// Clients that may wait for their upgrade.
    pub waiting: usize,
}

/// Decides who is let in.
#[derive(Debug)]
pub struct Admission {
    capacity: Capacity,
    connections: AtomicUsize,
    /// The last one has left.
    emptied: Notify,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    /// Memory is scarce.
    overloaded: AtomicBool,
    turns: Turns,
}

/// A connection's place among those of its node; dropping it frees the place.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
    /// Its place among those of its tenant.
    place: Option<Place>,
}

impl Permit {
    /// The same, with its place among those of its tenant.
    #[must_use]
    pub fn with(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl Admission {
    /// Lets in what fits in `capacity`.
    pub fn new(capacity: Capacity, metrics: AdmissionMetrics) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            connections: AtomicUsize::new(0),
            emptied: Notify::new(),
            addresses: Mutex::default(),
            overloaded: AtomicBool::new(false),
            turns: Turns::new(capacity.accept_rate, capacity.waiting, metrics),
        })
    }

    /// A place for one more connection, once its turn to be upgraded has come, which
    /// takes less than 4 s. Not to wait for it gives everything back.
    ///
    /// # Errors
    /// [`Denial::Limited`] if there is none, or the turn does not come in time;
    /// [`Denial::Overloaded`] while memory is scarce; [`Denial::Draining`] once this
    /// is [closed](Self::close).
    pub async fn permit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Denial> {
        self.has_memory()?;
        let permit = self.place(address)?;
        self.turns.wait().await?;
        self.has_memory()?;
        Ok(permit)
    }

    /// Whether memory is scarce: then nobody is let in.
    pub fn overloaded(&self, scarce: bool) {
        self.overloaded.store(scarce, Ordering::Relaxed);
    }

    fn has_memory(&self) -> Result<(), Denial> {
        if self.overloaded.load(Ordering::Relaxed) {
            return Err(Denial::Overloaded);
        }
        Ok(())
    }

    /// Gives those who wait their turns, for as long as this is waited for.
    pub async fn give_turns(&self) {
        self.turns.give().await;
    }

    /// Refuses whoever waits and whoever will come. Who has been let in may still be
    /// on the way to a socket.
    pub fn close(&self) {
        self.turns.close();
    }

    /// Whether clients are let in at all.
    ///
    /// # Errors
    /// [`Denial::Draining`] once this is [closed](Self::close).
    pub fn is_open(&self) -> Result<(), Denial> {
        self.turns.are_given()
    }

    /// Resolves once nobody has a permit: there is no socket, and nobody on the way to
    /// one. After [`close`](Self::close) it stays so.
    pub async fn emptied(&self) {
        loop {
            // From here on it is heard of, also if nobody waits yet.
            let emptied = self.emptied.notified();
            if self.connections.load(Ordering::Relaxed) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A place whose turn need not be waited for.
    pub(crate) fn place(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Denial> {
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        // From here on the drop of the permit gives the place back.
        let permit = Permit {
            admission: Arc::clone(self),
            address,
            place: None,
        };
        let here = {
            let mut addresses = self.addresses();
            let here = addresses.entry(address).or_default();
            *here += 1;
            *here
        };
        let most = self.capacity.per_address;
        if self.capacity.connections <= taken || (0 < most && most < here) {
            return Err(Denial::Limited);
        }
        Ok(permit)
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        drop(self.place.take());
        if self.admission.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.admission.emptied.notify_waiters();
        }
        let mut addresses = self.admission.addresses();
        if let Some(here) = addresses.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// A place for one more socket of the tenant.
///
/// # Errors
/// [`Denial::Quota`] if there is none; [`Denial::Unavailable`] if nobody knows.
pub async fn place(places: &Places, tenant: &Tenant) -> Result<Place, Denial> {
    places.place(tenant).await.map_err(|refused| match refused {
        Refused::Exceeded(_) => Denial::Quota,
        Refused::Unavailable(error) => {
            debug!(%error, "quotas cannot be checked");
            Denial::Unavailable
        }
    })
}

/// Checks what a recipient's token says against who presents it.
///
/// # Errors
/// See [`Denial`]; the reason is logged without the token.
pub fn identify(
    keyring: &Keyring,
    token: Option<&str>,
    origin: Option<&str>,
    address: IpAddr,
    now: Timestamp,
) -> Result<RecipientToken, Denial> {
    let token = keyring.verify(token.unwrap_or(""), now).map_err(|why| {
        debug!(%why, %address, "a token was refused");
        Denial::Unauthorized
    })?;
    permits(&token, origin, address)?;
    Ok(token)
}

/// Checks that a token has not been revoked, and tells what time it is by Redis'
/// clock.
///
/// # Errors
/// See [`Denial`].
pub async fn check_in(messages: &Messages, token: &RecipientToken) -> Result<Timestamp, Denial> {
    let recipient = Topic::recipient(&token.tenant, &token.recipient);
    match messages.check_in(&recipient).await {
        Ok(CheckIn {
            revoked_at: Some(at),
            ..
        }) if token.issued_at <= at => Err(Denial::Unauthorized),
        Ok(CheckIn { now, .. }) => Ok(now),
        Err(error) => {
            // Counted, and said once by whoever watches Redis; clients may be many.
            debug!(%error, "tokens cannot be checked");
            Err(Denial::Unavailable)
        }
    }
}

/// Whether the token may be used from this web origin and address.
fn permits(token: &RecipientToken, origin: Option<&str>, address: IpAddr) -> Result<(), Denial> {
    if let Some(wanted) = &token.origin
        && origin.and_then(normal_origin).as_deref() != Some(wanted)
    {
        return Err(Denial::Origin);
    }
    match token.source {
        Some(source) if !source.contains(&address) => Err(Denial::Address),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

    fn admission(connections: usize, per_address: usize) -> Arc<Admission> {
        of(Capacity {
            connections,
            per_address,
            accept_rate: 1000,
            waiting: 0,
        })
    }

    fn of(capacity: Capacity) -> Arc<Admission> {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        Admission::new(capacity, metrics.admission)
    }

    #[tokio::test]
    async fn a_place_is_free_again_once_its_connection_ended() {
        let admission = admission(2, 0);
        let first = admission.permit(HERE).await.unwrap();
        let _second = admission.permit(HERE).await.unwrap();
        let third = admission.permit(THERE).await;
        assert_eq!(third.unwrap_err(), Denial::Limited);
        drop(first);
        assert!(admission.permit(THERE).await.is_ok());
        assert_eq!(
            admission.addresses().len(),
            1,
            "addresses without sockets are forgotten"
        );
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_places() {
        let admission = admission(10, 2);
        let _both = [
            admission.permit(HERE).await.unwrap(),
            admission.permit(HERE).await.unwrap(),
        ];
        let third = admission.permit(HERE).await;
        assert_eq!(third.unwrap_err(), Denial::Limited);
        assert!(admission.permit(THERE).await.is_ok());
    }

    /// Has just let in as many as it may in a second. The next may come only after a
    /// time that no test is held up for.
    async fn busy() -> (Arc<Admission>, Vec<Permit>) {
        let rate = 4;
        let admission = of(Capacity {
            connections: 1000,
            per_address: 0,
            accept_rate: rate,
            waiting: 1,
        });
        let mut permits = Vec::new();
        for _ in 0..rate {
            permits.push(admission.permit(HERE).await.unwrap());
        }
        (admission, permits)
    }

    fn waits<F: Future>(future: Pin<&mut F>) -> bool {
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    #[tokio::test]
    async fn a_client_that_goes_away_while_it_waits_frees_its_place() {
        let (admission, _others) = busy().await;
        let mut parked = Box::pin(admission.permit(HERE));
        assert!(waits(parked.as_mut()));
        let refused = admission.permit(HERE).await;
        assert_eq!(refused.unwrap_err(), Denial::Limited);
        drop(parked);
        assert_eq!(admission.connections.load(Ordering::Relaxed), 4);
        assert!(waits(pin!(admission.permit(HERE))));
    }

    #[tokio::test]
    async fn who_waits_is_let_in_once_it_is_their_turn() {
        let (admission, _others) = busy().await;
        let permit = admission.permit(HERE);
        tokio::select! {
            permit = permit => assert!(permit.is_ok()),
            () = admission.give_turns() => {}
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_node_that_leaves() {
        let (admission, _others) = busy().await;
        let mut parked = pin!(admission.permit(HERE));
        assert!(waits(parked.as_mut()));
        assert_eq!(admission.is_open(), Ok(()));
        admission.close();
        assert_eq!(admission.is_open(), Err(Denial::Draining));
        assert_eq!(parked.await.unwrap_err(), Denial::Draining);
        let refused = admission.permit(HERE).await;
        assert_eq!(refused.unwrap_err(), Denial::Draining);
    }

    #[tokio::test]
    async fn it_is_empty_once_the_last_one_has_left() {
        let admission = admission(2, 0);
        assert!(!waits(pin!(admission.emptied())));
        let first = admission.permit(HERE).await.unwrap();
        let second = admission.permit(THERE).await.unwrap();
        let mut emptied = pin!(admission.emptied());
        assert!(waits(emptied.as_mut()));
        drop(first);
        assert!(waits(emptied.as_mut()));
        drop(second);
        assert!(!waits(emptied));
    }

    #[tokio::test]
    async fn nobody_is_let_in_while_memory_is_scarce() {
        let (admission, _others) = busy().await;
        let mut parked = pin!(admission.permit(HERE));
        assert!(waits(parked.as_mut()));
        admission.overloaded(true);
        let refused = admission.permit(HERE).await;
        assert_eq!(refused.unwrap_err(), Denial::Overloaded);
        let released = tokio::select! {
            permit = parked => permit,
            () = admission.give_turns() => unreachable!("it never ends"),
        };
        assert_eq!(released.unwrap_err(), Denial::Overloaded);
        admission.overloaded(false);
        assert!(waits(pin!(admission.permit(HERE))), "as before");
    }

    fn token(origin: Option<&str>, source: Option<&str>) -> RecipientToken {
        RecipientToken {
            tenant: "acme".parse().unwrap(),
            recipient: "r".into(),
            label: None,
            origin: origin.map(Into::into),
            source: source.map(|net| net.parse().unwrap()),
            issued_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1000),
            nonce: [0; 12],
        }
    }

    #[test]
    fn a_token_for_one_origin_is_refused_from_any_other_and_from_none() {
        let token = token(Some("https://example.org"), None);
        assert_eq!(
            permits(&token, Some("https://Example.org:443"), HERE),
            Ok(())
        );
        for origin in [
            None,
            Some("null"),
            Some("http://example.org"),
            Some("https://a.org"),
        ] {
            assert_eq!(
                permits(&token, origin, HERE),
                Err(Denial::Origin),
                "{origin:?}"
            );
        }
    }

    #[test]
    fn a_token_for_one_network_is_refused_from_outside() {
        let token = token(None, Some("127.0.0.0/8"));
        assert_eq!(permits(&token, None, HERE), Ok(()));
        assert_eq!(permits(&token, None, THERE), Err(Denial::Address));
    }
}
