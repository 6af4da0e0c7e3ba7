//! Talking to the api as an application's backend does.

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::socket::{Socket, Upgrade};

/// Every field of a message.
pub const MESSAGE: &str = "id recipient message topic status expiresAt deliverAt createdAt deliveredAt cancelledAt globalMessageId";
/// Every field of a global message.
pub const GLOBAL_MESSAGE: &str = "id message topic expiresAt deliverAt createdAt";

/// What registering a recipient gave.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The token.
    pub token: String,
    /// Where a browser connects.
    pub uri: String,
}

impl Fleet {
    /// Asks the api with the fleet's own key; the whole answer, errors included.
    ///
    /// # Panics
    /// If the api does not answer in JSON.
    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        self.graphql_as(Some(self.access_key()), query, variables)
            .await
    }

    /// Asks the api with another key, or none.
    ///
    /// # Panics
    /// If the api does not answer in JSON.
    pub async fn graphql_as(&self, key: Option<&str>, query: &str, variables: Value) -> Value {
        let answer = self.try_graphql(key, query, variables).await;
        answer.expect("the api answers in JSON")
    }

    /// Asks the api, which may be down.
    ///
    /// # Errors
    /// If no whole answer in JSON comes.
    pub async fn try_graphql(
        &self,
        key: Option<&str>,
        query: &str,
        variables: Value,
    ) -> std::io::Result<Value> {
        self.remember(&variables);
        let body = json!({ "query": query, "variables": variables }).to_string();
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(key.map(|key| ("x-api-key", key)));
        let response = self
            .http()
            .request("POST", "/graphql", &headers, body.as_bytes())
            .await?;
        Ok(serde_json::from_slice(&response.body)?)
    }

    /// What a query without errors returns.
    ///
    /// # Panics
    /// If there are errors.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.graphql(query, variables).await;
        assert!(
            answer.get("errors").is_none(),
            "{query}: {}",
            answer["errors"]
        );
        answer["data"].take()
    }

    /// Registers a recipient by name only.
    pub async fn register(&self, recipient: &str) -> Registration {
        self.register_with(json!({ "recipient": recipient })).await
    }

    /// Registers a recipient with a whole `RegisterRecipientInput`.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn register_with(&self, input: Value) -> Registration {
        let query = "mutation($input: RegisterRecipientInput!) {
            registerRecipient(input: $input) { token connectionUri } }";
        let data = self.data(query, json!({ "input": input })).await;
        let registered = &data["registerRecipient"];
        let text = |name: &str| {
            registered[name]
                .as_str()
                .expect("it is a string")
                .to_owned()
        };
        let registration = Registration {
            token: text("token"),
            uri: text("connectionUri"),
        };
        self.secrets().keep(&registration.token);
        registration
    }

    /// Opens a socket for a recipient registered just now, on the gateway the api names.
    ///
    /// # Panics
    /// If the gateway refuses.
    pub async fn connect(&self, recipient: &str) -> Socket {
        let registration = self.register(recipient).await;
        let socket = Upgrade::to(&registration.uri).open().await;
        socket.expect("the gateway accepts the token")
    }

    /// Opens a socket for a recipient registered just now, on this gateway.
    ///
    /// # Panics
    /// If the gateway refuses.
    pub async fn connect_at(&self, gateway: usize, recipient: &str) -> Socket {
        let registration = self.register(recipient).await;
        let socket = self.upgrade(gateway, &registration).open().await;
        socket.expect("the gateway accepts the token")
    }

    /// The upgrade that a registration allows, about to be asked of this gateway.
    pub fn upgrade(&self, gateway: usize, registration: &Registration) -> Upgrade {
        Upgrade::to(&registration.uri).at(self.gateway(gateway).address())
    }

    /// Pushes a text to one recipient and returns the message.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn push(&self, recipient: &str, text: &str) -> Value {
        let input = json!({ "recipients": [recipient], "message": text });
        let mut outcomes = self.push_with(input).await;
        let outcome = outcomes[0].take();
        assert!(outcome["error"].is_null(), "{}", outcome["error"]);
        outcome["item"].clone()
    }

    /// Pushes a whole `MessageInput` and returns the list of `{item, error}`.
    ///
    /// # Panics
    /// If the api refuses the call.
    pub async fn push_with(&self, input: Value) -> Value {
        let query = format!(
            "mutation($input: MessageInput!) {{
                pushMessage(input: $input) {{ item {{ {MESSAGE} }} error {{ message }} }} }}"
        );
        self.data(&query, json!({ "input": input })).await["pushMessage"].take()
    }

    /// Pushes a text to everybody and returns the global message.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn push_global(&self, text: &str) -> Value {
        self.push_global_with(json!({ "message": text })).await
    }

    /// Pushes a whole `GlobalMessageInput` and returns the global message.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn push_global_with(&self, input: Value) -> Value {
        let query = format!(
            "mutation($input: GlobalMessageInput!) {{
                pushGlobalMessage(input: $input) {{ {GLOBAL_MESSAGE} }} }}"
        );
        self.data(&query, json!({ "input": input })).await["pushGlobalMessage"].take()
    }

    /// A message as it is now, by its id.
    ///
    /// # Panics
    /// If the api refuses.
    pub async fn message(&self, id: &Value) -> Value {
        let query = format!("query($id: ID!) {{ message(id: $id) {{ {MESSAGE} }} }}");
        self.data(&query, json!({ "id": id })).await["message"].take()
    }

    /// Waits until a message has this status, and returns it.
    ///
    /// # Panics
    /// If it does not within [`crate::until::PATIENCE`].
    pub async fn settled(&self, id: &Value, status: &str) -> Value {
        let what = format!("message {id} is {status}");
        crate::until_some(&what, async || {
            let message = self.message(id).await;
            (message["status"] == status).then_some(message)
        })
        .await
    }

    /// Keeps in mind the texts about to be pushed, so that no log may show them.
    fn remember(&self, variables: &Value) {
        match variables {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == "message" => self.secrets().keep(text),
                        value => self.remember(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.remember(item)),
            _ => {}
        }
    }
}
