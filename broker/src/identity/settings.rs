//! Who is asked whom a token names.

mod values;

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

pub(super) use self::values::Hidden;
use self::values::{Given, HttpUrl, Signature};
use crate::node::env::{Env, Files, Interval, List};
use crate::node::secrets::SecretFiles;
use crate::topic::Tenant;

/// The settings of the chain that checks users' tokens.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// `CARILLON_AUTH_CHAIN`, default `own`: who is asked, in this order. The
    /// first that recognises a token by its form decides.
    pub(super) chain: Vec<Link>,
    /// `CARILLON_AUTH_TENANT`: whose users a provider vouches for. Its tokens
    /// name nobody on the sites of other tenants.
    pub(super) tenant: Option<Tenant>,
    /// What every provider's answers have in common.
    pub(super) claims: Claims,
    /// How tokens are checked that are signed by a provider.
    pub(super) jwt: Option<JwtSettings>,
    /// Who is asked about other tokens.
    pub(super) introspection: Option<IntrospectionSettings>,
    /// Whose profile page tells whom a token names.
    pub(super) profile: Option<Url>,
}

/// One of those who are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Our own store.
    Own,
    /// The signature, by the provider's keys.
    Jwt,
    /// The provider, in the words of RFC 7662.
    Introspection,
    /// A Hypothesis server, by the user's profile.
    Profile,
}

/// What is read from what a provider says.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    /// `CARILLON_AUTH_ISSUER`: who must have issued the token.
    pub(super) issuer: Option<String>,
    /// `CARILLON_AUTH_AUDIENCE`: whom it must be meant for.
    pub(super) audience: Option<String>,
    /// `CARILLON_AUTH_USER_CLAIM`, default `sub`: which member names the user.
    pub(super) user: String,
    /// `CARILLON_AUTH_GROUPS_CLAIM`: which member lists ids of groups, if any.
    pub(super) groups: Option<String>,
}

/// How tokens are checked that a provider signed.
#[derive(Clone, Debug)]
pub(super) struct JwtSettings {
    /// `CARILLON_AUTH_JWKS_URL`: where the provider publishes its keys.
    pub(super) keys: Url,
    /// `CARILLON_AUTH_JWKS_REFRESH`, default `10m`: after this they are read again.
    pub(super) refresh: Duration,
    /// `CARILLON_AUTH_JWT_ALGORITHMS`, default `RS256,ES256,EdDSA`: what a key
    /// may be used with. What the token itself says is only compared with it.
    pub(super) algorithms: Vec<Algorithm>,
}

/// Who is asked about a token, and as whom.
#[derive(Clone, Debug)]
pub(super) struct IntrospectionSettings {
    /// `CARILLON_AUTH_INTROSPECTION_URL`: where.
    pub(super) url: Url,
    /// `CARILLON_AUTH_INTROSPECTION_CLIENT`: as which client.
    pub(super) client: String,
    /// `CARILLON_AUTH_INTROSPECTION_SECRET`, secret: what proves it.
    pub(super) secret: Hidden,
}

impl AuthSettings {
    /// Reads them; mistakes are told by [`Env::finish`].
    pub fn read(env: &mut Env) -> Self {
        let List(chain) = env.get::<List<Link>>("CARILLON_AUTH_CHAIN", "own");
        let tenant = env.get::<Given<Tenant>>("CARILLON_AUTH_TENANT", "").0;
        let claims = Claims {
            issuer: env.get::<Given<String>>("CARILLON_AUTH_ISSUER", "").0,
            audience: env.get::<Given<String>>("CARILLON_AUTH_AUDIENCE", "").0,
            user: env.get("CARILLON_AUTH_USER_CLAIM", "sub"),
            groups: env.get::<Given<String>>("CARILLON_AUTH_GROUPS_CLAIM", "").0,
        };
        let keys = env.get::<Given<HttpUrl>>("CARILLON_AUTH_JWKS_URL", "").0;
        let refresh = env.get::<Interval>("CARILLON_AUTH_JWKS_REFRESH", "10m").0;
        let List(algorithms) =
            env.get::<List<Signature>>("CARILLON_AUTH_JWT_ALGORITHMS", "RS256,ES256,EdDSA");
        let url = env
            .get::<Given<HttpUrl>>("CARILLON_AUTH_INTROSPECTION_URL", "")
            .0;
        let client = env
            .get::<Given<String>>("CARILLON_AUTH_INTROSPECTION_CLIENT", "")
            .0;
        let secret = env
            .secret()
            .get::<Given<Hidden>>("CARILLON_AUTH_INTROSPECTION_SECRET", "")
            .0;
        let profile = env.get::<Given<HttpUrl>>("CARILLON_AUTH_PROFILE_URL", "").0;

        for mistake in order_mistakes(&chain) {
            env.complain(format!("CARILLON_AUTH_CHAIN: {mistake}"));
        }
        let mut need = |link: Link, name: &str, given: bool| {
            if chain.contains(&link) && !given {
                env.complain(format!(
                    "{name} must be set, as CARILLON_AUTH_CHAIN has {}",
                    link.as_str()
                ));
            }
        };
        for link in [Link::Jwt, Link::Introspection, Link::Profile] {
            need(link, "CARILLON_AUTH_TENANT", tenant.is_some());
        }
        // A signature alone proves no more than that the provider once issued
        // the token to somebody for something.
        need(Link::Jwt, "CARILLON_AUTH_ISSUER", claims.issuer.is_some());
        need(
            Link::Jwt,
            "CARILLON_AUTH_AUDIENCE",
            claims.audience.is_some(),
        );
        need(Link::Jwt, "CARILLON_AUTH_JWKS_URL", keys.is_some());
        need(
            Link::Jwt,
            "CARILLON_AUTH_JWT_ALGORITHMS",
            !algorithms.is_empty(),
        );
        for (name, given) in [
            ("CARILLON_AUTH_INTROSPECTION_URL", url.is_some()),
            ("CARILLON_AUTH_INTROSPECTION_CLIENT", client.is_some()),
            ("CARILLON_AUTH_INTROSPECTION_SECRET", secret.is_some()),
        ] {
            need(Link::Introspection, name, given);
        }
        need(
            Link::Profile,
            "CARILLON_AUTH_PROFILE_URL",
            profile.is_some(),
        );

        Self {
            tenant,
            claims,
            jwt: keys
                .filter(|_| chain.contains(&Link::Jwt))
                .map(|keys| JwtSettings {
                    keys: keys.0,
                    refresh,
                    algorithms: algorithms.into_iter().map(|Signature(one)| one).collect(),
                }),
            introspection: match (url, client, secret) {
                (Some(url), Some(client), Some(secret)) => Some(IntrospectionSettings {
                    url: url.0,
                    client,
                    secret,
                }),
                _ => None,
            },
            profile: profile.map(|url| url.0),
            chain,
        }
    }
}

impl AuthSettings {
    /// Has `secrets` renew the client's secret, if it is one of `files`.
    pub fn watch(&self, secrets: &mut SecretFiles, files: &Files) {
        let Some(IntrospectionSettings { secret, .. }) = self.introspection.clone() else {
            return;
        };
        let name = "CARILLON_AUTH_INTROSPECTION_SECRET";
        secrets.setting(files, name, move |new: Hidden| {
            secret.0.set_as(&new.0);
            Ok::<_, Infallible>(())
        });
    }
}

/// What would never be asked is a mistake: nobody would notice that it is not.
fn order_mistakes(chain: &[Link]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (at, link) in chain.iter().enumerate() {
        let name = link.as_str();
        if chain[..at].contains(link) {
            mistakes.push(format!("{name} stands there twice"));
        } else if link.takes_any() && at + 1 < chain.len() {
            mistakes.push(format!("{name} must come last, as it takes any token"));
        }
    }
    mistakes
}

impl Link {
    /// Its name, in the settings and in the names of tokens.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Jwt => "jwt",
            Self::Introspection => "introspection",
            Self::Profile => "profile",
        }
    }

    /// Whether every token has a form that it recognises.
    const fn takes_any(self) -> bool {
        matches!(self, Self::Introspection | Self::Profile)
    }
}

/// The text is none of those who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected own, jwt, introspection or profile")]
pub(super) struct BadLink;

impl FromStr for Link {
    type Err = BadLink;

    fn from_str(text: &str) -> Result<Self, BadLink> {
        [Self::Own, Self::Jwt, Self::Introspection, Self::Profile]
            .into_iter()
            .find(|link| link.as_str() == text)
            .ok_or(BadLink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        AuthSettings::read(&mut env);
        match env.finish() {
            Ok(()) => Vec::new(),
            Err(error) => error
                .to_string()
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect(),
        }
    }

    #[test]
    fn our_own_tokens_need_no_settings() {
        assert!(mistakes(&[]).is_empty());
        let settings = AuthSettings::read(&mut Env::from_pairs::<&str, &str>([]));
        assert_eq!(settings.chain, [Link::Own]);
    }

    #[test]
    fn a_provider_needs_to_be_described_in_full() {
        let told = mistakes(&[("CARILLON_AUTH_CHAIN", "own,jwt")]).join("\n");
        for name in ["TENANT", "ISSUER", "AUDIENCE", "JWKS_URL"] {
            assert!(
                told.contains(&format!("CARILLON_AUTH_{name} must be set")),
                "{told}"
            );
        }
        let told = mistakes(&[("CARILLON_AUTH_CHAIN", "introspection")]).join("\n");
        for name in [
            "TENANT",
            "INTROSPECTION_URL",
            "INTROSPECTION_CLIENT",
            "INTROSPECTION_SECRET",
        ] {
            assert!(
                told.contains(&format!("CARILLON_AUTH_{name} must be set")),
                "{told}"
            );
        }
        let full = [
            ("CARILLON_AUTH_CHAIN", "own,jwt,profile"),
            ("CARILLON_AUTH_TENANT", "acme"),
            ("CARILLON_AUTH_ISSUER", "https://id.example/"),
            ("CARILLON_AUTH_AUDIENCE", "notes"),
            ("CARILLON_AUTH_JWKS_URL", "https://id.example/keys"),
            ("CARILLON_AUTH_PROFILE_URL", "http://h.example/api/profile"),
        ];
        assert!(mistakes(&full).is_empty());
    }

    #[test]
    fn what_would_never_be_asked_is_a_mistake() {
        for (chain, mistake) in [
            ("own,own", "own stands there twice"),
            (
                "profile,introspection",
                "profile must come last, as it takes any token",
            ),
        ] {
            let told = mistakes(&[("CARILLON_AUTH_CHAIN", chain)]).join("\n");
            assert!(told.contains(mistake), "{told}");
        }
    }

    #[test]
    fn keys_that_both_sides_know_are_no_way_to_sign() {
        for algorithms in ["HS256", "none", "RS256,HS256", "PS256"] {
            let told = mistakes(&[("CARILLON_AUTH_JWT_ALGORITHMS", algorithms)]);
            assert_eq!(told.len(), 1, "{algorithms}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let mut env = Env::from_pairs([
            ("CARILLON_AUTH_INTROSPECTION_URL", "https://id.example/"),
            ("CARILLON_AUTH_INTROSPECTION_CLIENT", "notes"),
            ("CARILLON_AUTH_INTROSPECTION_SECRET", "hush-hush"),
        ]);
        let settings = AuthSettings::read(&mut env);
        assert!(settings.introspection.is_some());
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
