//! What is known of users is read again, in even slices; what the cache does not
//! tell is asked of the host.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Error;
use broker::misskey::api::{Api, Standing};
use broker::misskey::caller::Token;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::debug;

use super::desk::Desk;
use super::users::{Doubts, User};

/// How often a slice is read.
const SLICE: Duration = Duration::from_millis(250);
/// How often visitors' rights are asked for, once there have been any.
const VISITING: Duration = Duration::from_secs(60);
/// Users whose host is asked about them at the same time. Few, as it is not said
/// that anything has changed.
const DOUBTING: usize = 8;

/// Keeps what is known at a desk up to date.
pub(super) async fn keep(desk: Arc<Desk>) -> Infallible {
    let users = users(Arc::clone(&desk));
    let visiting = visiting(&desk);
    tokio::select! {
        never = users => never,
        never = visiting => never,
    }
}

async fn visiting(desk: &Desk) -> Infallible {
    let mut ticks = tokio::time::interval(VISITING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let (Some(api), true) = (&desk.api, desk.visiting_now().is_some()) {
            match api.visiting().await {
                Ok((policies, visitors)) => drop(desk.visitors_see(policies, visitors)),
                Err(error) => debug!(%error, "what visitors may see cannot be asked"),
            }
        }
    }
}

async fn users(desk: Arc<Desk>) -> Infallible {
    let mut ticks = tokio::time::interval(SLICE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let places = Arc::new(Semaphore::new(DOUBTING));
    let mut asking = JoinSet::new();
    loop {
        ticks.tick().await;
        while asking.try_join_next().is_some() {}
        let now = Instant::now();
        desk.ended.sweep(now);
        let mut due = desk.users.due(now);
        // Also who has just left, and may come back before they are forgotten. Who
        // is read about for the first time is left to who does.
        due.retain(|user| user.viewer().is_some());
        if due.is_empty() {
            continue;
        }
        read(&desk, &due).await;
        end_own(&desk, &due).await;
        for user in due {
            let Some(doubts) = user.begin_asking() else {
                continue;
            };
            let (desk, places) = (Arc::clone(&desk), Arc::clone(&places));
            asking.spawn(async move {
                let _place = places.acquire().await;
                let left = ask(&desk, &user, doubts).await;
                user.end_asking(left);
            });
        }
    }
}

/// Reads about these users. If that fails, they go on with what was known.
async fn read(desk: &Desk, users: &[Arc<User>]) {
    let before: Vec<_> = users.iter().map(|user| user.before()).collect();
    let asked = users.iter().zip(&before);
    let asked: Vec<_> = asked
        .map(|(user, before)| (Arc::clone(&user.id), before.seen))
        .collect();
    let Ok(found) = desk.read_all(&asked).await else {
        return;
    };
    for ((user, before), found) in users.iter().zip(before).zip(found) {
        let follows = !found.lacks_following();
        if desk.note(user, before, found) && follows {
            user.doubt(|doubts| doubts.following = false);
        }
    }
}

/// Ends the sockets of tokens of our own that have ended.
async fn end_own(desk: &Desk, users: &[Arc<User>]) {
    let mut shown: Vec<(&User, Token)> = Vec::new();
    let mut ids = Vec::new();
    for user in users {
        for (token, own) in user.tokens() {
            if let Some(id) = own {
                shown.push((user, token));
                ids.push(id);
            }
        }
    }
    match desk.authenticator.own_open(&ids).await {
        Ok(open) => {
            let ended = shown.iter().zip(open).filter(|(_, open)| !open);
            ended.for_each(|((user, token), _)| desk.token_ended(&user.id, token));
        }
        Err(error) => debug!(%error, "whether tokens have ended cannot be read"),
    }
}

/// Asks the host what is in doubt; returns what is so still.
async fn ask(desk: &Desk, user: &User, mut doubts: Doubts) -> Doubts {
    let tokens = user.tokens().into_iter();
    let tokens: Vec<_> = tokens
        .filter_map(|(token, own)| own.is_none().then_some(token))
        .collect();
    let Some(api) = &desk.api else {
        return Doubts::default();
    };
    let Some(token) = tokens.last() else {
        return doubts;
    };
    let asked = async {
        if doubts.rights {
            rights(desk, api, user, &tokens).await?;
            doubts.rights = false;
        }
        if doubts.following {
            api.refill(token).await?;
            let before = user.before();
            let found = desk.read(user, before.seen).await?;
            doubts.following = !desk.note(user, before, found);
        }
        Ok::<_, Arc<Error>>(())
    };
    if let Err(error) = asked.await {
        debug!(%error, host = %desk.host.name, "a user cannot be asked about");
    }
    doubts
}

async fn rights(desk: &Desk, api: &Api, user: &User, tokens: &[Token]) -> Result<(), Arc<Error>> {
    for token in tokens {
        api.forget(token);
        match api.standing(token).await?.as_deref() {
            Some(Standing::Signed(signed)) => {
                desk.changed(
                    user,
                    user.told(|viewer, _| viewer.policies = signed.policies),
                );
            }
            Some(Standing::Unclear) => {}
            None | Some(Standing::Suspended) => desk.token_ended(&user.id, token),
        }
    }
    Ok(())
}
