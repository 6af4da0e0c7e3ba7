//! Users for sockets that are signed in.

use std::sync::Arc;

use broker::identity::{AccessTokens, NewAccessToken, SignedIn};
use broker::people::{GroupDraft, GroupKind, People, Role};
use broker::sites::{Site, Sites};
use tests::Fleet;
use tests::fleet::SITES;
use tests::hypothesis::userid;

/// Groups that there are, so many that none has everybody in it.
const GROUPS: usize = 100;
/// Groups of each user.
const GROUPS_EACH: usize = 5;
/// Users made at a time.
const AT_ONCE: usize = 64;

/// The site of the fleet.
pub(crate) fn site() -> Site {
    let sites: Sites = SITES.parse().expect("the fleet's sites are valid");
    let site = sites.site(Some("localhost"));
    site.expect("every host leads to it").clone()
}

/// Who annotates.
pub(crate) fn somebody() -> SignedIn {
    SignedIn {
        tenant: site().tenant,
        userid: userid("annotator").into(),
        memberships: [].into(),
        vouched: [].into(),
        token: "".into(),
        expires_at: None,
    }
}

/// Makes so many users, each in [`GROUPS_EACH`] groups, and an access token for
/// each.
pub(crate) async fn sign_in(fleet: &Fleet, users: usize) -> Vec<String> {
    let people = People::new(fleet.commands(), fleet.keys());
    for group in 0..GROUPS {
        let draft = GroupDraft {
            id: Some(group_id(group)),
            name: format!("Readers {group}"),
            kind: GroupKind::Private,
            pre_moderated: false,
            scopes: Vec::new(),
            enforce_scope: false,
            creator: userid("annotator").into(),
        };
        let made = people.create_group(&site(), &draft).await;
        made.expect("the group is made");
    }
    let tokens = AccessTokens::new(fleet.commands(), fleet.keys());
    many(users, move |user| {
        let (people, tokens) = (people.clone(), tokens.clone());
        async move { one(&people, &tokens, user).await }
    })
    .await
}

/// What `one` makes of each number below `users`, some of them at a time.
pub(crate) async fn many<F>(
    users: usize,
    one: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Vec<String>
where
    F: Future<Output = String> + Send,
{
    let share = users.div_ceil(AT_ONCE);
    let tasks: Vec<_> = (0..users)
        .step_by(share)
        .map(|first| {
            let one = one.clone();
            tokio::spawn(async move {
                let mut shown = Vec::new();
                for user in first..users.min(first + share) {
                    shown.push(one(user).await);
                }
                shown
            })
        })
        .collect();
    let mut shown = Vec::new();
    for task in tasks {
        shown.extend(task.await.expect("all users are made"));
    }
    shown
}

/// A user's access token.
async fn one(people: &People, tokens: &AccessTokens, user: usize) -> String {
    let userid: Arc<str> = userid(&format!("reader-{user:05}")).into();
    for nth in 0..GROUPS_EACH {
        let group = group_id((user + nth) % GROUPS);
        let joined = people.join(&site(), &group, &userid, Role::Member).await;
        joined.expect("there is the group");
    }
    let new = NewAccessToken {
        tenant: site().tenant,
        userid,
        name: None,
        expires_at: None,
    };
    tokens.create(&new).await.expect("the user is there").token
}

/// As long as an id that is chosen for a group.
fn group_id(group: usize) -> String {
    format!("group{group:03}")
}
