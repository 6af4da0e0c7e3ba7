//! Users, groups, memberships and access tokens, as a backend manages them.

use std::time::Duration;

use broker::Timestamp;
use serde_json::{Value, json};
use tests::Fleet;
use tests::hypothesis::userid;

use super::{api, code, words};

const USER: &str = "userid displayName banned deleted memberships { group role }";
const GROUP: &str = "id name kind preModerated scopes enforceScope creator";
const TOKEN: &str = "id userid name createdAt expiresAt";

/// Runs a mutation with this input object; the whole answer.
async fn run(fleet: &Fleet, field: &str, kind: &str, input: Value, asked: &str) -> Value {
    let query = format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ {asked} }} }}");
    fleet.graphql(&query, json!({ "input": input })).await
}

/// What the same returns if there is nothing wrong with it.
async fn done(fleet: &Fleet, field: &str, kind: &str, input: Value, asked: &str) -> Value {
    let mut answer = run(fleet, field, kind, input, asked).await;
    assert!(answer.get("errors").is_none(), "{field}: {answer}");
    answer["data"][field].take()
}

async fn user(fleet: &Fleet, name: &str) -> Value {
    let query = format!("query($id: String!) {{ user(userid: $id) {{ {USER} }} }}");
    let data = fleet.data(&query, json!({ "id": userid(name) })).await;
    data["user"].clone()
}

async fn group(fleet: &Fleet, id: &str) -> Value {
    let query = format!("query($id: ID!) {{ group(id: $id) {{ {GROUP} }} }}");
    fleet.data(&query, json!({ "id": id })).await["group"].take()
}

async fn tokens(fleet: &Fleet, name: &str) -> Vec<Value> {
    let query = format!("query($id: String!) {{ accessTokens(userid: $id) {{ {TOKEN} }} }}");
    let data = fleet.data(&query, json!({ "id": userid(name) })).await;
    data["accessTokens"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_user_is_made_changed_and_ended() {
    let fleet = api().await;
    assert_eq!(user(&fleet, "ann").await, Value::Null);
    let input = json!({ "userid": userid("ann"), "displayName": "Ann" });
    let made = done(&fleet, "createUser", "CreateUserInput", input.clone(), USER).await;
    let ann = json!({
        "userid": userid("ann"), "displayName": "Ann",
        "banned": false, "deleted": false, "memberships": [],
    });
    assert_eq!(made, ann);
    let again = run(&fleet, "createUser", "CreateUserInput", input, USER).await;
    assert_eq!(code(&again), "BAD_USER_INPUT");
    assert_eq!(words(&again), "input.userid: exists already");

    let input = json!({ "userid": userid("ann"), "banned": true });
    let changed = done(&fleet, "updateUser", "UpdateUserInput", input, USER).await;
    assert_eq!(
        (&changed["displayName"], &changed["banned"]),
        (&json!("Ann"), &json!(true))
    );
    let input = json!({ "userid": userid("ann"), "displayName": null });
    let changed = done(&fleet, "updateUser", "UpdateUserInput", input, USER).await;
    assert_eq!(
        (&changed["displayName"], &changed["banned"]),
        (&json!(null), &json!(true))
    );
    assert_eq!(user(&fleet, "ann").await, changed);

    fleet.delete_user("ann").await;
    assert_eq!(user(&fleet, "ann").await["deleted"], true);
    let input = json!({ "userid": userid("ann") });
    for (field, kind) in [
        ("createUser", "CreateUserInput"),
        ("updateUser", "UpdateUserInput"),
        ("createAccessToken", "CreateAccessTokenInput"),
    ] {
        let refused = run(&fleet, field, kind, input.clone(), "__typename").await;
        assert_eq!(code(&refused), "BAD_USER_INPUT");
        assert!(words(&refused).starts_with("input.userid: the user was deleted"));
    }
}

#[tokio::test]
async fn a_group_has_members_with_roles_until_it_is_deleted() {
    let fleet = api().await;
    let input = json!({
        "id": "readers", "name": "Readers", "kind": "PRIVATE", "creator": userid("ann"),
        "scopes": ["https://a.example/"], "enforceScope": true,
    });
    let made = done(
        &fleet,
        "createGroup",
        "CreateGroupInput",
        input.clone(),
        GROUP,
    )
    .await;
    let readers = json!({
        "id": "readers", "name": "Readers", "kind": "PRIVATE", "preModerated": false,
        "scopes": ["https://a.example/"], "enforceScope": true, "creator": userid("ann"),
    });
    assert_eq!(made, readers);
    let again = run(&fleet, "createGroup", "CreateGroupInput", input, GROUP).await;
    assert_eq!(words(&again), "input.id: exists already");

    fleet.join("readers", "bob", "MEMBER").await;
    let input = json!({ "userid": userid("bob") });
    done(&fleet, "createUser", "CreateUserInput", input, USER).await;
    let role = async || user(&fleet, "bob").await["memberships"].clone();
    assert_eq!(
        role().await,
        json!([{ "group": "readers", "role": "MEMBER" }])
    );
    let input = json!({ "group": "readers", "userid": userid("bob"), "role": "ADMIN" });
    done(&fleet, "setGroupRole", "SetGroupRoleInput", input, GROUP).await;
    fleet.join("readers", "bob", "MEMBER").await;
    assert_eq!(
        role().await,
        json!([{ "group": "readers", "role": "ADMIN" }])
    );
    fleet.leave("readers", "bob").await;
    assert_eq!(role().await, json!([]));
    fleet.leave("readers", "bob").await;
    let input = json!({ "group": "readers", "userid": userid("bob"), "role": "ADMIN" });
    let refused = run(&fleet, "setGroupRole", "SetGroupRoleInput", input, GROUP).await;
    assert_eq!(code(&refused), "NOT_FOUND");

    let input = json!({ "id": "readers", "kind": "OPEN", "preModerated": true });
    let changed = done(&fleet, "updateGroup", "UpdateGroupInput", input, GROUP).await;
    assert_eq!(changed["name"], "Readers");
    assert_eq!(
        (&changed["kind"], &changed["preModerated"]),
        (&json!("OPEN"), &json!(true))
    );
    assert_eq!(group(&fleet, "readers").await, changed);

    let query = "mutation { deleteGroup(id: \"readers\") { id } }";
    assert_eq!(
        fleet.data(query, json!({})).await["deleteGroup"]["id"],
        "readers"
    );
    assert_eq!(group(&fleet, "readers").await, Value::Null);
    assert_eq!(code(&fleet.graphql(query, json!({})).await), "NOT_FOUND");
    let input = json!({ "group": "readers", "userid": userid("bob") });
    for (field, kind) in [
        ("joinGroup", "JoinGroupInput"),
        ("leaveGroup", "LeaveGroupInput"),
    ] {
        let refused = run(&fleet, field, kind, input.clone(), GROUP).await;
        assert_eq!(code(&refused), "NOT_FOUND", "{field}");
        assert_eq!(words(&refused), "input.group: there is no such group");
    }
}

#[tokio::test]
async fn an_access_token_is_shown_once_listed_and_revoked() {
    let fleet = api().await;
    let ends = Timestamp::now() + Duration::from_secs(3600);
    let input = json!({
        "userid": userid("ann"), "name": "phone", "expiresAt": ends.to_string(),
    });
    let asked = "id token expiresAt";
    let made = done(
        &fleet,
        "createAccessToken",
        "CreateAccessTokenInput",
        input,
        asked,
    )
    .await;
    let token = made["token"].as_str().unwrap();
    fleet.secrets().keep(token);
    assert!(token.starts_with("ct_"));
    let listed = tokens(&fleet, "ann").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], made["id"]);
    assert_eq!(listed[0]["name"], "phone");
    assert_eq!(listed[0]["expiresAt"], ends.to_string());

    let query = format!("mutation($id: ID!) {{ revokeAccessToken(id: $id) {{ {TOKEN} }} }}");
    let id = json!({ "id": made["id"] });
    let globex = fleet.create_key("globex", tests::fleet::ALL_SCOPES);
    let refused = fleet.graphql_as(Some(&globex), &query, id.clone()).await;
    assert_eq!(code(&refused), "NOT_FOUND");
    let revoked = fleet.data(&query, id.clone()).await["revokeAccessToken"].take();
    assert_eq!(revoked, listed[0]);
    assert_eq!(code(&fleet.graphql(&query, id).await), "NOT_FOUND");
    assert!(tokens(&fleet, "ann").await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_people_is_named() {
    let fleet = api().await;
    let ann = userid("ann");
    let past = "2020-01-01T00:00:00Z";
    let long = "x".repeat(300);
    for (field, kind, input, at) in [
        (
            "createUser",
            "CreateUserInput",
            json!({ "userid": "ann" }),
            "input.userid: ",
        ),
        (
            "updateUser",
            "UpdateUserInput",
            json!({ "userid": "acct:a b@c" }),
            "input.userid: ",
        ),
        (
            "createUser",
            "CreateUserInput",
            json!({ "userid": ann, "displayName": "" }),
            "input.displayName: ",
        ),
        (
            "updateUser",
            "UpdateUserInput",
            json!({ "userid": ann, "displayName": long }),
            "input.displayName: ",
        ),
        (
            "createGroup",
            "CreateGroupInput",
            json!({ "name": "", "kind": "OPEN", "creator": ann }),
            "input.name: ",
        ),
        (
            "createGroup",
            "CreateGroupInput",
            json!({ "name": "G", "kind": "OPEN", "creator": "ann" }),
            "input.creator: ",
        ),
        (
            "createGroup",
            "CreateGroupInput",
            json!({ "name": "G", "kind": "OPEN", "creator": ann, "id": "__world__" }),
            "input.id: ",
        ),
        (
            "createGroup",
            "CreateGroupInput",
            json!({ "name": "G", "kind": "OPEN", "creator": ann, "scopes": [""] }),
            "input.scopes: ",
        ),
        (
            "updateGroup",
            "UpdateGroupInput",
            json!({ "id": "__world__", "name": "Mine" }),
            "input.id: ",
        ),
        (
            "joinGroup",
            "JoinGroupInput",
            json!({ "group": "__world__", "userid": ann }),
            "input.group: ",
        ),
        (
            "joinGroup",
            "JoinGroupInput",
            json!({ "group": "g", "userid": "ann" }),
            "input.userid: ",
        ),
        (
            "createAccessToken",
            "CreateAccessTokenInput",
            json!({ "userid": "ann" }),
            "input.userid: ",
        ),
        (
            "createAccessToken",
            "CreateAccessTokenInput",
            json!({ "userid": ann, "expiresAt": past }),
            "input.expiresAt: ",
        ),
        (
            "createAccessToken",
            "CreateAccessTokenInput",
            json!({ "userid": ann, "expiresAt": "soon" }),
            "input.expiresAt: ",
        ),
    ] {
        let refused = run(&fleet, field, kind, input.clone(), "__typename").await;
        assert_eq!(code(&refused), "BAD_USER_INPUT", "{field} {input}");
        assert!(
            words(&refused).starts_with(at),
            "{field} {input}: {refused}"
        );
    }
    let world = group(&fleet, "__world__").await;
    assert_eq!(
        (&world["kind"], &world["creator"]),
        (&json!("OPEN"), &json!(null))
    );
}

#[tokio::test]
async fn nothing_of_one_tenant_s_people_is_another_s() {
    let fleet = api().await;
    let globex = fleet.create_key("globex", tests::fleet::ALL_SCOPES);
    fleet.create_user(json!({ "userid": userid("ann") })).await;
    let input = json!({ "id": "g", "name": "G", "kind": "OPEN", "creator": userid("ann") });
    fleet.create_group(input).await;
    let query = "query($id: String!) { user(userid: $id) { userid } group(id: \"g\") { id } }";
    let id = json!({ "id": userid("ann") });
    let theirs = fleet.graphql_as(Some(&globex), query, id).await;
    assert_eq!(theirs["data"], json!({ "user": null, "group": null }));
    let query = "mutation { deleteGroup(id: \"g\") { id } }";
    let refused = fleet.graphql_as(Some(&globex), query, json!({})).await;
    assert_eq!(code(&refused), "NOT_FOUND");
    assert_eq!(group(&fleet, "g").await["id"], "g");
}
