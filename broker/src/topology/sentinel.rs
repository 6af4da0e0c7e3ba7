//! Which server is the master, by those who watch over it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{AsyncConnectionConfig, cmd};
use tokio::time::timeout;

use super::connector::make;
use super::dial::{Access, Server};
use super::settings::Address;

/// How long one sentinel may take for its answer, from the look-up of its name on.
const PATIENCE: Duration = Duration::from_millis(500);

/// The sentinels of a master.
pub(super) struct Sentinels {
    all: Vec<Server>,
    name: Arc<str>,
    /// How to speak to the master.
    access: Arc<Access>,
    /// Who answered last: asked first.
    last: AtomicUsize,
}

impl Sentinels {
    pub(super) fn new(
        all: Vec<Address>,
        ask: &Arc<Access>,
        name: Arc<str>,
        access: Arc<Access>,
    ) -> Self {
        let server = |address| Server {
            address,
            access: Arc::clone(ask),
        };
        Self {
            all: all.into_iter().map(server).collect(),
            name,
            access,
            last: AtomicUsize::new(0),
        }
    }

    /// Where the master is, as the first says that answers.
    ///
    /// # Errors
    /// If none answers, or none knows it.
    pub(super) async fn master(&self) -> io::Result<Server> {
        let first = self.last.load(Ordering::Relaxed);
        let mut why = io::Error::other("no sentinel is named");
        for n in 0..self.all.len() {
            let at = (first + n) % self.all.len();
            let sentinel = &self.all[at];
            match timeout(PATIENCE, self.ask(sentinel)).await {
                Ok(Ok(address)) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(Server {
                        address,
                        access: Arc::clone(&self.access),
                    });
                }
                Ok(Err(error)) => why = error,
                Err(_) => why = io::ErrorKind::TimedOut.into(),
            }
        }
        let why = format!("no sentinel tells where the master is; the last: {why}");
        Err(io::Error::other(why))
    }

    async fn ask(&self, sentinel: &Server) -> io::Result<Address> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let mut made = make(sentinel, config, 0).await.map_err(io::Error::other)?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        let answer = question.query_async(&mut made.commands).await;
        let address: Option<(String, u16)> = answer.map_err(io::Error::other)?;
        let (host, port) = address.ok_or_else(|| io::Error::other("it knows no such master"))?;
        Ok(Address::new(&host, port))
    }
}
