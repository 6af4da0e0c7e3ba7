//! The fields of a token as bytes, in one order and with one way to write each.
//!
//! `version, key id, tenant, recipient, label, origin, source, issued, expires,
//! nonce`: names with their length before them (two bytes, big endian), an absent
//! one as length 65,535; times in milliseconds.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::RecipientToken;
use crate::time::Timestamp;

/// The first byte. A token of another version is not read.
const VERSION: u8 = 1;
/// The length that stands for an absent name.
const ABSENT: u16 = u16::MAX;

/// All but the tag.
pub(super) fn write(key_id: &str, token: &RecipientToken, expires_at: Timestamp) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    name(&mut bytes, key_id);
    name(&mut bytes, token.tenant.as_str());
    name(&mut bytes, &token.recipient);
    optional(&mut bytes, token.label.as_deref());
    optional(&mut bytes, token.origin.as_deref());
    match token.source.map(|net| (net.addr(), net.prefix_len())) {
        None => bytes.push(0),
        Some((IpAddr::V4(address), prefix)) => {
            bytes.push(4);
            bytes.extend_from_slice(&address.octets());
            bytes.push(prefix);
        }
        Some((IpAddr::V6(address), prefix)) => {
            bytes.push(6);
            bytes.extend_from_slice(&address.octets());
            bytes.push(prefix);
        }
    }
    bytes.extend_from_slice(&token.issued_at.millis().to_be_bytes());
    bytes.extend_from_slice(&expires_at.millis().to_be_bytes());
    bytes.extend_from_slice(&token.nonce);
    bytes
}

fn name(bytes: &mut Vec<u8>, name: &str) {
    let length = u16::try_from(name.len())
        .ok()
        .filter(|&length| length != ABSENT)
        .expect("names are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

fn optional(bytes: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => name(bytes, value),
        None => bytes.extend_from_slice(&ABSENT.to_be_bytes()),
    }
}

/// The id of the key that is said to have signed these bytes.
pub(super) fn key_id(bytes: &[u8]) -> Option<&str> {
    let mut fields = Fields { rest: bytes };
    fields.version()?;
    fields.name()
}

/// The inverse of [`write`]; nothing may be left over.
pub(super) fn read(bytes: &[u8]) -> Option<RecipientToken> {
    let mut fields = Fields { rest: bytes };
    fields.version()?;
    let _key_id = fields.name()?;
    let token = RecipientToken {
        tenant: fields.name()?.parse().ok()?,
        recipient: fields.name()?.into(),
        label: fields.optional()?,
        origin: fields.optional()?,
        source: fields.source()?,
        issued_at: fields.time()?,
        expires_at: fields.time()?,
        nonce: *fields.take()?,
    };
    fields.rest.is_empty().then_some(token)
}

/// What is left to read.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|&[byte]| byte)
    }

    fn version(&mut self) -> Option<()> {
        (self.byte()? == VERSION).then_some(())
    }

    fn length(&mut self) -> Option<u16> {
        self.take().copied().map(u16::from_be_bytes)
    }

    fn text(&mut self, length: u16) -> Option<&'a str> {
        let (text, rest) = self.rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn name(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        self.text(length)
    }

    fn optional(&mut self) -> Option<Option<Arc<str>>> {
        match self.length()? {
            ABSENT => Some(None),
            length => self.text(length).map(|text| Some(text.into())),
        }
    }

    fn source(&mut self) -> Option<Option<IpNet>> {
        let address: IpAddr = match self.byte()? {
            0 => return Some(None),
            4 => (*self.take::<4>()?).into(),
            6 => (*self.take::<16>()?).into(),
            _ => return None,
        };
        IpNet::new(address, self.byte()?).ok().map(Some)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.take()
            .copied()
            .map(i64::from_be_bytes)
            .map(Timestamp::from_millis)
    }
}
