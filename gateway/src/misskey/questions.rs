//! What sockets ask.

use std::sync::Arc;
use std::time::Duration;

use broker::Error;
use broker::identity::Authenticator;
use broker::misskey::api::{Api, Standing};
use broker::misskey::caller::{Account, Grant};
use tokio::time::Instant;
use tracing::debug;

use super::desk::Desk;
use crate::dialect::misskey::{Asking, News, Question, Reply};

/// How long a question is asked again that nobody can answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before it is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Shared(#[from] Arc<Error>),
}

/// What comes of a question, if it is answered. A check that cannot be made is
/// refused in the end.
pub(super) async fn ask(desk: &Desk, asking: &Asking) -> Option<Reply> {
    let question = label(&asking.question);
    // A client may say any number of these, and waits for none.
    let _place = if is_mark(&asking.question) {
        let Ok(place) = desk.marking.try_acquire() else {
            desk.metrics.asked("failed");
            return None;
        };
        Some(place)
    } else {
        None
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = tokio::time::timeout_at(until, Box::pin(answer(desk, asking))).await;
        match answer {
            Ok(Ok(reply)) => {
                let refused = matches!(reply, Some(Reply::Refused));
                let outcome = if refused { "refused" } else { "answered" };
                desk.metrics.asked(outcome);
                return reply;
            }
            Ok(Err(error)) => {
                debug!(%error, question, "a question cannot be answered");
                tokio::time::sleep(RETRY).await;
            }
            Err(_) => {}
        }
        if until <= Instant::now() {
            desk.metrics.asked("failed");
            return without_answer(&asking.question);
        }
    }
}

async fn answer(desk: &Desk, asking: &Asking) -> Result<Option<Reply>, Failed> {
    let account = asking.caller.account.as_ref();
    match (&asking.question, account) {
        (Question::Viewer, None) => Ok(desk.visiting_now().map(Reply::Viewer)),
        (Question::Viewer, Some(account)) => viewer(desk, account).await,
        (Question::ReadNotifications, Some(account)) => {
            desk.markers.read_notifications(&account.user).await?;
            Ok(None)
        }
        (Question::ReadChatUser(other), Some(account)) => {
            desk.markers.read_chat_user(&account.user, other).await?;
            Ok(None)
        }
        (Question::ReadChatRoom(room), Some(account)) => {
            desk.markers.read_chat_room(&account.user, room).await?;
            Ok(None)
        }
        // Nothing is checked of visitors but what everybody may look at.
        (Question::Chat, Some(account)) if account.grant == Grant::Native => {
            Ok(Some(Reply::Allowed))
        }
        _ => {
            let own = account.is_some_and(|a| Authenticator::is_own(a.token.reveal()));
            match &desk.api {
                Some(api) if !own => of_host(desk, api, asking).await,
                // A host understands no tokens but its own.
                Some(_) | None => of_rights(desk, asking).await,
            }
        }
    }
}

/// What the user follows and mutes. Whoever asks has just begun to listen: what
/// ended before is told now.
async fn viewer(desk: &Desk, account: &Account) -> Result<Option<Reply>, Failed> {
    let user = desk.users.enter(&account.user);
    let own = user
        .tokens()
        .into_iter()
        .find_map(|(token, own)| own.filter(|_| token == account.token));
    let token = own.is_none().then_some(&account.token);
    if let Some(id) = own {
        if !desk.authenticator.own_open(&[id]).await?.contains(&true) {
            desk.token_ended(&account.user, &account.token);
            return Ok(None);
        }
    } else if desk.ended.has_token(&account.token) {
        desk.token_ended(&account.user, &account.token);
        return Ok(None);
    } else if let (true, Some(api)) = (desk.ended.has_user(account.key), &desk.api) {
        api.forget(&account.token);
        let standing = api.standing(&account.token).await?;
        if !matches!(standing.as_deref(), Some(Standing::Signed(_))) {
            let gone = News::SignedOut(Some(account.token.clone()));
            desk.tell(&desk.of_user(&account.user), &gone);
            return Ok(None);
        }
    }
    desk.fill(&user, token).await?;
    Ok(user.viewer().map(Reply::Viewer))
}

/// What only the host can tell.
async fn of_host(desk: &Desk, api: &Api, asking: &Asking) -> Result<Option<Reply>, Failed> {
    let _place = desk.asking.acquire().await;
    let token = asking.caller.account.as_ref().map(|account| &account.token);
    let allowed = |yes: bool| Some(if yes { Reply::Allowed } else { Reply::Refused });
    Ok(match (&asking.question, token) {
        (Question::Role(role), _) => allowed(api.role(role).await?),
        (Question::Note(id), _) => {
            let note = api.note(token, id).await?;
            Some(Reply::Note(id.clone(), note.map(Arc::new)))
        }
        (Question::List(list), Some(token)) => {
            let members = api.list(token, list).await?;
            Some(members.map_or(Reply::Refused, Reply::Members))
        }
        (Question::Antenna(antenna), Some(token)) => allowed(api.antenna(token, antenna).await?),
        (Question::Chat, Some(token)) => allowed(api.chat(token).await?),
        (Question::ChatRoom(room), Some(token)) => allowed(api.room(token, room).await?),
        (question, _) => without_answer(question),
    })
}

/// What only a host could tell, and what is kept says where there is none.
async fn of_rights(desk: &Desk, asking: &Asking) -> Result<Option<Reply>, Failed> {
    let user = asking.caller.account.as_ref().map(|account| &*account.user);
    let allowed = |yes: bool| Some(if yes { Reply::Allowed } else { Reply::Refused });
    let rights = &desk.rights;
    Ok(match (&asking.question, user) {
        (Question::Role(role), _) => allowed(rights.role(role).await?),
        (Question::List(list), Some(user)) => {
            let members = rights.list(user, list).await?;
            Some(members.map_or(Reply::Refused, Reply::Members))
        }
        (Question::Antenna(antenna), Some(user)) => allowed(rights.antenna(user, antenna).await?),
        (Question::ChatRoom(room), Some(user)) => allowed(rights.room(user, room).await?),
        (question, _) => without_answer(question),
    })
}

/// What a socket hears that cannot be told: one that waits must not wait for ever.
fn without_answer(question: &Question) -> Option<Reply> {
    match question {
        Question::List(_)
        | Question::Antenna(_)
        | Question::Role(_)
        | Question::Chat
        | Question::ChatRoom(_) => Some(Reply::Refused),
        Question::Note(id) => Some(Reply::Note(id.clone(), None)),
        Question::Viewer
        | Question::Relay
        | Question::ReadNotifications
        | Question::ReadChatUser(_)
        | Question::ReadChatRoom(_) => None,
    }
}

/// Whether it only says that something has been read.
fn is_mark(question: &Question) -> bool {
    matches!(
        question,
        Question::ReadNotifications | Question::ReadChatUser(_) | Question::ReadChatRoom(_)
    )
}

/// The name under which it is counted.
fn label(question: &Question) -> &'static str {
    match question {
        Question::Viewer => "viewer",
        Question::List(_) => "list",
        Question::Antenna(_) => "antenna",
        Question::Role(_) => "role",
        Question::Chat => "chat",
        Question::ChatRoom(_) => "chat_room",
        Question::Note(_) => "note",
        Question::Relay => "relay",
        Question::ReadNotifications => "notifications",
        Question::ReadChatUser(_) | Question::ReadChatRoom(_) => "chat_read",
    }
}
