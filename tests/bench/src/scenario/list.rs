//! All scenarios.

use super::{Load, Protocol, Scenario};

/// How many annotations are made in a second where that matters.
const ANNOTATIONS_PER_SECOND: u32 = 100;
/// How many notes are written in a second.
const NOTES_PER_SECOND: u32 = 50;
/// Seconds' worth of them: CPU time is told in hundredths of a second.
const SECONDS: u32 = 20;

/// Messages.
const PUSHES: [Scenario; 7] = [
    Scenario {
        name: "A1",
        protocol: Protocol::Push,
        topics: 1,
        sockets: 5000,
        load: Load::Window {
            in_flight: 1,
            pushes: 100,
        },
        what: "1 recipient with 5,000 sockets, one push in flight",
    },
    Scenario {
        name: "A16",
        protocol: Protocol::Push,
        topics: 1,
        sockets: 5000,
        load: Load::Window {
            in_flight: 16,
            pushes: 800,
        },
        what: "the same, 16 in flight: frames may travel together",
    },
    Scenario {
        name: "B",
        protocol: Protocol::Push,
        topics: 10_000,
        sockets: 1,
        load: Load::Window {
            in_flight: 2000,
            pushes: 100_000,
        },
        what: "10,000 recipients with a socket each, chosen at random, 2,000 pushes in flight",
    },
    Scenario {
        name: "B5k",
        protocol: Protocol::Push,
        topics: 10_000,
        sockets: 1,
        load: Load::Rate {
            per_second: 5000,
            pushes: 50_000,
            api: false,
        },
        what: "the same, 5,000 pushes/s; delay from the intended time",
    },
    Scenario {
        name: "E",
        protocol: Protocol::Push,
        topics: 1000,
        sockets: 10,
        load: Load::Window {
            in_flight: 64,
            pushes: 30_000,
        },
        what: "1,000 recipients with 10 sockets each, 64 pushes in flight",
    },
    Scenario {
        name: "api5k",
        protocol: Protocol::Push,
        topics: 10_000,
        sockets: 1,
        load: Load::Rate {
            per_second: 5000,
            pushes: 50_000,
            api: true,
        },
        what: "as B5k, each push a call of the api over 64 connections",
    },
    Scenario {
        name: "C",
        protocol: Protocol::Push,
        topics: 19_000,
        sockets: 1,
        load: Load::Idle,
        what: "19,000 idle sockets, a recipient each; all leave and return, twice",
    },
];

/// Annotations.
const ANNOTATIONS: [Scenario; 11] = [
    unmatched(
        "H0",
        10_000,
        "10,000 anonymous sockets, each with a filter on one page; 100 annotations/s of other pages",
    ),
    matched("H1", 10_000, 1, "the same, of pages with 1 socket each"),
    matched("H10", 1000, 10, "the same, of pages with 10 sockets each"),
    matched("H100", 100, 100, "the same, of pages with 100 sockets each"),
    unmatched("H0few", 1000, "as H0, with 1,000 sockets"),
    matched("H1few", 1000, 1, "as H1, with 1,000 sockets"),
    matched("H10few", 100, 10, "as H10, with 1,000 sockets"),
    matched("H100few", 10, 100, "as H100, with 1,000 sockets"),
    Scenario {
        name: "HA",
        protocol: Protocol::Hypothesis,
        topics: 1,
        sockets: 10_000,
        load: Load::Window {
            in_flight: 1,
            pushes: 100,
        },
        what: "10,000 anonymous sockets with a filter on one page, one annotation of it in flight",
    },
    Scenario {
        name: "HC",
        protocol: Protocol::Hypothesis,
        topics: 19_000,
        sockets: 1,
        load: Load::Idle,
        what: "as C, but anonymous sockets, each with a filter on a page of its own",
    },
    Scenario {
        name: "HCin",
        protocol: Protocol::HypothesisSignedIn,
        topics: 19_000,
        sockets: 1,
        load: Load::Idle,
        what: "as HC, but each with a user of its own signed in, who is in 5 groups",
    },
];

/// Notes and notifications.
const NOTES: [Scenario; 6] = [
    Scenario {
        name: "MB",
        protocol: Protocol::MisskeyMain,
        what: "as B, but Misskey sockets of 10,000 users, and events of their own published on their topics",
        ..PUSHES[2]
    },
    Scenario {
        name: "MB5k",
        protocol: Protocol::MisskeyMain,
        what: "as B5k, but with them",
        ..PUSHES[3]
    },
    Scenario {
        name: "ME",
        protocol: Protocol::MisskeyMain,
        what: "as E, but Misskey sockets, 10 of each user",
        ..PUSHES[4]
    },
    Scenario {
        name: "M",
        protocol: Protocol::MisskeyHome,
        topics: 50,
        sockets: 200,
        load: Load::Rate {
            per_second: NOTES_PER_SECOND,
            pushes: NOTES_PER_SECOND * SECONDS,
            api: false,
        },
        what: "10,000 Misskey sockets, each with a user of its own who follows 200, on the home timeline and `main`; 50 notes/s of 3 KB on the bus, each by somebody whom 200 follow",
    },
    Scenario {
        name: "MC",
        protocol: Protocol::MisskeyIdle,
        topics: 1900,
        sockets: 10,
        load: Load::Idle,
        what: "as C, but Misskey sockets of 1,900 users who follow 200 each, on `main` and the home timeline, each watching 4 notes",
    },
    Scenario {
        name: "MCown",
        protocol: Protocol::MisskeyIdle,
        topics: 10_000,
        sockets: 1,
        load: Load::Idle,
        what: "as MC, but 10,000 sockets, each with a user of its own",
    },
];

/// Annotations of pages that so many sockets each look at.
const fn matched(name: &'static str, pages: usize, sockets: usize, what: &'static str) -> Scenario {
    Scenario {
        name,
        protocol: Protocol::Hypothesis,
        topics: pages,
        sockets,
        load: Load::Rate {
            per_second: ANNOTATIONS_PER_SECOND,
            pushes: ANNOTATIONS_PER_SECOND * SECONDS,
            api: false,
        },
        what,
    }
}

/// Annotations of pages that nobody looks at.
const fn unmatched(name: &'static str, pages: usize, what: &'static str) -> Scenario {
    Scenario {
        load: Load::Elsewhere {
            per_second: ANNOTATIONS_PER_SECOND,
            pushes: ANNOTATIONS_PER_SECOND * SECONDS,
        },
        ..matched(name, pages, 1, what)
    }
}

/// All scenarios, in the order of the table.
pub(crate) fn every() -> impl Iterator<Item = Scenario> {
    PUSHES.into_iter().chain(ANNOTATIONS).chain(NOTES)
}

/// What each is, as a list.
pub(crate) fn legend() -> String {
    every()
        .map(|scenario| format!("* {}: {}\n", scenario.name, scenario.what))
        .collect()
}
