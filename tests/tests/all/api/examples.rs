//! The examples of `docs/api.md`, run as they stand there.

use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../../docs/api.md");
/// Stands in examples for the id of a message.
const SOME_ID: &str = "01M7YM8Q0800000014";

/// Each GraphQL example, with its variables where they follow.
fn examples() -> Vec<(&'static str, &'static str)> {
    let mut examples = Vec::new();
    let mut parts = PAGE.split("```").skip(1).step_by(2);
    while let Some(part) = parts.next() {
        if let Some(query) = part.strip_prefix("graphql\n") {
            let variables = parts.clone().next();
            let variables = variables.and_then(|part| part.strip_prefix("json\n"));
            let own = query.contains('$');
            examples.push((query, variables.filter(|_| own).unwrap_or("{}")));
        }
    }
    examples
}

#[tokio::test]
async fn the_examples_of_the_documentation_work() {
    let fleet = super::api().await;
    let pushed = fleet.push("ann", "a message to follow").await;
    let id = pushed["id"].as_str().unwrap();
    let examples = examples();
    assert!(8 <= examples.len());
    for (query, variables) in examples {
        let variables: Value = serde_json::from_str(&variables.replace(SOME_ID, id)).unwrap();
        let data = fleet.data(query, variables).await;
        let told = data.to_string();
        let fields = data.as_object().unwrap();
        assert!(
            fields.values().all(|value| !value.is_null()),
            "{query}: {told}"
        );
        if let Some(token) = data["registerRecipient"]["token"].as_str() {
            fleet.secrets().keep(token);
        }
    }
    assert_eq!(fleet.message(&json!(id)).await["status"], "CANCELLED");
}

#[test]
fn the_codes_of_the_documentation_are_those_there_are() {
    for code in api::failure::Code::EVERY {
        let row = format!("| `{}` |", code.as_str());
        assert_eq!(PAGE.matches(&row).count(), 1, "{row}");
    }
}
