//! Where one case is played: its sockets, what it saved, and what its steps do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::{Match, difference, misshapen};
use super::frames::{barrier, event, expect, send};
use super::json::Json;
use super::step::{Step, check, tell};
use super::variables::Variables;
use super::wire::Wire;
use super::witness::all_is_heard;
use crate::fleet::Fleet;
use crate::http::Http;

/// A case being played over a fleet.
pub(super) struct Stage<'a> {
    fleet: &'a Fleet,
    variables: Variables,
    sockets: BTreeMap<String, (usize, Wire)>,
    opened: usize,
    barriers: u64,
    drained: Vec<usize>,
    /// How long is waited for what must come.
    patience: Duration,
    case: String,
    /// The token with which it wrote what gateways may not have heard of yet.
    wrote: Option<String>,
}

impl<'a> Stage<'a> {
    /// A stage for the case of this id, with so much patience for what must come.
    pub(super) fn new(
        fleet: &'a Fleet,
        people: &Variables,
        case: &str,
        patience: Duration,
    ) -> Self {
        let mut variables = people.clone();
        variables.set("case", case.into());
        Self {
            fleet,
            variables,
            sockets: BTreeMap::new(),
            opened: 0,
            barriers: 0,
            drained: Vec::new(),
            patience,
            case: case.to_owned(),
            wrote: None,
        }
    }

    /// Plays one step.
    ///
    /// # Errors
    /// What was expected and what came, in words.
    pub(super) async fn play(&mut self, step: &Json) -> Result<(), String> {
        let step = Step(self.variables.fill(step)?);
        match step.text("op")? {
            "connect" => self.connect(&step).await,
            "http" => self.http(&step).await,
            "admin" => self.admin(&step).await,
            "assert_equal" => {
                let (left, right) = (step.member("left")?, step.member("right")?);
                match difference(left, right, Match::Exact) {
                    None => Ok(()),
                    Some(place) => Err(format!("left and right differ at {place}")),
                }
            }
            "assert_shape" => match misshapen(step.member("shape")?, step.member("value")?) {
                None => Ok(()),
                Some(place) => Err(place),
            },
            op => {
                let name = step.text("socket")?;
                let socket = self.sockets.get_mut(name);
                let (_, wire) = socket.ok_or_else(|| format!("there is no socket {name}"))?;
                match op {
                    "barrier" => {
                        self.barriers += 1;
                        barrier(wire, self.barriers).await
                    }
                    "expect_json_save" => {
                        let seen = event(wire, self.patience).await?;
                        self.variables.set(step.text("save")?, seen);
                        Ok(())
                    }
                    op if op.starts_with("send") => send(wire, op, &step).await,
                    op => expect(wire, op, &step, self.patience).await,
                }
            }
        }
    }

    /// Brings back what the case took away from others.
    pub(super) async fn clear(self) {
        for index in self.drained {
            let gateway = self.fleet.gateway(index);
            gateway.ended().await;
            gateway.start().await;
        }
    }

    /// Sockets go to the gateways in turn. What was written before is not for them.
    async fn connect(&mut self, step: &Step) -> Result<(), String> {
        if let Some(token) = self.wrote.take() {
            let gateways = 0..self.fleet.gateways().len();
            let gateways = gateways.filter(|gateway| !self.drained.contains(gateway));
            all_is_heard(self.fleet, gateways, &token, &self.case).await;
        }
        let gateway = self.opened % self.fleet.gateways().len();
        self.opened += 1;
        let mut target = step.optional_text("path").unwrap_or("/ws").to_owned();
        let query = step.pairs("query");
        if !query.is_empty() {
            let mut encoded = url::form_urlencoded::Serializer::new(String::new());
            target = format!("{target}?{}", encoded.extend_pairs(query).finish());
        }
        let version = step.0.get("version").map(ToString::to_string);
        let version = version.as_deref().unwrap_or("13").trim_matches('"');
        let address = self.fleet.gateway(gateway).address();
        let (host, headers) = (address.to_string(), step.pairs("headers"));
        let opened = Wire::open(address, &host, &target, version, &headers).await;
        let (response, wire) = opened.map_err(|error| format!("no answer: {error}"))?;
        if let Some(wire) = wire {
            let name = step.text("socket")?.to_owned();
            self.sockets.insert(name, (gateway, wire));
        }
        match step.0.get("expect") {
            Some(expected) => check(expected, &response),
            None if response.status == 101 => Ok(()),
            None => Err(format!("expected status 101, got {}", tell(&response))),
        }
    }

    /// What begins with `/api` is asked of the api, all else of a gateway.
    async fn http(&mut self, step: &Step) -> Result<(), String> {
        let path = step.text("path")?;
        // A URL as the api's index tells it: the server is known.
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
            None => path,
        };
        let mut headers = step.pairs("headers");
        if let Some(token) = step.optional_text("bearer") {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        let body = match step.0.get("json") {
            Some(json) => {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                json.to_string()
            }
            None => step.optional_text("raw_body").unwrap_or("").to_owned(),
        };
        let headers: Vec<_> = headers.iter().map(|(a, b)| (&**a, &**b)).collect();
        let method = step.optional_text("method").unwrap_or("GET");
        let gateway;
        let client = if path.starts_with("/api") {
            self.fleet.http()
        } else {
            gateway = Http::to(self.fleet.gateway(0).address());
            &gateway
        };
        let answer = client.request(method, path, &headers, body.as_bytes());
        let answer = answer
            .await
            .map_err(|error| format!("no answer: {error}"))?;
        if let Some(expected) = step.0.get("expect") {
            check(expected, &answer)?;
        }
        if method != "GET" && answer.status == 200 {
            self.wrote = step.optional_text("bearer").map(str::to_owned);
        }
        if let Some(name) = step.optional_text("save") {
            let saved = Json::parse(&answer.text());
            let saved = saved.map_err(|_| format!("expected JSON, got {}", tell(&answer)))?;
            self.variables.set(name, saved);
        }
        Ok(())
    }

    async fn admin(&mut self, step: &Step) -> Result<(), String> {
        match step.text("action")? {
            "join_group" => {
                let role = step
                    .optional_text("role")
                    .unwrap_or("member")
                    .to_uppercase();
                let group = step.text("group")?;
                self.fleet.join(group, step.text("user")?, &role).await;
            }
            "leave_group" => {
                let group = step.text("group")?;
                self.fleet.leave(group, step.text("user")?).await;
            }
            "set_moderation_status" => {
                let token = format!("token.{}", step.text("by")?);
                let token = self.variables.get(&token)?.as_str().unwrap_or_default();
                let (id, status) = (step.text("annotation")?, step.text("status")?);
                self.fleet.moderate(token, id, status).await;
            }
            "drain_node" => {
                let socket = step.optional_text("socket");
                let socket = socket.and_then(|name| self.sockets.get(name));
                let first = self.sockets.values().next();
                let node = socket.or(first).map_or(0, |(gateway, _)| *gateway);
                self.fleet.gateway(node).signal("TERM");
                self.drained.push(node);
            }
            action => return Err(format!("nobody here knows the action {action}")),
        }
        Ok(())
    }
}
