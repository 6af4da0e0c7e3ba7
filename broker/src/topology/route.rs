//! Which server a command is for, by the keys it names.

use redis::{Arg, Cmd};

use crate::keys::slot;

/// Where in a Cluster a command is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Where this slot is.
    Slot(u16),
    /// Anywhere: it names no key.
    Any,
    /// Anywhere, and twice does no harm: it only asks.
    Question,
    /// Where the one before it ran: it mends what that one lacked there.
    There,
}

impl Route {
    /// That of this command. Its keys are expected to share a slot.
    pub(super) fn of(command: &Cmd) -> Self {
        let word = |n: usize| match command.args_iter().nth(n) {
            Some(Arg::Simple(word)) => Some(word),
            _ => None,
        };
        let Some(name) = word(0).and_then(|name| std::str::from_utf8(name).ok()) else {
            return Self::Any;
        };
        let key = match name.to_ascii_uppercase().as_str() {
            "SCRIPT" => return Self::There,
            "PING" | "ECHO" | "TIME" => return Self::Question,
            "PUBLISH" | "FUNCTION" | "WAIT" | "ROLE" | "INFO" | "CLUSTER" | "CONFIG" | "CLIENT"
            | "ACL" | "DBSIZE" | "SCAN" | "KEYS" | "PUBSUB" | "COMMAND" | "MEMORY" | "FLUSHALL"
            | "DEBUG" => None,
            "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => match word(2) {
                None | Some(b"0") => None,
                Some(_) => word(3),
            },
            "XREAD" | "XREADGROUP" => {
                let named = |arg: &Arg<&[u8]>| matches!(arg, Arg::Simple(word) if word.eq_ignore_ascii_case(b"STREAMS"));
                let at = command.args_iter().position(|arg| named(&arg));
                at.and_then(|at| word(at + 1))
            }
            "XGROUP" | "XINFO" | "OBJECT" => word(2),
            _ => word(1),
        };
        key.map_or(Self::Any, |key| Self::Slot(slot(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_where_its_key_is() {
        let at = Route::Slot(slot(b"k"));
        for (words, route) in [
            ("GET k", at),
            ("get k", at),
            ("EVALSHA x 2 k k a", at),
            ("EVAL x 0 a", Route::Any),
            ("FCALL f 1 k a", at),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS k >", at),
            ("XGROUP CREATE k g 0", at),
            ("PUBLISH k x", Route::Any),
            ("SCRIPT LOAD x", Route::There),
            ("PING", Route::Question),
        ] {
            let mut command = Cmd::new();
            for word in words.split(' ') {
                command.arg(word);
            }
            assert_eq!(Route::of(&command), route, "{words}");
        }
    }
}
