//! The scripts about annotations, and how they are called.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use super::{Annotations, Links};
use crate::annotation::topic;
use crate::keys::Keys;
use crate::sites::Site;

/// Declares scripts made of files, the shared ones first.
macro_rules! scripts {
    ($($name:ident = [$($file:literal),+];)+) => {$(
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));
    )+};
}

scripts! {
    CREATE = ["../../ring.lua", "common.lua", "document.lua", "render.lua", "write.lua", "create.lua"];
    UPDATE = ["../../ring.lua", "common.lua", "document.lua", "render.lua", "write.lua", "update.lua"];
    DELETE = ["../../ring.lua", "common.lua", "document.lua", "render.lua", "write.lua", "delete.lua"];
    MODERATE = ["../../ring.lua", "common.lua", "document.lua", "render.lua", "moderate.lua"];
    FLAG = ["common.lua", "flag.lua"];
    READ = ["../../ring.lua", "common.lua", "document.lua", "render.lua", "read.lua"];
    ROWS = ["common.lua", "rows.lua"];
    EXPAND = ["common.lua", "document.lua", "expand.lua"];
}

/// A script with its arguments.
pub(super) struct Call {
    invocation: ScriptInvocation<'static>,
}

impl Call {
    /// Without arguments of its own yet.
    pub(super) fn new(script: &'static Script, keys: &Keys, links: &Links, site: &Site) -> Self {
        let tenant = &site.tenant;
        let mut invocation = script.prepare_invoke();
        invocation
            .key(keys.annotations_begin(tenant))
            .key(keys.documents_begin(tenant))
            .key(keys.addresses(tenant))
            .key(keys.annotation_indexes_begin(tenant))
            .key(keys.groups_begin(tenant))
            .key(keys.users_begin(tenant))
            .key(keys.ring(&topic(tenant)))
            .arg(keys.channel(&topic(tenant)))
            .arg(&*links.app)
            .arg(links.bouncer.as_deref().unwrap_or_default())
            .arg(&*site.authority);
        Self { invocation }
    }

    /// One argument.
    pub(super) fn arg(mut self, arg: impl AsRef<str>) -> Self {
        self.invocation.arg(arg.as_ref());
        self
    }

    /// Yes or no.
    pub(super) fn flag(self, flag: bool) -> Self {
        self.arg(if flag { "1" } else { "0" })
    }

    /// How many there are, and they.
    pub(super) fn list<T: AsRef<str>>(
        mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> Self {
        let items = items.into_iter();
        self.invocation.arg(items.len());
        items.fold(self, Self::arg)
    }

    pub(super) fn invocation(&self) -> &ScriptInvocation<'static> {
        &self.invocation
    }
}

impl Annotations {
    pub(super) fn call(&self, script: &'static Script, site: &Site) -> Call {
        Call::new(script, &self.keys, &self.links, site)
    }
}
