//! What the words after `api tenant` ask for.

use broker::quota::Kind;
use broker::topic::Tenant;

use super::{Usage, Words};

/// Something to be done about what tenants may use.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::command) enum TenantErrand {
    /// Change some quotas.
    Set {
        tenant: Tenant,
        changes: Vec<(Kind, Option<u32>)>,
    },
    /// Show those of one.
    Show { tenant: Tenant },
    /// Show those of all.
    List,
}

impl TenantErrand {
    pub(super) fn parse(words: &mut Words) -> Result<Self, Usage> {
        match words.next().as_deref() {
            Some("set") => {
                let tenant = named(words)?;
                let mut changes = Vec::new();
                for kind in Kind::EVERY {
                    let limit = words.option::<QuotaLimit>(kind.as_str())?;
                    changes.extend(limit.map(|limit| (kind, limit.0)));
                }
                if changes.is_empty() {
                    return Err(Usage("tenant set: which quota?".to_owned()));
                }
                Ok(Self::Set { tenant, changes })
            }
            Some("show") => Ok(Self::Show {
                tenant: named(words)?,
            }),
            Some("list") => Ok(Self::List),
            Some(other) => Err(Usage(format!("there is no command tenant {other:?}"))),
            None => Err(Usage("tenant: set, show or list?".to_owned())),
        }
    }
}

fn named(words: &mut Words) -> Result<Tenant, Usage> {
    let name = words.next();
    let name = name.ok_or_else(|| Usage("the name of a tenant must follow".to_owned()))?;
    name.parse()
        .map_err(|error| Usage(format!("{name:?}: {error}")))
}

/// How much a quota allows, or that there is none.
struct QuotaLimit(Option<u32>);

/// The text is neither.
#[derive(Debug, thiserror::Error)]
#[error("expected a number from 0 to {}, or none", u32::MAX)]
struct BadLimit;

impl std::str::FromStr for QuotaLimit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|n| Self(Some(n))).map_err(|_| BadLimit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<TenantErrand, Usage> {
        let words = line.split_whitespace().map(str::to_owned);
        TenantErrand::parse(&mut Words::read(words)?)
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().0
    }

    #[test]
    fn quotas_are_numbers_or_none() {
        let wanted = TenantErrand::Set {
            tenant: "acme".parse().unwrap(),
            changes: vec![(Kind::Sockets, None), (Kind::Pushes, Some(50))],
        };
        assert_eq!(parse("set acme --pushes 50 --sockets none"), Ok(wanted));
        assert!(refusal("set acme").contains("which quota"));
        assert!(refusal("set acme --pushes -1").contains("--pushes"));
        assert!(refusal("set ACME --pushes 1").contains("ACME"));
        assert!(refusal("set").contains("tenant"));
    }
}
