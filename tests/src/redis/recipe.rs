//! The users that operators are told to make for our processes.

const PAGE: &str = include_str!("../../../docs/operations.md");
const MISSKEY: &str = include_str!("../../../docs/misskey.md");

/// The lines of the page, as an ACL file has them, but for the first.
///
/// # Panics
/// If the page has none.
pub fn users() -> &'static str {
    lines().1
}

/// The first: what becomes of those who do not say who they are.
pub(super) fn nobody() -> &'static str {
    let (nobody, _) = lines();
    assert!(nobody.starts_with("user default off "), "{nobody}");
    nobody
}

fn lines() -> (&'static str, &'static str) {
    let parts = block(PAGE).split_once('\n');
    parts.expect("there are several lines")
}

/// The same, but gateways may also do what they are allowed at the Redis of a
/// Misskey: in tests its bus and caches are in ours. That is a selector of its own, so
/// that it adds nothing to what they may do with our keys.
pub(super) fn users_beside_misskey() -> String {
    let rights = block(MISSKEY).replace("&social.example", "&*.example &*.example:*");
    let rights = rights.replace("social.example", "*.example*");
    let names = rights.split_whitespace();
    let names = names.filter(|word| !word.starts_with("reset"));
    let rights: Vec<_> = names
        .filter(|word| word.contains(['&', '~', '+']))
        .collect();
    let beside = |line: &str| match line.starts_with("user carillon-gateway ") {
        true => format!("{line} ({})\n", rights.join(" ")),
        false => format!("{line}\n"),
    };
    users().lines().map(beside).collect()
}

fn block(page: &'static str) -> &'static str {
    let (_, block) = page.split_once("```acl\n").expect("the page has it");
    let (lines, _) = block.split_once("```").expect("the block ends");
    lines
}
