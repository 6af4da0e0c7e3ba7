//! An annotation on its way to many viewers, who see it in few ways.

use std::sync::OnceLock;

use crate::annotation::Notification;
use crate::annotation::readers::ViewerClass;

/// What happened to an annotation, and how viewers see it, each way rendered when
/// it is first wanted.
#[derive(Debug)]
pub(super) struct Shown {
    notification: Notification,
    views: [OnceLock<Box<str>>; ViewerClass::WAYS],
}

impl Shown {
    pub(super) fn new(notification: Notification) -> Self {
        let views = Default::default();
        Self {
            notification,
            views,
        }
    }

    pub(super) fn notification(&self) -> &Notification {
        &self.notification
    }

    pub(super) fn view(&self, class: ViewerClass, flagged: bool) -> &str {
        let render = || self.notification.view(class, flagged).into();
        self.views[class.way(flagged)].get_or_init(render)
    }
}
