//! The GraphQL of the documentation, run as it stands there.

use serde_json::{Value, json};

const EXAMPLES: &str = include_str!("../../../../docs/api.md");
const PROTOCOLS: &str = include_str!("../../../../docs/protocols.md");
/// Stands in examples for the id of a message.
const SOME_ID: &str = "01M7YM8Q0800000014";

/// Each GraphQL example of a page, with its variables where they follow.
fn examples(page: &str) -> Vec<(&str, &str)> {
    let mut examples = Vec::new();
    let mut parts = page.split("```").skip(1).step_by(2);
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
    let (by_example, protocols) = (examples(EXAMPLES), examples(PROTOCOLS));
    assert!(9 <= by_example.len() && !protocols.is_empty());
    for (query, variables) in by_example.into_iter().chain(protocols) {
        let variables: Value = serde_json::from_str(&variables.replace(SOME_ID, id)).unwrap();
        let data = fleet.data(query, variables).await;
        let told = data.to_string();
        let fields = data.as_object().unwrap();
        assert!(
            fields.values().all(|value| !value.is_null()),
            "{query}: {told}"
        );
        for issuer in ["registerRecipient", "createAccessToken"] {
            if let Some(token) = data[issuer]["token"].as_str() {
                fleet.secrets().keep(token);
            }
        }
    }
    assert_eq!(fleet.message(&json!(id)).await["status"], "CANCELLED");
}

#[test]
fn the_codes_of_the_documentation_are_those_there_are() {
    for code in api::failure::Code::EVERY {
        let row = format!("| `{}` |", code.as_str());
        assert_eq!(PROTOCOLS.matches(&row).count(), 1, "{row}");
    }
}
