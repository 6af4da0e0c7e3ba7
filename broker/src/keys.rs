//! How everything Carillon keeps in Redis is named.
//!
//! Keys are spread over 64 partitions, each in one hash slot, so that every
//! script touches one slot and a Cluster is a setting, not a migration.

use std::sync::Arc;

use crate::annotation;
use crate::message::MessageId;
use crate::ring::Ring;
use crate::topic::{self, Tenant, Topic};

/// How many partitions there are. Written to Redis on first start; another
/// number would look for existing keys in the wrong place.
pub const PARTITIONS: u16 = 64;

/// How many hash slots a Redis Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The hash tag of each partition: short strings whose slot lies in the middle
/// half of the partition's 1/64 of the slots, so that any even division of
/// slots among servers divides partitions evenly too.
pub(crate) const TAGS: [&str; PARTITIONS as usize] = [
    "14", "bd", "cc", "9a", "29", "21", "7", "f5", "69", "61", "1e", "b5", "f", "fd", "a0", "43",
    "15", "be", "cb", "6a", "28", "20", "6", "f4", "68", "60", "1d", "b4", "3f", "fe", "a1", "2a",
    "12", "bb", "ce", "6f", "133", "27", "1", "9", "c4", "67", "1c", "78", "3a", "fb", "a6", "2f",
    "13", "bc", "cd", "9f", "af", "26", "0", "8", "c5", "66", "1b", "79", "a", "fc", "a7", "44",
];

/// One of the 64 places where keys live together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// The partition with this number, if there is one.
    pub const fn new(index: u16) -> Option<Self> {
        if index < PARTITIONS {
            Some(Self(index))
        } else {
            None
        }
    }

    /// All of them.
    pub fn every() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..PARTITIONS).map(Self)
    }

    /// Its number, below [`PARTITIONS`].
    pub const fn index(self) -> u16 {
        self.0
    }

    /// Its hash tag, without braces.
    pub fn tag(self) -> &'static str {
        TAGS[usize::from(self.0)]
    }

    /// The hash slot of its keys in a Redis Cluster.
    pub(crate) fn slot(self) -> u16 {
        slot(self.tag().as_bytes())
    }
}

/// Where the keys of `tenant`'s topic `<kind>:<id>` live:
/// CRC16-XMODEM of `<tenant>:<kind>:<id>`, modulo 64.
pub(crate) fn partition(tenant: &str, kind_and_id: &str) -> Partition {
    let crc = [tenant.as_bytes(), b":", kind_and_id.as_bytes()]
        .into_iter()
        .flatten()
        .fold(0, |crc, &byte| crc16(crc, byte));
    Partition(crc % PARTITIONS)
}

/// The hash slot of a key in a Redis Cluster: of what stands between its first
/// braces, if anything does.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let mut hashed = key;
    if let Some(open) = key.iter().position(|&b| b == b'{') {
        let rest = &key[open + 1..];
        if let Some(tag) = rest.iter().position(|&b| b == b'}').filter(|&end| end != 0) {
            hashed = &rest[..tag];
        }
    }
    hashed.iter().fold(0, |crc, &byte| crc16(crc, byte)) % SLOTS
}

/// One step of the CRC16 that Redis Cluster hashes keys with (XMODEM). By table,
/// as every event and every mark is hashed.
const fn crc16(crc: u16, byte: u8) -> u16 {
    (crc << 8) ^ TABLE[((crc >> 8) as u8 ^ byte) as usize]
}

/// What each byte does to the checksum.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Spells the names, all under one prefix (default `carillon`).
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Names under `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The pub/sub channel of a topic.
    pub fn channel(&self, topic: &Topic) -> String {
        format!("{}:c:{topic}", self.prefix)
    }

    /// What every pub/sub channel of a topic begins with.
    pub fn channel_prefix(&self) -> String {
        format!("{}:c:", self.prefix)
    }

    /// The pub/sub channel on which nodes ask and tell each other things.
    pub fn control_channel(&self) -> String {
        format!("{}:ctl", self.prefix)
    }

    /// The pub/sub channel by which the node called `node` gets answers.
    pub fn reply_channel(&self, node: &str) -> String {
        format!("{}:reply:{node}", self.prefix)
    }

    /// The pub/sub channel by which the node called `node` proves its link alive.
    pub fn probe_channel(&self, node: &str) -> String {
        format!("{}:probe:{node}", self.prefix)
    }

    /// Hash: schema and number of partitions.
    pub fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    /// Sorted set: the gateways, by when they were last heard of.
    pub fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Hash: one access key, by its id.
    pub fn access_key(&self, id: &str) -> String {
        format!("{}:key:{id}", self.prefix)
    }

    /// Set: the ids of all access keys.
    pub fn access_keys(&self) -> String {
        format!("{}:keys", self.prefix)
    }

    /// Hash: what a tenant may use.
    pub fn quota(&self, tenant: &Tenant) -> String {
        format!("{}:tenant:{tenant}", self.prefix)
    }

    /// Set: the tenants that have a [`quota`](Self::quota).
    pub fn quotas(&self) -> String {
        format!("{}:quotas", self.prefix)
    }

    /// Hash: what is left of what a tenant may push.
    pub(crate) fn push_bucket(&self, tenant: &Tenant) -> String {
        let tag = self.tagged(Topic::all(tenant).partition());
        format!("{tag}:quota-pushes:{tenant}")
    }

    /// Hash: how many sockets of a tenant each gateway has, and when it said so.
    pub(crate) fn socket_counts(&self, tenant: &Tenant) -> String {
        let tag = self.tagged(Topic::all(tenant).partition());
        format!("{tag}:quota-sockets:{tenant}")
    }

    /// String: tokens of this recipient issued up to this time (ms) are revoked.
    pub fn revoked(&self, recipient: &Topic) -> String {
        format!("{}:rev:{recipient}", self.tagged(recipient.partition()))
    }

    /// Stream: the messages of a tenant that live in this partition.
    pub fn log(&self, partition: Partition, tenant: &Tenant) -> String {
        format!("{}:log:{tenant}", self.tagged(partition))
    }

    /// Stream: the ring of this topic's events.
    pub fn ring(&self, topic: &Topic) -> String {
        self.ring_of(&Ring::of(topic))
    }

    /// Stream: what was published of late on the topics of this ring.
    pub fn ring_of(&self, ring: &Ring) -> String {
        let kind = if ring.annotations { "ra" } else { "rb" };
        format!("{}:{kind}:{}", self.tagged(ring.partition), ring.tenant)
    }

    /// Sorted set: a recipient's pending messages.
    pub fn pending(&self, recipient: &Topic) -> String {
        format!(
            "{}:pd:{}",
            self.tagged(recipient.partition()),
            Self::rest(recipient)
        )
    }

    /// Sorted set: a recipient's messages and their states.
    pub fn history(&self, recipient: &Topic) -> String {
        format!(
            "{}:bx:{}",
            self.tagged(recipient.partition()),
            Self::rest(recipient)
        )
    }

    /// Set: the tenants that have a log in this partition.
    pub fn tenants(&self, partition: Partition) -> String {
        format!("{}:tenants", self.tagged(partition))
    }

    /// Sorted set: what expires in this partition, by when.
    pub fn expiring(&self, partition: Partition) -> String {
        format!("{}:ex", self.tagged(partition))
    }

    /// String: up to when a client that may come back has everything (ms).
    pub(crate) fn resumption(&self, tenant: &Tenant, client: &str) -> String {
        let tag = self.tagged(partition(tenant.as_str(), client));
        format!("{tag}:back:{tenant}:{client}")
    }

    /// String: what was written here last to ask replicas for it.
    pub(crate) fn replicated(&self, partition: Partition) -> String {
        format!("{}:replicated", self.tagged(partition))
    }

    /// Sorted set: what is scheduled in this partition, by when it is due.
    pub fn scheduled(&self, partition: Partition) -> String {
        format!("{}:sc", self.tagged(partition))
    }

    /// Sorted set: a recipient's messages that were scheduled and released, by
    /// their places.
    pub fn released(&self, recipient: &Topic) -> String {
        let tag = self.tagged(recipient.partition());
        format!("{tag}:rl:{}", Self::rest(recipient))
    }

    /// Hash: which recipients of this partition got a global message, and as which.
    pub fn global_copies(&self, partition: Partition, tenant: &Tenant, id: MessageId) -> String {
        format!("{}:gi:{tenant}:{id}", self.tagged(partition))
    }

    /// Sorted set: the copies of a global message in this partition.
    pub fn copy_index(&self, partition: Partition, tenant: &Tenant, id: MessageId) -> String {
        format!("{}:gx:{tenant}:{id}", self.tagged(partition))
    }

    /// String: what a push to `topic` with this idempotency key made. The key's
    /// length comes first, so that no other key and topic spell the same name.
    pub fn idempotency(&self, topic: &Topic, key: &str) -> String {
        let (tag, key) = (self.tagged(topic.partition()), topic::encode(key));
        format!("{tag}:id:{}:{key}:{topic}", key.len())
    }

    /// Stream: a tenant's global messages.
    pub fn global_log(&self, tenant: &Tenant) -> String {
        format!(
            "{}:gl:{tenant}",
            self.tagged(Topic::all(tenant).partition())
        )
    }

    /// Hash: a tenant's global messages that may still be sent.
    pub fn active_globals(&self, tenant: &Tenant) -> String {
        format!(
            "{}:ga:{tenant}",
            self.tagged(Topic::all(tenant).partition())
        )
    }

    /// Hash: a group's name, kind, rules and creator.
    pub fn group(&self, tenant: &Tenant, id: &str) -> String {
        format!("{}{}", self.groups_begin(tenant), topic::encode(id))
    }

    /// What the keys of all groups of a tenant begin with.
    pub(crate) fn groups_begin(&self, tenant: &Tenant) -> String {
        format!("{}:group:{tenant}:", self.of_people(tenant))
    }

    /// Hash: the members of a group, and as what.
    pub fn members(&self, tenant: &Tenant, group: &str) -> String {
        format!("{}{}", self.members_begin(tenant), topic::encode(group))
    }

    /// What the keys of the members of all groups of a tenant begin with.
    pub(crate) fn members_begin(&self, tenant: &Tenant) -> String {
        format!("{}:members:{tenant}:", self.of_people(tenant))
    }

    /// Hash: the groups a user is in, and as what.
    pub fn groups_of(&self, tenant: &Tenant, userid: &str) -> String {
        format!("{}{}", self.groups_of_begin(tenant), topic::encode(userid))
    }

    /// What the keys of the groups of all users of a tenant begin with.
    pub(crate) fn groups_of_begin(&self, tenant: &Tenant) -> String {
        format!("{}:groups-of:{tenant}:", self.of_people(tenant))
    }

    /// Hash: what is known of a user.
    pub fn user(&self, tenant: &Tenant, userid: &str) -> String {
        let (tag, userid) = (self.of_people(tenant), topic::encode(userid));
        format!("{tag}:user:{tenant}:{userid}")
    }

    /// Set: the ids of a tenant's groups.
    pub fn groups(&self, tenant: &Tenant) -> String {
        format!("{}:groups:{tenant}", self.of_people(tenant))
    }

    /// Hash: one access token of a user, by its id.
    pub fn access_token(&self, id: &str) -> String {
        let tag = self.tagged(partition("", id));
        format!("{tag}:token:{}", topic::encode(id))
    }

    /// Sorted set: the ids of a user's access tokens, by when they expire.
    pub fn access_tokens(&self, tenant: &Tenant, userid: &str) -> String {
        let (tag, userid) = (self.of_people(tenant), topic::encode(userid));
        format!("{tag}:tokens-of:{tenant}:{userid}")
    }

    /// What the keys of all annotations of a tenant begin with.
    pub(crate) fn annotations_begin(&self, tenant: &Tenant) -> String {
        format!("{}:an:{tenant}:", self.of_people(tenant))
    }

    /// What the keys of all documents of a tenant begin with.
    pub(crate) fn documents_begin(&self, tenant: &Tenant) -> String {
        format!("{}:doc:{tenant}:", self.of_people(tenant))
    }

    /// Hash: which document each address known to a tenant belongs to.
    pub(crate) fn addresses(&self, tenant: &Tenant) -> String {
        format!("{}:uris:{tenant}", self.of_people(tenant))
    }

    /// What the keys of all indexes of a tenant's annotations begin with.
    pub(crate) fn annotation_indexes_begin(&self, tenant: &Tenant) -> String {
        format!("{}:ix:{tenant}:", self.of_people(tenant))
    }

    /// The index of what is in a group.
    pub(crate) fn annotations_of_group(&self, tenant: &Tenant, id: &str) -> String {
        format!("{}g:{id}", self.annotation_indexes_begin(tenant))
    }

    /// What the keys of all users of a tenant begin with.
    pub(crate) fn users_begin(&self, tenant: &Tenant) -> String {
        self.user(tenant, "")
    }

    /// String: that this event of a producer was published on the topic; spelt as
    /// [`idempotency`](Self::idempotency) is.
    pub fn ingested(&self, topic: &Topic, event: &str) -> String {
        let (tag, event) = (self.tagged(topic.partition()), topic::encode(event));
        format!("{tag}:ingested:{}:{event}:{topic}", event.len())
    }

    /// Stream: where annotation systems of a tenant add events. Those of all
    /// tenants share a slot, so that one blocking command reads them all, and a
    /// tag that producers need not compute.
    pub fn intake(&self, tenant: &Tenant) -> String {
        format!("{}:{{in}}:{tenant}", self.prefix)
    }

    /// Stream: what was added there and cannot be published, with the reasons.
    pub fn dead_letters(&self, tenant: &Tenant) -> String {
        format!("{}:{{in}}:dead:{tenant}", self.prefix)
    }

    /// People and groups live where their tenant's annotations do, so that one
    /// script decides about an annotation and who may read it.
    fn of_people(&self, tenant: &Tenant) -> String {
        self.tagged(annotation::topic(tenant).partition())
    }

    /// What every key of this partition begins with, for scripts that touch
    /// those of many recipients.
    pub(crate) fn base(&self, partition: Partition) -> String {
        format!("{}:", self.tagged(partition))
    }

    /// `<tenant>:<id>` of a recipient's topic, as its keys end.
    pub(crate) fn rest(recipient: &Topic) -> String {
        let name = recipient.as_str();
        name.replacen(":recipient:", ":", 1)
    }

    fn tagged(&self, partition: Partition) -> String {
        format!("{}:{{{}}}", self.prefix, partition.tag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_redis_uses() {
        assert_eq!("123456789".bytes().fold(0, crc16), 0x31C3);
    }

    #[test]
    fn a_key_hashes_to_the_slot_that_redis_says() {
        // Answers of CLUSTER KEYSLOT.
        for (key, expected) in [
            ("123456789", 12_739),
            ("a{123456789}b", 12_739),
            ("{}123456789", 1_951),
            ("{123456789", 5_574),
            ("a{123456789}{x}", 12_739),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn each_tag_lies_in_the_middle_of_its_partition() {
        let width = SLOTS / PARTITIONS;
        for partition in Partition::every() {
            let slot = partition.slot();
            assert_eq!(slot / width, partition.index());
            assert!(
                (width / 4..width * 3 / 4).contains(&(slot % width)),
                "{partition:?}"
            );
        }
    }

    #[test]
    fn all_keys_of_a_recipient_share_its_partition() {
        let tenant: Tenant = "acme".parse().unwrap();
        let topic = Topic::recipient(&tenant, "a:{b}");
        let keys = Keys::new("carillon");
        let tag = format!("carillon:{{{}}}:", topic.partition().tag());
        for key in [
            keys.pending(&topic),
            keys.history(&topic),
            keys.revoked(&topic),
            keys.log(topic.partition(), &tenant),
        ] {
            assert!(key.starts_with(&tag), "{key}");
            assert_eq!(key.matches('{').count(), 1, "{key}");
        }
    }

    #[test]
    fn all_keys_of_a_tenant_s_annotations_and_people_share_their_partition() {
        let tenant: Tenant = "acme".parse().unwrap();
        let keys = Keys::new("carillon");
        let partition = annotation::topic(&tenant).partition();
        let tag = format!("carillon:{{{}}}:", partition.tag());
        let begins = [
            keys.annotations_begin(&tenant),
            keys.documents_begin(&tenant),
            keys.addresses(&tenant),
            keys.annotation_indexes_begin(&tenant),
            keys.groups_begin(&tenant),
            keys.members_begin(&tenant),
            keys.groups_of_begin(&tenant),
            keys.users_begin(&tenant),
        ];
        for (index, key) in begins.iter().enumerate() {
            assert!(key.starts_with(&tag), "{key}");
            for other in &begins[..index] {
                assert!(!key.starts_with(other.as_str()), "{key} {other}");
                assert!(!other.starts_with(key.as_str()), "{key} {other}");
            }
        }
    }
}
