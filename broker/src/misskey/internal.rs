//! What the processes of a Misskey tell each other, as far as it concerns
//! sockets.
//!
//! Secrets are among it: tokens, settings, whole profiles. What is not needed is
//! skipped unread; the one secret that is needed is kept as a [`Token`].

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Field;
use super::caller::Token;
use super::viewer::{Policies, Visitors};
use super::wire::{BadFrame, told};
use crate::key::Key;

/// The longest id of anything, in bytes. The longest in use has 26.
const MAX_ID: usize = 128;
/// The longest token, in bytes.
const MAX_TOKEN: usize = 1024;

/// What concerns sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// Somebody follows somebody.
    Follow {
        /// Who.
        follower: Key,
        /// Whom.
        followee: Key,
    },
    /// Somebody does not any more.
    Unfollow {
        /// Who.
        follower: Key,
        /// Whom.
        followee: Key,
    },
    /// Somebody blocks somebody, or does so no more.
    Blocking {
        /// Who.
        blocker: Key,
        /// Whom.
        blockee: Key,
        /// Whether it is so from now on.
        made: bool,
    },
    /// Somebody follows a channel, or does so no more.
    FollowChannel {
        /// Who.
        user: Key,
        /// Which one.
        channel: Key,
        /// Whether it is so from now on.
        on: bool,
    },
    /// Somebody mutes a channel, or does so no more.
    MuteChannel {
        /// Who.
        user: Key,
        /// Which one.
        channel: Key,
        /// Whether it is so from now on.
        on: bool,
    },
    /// A user's own token is another one now.
    TokenRegenerated {
        /// Whose.
        user: Arc<str>,
        /// What it was.
        old: Token,
    },
    /// A user may do nothing for now.
    Suspended {
        /// Who.
        user: Arc<str>,
    },
    /// A user is gone.
    Deleted {
        /// Who.
        user: Arc<str>,
    },
    /// The host's settings are others now.
    Meta {
        /// What visitors see, if that was said.
        visitors: Option<Visitors>,
        /// What those may see who have no role, and visitors; if that was said.
        policies: Option<Policies>,
    },
    /// A role was made or changed.
    RoleChanged {
        /// Which one.
        id: Box<str>,
        /// Whether everybody may look at the notes of its users, if that was said.
        open: Option<bool>,
    },
    /// An antenna is gone.
    AntennaDeleted {
        /// Which one.
        id: Box<str>,
    },
    /// Somebody is on a list, or is no more.
    ListMember {
        /// Which one.
        list: Box<str>,
        /// Who.
        member: Key,
        /// Whether it is so from now on.
        on: bool,
    },
    /// What only the host can tell of one of its users may be otherwise: roles,
    /// profile, suspension.
    UserUpdated {
        /// Who.
        user: Arc<str>,
    },
    /// Messages were missed: anything may be otherwise.
    Gap,
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Follow<'a> {
    #[serde(borrow)]
    follower_id: Cow<'a, str>,
    #[serde(borrow)]
    followee_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    blocker_id: Cow<'a, str>,
    #[serde(borrow)]
    blockee_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfChannel<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    channel_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfList<'a> {
    #[serde(borrow)]
    user_list_id: Cow<'a, str>,
    #[serde(borrow)]
    member_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Regenerated<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    old_token: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    is_suspended: bool,
    #[serde(default)]
    is_deleted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfUser<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Role<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    is_public: Option<bool>,
    #[serde(default)]
    is_explorable: Option<bool>,
}

#[derive(Deserialize)]
struct Settings<'a> {
    #[serde(borrow)]
    after: Setting<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Setting<'a> {
    #[serde(borrow, default)]
    ugc_visibility_for_visitor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    policies: Option<Available<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Available<'a> {
    #[serde(borrow, default)]
    ltl_available: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gtl_available: Option<&'a RawValue>,
}

impl Internal {
    /// Reads a message of the stream `internal`; `None` if it concerns no socket.
    ///
    /// # Errors
    /// If it does not have its form.
    pub fn read(message: &str) -> Result<Option<Self>, BadFrame> {
        let (kind, body) = told(message)?;
        Ok(Some(match &*kind {
            "follow" => {
                let Follow {
                    follower_id,
                    followee_id,
                } = of(body)?;
                let (follower, followee) = (user(&follower_id), user(&followee_id));
                Self::Follow { follower, followee }
            }
            "unfollow" => {
                let Follow {
                    follower_id,
                    followee_id,
                } = of(body)?;
                let (follower, followee) = (user(&follower_id), user(&followee_id));
                Self::Unfollow { follower, followee }
            }
            "blockingCreated" | "blockingDeleted" => {
                let Block {
                    blocker_id,
                    blockee_id,
                } = of(body)?;
                Self::Blocking {
                    blocker: user(&blocker_id),
                    blockee: user(&blockee_id),
                    made: kind == "blockingCreated",
                }
            }
            "followChannel" | "unfollowChannel" => {
                let OfChannel {
                    user_id,
                    channel_id,
                } = of(body)?;
                Self::FollowChannel {
                    user: user(&user_id),
                    channel: Field::Channel.key(&channel_id),
                    on: kind == "followChannel",
                }
            }
            "muteChannel" | "unmuteChannel" => {
                let OfChannel {
                    user_id,
                    channel_id,
                } = of(body)?;
                Self::MuteChannel {
                    user: user(&user_id),
                    channel: Field::Channel.key(&channel_id),
                    on: kind == "muteChannel",
                }
            }
            "userListMemberAdded" | "userListMemberRemoved" => {
                let OfList {
                    user_list_id,
                    member_id,
                } = of(body)?;
                Self::ListMember {
                    list: id(user_list_id)?,
                    member: user(&member_id),
                    on: kind == "userListMemberAdded",
                }
            }
            "userTokenRegenerated" => {
                let token: Regenerated<'_> = of(body)?;
                if MAX_TOKEN < token.old_token.len() {
                    return Err(BadFrame::Form);
                }
                Self::TokenRegenerated {
                    user: id(token.id)?.into(),
                    old: Token::new(&token.old_token),
                }
            }
            "userChangeSuspendedState" | "userChangeDeletedState" => {
                let state: State<'_> = of(body)?;
                let user = id(state.id)?.into();
                match (state.is_deleted, state.is_suspended) {
                    (true, _) => Self::Deleted { user },
                    (false, true) => Self::Suspended { user },
                    (false, false) => Self::UserUpdated { user },
                }
            }
            "localUserUpdated" => {
                let Id { id: user } = of(body)?;
                let user = id(user)?.into();
                Self::UserUpdated { user }
            }
            "updateUserProfile" | "userRoleAssigned" | "userRoleUnassigned" => {
                let OfUser { user_id } = of(body)?;
                let user = id(user_id)?.into();
                Self::UserUpdated { user }
            }
            "metaUpdated" => {
                let Settings { after } = of(body)?;
                Self::Meta {
                    visitors: after.ugc_visibility_for_visitor.and_then(|v| visitors(&v)),
                    policies: after.policies.map(|available| available.policies()),
                }
            }
            "policiesUpdated" => {
                let available: Available<'_> = of(body)?;
                Self::Meta {
                    visitors: None,
                    policies: Some(available.policies()),
                }
            }
            "roleCreated" | "roleUpdated" => {
                let role: Role<'_> = of(body)?;
                let both = role.is_public.zip(role.is_explorable);
                Self::RoleChanged {
                    id: id(role.id)?,
                    open: both.map(|(public, explorable)| public && explorable),
                }
            }
            "roleDeleted" => {
                let Id { id: role } = of(body)?;
                Self::RoleChanged {
                    id: id(role)?,
                    open: Some(false),
                }
            }
            "antennaDeleted" => {
                let Id { id: antenna } = of(body)?;
                Self::AntennaDeleted { id: id(antenna)? }
            }
            _ => return Ok(None),
        }))
    }
}

impl Available<'_> {
    /// What is not said is allowed, as by default.
    fn policies(&self) -> Policies {
        let allows = |said: Option<&RawValue>| said.is_none_or(|said| said.get() != "false");
        Policies {
            local: allows(self.ltl_available),
            global: allows(self.gtl_available),
        }
    }
}

fn visitors(said: &str) -> Option<Visitors> {
    match said {
        "all" => Some(Visitors::All),
        "local" => Some(Visitors::Local),
        "none" => Some(Visitors::None),
        _ => None,
    }
}

fn of<'a, T: Deserialize<'a>>(body: &'a RawValue) -> Result<T, BadFrame> {
    // Members by name only: an array would do for them all.
    if !body.get().starts_with('{') {
        return Err(BadFrame::Form);
    }
    serde_json::from_str(body.get()).map_err(|_| BadFrame::Form)
}

fn user(id: &str) -> Key {
    Field::User.key(id)
}

fn id(text: Cow<'_, str>) -> Result<Box<str>, BadFrame> {
    if (1..=MAX_ID).contains(&text.len()) {
        Ok(text.into())
    } else {
        Err(BadFrame::Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str) -> Result<Option<Internal>, BadFrame> {
        Internal::read(&format!(r#"{{"type":"{kind}","body":{body}}}"#))
    }

    fn says(what: Internal) -> Result<Option<Internal>, BadFrame> {
        Ok(Some(what))
    }

    #[test]
    fn who_follows_blocks_and_mutes_is_read() {
        let (a, b) = (user("a"), user("b"));
        let channel = Field::Channel.key("c");
        let follow = r#"{"followerId":"a","followeeId":"b"}"#;
        let (follower, followee) = (a, b);
        assert_eq!(
            read("follow", follow),
            says(Internal::Follow { follower, followee })
        );
        assert_eq!(
            read("unfollow", follow),
            says(Internal::Unfollow { follower, followee })
        );
        for (kind, made) in [("blockingCreated", true), ("blockingDeleted", false)] {
            let (blocker, blockee) = (a, b);
            let block = r#"{"blockerId":"a","blockeeId":"b"}"#;
            let told = says(Internal::Blocking {
                blocker,
                blockee,
                made,
            });
            assert_eq!(read(kind, block), told);
        }
        let of_channel = r#"{"userId":"a","channelId":"c"}"#;
        for (kind, on) in [("followChannel", true), ("unfollowChannel", false)] {
            let told = says(Internal::FollowChannel {
                user: a,
                channel,
                on,
            });
            assert_eq!(read(kind, of_channel), told);
        }
        for (kind, on) in [("muteChannel", true), ("unmuteChannel", false)] {
            let told = says(Internal::MuteChannel {
                user: a,
                channel,
                on,
            });
            assert_eq!(read(kind, of_channel), told);
        }
        for (kind, on) in [
            ("userListMemberAdded", true),
            ("userListMemberRemoved", false),
        ] {
            let (list, member) = ("l".into(), a);
            let told = says(Internal::ListMember { list, member, on });
            assert_eq!(read(kind, r#"{"userListId":"l","memberId":"a"}"#), told);
        }
    }

    #[test]
    fn a_token_that_was_given_up_is_kept_and_never_shown() {
        let body = r#"{"id":"u","oldToken":"hush-old","newToken":"hush-new"}"#;
        let told = read("userTokenRegenerated", body);
        let shown = format!("{told:?}");
        assert!(!shown.contains("hush"), "{shown}");
        let (user, old) = ("u".into(), Token::new("hush-old"));
        assert_eq!(told, says(Internal::TokenRegenerated { user, old }));
    }

    #[test]
    fn what_becomes_of_a_user_is_read() {
        let user: Arc<str> = "u".into();
        let updated = says(Internal::UserUpdated { user: user.clone() });
        let suspended = says(Internal::Suspended { user: user.clone() });
        let deleted = says(Internal::Deleted { user });
        for (kind, body, told) in [
            (
                "userChangeSuspendedState",
                r#"{"id":"u","isSuspended":true}"#,
                &suspended,
            ),
            (
                "userChangeSuspendedState",
                r#"{"id":"u","isSuspended":false}"#,
                &updated,
            ),
            (
                "userChangeDeletedState",
                r#"{"id":"u","isDeleted":true}"#,
                &deleted,
            ),
            ("localUserUpdated", r#"{"id":"u"}"#, &updated),
            (
                "updateUserProfile",
                r#"{"userId":"u","password":"hush"}"#,
                &updated,
            ),
            (
                "userRoleAssigned",
                r#"{"id":"x","userId":"u","roleId":"r"}"#,
                &updated,
            ),
        ] {
            assert_eq!(read(kind, body), *told, "{kind} {body}");
        }
    }

    #[test]
    fn of_settings_and_roles_what_is_looked_at_is_read() {
        let meta = |visitors, policies| says(Internal::Meta { visitors, policies });
        let global_only = Policies {
            local: false,
            global: true,
        };
        for (kind, body, told) in [
            (
                "metaUpdated",
                r#"{"before":{},"after":{"smtpPass":"hush","ugcVisibilityForVisitor":"local",
                   "policies":{"ltlAvailable":false,"driveCapacityMb":[{}]}}}"#,
                meta(Some(Visitors::Local), Some(global_only)),
            ),
            (
                "metaUpdated",
                r#"{"after":{"policies":{}}}"#,
                meta(None, Some(Policies::default())),
            ),
            (
                "metaUpdated",
                r#"{"after":{"ugcVisibilityForVisitor":"new"}}"#,
                meta(None, None),
            ),
            (
                "policiesUpdated",
                r#"{"ltlAvailable":false}"#,
                meta(None, Some(global_only)),
            ),
        ] {
            assert_eq!(read(kind, body), told, "{kind} {body}");
        }
        let role = |open| {
            says(Internal::RoleChanged {
                id: "r".into(),
                open,
            })
        };
        for (kind, body, told) in [
            (
                "roleUpdated",
                r#"{"id":"r","isPublic":true,"isExplorable":true}"#,
                role(Some(true)),
            ),
            (
                "roleUpdated",
                r#"{"id":"r","isPublic":false,"isExplorable":true}"#,
                role(Some(false)),
            ),
            ("roleCreated", r#"{"id":"r"}"#, role(None)),
            (
                "roleDeleted",
                r#"{"id":"r","isPublic":true}"#,
                role(Some(false)),
            ),
        ] {
            assert_eq!(read(kind, body), told, "{kind} {body}");
        }
        let antenna = says(Internal::AntennaDeleted { id: "a".into() });
        assert_eq!(read("antennaDeleted", r#"{"id":"a"}"#), antenna);
    }

    #[test]
    fn what_concerns_no_socket_is_not_looked_at() {
        for kind in [
            "webhookCreated",
            "remoteUserUpdated",
            "antennaUpdated",
            "new",
        ] {
            assert_eq!(read(kind, r#"[{"secret":"hush"}]"#), Ok(None), "{kind}");
        }
    }

    #[test]
    fn what_lacks_its_form_is_refused() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_ID + 1));
        for (kind, body) in [
            ("follow", "null"),
            ("follow", r#"["a","b"]"#),
            ("follow", r#"{"followerId":"a"}"#),
            ("follow", r#"{"followerId":"a","followeeId":5}"#),
            ("userTokenRegenerated", r#"{"id":"u","newToken":"x"}"#),
            (
                "userChangeSuspendedState",
                r#"{"id":"","isSuspended":true}"#,
            ),
            ("metaUpdated", r#"{"before":{}}"#),
            ("antennaDeleted", &long),
        ] {
            let shown = &body[..body.len().min(80)];
            assert_eq!(read(kind, body), Err(BadFrame::Form), "{kind} {shown}");
        }
        assert_eq!(Internal::read("[]"), Err(BadFrame::Form));
    }
}
