//! Where things are that clients are led to: pages, routes, the socket.

use broker::people::Group;
use serde_json::{Value, json};

use super::route;
use crate::config::{AppUrl, PublicUrl};

/// The addresses of one cluster. The pages are the application's; Carillon serves
/// what is under `api/`.
#[derive(Clone, Debug)]
pub struct Pages {
    app: AppUrl,
    socket: String,
}

impl Pages {
    /// Pages, and routes, under `app`; sockets under `gateways`.
    pub fn new(app: AppUrl, gateways: &PublicUrl) -> Self {
        Self {
            app,
            socket: gateways.under("ws"),
        }
    }

    /// What can be asked for, and how.
    pub(super) fn index(&self) -> Value {
        route::index(&self.app.under("api/"))
    }

    /// Where pages are, and the socket.
    pub(super) fn links(&self) -> Value {
        json!({
            "account.settings": self.app.under("account/settings"),
            "forgot-password": self.app.under("forgot-password"),
            "groups.new": self.app.under("groups/new"),
            "help": self.app.under("docs/help"),
            "oauth.authorize": self.app.under("oauth/authorize"),
            "oauth.revoke": self.app.under("oauth/revoke"),
            "search.tag": self.app.under("search?q=tag%3A%22:tag%22"),
            "signup": self.app.under("signup"),
            "user": self.app.under("u/:user"),
            "websocket": self.socket,
        })
    }

    /// The page of a group.
    pub(super) fn of_group(&self, group: &Group) -> String {
        self.app
            .under(&format!("groups/{}/{}", group.id, group.slug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_under_the_two_public_addresses() {
        let pages = |app: &str, gateways: &str| {
            Pages::new(app.parse().unwrap(), &gateways.parse().unwrap()).links()
        };
        let links = pages("https://notes.example", "wss://push.example");
        assert_eq!(links["websocket"], "wss://push.example/ws");
        assert_eq!(links["signup"], "https://notes.example/signup");
        let links = pages("https://example.org/notes", "wss://example.org/push");
        assert_eq!(links["websocket"], "wss://example.org/push/ws");
        assert_eq!(links["signup"], "https://example.org/notes/signup");
    }
}
