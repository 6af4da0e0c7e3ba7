//! When two addresses name the same page.
//!
//! Two addresses are the same if they read the same once normalised. What is
//! normalised was split as Python's `urllib` splits: the implementation that
//! every existing annotation went through is written in it.

mod percent;
mod split;

use std::borrow::Cow;

use split::Split;

/// The longest value of a `/uri` filter, in bytes.
pub const MAX_FILTER_VALUE: usize = 8 * 1024;

/// The most versions that one value may name. Clients name at most two; each
/// repeats the address, so that without a bound a value could grow a
/// thousandfold.
pub const MAX_VERSIONS: usize = 32;

/// The proxy whose addresses stand for what it shows.
const PROXY: &str = "https://via.hypothes.is/";

/// Why an address names no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUri {
    /// A bracket without its other half, or no IPv6 address between them.
    #[error("has brackets that hold no address")]
    Brackets,
    /// A host with characters that would end it, were it spelled canonically.
    #[error("has a host that other software would read differently")]
    Host,
    /// No decimal number up to 65535.
    #[error("has no port from 0 to 65535 behind its host")]
    Port,
    /// A filter's value longer than [`MAX_FILTER_VALUE`].
    #[error("is longer than {MAX_FILTER_VALUE} bytes")]
    TooLong,
    /// More than [`MAX_VERSIONS`].
    #[error("names more than {MAX_VERSIONS} versions")]
    TooManyVersions,
}

/// Which version of a page a value asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `all`: every one, and none.
    All,
    /// `v0`: none.
    Unversioned,
    /// `v1` and up. What exceeds the type is its greatest number, which no page
    /// has.
    Numbered(u32),
}

/// The form in which addresses of one page are equal: `httpx://` for what is
/// read over HTTP, everything else as it is (Hypothesis real-time, addresses of
/// a page).
///
/// Takes time and space linear in the length of `uri`, except that the
/// parameters of its query are sorted. Idempotent: what comes out stays as it is.
///
/// # Errors
/// If it cannot be split.
pub fn normalise(uri: &str) -> Result<String, BadUri> {
    let uri = unproxied(uri);
    let cleaned = split::cleaned(uri);
    let parts = Split::of(&cleaned)?;
    let default_port = if parts.scheme.eq_ignore_ascii_case("http") {
        80
    } else if parts.scheme.eq_ignore_ascii_case("https") {
        443
    } else {
        return Ok(uri.to_owned());
    };
    let authority = parts.authority();
    if authority.host.is_empty() {
        return Ok(uri.to_owned());
    }
    let port = authority.port()?.filter(|port| *port != default_port);

    let mut out = String::with_capacity(uri.len() + 8);
    out.push_str("httpx://");
    if let Some(user) = authority.user {
        out.push_str(user);
        out.push('@');
    }
    let host = authority.host.to_lowercase();
    if authority.bracketed {
        out.extend(["[", &host, "]"]);
    } else {
        out.push_str(&host);
    }
    if let Some(port) = port {
        out.push(':');
        out.push_str(&port.to_string());
    }
    push_path(&mut out, parts.path);
    push_query(&mut out, parts.query);
    Ok(out)
}

/// The keys that a value of a `/uri` filter asks for, each once, in the order of
/// the versions it names (Hypothesis real-time, addresses of a page).
///
/// # Errors
/// If the address cannot be split, or exceeds a bound.
pub fn filter_keys(value: &str) -> Result<Vec<String>, BadUri> {
    if MAX_FILTER_VALUE < value.len() {
        return Err(BadUri::TooLong);
    }
    let (base, versions) = versions(value)?;
    let base = normalise(base)?;
    if versions.is_empty() {
        return Ok(vec![base]);
    }
    let keys = versions.into_iter().map(|version| match version {
        // No annotation has this key: on a socket it matches nothing.
        Version::All => format!("{base}__vall"),
        Version::Unversioned => base.clone(),
        Version::Numbered(number) => with_version(&base, Some(number)),
    });
    Ok(keys.collect())
}

/// Takes the versions off the end of a value: `…:v1:v2` or `…:all`. Each is
/// named once, in the order of their first naming.
///
/// # Errors
/// If there are too many.
pub fn versions(value: &str) -> Result<(&str, Vec<Version>), BadUri> {
    let mut base = value;
    let mut found = Vec::new();
    while let Some((rest, last)) = base.rsplit_once(':') {
        let Some(version) = Version::parse(last) else {
            break;
        };
        if found.len() == MAX_VERSIONS {
            return Err(BadUri::TooManyVersions);
        }
        found.push(version);
        base = rest;
    }
    found.reverse();
    let mut each: Vec<Version> = Vec::with_capacity(found.len());
    for version in found {
        if !each.contains(&version) {
            each.push(version);
        }
    }
    Ok((base, each))
}

/// The key of one version of a page; of the page itself, if it has none or 0.
pub fn with_version(key: &str, version: Option<u32>) -> String {
    match version {
        None | Some(0) => key.to_owned(),
        Some(version) => format!("{key}__v{version}"),
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        let digits = text.strip_prefix('v')?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(match digits.parse() {
            Ok(0) => Self::Unversioned,
            Ok(number) => Self::Numbered(number),
            Err(_) => Self::Numbered(u32::MAX),
        })
    }
}

/// What the proxy shows, if it is the proxy's address.
fn unproxied(uri: &str) -> &str {
    match uri.strip_prefix(PROXY) {
        Some(shown) if shown.starts_with("http:") || shown.starts_with("https:") => shown,
        _ => uri,
    }
}

fn push_path(out: &mut String, path: &str) {
    for (index, segment) in path.trim_end_matches('/').split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        percent::encode(&percent::decode(segment), percent::in_segment, out);
    }
}

/// A query that is not all `name=value` means something of its own and stays as
/// it is.
fn push_query(out: &mut String, query: &str) {
    if query.is_empty() {
        return;
    }
    let pairs: Option<Vec<_>> = query
        .split('&')
        .map(|piece| piece.split_once('='))
        .collect();
    let Some(pairs) = pairs else {
        out.push('?');
        out.push_str(query);
        return;
    };
    let mut pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| (form_decoded(name), value))
        .filter(|(name, _)| !tracks(name))
        .collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        // Decoded twice, as every stored key was.
        percent::encode_form(&form_decoded(name), percent::in_name, out);
        out.push('=');
        let value = form_decoded(value);
        percent::encode_form(&form_decoded(&value), percent::in_value, out);
    }
}

fn form_decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent::decode(&spaced).into_owned())
    } else {
        percent::decode(text)
    }
}

/// Whether a parameter says who came from where, and not what is shown.
fn tracks(name: &str) -> bool {
    matches!(
        name,
        "gclid"
            | "utm_campaign"
            | "utm_content"
            | "utm_medium"
            | "utm_source"
            | "utm_term"
            | "resourcekey"
    ) || name
        .strip_prefix("WT.")
        .is_some_and(|rest| !rest.is_empty())
        || name.eq_ignore_ascii_case("x-amz-security-token")
}

#[cfg(test)]
mod tests;
