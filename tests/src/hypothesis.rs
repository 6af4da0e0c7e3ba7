//! Talking to the cluster as people who annotate do, and as those who look after them.

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::http::Response;
use crate::socket::{Socket, Upgrade};

/// Whose users the people of a fleet are.
pub const AUTHORITY: &str = "example.org";

/// The whole name of a user of [`AUTHORITY`]; a whole name stays as it is.
pub fn userid(name: &str) -> String {
    if name.starts_with("acct:") {
        return name.to_owned();
    }
    format!("acct:{name}@{AUTHORITY}")
}

/// A filter on these pages, as a client sends it.
pub fn page_filter(uris: &[&str]) -> Value {
    json!({ "filter": {
        "match_policy": "include_any",
        "clauses": [{ "field": "/uri", "operator": "one_of", "value": uris, "case_sensitive": false }],
        "actions": { "create": true, "update": true, "delete": true },
    }})
}

impl Fleet {
    /// Makes a user of [`AUTHORITY`] with an access token, and returns the token.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn person(&self, name: &str) -> String {
        self.create_user(json!({ "userid": userid(name) })).await;
        self.sign_in(name).await
    }

    /// Makes a user from a whole `CreateUserInput`.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn create_user(&self, input: Value) {
        let query = "mutation($input: CreateUserInput!) { createUser(input: $input) { userid } }";
        self.data(query, json!({ "input": input })).await;
    }

    /// Deletes a user, who is signed out everywhere.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn delete_user(&self, name: &str) {
        let query = "mutation($userid: String!) { deleteUser(userid: $userid) { userid } }";
        self.data(query, json!({ "userid": userid(name) })).await;
    }

    /// Makes a token for a user that lasts.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn sign_in(&self, name: &str) -> String {
        self.create_access_token(json!({ "userid": userid(name), "name": "tests" }))
            .await
    }

    /// Makes a token from a whole `CreateAccessTokenInput`.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn create_access_token(&self, input: Value) -> String {
        let query = "mutation($input: CreateAccessTokenInput!) {
            createAccessToken(input: $input) { token } }";
        let data = self.data(query, json!({ "input": input })).await;
        let token = data["createAccessToken"]["token"].as_str();
        let token = token.expect("a token is a string").to_owned();
        self.secrets().keep(&token);
        token
    }

    /// Makes a group from a whole `CreateGroupInput` and returns its id.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn create_group(&self, input: Value) -> String {
        let query = "mutation($input: CreateGroupInput!) { createGroup(input: $input) { id } }";
        let data = self.data(query, json!({ "input": input })).await;
        let id = data["createGroup"]["id"].as_str();
        id.expect("an id is a string").to_owned()
    }

    /// Has a user join a group.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn join(&self, group: &str, name: &str, role: &str) {
        let query = "mutation($input: JoinGroupInput!) { joinGroup(input: $input) { id } }";
        let input = json!({ "group": group, "userid": userid(name), "role": role });
        self.data(query, json!({ "input": input })).await;
    }

    /// Has a user leave a group.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn leave(&self, group: &str, name: &str) {
        let query = "mutation($input: LeaveGroupInput!) { leaveGroup(input: $input) { id } }";
        let input = json!({ "group": group, "userid": userid(name) });
        self.data(query, json!({ "input": input })).await;
    }

    /// Asks the api as a client that annotates does: with a token, or without.
    ///
    /// # Panics
    /// If there is no whole answer.
    pub async fn annotation_api(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Response {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        headers.extend(body.map(|_| ("Content-Type", "application/json")));
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.http().request(method, path, &headers, body.as_bytes());
        answer.await.expect("the api answers")
    }

    /// Makes an annotation and returns it.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn annotate(&self, token: &str, annotation: Value) -> Value {
        if let Some(text) = annotation["text"].as_str() {
            self.secrets().keep(text);
        }
        let path = "/api/annotations";
        let answer = self.annotation_api("POST", path, Some(token), Some(&annotation));
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("an annotation is JSON")
    }

    /// Has a moderator decide on an annotation: `APPROVED`, `PENDING`, `DENIED` or `SPAM`.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn moderate(&self, token: &str, id: &str, status: &str) {
        let path = format!("/api/annotations/{id}");
        let answer = self.annotation_api("GET", &path, Some(token), None).await;
        let seen: Value = serde_json::from_slice(&answer.body).expect("an annotation is JSON");
        let decision = json!({
            "moderation_status": status,
            "annotation_updated": seen["updated"],
        });
        let path = format!("{path}/moderation");
        let answer = self.annotation_api("PATCH", &path, Some(token), Some(&decision));
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Opens a socket of the Hypothesis protocol on this gateway, signed in or not.
    ///
    /// # Panics
    /// If the gateway refuses.
    pub async fn hypothesis_socket(&self, gateway: usize, token: Option<&str>) -> Socket {
        let address = self.gateway(gateway).address();
        let query = token.map(|token| format!("?access_token={token}"));
        let uri = format!("ws://{address}/ws{}", query.unwrap_or_default());
        let socket = Upgrade::to(&uri).open().await;
        socket.expect("the gateway accepts everybody")
    }
}

impl Socket {
    /// Sends a message of the Hypothesis protocol and waits until the gateway
    /// has acted on it, and on all before.
    ///
    /// # Panics
    /// If anything but the answer to our ping comes.
    pub async fn settle(&mut self, message: &Value) {
        self.say(&message.to_string()).await;
        self.say(r#"{"type":"ping","id":4711}"#).await;
        let pong = json!({ "type": "pong", "ok": true, "reply_to": 4711 });
        assert_eq!(self.json().await, pong);
    }
}
