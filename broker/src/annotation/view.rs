//! An annotation as one viewer sees it.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::ViewerClass;
use super::{Change, Moderation, Notification};

impl Notification {
    /// The JSON of the annotation for a class of viewers; only its id, if it is
    /// gone (Hypothesis real-time, the annotation object). `flagged`: whether
    /// this very viewer flagged it.
    ///
    /// What the event says beside the annotation outweighs what it says in it.
    pub fn view(&self, class: ViewerClass, flagged: bool) -> String {
        if self.action == Change::Delete {
            return json!({"id": self.id}).to_string();
        }
        // Shallow: what stays as it is is copied, not read.
        let mut members: BTreeMap<String, &RawValue> =
            serde_json::from_str(self.annotation.get()).unwrap_or_default();
        let hidden = self.hidden() && !class.wrote_it();
        let censored = hidden && !class.moderates();

        let mut own = Vec::with_capacity(8);
        let mut set = |name: &'static str, value: Box<RawValue>| own.push((name, value));
        set("id", raw(&self.id));
        set("hidden", raw(&hidden));
        set("flagged", raw(&flagged));
        set("moderation_status", raw(&self.shown_status()));
        set(
            "actions",
            raw(if class.moderates() {
                &["moderate"][..]
            } else {
                &[]
            }),
        );
        if class.moderates() {
            let count = json!({"flagCount": self.flaggers.len()});
            set("moderation", raw(&count));
        }
        if censored {
            set("text", raw(""));
            set("tags", raw(&[(); 0]));
        }
        members.remove("moderation");
        for (name, value) in &own {
            members.insert((*name).to_owned(), value);
        }
        serde_json::to_string(&members).expect("strings and JSON are JSON")
    }

    /// Nobody was asked about what is shared: that is as good as approved.
    fn shown_status(&self) -> Option<Moderation> {
        let unasked = self.shared.then_some(Moderation::Approved);
        self.moderation.or(unasked)
    }
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("it is JSON")
}

#[cfg(test)]
mod tests;
