//! The GraphQL schema: its names, types and what may be null are a published
//! contract, kept in `schema.graphql`.

mod dead;
mod input;
mod mutation;
mod people;
mod query;
mod scalar;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_graphql::parser::types::{TypeKind, TypeSystemDefinition};
use async_graphql::{Context, EmptySubscription, MergedObject, Schema, parser};
use broker::access::Operation;
use broker::topic::Tenant;

use crate::Api;
use crate::access::{Caller, Gate};

use self::dead::{DeadMutation, DeadQuery};
pub use self::input::Durability;
use self::mutation::PushMutation;
use self::people::{PeopleMutation, PeopleQuery};
use self::query::PushQuery;

/// What can be asked.
#[derive(Default, MergedObject)]
pub struct Query(PushQuery, PeopleQuery, DeadQuery);

/// What can be done.
#[derive(Default, MergedObject)]
pub struct Mutation(PushMutation, PeopleMutation, DeadMutation);

/// The schema, ready to execute requests that carry their [`Caller`].
pub type ApiSchema = Schema<Query, Mutation, EmptySubscription>;

/// The schema over what it works on.
pub fn build(api: Api) -> ApiSchema {
    bare().data(api).extension(Gate::default()).finish()
}

/// The schema as its contract has it.
pub fn sdl() -> String {
    bare().finish().sdl()
}

/// The names of the root fields of queries or mutations.
pub fn root_fields(operation: Operation) -> BTreeSet<String> {
    let root = match operation {
        Operation::Query => "Query",
        Operation::Mutation => "Mutation",
    };
    let document = parser::parse_schema(sdl()).expect("the library reads what it wrote");
    let mut names = BTreeSet::new();
    for definition in document.definitions {
        if let TypeSystemDefinition::Type(definition) = definition
            && definition.node.name.node == root
            && let TypeKind::Object(object) = definition.node.kind
        {
            names.extend(
                object
                    .fields
                    .iter()
                    .map(|field| field.node.name.node.to_string()),
            );
        }
    }
    names
}

fn bare() -> async_graphql::SchemaBuilder<Query, Mutation, EmptySubscription> {
    // Suggestions would tell a caller of fields that its key has no scope for.
    Schema::build(Query::default(), Mutation::default(), EmptySubscription).disable_suggestions()
}

fn api<'a>(ctx: &Context<'a>) -> &'a Api {
    ctx.data_unchecked::<Api>()
}

/// Whose data a resolver may touch: the key decides, no argument does.
fn tenant<'a>(ctx: &Context<'a>) -> &'a Tenant {
    &ctx.data_unchecked::<Arc<Caller>>().identity.tenant
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_the_one_we_promised() {
        let promised = include_str!("../schema.graphql");
        assert_eq!(
            super::sdl(),
            promised,
            "if the change is meant: cargo run -p api -- schema > api/schema.graphql"
        );
    }
}
