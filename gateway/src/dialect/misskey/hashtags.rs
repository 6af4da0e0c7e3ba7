//! Which hashtags somebody looks for: all of one of some groups.

use broker::key::Key;
use broker::misskey::Field;
use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::Value;

use super::params::Params;

/// Hashtags in all groups together.
const MAX_TAGS: usize = 512;
/// Bytes of all of them, as they are compared.
const MAX_BYTES: usize = 16 << 10;

/// Groups of hashtags, in order. None is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Hashtags(Box<[Box<[Box<str>]>]>);

impl Hashtags {
    /// Reads the parameter `q`: a list of lists of strings, of which none may be
    /// empty but the outer one, which finds nothing. `None` if it is anything
    /// else, or longer than anybody needs.
    pub fn read(params: &Params) -> Option<Self> {
        let (mut tags, mut bytes) = (0, 0);
        let mut tag = |tag: &Value| {
            let tag = normal(tag.as_str()?);
            tags += 1;
            bytes += tag.len();
            (tags <= MAX_TAGS && bytes <= MAX_BYTES).then_some(tag)
        };
        let mut group = |group: &Value| {
            let group = group.as_array().filter(|group| !group.is_empty())?;
            group.iter().map(&mut tag).collect()
        };
        let groups = params.get("q")?.as_array()?;
        let groups: Option<Box<[_]>> = groups.iter().map(&mut group).collect();
        let mut groups = groups?;
        groups.sort_unstable();
        Some(Self(groups))
    }

    /// Whether a note with these tags, in lower case, is one of those looked for.
    pub fn matches(&self, tags: &[Box<str>]) -> bool {
        // Only groups that begin with one of the note's own are looked at: a socket may
        // look for thousands, and a note has a few.
        tags.iter().any(|first| {
            let from = self.0.partition_point(|group| group[0] < *first);
            let groups = self.0[from..].iter();
            let mut begin = groups.take_while(|group| group[0] == *first);
            begin.any(|group| group.iter().all(|tag| tags.contains(tag)))
        })
    }

    /// Keys of which a note that matches bears at least one.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let firsts = self.0.iter().filter_map(|group| group.first());
        firsts.map(|tag| Field::Tag.key(tag))
    }
}

fn normal(tag: &str) -> Box<str> {
    const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();
    NFKC.normalize(tag).to_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashtags(q: &str) -> Option<Hashtags> {
        let json = format!(r#"{{"q":{q}}}"#);
        Hashtags::read(&Params::read(serde_json::from_str(&json).ok()))
    }

    fn found(q: &str, tags: &[&str]) -> bool {
        let tags: Vec<Box<str>> = tags.iter().map(|tag| (*tag).into()).collect();
        hashtags(q).expect("it is accepted").matches(&tags)
    }

    #[test]
    fn all_tags_of_any_group_find_a_note() {
        assert!(found(r#"[["foo","bar"]]"#, &["bar", "x", "foo"]));
        assert!(!found(r#"[["foo","bar"]]"#, &["bar"]));
        assert!(found(r#"[["foo"],["bar"]]"#, &["bar"]));
        assert!(found(
            r#"[["x"],["foo","z"],["foo","bar"],["a"]]"#,
            &["bar", "foo"]
        ));
        assert!(!found(r#"[["foo"],["bar"]]"#, &[]));
        assert!(!found("[]", &["foo"]), "no group finds nothing");
    }

    #[test]
    fn width_and_case_of_what_is_looked_for_do_not_matter() {
        assert!(found(r#"[["ＦＯＯ"]]"#, &["foo"]));
        assert!(found(r#"[["ﾀｸﾞ"]]"#, &["タグ"]));
        assert!(found(r#"[["ÄÖ"]]"#, &["äö"]));
        assert!(found(r#"[["A\u0308"]]"#, &["ä"]));
    }

    #[test]
    fn what_is_no_list_of_groups_is_refused() {
        for q in [
            "[[]]",
            r#"[["foo"],[]]"#,
            r#""foo""#,
            r#"["foo"]"#,
            r#"[["foo",5]]"#,
            r#"[["foo",null]]"#,
            "{}",
            "null",
        ] {
            assert_eq!(hashtags(q), None, "{q}");
        }
        assert_eq!(Hashtags::read(&Params::default()), None);
    }

    #[test]
    fn nobody_looks_for_more_than_so_much() {
        let many = |tags: usize| format!("[[{}]]", vec![r#""a""#; tags].join(","));
        assert!(hashtags(&many(MAX_TAGS)).is_some());
        assert_eq!(hashtags(&many(MAX_TAGS + 1)), None);
        let long = |bytes: usize| format!(r#"[["{}"]]"#, "a".repeat(bytes));
        assert!(hashtags(&long(MAX_BYTES)).is_some());
        assert_eq!(hashtags(&long(MAX_BYTES + 1)), None);
        // One character that is eighteen once it is normal.
        assert_eq!(
            hashtags(&long(0).replace("\"\"", &format!("\"{}\"", "ﷺ".repeat(600)))),
            None
        );
    }
}
