//! What of a setting may be shown to whoever runs the process.

use std::fmt;
use std::str::FromStr;

use super::Env;

/// What stands in place of what is not shown.
const HIDDEN: &str = "***";

/// What of a value may be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    #[default]
    Open,
    /// An address, without its passwords.
    Address,
    /// Nothing.
    Secret,
}

impl Secrecy {
    /// The value, as it may be shown.
    pub(super) fn shown(self, value: &str) -> String {
        let value: String = match self {
            Self::Open => value.to_owned(),
            Self::Address => address(value),
            Self::Secret if value.is_empty() => String::new(),
            Self::Secret => HIDDEN.to_owned(),
        };
        // One setting, one line.
        if value.chars().any(char::is_control) {
            value.escape_debug().to_string()
        } else {
            value
        }
    }
}

/// The address without the passwords before `@` and after `_password=`; a user
/// without one may be a password in the wrong place.
fn address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return HIDDEN.to_owned();
    };
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let mut shown = format!("{scheme}://");
    match place.rsplit_once('@') {
        Some((login, place)) => {
            let user = login.split_once(':').map_or("", |(user, _)| user);
            if user.is_empty() && !login.starts_with(':') {
                shown.push_str(&format!("{HIDDEN}@{place}"));
            } else {
                shown.push_str(&format!("{user}:{HIDDEN}@{place}"));
            }
        }
        None => shown.push_str(place),
    }
    let options = options.split('&').filter(|option| !option.is_empty());
    for (option, part) in options.zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
        shown.push(part);
        match option.split_once('=') {
            Some((name, _)) if name.ends_with("password") => {
                shown.push_str(&format!("{name}={HIDDEN}"));
            }
            _ => shown.push_str(option),
        }
    }
    shown
}

/// The environment, where a value is read that not all may see.
pub struct Guarded<'a> {
    pub(super) env: &'a mut Env,
    pub(super) secrecy: Secrecy,
}

impl Guarded<'_> {
    /// As [`Env::get`].
    ///
    /// # Panics
    /// As [`Env::get`].
    pub fn get<T: FromStr>(self, name: &'static str, default: &str) -> T
    where
        T::Err: fmt::Display,
    {
        self.env.or_default(name, default, self.secrecy)
    }

    /// As [`Env::optional`].
    pub fn optional<T: FromStr>(self, name: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.env.read(name, None, false, self.secrecy)
    }

    /// As [`Env::required`].
    pub fn required<T: FromStr>(self, name: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.env.read(name, None, true, self.secrecy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_passwords() {
        for (address, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://u:hush@h", "redis://u:***@h"),
            ("redis://:hush@h", "redis://:***@h"),
            ("redis://hush@h", "redis://***@h"),
            ("redis://u:hu@sh/@h", "redis://u:***@h"),
            (
                "rediss+sentinel://u:hush@a,b/m?db=1&sentinel_user=s&sentinel_password=hush",
                "rediss+sentinel://u:***@a,b/m?db=1&sentinel_user=s&sentinel_password=***",
            ),
            ("hush", "***"),
        ] {
            assert_eq!(Secrecy::Address.shown(address), shown);
        }
        assert_eq!(Secrecy::Secret.shown("hush"), "***");
        assert_eq!(Secrecy::Secret.shown(""), "");
        assert_eq!(Secrecy::Open.shown("a\nb"), "a\\nb");
    }
}
