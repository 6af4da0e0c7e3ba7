//! Who is asked whom a token names.

use crate::node::env::Env;

/// The settings of the chain that checks users' tokens.
#[derive(Clone, Debug)]
pub struct AuthSettings {}

impl AuthSettings {
    /// Reads them; mistakes are told by [`Env::finish`].
    pub fn read(_env: &mut Env) -> Self {
        Self {}
    }
}
