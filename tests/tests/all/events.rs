//! `docs/events.md` is what the code does.

#[path = "events/languages.rs"]
mod languages;
#[path = "events/rights.rs"]
mod rights;

use std::path::Path;

use broker::event::{BadEvent, Event};
use broker::keys::{Keys, Partition};
use broker::topic::{Topic, TopicKind};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// The page's blocks of this name.
fn blocks(page: &str, name: &str) -> Vec<String> {
    let start = format!("{name}\n");
    let blocks = page.split("```").skip(1).step_by(2);
    let own = blocks.filter_map(|block| block.strip_prefix(&*start));
    own.map(str::to_owned).collect()
}

/// The lines of all of them.
fn block_lines(page: &str, name: &str) -> Vec<String> {
    let lines = blocks(page, name);
    let lines = lines.iter().flat_map(|block| block.lines());
    lines.map(str::to_owned).collect()
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
fn what_the_page_publishes_is_read() {
    let shell = blocks(&page(), "sh");
    let published: Vec<_> = shell
        .iter()
        .filter(|code| code.contains(" PUBLISH ") || code.contains(" FCALL "))
        .map(|code| code.rsplit('\'').nth(1).expect("the event is quoted"))
        .collect();
    assert_eq!(published.len(), 2);
    for event in published {
        assert!(Event::parse(event.as_bytes()).unwrap().entry.is_none());
        assert_eq!(broker::function::check(event.as_bytes()), Ok(()));
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
            TopicKind::Recipient => keys.pending(&topic),
            TopicKind::User | TopicKind::Channel | TopicKind::Note => keys.ring(&topic),
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
    assert!(told.len() >= 12);
    assert_eq!(told, computed);
    let tags = block_lines(&page(), "tags").join(" ");
    let computed: Vec<_> = Partition::every().map(Partition::tag).collect();
    assert_eq!(tags, computed.join(" "));
    let others = [
        blocks(&page(), "python"),
        blocks(&page(), "js"),
        blocks(&page(), "go"),
    ];
    for code in others
        .iter()
        .flatten()
        .filter(|code| code.contains("12 bb"))
    {
        let both = tags.split_at(tags.find(" 12 bb").unwrap());
        assert!(
            code.contains(both.0) && code.contains(both.1.trim()),
            "{code}"
        );
    }
}
