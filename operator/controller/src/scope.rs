//! Which namespaces the operator serves: all, or those it was limited to. Limited, it asks the API server for nothing of
//! other namespaces, and for nothing of all at once that is in namespaces.

use std::collections::BTreeSet;
use std::fmt;

/// Where one watch looks: a namespace, or everywhere (None).
pub type Place = Option<String>;

/// Longest name of a namespace.
const MAX_NAME: usize = 63;

/// The namespaces that are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All there are.
    #[default]
    All,
    /// These, whether they are there or not.
    Only(BTreeSet<String>),
}

impl Scope {
    /// What flags name; nothing means all.
    pub fn of(names: &[String]) -> Scope {
        if names.is_empty() { Scope::All } else { Scope::Only(names.iter().cloned().collect()) }
    }

    /// Where watches look: one everywhere, or one in each namespace.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Scope::All => vec![None],
            Scope::Only(names) => names.iter().cloned().map(Some).collect(),
        }
    }

    /// Whether it is less than all.
    pub fn is_limited(&self) -> bool {
        matches!(self, Scope::Only(_))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Only(names) => {
                f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// A namespace's name, as the API server would take it. An empty one is refused: it would be easily taken for "all".
///
/// # Errors
/// Says what is wrong with it.
pub fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let right = !text.is_empty()
        && text.len() <= MAX_NAME
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if right {
        Ok(text.to_owned())
    } else {
        Err("no name of a namespace; leave it out to serve all".to_owned())
    }
}

/// How people call a place.
pub fn title(place: Option<&str>) -> &str {
    place.unwrap_or("all namespaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_watch_everywhere_or_one_in_each_namespace_once() {
        assert_eq!(Scope::of(&[]).places(), [None]);
        let names = ["b", "a", "b"].map(str::to_owned);
        let limited = Scope::of(&names);
        assert_eq!(limited.places(), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!((limited.to_string(), Scope::All.to_string()), ("a,b".to_owned(), "all".to_owned()));
    }

    #[test]
    fn what_cannot_be_a_namespace_is_refused() {
        for right in ["a", "shop", "shop-2", "0"] {
            assert_eq!(namespace(right).as_deref(), Ok(right));
        }
        let long = "a".repeat(64);
        for wrong in ["", "*", "Shop", "-a", "a-", "a b", "a.b", "a/b", long.as_str()] {
            assert!(namespace(wrong).is_err(), "{wrong}");
        }
    }
}
