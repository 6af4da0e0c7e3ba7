//! What is measured: the limit program, or a gateway with all that belongs to it.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use broker::annotation::store::{Annotations, Links};
use broker::messages::{Limits, Messages};
use broker::time::Timestamp;
use broker::token::{Keyring, RecipientToken};
use broker::topic::Tenant;
use tests::Fleet;
use tests::fleet::{TENANT, TOKEN_KEYS};
use tests::hypothesis::page_filter;
use tests::port::Port;
use tokio::runtime::Runtime;

use crate::clients::text;
use crate::marker::Marker;
use crate::misskey;
use crate::people;
use crate::push::{self, Pusher};
use crate::scenario::{Producer, Protocol, Scenario};

/// The server that is built as Misskey's is.
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/misskey-like.mjs");
/// How long a token lasts: longer than any run.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which program delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One thread that only sends.
    Limit,
    /// Ours.
    Gateway,
    /// A server on Node.js, built as Misskey's is.
    Node,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "limit",
            Self::Gateway => "gateway",
            Self::Node => "node",
        })
    }
}

/// A running subject.
pub(crate) enum Running {
    /// The limit program, and how it spells what it sends.
    Limit(Child, Port, fn(Marker) -> String),
    /// A fleet of one gateway, and what its sockets show it.
    Gateway(Box<Fleet>, Shown),
    /// A server on Node.js, beside a fleet without gateways.
    Node(Child, Port, Box<Fleet>),
}

/// What sockets show a gateway.
pub(crate) enum Shown {
    /// A recipient's token, signed with these keys.
    Recipient(Keyring),
    /// Nothing.
    Nothing,
    /// The access token of a user, by topic.
    Users(Vec<String>),
    /// The same, to a Misskey host.
    MisskeyUsers(Vec<String>),
}

impl Running {
    /// Starts it, and makes what the sockets of the scenario need.
    pub(crate) fn start(subject: Subject, scenario: &Scenario) -> Self {
        match subject {
            Subject::Limit => {
                let port = Port::claim();
                let address = port.address();
                // Ourselves, also if a build has replaced the file meanwhile.
                let mut program = Command::new("/proc/self/exe");
                program.args(["limit", &address.to_string()]);
                let child = listening(&mut program, address);
                let spell = match scenario.protocol {
                    Protocol::Push => Marker::write,
                    Protocol::Hypothesis | Protocol::HypothesisSignedIn => Marker::notification,
                    Protocol::MisskeyMain | Protocol::MisskeyIdle => misskey::own_message,
                    Protocol::MisskeyHome => misskey::note_message,
                };
                Self::Limit(child, port, spell)
            }
            Subject::Gateway => {
                let mut fleet = Fleet::of(1, 1)
                    .env("CARILLON_LOG", "info")
                    .env("CARILLON_GATEWAY_ACCEPT_RATE", "100000")
                    // Leaves descriptors for 19,000 sockets where there are 20,000.
                    .env("CARILLON_GATEWAY_MAX_HANDSHAKES", "512");
                if !matches!(scenario.protocol, Protocol::Push | Protocol::MisskeyMain) {
                    // What quiet sockets cost anyway is not to hide what annotations and notes cost.
                    fleet = fleet.env("CARILLON_GATEWAY_HEARTBEAT", "1h");
                }
                if scenario.users().is_some() {
                    let (name, value) = misskey::HOSTS;
                    fleet = fleet.env(name, value);
                }
                let runtime = Runtime::new().expect("threads can be started");
                let fleet = runtime.block_on(fleet.start());
                let shown = match scenario.protocol {
                    Protocol::Push => {
                        Shown::Recipient(TOKEN_KEYS.parse().expect("the fleet's keys are valid"))
                    }
                    Protocol::Hypothesis => Shown::Nothing,
                    Protocol::HypothesisSignedIn => {
                        Shown::Users(runtime.block_on(people::sign_in(&fleet, scenario.topics)))
                    }
                    Protocol::MisskeyMain | Protocol::MisskeyIdle | Protocol::MisskeyHome => {
                        let users = scenario.users().unwrap_or_default();
                        let tokens = misskey::settle(&fleet, users);
                        Shown::MisskeyUsers(runtime.block_on(tokens))
                    }
                };
                Self::Gateway(Box::new(fleet), shown)
            }
            Subject::Node => {
                let runtime = Runtime::new().expect("threads can be started");
                let fleet = runtime.block_on(Fleet::of(0, 0).start());
                let users = scenario.users().unwrap_or_default();
                runtime.block_on(misskey::settle(&fleet, users));
                let port = Port::claim();
                let address = port.address();
                let mut program = Command::new("node");
                program.args([
                    PEER,
                    &address.port().to_string(),
                    &fleet.redis().url(),
                    misskey::HOST,
                ]);
                // It ends with us, however we end.
                program.stdin(Stdio::piped());
                Self::Node(listening(&mut program, address), port, Box::new(fleet))
            }
        }
    }

    /// The process that delivers.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Limit(child, ..) | Self::Node(child, ..) => child.id(),
            Self::Gateway(fleet, ..) => fleet.gateway(0).pid(),
        }
    }

    /// Where sockets are opened.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Limit(_, port, _) | Self::Node(_, port, _) => port.address(),
            Self::Gateway(fleet, ..) => fleet.gateway(0).address(),
        }
    }

    /// What a socket asks for to get its topic.
    pub(crate) fn path(&self, scenario: &Scenario, socket: usize) -> String {
        let topic = socket % scenario.topics;
        match self {
            Self::Limit(..) => format!("/{topic}"),
            Self::Gateway(_, Shown::Recipient(keyring)) => {
                format!("/?token={}", token(keyring, topic))
            }
            Self::Gateway(_, Shown::Nothing) => "/ws".to_owned(),
            Self::Gateway(_, Shown::Users(tokens)) => {
                format!("/ws?access_token={}", tokens[topic])
            }
            Self::Gateway(_, Shown::MisskeyUsers(tokens)) => {
                format!("/streaming?i={}", tokens[socket % tokens.len()])
            }
            Self::Node(..) => {
                let users = scenario.users().unwrap_or(1);
                format!("/streaming?i={}", misskey::user(socket % users))
            }
        }
    }

    /// What a socket sends to get its topic, if its path does not say it.
    pub(crate) fn greeting(&self, scenario: &Scenario, socket: usize) -> Vec<u8> {
        let topic = socket % scenario.topics;
        match self {
            Self::Limit(..) | Self::Gateway(_, Shown::Recipient(_)) => Vec::new(),
            Self::Gateway(_, Shown::Nothing | Shown::Users(_)) => {
                let page = push::page(u32::try_from(topic).expect("few topics"));
                let filter = page_filter(&[&page]).to_string();
                [text(&filter), text(r#"{"type":"ping","id":1}"#)].concat()
            }
            Self::Gateway(_, Shown::MisskeyUsers(_)) | Self::Node(..) => {
                let home = scenario.protocol != Protocol::MisskeyMain;
                let watches = scenario.protocol == Protocol::MisskeyIdle;
                misskey::greeting(socket, home, watches)
            }
        }
    }

    /// Somebody who pushes.
    pub(crate) fn pusher(&self, producer: Producer) -> Pusher {
        match self {
            Self::Limit(_, port, spell) => Pusher::limit(port.address(), *spell),
            Self::Gateway(fleet, ..) | Self::Node(_, _, fleet) => {
                let messages = || Messages::new(fleet.commands(), fleet.keys(), Limits::default());
                match producer {
                    Producer::OneByOne => Pusher::store(messages(), tenant(), true),
                    Producer::Many => Pusher::store(messages(), tenant(), false),
                    Producer::Api => {
                        Pusher::api(fleet.api().address(), fleet.access_key().to_owned())
                    }
                    Producer::Annotator => {
                        let links = Links::new("https://annotations.example.org", None);
                        let store = Annotations::new(fleet.commands(), fleet.keys(), links);
                        Pusher::annotator(store, people::site(), people::somebody())
                    }
                    Producer::Publisher => {
                        Pusher::publisher(fleet.commands(), misskey::own_event, false)
                    }
                    Producer::Misskey => {
                        Pusher::publisher(fleet.commands(), misskey::note_event, true)
                    }
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Limit(child, ..) | Self::Node(child, ..) = self {
            child
                .kill()
                .and_then(|()| child.wait())
                .expect("our own child can be killed");
        }
    }
}

/// Starts a program and waits until it listens at `address`.
fn listening(program: &mut Command, address: SocketAddr) -> Child {
    let mut child = program.spawn().expect("the program can be started");
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait().expect("our own child can be asked");
        assert!(ended.is_none(), "it ended at once: {ended:?}");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

fn token(keyring: &Keyring, topic: usize) -> String {
    let now = Timestamp::now();
    keyring.sign(&RecipientToken {
        tenant: tenant(),
        recipient: push::recipient(topic),
        label: None,
        origin: None,
        source: None,
        issued_at: now,
        expires_at: now + DAY,
        nonce: RecipientToken::fresh_nonce(),
    })
}

fn tenant() -> Tenant {
    TENANT.parse().expect("the fleet's tenant is valid")
}
