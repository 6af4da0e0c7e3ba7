//! How a case waits until all gateways have heard what it wrote.
//!
//! The api answers once an annotation is published, and a gateway hears of it a
//! moment later: a socket opened in between, with a filter, is told of it too.

use serde_json::json;

use crate::fleet::Fleet;
use crate::hypothesis::page_filter;

/// Waits until these gateways have heard all that was written so far, by an
/// annotation of this person that their witnesses see: the annotations of a
/// tenant are heard in order.
///
/// # Panics
/// If it does not come, or nobody may make it or listen.
pub(super) async fn all_is_heard(
    fleet: &Fleet,
    gateways: impl Iterator<Item = usize>,
    token: &str,
    case: &str,
) {
    let page = format!("https://docs.example/{case}/witness");
    let filter = page_filter(&[&page]);
    let mut witnesses = Vec::new();
    for gateway in gateways {
        let mut witness = fleet.hypothesis_socket(gateway, None).await;
        witness.settle(&filter).await;
        witnesses.push(witness);
    }
    let everybody = json!({ "read": ["group:__world__"] });
    let last = json!({ "uri": page, "group": "__world__", "permissions": everybody });
    fleet.annotate(token, last).await;
    for witness in &mut witnesses {
        witness.json().await;
    }
}
