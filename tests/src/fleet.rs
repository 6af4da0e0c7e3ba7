//! A whole cluster of its own for one test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broker::keys::Keys;
use broker::topology::Redis;
use rustls::ClientConfig;

use crate::balancer::Balancer;
use crate::binaries::binary;
use crate::haproxy::HaProxy;
use crate::http::Http;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::proxy::Proxy;
use crate::redis::{PrivateRedis, Setup, Topology};
use crate::secrets::Secrets;

/// The tenant whose key the fleet holds.
pub const TENANT: &str = "acme";
/// Every host leads to that tenant.
pub const SITES: &str = "*=acme/example.org";
/// All that an access key can allow.
pub const ALL_SCOPES: &str = "websockets-manager-api:query:* websockets-manager-api:mutation:*";
/// Signs the tokens of all fleets; nothing outside of tests accepts it.
pub const TOKEN_KEYS: &str = "tests:dGVzdHMtc2lnbi10b2tlbnMtd2l0aC10aGlzLXNlY3JldA";
/// Everything our own code would ever log, so that secrets have nowhere to hide.
const LOG: &str = "info,broker=trace,gateway=trace,api=trace,worker=trace";

/// A [Redis](PrivateRedis) of its own, gateways, an api and workers, as processes of their own.
///
/// Dropped, it ends them all and fails the test if one of ours printed an
/// access key, a token or the text of a message.
pub struct Fleet {
    redis: PrivateRedis,
    commands: OnceLock<Redis>,
    proxy: Proxy,
    gateways: Vec<Process>,
    balancer: Option<Balancer>,
    haproxy: Option<HaProxy>,
    apis: Vec<Process>,
    workers: Vec<Process>,
    access_key: String,
    api_command: Program,
    http: Http,
    secrets: Secrets,
    folder: PathBuf,
    /// Where our own processes listen, also once they are started again.
    _ports: Vec<Port>,
    doubted: AtomicBool,
}

/// What a fleet is made of.
pub struct FleetBuilder {
    redis: Setup,
    gateways: usize,
    apis: usize,
    workers: usize,
    /// Of each, so many more that are not started.
    spare: usize,
    env: Vec<(String, String)>,
    behind_proxy: &'static [&'static str],
    balanced: bool,
    behind_haproxy: bool,
    /// The control group that gateways are started in.
    group: Option<PathBuf>,
    /// By what the api is believed, if it speaks TLS.
    believed: Option<Arc<ClientConfig>>,
}

impl Fleet {
    /// One gateway, an api and a worker.
    pub async fn start() -> Self {
        Self::of(1, 1).start().await
    }

    /// So many gateways and workers, and an api, about to be started.
    pub fn of(gateways: usize, workers: usize) -> FleetBuilder {
        FleetBuilder {
            redis: Setup::of(Topology::chosen()),
            gateways,
            apis: 1,
            workers,
            spare: 0,
            env: Vec::new(),
            behind_proxy: &[],
            balanced: false,
            behind_haproxy: false,
            group: None,
            believed: None,
        }
    }

    /// The gateway with this number.
    pub fn gateway(&self, index: usize) -> &Process {
        &self.gateways[index]
    }

    /// All gateways, spare ones last.
    pub fn gateways(&self) -> &[Process] {
        &self.gateways
    }

    /// Where all gateways are found, if they are [balanced](FleetBuilder::balanced).
    pub fn balancer(&self) -> Option<SocketAddr> {
        self.balancer.as_ref().map(Balancer::address)
    }

    /// What stands before gateways and apis, if they are [behind it](FleetBuilder::behind_haproxy).
    pub fn haproxy(&self) -> Option<&HaProxy> {
        self.haproxy.as_ref()
    }

    /// The api, or the first of them.
    pub fn api(&self) -> &Process {
        &self.apis[0]
    }

    /// All apis, spare ones last.
    pub fn apis(&self) -> &[Process] {
        &self.apis
    }

    /// All workers, spare ones last.
    pub fn workers(&self) -> &[Process] {
        &self.workers
    }

    /// The worker with this number.
    pub fn worker(&self, index: usize) -> &Process {
        &self.workers[index]
    }

    /// The Redis that all share.
    pub fn redis(&self) -> &PrivateRedis {
        &self.redis
    }

    /// The network between that Redis and those [behind](FleetBuilder::behind_proxy) it.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Connections for commands to that Redis.
    pub fn commands(&self) -> Redis {
        let open = || Redis::open(&self.redis.settings()).expect("all topologies are served");
        self.commands.get_or_init(open).clone()
    }

    /// How things are named in it.
    pub fn keys(&self) -> Keys {
        Keys::new("carillon")
    }

    /// The key of [`TENANT`] that allows everything.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Runs `api key …` and returns what it printed.
    pub fn api_key(&self, args: &[&str]) -> String {
        self.run_api(&[&["key"], args].concat())
    }

    /// Runs `api …`, such as to set quotas, and returns what it printed.
    pub fn run_api(&self, args: &[&str]) -> String {
        let mut program = self.api_command.clone();
        program.args.extend(args.iter().map(|&arg| arg.to_owned()));
        program.output()
    }

    /// Runs `api …` with this input, and returns what came of it.
    pub fn api_command(&self, args: &[&str], input: &[u8]) -> Output {
        let mut program = self.api_command.clone();
        program.args = args.iter().map(|&arg| arg.to_owned()).collect();
        program.run(input)
    }

    /// Creates an access key with `api key create`.
    pub fn create_key(&self, tenant: &str, scopes: &str) -> String {
        let printed = self.api_key(&["create", "--tenant", tenant, "--scopes", scopes]);
        let key = access_key(&printed);
        self.secrets.keep(&key);
        key
    }

    /// What must not be printed by any process.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A client of the api that keeps its connections.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Says whether something went wrong: then it tells when it is dropped what its
    /// processes said, as it does when a test panics.
    pub fn doubt_if(&self, doubted: bool) {
        self.doubted.fetch_or(doubted, Ordering::Relaxed);
    }

    /// Every process, those of Redis first.
    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.redis.processes().chain(self.own_processes())
    }

    fn own_processes(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways.iter();
        gateways.chain(&self.apis).chain(&self.workers)
    }
}

impl FleetBuilder {
    /// On a Redis such as this, whatever `FLEET_TOPOLOGY` says.
    pub fn on(mut self, redis: Setup) -> Self {
        self.redis = redis;
        self
    }

    /// On one server, whatever `FLEET_TOPOLOGY` says: for clients that know no more.
    pub fn on_one_server(self) -> Self {
        self.on(Setup::of(Topology::Standalone))
    }

    /// Sets a variable in the environment of every process. In its value `{redis}`
    /// stands for the address of a server of their Redis.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has the processes of these roles reach Redis through a [`Proxy`].
    pub fn behind_proxy(mut self, roles: &'static [&'static str]) -> Self {
        self.behind_proxy = roles;
        self
    }

    /// Names all gateways by one address, as those behind a load balancer are:
    /// a client that comes back there finds one that lives.
    pub fn balanced(mut self) -> Self {
        self.balanced = true;
        self
    }

    /// With so many apis instead of one.
    pub fn apis(mut self, count: usize) -> Self {
        self.apis = count;
        self
    }

    /// With so many more gateways, apis and workers each that are not started, for a
    /// test to start. HAProxy knows them.
    pub fn spare(mut self, count: usize) -> Self {
        self.spare = count;
        self
    }

    /// Has all clients reach gateways and apis through HAProxy, with the files that
    /// operators are given.
    pub fn behind_haproxy(mut self) -> Self {
        self.behind_haproxy = true;
        self
    }

    /// Has gateways live in this control group, from their first byte on.
    pub fn gateways_in(mut self, group: &Path) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Has the test speak TLS with the api, as its variables make it do.
    pub fn api_over_tls(mut self, believed: &Arc<ClientConfig>) -> Self {
        self.believed = Some(Arc::clone(believed));
        self
    }

    /// Starts everything and waits until all are ready.
    ///
    /// # Panics
    /// If something cannot be started.
    pub async fn start(self) -> Fleet {
        let folder = folder();
        let redis = PrivateRedis::of(&self.redis, &folder).await;
        let proxy = Proxy::before(redis.addresses());
        let ports = Mutex::new(Vec::new());
        let listens = || {
            let port = Port::claim();
            let address = port.address().to_string();
            ports.lock().expect("nobody panics here").push(port);
            address
        };
        let program = |role: &str, node: &str| {
            let mut program = Program {
                path: binary(role),
                args: Vec::new(),
                env: Vec::new(),
            };
            if role == "gateway"
                && let Some(group) = &self.group
            {
                program = within(group, program);
            }
            program.set("RUST_BACKTRACE", "1");
            let behind_proxy = self.behind_proxy.contains(&role);
            let by = |address| match behind_proxy {
                true => proxy.door_to(address),
                false => address,
            };
            let url = redis.url_for(role, by);
            program.set("CARILLON_REDIS_URL", &url);
            for (name, file) in redis.locks().settings() {
                program.set(name, &file.to_string_lossy());
            }
            program.set("CARILLON_NODE", node);
            program.set("CARILLON_SITES", SITES);
            program.set("CARILLON_LOG", LOG);
            program.set("CARILLON_LOG_FORMAT", "json");
            // The group that tests run in belongs to compilers too.
            program.set("CARILLON_MEMORY_LIMIT", "0");
            program.set("CARILLON_SHUTDOWN_DELAY", "100ms");
            program.set("CARILLON_DRAIN_WINDOW", "1s");
            if role != "worker" {
                program.set("CARILLON_TOKEN_KEYS", TOKEN_KEYS);
                let listen = format!("CARILLON_{}_LISTEN", role.to_uppercase());
                program.set(&listen, &listens());
            }
            let admin = format!("CARILLON_{}_ADMIN_LISTEN", role.to_uppercase());
            program.set(&admin, &listens());
            for (name, value) in &self.env {
                let value = value.replace("{redis}", &redis.address().to_string());
                program.set(name, &value);
            }
            program
        };
        let several = |role: &str, count: usize| -> Vec<Process> {
            let all = count + self.spare;
            let name = |n| match (role, all) {
                ("api", 1) => role.to_owned(),
                _ => format!("{role}-{n}"),
            };
            (0..all)
                .map(|n| Process::new(&name(n), program(role, &name(n)), &folder))
                .collect()
        };
        let gateways = several("gateway", self.gateways);
        let workers = several("worker", self.workers);
        let apis = several("api", self.apis);
        let haproxy = self
            .behind_haproxy
            .then(|| HaProxy::before(&gateways, &apis));
        let started = gateways.iter().take(self.gateways);
        for process in started.chain(workers.iter().take(self.workers)) {
            process.start().await;
        }
        let addresses = gateways.iter().map(Process::address).collect();
        let balancer = self.balanced.then(|| Balancer::before(addresses));
        let haproxy_s = haproxy.as_ref().map(HaProxy::sockets);
        let balancer_s = balancer.as_ref().map(Balancer::address);
        let first = gateways.first().map(Process::address);
        for api in &apis {
            if let Some(address) = haproxy_s.or(balancer_s).or(first) {
                api.set("CARILLON_API_PUBLIC_URL", &format!("ws://{address}/"));
            }
            // Clients are told where the api is by the api itself.
            let own = haproxy.as_ref().map_or(api.address(), HaProxy::apis);
            api.set("CARILLON_API_APP_URL", &format!("http://{own}/"));
        }
        for api in apis.iter().take(self.apis) {
            api.start().await;
        }
        if let Some(haproxy) = &haproxy {
            haproxy.start(2 * self.spare).await;
        }

        let api_command = program("api", "command");
        let http = Http::to(haproxy.as_ref().map_or(apis[0].address(), HaProxy::apis));
        let mut fleet = Fleet {
            http: match &self.believed {
                Some(believed) => http.over_tls(believed),
                None => http,
            },
            redis,
            commands: OnceLock::new(),
            proxy,
            gateways,
            balancer,
            haproxy,
            apis,
            workers,
            access_key: String::new(),
            api_command,
            secrets: Secrets::default(),
            folder,
            doubted: AtomicBool::new(false),
            _ports: ports.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        fleet.access_key = fleet.create_key(TENANT, ALL_SCOPES);
        let (_, signing) = TOKEN_KEYS
            .split_once(':')
            .expect("a keyring names its keys");
        fleet.secrets.keep(signing);
        fleet
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let refused = self.redis.refused();
        let processes: Vec<_> = self.processes().collect();
        for process in processes.iter().rev() {
            process.kill();
        }
        if std::thread::panicking() || self.doubted.load(Ordering::Relaxed) {
            for process in processes {
                println!("--- {} printed last:\n{}", process.name(), process.tail());
            }
            for process in self.own_processes() {
                let complaints = process.complaints();
                println!("--- {} complained:\n{complaints}", process.name());
            }
            println!("--- Redis refused them: {refused:#?}");
        }
        if std::thread::panicking() {
            println!("--- everything is in {}", self.folder.display());
            return;
        }
        assert!(
            refused.is_empty(),
            "the users of docs/operations.md may do too little: {refused:#?}"
        );
        for process in self.own_processes() {
            let output = process.output();
            let told = self.secrets.told_in(&output);
            assert!(
                told.is_empty(),
                "{} printed secrets: {told:#?}",
                process.name()
            );
            assert!(
                !output.contains("panicked at"),
                "{} panicked:\n{}",
                process.name(),
                process.tail()
            );
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The program, after it has entered a control group.
fn within(group: &Path, program: Program) -> Program {
    let enter = r#"echo $$ > "$0"/cgroup.procs && exec "$@""#;
    let words = [Path::new("-c"), Path::new(enter), group, &program.path];
    let words = words.map(|word| word.display().to_string());
    Program {
        path: "/bin/sh".into(),
        args: words.into_iter().chain(program.args).collect(),
        env: program.env,
    }
}

/// The `ck_…` among what `api key` printed.
fn access_key(printed: &str) -> String {
    let words = printed.split(|c: char| c.is_whitespace() || c == '"');
    let key = words.into_iter().find(|word| word.starts_with("ck_"));
    key.unwrap_or_else(|| panic!("no access key in {printed:?}"))
        .to_owned()
}

/// A new folder for the data and logs of one fleet.
pub fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "carillon-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    // A process that failed long ago may have had our number.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}
