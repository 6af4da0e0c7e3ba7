//! What can be done with messages and recipients.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, Object};
use broker::Timestamp;
use broker::message::MessageId;
use broker::messages::CheckIn;
use broker::quota::{self, Refused};
use broker::replicas::Unconfirmed;
use broker::token::RecipientToken;
use broker::topic::{Tenant, Topic};
use tracing::error;

use super::input::{
    Durability, GlobalMessageInput, MessageInput, Push, RegisterRecipientInput, Registration,
    check_name, message_id,
};
use super::scalar::Token;
use super::types::{
    GlobalMessage, Message, PushMessageResult, RegisterRecipientResponse, RevokeRecipientResponse,
};
use super::{api, tenant};
use crate::Api;
use crate::config::Limits;
use crate::failure::{Code, Failure};
use crate::metrics::Kind;

/// Most pushes in one `pushMessages`.
const MAX_PUSHES: usize = 100;

/// The mutations of recipient push.
#[derive(Default)]
pub(super) struct PushMutation;

#[Object]
impl PushMutation {
    /// Registers a recipient to which messages can be pushed, and returns where
    /// it connects. Registering again leaves earlier tokens valid.
    async fn register_recipient(
        &self,
        ctx: &Context<'_>,
        input: RegisterRecipientInput,
    ) -> Result<Option<RegisterRecipientResponse>, Failure> {
        let api = api(ctx);
        let Registration {
            recipient,
            label,
            origin,
            source,
        } = input.check("input")?;
        let topic = Topic::recipient(tenant(ctx), &recipient);
        let CheckIn { now, revoked_at } = api.messages.check_in(&topic).await?;
        // Later than any revocation: who is registered anew within the
        // millisecond of one is not to be revoked by it.
        let issued_at = match revoked_at {
            Some(at) => now.max(at + Duration::from_millis(1)),
            None => now,
        };
        let token = api.keyring.sign(&RecipientToken {
            tenant: tenant(ctx).clone(),
            recipient,
            label,
            origin,
            source,
            issued_at,
            expires_at: issued_at + api.limits.token_life,
            nonce: rand::random(),
        });
        Ok(Some(RegisterRecipientResponse {
            connection_uri: Some(api.public_url.with_token(&token)),
            token: Some(Token(token)),
        }))
    }

    /// Sends a message to some recipients: now to those that are connected, and
    /// until it expires to those that connect later. Answers for each name given,
    /// in that order; a name given twice gets one message.
    async fn push_message(
        &self,
        ctx: &Context<'_>,
        input: MessageInput,
    ) -> Result<Option<Vec<Option<PushMessageResult>>>, Failure> {
        let api = api(ctx);
        api.check_recipients("input.recipients", input.len())?;
        let limits = api.limits_of(tenant(ctx)).await?;
        let push = api.counted(input.check("input", &limits, Timestamp::now()))?;
        api.may_push(tenant(ctx), push.recipients.len()).await?;
        let mut pushed = vec![api.push(tenant(ctx), push).await];
        api.replicate(tenant(ctx), &mut pushed).await;
        Ok(pushed.pop().map(Outcomes::into_list))
    }

    /// Several pushes, at most 100, as one request. Answers with one list for
    /// each, in that order. If any argument is refused, nothing is pushed.
    async fn push_messages(
        &self,
        ctx: &Context<'_>,
        input: Vec<MessageInput>,
    ) -> Result<Option<Vec<Option<Vec<Option<PushMessageResult>>>>>, Failure> {
        let api = api(ctx);
        if input.len() > MAX_PUSHES {
            return Err(too_many("input", "pushes", input.len(), MAX_PUSHES));
        }
        let recipients = input.iter().map(MessageInput::len).sum();
        api.check_recipients("input", recipients)?;
        let now = Timestamp::now();
        let limits = api.limits_of(tenant(ctx)).await?;
        let checked = input
            .into_iter()
            .enumerate()
            .map(|(n, input)| input.check(&format!("input[{n}]"), &limits, now));
        let pushes = api.counted(checked.collect::<Result<Vec<_>, _>>())?;
        api.may_push(tenant(ctx), recipients).await?;
        let mut pushed = Vec::with_capacity(pushes.len());
        // One after the other: messages to one recipient keep the order given.
        for push in pushes {
            pushed.push(api.push(tenant(ctx), push).await);
        }
        api.replicate(tenant(ctx), &mut pushed).await;
        let lists = pushed.into_iter().map(Outcomes::into_list);
        Ok(Some(lists.map(Some).collect()))
    }

    /// Sends a message to all recipients: now to those that are connected, and
    /// until it expires to those that connect later.
    async fn push_global_message(
        &self,
        ctx: &Context<'_>,
        input: GlobalMessageInput,
    ) -> Result<Option<GlobalMessage>, Failure> {
        let api = api(ctx);
        let limits = api.limits_of(tenant(ctx)).await?;
        let push = api.counted(input.check("input", &limits, Timestamp::now()))?;
        api.may_push(tenant(ctx), 1).await?;
        let publishing = api.metrics.pushes.publishing(Kind::Global, push.durability);
        let key = push.idempotency_key.as_deref();
        let pushed = api
            .messages
            .push_global(tenant(ctx), &push.draft, key)
            .await?;
        publishing.done(1);
        if push.durability == Durability::Replicated {
            let waiting = api.metrics.pushes.replicating();
            let outcome = api.replicas.have_global(tenant(ctx), pushed.id).await;
            waiting.done(usize::from(outcome.is_err()));
            outcome.map_err(unconfirmed)?;
        }
        Ok(Some(GlobalMessage(pushed)))
    }

    /// Cancels a message that is still pending, and returns it. One that was
    /// delivered or cancelled before is returned as it is.
    async fn cancel_message(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Message>, Failure> {
        let id = message_id("id", &id)?;
        match api(ctx).messages.cancel(tenant(ctx), id).await? {
            Some(message) => Ok(Some(Message(message))),
            None => Err(unknown(id)),
        }
    }

    /// Ends a global message: those who have not got it will not. Returns it.
    async fn cancel_global_message(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Result<Option<GlobalMessage>, Failure> {
        let id = message_id("id", &id)?;
        match api(ctx).messages.cancel_global(tenant(ctx), id).await? {
            Some(message) => Ok(Some(GlobalMessage(message))),
            None => Err(unknown(id)),
        }
    }

    /// Closes a recipient's connections, ends the tokens it has, and cancels what
    /// waits for it. It can be registered anew.
    async fn revoke_recipient(
        &self,
        ctx: &Context<'_>,
        recipient: String,
    ) -> Result<Option<RevokeRecipientResponse>, Failure> {
        check_name("recipient", &recipient)?;
        let topic = Topic::recipient(tenant(ctx), &recipient);
        let revoked = api(ctx).messages.revoke(&topic).await?;
        Ok(Some(RevokeRecipientResponse {
            recipient: Some(recipient),
            revoked_at: Some(revoked.at.into()),
            cancelled: Some(revoked.cancelled),
        }))
    }
}

impl Api {
    /// What requests for this tenant may ask for.
    async fn limits_of(&self, tenant: &Tenant) -> Result<Limits, Failure> {
        let quota = self.quotas.of(tenant).await.map_err(Refused::Unavailable)?;
        Ok(Limits {
            payload: quota.limit(quota::Kind::Payload),
            ..self.limits.clone()
        })
    }

    /// Counts so many messages that the tenant is about to push, if it may.
    async fn may_push(&self, tenant: &Tenant, messages: usize) -> Result<(), Failure> {
        let allowed = self.quotas.push(tenant, messages).await;
        self.counted(allowed.map_err(Failure::from))
    }

    /// The same, counted if it failed for a quota.
    fn counted<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure {
            quota: Some(exceeded),
            ..
        }) = &outcome
        {
            self.metrics.pushes.over_quota(exceeded.kind);
        }
        outcome
    }

    fn check_recipients(&self, at: &str, named: usize) -> Result<(), Failure> {
        let limit = self.limits.recipients;
        if named > limit {
            Err(too_many(at, "recipients", named, limit))
        } else {
            Ok(())
        }
    }

    /// Pushes to the names that are recipients', and answers for all of them.
    async fn push(&self, tenant: &Tenant, push: Push) -> Outcomes {
        let Push {
            recipients,
            draft,
            idempotency_key,
            durability,
        } = push;
        let names: Vec<Arc<str>> = recipients.iter().flatten().cloned().collect();
        let publishing = self.metrics.pushes.publishing(Kind::Recipient, durability);
        let key = idempotency_key.as_deref();
        let pushed = self.messages.push(tenant, &names, &draft, key).await;
        let mut stored: Vec<_> = pushed.iter().flatten().map(|message| message.id).collect();
        stored.sort_unstable();
        stored.dedup();
        publishing.done(stored.len());
        if let Some(reason) = pushed.iter().find_map(|outcome| outcome.as_ref().err()) {
            let failed = pushed.iter().filter(|outcome| outcome.is_err()).count();
            error!(error = %reason, failed, "a push failed for {failed} recipients");
        }
        let mut pushed = pushed.into_iter();
        let answers = recipients.into_iter().map(|name| {
            let outcome = name.and_then(|_| {
                let outcome = pushed.next().expect("the broker answers for every name");
                outcome.map_err(|reason| Failure::unlogged(&reason))
            });
            outcome.into()
        });
        Outcomes {
            durability,
            each: answers.collect(),
        }
    }

    /// Waits until replicas have what was to be replicated of all these pushes.
    /// What none is known to have gets an error, and stays what it is.
    async fn replicate(&self, tenant: &Tenant, pushed: &mut [Outcomes]) {
        let wanted = pushed
            .iter_mut()
            .filter(|push| push.durability == Durability::Replicated);
        let results = wanted.flat_map(|push| &mut push.each);
        let mut stored: Vec<(MessageId, &mut PushMessageResult)> = results
            .filter_map(|result| Some((result.item.as_ref()?.0.id, result)))
            .collect();
        if stored.is_empty() {
            return;
        }
        let ids: Vec<MessageId> = stored.iter().map(|(id, _)| *id).collect();
        let waiting = self.metrics.pushes.replicating();
        let outcomes = self.replicas.have(tenant, &ids).await;
        waiting.done(outcomes.iter().filter(|outcome| outcome.is_err()).count());
        for ((_, result), outcome) in stored.iter_mut().zip(outcomes) {
            if let Err(why) = outcome {
                if why == Unconfirmed::Lost {
                    result.item = None;
                }
                result.error = Some(unconfirmed(why).into());
            }
        }
    }
}

/// What became of one push.
struct Outcomes {
    durability: Durability,
    each: Vec<PushMessageResult>,
}

impl Outcomes {
    fn into_list(self) -> Vec<Option<PushMessageResult>> {
        self.each.into_iter().map(Some).collect()
    }
}

fn unconfirmed(why: Unconfirmed) -> Failure {
    let advice = "repeat the push with the same idempotencyKey";
    Failure::new(Code::Unavailable, format!("{why}; {advice}"))
}

fn too_many(at: &str, what: &str, given: usize, limit: usize) -> Failure {
    Failure::new(
        Code::Limited,
        format!("{at}: has {given} {what}; at most {limit} are allowed in one call"),
    )
}

fn unknown(id: MessageId) -> Failure {
    Failure::new(Code::NotFound, format!("id: there is no message {id}"))
}
