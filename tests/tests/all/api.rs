//! The api, as applications use it.

#[path = "api/access.rs"]
mod access;
#[path = "api/additions.rs"]
mod additions;
#[path = "api/examples.rs"]
mod examples;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/people.rs"]
mod people;
#[path = "api/process.rs"]
mod process;
#[path = "api/pushes.rs"]
mod pushes;
#[path = "api/requests.rs"]
mod requests;

use serde_json::Value;
use tests::Fleet;

/// An api and its Redis, without gateways.
async fn api() -> Fleet {
    Fleet::of(0, 0).start().await
}

/// The code of the only error of an answer.
fn code(answer: &Value) -> &str {
    let errors = answer["errors"].as_array().expect("there are errors");
    assert_eq!(errors.len(), 1, "{answer}");
    errors[0]["extensions"]["code"]
        .as_str()
        .expect("every error has a code")
}

/// The words of the first error of an answer.
fn words(answer: &Value) -> &str {
    answer["errors"][0]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("there is no error in {answer}"))
}
