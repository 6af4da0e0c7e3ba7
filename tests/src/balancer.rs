//! What stands in front of gateways, so that they share one address.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::port::listener;

/// Leads each new connection to the first server that takes it, on a thread of
/// its own: it works while a test is blocked.
pub struct Balancer {
    address: SocketAddr,
    _dropped: oneshot::Sender<()>,
}

impl Balancer {
    /// Stands in front of these servers from now on.
    ///
    /// # Panics
    /// If nobody can be listened to.
    pub fn before(servers: Vec<SocketAddr>) -> Self {
        let (listener, address) = listener();
        listener.set_nonblocking(true).expect("it can be polled");
        let (end, dropped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime starts");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, servers) => {}
                    _ = dropped => {}
                }
            });
        });
        Self {
            address,
            _dropped: end,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: std::net::TcpListener, servers: Vec<SocketAddr>) {
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    while let Ok((client, _)) = listener.accept().await {
        let servers = servers.clone();
        tokio::spawn(async move { lead(client, &servers).await });
    }
}

async fn lead(mut client: TcpStream, servers: &[SocketAddr]) {
    for server in servers {
        if let Ok(mut server) = TcpStream::connect(server).await {
            drop(server.set_nodelay(true));
            drop(client.set_nodelay(true));
            // Either end may fail at any time; then both are dropped.
            drop(copy_bidirectional(&mut client, &mut server).await);
            return;
        }
    }
}
