//! What is measured: the limit program, or a gateway with all that belongs to it.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use broker::messages::{Limits, Messages};
use broker::time::Timestamp;
use broker::token::{Keyring, RecipientToken};
use broker::topic::Tenant;
use tests::Fleet;
use tests::fleet::{TENANT, TOKEN_KEYS};
use tests::hypothesis::page_filter;
use tokio::runtime::Runtime;

use crate::clients::text;
use crate::push::{self, Pusher};
use crate::scenario::{Producer, Protocol};

/// How long a token lasts: longer than any run.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which program delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One thread that only sends.
    Limit,
    /// Ours.
    Gateway,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "limit",
            Self::Gateway => "gateway",
        })
    }
}

/// A running subject.
pub(crate) enum Running {
    /// The limit program.
    Limit(Child, SocketAddr),
    /// A fleet of one gateway, what its sockets speak, and what signs the tokens
    /// it accepts.
    Gateway(Box<Fleet>, Protocol, Keyring),
}

impl Running {
    /// Starts it.
    pub(crate) fn start(subject: Subject, protocol: Protocol) -> Self {
        match subject {
            Subject::Limit => {
                let address = tests::redis::free_address();
                // Ourselves, also if a build has replaced the file meanwhile.
                let child = Command::new("/proc/self/exe")
                    .args(["limit", &address.to_string()])
                    .spawn()
                    .expect("the limit program starts");
                while TcpStream::connect(address).is_err() {
                    thread::sleep(Duration::from_millis(10));
                }
                Self::Limit(child, address)
            }
            Subject::Gateway => {
                let fleet = Fleet::of(1, 1)
                    .env("CARILLON_LOG", "info")
                    .env("CARILLON_GATEWAY_ACCEPT_RATE", "100000")
                    // Leaves descriptors for 19,000 sockets where there are 20,000.
                    .env("CARILLON_GATEWAY_MAX_HANDSHAKES", "512");
                let fleet = match protocol {
                    Protocol::Push => fleet,
                    // Pings of quiet sockets would hide what events cost.
                    Protocol::Hypothesis => fleet.env("CARILLON_GATEWAY_HEARTBEAT", "1h"),
                };
                let fleet = fleet.start();
                let runtime = Runtime::new().expect("threads can be started");
                let fleet = runtime.block_on(fleet);
                let keyring = TOKEN_KEYS.parse().expect("the fleet's keys are valid");
                Self::Gateway(Box::new(fleet), protocol, keyring)
            }
        }
    }

    /// The process that delivers.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Limit(child, _) => child.id(),
            Self::Gateway(fleet, ..) => fleet.gateway(0).pid(),
        }
    }

    /// Where sockets are opened.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Limit(_, address) => *address,
            Self::Gateway(fleet, ..) => fleet.gateway(0).address(),
        }
    }

    /// What a socket asks for to get a topic.
    pub(crate) fn path(&self, topic: usize) -> String {
        match self {
            Self::Limit(..) => format!("/{topic}"),
            Self::Gateway(_, Protocol::Hypothesis, _) => "/ws".to_owned(),
            Self::Gateway(_, Protocol::Push, keyring) => {
                let now = Timestamp::now();
                let token = keyring.sign(&RecipientToken {
                    tenant: tenant(),
                    recipient: push::recipient(topic),
                    label: None,
                    origin: None,
                    source: None,
                    issued_at: now,
                    expires_at: now + DAY,
                    nonce: RecipientToken::fresh_nonce(),
                });
                format!("/?token={token}")
            }
        }
    }

    /// What a socket sends to get a topic, if its path does not say it.
    pub(crate) fn greeting(&self, topic: usize) -> Vec<u8> {
        match self {
            Self::Gateway(_, Protocol::Hypothesis, _) => {
                let filter = page_filter(&[&push::page(topic)]).to_string();
                [text(&filter), text(r#"{"type":"ping","id":1}"#)].concat()
            }
            _ => Vec::new(),
        }
    }

    /// Somebody who pushes.
    pub(crate) fn pusher(&self, producer: Producer) -> Pusher {
        match self {
            Self::Limit(_, address) => Pusher::limit(*address),
            Self::Gateway(fleet, ..) => {
                let messages = || Messages::new(fleet.commands(), fleet.keys(), Limits::default());
                match producer {
                    Producer::OneByOne => Pusher::store(messages(), tenant(), true),
                    Producer::Many => Pusher::store(messages(), tenant(), false),
                    Producer::Api => {
                        Pusher::api(fleet.api().address(), fleet.access_key().to_owned())
                    }
                    Producer::Annotator => {
                        let runtime = Runtime::new().expect("threads can be started");
                        let token = runtime.block_on(fleet.person("annotator"));
                        Pusher::annotator(fleet.api().address(), token)
                    }
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Limit(child, _) = self {
            child
                .kill()
                .and_then(|()| child.wait())
                .expect("our own child can be killed");
        }
    }
}

fn tenant() -> Tenant {
    TENANT.parse().expect("the fleet's tenant is valid")
}
