//! What callers asked for: counted, and written down where it may have changed
//! something. Never arguments: they hold texts and names.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_graphql::{PathSegment, Response, Value};
use broker::access::{Identity, Operation};
use broker::trace::Span;
use tracing::info;

use crate::access::Caller;
use crate::document::{Call, Root};
use crate::failure::Code;
use crate::metrics::{ABANDONED, Metrics, OK, UNKNOWN};
use crate::schema::root_fields;

/// Keeps account of requests.
pub struct Accounts {
    metrics: Metrics,
    /// The root fields there are, which are the only ones that become labels.
    queries: BTreeSet<String>,
    mutations: BTreeSet<String>,
}

impl Accounts {
    /// Accounts that end up in these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            queries: root_fields(Operation::Query),
            mutations: root_fields(Operation::Mutation),
        }
    }

    /// A request is about to be executed.
    pub fn open(&self, caller: Arc<Caller>) -> Account<'_> {
        Account {
            accounts: self,
            caller,
            settled: false,
        }
    }

    /// Says in a span what is asked for, by the names of the schema.
    pub(crate) fn describe(&self, call: &Call, span: &Span) {
        if !span.is_recorded() {
            return;
        }
        let named = call.roots.iter();
        let fields: BTreeSet<&str> = named
            .map(|root| self.named(call.operation, &root.field))
            .collect();
        let operation = call.operation.as_str();
        let fields: Vec<&str> = fields.into_iter().collect();
        span.rename(match fields[..] {
            [only] => format!("{operation} {only}"),
            _ => format!("{operation} several"),
        });
        span.note("graphql.operation.type", operation);
        span.note("carillon.fields", fields.join(", "));
    }

    /// The field, if there is one of that name.
    fn named<'a>(&self, operation: Operation, field: &'a str) -> &'a str {
        let fields = match operation {
            Operation::Query => &self.queries,
            Operation::Mutation => &self.mutations,
        };
        if fields.contains(field) {
            field
        } else {
            UNKNOWN
        }
    }

    fn note(&self, caller: &Caller, operation: Operation, field: &str, outcome: Outcome) {
        let field = self.named(operation, field);
        let failed = (outcome != Outcome::Done).then(|| outcome.label());
        self.metrics.resolved(operation, field, failed);
        let outcome = outcome.label();
        if operation == Operation::Mutation {
            let Identity { tenant, key_id, .. } = &caller.identity;
            info!(
                target: "audit",
                key = &**key_id,
                tenant = tenant.as_str(),
                field,
                outcome,
                request_id = &*caller.request_id,
                "{field}: {outcome}",
            );
        }
    }
}

/// The account of one request. It is settled even if the caller hangs up, or
/// its time is over, while the request is being executed.
pub struct Account<'a> {
    accounts: &'a Accounts,
    caller: Arc<Caller>,
    settled: bool,
}

impl Account<'_> {
    /// The request was answered. Tells what it was.
    pub fn settle(mut self, answer: &Response) -> Option<Operation> {
        self.settled = true;
        let Some(call) = self.caller.call() else {
            let error = answer.errors.first();
            let code = error.map_or(Code::BadUserInput, Code::of);
            self.accounts.metrics.refused(code);
            return None;
        };
        self.note(call, |root| Outcome::of(root, answer));
        Some(call.operation)
    }

    fn note(&self, call: &Call, outcome: impl Fn(&Root) -> Option<Outcome>) {
        for root in &call.roots {
            if let Some(outcome) = outcome(root) {
                self.accounts
                    .note(&self.caller, call.operation, &root.field, outcome);
            }
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.settled
            && let Some(call) = self.caller.call()
        {
            self.note(call, |_| Some(Outcome::Abandoned));
        }
    }
}

/// What became of one root field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was done.
    Done,
    /// It was not.
    Failed(Code),
    /// Nobody waited for it any more: it may or may not have been done.
    Abandoned,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Done => OK,
            Self::Failed(code) => code.label(),
            Self::Abandoned => ABANDONED,
        }
    }

    /// What became of `root`; nothing if a directive left it out.
    fn of(root: &Root, answer: &Response) -> Option<Self> {
        let error = answer.errors.iter().find(|error| match error.path.first() {
            // An error without a place concerns all of them: nothing was done.
            None => true,
            Some(PathSegment::Field(key)) => *key == *root.key,
            Some(PathSegment::Index(_)) => false,
        });
        match (error, &answer.data) {
            (Some(error), _) => Some(Self::Failed(Code::of(error))),
            (None, Value::Object(fields)) if fields.contains_key(&root.key) => Some(Self::Done),
            (None, _) => None,
        }
    }
}
