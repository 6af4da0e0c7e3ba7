//! The scripts about people, each after what all of them agree on.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {$(
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("common.lua"), include_str!($file)))
        });
    )+};
}

scripts! {
    CREATE_GROUP = "create_group.lua";
    DELETE_GROUP = "delete_group.lua";
    DELETE_USER = "delete_user.lua";
    JOIN = "join.lua";
    LEAVE = "leave.lua";
    PUT_USER = "put_user.lua";
    SESSION = "session.lua";
    SET_ROLE = "set_role.lua";
    UPDATE_GROUP = "update_group.lua";
}
