//! Who gets what: row by row, and every combination against the rows as data.

use serde_json::value::RawValue;

use super::*;
use crate::annotation::{Audience, Moderation};

const AUTHOR: &str = "acct:author@e.org";
const OTHER: &str = "acct:other@e.org";

/// A new annotation, shared with a group that its members read.
fn shared() -> Notification {
    Notification {
        action: Change::Create,
        id: "a".into(),
        annotation: RawValue::NULL.to_owned(),
        author: AUTHOR.into(),
        author_banned: false,
        group: Audience {
            id: "g".into(),
            readable_by: Readable::Members,
        },
        shared: true,
        moderation: None,
        references: vec![],
        scope_keys: vec![],
        source_client_id: None,
        flaggers: vec![],
    }
}

fn private() -> Notification {
    Notification {
        shared: false,
        ..shared()
    }
}

fn public() -> Notification {
    let mut public = shared();
    public.group.readable_by = Readable::World;
    public
}

fn hidden() -> Notification {
    Notification {
        moderation: Some(Moderation::Pending),
        ..public()
    }
}

/// As whom each gets it: nobody signed in, a stranger, a member, a moderator,
/// the author as a stranger, as a member, and as a moderator.
fn classes(what: &Notification, strict: bool) -> [Option<ViewerClass>; 7] {
    let member = Some(Role::Member);
    let moderator = Some(Role::Moderator);
    [
        (None, None),
        (Some(OTHER), None),
        (Some(OTHER), member),
        (Some(OTHER), moderator),
        (Some(AUTHOR), None),
        (Some(AUTHOR), member),
        (Some(AUTHOR), moderator),
    ]
    .map(|(userid, role)| {
        let role_in = |group: &str| role.filter(|_| group == &*what.group.id);
        what.class_for(userid, role_in, strict)
    })
}

const A: Option<ViewerClass> = Some(ViewerClass::Author);
const B: Option<ViewerClass> = Some(ViewerClass::ModeratingAuthor);
const M: Option<ViewerClass> = Some(ViewerClass::Moderator);
const R: Option<ViewerClass> = Some(ViewerClass::Reader);
const N: Option<ViewerClass> = None;

#[test]
fn what_is_private_is_its_authors() {
    assert_eq!(classes(&private(), false), [N, N, N, N, A, A, A]);
    let hidden = Notification {
        moderation: Some(Moderation::Spam),
        ..private()
    };
    assert_eq!(classes(&hidden, false), [N, N, N, N, A, A, A]);
}

#[test]
fn what_the_world_reads_everybody_gets() {
    assert_eq!(classes(&public(), false), [R, R, R, M, A, A, B]);
    let approved = Notification {
        moderation: Some(Moderation::Approved),
        ..public()
    };
    assert_eq!(classes(&approved, false), [R, R, R, M, A, A, B]);
}

#[test]
fn what_members_read_they_get_and_an_author_who_left_does_not() {
    assert_eq!(classes(&shared(), false), [N, N, R, M, N, A, B]);
}

#[test]
fn what_was_shared_with_a_group_that_is_gone_nobody_gets() {
    let mut gone = shared();
    gone.group.readable_by = Readable::Nobody;
    assert_eq!(classes(&gone, false), [N; 7]);
}

#[test]
fn what_is_hidden_its_author_and_moderators_get() {
    for status in [Moderation::Pending, Moderation::Denied, Moderation::Spam] {
        let hidden = Notification {
            moderation: Some(status),
            ..hidden()
        };
        assert_eq!(classes(&hidden, false), [N, N, N, M, A, A, B]);
    }
    let mut gone = hidden();
    gone.group.readable_by = Readable::Nobody;
    assert_eq!(classes(&gone, false), [N, N, N, N, A, A, A]);
}

#[test]
fn what_was_hidden_and_is_deleted_its_author_alone_gets() {
    let deleted = Notification {
        action: Change::Delete,
        ..hidden()
    };
    assert_eq!(classes(&deleted, false), [N, N, N, N, A, A, B]);
    let deleted = Notification {
        action: Change::Delete,
        ..public()
    };
    assert_eq!(classes(&deleted, false), [R, R, R, M, A, A, B]);
}

#[test]
fn what_a_shadow_banned_author_does_others_are_not_told() {
    let banned = |what: Notification| Notification {
        author_banned: true,
        ..what
    };
    assert_eq!(classes(&banned(public()), false), [N, N, N, N, A, A, B]);
    assert_eq!(classes(&banned(hidden()), false), [N, N, N, N, A, A, B]);
    assert_eq!(classes(&banned(public()), true), [R, N, N, N, A, A, B]);
    assert_eq!(classes(&banned(shared()), true), [N, N, N, N, N, A, B]);
    assert_eq!(classes(&banned(private()), true), [N, N, N, N, A, A, A]);
    assert_eq!(classes(&banned(hidden()), true), [N, N, N, N, A, A, B]);
}

#[test]
fn the_role_is_asked_for_only_where_it_matters() {
    let unasked = |_: &str| panic!("not needed");
    public().class_for(None, unasked, false);
    private().class_for(Some(AUTHOR), unasked, false);
    private().class_for(Some(OTHER), unasked, false);
}

/// One way to be allowed; `None` and empty are whatever is the case.
struct Row {
    shared: Option<bool>,
    hidden: Option<bool>,
    deleted: Option<bool>,
    wrote_it: Option<bool>,
    readable_by: &'static [Readable],
    role: &'static [Role],
}

const ANY: Row = Row {
    shared: None,
    hidden: None,
    deleted: None,
    wrote_it: None,
    readable_by: &[],
    role: &[],
};

const MODERATORS: &[Role] = &[Role::Moderator, Role::Admin, Role::Owner];

const ROWS: [Row; 5] = [
    Row {
        shared: Some(false),
        wrote_it: Some(true),
        ..ANY
    },
    Row {
        shared: Some(true),
        hidden: Some(false),
        readable_by: &[Readable::World],
        ..ANY
    },
    Row {
        shared: Some(true),
        hidden: Some(false),
        readable_by: &[Readable::Members],
        role: &[Role::Member, Role::Moderator, Role::Admin, Role::Owner],
        ..ANY
    },
    Row {
        hidden: Some(true),
        wrote_it: Some(true),
        ..ANY
    },
    Row {
        shared: Some(true),
        hidden: Some(true),
        deleted: Some(false),
        readable_by: &[Readable::World, Readable::Members],
        role: MODERATORS,
        ..ANY
    },
];

impl Row {
    fn allows(&self, what: &Notification, wrote_it: bool, role: Option<Role>) -> bool {
        let hidden = [Moderation::Pending, Moderation::Denied, Moderation::Spam]
            .iter()
            .any(|status| what.moderation == Some(*status));
        let is = |wanted: Option<bool>, given| wanted.is_none_or(|wanted| wanted == given);
        is(self.shared, what.shared)
            && is(self.hidden, hidden)
            && is(self.deleted, what.action == Change::Delete)
            && is(self.wrote_it, wrote_it)
            && (self.readable_by.is_empty() || self.readable_by.contains(&what.group.readable_by))
            && (self.role.is_empty() || role.is_some_and(|role| self.role.contains(&role)))
    }
}

/// All annotations that differ in what matters.
fn every_annotation() -> Vec<Notification> {
    let mut all = vec![shared()];
    let mut vary = |change: &dyn Fn(&mut Notification, usize), ways: usize| {
        all = all
            .iter()
            .flat_map(|what| {
                (0..ways).map(|way| {
                    let mut what = what.clone();
                    change(&mut what, way);
                    what
                })
            })
            .collect();
    };
    let actions = [Change::Create, Change::Update, Change::Delete];
    let readers = [Readable::World, Readable::Members, Readable::Nobody];
    let statuses = [
        None,
        Some(Moderation::Approved),
        Some(Moderation::Pending),
        Some(Moderation::Denied),
        Some(Moderation::Spam),
    ];
    vary(&|what, way| what.action = actions[way], actions.len());
    vary(
        &|what, way| what.group.readable_by = readers[way],
        readers.len(),
    );
    vary(&|what, way| what.moderation = statuses[way], statuses.len());
    vary(&|what, way| what.shared = way == 1, 2);
    vary(&|what, way| what.author_banned = way == 1, 2);
    all
}

#[test]
fn every_combination_is_as_the_rows_have_it() {
    let annotations = every_annotation();
    assert_eq!(annotations.len(), 180);
    let roles = [
        None,
        Some(Role::Member),
        Some(Role::Moderator),
        Some(Role::Admin),
        Some(Role::Owner),
    ];
    let viewers = [
        (None, &roles[..1]),
        (Some(OTHER), &roles),
        (Some(AUTHOR), &roles),
    ];
    for what in &annotations {
        for (userid, roles) in viewers {
            for role in roles.iter().copied() {
                for strict in [false, true] {
                    let wrote_it = userid == Some(AUTHOR);
                    let banned = match (what.author_banned, userid) {
                        (false, _) | (true, Some(AUTHOR)) => false,
                        (true, Some(_)) => true,
                        (true, None) => !strict,
                    };
                    let expected =
                        !banned && ROWS.iter().any(|row| row.allows(what, wrote_it, role));
                    let class = what.class_for(userid, |_| role, strict);
                    assert_eq!(class.is_some(), expected, "{what:?} {userid:?} {role:?}");
                    let Some(class) = class else { continue };
                    assert_eq!(class.wrote_it(), wrote_it, "{what:?} {userid:?} {role:?}");
                    let moderates = what.shared
                        && what.group.readable_by != Readable::Nobody
                        && role.is_some_and(|role| MODERATORS.contains(&role));
                    assert_eq!(class.moderates(), moderates, "{what:?} {userid:?} {role:?}");
                }
            }
        }
    }
}
