//! Where the next page of a list begins, in a form only we can write.
//!
//! A token is bound to the list, the tenant and the filter it was given for: it
//! carries a code of authentication over all of them, so with any other it is
//! as good as made up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::event::EntryId;
use broker::message::MessageId;
use broker::messages::{GlobalFilter, MessagesFilter, Span};
use broker::token::Keyring;
use broker::topic::Tenant;

use crate::failure::Failure;

/// Separates these codes from others made with the same keys.
const PURPOSE: &str = "nextToken";
/// Version of the token's form; a change of what is bound changes it.
const VERSION: u8 = 1;
/// Bytes kept of the code: 128 bits cannot be guessed.
const TAG: usize = 16;

/// A list of one tenant under one filter.
pub struct Listing(Vec<u8>);

impl Listing {
    /// The tenant's messages that match `filter`.
    pub fn messages(tenant: &Tenant, filter: &MessagesFilter) -> Self {
        let MessagesFilter {
            recipient,
            global_id,
            created,
            expires,
            label,
        } = filter;
        Self::new("messages", tenant)
            .text(recipient.as_deref())
            .text(global_id.map(|id| id.to_string()).as_deref())
            .span(created)
            .span(expires)
            .text(label.as_deref())
    }

    /// The tenant's global messages that match `filter`.
    pub fn globals(tenant: &Tenant, filter: &GlobalFilter) -> Self {
        let GlobalFilter {
            created,
            expires,
            label,
        } = filter;
        Self::new("globalMessages", tenant)
            .span(created)
            .span(expires)
            .text(label.as_deref())
    }

    /// The tenant's dead letters.
    pub fn dead_letters(tenant: &Tenant) -> Self {
        Self::new("deadLetters", tenant)
    }

    fn new(list: &str, tenant: &Tenant) -> Self {
        Self(vec![VERSION])
            .text(Some(list))
            .text(Some(tenant.as_str()))
    }

    /// The token for the page after the one that ends with `last`.
    pub fn token(&self, keyring: &Keyring, last: MessageId) -> String {
        self.seal(keyring, &last.to_string())
    }

    /// The same, for a list of a stream's entries.
    pub fn token_of_entry(&self, keyring: &Keyring, last: EntryId) -> String {
        self.seal(keyring, &last.to_string())
    }

    fn seal(&self, keyring: &Keyring, last: &str) -> String {
        let tag = keyring.mac(PURPOSE, &self.bound(last));
        let mut bytes = Vec::with_capacity(1 + last.len() + TAG);
        bytes.push(VERSION);
        bytes.extend_from_slice(last.as_bytes());
        bytes.extend_from_slice(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page that `token` stands for begins: after this message.
    ///
    /// # Errors
    /// If the token was not given for this list.
    pub fn read(&self, keyring: &Keyring, token: &str) -> Result<MessageId, Failure> {
        let last = self.open(keyring, token);
        last.and_then(|id| id.parse().ok()).ok_or_else(not_given)
    }

    /// The same, for a list of a stream's entries.
    ///
    /// # Errors
    /// If the token was not given for this list.
    pub fn read_entry(&self, keyring: &Keyring, token: &str) -> Result<EntryId, Failure> {
        let last = self.open(keyring, token);
        last.and_then(|id| EntryId::parse(&id))
            .ok_or_else(not_given)
    }

    fn open(&self, keyring: &Keyring, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (id, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let id = std::str::from_utf8(id).ok()?;
        let genuine = *version == VERSION && keyring.verify_mac(PURPOSE, &self.bound(id), tag);
        genuine.then(|| id.to_owned())
    }

    fn bound(&self, id: &str) -> Vec<u8> {
        [&self.0, id.as_bytes()].concat()
    }

    /// Lengths stand before texts, so no two lists are bound by the same bytes.
    fn text(mut self, value: Option<&str>) -> Self {
        match value {
            None => self.0.push(0),
            Some(text) => {
                self.0.push(1);
                self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
                self.0.extend_from_slice(text.as_bytes());
            }
        }
        self
    }

    fn span(mut self, span: &Span) -> Self {
        for at in [span.from, span.to] {
            match at {
                None => self.0.push(0),
                Some(at) => {
                    self.0.push(1);
                    self.0.extend_from_slice(&at.millis().to_be_bytes());
                }
            }
        }
        self
    }
}

fn not_given() -> Failure {
    Failure::bad(
        "nextToken",
        "not a token given for this query with this filter",
    )
}

#[cfg(test)]
mod tests {
    use broker::Timestamp;

    use super::*;

    fn keyring() -> Keyring {
        "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
            .parse()
            .unwrap()
    }

    fn id() -> MessageId {
        MessageId::from_entry("1700000000000-3", broker::keys::Partition::new(7).unwrap()).unwrap()
    }

    fn filter() -> MessagesFilter {
        MessagesFilter {
            recipient: Some("ann".into()),
            global_id: None,
            created: Span {
                from: Some(Timestamp::from_millis(5)),
                to: None,
            },
            expires: Span::default(),
            label: None,
        }
    }

    #[test]
    fn a_token_reads_back_where_it_was_given() {
        let tenant = "acme".parse().unwrap();
        let list = Listing::messages(&tenant, &filter());
        let token = list.token(&keyring(), id());
        assert_eq!(list.read(&keyring(), &token), Ok(id()));
    }

    #[test]
    fn a_token_is_worth_nothing_anywhere_else() {
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let token = Listing::messages(&acme, &filter()).token(&keyring(), id());
        let elsewhere = [
            Listing::messages(&other, &filter()),
            Listing::messages(
                &acme,
                &MessagesFilter {
                    recipient: None,
                    label: Some("ann".into()),
                    ..filter()
                },
            ),
            Listing::messages(
                &acme,
                &MessagesFilter {
                    created: Span::default(),
                    expires: filter().created,
                    ..filter()
                },
            ),
            Listing::globals(&acme, &GlobalFilter::default()),
        ];
        for list in elsewhere {
            assert!(list.read(&keyring(), &token).is_err());
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tenant = "acme".parse().unwrap();
        let list = Listing::messages(&tenant, &filter());
        let token = list.token(&keyring(), id());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(list.read(&keyring(), &changed).is_err(), "{changed}");
        }
        for short in ["", "AQ", &token[..token.len() - 4]] {
            assert!(list.read(&keyring(), short).is_err(), "{short}");
        }
    }
}
