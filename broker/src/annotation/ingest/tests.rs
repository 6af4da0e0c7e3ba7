//! Reports: what is read of them, and what becomes of them on a real Redis.

mod dead;
mod intake;
mod quotas;
mod reports;

use serde_json::{Value, json};

/// The least that a report of an annotation says.
fn least() -> Value {
    json!({
        "id": "e1",
        "action": "create",
        "annotation": {
            "id": "a1", "user": "acct:ada@example.org", "group": "__world__",
            "uri": "https://example.org/page?b=2&a=1",
        },
        "shared": true,
    })
}
