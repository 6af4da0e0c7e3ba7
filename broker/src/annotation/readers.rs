//! Who gets what is told of an annotation, and as whom.

use super::{Change, Notification, Readable};
use crate::people::Role;

/// Whom an annotation is shown to. All of one class see the same, except for
/// whether they flagged it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViewerClass {
    /// Whoever wrote it: nothing is hidden from them.
    Author,
    /// Whoever wrote it and also moderates its group.
    ModeratingAuthor,
    /// A moderator of its group: sees what is hidden, and how many flagged it.
    Moderator,
    /// Everybody else.
    Reader,
}

impl ViewerClass {
    /// In how many ways an annotation may be shown: to each class, and to who
    /// flagged it and who did not.
    pub const WAYS: usize = 8;

    /// Numbers the ways, from 0.
    pub fn way(self, flagged: bool) -> usize {
        2 * self as usize + usize::from(flagged)
    }

    /// Whether the annotation is the viewer's own.
    pub fn wrote_it(self) -> bool {
        matches!(self, Self::Author | Self::ModeratingAuthor)
    }

    /// Whether the viewer may hide it.
    pub fn moderates(self) -> bool {
        matches!(self, Self::ModeratingAuthor | Self::Moderator)
    }
}

impl Notification {
    /// As whom a viewer, `None` if not signed in, gets this; `None` if they must
    /// not (Hypothesis real-time, who gets it). The tab that caused it is not
    /// looked at: whoever speaks for a socket knows its id.
    ///
    /// `strict` tells those who are not signed in of shadow-banned authors.
    pub fn class_for(
        &self,
        userid: Option<&str>,
        role_in_group: impl FnOnce(&str) -> Option<Role>,
        strict: bool,
    ) -> Option<ViewerClass> {
        let wrote_it = userid == Some(&*self.author);
        if self.author_banned && !wrote_it && !(strict && userid.is_none()) {
            return None;
        }
        if !self.shared {
            return wrote_it.then_some(ViewerClass::Author);
        }
        let readable_by = self.group.readable_by;
        // Nobody is in a group that is gone, whatever is still known of them.
        let role = match (userid, readable_by) {
            (None, _) | (_, Readable::Nobody) => None,
            (Some(_), _) => role_in_group(&self.group.id),
        };
        let moderates = role.is_some_and(Role::moderates);
        let may = if self.hidden() {
            wrote_it || (moderates && self.action != Change::Delete)
        } else {
            match readable_by {
                Readable::World => true,
                Readable::Members => role.is_some(),
                Readable::Nobody => false,
            }
        };
        may.then_some(match (wrote_it, moderates) {
            (true, true) => ViewerClass::ModeratingAuthor,
            (true, false) => ViewerClass::Author,
            (false, true) => ViewerClass::Moderator,
            (false, false) => ViewerClass::Reader,
        })
    }
}

#[cfg(test)]
mod tests;
