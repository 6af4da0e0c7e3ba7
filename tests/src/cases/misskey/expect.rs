//! What a case expects once its steps are done.

use std::time::Duration;

use redis::cmd;
use tokio::time::{Instant, sleep};

use super::HEARTBEAT;
use super::ear::Ear;
use super::stage::{Stage, text};
use crate::cases::compare::{Match, difference};
use crate::cases::json::Json;
use crate::until::PATIENCE;

/// What must not come has not come after this, where a case does not say.
const QUIET: Duration = Duration::from_millis(700);
/// A mute socket is cut within so many heartbeats.
const CUT_AFTER: u32 = 4;

impl Stage<'_> {
    /// Whether what is expected is so; the steps were done at `done`.
    ///
    /// # Errors
    /// What was expected and what came, in words.
    pub(super) async fn expect(&mut self, expected: &Json, done: Instant) -> Result<(), String> {
        let name = expected.get("on").and_then(Json::as_str);
        let name = name.unwrap_or(self.viewer()).to_owned();
        let inner = expected.get("expect").unwrap_or(expected);
        if let Json::Array(several) = inner {
            for inner in several {
                self.one(&name, inner, expected, done).await?;
            }
            return Ok(());
        }
        self.one(&name, inner, expected, done).await
    }

    /// One expectation on the socket of `name`; how it is meant may stand around it.
    async fn one(
        &mut self,
        name: &str,
        expected: &Json,
        around: &Json,
        done: Instant,
    ) -> Result<(), String> {
        let Json::Object(members) = expected else {
            return Err("what is expected is no object".to_owned());
        };
        let modifier = |name: &str| expected.get(name).or_else(|| around.get(name));
        let how = match modifier("match").and_then(Json::as_str) {
            Some("exact") => Match::Exact,
            _ => Match::Subset,
        };
        let within = modifier("within_ms").and_then(Json::as_u64);
        let within = within.map(Duration::from_millis);
        let what = members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "match" | "within_ms" | "path"));
        for (kind, wanted) in what {
            match kind.as_str() {
                "http_status" | "header" => self.answered(kind, wanted)?,
                "key_absent" => {
                    let deadline = done + within.unwrap_or(PATIENCE);
                    self.key_absent(wanted, deadline).await?;
                }
                kind => {
                    let ear = self.ear(name)?;
                    heard(ear, kind, wanted, (how, within, modifier("path")), done).await?;
                }
            }
        }
        Ok(())
    }

    fn answered(&self, kind: &str, wanted: &Json) -> Result<(), String> {
        let answer = self.answer.as_ref().ok_or("nothing was asked")?;
        let got = match kind {
            "http_status" => Json::from(u64::from(answer.status)),
            _ => {
                let headers = answer.headers.iter();
                let headers =
                    headers.map(|(name, value)| (name.clone(), Json::from(value.as_str())));
                Json::Object(headers.collect())
            }
        };
        difference(wanted, &got, Match::Subset)
            .map_or(Ok(()), |place| Err(format!("{kind}: {place}")))
    }

    async fn key_absent(&self, wanted: &Json, deadline: Instant) -> Result<(), String> {
        let key = self.key(&text(wanted.get("key").unwrap_or(wanted)));
        let mut exists = cmd("EXISTS");
        exists.arg(&key);
        loop {
            let there = self.redis.query::<u64>(&exists).await;
            if there.map_err(|error| error.to_string())? == 0 {
                return Ok(());
            }
            if deadline < Instant::now() {
                return Err(format!("{key} is still there"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Holds what is heard on a socket against one expectation.
async fn heard(
    ear: &mut Ear,
    kind: &str,
    wanted: &Json,
    (how, within, path): (Match, Option<Duration>, Option<&Json>),
    done: Instant,
) -> Result<(), String> {
    let fits = |frame: &Json| difference(wanted, frame, how).is_none();
    match kind {
        "frame" => {
            let deadline = done + within.unwrap_or(PATIENCE);
            let came = ear
                .listen(deadline, |ear| ear.frames.iter().any(fits))
                .await;
            came.then_some(()).ok_or_else(|| nearest(ear, wanted, how))
        }
        "no_frame" => {
            let deadline = done + within.unwrap_or(QUIET);
            let came = ear
                .listen(deadline, |ear| ear.frames.iter().any(fits))
                .await;
            (!came).then_some(()).ok_or_else(|| "it came".to_owned())
        }
        "only_frames" => {
            let Json::Array(wanted) = wanted else {
                return Err("only_frames is no array".to_owned());
            };
            ear.listen(done + PATIENCE, |ear| wanted.len() <= ear.frames.len())
                .await;
            let quiet = within.unwrap_or(QUIET);
            ear.listen(Instant::now().max(done) + quiet, |_| false)
                .await;
            let mut left: Vec<&Json> = ear.frames.iter().collect();
            for frame in wanted {
                let found = left
                    .iter()
                    .position(|left| difference(frame, left, how).is_none());
                left.remove(found.ok_or_else(|| nearest(ear, frame, how))?);
            }
            let more = left.first();
            more.map_or(Ok(()), |frame| Err(format!("this came as well: {frame}")))
        }
        "count_frames" => {
            let times = wanted
                .get("n")
                .and_then(Json::as_u64)
                .ok_or("n is no number")?;
            let kind = wanted.get("type");
            let count = |ear: &Ear| {
                let found = ear.frames.iter().filter(|frame| frame.get("type") == kind);
                found.count() as u64
            };
            ear.listen(done + PATIENCE, |ear| times <= count(ear)).await;
            let quiet = within.unwrap_or(QUIET);
            ear.listen(Instant::now().max(done) + quiet, |_| false)
                .await;
            let got = count(ear);
            (got == times)
                .then_some(())
                .ok_or_else(|| format!("{got} of them came"))
        }
        "frames_in_order" => {
            let Json::Array(ids) = wanted else {
                return Err("frames_in_order is no array".to_owned());
            };
            let deadline = done + within.unwrap_or(PATIENCE);
            ear.listen(deadline, |ear| ids.len() <= notes(ear).len())
                .await;
            let got = Json::Array(notes(ear));
            difference(wanted, &got, Match::Exact).map_or(Ok(()), Err)
        }
        "frame_without" => {
            let path = wanted.get("path").or(path);
            let path = path.ok_or("frame_without names no path")?.clone();
            let mut like = wanted.clone();
            if let Json::Object(members) = &mut like {
                members.remove("path");
            }
            let has = |frame: &Json| at(frame, &path).is_some_and(|value| value != Json::Null);
            let fits = |frame: &Json| difference(&like, frame, Match::Subset).is_none();
            let came = ear
                .listen(done + PATIENCE, |ear| ear.frames.iter().any(fits))
                .await;
            if !came {
                return Err(nearest(ear, &like, Match::Subset));
            }
            let mut like = ear.frames.iter().filter(|frame| fits(frame));
            let without = like.any(|frame| !has(frame));
            without
                .then_some(())
                .ok_or_else(|| "it has something there".to_owned())
        }
        "open" => {
            ear.settle().await;
            ear.catch_up().await;
            let open = ear.closed.is_none() == (*wanted == Json::Bool(true));
            open.then_some(())
                .ok_or_else(|| "the server has closed it".to_owned())
        }
        "ws_ping_received" => {
            let deadline = done + within.unwrap_or_default().max(HEARTBEAT * 2);
            let came = ear.listen(deadline, |ear| ear.pinged).await;
            came.then_some(()).ok_or_else(|| "none came".to_owned())
        }
        "closed_by_server_within_ms" => {
            let latest = wanted.get("1").and_then(Json::as_u64);
            let latest = Duration::from_millis(latest.ok_or("there is no upper bound")?);
            let deadline = done + latest.min(HEARTBEAT * CUT_AFTER);
            let closed = ear.listen(deadline, |ear| ear.closed.is_some()).await;
            closed
                .then_some(())
                .ok_or_else(|| "it is still open".to_owned())
        }
        kind => Err(format!("nobody here knows the expectation {kind}")),
    }
}

/// The ids of the notes that came on channels, in order.
fn notes(ear: &Ear) -> Vec<Json> {
    let bodies = ear.frames.iter().filter_map(|frame| {
        let body = frame.get("body")?;
        (body.get("type")?.as_str() == Some("note"))
            .then(|| body.get("body")?.get("id").cloned())?
    });
    bodies.collect()
}

/// What is at a path: members with dots or slashes between, or an array of them.
fn at(frame: &Json, path: &Json) -> Option<Json> {
    let steps: Vec<String> = match path {
        Json::Array(steps) => steps.iter().map(text).collect(),
        path => {
            let path = text(path);
            let steps = path.split(['.', '/']).filter(|step| !step.is_empty());
            steps.map(str::to_owned).collect()
        }
    };
    let mut place = frame;
    for step in steps {
        place = place.get(&step)?;
    }
    Some(place.clone())
}

/// How the frame that comes nearest is different: one of the same type.
fn nearest(ear: &Ear, wanted: &Json, how: Match) -> String {
    let mut alike = ear
        .frames
        .iter()
        .filter(|frame| frame.get("type") == wanted.get("type"));
    let place = alike
        .next_back()
        .and_then(|frame| difference(wanted, frame, how));
    place.unwrap_or_else(|| "nothing like it came".to_owned())
}
