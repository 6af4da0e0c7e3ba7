//! What the processes of a Misskey tell each other, as far as it concerns
//! sockets.
//!
//! Secrets are among it: tokens, settings, whole profiles. What is not needed is
//! skipped unread; the one secret that is needed is kept as a [`Token`].

mod forms;

use std::sync::Arc;

use self::forms::{
    Available, Block, Follow, Gone, OfChannel, OfList, OfUser, Regenerated, Role, Settings, State,
    User, of,
};
use super::caller::Token;
use super::viewer::{Policies, Visitors};
use super::wire::{BadFrame, told};
use crate::key::Key;

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

impl Internal {
    /// Reads a message of the stream `internal`; `None` if it concerns no socket.
    ///
    /// # Errors
    /// If it does not have its form.
    pub fn read(message: &str) -> Result<Option<Self>, BadFrame> {
        let (kind, body) = told(message)?;
        Ok(Some(match &*kind {
            "follow" => {
                let Follow { follower, followee } = of(body)?;
                Self::Follow { follower, followee }
            }
            "unfollow" => {
                let Follow { follower, followee } = of(body)?;
                Self::Unfollow { follower, followee }
            }
            "blockingCreated" | "blockingDeleted" => {
                let Block { blocker, blockee } = of(body)?;
                let made = kind == "blockingCreated";
                Self::Blocking {
                    blocker,
                    blockee,
                    made,
                }
            }
            "followChannel" | "unfollowChannel" => {
                let OfChannel { user, channel } = of(body)?;
                let on = kind == "followChannel";
                Self::FollowChannel { user, channel, on }
            }
            "muteChannel" | "unmuteChannel" => {
                let OfChannel { user, channel } = of(body)?;
                let on = kind == "muteChannel";
                Self::MuteChannel { user, channel, on }
            }
            "userListMemberAdded" | "userListMemberRemoved" => {
                let OfList { list, member } = of(body)?;
                let on = kind == "userListMemberAdded";
                Self::ListMember { list, member, on }
            }
            "userTokenRegenerated" => {
                let Regenerated { user, old } = of(body)?;
                Self::TokenRegenerated { user, old }
            }
            "userChangeSuspendedState" | "userChangeDeletedState" => match of(body)? {
                State {
                    user,
                    deleted: true,
                    ..
                } => Self::Deleted { user },
                State {
                    user,
                    suspended: true,
                    ..
                } => Self::Suspended { user },
                State { user, .. } => Self::UserUpdated { user },
            },
            "localUserUpdated" => {
                let User { user } = of(body)?;
                Self::UserUpdated { user }
            }
            "updateUserProfile" | "userRoleAssigned" | "userRoleUnassigned" => {
                let OfUser { user } = of(body)?;
                Self::UserUpdated { user }
            }
            "metaUpdated" => {
                let Settings { after } = of(body)?;
                Self::Meta {
                    visitors: after.visitors(),
                    policies: after.policies(),
                }
            }
            "policiesUpdated" => Self::Meta {
                visitors: None,
                policies: Some(of::<Available<'_>>(body)?.policies()),
            },
            "roleCreated" | "roleUpdated" => {
                let role: Role = of(body)?;
                let open = role.open();
                Self::RoleChanged { id: role.id, open }
            }
            "roleDeleted" => {
                let (Gone { id }, open) = (of(body)?, Some(false));
                Self::RoleChanged { id, open }
            }
            "antennaDeleted" => {
                let Gone { id } = of(body)?;
                Self::AntennaDeleted { id }
            }
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::forms::MAX_ID;
    use super::*;
    use crate::misskey::Field;

    fn read(kind: &str, body: &str) -> Result<Option<Internal>, BadFrame> {
        Internal::read(&format!(r#"{{"type":"{kind}","body":{body}}}"#))
    }

    fn user(id: &str) -> Key {
        Field::User.key(id)
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
