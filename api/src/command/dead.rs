//! Dead letters at the command line: shown, tried again, thrown away.

use std::io::IsTerminal;

use broker::annotation::ingest::{DeadLetter, DeadLetters, Replayed};
use broker::event::EntryId;
use broker::topic::Tenant;

use super::parse::{Dead, DeadErrand, Which};
use super::table::{plain, table};
use super::{Failed, print, tell, with_redis};

/// Letters read, or done something with, at once.
const AT_ONCE: usize = 100;

/// Does it. What a letter holds goes to the standard output, alone, so that it can
/// be piped; everything else to know of it goes beside it.
pub(super) fn run(dead: Dead) -> Result<(), Failed> {
    with_redis(async |redis, keys| attend(dead, &DeadLetters::new(redis, keys)).await)
}

async fn attend(Dead { tenant, errand }: Dead, letters: &DeadLetters) -> Result<(), Failed> {
    match errand {
        DeadErrand::List { limit, before } => {
            let (listed, more) = letters.list(&tenant, before, limit).await?;
            if let Some(last) = listed.last().filter(|_| more) {
                tell(&format!("There are more: --before {}", last.id));
            }
            let head = ["ID", "GIVEN UP", "WHY", "FOR", "ERROR"].map(str::to_owned);
            let rows = listed.iter().map(row);
            print(&table(&[head].into_iter().chain(rows).collect::<Vec<_>>()))
        }
        DeadErrand::Show { id } => match letters.letter(&tenant, id).await? {
            Some(letter) => show(&letter),
            None => Err(Failed(format!("there is no dead letter {id}"))),
        },
        DeadErrand::Replay { which } => {
            let ids = ids(which, letters, &tenant).await?;
            let mut outcomes = Vec::new();
            for some in ids.chunks(AT_ONCE) {
                outcomes.extend(letters.replay(&tenant, some).await?);
            }
            let count = |which| outcomes.iter().filter(|one| **one == which).count();
            let (gone, cut) = (count(Replayed::Unknown), count(Replayed::Cut));
            print(&format!("replayed {}", count(Replayed::Done)))?;
            match (gone, cut) {
                (0, 0) => Ok(()),
                _ => Err(Failed(format!(
                    "{gone} are not there, {cut} were cut and can only be discarded"
                ))),
            }
        }
        DeadErrand::Discard { which } => {
            let ids = ids(which, letters, &tenant).await?;
            let mut done = 0;
            for some in ids.chunks(AT_ONCE) {
                let outcomes = letters.discard(&tenant, some).await?;
                done += outcomes.into_iter().filter(|done| *done).count();
            }
            print(&format!("discarded {done}"))?;
            match ids.len() - done {
                0 => Ok(()),
                gone => Err(Failed(format!("{gone} are not there"))),
            }
        }
    }
}

/// Those meant, oldest first if all are.
async fn ids(which: Which, letters: &DeadLetters, tenant: &Tenant) -> Result<Vec<EntryId>, Failed> {
    let Which::All = which else {
        let Which::These(ids) = which else {
            return Ok(Vec::new());
        };
        return Ok(ids);
    };
    let (mut ids, mut before) = (Vec::<EntryId>::new(), None);
    loop {
        let (some, more) = letters.list(tenant, before, AT_ONCE).await?;
        ids.extend(some.iter().map(|letter| letter.id));
        before = ids.last().copied();
        if !more {
            ids.reverse();
            return Ok(ids);
        }
    }
}

fn row(letter: &DeadLetter) -> [String; 5] {
    let kind = letter.topic.as_ref().or(letter.kind.as_ref());
    [
        letter.id.to_string(),
        letter.given_up_at().to_string(),
        letter.why.clone(),
        kind.cloned().unwrap_or_default(),
        letter.error.clone(),
    ]
}

fn show(letter: &DeadLetter) -> Result<(), Failed> {
    let facts = [
        ("given up", Some(letter.given_up_at().to_string())),
        ("why", Some(letter.why.clone())),
        ("error", Some(letter.error.clone())),
        ("entry", Some(letter.entry.clone())),
        ("type", letter.kind.clone()),
        ("topic", letter.topic.clone()),
        ("cut", letter.cut.then(|| "it was longer".to_owned())),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            tell(&format!("{name}: {}", plain(&fact)));
        }
    }
    match std::io::stdout().is_terminal() {
        true => print(&plain(&letter.data)),
        false => print(&letter.data),
    }
}
