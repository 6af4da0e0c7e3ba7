//! A caller's GraphQL document, read once and measured before anything walks it.
//!
//! The GraphQL library follows fragments wherever they lead; a few kilobytes of
//! them can unfold to billions of fields, and nested brackets can exhaust its
//! stack. So a document is bounded here, on a budget, before the library sees
//! it. What was read is kept for the next request with the same text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_graphql::parser;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Value};
use broker::access::Operation;

use crate::failure::{Code, Failure};
use crate::order;

/// Longest document, in bytes. Values belong in variables, so a document that
/// a person wrote is far shorter.
const MAX_BYTES: usize = 256 * 1024;
/// Deepest nesting of fields; the schema's own is 4.
const MAX_DEPTH: usize = 12;
/// Deepest nesting below `__schema` and `__type`: consoles ask for nine levels
/// of wrapped types.
const MAX_INTROSPECTION_DEPTH: usize = 24;
/// Deepest nesting of brackets anywhere, literals included.
const MAX_BRACKETS: usize = 64;
/// Root fields per operation, aliases counted one by one.
const MAX_ROOTS: usize = 50;
/// Fields and fragments of all operations, each fragment counted where it is
/// used. The introspection of a console is about 150.
const MAX_SELECTIONS: usize = 1_000;
/// Documents kept. A caller has a handful; more are the sign of values written
/// into documents, which are not worth keeping.
const KEPT: usize = 128;
/// Longest document worth keeping, in bytes: read, it takes some thirty times that.
const KEPT_BYTES: usize = 4 * 1024;

/// A field asked for at the root of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The name under which the answer stands: the alias, or the field.
    pub key: Name,
    /// The field's name in the schema.
    pub field: Name,
}

/// One operation of a document.
#[derive(Clone, Debug)]
pub struct Call {
    /// Query or mutation.
    pub operation: Operation,
    /// What it asks for at the root, aliases and fragments resolved.
    pub roots: Vec<Root>,
}

/// A document that is safe to hand to the library.
#[derive(Debug)]
pub struct Document {
    /// As the library reads it.
    pub executable: ExecutableDocument,
    calls: Vec<(Option<Name>, Call)>,
}

impl Document {
    /// Reads and measures `text`.
    ///
    /// # Errors
    /// What is wrong with it, for the caller.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() > MAX_BYTES {
            return Err(limited(format!("a document has at most {MAX_BYTES} bytes")));
        }
        if deepest_bracket(text) > MAX_BRACKETS {
            return Err(limited(format!(
                "brackets nest at most {MAX_BRACKETS} deep"
            )));
        }
        let executable = parser::parse_query(text)
            .map_err(|error| Failure::new(Code::BadUserInput, error.to_string()))?;
        let calls = calls(&executable)?;
        Ok(Self { executable, calls })
    }

    /// The operation that a request with this `operationName` runs; `None` if
    /// the name fits none, which the library words for the caller.
    pub fn call(&self, name: Option<&str>) -> Option<&Call> {
        match (name, &self.calls[..]) {
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
            (Some(name), calls) => calls
                .iter()
                .find(|(known, _)| known.as_deref() == Some(name))
                .map(|(_, call)| call),
        }
    }

    /// Puts the answer to the operation of this name in the order of its fields.
    pub fn arrange(&self, name: Option<&str>, data: &mut Value) {
        let mut operations = self.executable.operations.iter();
        let named = |known: Option<&Name>| name.is_none() || known.map(Name::as_str) == name;
        if let Some((_, operation)) = operations.find(|(known, _)| named(*known)) {
            let asked = &operation.node.selection_set.node;
            order::arrange(data, &[asked], &self.executable);
        }
    }
}

fn limited(message: String) -> Failure {
    Failure::new(Code::Limited, message)
}

fn calls(document: &ExecutableDocument) -> Result<Vec<(Option<Name>, Call)>, Failure> {
    let mut measure = Measure {
        document,
        selections: 0,
    };
    let mut calls = Vec::new();
    for (name, definition) in document.operations.iter() {
        let operation = match definition.node.ty {
            OperationType::Query => Operation::Query,
            OperationType::Mutation => Operation::Mutation,
            OperationType::Subscription => {
                return Err(Failure::new(
                    Code::BadUserInput,
                    "there are no subscriptions: open the connectionUri of registerRecipient",
                ));
            }
        };
        let mut roots = Vec::new();
        measure.root(&definition.node.selection_set.node, 1, &mut roots)?;
        calls.push((name.cloned(), Call { operation, roots }));
    }
    Ok(calls)
}

/// Walks a document as far as its budget goes.
struct Measure<'a> {
    document: &'a ExecutableDocument,
    selections: usize,
}

impl<'a> Measure<'a> {
    /// What stands at the root, however wrapped, and how much hangs below it.
    fn root(
        &mut self,
        set: &'a SelectionSet,
        depth: usize,
        roots: &mut Vec<Root>,
    ) -> Result<(), Failure> {
        for selection in &set.items {
            self.count(depth, MAX_DEPTH)?;
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let limit = if field.name.node.starts_with("__") {
                        MAX_INTROSPECTION_DEPTH
                    } else {
                        MAX_DEPTH
                    };
                    roots.push(Root {
                        key: field.response_key().node.clone(),
                        field: field.name.node.clone(),
                    });
                    if roots.len() > MAX_ROOTS {
                        return Err(limited(format!(
                            "an operation has at most {MAX_ROOTS} root fields"
                        )));
                    }
                    self.below(&field.selection_set.node, depth + 1, limit)?;
                }
                other => {
                    if let Some(set) = fragment(self.document, other) {
                        self.root(set, depth + 1, roots)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn below(&mut self, set: &'a SelectionSet, depth: usize, limit: usize) -> Result<(), Failure> {
        for selection in &set.items {
            self.count(depth, limit)?;
            match &selection.node {
                Selection::Field(field) => {
                    self.below(&field.node.selection_set.node, depth + 1, limit)?;
                }
                other => {
                    if let Some(set) = fragment(self.document, other) {
                        self.below(set, depth + 1, limit)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, depth: usize, limit: usize) -> Result<(), Failure> {
        self.selections += 1;
        if depth > limit {
            return Err(limited(format!("fields nest at most {limit} deep")));
        }
        if self.selections > MAX_SELECTIONS {
            return Err(limited(format!(
                "a document asks for at most {MAX_SELECTIONS} fields, those of fragments counted at each use"
            )));
        }
        Ok(())
    }
}

/// What a fragment stands for. An unknown one is the library's to refuse.
pub(crate) fn fragment<'a>(
    document: &'a ExecutableDocument,
    selection: &'a Selection,
) -> Option<&'a SelectionSet> {
    match selection {
        Selection::Field(_) => None,
        Selection::InlineFragment(fragment) => Some(&fragment.node.selection_set.node),
        Selection::FragmentSpread(spread) => {
            let named = document.fragments.get(&spread.node.fragment_name.node)?;
            Some(&named.node.selection_set.node)
        }
    }
}

/// How deep brackets nest in `text`, outside strings and comments.
fn deepest_bracket(text: &str) -> usize {
    let mut rest = text.as_bytes();
    let (mut depth, mut deepest) = (0usize, 0);
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                tail
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                tail
            }
            b'#' => after_line(tail),
            b'"' => match tail {
                [b'"', b'"', tail @ ..] => after_block(tail),
                _ => after_string(tail),
            },
            _ => tail,
        };
    }
    deepest
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&b| b == b'\n' || b == b'\r');
    end.map_or(&[], |end| &text[end..])
}

/// Past the quote that ends a string. A string cannot cross a line's end, so an
/// unclosed one cannot hide what follows it.
fn after_string(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [] => return &[],
            [b'\\', tail @ ..] => tail.get(1..).unwrap_or_default(),
            [b'"' | b'\n' | b'\r', tail @ ..] => return tail,
            [_, tail @ ..] => tail,
        };
    }
}

fn after_block(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [] => return &[],
            [b'"', b'"', b'"', tail @ ..] => return tail,
            _ => &text[1 + 3 * usize::from(text.starts_with(br#"\""""#))..],
        };
    }
}

/// Documents read before, by their text. Bounded; when full, it starts over.
#[derive(Default)]
pub struct Documents {
    /// Held for a look-up or an insertion, never while a document is read.
    kept: Mutex<HashMap<Box<str>, Arc<Document>>>,
}

impl Documents {
    /// The document of this text.
    ///
    /// # Errors
    /// What is wrong with it, for the caller.
    pub fn get(&self, text: &str) -> Result<Arc<Document>, Failure> {
        if let Some(known) = self.lock().get(text) {
            return Ok(Arc::clone(known));
        }
        let document = Arc::new(Document::parse(text)?);
        if text.len() <= KEPT_BYTES {
            let mut kept = self.lock();
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(text.into(), Arc::clone(&document));
        }
        Ok(document)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Arc<Document>>> {
        self.kept
            .lock()
            .expect("nothing panics while the documents are locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(text: &str) -> Vec<String> {
        let document = Document::parse(text).unwrap();
        let call = document.call(None).unwrap();
        call.roots
            .iter()
            .map(|root| format!("{}={}", root.key, root.field))
            .collect()
    }

    fn refused(text: &str) -> Code {
        Document::parse(text).unwrap_err().code
    }

    #[test]
    fn root_fields_are_found_under_aliases_and_in_fragments() {
        let found = roots(
            "query Q { a: version ...F ... on Query { message(id: 1) { id } ... { b: version } } }
             fragment F on Query { messages { nextToken } }",
        );
        assert_eq!(
            found,
            [
                "a=version",
                "messages=messages",
                "message=message",
                "b=version"
            ]
        );
    }

    #[test]
    fn the_operation_is_the_one_named() {
        let document =
            Document::parse("query A { version } mutation B { cancelMessage(id: 1) { id } }")
                .unwrap();
        assert_eq!(
            document.call(Some("B")).unwrap().operation,
            Operation::Mutation
        );
        assert_eq!(
            document.call(Some("A")).unwrap().operation,
            Operation::Query
        );
        assert!(document.call(Some("C")).is_none());
        assert!(document.call(None).is_none());
    }

    #[test]
    fn fragments_that_unfold_without_end_are_refused() {
        let mut bomb = "query { ...F0 }".to_owned();
        for n in 0..30 {
            bomb.push_str(&format!(
                " fragment F{n} on Query {{ ...F{m} ...F{m} }}",
                m = n + 1
            ));
        }
        assert_eq!(refused(&bomb), Code::Limited);
        assert_eq!(
            refused("{ ...A } fragment A on Query { ...A }"),
            Code::Limited
        );
        let wide = format!(
            "{{ ...F }} fragment F on Query {{ {} }}",
            "__typename ".repeat(1_001)
        );
        assert_eq!(refused(&wide), Code::Limited);
    }

    #[test]
    fn an_operation_has_at_most_fifty_root_fields() {
        let aliases = |n: usize| {
            let fields: String = (0..n).map(|i| format!("a{i}: version ")).collect();
            format!("{{ {fields} }}")
        };
        assert_eq!(roots(&aliases(50)).len(), 50);
        assert_eq!(refused(&aliases(51)), Code::Limited);
    }

    #[test]
    fn fields_nest_at_most_twelve_deep() {
        let nested = |n: usize| {
            format!("{}x{}", "{ a ".repeat(n - 1), " }".repeat(n - 1)).replacen("{ a x", "{ x", 1)
        };
        assert_eq!(roots(&nested(12)).len(), 1);
        assert_eq!(refused(&nested(14)), Code::Limited);
    }

    #[test]
    fn brackets_cannot_exhaust_the_stack() {
        let nested = format!("{{ version(a: {}) }}", "[".repeat(100_000));
        assert_eq!(refused(&nested), Code::Limited);
        assert_eq!(deepest_bracket(r#"{ a(b: "[[[[\"[[[") # (((("#), 2);
        assert_eq!(deepest_bracket("{ a(b: \"\"\"[[ \"[ \\\"\"\"[\"\"\") }"), 2);
        assert_eq!(deepest_bracket("\"unclosed\n[["), 2);
    }

    #[test]
    fn the_same_text_is_read_once() {
        let documents = Documents::default();
        let first = documents.get("{ version }").unwrap();
        assert!(Arc::ptr_eq(&first, &documents.get("{ version }").unwrap()));
    }
}
