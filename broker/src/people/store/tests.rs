//! People and groups on a real Redis.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::annotation::WORLD;
use crate::event::Event;
use crate::fixture;
use crate::people::{
    Group, GroupDraft, GroupKind, GroupPatch, MEMBERSHIP, MembershipAction, MembershipChange, Role,
};

const JO: &str = "acct:jo@example.org";
const ANN: &str = "acct:ann@example.org";

/// A site of its own, and what is told on one user's topic.
struct World {
    people: People,
    site: Site,
    keys: Keys,
    told: redis::aio::PubSub,
}

impl World {
    /// One whose topic of `userid` is listened to.
    async fn hearing(userid: &str) -> Self {
        let (redis, keys) = fixture::redis();
        let site = Site {
            tenant: "acme".parse().unwrap(),
            authority: "example.org".into(),
        };
        let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
        let mut told = client.get_async_pubsub().await.unwrap();
        let topic = topic(&site.tenant, userid);
        told.subscribe(keys.channel(&topic)).await.unwrap();
        let people = People::new(redis, keys.clone()).with_app_url("https://notes.example/");
        Self {
            people,
            site,
            keys,
            told,
        }
    }

    async fn group(&self, id: &str, kind: GroupKind, creator: &str) -> Group {
        let draft = GroupDraft {
            id: Some(id.to_owned()),
            name: format!("Group {id}"),
            kind,
            pre_moderated: false,
            scopes: Vec::new(),
            enforce_scope: false,
            creator: creator.into(),
        };
        self.people.create_group(&self.site, &draft).await.unwrap()
    }

    /// The next event of the user's topic.
    async fn next(&mut self) -> Event {
        let message = self.told.on_message().next().await.unwrap();
        Event::parse(message.get_payload_bytes()).unwrap()
    }

    async fn next_change(&mut self) -> MembershipChange {
        let event = self.next().await;
        assert_eq!(&*event.kind, MEMBERSHIP);
        assert!(event.entry.is_some(), "it cannot be forged by a producer");
        serde_json::from_str(event.body.get()).unwrap()
    }

    /// Whether nothing more was told: what is published now comes next.
    async fn is_silent(&mut self) -> bool {
        let channel = self.keys.channel(&topic(&self.site.tenant, JO));
        let mark = json!({ "v": 1, "type": "mark" }).to_string();
        let publish = cmd("PUBLISH").arg(channel).arg(mark).clone();
        let heard: usize = self.people.redis.query(&publish).await.unwrap();
        assert_eq!(heard, 1);
        &*self.next().await.kind == "mark"
    }
}

fn session(change: &MembershipChange) -> Value {
    serde_json::from_str(change.session.as_ref().unwrap().get()).unwrap()
}

#[tokio::test]
async fn a_join_is_told_once_with_the_session_of_who_joined() {
    let mut world = World::hearing(JO).await;
    world.group("b", GroupKind::Private, ANN).await;
    world.group("a", GroupKind::Open, ANN).await;
    let (people, site) = (world.people.clone(), world.site.clone());
    assert!(people.join(&site, "b", JO, Role::Moderator).await.unwrap());
    let change = world.next_change().await;
    assert_eq!(change.action, Some(MembershipAction::GroupJoin));
    assert_eq!((&*change.group, change.role), ("b", Some(Role::Moderator)));
    assert_eq!(
        session(&change),
        json!({
            "userid": JO,
            "groups": [
                { "id": "__world__", "name": "Public", "public": true },
                { "id": "b", "name": "Group b", "public": false,
                  "url": "https://notes.example/groups/b/group-b" },
            ],
            "features": {},
            "preferences": {},
        })
    );
    assert!(!people.join(&site, "b", JO, Role::Member).await.unwrap());
    assert!(world.is_silent().await);

    people.join(&site, "a", JO, Role::Member).await.unwrap();
    let change = world.next_change().await;
    let groups = session(&change)["groups"].clone();
    assert_eq!(
        groups[1],
        json!({ "id": "a", "name": "Group a", "public": true })
    );
    assert_eq!(groups[2]["id"], "b");
    let memberships = people.memberships(&site.tenant, JO).await.unwrap();
    let expected = [("a", Role::Member), ("b", Role::Moderator)];
    assert_eq!(
        memberships,
        expected.map(|(id, role)| (id.into(), role)).into()
    );
    let asked = people.session(&site, JO).await.unwrap();
    assert_eq!(serde_json::to_value(asked).unwrap(), session(&change));
}

#[tokio::test]
async fn a_leave_and_another_role_are_told_once() {
    let mut world = World::hearing(JO).await;
    world.group("g", GroupKind::Private, ANN).await;
    let (people, site) = (world.people.clone(), world.site.clone());
    let refused = people.set_role(&site, "g", JO, Role::Admin).await;
    assert!(matches!(refused, Err(Refused::NoMember)));
    assert!(!people.leave(&site, "g", JO).await.unwrap());
    people.join(&site, "g", JO, Role::Member).await.unwrap();
    world.next_change().await;

    assert!(people.set_role(&site, "g", JO, Role::Admin).await.unwrap());
    assert!(!people.set_role(&site, "g", JO, Role::Admin).await.unwrap());
    let change = world.next_change().await;
    assert_eq!((change.action, change.role), (None, Some(Role::Admin)));
    assert_eq!(session(&change)["userid"], JO);

    assert!(people.leave(&site, "g", JO).await.unwrap());
    let change = world.next_change().await;
    assert_eq!(change.action, Some(MembershipAction::GroupLeave));
    assert_eq!(change.role, None);
    assert_eq!(session(&change)["groups"].as_array().unwrap().len(), 1);
    assert!(!people.leave(&site, "g", JO).await.unwrap());
    assert!(world.is_silent().await);
    assert!(
        people
            .memberships(&site.tenant, JO)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn who_makes_a_group_enters_it_as_its_owner() {
    let mut world = World::hearing(JO).await;
    let made = world.group("g", GroupKind::Restricted, JO).await;
    let change = world.next_change().await;
    assert_eq!(change.action, Some(MembershipAction::GroupJoin));
    assert_eq!(change.role, Some(Role::Owner));
    assert!(world.is_silent().await);
    let tenant = &world.site.tenant;
    let found = world.people.group(tenant, "g").await.unwrap();
    assert_eq!(found, Some(made));
    let other = "other".parse().unwrap();
    assert_eq!(world.people.group(&other, "g").await.unwrap(), None);
    let everybody = world.people.group(&other, WORLD).await.unwrap();
    assert_eq!(everybody, Some(Group::world()));
}

#[tokio::test]
async fn an_id_is_given_once_or_chosen() {
    let world = World::hearing(JO).await;
    let mut draft = GroupDraft {
        id: Some("g".to_owned()),
        name: "G".to_owned(),
        kind: GroupKind::Open,
        pre_moderated: true,
        scopes: vec!["https://a.example/".to_owned()],
        enforce_scope: true,
        creator: ANN.into(),
    };
    let (people, site) = (&world.people, &world.site);
    people.create_group(site, &draft).await.unwrap();
    let refused = people.create_group(site, &draft).await;
    assert!(matches!(refused, Err(Refused::Exists)));
    draft.id = None;
    let chosen = people.create_group(site, &draft).await.unwrap();
    assert_eq!(chosen.id.len(), 8);
    assert!(chosen.pre_moderated && chosen.enforce_scope);
    assert_eq!(chosen.scopes, draft.scopes);
    let ids: Vec<_> = people.public_groups(&site.tenant).await.unwrap();
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_group_that_is_gone_has_no_members_and_its_clients_are_not_told() {
    let mut world = World::hearing(JO).await;
    world.group("g", GroupKind::Private, JO).await;
    world.next_change().await;
    let (people, site) = (world.people.clone(), world.site.clone());
    people.delete_group(&site.tenant, "g").await.unwrap();
    let change = world.next_change().await;
    assert_eq!((change.action, change.role), (None, None));
    assert!(change.session.is_none());
    assert!(world.is_silent().await);
    assert_eq!(people.group(&site.tenant, "g").await.unwrap(), None);
    assert!(
        people
            .memberships(&site.tenant, JO)
            .await
            .unwrap()
            .is_empty()
    );
    for refused in [
        people.delete_group(&site.tenant, "g").await.unwrap_err(),
        people.join(&site, "g", JO, Role::Member).await.unwrap_err(),
        people
            .update_group(&site.tenant, "g", &GroupPatch::default())
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(refused, Refused::NoGroup), "{refused}");
    }
    world.group("g", GroupKind::Private, ANN).await;
    assert!(
        people
            .memberships(&site.tenant, JO)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_group_changes_in_what_is_given() {
    let world = World::hearing(JO).await;
    let made = world.group("g", GroupKind::Private, ANN).await;
    let patch = GroupPatch {
        name: Some("New \"name\"".to_owned()),
        pre_moderated: Some(true),
        ..GroupPatch::default()
    };
    let (people, site) = (&world.people, &world.site);
    let changed = people
        .update_group(&site.tenant, "g", &patch)
        .await
        .unwrap();
    let expected = Group {
        name: "New \"name\"".to_owned(),
        pre_moderated: true,
        ..made
    };
    assert_eq!(changed, expected);
    let session = people.session(site, ANN).await.unwrap();
    assert_eq!(session.groups[1].name, "New \"name\"");
    let url = session.groups[1].url.as_deref();
    assert_eq!(url, Some("https://notes.example/groups/g/new-name"));
}

#[tokio::test]
async fn everybody_s_group_is_only_in_sessions_of_the_site_s_own_users() {
    let world = World::hearing(JO).await;
    let session = world
        .people
        .session(&world.site, "acct:jo@lms.example")
        .await;
    assert_eq!(session.unwrap().groups, []);
    let session = world.people.session(&world.site, JO).await;
    assert_eq!(&*session.unwrap().groups[0].id, WORLD);
}

#[tokio::test]
async fn a_user_is_made_once_changed_in_what_is_given_and_gone_for_good() {
    let mut world = World::hearing(JO).await;
    let (people, site) = (world.people.clone(), world.site.clone());
    let tenant = &site.tenant;
    assert_eq!(people.user(tenant, JO).await.unwrap(), None);
    let known = UserPatch {
        display_name: Some(Some("Jo".to_owned())),
        ..UserPatch::default()
    };
    let made = people.create_user(tenant, JO, &known).await.unwrap();
    assert_eq!(made.display_name.as_deref(), Some("Jo"));
    assert!(!made.banned && !made.deleted);
    let refused = people.create_user(tenant, JO, &known).await;
    assert!(matches!(refused, Err(Refused::Exists)));

    let patch = UserPatch {
        banned: Some(true),
        preferences: json!({ "tutorial": [], "x": {} }).as_object().cloned(),
        ..UserPatch::default()
    };
    let changed = people.update_user(tenant, JO, &patch).await.unwrap();
    assert_eq!(changed.display_name.as_deref(), Some("Jo"));
    assert!(changed.banned);
    let session = people.session(&site, JO).await.unwrap();
    assert_eq!(Some(session.preferences), patch.preferences);
    let nothing = UserPatch {
        display_name: Some(None),
        banned: Some(false),
        preferences: None,
    };
    let changed = people.update_user(tenant, JO, &nothing).await.unwrap();
    assert_eq!((changed.display_name, changed.banned), (None, false));

    world.group("g", GroupKind::Private, JO).await;
    world.next_change().await;
    people.delete_user(tenant, JO).await.unwrap();
    let event = world.next().await;
    assert_eq!(&*event.kind, SIGNED_OUT);
    let word: SignedOut = serde_json::from_str(event.body.get()).unwrap();
    assert_eq!(word, SignedOut { token: None });
    assert!(people.user(tenant, JO).await.unwrap().unwrap().deleted);
    assert!(people.memberships(tenant, JO).await.unwrap().is_empty());
    assert!(people.present(tenant, JO).await.unwrap().is_none());
    for refused in [
        people.create_user(tenant, JO, &known).await.unwrap_err(),
        people.update_user(tenant, JO, &known).await.unwrap_err(),
        people.join(&site, "g", JO, Role::Member).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Refused::Deleted), "{refused}");
    }
    assert!(world.is_silent().await);
}

#[tokio::test]
async fn what_could_not_be_spelled_in_a_name_is_refused() {
    let world = World::hearing(JO).await;
    let (people, site) = (&world.people, &world.site);
    for refused in [
        people.join(site, "g}", JO, Role::Member).await.unwrap_err(),
        people
            .join(site, WORLD, JO, Role::Member)
            .await
            .unwrap_err(),
        people.leave(site, WORLD, JO).await.unwrap_err(),
        people.delete_group(&site.tenant, WORLD).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Refused::BadGroupId(_)), "{refused}");
    }
    for refused in [
        people
            .join(site, "g", "jo", Role::Member)
            .await
            .unwrap_err(),
        people
            .delete_user(&site.tenant, "acct:{x}@a")
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(refused, Refused::BadUserid(_)), "{refused}");
    }
}
