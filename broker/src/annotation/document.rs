//! Which addresses an annotation says its document is known by.
//!
//! Annotations of one document meet although its copies have several
//! addresses: whoever annotates reports what the page says of itself, and all
//! that share one normalised address are one document.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::uri;

/// The most addresses that one annotation may claim; further ones are left out.
pub const MAX_CLAIMS: usize = 256;
/// The longest address of a document beside the annotation's own, in bytes;
/// longer ones are left out.
pub const MAX_CLAIMED: usize = 8 * 1024;
/// The longest relation or media type of a link, in bytes; links with longer
/// ones are left out.
const MAX_LABEL: usize = 255;

/// The kind of the claim that an annotation's own address makes.
pub const SELF_CLAIM: &str = "self-claim";

/// The kind of the claim that a page's preferred address makes.
pub const CANONICAL: &str = "rel-canonical";

/// One address of a document, as one annotation reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The address as given, trimmed; never empty.
    pub uri: String,
    /// The same, normalised; as given if it cannot be.
    pub normalised: String,
    /// Where it was found: `self-claim`, `rel-<rel>`, `highwire-pdf`,
    /// `highwire-doi`, `dc-doi`, or empty.
    pub kind: String,
    /// The media type the page gave for it, or empty.
    pub content_type: String,
}

/// The addresses that an annotation of `annotation_uri` claims, its own first,
/// none twice, [`MAX_CLAIMS`] at most (Hypothesis real-time, addresses of a
/// document).
pub fn claims(annotation_uri: &str, document: Option<&Value>) -> Vec<Claim> {
    let mut claims = Claims::default();
    let own = annotation_uri.trim();
    claims.add(own, SELF_CLAIM, "");
    let document = document.and_then(Value::as_object);
    for link in list(document, "link").filter_map(Value::as_object) {
        claims.add_link(link, own);
    }
    let highwire = object(document, "highwire");
    for pdf in list(highwire, "pdf_url").filter_map(Value::as_str) {
        claims.add(pdf, "highwire-pdf", "application/pdf");
    }
    for text in list(highwire, "doi").filter_map(Value::as_str) {
        claims.add_doi(text, "highwire-doi");
    }
    for text in list(object(document, "dc"), "identifier").filter_map(Value::as_str) {
        claims.add_doi(text, "dc-doi");
    }
    claims.found
}

/// The titles that are not blank, as given. The first is what a document
/// without a title is called from then on.
pub fn title(document: Option<&Value>) -> Vec<String> {
    let titles = document.and_then(|document| document.get("title"));
    let titles = match titles {
        Some(Value::Array(titles)) => titles.as_slice(),
        Some(title) => std::slice::from_ref(title),
        None => &[],
    };
    titles
        .iter()
        .filter_map(Value::as_str)
        .filter(|title| !title.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

/// The version of the document, if one is given; 0 says that it has none.
pub fn version(document: Option<&Value>) -> Option<u32> {
    let version = document?.get("version")?.as_u64()?;
    u32::try_from(version).ok()
}

#[derive(Default)]
struct Claims {
    found: Vec<Claim>,
    /// Normalised address, kind and media type of each: what makes it another.
    known: HashSet<(String, String, String)>,
}

impl Claims {
    fn add(&mut self, uri: &str, kind: &str, content_type: &str) {
        let uri = uri.trim();
        let another = !self.found.is_empty();
        if uri.is_empty()
            || MAX_CLAIMS <= self.found.len()
            || (another && MAX_CLAIMED < uri.len())
            || MAX_LABEL < kind.len().max(content_type.len())
        {
            return;
        }
        let normalised = uri::normalise(uri).unwrap_or_else(|_| uri.to_owned());
        let claim = Claim {
            uri: uri.to_owned(),
            normalised,
            kind: kind.to_owned(),
            content_type: content_type.to_owned(),
        };
        let is_new = self.known.insert((
            claim.normalised.clone(),
            claim.kind.clone(),
            claim.content_type.clone(),
        ));
        if is_new {
            self.found.push(claim);
        }
    }

    fn add_link(&mut self, link: &Map<String, Value>, own: &str) {
        let text = |key| link.get(key).and_then(Value::as_str).unwrap_or("");
        let (href, rel, content_type) = (text("href"), text("rel"), text("type"));
        let alone = link.len() == 1;
        let says_no_more = alone && href == own;
        // The DOI comes again, and checked, among the identifiers.
        let unchecked_doi = alone && href.starts_with("doi:");
        // The copy at hand of a PDF that may be somewhere else for others.
        let local_pdf = link.len() == 2 && content_type == "application/pdf";
        if says_no_more || unchecked_doi || local_pdf {
            return;
        }
        if rel.is_empty() {
            self.add(href, "", content_type);
        } else {
            self.add(href, &format!("rel-{rel}"), content_type);
        }
    }

    fn add_doi(&mut self, text: &str, kind: &str) {
        if let Some(doi) = doi(text) {
            self.add(&format!("doi:{doi}"), kind, "");
        }
    }
}

/// The DOI that a text is, however it is written.
fn doi(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_prefix("doi:").unwrap_or(text).trim();
    let text = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .map_or(Some(text), |place| {
            let place = place.strip_prefix("dx.").unwrap_or(place);
            place.strip_prefix("doi.org/")
        })?;
    let (registrant, suffix) = text.strip_prefix("10.")?.split_once('/')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let known = registrant.split('.').all(digits)
        && registrant
            .split('.')
            .next()
            .is_some_and(|part| 4 <= part.len())
        && !suffix.is_empty()
        && !suffix.contains(|c: char| c.is_whitespace() || "\"&'<>".contains(c));
    known.then_some(text)
}

fn object<'a>(parent: Option<&'a Map<String, Value>>, key: &str) -> Option<&'a Map<String, Value>> {
    parent?.get(key)?.as_object()
}

fn list<'a>(parent: Option<&'a Map<String, Value>>, key: &str) -> std::slice::Iter<'a, Value> {
    parent
        .and_then(|parent| parent.get(key))
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice)
        .iter()
}

#[cfg(test)]
mod tests;
