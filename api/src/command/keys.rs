//! Access keys, made and ended at the command line.

use broker::Timestamp;
use broker::access::{AccessKeyInfo, AccessKeys, Created, NewAccessKey};

use super::parse::{Errand, Expiry};
use super::table::table;
use super::{Failed, print, tell, with_redis};

/// Does it. A key goes to the standard output, alone, so that it can be piped to
/// where it is kept; everything else to know goes beside it.
pub(super) fn run(errand: Errand) -> Result<(), Failed> {
    with_redis(async |redis, keys| {
        let now = redis.time().await?;
        attend(errand, &AccessKeys::new(redis, keys), now).await
    })
}

async fn attend(errand: Errand, keys: &AccessKeys, now: Timestamp) -> Result<(), Failed> {
    match errand {
        Errand::Create {
            tenant,
            scopes,
            name,
            expires,
        } => {
            let expires_at = expires.map(|expires| match expires {
                Expiry::At(at) => at,
                Expiry::After(period) => now + period,
            });
            if expires_at.is_some_and(|at| at <= now) {
                return Err(Failed("--expires lies in the past".to_owned()));
            }
            let new = NewAccessKey {
                tenant,
                scopes,
                name,
                expires_at,
            };
            show(&keys.create(&new).await?)
        }
        Errand::List => print(&listed(&keys.list().await?, now)),
        Errand::Disable { id } => {
            if keys.disable(&id).await? {
                print(&format!("disabled {id}"))
            } else {
                Err(unknown(&id))
            }
        }
        Errand::Rotate { id, overlap } => match keys.rotate(&id, overlap).await? {
            Some(created) => show(&created),
            None => Err(unknown(&id)),
        },
    }
}

fn show(created: &Created) -> Result<(), Failed> {
    print(&created.secret)?;
    tell(&format!(
        "Created access key {}. Keep it now: it cannot be shown again.",
        created.id
    ));
    Ok(())
}

fn unknown(id: &str) -> Failed {
    Failed(format!(
        "there is no key {id:?} that could be used; see api key list"
    ))
}

/// One line per key, with what is known of it but the key.
fn listed(keys: &[AccessKeyInfo], now: Timestamp) -> String {
    let head = [
        "ID",
        "STATE",
        "TENANT",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "NAME",
        "SCOPES",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(keys.iter().map(|key| row(key, now)));
    table(&rows)
}

fn row(key: &AccessKeyInfo, now: Timestamp) -> [String; 8] {
    let state = if key.disabled_at.is_some() {
        "disabled"
    } else if key.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "active"
    };
    [
        key.id.clone(),
        state.to_owned(),
        key.tenant.to_string(),
        key.created_at.to_string(),
        or_never(key.expires_at),
        or_never(key.last_used_at),
        key.name.clone().unwrap_or_default(),
        key.scopes.to_string(),
    ]
}

fn or_never(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.to_string())
}
