//! Access keys, made and ended at the command line.

mod file;

use broker::Timestamp;
use broker::access::{AccessKeyInfo, AccessKeys, Created, NewAccessKey};

use self::file::Given;
use super::parse::{Errand, Expiry, Wanted};
use super::table::table;
use super::{Failed, print, tell, with_redis};

/// Does it. A key goes to the standard output, alone, so that it can be piped to
/// where it is kept; everything else to know goes beside it.
pub(super) fn run(errand: Errand) -> Result<(), Failed> {
    if let Errand::Create {
        key,
        to: Some(place),
    } = errand
    {
        return show(&file::add(&place, &wanted(key, Timestamp::now())?)?);
    }
    if let Errand::Disable { id } | Errand::Rotate { id, .. } = &errand {
        match Given::read() {
            Ok(given) => given.refuse_to_change(id)?,
            // A bad file must keep no key of Redis alive.
            Err(Failed(why)) => tell(&format!("api: {why}")),
        }
    }
    with_redis(async |redis, keys| {
        let now = redis.time().await?;
        attend(errand, &AccessKeys::new(redis, keys), now).await
    })
}

async fn attend(errand: Errand, keys: &AccessKeys, now: Timestamp) -> Result<(), Failed> {
    match errand {
        Errand::Create { key, .. } => show(&keys.create(&wanted(key, now)?).await?),
        Errand::List => print(&listed(
            &Given::read()?.keys.list(),
            &keys.list().await?,
            now,
        )),
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

/// The key that was asked for at this time.
fn wanted(key: Wanted, now: Timestamp) -> Result<NewAccessKey, Failed> {
    let expires_at = key.expires.map(|expires| match expires {
        Expiry::At(at) => at,
        Expiry::After(period) => now + period,
    });
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Failed("--expires lies in the past".to_owned()));
    }
    Ok(NewAccessKey {
        tenant: key.tenant,
        scopes: key.scopes,
        name: key.name,
        expires_at,
    })
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
fn listed(of_file: &[AccessKeyInfo], of_redis: &[AccessKeyInfo], now: Timestamp) -> String {
    let head = [
        "ID",
        "IN",
        "STATE",
        "TENANT",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "NAME",
        "SCOPES",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(of_file.iter().map(|key| row(key, "file", now)));
    rows.extend(of_redis.iter().map(|key| row(key, "redis", now)));
    table(&rows)
}

fn row(key: &AccessKeyInfo, place: &str, now: Timestamp) -> [String; 9] {
    let state = if key.disabled_at.is_some() {
        "disabled"
    } else if key.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "active"
    };
    let last_used = match key.created_at {
        Some(_) => or(key.last_used_at, "never"),
        // Nobody keeps it of those of a file.
        None => "-".to_owned(),
    };
    [
        key.id.clone(),
        place.to_owned(),
        state.to_owned(),
        key.tenant.to_string(),
        or(key.created_at, "-"),
        or(key.expires_at, "never"),
        last_used,
        key.name.clone().unwrap_or_default(),
        key.scopes.to_string(),
    ]
}

fn or(at: Option<Timestamp>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.to_string())
}
