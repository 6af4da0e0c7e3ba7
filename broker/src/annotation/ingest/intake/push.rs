//! Pushing what producers added, each once and in the order of each recipient.

use std::collections::HashSet;

use futures_util::future::try_join_all;

use crate::annotation::ingest::Push;
use crate::error::Error;
use crate::messages::Messages;
use crate::topic::Tenant;

/// The most recipients that are pushed to at the same time.
const AT_ONCE: usize = 1000;

/// Pushes what entries of these names ask for. May be repeated with the same.
pub(super) async fn push(
    messages: &Messages,
    tenant: &Tenant,
    pushes: &[(&str, &Push)],
) -> Result<(), Error> {
    let mut rest = pushes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(apart(rest));
        let each = now.iter();
        try_join_all(each.map(|(entry, push)| one(messages, tenant, entry, push))).await?;
        rest = later;
    }
    Ok(())
}

/// How many of the first have no recipient in common, at least one: in what
/// order they are stored, nobody sees.
fn apart(pushes: &[(&str, &Push)]) -> usize {
    let mut named = HashSet::new();
    let mut count = 0;
    for (_, push) in pushes {
        let Some(recipients) = &push.recipients else {
            break;
        };
        let others = named.len();
        let own: HashSet<_> = recipients.iter().collect();
        if AT_ONCE < others + own.len() || own.iter().any(|name| named.contains(name)) {
            break;
        }
        named.extend(own);
        count += 1;
    }
    count.max(1)
}

async fn one(messages: &Messages, tenant: &Tenant, entry: &str, push: &Push) -> Result<(), Error> {
    // No producer can choose a key with a control character.
    let unnamed = || format!("\u{0}{entry}");
    let key = push.id.as_deref().map_or_else(unnamed, str::to_owned);
    let Some(recipients) = &push.recipients else {
        let pushed = messages.push_global(tenant, &push.draft, Some(&key));
        return pushed.await.map(drop);
    };
    let pushed = messages.push(tenant, recipients, &push.draft, Some(&key));
    pushed.await.into_iter().try_for_each(|one| one.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;

    #[test]
    fn only_pushes_to_different_recipients_go_at_the_same_time() {
        let draft = Draft {
            text: "x".into(),
            label: None,
            expires_at: None,
            deliver_at: None,
        };
        let to = |names: Option<&[&str]>| Push {
            recipients: names.map(|names| names.iter().map(|&name| name.into()).collect()),
            draft: draft.clone(),
            id: None,
        };
        let count = |pushes: &[Push]| {
            let pushes: Vec<_> = pushes.iter().map(|push| ("1-1", push)).collect();
            apart(&pushes)
        };
        let (ada, ben, both) = (
            to(Some(&["ada", "ada"])),
            to(Some(&["ben"])),
            to(Some(&["ada", "ben"])),
        );
        assert_eq!(count(&[ada.clone(), ben.clone(), both.clone()]), 2);
        assert_eq!(count(&[both, ben.clone()]), 1);
        assert_eq!(count(&[ada.clone(), to(None), ben.clone()]), 1);
        assert_eq!(count(&[to(None), ada, ben]), 1);
    }
}
