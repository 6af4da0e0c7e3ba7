//! The pages: one to try a push in the browser, and a GraphQL console.
//!
//! Everything they need is part of this binary, so they work without any other
//! server, and a browser is told to accept nothing from anywhere else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

/// A file that a page is or needs.
struct File {
    kind: &'static str,
    bytes: &'static [u8],
    tag: String,
}

/// Where the try-it page stands.
pub const TRY_IT: &str = "try-it.html";
/// Where the console stands.
pub const CONSOLE: &str = "console.html";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

/// Scripts, styles and requests go to this server only, and sockets to any: the
/// gateways have another address. GraphiQL carries fonts and images in its style
/// sheet. Nothing is evaluated, nothing is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; font-src data:; connect-src 'self' ws: wss:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static FILES: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| {
    let files: [(&str, &str, &[u8]); 11] = [
        (TRY_IT, HTML, include_bytes!("../assets/try-it.html")),
        ("try-it.css", CSS, include_bytes!("../assets/try-it.css")),
        ("try-it.js", JS, include_bytes!("../assets/try-it.js")),
        (CONSOLE, HTML, include_bytes!("../assets/console.html")),
        ("console.css", CSS, include_bytes!("../assets/console.css")),
        ("console.js", JS, include_bytes!("../assets/console.js")),
        ("icon.svg", SVG, include_bytes!("../assets/icon.svg")),
        (
            "graphiql.css",
            CSS,
            include_bytes!("../assets/graphiql/graphiql.min.css"),
        ),
        (
            "graphiql.js",
            JS,
            include_bytes!("../assets/graphiql/graphiql.min.js"),
        ),
        (
            "react.js",
            JS,
            include_bytes!("../assets/graphiql/react.production.min.js"),
        ),
        (
            "react-dom.js",
            JS,
            include_bytes!("../assets/graphiql/react-dom.production.min.js"),
        ),
    ];
    let files = files.into_iter().map(|(name, kind, bytes)| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        (name, File { kind, bytes, tag })
    });
    files.collect()
});

/// Answers with the file called `name`, or with less if the browser has it.
pub fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.get(name) else {
        return plain(StatusCode::NOT_FOUND);
    };
    let known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|tags| tags.as_bytes() == file.tag.as_bytes());
    let (status, body) = if known {
        (StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        (StatusCode::OK, Body::from(file.bytes))
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, file.kind)
        .header(ETAG, &file.tag)
        // Asked for again each time, which costs next to nothing, so that page
        // and script are always of one version.
        .header(CACHE_CONTROL, "no-cache")
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REFERRER_POLICY, "no-referrer")
        .body(body)
        .expect("the headers are constants or hexadecimal")
}

/// An answer without a page.
pub fn plain(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("error");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Body::from(format!("{reason}\n")))
        .expect("the headers are constants")
}
