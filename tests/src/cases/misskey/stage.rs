//! Where one case plays: its sockets, and what its steps do.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::topology::Redis;
use futures_util::future::join_all;
use redis::cmd;
use tokio::time::{Instant, timeout};

use super::ear::Ear;
use super::fixtures::Fixtures;
use super::{Case, HEARTBEAT, Place};
use crate::cases::json::Json;
use crate::cases::wire::Wire;
use crate::fleet::Fleet;
use crate::http::{Http, Response};
use crate::until::PATIENCE;

/// Waits that are shorter are there so that the server has acted on what was
/// sent. We know when it has.
const SETTLING: Duration = Duration::from_secs(1);

/// A case being played.
pub(super) struct Stage<'a> {
    fleet: &'a Fleet,
    pub(super) redis: Redis,
    fixtures: &'a Fixtures,
    place: &'a Place,
    viewers: Vec<&'a str>,
    /// By the name of who opened it.
    pub(super) ears: BTreeMap<String, Ear>,
    /// The answer to the last upgrade or request.
    pub(super) answer: Option<Response>,
    opened: usize,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        fixtures: &'a Fixtures,
        case: &'a Case,
        place: &'a Place,
    ) -> Self {
        Self {
            fleet,
            redis: fleet.commands(),
            fixtures,
            place,
            viewers: case.viewers().collect(),
            ears: BTreeMap::new(),
            answer: None,
            opened: 0,
        }
    }

    /// Plays the case.
    ///
    /// # Errors
    /// The number of the step or expectation that fails, and why, in words.
    pub(super) async fn play(&mut self, case: &Case) -> Result<(), (usize, String)> {
        self.set_up(case).await.map_err(|why| (0, why))?;
        for (n, step) in case.steps.iter().enumerate() {
            let step = self.filled(step, None).map_err(|why| (n, why))?;
            Box::pin(self.step(&step)).await.map_err(|why| (n, why))?;
        }
        let done = Instant::now();
        for (n, expected) in case.expect.iter().enumerate() {
            let n = case.steps.len() + n;
            let expected = self.filled(expected, None).map_err(|why| (n, why))?;
            let met = self.expect(&expected, done).await;
            met.map_err(|why| (n, why))?;
        }
        let mut broken = self.ears.values().filter_map(|ear| ear.broken.as_ref());
        let last = (case.steps.len() + case.expect.len()).saturating_sub(1);
        broken.next().map_or(Ok(()), |how| Err((last, how.clone())))
    }

    /// Everything that was seen on its sockets, for a person to read.
    pub(super) fn seen(&self) -> Vec<String> {
        let frames = self.ears.values().flat_map(|ear| &ear.frames);
        frames.map(ToString::to_string).collect()
    }

    /// Fills the keys and opens the sockets that the case does not open itself.
    async fn set_up(&mut self, case: &Case) -> Result<(), String> {
        for (key, value) in self.fixtures.keys() {
            self.set(key, value).await?;
        }
        let opens = |name: &str| case.steps.iter().any(|step| step.get(name).is_some());
        if opens("ws_open") || case.viewer == "none" {
            return Ok(());
        }
        let mut expected = case.expect.iter();
        let minds_status = expected.any(|expected| expected.get("http_status").is_some());
        for name in self.viewers.clone() {
            let token = self.fixtures.token(name)?;
            let query = token.map(|token| {
                let mut encoded = url::form_urlencoded::Serializer::new(String::new());
                format!("?{}", encoded.append_pair("i", token).finish())
            });
            let target = format!("/streaming{}", query.unwrap_or_default());
            self.open(name, &target, &[]).await?;
            let refused = self.answer.as_ref().filter(|answer| answer.status != 101);
            if let (Some(answer), false) = (refused, minds_status) {
                return Err(format!("{name} was refused with {}", answer.status));
            }
        }
        Ok(())
    }

    /// Sockets go to the gateways in turn.
    async fn open(
        &mut self,
        name: &str,
        target: &str,
        headers: &[(String, String)],
    ) -> Result<(), String> {
        let gateway = self.opened % self.fleet.gateways().len();
        self.opened += 1;
        let address = self.fleet.gateway(gateway).address();
        let opened = Wire::open(address, &self.place.host, target, "13", headers).await;
        let (answer, wire) = opened.map_err(|error| format!("no answer: {error}"))?;
        self.answer = Some(answer);
        if let Some(wire) = wire {
            self.ears.insert(name.to_owned(), Ear::new(wire));
        }
        Ok(())
    }

    async fn step(&mut self, step: &Json) -> Result<(), String> {
        let (Some(name), Some(what)) = (step.get("on").and_then(Json::as_str), step.get("do"))
        else {
            return self.one_step(self.viewer(), step).await;
        };
        match what {
            Json::Array(steps) => {
                for step in steps {
                    self.one_step(name, step).await?;
                }
                Ok(())
            }
            step => self.one_step(name, step).await,
        }
    }

    /// A step whose socket, if it has one, is that of `name`.
    async fn one_step(&mut self, name: &str, step: &Json) -> Result<(), String> {
        let Json::Object(members) = step else {
            return Err("the step is no object".to_owned());
        };
        let one = members.first_key_value().filter(|_| members.len() == 1);
        let (op, what) = one.ok_or("the step has not one member")?;
        match op.as_str() {
            "send" => self.ear(name)?.say(&what.to_string()).await,
            "send_raw" => self.ear(name)?.say(&text(what)).await,
            "send_binary_utf8" => self.ear(name)?.say_binary(&text(what)).await,
            "ignore_ws_pings" => self.ear(name)?.ignore_pings(),
            "repeat" => return Box::pin(self.repeat(name, what)).await,
            "ws_open" => {
                let path = what.get("path").and_then(Json::as_str);
                let headers = match what.get("headers") {
                    Some(Json::Object(headers)) => headers.clone(),
                    _ => BTreeMap::new(),
                };
                let headers = headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)));
                let headers: Vec<_> = headers.collect();
                self.open(name, path.unwrap_or("/streaming"), &headers)
                    .await?;
            }
            "http_get" => {
                let path = what.get("path").unwrap_or(what);
                self.answer = Some(self.get(&text(path)).await?);
            }
            _ => {
                // What happens elsewhere happens after what was said here.
                join_all(self.ears.values_mut().map(Ear::settle)).await;
                self.elsewhere(op, what).await?;
            }
        }
        Ok(())
    }

    /// What is done to the host's Redis, and waiting.
    async fn elsewhere(&mut self, op: &str, what: &Json) -> Result<(), String> {
        match op {
            "publish" => {
                let frame = frame(what);
                self.fleet.publish(&self.place.host, &frame).await;
            }
            "publish_raw" => {
                self.fleet.publish(&self.place.host, &text(what)).await;
            }
            "set_key" => {
                let key = what.get("key").map(text).ok_or("the step has no key")?;
                let value = what.get("value").map(text).ok_or("the step has no value")?;
                self.set(&key, &value).await?;
            }
            "set_stream" => {
                let key = what.get("key").map(text).ok_or("the step has no key")?;
                let id = what.get("id").map(text).ok_or("the step has no id")?;
                let data = what.get("data").map(text).unwrap_or_default();
                let mut add = cmd("XADD");
                add.arg(self.key(&key)).arg(id).arg("data").arg(data);
                let added = self.redis.query::<String>(&add).await;
                added.map_err(|error| error.to_string())?;
            }
            "wait_ms" => {
                let wait = Duration::from_millis(what.as_u64().ok_or("the wait is no number")?);
                // Sockets that do not answer pings are waited for by what is expected of them.
                if (SETTLING..HEARTBEAT * 10).contains(&wait) {
                    let deadline = Instant::now() + wait;
                    let waits = self.ears.values_mut();
                    join_all(waits.map(|ear| ear.listen(deadline, |_| false))).await;
                }
            }
            op => return Err(format!("nobody here knows the step {op}")),
        }
        Ok(())
    }

    async fn repeat(&mut self, name: &str, what: &Json) -> Result<(), String> {
        let times = what.get("n").and_then(Json::as_u64);
        let times = times.ok_or("the step does not say how often")?;
        let Json::Object(mut step) = what.clone() else {
            return Err("nothing is repeated".to_owned());
        };
        step.remove("n");
        let step = Json::Object(step);
        for i in 0..times {
            let step = self.filled(&step, Some(i))?;
            self.one_step(name, &step).await?;
        }
        Ok(())
    }

    /// A request without an upgrade.
    async fn get(&self, path: &str) -> Result<Response, String> {
        let gateway = Http::to(self.fleet.gateway(0).address());
        let asked = gateway.get_as(&self.place.host, path);
        let answer = timeout(PATIENCE, asked).await;
        let answer = answer.map_err(|_| "no answer comes".to_owned())?;
        answer.map_err(|error| format!("no answer: {error}"))
    }

    async fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let mut set = cmd("SET");
        set.arg(self.key(key)).arg(value);
        let set = self.redis.query::<String>(&set).await;
        set.map(drop).map_err(|error| error.to_string())
    }

    /// A key of the host.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.place.host)
    }

    /// The socket of whom this is expected or done.
    pub(super) fn ear(&mut self, name: &str) -> Result<&mut Ear, String> {
        let ear = self.ears.get_mut(name);
        ear.ok_or_else(|| format!("{name} has no socket"))
    }

    /// Who is meant where nobody is named.
    pub(super) fn viewer(&self) -> &'a str {
        self.viewers.first().copied().unwrap_or_default()
    }

    /// A step or expectation with what stands between double braces replaced.
    fn filled(&self, step: &Json, number: Option<u64>) -> Result<Json, String> {
        step.map_texts(&mut |text| {
            let mut filled = String::new();
            let mut rest = text;
            while let Some((before, after)) = rest.split_once("{{") {
                let Some((name, after)) = after.split_once("}}") else {
                    break;
                };
                filled.push_str(before);
                match (name, number, name.strip_prefix("tok.")) {
                    ("i", Some(number), _) => filled.push_str(&number.to_string()),
                    // Filled when it is repeated.
                    ("i", None, _) => filled.push_str("{{i}}"),
                    ("uid", ..) => filled.push_str(self.fixtures.user(self.viewer())),
                    (_, _, Some(name)) => {
                        filled.push_str(self.fixtures.token(name)?.unwrap_or_default());
                    }
                    _ => return Err(format!("{{{{{name}}}}} stands for nothing")),
                }
                rest = after;
            }
            filled.push_str(rest);
            Ok(Json::Text(filled))
        })
    }
}

/// A message of the bus as a Misskey writes it: the stream first, and of the
/// message its type first.
fn frame(what: &Json) -> String {
    let member = |name: &str| what.get(name).cloned().unwrap_or(Json::Null);
    let (stream, message) = (member("channel"), member("message"));
    let message = match (&message, message.get("type")) {
        (Json::Object(members), Some(kind)) if stream.as_str() != Some("notesStream") => {
            let others = members.iter().filter(|(name, _)| *name != "type");
            let others = others.map(|(name, value)| format!(",{}:{value}", Json::from(&**name)));
            format!(r#"{{"type":{kind}{}}}"#, others.collect::<String>())
        }
        _ => message.to_string(),
    };
    format!(r#"{{"channel":{stream},"message":{message}}}"#)
}

/// A string itself, and the JSON of what is none.
pub(super) fn text(value: &Json) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}
