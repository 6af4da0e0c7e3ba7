//! Who may ask for what.

use serde_json::{Value, json};
use tests::Fleet;
use tests::fleet::ALL_SCOPES;

use super::{api, code, words};

const QUERY_ALL: &str = "websockets-manager-api:query:*";
const MUTATION_ALL: &str = "websockets-manager-api:mutation:*";
const INTROSPECT: &str = "{ __schema { queryType { name } } }";

/// The root fields of `Query` or `Mutation`, each as a call that would be valid.
async fn root_fields(fleet: &Fleet, root: &str) -> Vec<(String, String)> {
    let query = "query($root: String!) { __type(name: $root) { fields {
        name args { name type { kind ofType { kind name } } }
        type { kind name ofType { kind name ofType { kind name } } } } } }";
    let data = fleet.data(query, json!({ "root": root })).await;
    let fields = data["__type"]["fields"].as_array().unwrap();
    let calls = fields.iter().map(|field| {
        let name = field["name"].as_str().unwrap();
        let args: Vec<_> = field["args"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|arg| arg["type"]["kind"] == "NON_NULL")
            .collect();
        let args: Vec<_> = args
            .iter()
            .map(|arg| {
                let kind = &arg["type"]["ofType"];
                let value = match (
                    kind["kind"].as_str().unwrap(),
                    kind["name"].as_str().unwrap_or_default(),
                ) {
                    ("SCALAR", _) => "\"x\"",
                    ("LIST", _) => "[]",
                    (_, "RegisterRecipientInput") => "{ recipient: \"x\" }",
                    (_, "MessageInput") => "{ recipients: [\"x\"], message: \"x\" }",
                    (_, "GlobalMessageInput") => "{ message: \"x\" }",
                    (_, "CreateUserInput" | "UpdateUserInput" | "CreateAccessTokenInput") => {
                        "{ userid: \"x\" }"
                    }
                    (_, "CreateGroupInput") => "{ name: \"x\", kind: OPEN, creator: \"x\" }",
                    (_, "UpdateGroupInput") => "{ id: \"x\" }",
                    (_, "JoinGroupInput" | "LeaveGroupInput") => "{ group: \"x\", userid: \"x\" }",
                    (_, "SetGroupRoleInput") => "{ group: \"x\", userid: \"x\", role: MEMBER }",
                    other => panic!("a new kind of argument: {other:?}"),
                };
                format!("{}: {value}", arg["name"].as_str().unwrap())
            })
            .collect();
        let args = if args.is_empty() {
            String::new()
        } else {
            format!("({})", args.join(", "))
        };
        let fields = if field["type"]["kind"] == "SCALAR" {
            ""
        } else {
            " { __typename }"
        };
        (name.to_owned(), format!("{name}{args}{fields}"))
    });
    calls.collect()
}

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    let fleet = api().await;
    for query in [INTROSPECT, "{ version }", "{ __typename }", "nonsense"] {
        for key in [
            None,
            Some("ck_"),
            Some(""),
            Some("ck_0000000000_guess_000000"),
        ] {
            let answer = fleet.graphql_as(key, query, json!({})).await;
            assert_eq!(code(&answer), "UNAUTHENTICATED");
            assert_eq!(answer["data"], Value::Null);
        }
    }
    let refused = fleet
        .http()
        .request("POST", "/graphql", &[], b"")
        .await
        .unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("content-type"),
        Some("application/json; charset=utf-8")
    );
}

#[tokio::test]
async fn each_root_field_is_refused_without_its_scope() {
    let fleet = api().await;
    for (root, operation, others) in [
        ("Query", "query", MUTATION_ALL),
        ("Mutation", "mutation", QUERY_ALL),
    ] {
        let stranger = fleet.create_key("acme", others);
        let fields = root_fields(&fleet, root).await;
        assert!(fields.len() >= 8);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
        for (name, call) in &fields {
            let disguises = [
                format!("{operation} {{ {call} }}"),
                format!("{operation} {{ version: {call} }}"),
                format!(
                    "{operation} {{ ...F }} fragment F on {root} {{ ...G }} fragment G on {root} {{ {call} }}"
                ),
                format!("{operation} {{ ... on {root} {{ ... {{ x: {call} }} }} }}"),
                format!("{operation} {{ ... @include(if: true) {{ {call} }} }}"),
            ];
            let but_this: Vec<_> = names
                .iter()
                .filter(|other| *other != name)
                .map(|other| format!("websockets-manager-api:{operation}:{other}"))
                .collect();
            let but_this = fleet.create_key("acme", &but_this.join(" "));
            for query in &disguises {
                for key in [&stranger, &but_this] {
                    let answer = fleet.graphql_as(Some(key), query, json!({})).await;
                    assert_eq!(code(&answer), "FORBIDDEN", "{query}");
                    assert_eq!(answer["data"], Value::Null);
                    assert!(words(&answer).ends_with(&format!("{operation} {name}")));
                }
            }
            let scope = format!("websockets-manager-api:{operation}:{name}");
            let only_this = fleet.create_key("acme", &scope);
            let answer = fleet
                .graphql_as(Some(&only_this), &disguises[0], json!({}))
                .await;
            assert_ne!(
                answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn one_forbidden_field_and_nothing_is_done() {
    let fleet = api().await;
    let key = fleet.create_key("acme", "websockets-manager-api:mutation:pushMessage");
    let push = "pushMessage(input: { recipients: [\"ann\"], message: \"hi\" }) { item { id } }";
    let both = format!("mutation {{ {push} revokeRecipient(recipient: \"ann\") {{ cancelled }} }}");
    let answer = fleet.graphql_as(Some(&key), &both, json!({})).await;
    assert_eq!(code(&answer), "FORBIDDEN");
    let data = fleet.data("{ messages { items { id } } }", json!({})).await;
    assert_eq!(data["messages"]["items"], json!([]));
    let answer = fleet
        .graphql_as(Some(&key), &format!("mutation {{ {push} }}"), json!({}))
        .await;
    assert!(answer.get("errors").is_none(), "{answer}");
}

#[tokio::test]
async fn any_key_may_read_the_schema() {
    let fleet = api().await;
    let key = fleet.create_key("acme", "websockets-manager-api:query:version");
    let answer = fleet.graphql_as(Some(&key), INTROSPECT, json!({})).await;
    assert_eq!(answer["data"]["__schema"]["queryType"]["name"], "Query");
}

#[tokio::test]
async fn tenants_never_see_each_other() {
    let fleet = Fleet::of(1, 0).start().await;
    let other = fleet.create_key("other", ALL_SCOPES);
    let as_other = async |query: &str, variables: Value| {
        fleet.graphql_as(Some(&other), query, variables).await
    };
    let pushed = fleet.push("ann", "for acme's ann").await;
    let global = fleet.push_global("for all of acme").await;
    let ids = json!({ "id": pushed["id"], "global": global["id"] });

    let lists = "query { messages { items { id } } globalMessages { items { id } } }";
    let answer = as_other(lists, json!({})).await;
    assert_eq!(answer["data"]["messages"]["items"], json!([]));
    assert_eq!(answer["data"]["globalMessages"]["items"], json!([]));
    let filtered =
        "query($global: ID!) { messages(filter: { globalMessageId: $global }) { items { id } } }";
    let answer = as_other(filtered, ids.clone()).await;
    assert_eq!(answer["data"]["messages"]["items"], json!([]));
    let answer = as_other("query($id: ID!) { message(id: $id) { id } }", ids.clone()).await;
    assert_eq!(answer["data"]["message"], Value::Null);
    for cancel in [
        "mutation($id: ID!) { cancelMessage(id: $id) { id } }",
        "mutation($global: ID!) { cancelGlobalMessage(id: $global) { id } }",
    ] {
        assert_eq!(code(&as_other(cancel, ids.clone()).await), "NOT_FOUND");
    }
    let revoke = "mutation { revokeRecipient(recipient: \"ann\") { cancelled } }";
    assert_eq!(
        as_other(revoke, json!({})).await["data"]["revokeRecipient"]["cancelled"],
        0
    );
    assert_eq!(fleet.message(&pushed["id"]).await["status"], "PENDING");

    // The same name at another tenant is somebody else.
    let register =
        "mutation { registerRecipient(input: { recipient: \"ann\" }) { token connectionUri } }";
    let answer = as_other(register, json!({})).await;
    let registered = &answer["data"]["registerRecipient"];
    fleet.secrets().keep(registered["token"].as_str().unwrap());
    let uri = registered["connectionUri"].as_str().unwrap();
    let mut socket = tests::Upgrade::to(uri).open().await.unwrap();
    let push = "mutation { pushMessage(input: { recipients: [\"ann\"], message: \"for the other ann\" }) { item { id } } }";
    as_other(push, json!({})).await;
    assert_eq!(socket.text().await, "for the other ann");
    let status = "{ recipientStatus(recipient: \"ann\") { connections pending } }";
    let data = fleet.data(status, json!({})).await;
    assert_eq!(
        data["recipientStatus"],
        json!({ "connections": 0, "pending": 1 })
    );
}
