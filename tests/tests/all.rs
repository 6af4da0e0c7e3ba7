//! Carillon from outside: every test starts a cluster of its own.

#![allow(clippy::disallowed_methods)] // Tests are no process of the cluster: they have no settings to read once.

#[path = "all/annotation_sockets.rs"]
mod annotation_sockets;
#[path = "all/annotations.rs"]
mod annotations;
#[path = "all/api.rs"]
mod api;
#[path = "all/buses.rs"]
mod buses;
#[path = "all/cases.rs"]
mod cases;
#[path = "all/clients.rs"]
mod clients;
#[path = "all/configuration.rs"]
mod configuration;
#[path = "all/delivery.rs"]
mod delivery;
#[path = "all/docs.rs"]
mod docs;
#[path = "all/encrypted.rs"]
mod encrypted;
#[path = "all/endings.rs"]
mod endings;
#[path = "all/events.rs"]
mod events;
#[path = "all/faults.rs"]
mod faults;
#[path = "all/first.rs"]
mod first;
#[path = "all/full.rs"]
mod full;
#[path = "all/harness.rs"]
mod harness;
#[path = "all/hostile.rs"]
mod hostile;
#[path = "all/hung.rs"]
mod hung;
#[path = "all/ingest.rs"]
mod ingest;
#[path = "all/leaving.rs"]
mod leaving;
#[path = "all/links.rs"]
mod links;
#[path = "all/memory.rs"]
mod memory;
#[path = "all/metrics.rs"]
mod metrics;
#[path = "all/misskey_people.rs"]
mod misskey_people;
#[path = "all/misskey_relay.rs"]
mod misskey_relay;
#[path = "all/programs.rs"]
mod programs;
#[path = "all/providers.rs"]
mod providers;
#[path = "all/proxied.rs"]
mod proxied;
#[path = "all/quotas.rs"]
mod quotas;
#[path = "all/rings.rs"]
mod rings;
#[path = "all/rotation.rs"]
mod rotation;
#[path = "all/sockets.rs"]
mod sockets;
#[path = "all/misskey_page.rs"]
mod misskey_page;
#[path = "all/model.rs"]
mod model;
#[path = "all/missed.rs"]
mod missed;
#[path = "all/replaced.rs"]
mod replaced;
#[path = "all/replicated.rs"]
mod replicated;
#[path = "all/scheduled.rs"]
mod scheduled;
#[path = "all/sources.rs"]
mod sources;
#[path = "all/topologies.rs"]
mod topologies;
#[path = "all/traces.rs"]
mod traces;
#[path = "all/worker.rs"]
mod worker;
