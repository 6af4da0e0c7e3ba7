//! A bad network between processes and their Redis.
//!
//! It forwards, until told to fall silent as a dead cable does (nothing passes,
//! no end is seen, sockets stay open) or to break connections. It tells
//! subscriptions from commands by what a client sends. It has a door to each
//! server, and where one names another to a client, the client hears of the door.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::port::listener;
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

/// A proxy in front of the servers of one Redis, on a thread of its own: it
/// works while a test is blocked.
pub struct Proxy {
    doors: Doors,
    weather: watch::Sender<Weather>,
    open: Arc<Open>,
}

/// The door to each server.
type Doors = Arc<HashMap<SocketAddr, SocketAddr>>;

/// Connections there are now.
#[derive(Default)]
struct Open {
    subscriptions: AtomicUsize,
    others: AtomicUsize,
}

/// One connection, from its first bytes on.
struct Line {
    subscribes: AtomicBool,
    open: Arc<Open>,
}

impl Proxy {
    /// Forwards to these servers from now on.
    ///
    /// # Panics
    /// If nobody can be listened to.
    pub fn before(servers: impl Iterator<Item = SocketAddr>) -> Self {
        let (weather, reports) = watch::channel(Weather::Fair);
        let open = Arc::<Open>::default();
        let (mut doors, mut listeners) = (HashMap::new(), Vec::new());
        for server in servers {
            let (listener, door) = listener();
            listener.set_nonblocking(true).expect("it can be polled");
            doors.insert(server, door);
            listeners.push((server, listener));
        }
        let doors: Doors = Arc::new(doors);
        let (known, open_now) = (Arc::clone(&doors), Arc::clone(&open));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime starts");
            runtime.block_on(async {
                let mut serving = tokio::task::JoinSet::new();
                for (server, listener) in listeners {
                    let (reports, open) = (reports.clone(), Arc::clone(&open_now));
                    serving.spawn(serve(listener, server, Arc::clone(&known), reports, open));
                }
                serving.join_all().await;
            });
        });
        Self {
            doors,
            weather,
            open,
        }
    }

    /// Where the proxy forwards to this server.
    ///
    /// # Panics
    /// If it does not.
    pub fn door_to(&self, server: SocketAddr) -> SocketAddr {
        self.doors[&server]
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

impl Line {
    /// A connection on which a client said this first.
    fn new(first: &[u8], open: &Arc<Open>) -> Self {
        let subscribes = subscribes(first);
        open.of(subscribes).fetch_add(1, Ordering::SeqCst);
        Self {
            subscribes: AtomicBool::new(subscribes),
            open: Arc::clone(open),
        }
    }

    /// The client said this too.
    fn said(&self, words: &[u8]) {
        if !self.subscribes() && subscribes(words) {
            self.subscribes.store(true, Ordering::SeqCst);
            self.open.of(true).fetch_add(1, Ordering::SeqCst);
            self.open.of(false).fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn subscribes(&self) -> bool {
        self.subscribes.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.open
            .of(self.subscribes())
            .fetch_sub(1, Ordering::SeqCst);
    }
}

fn subscribes(words: &[u8]) -> bool {
    words.windows(9).any(|word| word == b"SUBSCRIBE")
}

/// Accepts connections until the proxy is dropped.
async fn serve(
    listener: std::net::TcpListener,
    server: SocketAddr,
    doors: Doors,
    weather: watch::Receiver<Weather>,
    open: Arc<Open>,
) {
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    let accept = async {
        while let Ok((client, _)) = listener.accept().await {
            let (weather, open, doors) = (weather.clone(), Arc::clone(&open), Arc::clone(&doors));
            tokio::spawn(async move { forward(client, server, &doors, weather, &open).await });
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
    doors: &Doors,
    mut weather: watch::Receiver<Weather>,
    open: &Arc<Open>,
) {
    let mut first = vec![0; 16 << 10];
    let Ok(read) = client.read(&mut first).await else {
        return;
    };
    first.truncate(read);
    let line = Line::new(&first, open);
    drop(client.set_zero_linger());
    let mut broken = weather.clone();
    let work = async {
        calm(&mut weather, &line).await;
        let mut upstream = TcpStream::connect(server).await?;
        upstream.set_nodelay(true)?;
        upstream.write_all(&first).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        tokio::try_join!(
            pass(from_client, to_server, weather.clone(), &line, |words| {
                line.said(words);
            }),
            pass(from_server, to_client, weather.clone(), &line, |words| {
                name_doors(words, doors);
            }),
        )
    };
    tokio::select! {
        // Either way both ends are dropped, which resets the client.
        _ = work => {}
        _ = broken.wait_for(|weather| weather.breaks(line.subscribes())) => {}
    }
}

/// Copies one direction, while the weather lets it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    line: &Line,
    look: impl Fn(&mut [u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        calm(&mut weather, line).await;
        let read = from.read(&mut buffer).await?;
        look(&mut buffer[..read]);
        // It may have begun to subscribe.
        if weather.borrow().breaks(line.subscribes()) {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        // It may have frozen while there was nothing to read.
        calm(&mut weather, line).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Resolves once something may pass.
async fn calm(weather: &mut watch::Receiver<Weather>, line: &Line) {
    // An error means that the proxy is gone, and with it soon this task.
    drop(
        weather
            .wait_for(|weather| !weather.holds_back(line.subscribes()))
            .await,
    );
}

/// Puts the door in the place of each server named in what a server says, as
/// sentinels do, nodes of a Cluster in their maps, and those that redirect. All
/// [our ports](crate::port) have four digits, so no length changes.
fn name_doors(words: &mut [u8], doors: &HashMap<SocketAddr, SocketAddr>) {
    const BEFORE: [&[u8]; 4] = [b":", b"\r\n$4\r\n", b"127.0.0.1:", b"127.0.0.1 "];
    let mut at = 0;
    while at + 4 <= words.len() {
        let (before, rest) = words.split_at_mut(at);
        let named = std::str::from_utf8(&rest[..4]).ok();
        let port = named.and_then(|digits| digits.parse::<u16>().ok());
        let door = port.and_then(|port| doors.get(&SocketAddr::from(([127, 0, 0, 1], port))));
        if let Some(door) = door
            && BEFORE.iter().any(|start| before.ends_with(start))
            && !rest.get(4).is_some_and(u8::is_ascii_digit)
        {
            rest[..4].copy_from_slice(door.port().to_string().as_bytes());
            at += 4;
        } else {
            at += 1;
        }
    }
}
