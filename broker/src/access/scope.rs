//! What a key allows, in the words of its scopes. What no scope names is denied.

use std::fmt;
use std::str::FromStr;

/// The namespace of the fields of the GraphQL API.
const API: &str = "websockets-manager-api";
/// More text than any key needs.
const MAX_LENGTH: usize = 4096;

/// The two kinds of root fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads.
    Query,
    /// Changes.
    Mutation,
}

impl Operation {
    /// The word in a scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

/// What a key allows: scopes with spaces between them, such as
/// `websockets-manager-api:query:* websockets-manager-api:mutation:pushMessage`.
///
/// A scope is words with colons between them; the last may be `*`. Scopes of
/// another namespace are kept and allow nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

/// The text is not a list of scopes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScopes {
    /// A key without scopes would open nothing.
    #[error("names no scope")]
    Empty,
    /// Too much text.
    #[error("is longer than {MAX_LENGTH} bytes")]
    Long,
    /// Not words with colons between them.
    #[error(
        "{0:?} is not a scope: expected {API}:query:<field>, {API}:mutation:<field>, \
         or * for every field"
    )]
    Form(String),
}

impl FromStr for Scopes {
    type Err = BadScopes;

    fn from_str(text: &str) -> Result<Self, BadScopes> {
        if MAX_LENGTH < text.len() {
            return Err(BadScopes::Long);
        }
        let mut scopes = Vec::new();
        for scope in text.split_ascii_whitespace() {
            if !is_scope(scope) {
                return Err(BadScopes::Form(scope.to_owned()));
            }
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.is_empty() {
            Err(BadScopes::Empty)
        } else {
            Ok(Self(scopes))
        }
    }
}

fn is_scope(scope: &str) -> bool {
    let Some((leading, last)) = scope.rsplit_once(':') else {
        return false;
    };
    let word = |word: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !word.is_empty() && word.bytes().all(fits)
    };
    if !leading.split(':').all(word) || (last != "*" && !word(last)) {
        return false;
    }
    // A slip in our own namespace would silently allow nothing.
    let ours = leading.split(':').next() == Some(API);
    !ours
        || [Operation::Query, Operation::Mutation]
            .iter()
            .any(|operation| leading.strip_prefix(API) == Some(&format!(":{}", operation.as_str())))
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Scopes {
    /// The root fields that they name one by one.
    pub fn fields(&self) -> impl Iterator<Item = (Operation, &str)> {
        self.0.iter().filter_map(|scope| {
            let (operation, field) = scope
                .strip_prefix(API)?
                .strip_prefix(':')?
                .split_once(':')?;
            let both = [Operation::Query, Operation::Mutation];
            let operation = both.into_iter().find(|it| it.as_str() == operation)?;
            (field != "*").then_some((operation, field))
        })
    }

    /// Whether they allow this root field.
    pub fn allows(&self, operation: Operation, field: &str) -> bool {
        self.0.iter().any(|scope| {
            let mut words = scope.splitn(3, ':');
            words.next() == Some(API)
                && words.next() == Some(operation.as_str())
                && words
                    .next()
                    .is_some_and(|last| last == "*" || last == field)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap()
    }

    #[test]
    fn what_no_scope_names_is_denied() {
        let scopes =
            scopes("websockets-manager-api:query:* websockets-manager-api:mutation:pushMessage");
        assert!(scopes.allows(Operation::Query, "messages"));
        assert!(scopes.allows(Operation::Query, "__schema"));
        assert!(scopes.allows(Operation::Mutation, "pushMessage"));
        assert!(!scopes.allows(Operation::Mutation, "pushMessages"));
        assert!(!scopes.allows(Operation::Mutation, "pushGlobalMessage"));
        assert!(!scopes.allows(Operation::Mutation, "*"));
        assert!(!scopes.allows(Operation::Mutation, ""));
    }

    #[test]
    fn scopes_of_others_are_kept_and_allow_nothing() {
        let text = "billing-api:query:* other:*";
        assert_eq!(scopes(text).to_string(), text);
        assert!(!scopes(text).allows(Operation::Query, "messages"));
    }

    #[test]
    fn scopes_read_back_as_written_each_once() {
        let text = "websockets-manager-api:mutation:* websockets-manager-api:query:message";
        assert_eq!(scopes(&format!(" {text}\t{text} ")).to_string(), text);
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in [
            "",
            "  ",
            "*",
            "messages",
            "websockets-manager-api",
            "websockets-manager-api:*",
            "websockets-manager-api:query",
            "websockets-manager-api:query:",
            "websockets-manager-api:*:messages",
            "websockets-manager-api:query:mess*",
            "websockets-manager-api:query:a:b",
            "websockets-manager-api:subscription:*",
            "websockets-manager-api:Query:*",
            "websockets-manager-api::*",
            ":query:*",
            "a:b,c:d",
            "a:b c",
            "a:ü",
        ] {
            assert!(text.parse::<Scopes>().is_err(), "{text}");
        }
        let long = "a:b ".repeat(2000);
        assert_eq!(long.parse::<Scopes>(), Err(BadScopes::Long));
    }
}
