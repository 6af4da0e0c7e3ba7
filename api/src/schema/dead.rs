//! Dead letters: what producers added to the tenant's stream in Redis and could
//! not be published or pushed.

use async_graphql::{Context, ID, Object, SimpleObject};
use broker::annotation::ingest::{self, Replayed};
use broker::event::EntryId;

use super::input::page;
use super::scalar::DateTime;
use super::{api, tenant};
use crate::cursor::Listing;
use crate::failure::{Code, Failure};

/// Most letters of one call.
const MAX_LETTERS: usize = 100;

/// The queries about dead letters.
#[derive(Default)]
pub(super) struct DeadQuery;

/// The mutations of dead letters.
#[derive(Default)]
pub(super) struct DeadMutation;

/// Something that a producer added to the tenant's stream in Redis and that could
/// not be published or pushed.
pub(super) struct DeadLetter(ingest::DeadLetter);

/// A page of dead letters, newest first.
#[derive(SimpleObject)]
pub(super) struct DeadLettersQueryResult {
    /// The letters. A page may hold fewer than asked for if they are long.
    items: Option<Vec<Option<DeadLetter>>>,
    /// Fetches the next page. Null after the last page.
    next_token: Option<String>,
}

/// What became of one dead letter of a call.
#[derive(SimpleObject)]
pub(super) struct DeadLetterResult {
    /// Which letter.
    id: Option<ID>,
    /// Why nothing was done with it; null if it was done.
    error: Option<DeadLetterError>,
}

/// Why nothing was done with a dead letter.
#[derive(SimpleObject)]
pub(super) struct DeadLetterError {
    /// A sentence for people.
    message: Option<String>,
    /// The kind, as `extensions.code` has it in errors of whole calls.
    code: Option<&'static str>,
}

/// Something that a producer added to the tenant's stream in Redis and that could
/// not be published or pushed.
#[Object]
impl DeadLetter {
    /// The unique identifier of the letter.
    async fn id(&self) -> Option<ID> {
        Some(self.0.id.to_string().into())
    }

    /// The kind of what is wrong: json, invalid, size, entry or deliveries.
    async fn why(&self) -> Option<&str> {
        Some(&self.0.why)
    }

    /// The place that is wrong, and what was expected there.
    async fn error(&self) -> Option<&str> {
        Some(&self.0.error)
    }

    /// When it was given up.
    async fn given_up_at(&self) -> Option<DateTime> {
        Some(self.0.given_up_at().into())
    }

    /// The id of its entry in the stream, as the producer was told.
    async fn entry(&self) -> Option<&str> {
        Some(&self.0.entry)
    }

    /// The entry's field `type`.
    #[graphql(name = "type")]
    async fn kind(&self) -> Option<&str> {
        self.0.kind.as_deref()
    }

    /// The entry's field `topic`.
    async fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The entry's field `data`. What is no UTF-8 is replaced.
    async fn data(&self) -> Option<&str> {
        Some(&self.0.data)
    }

    /// Whether the entry was too long to be kept whole; then it cannot be replayed.
    async fn cut(&self) -> Option<bool> {
        Some(self.0.cut)
    }
}

#[Object]
impl DeadQuery {
    /// Lists what could not be published or pushed of what producers added to the
    /// tenant's stream in Redis, newest first.
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "From the previous page, to get the next one.")] next_token: Option<
            String,
        >,
        #[graphql(desc = "Most items on the page, 1 to 100; 50 without it.")] limit: Option<i32>,
    ) -> Result<Option<DeadLettersQueryResult>, Failure> {
        let (api, tenant, limit) = (api(ctx), tenant(ctx), page(limit)?);
        let listing = Listing::dead_letters(tenant);
        let before = next_token.map(|token| listing.read_entry(&api.keyring, &token));
        let listed = api.dead_letters.list(tenant, before.transpose()?, limit);
        let (letters, more) = listed.await?;
        let last = letters.last().filter(|_| more).map(|letter| letter.id);
        Ok(Some(DeadLettersQueryResult {
            next_token: last.map(|last| listing.token_of_entry(&api.keyring, last)),
            items: Some(letters.into_iter().map(|it| Some(DeadLetter(it))).collect()),
        }))
    }

    /// One dead letter; null if there is none of this id.
    async fn dead_letter(&self, ctx: &Context<'_>, id: ID) -> Result<Option<DeadLetter>, Failure> {
        let id = letter_id("id", &id)?;
        let found = api(ctx).dead_letters.letter(tenant(ctx), id).await?;
        Ok(found.map(DeadLetter))
    }
}

#[Object]
impl DeadMutation {
    /// Puts dead letters, at most 100, back into the stream, in the order given.
    /// What had come of an entry before it was given up does not come again. Answers
    /// for each id.
    async fn replay_dead_letters(
        &self,
        ctx: &Context<'_>,
        ids: Vec<ID>,
    ) -> Result<Option<Vec<Option<DeadLetterResult>>>, Failure> {
        let letters = letter_ids(&ids)?;
        let outcomes = api(ctx).dead_letters.replay(tenant(ctx), &letters).await?;
        let results = ids.into_iter().zip(outcomes).map(|(id, outcome)| {
            let error = match outcome {
                Replayed::Done => None,
                Replayed::Unknown => Some(unknown()),
                Replayed::Cut => Some(DeadLetterError {
                    message: Some("it was cut and can only be discarded".to_owned()),
                    code: Some(Code::BadUserInput.as_str()),
                }),
            };
            Some(DeadLetterResult {
                id: Some(id),
                error,
            })
        });
        Ok(Some(results.collect()))
    }

    /// Throws dead letters away, at most 100. Answers for each id.
    async fn discard_dead_letters(
        &self,
        ctx: &Context<'_>,
        ids: Vec<ID>,
    ) -> Result<Option<Vec<Option<DeadLetterResult>>>, Failure> {
        let letters = letter_ids(&ids)?;
        let outcomes = api(ctx).dead_letters.discard(tenant(ctx), &letters).await?;
        let results = ids.into_iter().zip(outcomes).map(|(id, done)| {
            let error = (!done).then(unknown);
            Some(DeadLetterResult {
                id: Some(id),
                error,
            })
        });
        Ok(Some(results.collect()))
    }
}

fn unknown() -> DeadLetterError {
    DeadLetterError {
        message: Some("there is no such dead letter, or no longer".to_owned()),
        code: Some(Code::NotFound.as_str()),
    }
}

fn letter_ids(ids: &[ID]) -> Result<Vec<EntryId>, Failure> {
    if MAX_LETTERS < ids.len() {
        return Err(Failure::new(
            Code::Limited,
            format!(
                "ids: has {} ids; at most {MAX_LETTERS} are allowed in one call",
                ids.len()
            ),
        ));
    }
    let each = ids.iter().enumerate();
    each.map(|(n, id)| letter_id(&format!("ids[{n}]"), id))
        .collect()
}

/// The letter that `id` names, in an argument called `at`.
fn letter_id(at: &str, id: &ID) -> Result<EntryId, Failure> {
    EntryId::parse(id).ok_or_else(|| Failure::bad(at, "not the id of a dead letter"))
}
