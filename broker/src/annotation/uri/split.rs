//! An address taken apart, as Python's `urllib.parse.urlsplit` does it, and with
//! its refusals.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::BadUri;

/// The parts of an address. A fragment is no part of it here.
#[derive(Debug)]
pub(super) struct Split<'a> {
    pub(super) scheme: &'a str,
    netloc: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

/// Whom and where to ask.
#[derive(Debug)]
pub(super) struct Authority<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) host: &'a str,
    /// The host stood in brackets.
    pub(super) bracketed: bool,
    port: &'a str,
}

/// Without what a browser takes out of an address: controls and spaces in
/// front, tabs and line breaks anywhere.
pub(super) fn cleaned(uri: &str) -> Cow<'_, str> {
    let uri = uri.trim_start_matches(|c| c <= ' ');
    if uri.contains(['\t', '\r', '\n']) {
        Cow::Owned(uri.replace(['\t', '\r', '\n'], ""))
    } else {
        Cow::Borrowed(uri)
    }
}

impl<'a> Split<'a> {
    /// Takes a cleaned address apart.
    pub(super) fn of(uri: &'a str) -> Result<Self, BadUri> {
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => ("", uri),
        };
        let (netloc, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        check_brackets(netloc)?;
        check_canonical(netloc)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Self {
            scheme,
            netloc,
            path,
            query,
        })
    }

    /// Whom and where to ask; the host is empty if there is none.
    pub(super) fn authority(&self) -> Authority<'a> {
        let (user, place) = match self.netloc.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, self.netloc),
        };
        let (host, bracketed, rest) = match place.split_once('[') {
            Some((_, inside)) => {
                let (host, rest) = inside.split_once(']').unwrap_or((inside, ""));
                (host, true, rest)
            }
            None => (place, false, place),
        };
        let (before, port) = rest.split_once(':').unwrap_or((rest, ""));
        Authority {
            user,
            host: if bracketed { host } else { before },
            bracketed,
            port,
        }
    }
}

impl Authority<'_> {
    /// The port, if one is named.
    pub(super) fn port(&self) -> Result<Option<u16>, BadUri> {
        if self.port.is_empty() {
            return Ok(None);
        }
        // A sign is no digit, though the number would parse with one.
        if !self.port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadUri::Port);
        }
        self.port.parse().map(Some).map_err(|_| BadUri::Port)
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn check_brackets(netloc: &str) -> Result<(), BadUri> {
    let Some((_, inside)) = netloc.split_once('[') else {
        return if netloc.contains(']') {
            Err(BadUri::Brackets)
        } else {
            Ok(())
        };
    };
    if !netloc.contains(']') {
        return Err(BadUri::Brackets);
    }
    let host = inside.split_once(']').map_or(inside, |(host, _)| host);
    let known = match host.strip_prefix('v') {
        Some(future) => future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_hexdigit())
                && !address.is_empty()
        }),
        None => is_ipv6(host),
    };
    if known { Ok(()) } else { Err(BadUri::Brackets) }
}

/// Whether it is an IPv6 address, maybe with a zone.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    zone.is_none_or(|zone| !zone.is_empty() && !zone.contains('%'))
        && address.parse::<Ipv6Addr>().is_ok()
}

/// Refuses a host that whoever spells it canonically would read as a shorter
/// one, with a path or a user.
fn check_canonical(netloc: &str) -> Result<(), BadUri> {
    const ENDS: [char; 5] = ['/', '?', '#', '@', ':'];
    if netloc.is_ascii() {
        return Ok(());
    }
    let bare = netloc.replace(ENDS, "");
    if ComposingNormalizerBorrowed::new_nfkc()
        .normalize(&bare)
        .contains(ENDS)
    {
        Err(BadUri::Host)
    } else {
        Ok(())
    }
}
