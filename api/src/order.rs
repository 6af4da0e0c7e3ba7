//! An answer in the order in which it was asked for.
//!
//! The GraphQL library resolves the root fields of a query side by side and
//! answers with them as they are done. A response map is ordered by the fields
//! of the document (GraphQL, October 2021, 6.3 and 7.2.2).

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Value};

use crate::document::fragment;

/// Puts the fields of `data`, and of all objects below, in the order of
/// `asked`: the sets whose fields were merged into it. The document has been
/// measured, so its fragments end.
pub(crate) fn arrange(data: &mut Value, asked: &[&SelectionSet], document: &ExecutableDocument) {
    match data {
        Value::List(items) => {
            for item in items {
                arrange(item, asked, document);
            }
        }
        Value::Object(fields) => {
            let mut order = Order::new();
            for set in asked {
                collect(set, document, &mut order);
            }
            let mut resolved = std::mem::take(fields);
            for (key, below) in order {
                // One that is not there was skipped, or stands for an error.
                if let Some(mut value) = resolved.swap_remove(key) {
                    arrange(&mut value, &below, document);
                    fields.insert(key.clone(), value);
                }
            }
        }
        _ => {}
    }
}

/// Under which names fields are asked for, and what of each.
type Order<'a> = IndexMap<&'a Name, Vec<&'a SelectionSet>>;

fn collect<'a>(set: &'a SelectionSet, document: &'a ExecutableDocument, order: &mut Order<'a>) {
    for selection in &set.items {
        if let Selection::Field(field) = &selection.node {
            let below = &field.node.selection_set.node;
            let key = &field.node.response_key().node;
            order.entry(key).or_default().push(below);
        } else if let Some(set) = fragment(document, &selection.node) {
            collect(set, document, order);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::document::Document;

    fn check(query: &str, resolved: &Value, expected: &str) {
        let mut data = async_graphql::Value::from_json(resolved.clone()).unwrap();
        Document::parse(query).unwrap().arrange(None, &mut data);
        assert_eq!(serde_json::to_string(&data).unwrap(), expected);
    }

    #[test]
    fn aliases_and_fragments_stand_where_they_were_asked_for() {
        check(
            "query Q { z: version ...F ... on Query { b: version } a: version }
             fragment F on Query { y: version }",
            &json!({ "a": 1, "b": 2, "y": 3, "z": 4 }),
            r#"{"z":4,"y":3,"b":2,"a":1}"#,
        );
    }

    #[test]
    fn a_field_asked_for_twice_has_what_was_asked_first_first() {
        check(
            "{ messages { nextToken items { id } } messages { items { createdAt } __typename } }",
            &json!({ "messages": {
                "__typename": "M",
                "items": [{ "createdAt": 1, "id": 2 }, null],
                "nextToken": 3,
            } }),
            r#"{"messages":{"nextToken":3,"items":[{"id":2,"createdAt":1},null],"__typename":"M"}}"#,
        );
    }

    #[test]
    fn what_was_skipped_stays_away() {
        check(
            "{ b: version skipped: version @skip(if: true) a: version }",
            &json!({ "a": 1, "b": null }),
            r#"{"b":null,"a":1}"#,
        );
    }
}
