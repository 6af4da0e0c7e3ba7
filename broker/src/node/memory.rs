//! How much memory this process may use, and how near it is to that.
//!
//! What counts is what the kernel kills by: the limits of the control group the
//! process is in and of those around it, each compared with what its members use
//! together and cannot give back. Settings may put a limit of the process's own
//! beside them, for where there is no control group.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::env::{BadBytes, Bytes};
use super::register::Register;
use super::{Condition, Node};

/// How often it is looked at: a process that gets 100 MB/s takes a tenth of that
/// in between, which has to be less than what lies between the shares below and
/// the limit.
const INTERVAL: Duration = Duration::from_millis(100);
/// From this share of the limit on a process wants nothing new.
pub const SCARCE: f64 = 0.85;
/// Below this it does again.
const ENOUGH: f64 = 0.80;
/// A number that stands for no limit in the first version of control groups.
const NO_LIMIT: u64 = 1 << 60;

/// `CARILLON_MEMORY_LIMIT`: what a process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// What the control group says.
    ControlGroup,
    /// Whatever there is.
    None,
    /// So many bytes, and what the control group says.
    Bytes(u64),
}

impl FromStr for MemoryLimit {
    type Err = BadBytes;

    fn from_str(text: &str) -> Result<Self, BadBytes> {
        match text {
            "auto" => Ok(Self::ControlGroup),
            "0" => Ok(Self::None),
            _ => Ok(Self::Bytes(text.parse::<Bytes>()?.0 as u64)),
        }
    }
}

/// How much is used, and how much there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What cannot be given back.
    pub used: u64,
    /// What may be used.
    pub limit: u64,
}

impl Reading {
    /// The share that is used.
    pub fn share(self) -> f64 {
        self.used as f64 / self.limit as f64
    }
}

/// What is known of memory at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// The last reading; none if there is no limit.
    pub reading: Option<Reading>,
    /// Nothing new is wanted.
    pub scarce: bool,
}

impl Pressure {
    /// What follows from a reading. Once memory is scarce it has to be freed by some
    /// before it is not, or a process would change its mind all the time.
    fn after(self, reading: Option<Reading>) -> Self {
        let from = if self.scarce { ENOUGH } else { SCARCE };
        Self {
            reading,
            scarce: reading.is_some_and(|reading| from <= reading.share()),
        }
    }
}

/// Where limits and uses are read.
#[derive(Clone, Debug)]
pub struct Memory {
    own: Option<u64>,
    groups: Vec<Group>,
}

impl Memory {
    /// What this process may use.
    pub fn of_process(limit: MemoryLimit) -> Self {
        let groups = match limit {
            MemoryLimit::None => Vec::new(),
            MemoryLimit::ControlGroup | MemoryLimit::Bytes(_) => {
                let member_of = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
                groups(&member_of, Path::new("/sys/fs/cgroup"))
            }
        };
        let own = match limit {
            MemoryLimit::Bytes(bytes) => Some(bytes),
            MemoryLimit::ControlGroup | MemoryLimit::None => None,
        };
        Self { own, groups }
    }

    /// The limit that is nearest to being reached; `None` if there is none.
    pub fn read(&self) -> Option<Reading> {
        let own = self.own.and_then(|limit| {
            let used = resident(&fs::read_to_string("/proc/self/status").ok()?)?;
            Some(Reading { used, limit })
        });
        let groups = self.groups.iter().filter_map(Group::read);
        let all = groups.chain(own).filter(|reading| 0 < reading.limit);
        all.max_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// What there is to hear of it, and the task that looks until `stop` resolves. It
    /// shows what it sees as metrics and as the condition `memory`.
    ///
    /// # Errors
    /// If `registry` shows that of another one already.
    pub fn watch(
        self,
        node: &Node,
        registry: &Registry,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<
        (
            watch::Receiver<Pressure>,
            impl Future<Output = ()> + Send + 'static,
        ),
        prometheus::Error,
    > {
        let register = Register::new("carillon_memory", registry);
        let limit = register.gauge(
            "limit_bytes",
            "Memory that this process may use, by its settings or its control group; 0 if there is no limit.",
        )?;
        let used = register.gauge(
            "used_bytes",
            "Memory in use against that limit, without what can be given back; 0 if there is no limit.",
        )?;
        let condition = node.condition("memory");
        let first = self.look(Pressure::default(), &condition);
        if let Some(Reading { limit, .. }) = first.reading {
            info!(limit, "memory is limited to {limit} bytes");
        }
        let (tell, told) = watch::channel(first);
        let looking = async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let before = *tell.borrow();
                let pressure = self.look(before, &condition);
                let shown = |of: fn(Reading) -> u64| {
                    let bytes = pressure.reading.map_or(0, of);
                    i64::try_from(bytes).unwrap_or(i64::MAX)
                };
                limit.set(shown(|reading| reading.limit));
                used.set(shown(|reading| reading.used));
                tell.send_replace(pressure);
            }
        };
        let watching = async move {
            tokio::select! {
                () = looking => {}
                () = stop => {}
            }
        };
        Ok((told, watching))
    }

    fn look(&self, before: Pressure, condition: &Condition) -> Pressure {
        let pressure = before.after(self.read());
        match pressure.reading {
            Some(reading) if pressure.scarce => {
                condition.down("memory is scarce");
                if !before.scarce {
                    let Reading { used, limit } = reading;
                    warn!(used, limit, "memory is scarce: nothing new is taken");
                }
            }
            _ => condition.up(),
        }
        pressure
    }
}

/// A control group with a limit, or that may get one.
#[derive(Clone, Debug)]
struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// How a version of control groups calls its files.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// What begins the line of `memory.stat` with the pages that were read from disk
    /// and not used of late: the kernel takes them before it kills.
    reclaimable: &'static str,
}

const FIRST: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};

const SECOND: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: "inactive_file ",
};

impl Group {
    fn read(&self) -> Option<Reading> {
        let text = |file| fs::read_to_string(self.folder.join(file)).ok();
        // "max" is no number.
        let limit: u64 = text(self.files.limit)?.trim().parse().ok()?;
        if NO_LIMIT <= limit {
            return None;
        }
        let used: u64 = text(self.files.used)?.trim().parse().ok()?;
        let stat = text("memory.stat").unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            let number = line.strip_prefix(self.files.reclaimable)?;
            number.trim().parse().ok()
        });
        let used = used.saturating_sub(reclaimable.unwrap_or(0));
        Some(Reading { used, limit })
    }
}

/// The groups that limit a process, by what `/proc/self/cgroup` says and where they
/// are mounted. In a container what it says may lead nowhere; then its own group is
/// what is mounted.
fn groups(member_of: &str, mounted: &Path) -> Vec<Group> {
    let mut found = Vec::new();
    for line in member_of.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, files) = match controllers {
            "" => (mounted.to_owned(), &SECOND),
            names if names.split(',').any(|name| name == "memory") => {
                (mounted.join("memory"), &FIRST)
            }
            _ => continue,
        };
        let below = Path::new(path.trim_start_matches('/'));
        let folders = below.ancestors().map(|path| root.join(path));
        let groups = folders.map(|folder| Group { folder, files });
        found.extend(groups.filter(|group| group.folder.join(files.limit).is_file()));
    }
    found
}

/// The bytes of this process that are in memory, as `/proc/self/status` has them.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks as the kernel's does.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(name: &str) -> Self {
            let name = format!("carillon-memory-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn group(&self, path: &str, files: &[(&str, &str)]) {
            let folder = self.0.join(path);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        }

        fn read(&self, member_of: &str) -> Option<Reading> {
            let groups = groups(member_of, &self.0);
            Memory { own: None, groups }.read()
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn reading(used: u64, limit: u64) -> Option<Reading> {
        Some(Reading { used, limit })
    }

    #[test]
    fn the_limit_of_a_group_around_ours_counts_with_all_that_its_members_use() {
        let mounted = Mounted::new("second");
        let stat = "anon 1\ninactive_file 30\nactive_file 7\n";
        let file = |limit, used| {
            [
                ("memory.max", limit),
                ("memory.current", used),
                ("memory.stat", stat),
            ]
        };
        mounted.group("", &[]);
        mounted.group("pods", &file("200\n", "190\n"));
        mounted.group("pods/ours", &file("100\n", "80\n"));
        mounted.group("pods/ours/deep", &file("max\n", "70\n"));
        assert_eq!(mounted.read("0::/pods/ours/deep\n"), reading(160, 200));
        mounted.group("pods", &file("max\n", "190\n"));
        assert_eq!(mounted.read("0::/pods/ours/deep\n"), reading(50, 100));
        assert_eq!(mounted.read("0::/\n"), None, "the root has no limit");
    }

    #[test]
    fn in_a_container_its_own_group_is_what_is_mounted() {
        let mounted = Mounted::new("first");
        let file = |limit| {
            [
                ("memory.limit_in_bytes", limit),
                ("memory.usage_in_bytes", "80\n"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 5\n"),
            ]
        };
        mounted.group("memory", &file("100\n"));
        let member_of = "5:cpu:/docker/1\n4:blkio,memory:/docker/1\n0::/docker/1\n";
        assert_eq!(mounted.read(member_of), reading(75, 100));
        mounted.group("memory", &file("9223372036854771712\n"));
        assert_eq!(mounted.read(member_of), None);
    }

    #[test]
    fn a_limit_by_settings_is_compared_with_what_this_process_has_in_memory() {
        let own = "64MiB".parse();
        assert_eq!(own, Ok(MemoryLimit::Bytes(64 << 20)));
        let memory = Memory {
            own: Some(64 << 20),
            groups: Vec::new(),
        };
        let read = memory.read().unwrap();
        assert_eq!(read.limit, 64 << 20);
        assert!(1 << 20 < read.used, "{read:?}");
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1024 kB\n"), Some(1 << 20));
        assert_eq!("auto".parse(), Ok(MemoryLimit::ControlGroup));
        assert_eq!("0".parse(), Ok(MemoryLimit::None));
        assert!("much".parse::<MemoryLimit>().is_err());
    }

    #[test]
    fn scarce_memory_stays_scarce_until_some_is_freed() {
        let mut pressure = Pressure::default();
        let mut scarce = |used| {
            pressure = pressure.after(reading(used, 100));
            pressure.scarce
        };
        let seen = [84, 85, 82, 80, 79, 82, 85].map(&mut scarce);
        assert_eq!(seen, [false, true, true, true, false, false, true]);
    }
}
