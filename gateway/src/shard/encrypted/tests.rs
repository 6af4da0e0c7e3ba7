//! What a queue writes on an encrypted socket, told by a client that decrypts it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use broker::Timestamp;
use broker::keys::Partition;
use broker::message::MessageId;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::*;
use crate::dialect::{Outgoing, Tag};
use crate::shard::out::{Fate, Fates, Progress, Queue, Way};
use crate::websocket::{Frame, Shared};

/// Both ends' settings, with a certificate that openssl makes.
fn settings() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    static MADE: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    let make = || {
        let name = format!("carillon-encrypted-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let made = from(&folder);
        std::fs::remove_dir_all(folder).unwrap();
        made
    };
    MADE.get_or_init(make).clone()
}

fn from(folder: &Path) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).stderr(Stdio::null());
    openssl.args("req -x509 -noenc -days 2 -newkey ec -pkeyopt".split(' '));
    openssl.args("ec_paramgen_curve:P-256 -keyout key -out crt".split(' '));
    openssl.args("-subj /CN=tests -addext subjectAltName=DNS:localhost".split(' '));
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    assert!(openssl.status().expect("openssl is installed").success());
    let certificate = CertificateDer::from_pem_file(folder.join("crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap();
    let chain = vec![certificate.clone()];
    let server = server.with_no_client_auth().with_single_cert(chain, key);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server.unwrap()), Arc::new(client))
}

/// What stands for the system: it takes so many bytes, and has some for us.
#[derive(Default)]
struct System {
    room: usize,
    taken: Vec<u8>,
    there: Vec<u8>,
}

impl Read for System {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.there.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.there.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.there[..read]);
        self.there.drain(..read);
        Ok(read)
    }
}

impl Write for System {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= taken;
        self.taken.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Way for Encrypted<System> {
    fn sealed(&self) -> usize {
        self.sealed()
    }
}

/// Both ends of a connection whose handshake is done.
fn connection() -> (Encrypted<System>, ClientConnection) {
    let (server, client) = settings();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
        }
        server.process_new_packets().unwrap();
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        open(&mut client, &mut bytes);
    }
    (Encrypted::new(System::default(), server), client)
}

/// What a client has of these bytes.
fn open(client: &mut ClientConnection, bytes: &mut Vec<u8>) -> Vec<u8> {
    let mut opened = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
        drop(client.reader().read_to_end(&mut opened));
    }
    bytes.clear();
    opened
}

fn frame(n: u32, random: &mut SmallRng) -> Outgoing {
    let most = [10_usize, 200, 20_000, 70_000][random.random_range(0..4)];
    let text = format!("{n}:{}", "x".repeat(random.random_range(..most)));
    let frame = match random.random() {
        true => Frame::text(&text),
        false => Frame::joined(&["start"], &Shared::new(&[text.as_str()])),
    };
    let expires = random.random_range(0..3) == 0;
    let tag = Tag::Message(MessageId {
        millis: 1,
        sequence: n,
        partition: Partition::new(0).unwrap(),
    });
    Outgoing {
        frame,
        expires_at: expires.then(|| Timestamp::from_millis(random.random_range(0..100))),
        tag: Some(tag),
    }
}

#[test]
fn a_frame_is_written_when_the_client_can_read_all_of_it_and_dropped_only_before_it_began() {
    for seed in 0..150 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut socket, mut client) = connection();
        let (mut queue, mut scratch, mut fates) = (Queue::default(), Vec::new(), Fates::default());
        let mut frames = Vec::new();
        let mut got = Vec::new();
        // Of which fates are known so far: how many, and the bytes of those written.
        let (mut known, mut expected) = (0, Vec::new());
        for step in 0..200 {
            let now = Timestamp::from_millis(step);
            for _ in 0..random.random_range(0..3) {
                if frames.len() < 60 {
                    let outgoing = frame(frames.len() as u32, &mut random);
                    frames.push(outgoing.frame.parts().concat());
                    queue.push(outgoing);
                }
            }
            socket.below_mut().room +=
                random.random_range(..[50_usize, 3_000, 40_000][step as usize % 3]);
            let progress = queue
                .write(&mut socket, &mut scratch, now, &mut fates)
                .unwrap();
            got.extend(open(&mut client, &mut socket.below_mut().taken));
            let waiting = frames.len() - known - fates.tagged.len();
            assert_eq!(progress == Progress::Done, waiting == 0);
            for fate in fates.tagged.drain(..) {
                known += 1;
                if let Fate::Flushed(Tag::Message(id)) = fate {
                    expected.extend_from_slice(&frames[id.sequence as usize]);
                }
            }
            assert!(expected.len() <= got.len(), "seed {seed}: told too soon");
            assert_eq!(got[..expected.len()], expected[..], "seed {seed}");
            assert!(queue.bytes() >= socket.sealed());
        }
        // Nothing has begun that is not finished, or was finished twice.
        queue.cut_short();
        let last = Frame::close(1013, "");
        let end = last.parts().concat();
        let outgoing = Outgoing {
            frame: last,
            expires_at: None,
            tag: None,
        };
        queue.push(outgoing);
        socket.below_mut().room = usize::MAX;
        let now = Timestamp::from_millis(1000);
        let progress = queue
            .write(&mut socket, &mut scratch, now, &mut fates)
            .unwrap();
        assert_eq!(
            (progress, queue.bytes(), socket.sealed()),
            (Progress::Done, 0, 0)
        );
        got.extend(open(&mut client, &mut socket.below_mut().taken));
        for fate in fates.tagged.drain(..) {
            if let Fate::Flushed(Tag::Message(id)) = fate {
                expected.extend_from_slice(&frames[id.sequence as usize]);
            }
        }
        expected.extend(end);
        assert!(got == expected, "seed {seed}");
    }
}

/// All that can be read of a socket now, and how it ended.
fn read_all(socket: &mut Encrypted<System>) -> (Vec<u8>, Input) {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match socket.read(&mut buffer) {
            Input::Bytes(read, more) => {
                assert!(more);
                all.extend_from_slice(&buffer[..read]);
            }
            Input::Nothing => {}
            end @ (Input::Empty | Input::Gone) => return (all, end),
        }
    }
}

/// What a client has to send.
fn sealed(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn all_that_a_client_says_is_read_however_it_comes() {
    let mut random = SmallRng::seed_from_u64(3);
    let (mut socket, mut client) = connection();
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut some = vec![0; random.random_range(1..40_000)];
        random.fill_bytes(&mut some);
        let taken = client.writer().write(&some).unwrap();
        said.extend_from_slice(&some[..taken]);
        for piece in sealed(&mut client).chunks(random.random_range(1..9_000)) {
            socket.below_mut().there.extend_from_slice(piece);
            let (read, end) = read_all(&mut socket);
            heard.extend(read);
            assert!(matches!(end, Input::Empty));
        }
        assert!(said == heard);
    }
    client.send_close_notify();
    socket.below_mut().there.extend(sealed(&mut client));
    assert!(matches!(read_all(&mut socket), (rest, Input::Gone) if rest.is_empty()));
}

#[test]
fn new_keys_are_answered_when_there_is_room_and_take_no_turn_for_ever() {
    let (mut socket, mut client) = connection();
    for _ in 0..5 {
        client.refresh_traffic_keys().unwrap();
        socket.below_mut().there.extend(sealed(&mut client));
        assert!(matches!(socket.read(&mut [0; 100]), Input::Nothing));
        assert!(matches!(socket.read(&mut [0; 100]), Input::Empty));
    }
    socket.below_mut().room = 100_000;
    // Said before what is written next, in the keys before and after.
    assert_eq!(socket.write(b"after").unwrap(), 5);
    assert_eq!(open(&mut client, &mut socket.below_mut().taken), b"after");
    client.writer().write_all(b"heard").unwrap();
    socket.below_mut().there.extend(sealed(&mut client));
    assert_eq!(read_all(&mut socket).0, b"heard");
}

#[test]
fn what_is_no_record_ends_the_connection_with_an_alert() {
    let (mut socket, mut client) = connection();
    socket.below_mut().room = 100;
    socket.below_mut().there.extend(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(socket.read(&mut [0; 100]), Input::Gone));
    let alert = std::mem::take(&mut socket.below_mut().taken);
    client.read_tls(&mut &alert[..]).unwrap();
    assert!(client.process_new_packets().is_err());
}

#[test]
fn a_client_is_told_when_we_end_the_connection() {
    let (mut socket, mut client) = connection();
    socket.below_mut().room = 1000;
    socket.say_goodbye();
    socket.push().unwrap();
    open(&mut client, &mut socket.below_mut().taken);
    assert_eq!(client.reader().read(&mut [0; 10]).unwrap(), 0);
}
