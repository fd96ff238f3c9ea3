//! Which key was meant, where a scenario file has one that means nothing.

/// Adds the nearest known key to what serde says of an unknown one: ``unknown field `a`, expected one of `b`, `c` ``.
pub(super) fn with_nearest_key(message: &str) -> String {
    let nearest = || {
        let (_, said) = message.split_once("unknown field `")?;
        let (unknown, rest) = said.split_once('`')?;
        // Every second piece stands between backticks.
        let known = rest.lines().next()?.split('`').skip(1).step_by(2);
        known.min_by_key(|known| strsim::damerau_levenshtein(known, unknown))
    };
    nearest().map_or_else(|| message.to_owned(), |key| format!("{message}; did you mean `{key}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn the_nearest_key_is_named() {
        for (text, meant) in [
            ("[[group]]\nsubscriber = 3\n", "`subscribers`?"),
            ("churns = 1\n[[group]]\n", "`churn`?"),
            ("[[group]]\nimpairment = { los = 0.1 }\n", "`loss`?"),
        ] {
            let error = toml::from_str::<Scenario>(text).unwrap_err();
            let hint = with_nearest_key(&error.to_string());
            assert!(hint.ends_with(&format!("did you mean {meant}")), "{hint}");
        }
        assert_eq!(with_nearest_key("something else"), "something else");
    }
}
