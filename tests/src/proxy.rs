//! A bad network between processes and their Redis.
//!
//! It forwards, until told to fall silent as a dead cable does (nothing passes,
//! no end is seen, sockets stay open) or to break connections. It tells
//! subscriptions from commands by the first bytes that a client sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::redis::free_address;
use crate::until::until;

/// Which connections something happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Those that subscribe.
    Subscriptions,
    /// Every one.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Nothing passes, in either direction.
    Frozen(Lines),
    /// Connections are reset, new ones too.
    Broken(Lines),
}

/// A proxy in front of one server, on a thread of its own: it works while a
/// test is blocked.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    open: Arc<Open>,
}

/// Connections there are now.
#[derive(Default)]
struct Open {
    subscriptions: AtomicUsize,
    others: AtomicUsize,
}

impl Proxy {
    /// Forwards to `server` from now on.
    ///
    /// # Panics
    /// If nobody can be listened to.
    pub fn to(server: SocketAddr) -> Self {
        let address = free_address();
        let listener = std::net::TcpListener::bind(address).expect("the address is free");
        listener.set_nonblocking(true).expect("it can be polled");
        let (weather, reports) = watch::channel(Weather::Fair);
        let open = Arc::<Open>::default();
        let known = Arc::clone(&open);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime starts");
            runtime.block_on(serve(listener, server, reports, known));
        });
        Self {
            address,
            weather,
            open,
        }
    }

    /// The URL of the server as seen through the proxy.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Nothing passes any more, and nobody is told.
    pub fn freeze(&self, lines: Lines) {
        self.weather.send_replace(Weather::Frozen(lines));
    }

    /// Resets these connections, and new ones, until the proxy is healed.
    pub fn sever(&self, lines: Lines) {
        self.weather.send_replace(Weather::Broken(lines));
    }

    /// Resets these connections once; new ones may be made.
    pub async fn cut(&self, lines: Lines) {
        self.sever(lines);
        until("the connections are cut", async || {
            self.open.count(lines) == 0
        })
        .await;
        self.heal();
    }

    /// Everything passes again, what was held back too.
    pub fn heal(&self) {
        self.weather.send_replace(Weather::Fair);
    }
}

impl Open {
    fn of(&self, subscription: bool) -> &AtomicUsize {
        if subscription {
            &self.subscriptions
        } else {
            &self.others
        }
    }

    fn count(&self, lines: Lines) -> usize {
        let both = [true, false].into_iter();
        both.filter(|&subscription| lines.include(subscription))
            .map(|subscription| self.of(subscription).load(Ordering::SeqCst))
            .sum()
    }
}

impl Lines {
    fn include(self, subscription: bool) -> bool {
        subscription || self == Self::All
    }
}

impl Weather {
    fn holds_back(self, subscription: bool) -> bool {
        matches!(self, Self::Frozen(lines) if lines.include(subscription))
    }

    fn breaks(self, subscription: bool) -> bool {
        matches!(self, Self::Broken(lines) if lines.include(subscription))
    }
}

/// Accepts connections until the proxy is dropped.
async fn serve(
    listener: std::net::TcpListener,
    server: SocketAddr,
    weather: watch::Receiver<Weather>,
    open: Arc<Open>,
) {
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    let accept = async {
        while let Ok((client, _)) = listener.accept().await {
            let (weather, open) = (weather.clone(), Arc::clone(&open));
            tokio::spawn(async move { forward(client, server, weather, &open).await });
        }
    };
    let mut end = weather.clone();
    let dropped = async { while end.changed().await.is_ok() {} };
    tokio::select! {
        () = accept => {}
        () = dropped => {}
    }
}

async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    open: &Open,
) {
    let mut first = vec![0; 16 << 10];
    let Ok(read) = client.read(&mut first).await else {
        return;
    };
    first.truncate(read);
    let subscription = first.windows(9).any(|word| word == b"SUBSCRIBE");
    open.of(subscription).fetch_add(1, Ordering::SeqCst);
    drop(client.set_zero_linger());
    let mut broken = weather.clone();
    let work = async {
        calm(&mut weather, subscription).await;
        let mut upstream = TcpStream::connect(server).await?;
        upstream.set_nodelay(true)?;
        upstream.write_all(&first).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        tokio::try_join!(
            pass(from_client, to_server, weather.clone(), subscription),
            pass(from_server, to_client, weather.clone(), subscription),
        )
    };
    tokio::select! {
        // Either way both ends are dropped, which resets the client.
        _ = work => {}
        _ = broken.wait_for(|weather| weather.breaks(subscription)) => {}
    }
    open.of(subscription).fetch_sub(1, Ordering::SeqCst);
}

/// Copies one direction, while the weather lets it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    subscription: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        calm(&mut weather, subscription).await;
        let read = from.read(&mut buffer).await?;
        // It may have frozen while there was nothing to read.
        calm(&mut weather, subscription).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Resolves once something may pass.
async fn calm(weather: &mut watch::Receiver<Weather>, subscription: bool) {
    // An error means that the proxy is gone, and with it soon this task.
    drop(
        weather
            .wait_for(|weather| !weather.holds_back(subscription))
            .await,
    );
}
