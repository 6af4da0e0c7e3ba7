//! Its HTTP API, as far as a gateway has reason to ask.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use redis::cmd;
use serde_json::{Map, Value, json};

use super::world::{Principal, World, profile};
use super::{State, Weather, lock, packed, upstream};
use broker::topology::Redis;

/// The caches that reading a timeline fills, and how long they live, in seconds.
const CACHES: [&str; 7] = [
    "userFollowings",
    "userMutings",
    "userBlocked",
    "renoteMutings",
    "userFollowingChannels",
    "channelMutingChannels",
    "userProfile",
];
const CACHED_FOR: u64 = 1800;

/// Everything that can be asked.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/streaming", get(upstream::stream))
        .route("/api/{*endpoint}", post(answer))
        .fallback(any(async || "<!DOCTYPE html><title>The web client</title>"))
        .with_state(state)
}

/// Waits as long as the weather wants; the answer, if it wants one instead.
pub(super) async fn weather(state: &State) -> Option<Response> {
    match state.weather() {
        Weather::Fair => None,
        Weather::Slow(late) => {
            tokio::time::sleep(late).await;
            None
        }
        Weather::Failing(status) => {
            let status = StatusCode::from_u16(status).expect("a test names a status");
            Some(status.into_response())
        }
        Weather::Silent => std::future::pending().await,
    }
}

async fn answer(
    Extract(state): Extract<Arc<State>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    state.count(&endpoint);
    if let Some(answer) = weather(&state).await {
        return answer;
    }
    let Ok(Value::Object(params)) = serde_json::from_slice(&body) else {
        return Refusal::INVALID_PARAM.into_response();
    };
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let token = bearer.or_else(|| params.get("i")?.as_str());
    let caller = match token.map(|token| state.world().principals.get(token).cloned()) {
        None => None,
        Some(None) => return Refusal::AUTHENTICATION_FAILED.into_response(),
        Some(Some(caller)) => Some(caller),
    };
    if endpoint == "notes/timeline"
        && caller
            .as_ref()
            .is_some_and(|caller| caller.may("read:account"))
    {
        fill(&state, caller.as_ref()).await;
    }
    let answered = Asked {
        world: &state.world(),
        caller: caller.as_ref(),
        params: &params,
    }
    .answer(&endpoint);
    match answered {
        Ok(Value::Null) => StatusCode::NO_CONTENT.into_response(),
        Ok(body) => axum::Json(body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Fills those caches of relations that are not there, as reading a timeline does.
async fn fill(state: &State, caller: Option<&Principal>) {
    let caches = lock(&state.caches).clone();
    let (Some(caches), Some(caller)) = (caches, caller) else {
        return;
    };
    let settings = caches.url.parse().expect("a test names a URL");
    let redis = Redis::open(&settings).expect("standalone is served");
    for cache in CACHES {
        let value = state.world().relation(&caller.user, cache).to_string();
        let key = format!("{}:kvcache:{cache}:{}", caches.prefix, caller.user);
        let mut set = cmd("SET");
        set.arg(key).arg(value).arg("NX").arg("EX").arg(CACHED_FOR);
        let set = redis.query::<Option<String>>(&set).await;
        set.expect("Redis is there");
    }
}

/// One request.
struct Asked<'a> {
    world: &'a World,
    caller: Option<&'a Principal>,
    params: &'a Map<String, Value>,
}

impl Asked<'_> {
    fn answer(&self, endpoint: &str) -> Result<Value, Refusal> {
        match endpoint {
            "meta" => Ok(self.meta()),
            "i" => self.me(),
            "users/lists/show" => {
                let caller = self.caller("read:account")?;
                let id = self.text("listId")?;
                let list = self.world.lists.get(id);
                let list = list.filter(|list| list.owner == caller.user);
                let list = list.ok_or(Refusal::not_there("NO_SUCH_LIST"))?;
                Ok(
                    json!({ "id": id, "name": "A list", "userIds": list.members, "isPublic": false }),
                )
            }
            "antennas/show" => {
                let caller = self.caller("read:account")?;
                let id = self.text("antennaId")?;
                let owner = self.world.antennas.get(id);
                let owner = owner.filter(|&owner| *owner == caller.user);
                owner.ok_or(Refusal::not_there("NO_SUCH_ANTENNA"))?;
                Ok(json!({ "id": id, "name": "An antenna", "src": "all", "isActive": true }))
            }
            "roles/show" => {
                let id = self.text("roleId")?;
                let role = self.world.roles.get(id).filter(|role| role.public);
                let role = role.ok_or(Refusal::not_there("NO_SUCH_ROLE"))?;
                Ok(
                    json!({ "id": id, "name": "A role", "isPublic": true, "isExplorable": role.explorable }),
                )
            }
            "chat/history" => {
                self.caller("read:chat")?;
                Ok(json!([]))
            }
            "chat/rooms/show" => {
                self.caller("read:chat")?;
                let id = self.text("roomId")?;
                let room = self.world.rooms.get(id);
                let room = room.ok_or(Refusal::not_there("NO_SUCH_ROOM"))?;
                Ok(json!({ "id": id, "name": "A room", "ownerId": room.owner }))
            }
            "chat/messages/room-timeline" => {
                let caller = self.caller("read:chat")?;
                let room = self.world.rooms.get(self.text("roomId")?);
                let room = room.filter(|room| {
                    room.owner == caller.user || room.members.contains(&caller.user)
                });
                room.ok_or(Refusal::not_there("NO_SUCH_ROOM"))?;
                Ok(json!([]))
            }
            "notes/show" => self.note(),
            "notes/timeline" => {
                self.caller("read:account")?;
                Ok(json!([]))
            }
            "notifications/mark-all-as-read" => {
                self.caller("write:notifications")?;
                Ok(Value::Null)
            }
            _ => Err(Refusal::new(404, "UNKNOWN_API_ENDPOINT")),
        }
    }

    /// Who asks, if the token allows this.
    fn caller(&self, kind: &str) -> Result<&Principal, Refusal> {
        let caller = self
            .caller
            .ok_or(Refusal::new(401, "CREDENTIAL_REQUIRED"))?;
        if caller.suspended {
            return Err(Refusal::new(403, "YOUR_ACCOUNT_SUSPENDED"));
        }
        if !caller.may(kind) {
            return Err(Refusal::new(403, "PERMISSION_DENIED"));
        }
        Ok(caller)
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        let text = self.params.get(name).and_then(Value::as_str);
        text.ok_or(Refusal::INVALID_PARAM)
    }

    fn meta(&self) -> Value {
        let visitors = match self.world.visitors.as_str() {
            "" => "all",
            visitors => visitors,
        };
        json!({
            "name": "A Misskey", "version": "2026.5.1",
            "ugcVisibilityForVisitor": visitors, "policies": policies(&self.world.policies),
        })
    }

    fn me(&self) -> Result<Value, Refusal> {
        let caller = self.caller("read:account")?;
        let mut me = packed::account(&caller.user);
        let private = profile(&caller.user, &caller.muted_instances);
        let more = json!({
            "policies": policies(&caller.policies), "mutedInstances": caller.muted_instances,
            "email": private["email"], "isModerator": false, "isAdmin": false, "isDeleted": false,
        });
        let more = more.as_object().expect("it is one").clone();
        me.as_object_mut().expect("it is one").extend(more);
        Ok(me)
    }

    fn note(&self) -> Result<Value, Refusal> {
        let id = self.text("noteId")?;
        let user = match self.caller {
            Some(_) => Some(self.caller("read:account")?.user.as_str()),
            None => None,
        };
        let note = self.world.notes.get(id);
        let mut note = note.cloned().ok_or(Refusal::not_there("NO_SUCH_NOTE"))?;
        let listed = note["visibleUserIds"].as_array().into_iter().flatten();
        let may_see = note["visibility"] != "specified"
            || user.is_some_and(|user| note["userId"] == user)
            || user.is_some_and(|user| listed.into_iter().any(|listed| *listed == user));
        if !may_see {
            return Err(Refusal::not_there("NO_SUCH_NOTE"));
        }
        let reaction = |id: &str| {
            let pair = (id.to_owned(), user?.to_owned());
            self.world.reactions.get(&pair).cloned()
        };
        if let Some(reaction) = reaction(id) {
            note["myReaction"] = reaction.into();
        }
        let target = note["renote"]["id"].as_str().and_then(reaction);
        if let Some(reaction) = target {
            note["renote"]["myReaction"] = reaction.into();
        }
        Ok(note)
    }
}

/// The usual policies, as far as streams mind them, with these instead.
fn policies(others: &Map<String, Value>) -> Value {
    let mut policies = Map::from_iter([
        ("gtlAvailable".to_owned(), true.into()),
        ("ltlAvailable".to_owned(), true.into()),
        ("canPublicNote".to_owned(), true.into()),
    ]);
    policies.extend(others.clone());
    policies.into()
}

/// Why there is no answer.
#[derive(Clone, Copy)]
struct Refusal {
    status: u16,
    code: &'static str,
}

impl Refusal {
    const INVALID_PARAM: Self = Self::new(400, "INVALID_PARAM");
    const AUTHENTICATION_FAILED: Self = Self::new(401, "AUTHENTICATION_FAILED");

    const fn new(status: u16, code: &'static str) -> Self {
        Self { status, code }
    }

    const fn not_there(code: &'static str) -> Self {
        Self::new(400, code)
    }

    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("they are written above");
        let kind = if self.status == 403 {
            "permission"
        } else {
            "client"
        };
        let error = json!({ "message": "No.", "code": self.code, "id": "0", "kind": kind });
        (status, axum::Json(json!({ "error": error }))).into_response()
    }
}
