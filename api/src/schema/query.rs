//! What can be asked about messages and recipients.

use async_graphql::{Context, ID, Object};
use broker::message::MessageId;
use broker::messages::Listed;
use broker::topic::Topic;

use super::input::{GlobalMessagesFilterInput, MessagesFilterInput, check_name, message_id, page};
use super::types::{
    GlobalMessage, GlobalMessagesQueryResult, Message, MessagesQueryResult, RecipientStatus,
};
use super::{api, tenant};
use crate::cursor::Listing;
use crate::failure::Failure;

/// The queries of recipient push.
#[derive(Default)]
pub(super) struct PushQuery;

#[Object]
impl PushQuery {
    /// Returns the API version.
    async fn version(&self) -> Option<&'static str> {
        Some(env!("CARGO_PKG_VERSION"))
    }

    /// Lists messages pushed to recipients, newest first, the recipients' copies
    /// of global messages among them.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages; all without it.")] filter: Option<MessagesFilterInput>,
        #[graphql(desc = "From the previous page, to get the next one.")] next_token: Option<
            String,
        >,
        #[graphql(desc = "Most items on the page, 1 to 100; 50 without it.")] limit: Option<i32>,
    ) -> Result<Option<MessagesQueryResult>, Failure> {
        let (api, tenant) = (api(ctx), tenant(ctx));
        let (filter, limit) = (filter.unwrap_or_default().check()?, page(limit)?);
        let listing = Listing::messages(tenant, &filter);
        let after = api.place(&listing, next_token)?;
        let Listed { items, next } = api.messages.list(tenant, &filter, after, limit).await?;
        Ok(Some(MessagesQueryResult {
            items: Some(items.into_iter().map(|item| Some(Message(item))).collect()),
            next_token: next.map(|last| listing.token(&api.keyring, last)),
        }))
    }

    /// Lists messages pushed to all recipients, newest first.
    async fn global_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages; all without it.")] filter: Option<
            GlobalMessagesFilterInput,
        >,
        #[graphql(desc = "From the previous page, to get the next one.")] next_token: Option<
            String,
        >,
        #[graphql(desc = "Most items on the page, 1 to 100; 50 without it.")] limit: Option<i32>,
    ) -> Result<Option<GlobalMessagesQueryResult>, Failure> {
        let (api, tenant) = (api(ctx), tenant(ctx));
        let (filter, limit) = (filter.unwrap_or_default().check()?, page(limit)?);
        let listing = Listing::globals(tenant, &filter);
        let after = api.place(&listing, next_token)?;
        let listed = api.messages.list_globals(tenant, &filter, after, limit);
        let Listed { items, next } = listed.await?;
        let items = items.into_iter().map(|item| Some(GlobalMessage(item)));
        Ok(Some(GlobalMessagesQueryResult {
            items: Some(items.collect()),
            next_token: next.map(|last| listing.token(&api.keyring, last)),
        }))
    }

    /// One message pushed to a recipient; null if there is none of this id.
    async fn message(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Message>, Failure> {
        let id = message_id("id", &id)?;
        let found = api(ctx).messages.message(tenant(ctx), id).await?;
        Ok(found.map(Message))
    }

    /// Whether a recipient is connected, and how much waits for it. Asks all
    /// gateways and answers within about 300 milliseconds.
    async fn recipient_status(
        &self,
        ctx: &Context<'_>,
        recipient: String,
    ) -> Result<Option<RecipientStatus>, Failure> {
        let api = api(ctx);
        check_name("recipient", &recipient)?;
        let topic = Topic::recipient(tenant(ctx), &recipient);
        let (pending, answers) =
            tokio::join!(api.messages.pending_count(&topic), api.census.ask(&topic));
        let answers = answers?;
        Ok(Some(RecipientStatus {
            recipient: Some(recipient),
            connections: Some(answers.sockets),
            connected_since: answers.since.map(Into::into),
            pending: Some(pending?),
            gateways_answered: Some(answers.answered),
            gateways_known: Some(answers.known),
        }))
    }
}

impl crate::Api {
    /// After which message the page begins that `next_token` stands for.
    fn place(
        &self,
        listing: &Listing,
        next_token: Option<String>,
    ) -> Result<Option<MessageId>, Failure> {
        next_token
            .map(|token| listing.read(&self.keyring, &token))
            .transpose()
    }
}
