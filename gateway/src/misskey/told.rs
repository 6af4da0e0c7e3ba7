//! What the processes of a host tell each other, and what follows for its users here.

use std::sync::Arc;

use broker::key::{Key, KeySet};
use broker::misskey::Field;
use broker::misskey::internal::Internal;
use broker::misskey::relations::Seen;
use broker::misskey::viewer::Viewer;
use tracing::debug;

use super::desk::Desk;
use crate::dialect::misskey::News;

/// Does what follows. Never waits: what has to be asked is asked beside.
pub(super) fn hear(desk: &Arc<Desk>, what: Internal) {
    match what {
        Internal::Follow { follower, followee } => {
            // Whether replies are wanted too is not said, and the key is gone.
            if let Some(user) = desk.users.get(follower) {
                user.doubt(|doubts| doubts.following = true);
            }
            change(desk, follower, |viewer, seen| {
                set(&mut viewer.following, followee, true);
                seen.forget_following();
            });
        }
        Internal::Unfollow { follower, followee } => change(desk, follower, |viewer, seen| {
            set(&mut viewer.following, followee, false);
            set(&mut viewer.with_replies, followee, false);
            seen.forget_following();
        }),
        Internal::Blocking {
            blocker,
            blockee,
            made,
        } => change(desk, blockee, |viewer, seen| {
            set(&mut viewer.blocked_by, blocker, made);
            seen.forget_blocked_by();
        }),
        Internal::FollowChannel { user, channel, on } => change(desk, user, |viewer, seen| {
            set(&mut viewer.followed_channels, channel, on);
            seen.forget_followed_channels();
        }),
        Internal::MuteChannel { user, channel, on } => change(desk, user, |viewer, seen| {
            set(&mut viewer.muted_channels, channel, on);
            seen.forget_muted_channels();
        }),
        Internal::TokenRegenerated { user, old } => desk.token_ended(&user, &old),
        Internal::Suspended { user } | Internal::Deleted { user } => desk.user_ended(&user),
        Internal::Meta { visitors, policies } => {
            if let Some(known) = desk.visiting_now() {
                let policies = policies.unwrap_or(known.policies);
                desk.visitors_see(policies, visitors.unwrap_or(known.visitors));
            }
            if policies.is_some() {
                doubt_all(desk, false);
            }
        }
        Internal::RoleChanged { id, open } => role(desk, id, open),
        Internal::AntennaDeleted { id } => {
            let topic = desk.stream(&format!("antennaStream:{id}"));
            desk.tell(&topic, &News::AntennaGone);
        }
        Internal::UserUpdated { user } => {
            if let Some(user) = desk.users.get(Field::User.key(&user)) {
                user.doubt(|doubts| doubts.rights = true);
            }
        }
        // The stream of the list says it to who has opened it.
        Internal::ListMember { .. } => {}
        Internal::Gap => doubt_all(desk, true),
    }
}

/// Changes what is known of a user; sockets are told.
fn change(desk: &Desk, user: Key, change: impl FnOnce(&mut Viewer, &mut Seen)) {
    if let Some(user) = desk.users.get(user) {
        let viewer = user.told(change);
        desk.changed(&user, viewer);
    }
}

fn set(keys: &mut KeySet, key: Key, on: bool) {
    if keys.contains(key) != on {
        *keys = if on {
            keys.with(key)
        } else {
            keys.without(key)
        };
    }
}

/// What everybody may see may have changed; if words were missed, also whom they
/// follow, and whether they may be here at all.
fn doubt_all(desk: &Desk, missed: bool) {
    for user in desk.users.everybody() {
        user.doubt(|doubts| {
            doubts.rights = true;
            doubts.following |= missed;
        });
    }
}

fn role(desk: &Arc<Desk>, id: Box<str>, open: Option<bool>) {
    let (desk, topic) = (
        Arc::clone(desk),
        desk.stream(&format!("roleTimelineStream:{id}")),
    );
    match open {
        Some(true) => {}
        Some(false) => desk.tell(&topic, &News::RoleClosed),
        None => drop(tokio::spawn(async move {
            let Some(api) = &desk.api else {
                return;
            };
            match api.role(&id).await {
                Ok(true) => {}
                Ok(false) => desk.tell(&topic, &News::RoleClosed),
                Err(error) => debug!(%error, "whether a role is open cannot be asked"),
            }
        })),
    }
}
