//! One spelling per web origin, so that two of them can be compared as text.

use url::Url;

/// Longer texts are no origin that a browser would send.
const MAX_LENGTH: usize = 300;

/// `scheme://host[:port]`: host in lower case (and ASCII), default port dropped.
///
/// `None` if the text is anything else, such as `null` or an address with a path.
pub fn normal_origin(text: &str) -> Option<String> {
    // The parser of URLs mends more than an origin should need mended.
    let odd = |b: u8| b.is_ascii_control() || b.is_ascii_whitespace() || b == b'\\';
    if text.len() > MAX_LENGTH || !text.contains("://") || text.bytes().any(odd) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare || text.contains('@') {
        return None;
    }
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let normal = match url.origin() {
        origin @ url::Origin::Tuple(..) => origin.ascii_serialization(),
        // Apps and browser extensions have schemes of their own.
        url::Origin::Opaque(_) => {
            let host = host.to_ascii_lowercase();
            match url.port() {
                Some(port) => format!("{}://{host}:{port}", url.scheme()),
                None => format!("{}://{host}", url.scheme()),
            }
        }
    };
    (normal.len() <= MAX_LENGTH).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, normal) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("https://app.example/", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://grün.example", "https://xn--grn-ioa.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://AbC", "chrome-extension://abc"),
        ] {
            assert_eq!(normal_origin(text).as_deref(), Some(normal), "{text}");
            assert_eq!(normal_origin(normal).as_deref(), Some(normal));
        }
    }

    #[test]
    fn what_is_no_origin_has_no_spelling() {
        for text in [
            "",
            "null",
            "*",
            "app.example",
            "https://",
            "https://app.example/page",
            "https://app.example?x",
            "https://app.example#x",
            "https://user@app.example",
            "https://@app.example",
            "https://app.example, https://b.example",
            "https:\\\\app.example",
            "https:app.example",
            " https://app.example",
            "https://app.ex\tample",
            "file:///etc",
            "data:text/plain,hello",
            "https://app.example:99999",
        ] {
            assert_eq!(normal_origin(text), None, "{text}");
        }
        assert_eq!(normal_origin(&format!("https://{}", "a".repeat(400))), None);
    }
}
