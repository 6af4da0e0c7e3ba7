//! `docs/events.md` is what the code does.

use std::path::Path;

use broker::event::{BadEvent, Event};
use broker::keys::Keys;
use broker::topic::{Topic, TopicKind};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// The lines of the page's block of this name.
fn block<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let (_, rest) = page
        .split_once(&format!("```{name}\n"))
        .expect("the page has the block");
    let (block, _) = rest.split_once("\n```").expect("it ends");
    block.lines().collect()
}

#[test]
fn the_frames_of_the_page_are_read() {
    let page = page();
    let frames = block(&page, "frames");
    assert_eq!(frames.len(), 4);
    for frame in frames {
        let event = Event::parse(frame.as_bytes()).unwrap();
        let told = format!("\"type\":\"{}\"", event.kind);
        assert!(frame.contains(&told), "{frame}");
        assert_eq!(event.entry.is_none(), frame.starts_with('{'), "{frame}");
        assert_eq!(
            event.expires_at.is_some(),
            frame.contains("\"x\":"),
            "{frame}"
        );
    }
}

#[test]
fn what_the_page_says_is_refused_is_refused_for_that_reason() {
    for line in block(&page(), "refused") {
        let (why, frame) = line.split_once(' ').expect("a reason stands in front");
        let counted = match Event::parse(frame.as_bytes()) {
            Ok(_) => "nothing",
            Err(BadEvent::Version) => "version",
            Err(BadEvent::Json | BadEvent::Entry) => "json",
        };
        assert_eq!(counted, why, "{frame}");
    }
}

#[test]
fn the_partitions_of_the_page_are_computed_alike() {
    let keys = Keys::new("carillon");
    let row = |name: &str| {
        let topic = Topic::parse(name)?;
        let partition = topic.partition();
        let key = match topic.kind() {
            TopicKind::All => keys.global_log(&topic.tenant()),
            _ => keys.pending(&topic),
        };
        let (index, tag) = (partition.index(), partition.tag());
        Some(format!("| `{name}` | {index} | `{tag}` | `{key}` |"))
    };
    let (mut told, mut computed) = (Vec::new(), Vec::new());
    for line in page().lines() {
        let name = line.split('`').nth(1).filter(|_| line.starts_with("| `"));
        if let Some(row) = name.and_then(row) {
            told.push(line.to_owned());
            computed.push(row);
        }
    }
    assert!(told.len() >= 5);
    assert_eq!(told, computed);
}
