//! Who calls, and what the scopes of their key let them ask for.
//!
//! Every root field an operation could resolve is checked before any of them
//! does, under its own name, so neither an alias nor a fragment hides it and a
//! field added to the schema is refused until a scope names it. A document that
//! asks for one field too many does nothing at all.

use std::sync::{Arc, OnceLock};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{ServerResult, Value, Variables, async_trait};
use broker::access::{Identity, Scopes};

use crate::document::{Call, Document, Documents};
use crate::failure::{Code, Failure};

/// One authenticated request: who sent it, and what it turned out to ask for.
pub struct Caller {
    /// Whose key it came with.
    pub identity: Identity,
    /// Names the request in the log and to the caller.
    pub request_id: Arc<str>,
    operation_name: Option<String>,
    document: OnceLock<Arc<Document>>,
}

impl Caller {
    /// A request that has shown its key.
    pub fn new(identity: Identity, request_id: Arc<str>, operation_name: Option<String>) -> Self {
        Self {
            identity,
            request_id,
            operation_name,
            document: OnceLock::new(),
        }
    }

    /// What is asked for, once the document has been read.
    pub fn call(&self) -> Option<&Call> {
        self.document.get()?.call(self.operation_name.as_deref())
    }

    /// Puts an answer in the order in which its fields were asked for.
    pub fn arrange(&self, data: &mut Value) {
        if let Some(document) = self.document.get() {
            document.arrange(self.operation_name.as_deref(), data);
        }
    }
}

/// Reads documents and lets through what the caller's scopes cover.
#[derive(Clone, Default)]
pub struct Gate {
    documents: Arc<Documents>,
}

impl ExtensionFactory for Gate {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Extension for Gate {
    /// Stands in for the library's own reading: the library would follow
    /// fragments before anything had bounded them.
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        _variables: &Variables,
        _next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let caller = ctx.data_opt::<Arc<Caller>>();
        self.admit(caller.map(AsRef::as_ref), query)
            .map_err(Failure::into_server_error)
    }
}

impl Gate {
    fn admit(&self, caller: Option<&Caller>, query: &str) -> Result<ExecutableDocument, Failure> {
        let caller = caller.ok_or_else(no_key)?;
        let document = self.documents.get(query)?;
        let document = caller.document.get_or_init(|| document);
        let call = caller.call().ok_or_else(|| {
            Failure::bad(
                "operationName",
                "must name the operation to run, one of those in the document",
            )
        })?;
        permit(&caller.identity.scopes, call)?;
        Ok(document.executable.clone())
    }
}

/// What a request without a usable key is told.
pub fn no_key() -> Failure {
    Failure::new(
        Code::Unauthenticated,
        "the header x-api-key must carry a valid access key",
    )
}

/// Refuses a call that asks for a field its caller has no scope for.
fn permit(scopes: &Scopes, call: &Call) -> Result<(), Failure> {
    let refused = call.roots.iter().find(|root| {
        // `__schema`, `__type` and `__typename` describe the api and are open to
        // every key; names with two underscores can be nothing else.
        !root.field.starts_with("__") && !scopes.allows(call.operation, &root.field)
    });
    match refused {
        None => Ok(()),
        Some(root) => Err(Failure::new(
            Code::Forbidden,
            format!(
                "the access key has no scope for {} {}",
                call.operation.as_str(),
                root.field
            ),
        )),
    }
}
