//! Percent-encoding: which bytes stand for themselves, and where.

use std::borrow::Cow;

/// What the text says; what is no UTF-8 becomes U+FFFD, what is no escape stays.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = || {
            let high = hex(*bytes.get(at + 1)?)?;
            let low = hex(*bytes.get(at + 2)?)?;
            Some(high << 4 | low)
        };
        if byte == b'%'
            && let Some(value) = escaped()
        {
            out.push(value);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Appends the text, escaped but for letters, digits and what is `safe`.
pub(super) fn encode(text: &str, safe: fn(u8) -> bool, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || safe(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The same, with `+` for a space.
pub(super) fn encode_form(text: &str, safe: fn(u8) -> bool, out: &mut String) {
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            out.push('+');
        }
        encode(word, safe, out);
    }
}

/// What stands for itself in a segment of a path.
pub(super) fn in_segment(byte: u8) -> bool {
    in_value(byte) || matches!(byte, b'&' | b'+' | b';')
}

/// What stands for itself in the name of a parameter.
pub(super) fn in_name(byte: u8) -> bool {
    b"-._~:@!$'()*,".contains(&byte)
}

/// What stands for itself in the value of a parameter.
pub(super) fn in_value(byte: u8) -> bool {
    in_name(byte) || byte == b'='
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
