//! Documents as pages describe them, and what is claimed of their addresses.

use serde_json::json;

use super::*;

/// The claims beside the annotation's own, as `kind content-type uri`.
fn claimed(document: &Value) -> Vec<String> {
    let claims = claims("https://e.org/a", Some(document));
    let (own, others) = claims.split_first().expect("its own is always there");
    assert_eq!((&*own.uri, &*own.kind), ("https://e.org/a", SELF_CLAIM));
    others
        .iter()
        .map(|claim| format!("{} {} {}", claim.kind, claim.content_type, claim.uri))
        .collect()
}

#[test]
fn without_a_document_an_annotation_claims_its_own_address() {
    let own = Claim {
        uri: "HTTP://E.org/".to_owned(),
        normalised: "httpx://e.org".to_owned(),
        kind: SELF_CLAIM.to_owned(),
        content_type: String::new(),
    };
    for document in [None, Some(json!({})), Some(json!([])), Some(json!("x"))] {
        assert_eq!(
            claims(" HTTP://E.org/ ", document.as_ref()),
            std::slice::from_ref(&own)
        );
    }
    assert_eq!(claims("  ", None), []);
}

#[test]
fn links_claim_by_their_relation() {
    assert_eq!(
        claimed(&json!({"link": [
            {"href": " https://e.org/b ", "rel": "canonical"},
            {"href": "https://e.org/c", "rel": "alternate", "type": "application/pdf"},
            {"href": "https://e.org/d", "type": "text/html"},
            {"href": "https://e.org/e"},
            {"href": "https://e.org/f", "rel": ""},
            {"href": "urn:x-pdf:0123"},
        ]})),
        [
            "rel-canonical  https://e.org/b",
            "rel-alternate application/pdf https://e.org/c",
            " text/html https://e.org/d",
            "  https://e.org/e",
            "  https://e.org/f",
            "  urn:x-pdf:0123",
        ]
    );
}

#[test]
fn links_that_say_nothing_new_claim_nothing() {
    assert_eq!(
        claimed(&json!({"link": [
            {"href": "https://e.org/a"},
            {"href": "doi:10.1000/x"},
            {"href": "https://e.org/copy.pdf", "type": "application/pdf"},
            {"href": "  "},
            {"href": 5},
            {"rel": "canonical"},
            "https://e.org/x",
        ]})),
        [""; 0]
    );
    assert_eq!(
        claimed(&json!({"link": [
            {"href": "https://e.org/a", "rel": "canonical"},
            {"href": "doi:10.1000/x", "rel": "x"},
            {"href": "https://e.org/copy.pdf", "type": "application/pdf", "rel": ""},
        ]})),
        [
            "rel-canonical  https://e.org/a",
            "rel-x  doi:10.1000/x",
            " application/pdf https://e.org/copy.pdf",
        ]
    );
}

#[test]
fn one_address_may_be_claimed_in_several_ways_but_in_each_once() {
    assert_eq!(
        claimed(&json!({"link": [
            {"href": "https://e.org/b", "rel": "x"},
            {"href": "http://e.org/b/", "rel": "x"},
            {"href": "https://e.org/b", "rel": "y"},
            {"href": "https://e.org/b", "rel": "x", "type": "text/html"},
        ]})),
        [
            "rel-x  https://e.org/b",
            "rel-y  https://e.org/b",
            "rel-x text/html https://e.org/b",
        ]
    );
}

#[test]
fn dois_are_claimed_however_they_are_written() {
    let written = [
        "10.1000/x",
        "doi:10.1000/x",
        " doi: 10.1000/x ",
        "http://doi.org/10.1000/x",
        "https://doi.org/10.1000/x",
        "http://dx.doi.org/10.1000/x",
        "https://dx.doi.org/10.1000/x",
    ];
    for text in written {
        assert_eq!(
            claimed(&json!({"highwire": {"doi": [text]}, "dc": {"identifier": [text]}})),
            ["highwire-doi  doi:10.1000/x", "dc-doi  doi:10.1000/x"],
            "{text}"
        );
    }
    for doi in ["10.1000.5/a/b", "10.12345678/(x)y;z#é"] {
        assert_eq!(doi_of(doi), Some(format!("doi:{doi}")));
    }
}

fn doi_of(text: &str) -> Option<String> {
    claims("", Some(&json!({"dc": {"identifier": [text]}})))
        .pop()
        .map(|claim| claim.uri)
}

#[test]
fn what_is_no_doi_is_left_out() {
    let others = [
        "",
        "doi:",
        "10.100/x",
        "10.1000/",
        "10.1000",
        "11.1000/x",
        "10.1000x/y",
        "10.1000./y",
        "10.1000/a b",
        "10.1000/<a>",
        "10.1000/\"",
        "doi:doi:10.1000/x",
        "https://e.org/10.1000/x",
        "https://doi.org.example/10.1000/x",
        "isbn:123",
        "DOI:10.1000/x",
        "10.١٢٣٤/x",
    ];
    for text in others {
        assert_eq!(doi_of(text), None, "{text}");
    }
}

#[test]
fn papers_claim_their_pdf() {
    assert_eq!(
        claimed(&json!({"highwire": {"pdf_url": ["https://e.org/a.pdf", ""]}})),
        ["highwire-pdf application/pdf https://e.org/a.pdf"]
    );
}

#[test]
fn an_address_that_cannot_be_normalised_is_claimed_as_it_is() {
    let claims = claims("http://e.org:port/ ", None);
    assert_eq!(claims[0].normalised, "http://e.org:port/");
}

#[test]
fn no_annotation_claims_without_bound() {
    let links: Vec<_> = (0..2 * MAX_CLAIMS)
        .map(|n| json!({"href": format!("https://e.org/{n}")}))
        .collect();
    assert_eq!(
        claims("x:y", Some(&json!({"link": links}))).len(),
        MAX_CLAIMS
    );
}

#[test]
fn what_is_too_long_to_be_an_address_is_left_out() {
    let text = |length: usize| "x".repeat(length);
    assert_eq!(
        claimed(&json!({
            "link": [
                {"href": "https://e.org/b", "rel": text(MAX_LABEL)},
                {"href": "https://e.org/c", "type": text(MAX_LABEL + 1)},
            ],
            "highwire": {"pdf_url": [text(MAX_CLAIMED + 1)]},
        })),
        [""; 0]
    );
    let pdf = text(MAX_CLAIMED);
    assert_eq!(
        claimed(&json!({"highwire": {"pdf_url": [pdf]}})),
        [format!("highwire-pdf application/pdf {pdf}")]
    );
    assert_eq!(claims(&text(2 * MAX_CLAIMED), None).len(), 1);
}

#[test]
fn blank_titles_are_none() {
    let cases = [
        (json!({"title": "a"}), vec!["a"]),
        (json!({"title": ["", " ", "b", 5, "c"]}), vec!["b", "c"]),
        (json!({"title": " "}), vec![]),
        (json!({"title": null}), vec![]),
        (json!({}), vec![]),
    ];
    for (document, titles) in cases {
        assert_eq!(title(Some(&document)), titles, "{document}");
    }
    assert_eq!(title(None), [""; 0]);
}

#[test]
fn a_version_is_known_only_if_given() {
    let cases = [
        (json!({"version": 3}), Some(3)),
        (json!({"version": 0}), Some(0)),
        (json!({"version": -1}), None),
        (json!({"version": "3"}), None),
        (json!({"version": u64::MAX}), None),
        (json!({}), None),
    ];
    for (document, given) in cases {
        assert_eq!(version(Some(&document)), given, "{document}");
    }
    assert_eq!(version(None), None);
}
