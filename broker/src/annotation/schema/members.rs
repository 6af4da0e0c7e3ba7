//! The members that have a meaning, and their shapes.

use super::shape::Shape;
use super::{MAX_DESCRIPTION, MAX_HREF, MAX_ID, MAX_TAG, MAX_URI, MAX_VERSION};

/// The shape of what is said of an annotation.
pub(super) const SHAPE: Shape = Shape::Object {
    members: &[
        ("document", DOCUMENT),
        ("group", ID),
        (
            "metadata",
            Shape::Object {
                members: &[],
                required: &[],
            },
        ),
        ("permissions", PERMISSIONS),
        ("references", Shape::List { of: &ID }),
        (
            "tags",
            Shape::List {
                of: &Shape::Text { max: MAX_TAG },
            },
        ),
        ("target", Shape::List { of: &TARGET }),
        ("text", TEXT),
        ("uri", Shape::Text { max: MAX_URI }),
    ],
    required: &[],
};

const TEXT: Shape = Shape::Text { max: usize::MAX };
const ID: Shape = Shape::Text { max: MAX_ID };
const TEXTS: Shape = Shape::List { of: &TEXT };
const PRINCIPALS: Shape = Shape::List {
    of: &Shape::Principal,
};

const LINK: Shape = Shape::Object {
    members: &[("href", Shape::Text { max: MAX_HREF }), ("type", TEXT)],
    required: &["href"],
};

const SELECTOR: Shape = Shape::Object {
    members: &[("type", TEXT)],
    required: &["type"],
};

const DOCUMENT: Shape = Shape::Object {
    members: &[
        (
            "dc",
            Shape::Object {
                members: &[("identifier", TEXTS)],
                required: &[],
            },
        ),
        (
            "highwire",
            Shape::Object {
                members: &[("doi", TEXTS), ("pdf_url", TEXTS)],
                required: &[],
            },
        ),
        ("link", Shape::List { of: &LINK }),
        ("version", Shape::Natural { max: MAX_VERSION }),
    ],
    required: &[],
};

const PERMISSIONS: Shape = Shape::Object {
    members: &[
        ("admin", PRINCIPALS),
        ("delete", PRINCIPALS),
        ("read", PRINCIPALS),
        ("update", PRINCIPALS),
    ],
    required: &["read"],
};

const TARGET: Shape = Shape::Object {
    members: &[
        (
            "description",
            Shape::Text {
                max: MAX_DESCRIPTION,
            },
        ),
        ("selector", Shape::List { of: &SELECTOR }),
    ],
    required: &[],
};
