//! Who a document is encrypted to: age recipients in one key group, or in several of which a number is needed.

use std::fmt;
use std::str::FromStr;

use crate::age_file::X25519Recipient;
use crate::limits::{MAX_GROUPS, MAX_RECIPIENTS, MAX_WRAPPED_KEY};

/// One age recipient.
pub struct Recipient {
    text: String,
    pub(crate) wrap: Wrap,
}

pub(crate) enum Wrap {
    X25519(X25519Recipient),
    Other(Box<dyn age::Recipient + Send + Sync>),
}

impl Recipient {
    /// Any recipient the `age` crate knows, a plugin's or an SSH key, say. `text` is how documents are to write it.
    pub fn new(text: String, recipient: Box<dyn age::Recipient + Send + Sync>) -> Recipient {
        Recipient { text, wrap: Wrap::Other(recipient) }
    }

    /// As documents write it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// An X25519 recipient, `age1...`.
impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Recipient, RecipientError> {
        let text = text.trim();
        let unknown = || RecipientError::Unknown { recipient: crate::error::shown(text) };
        let key = X25519Recipient::parse(text).ok_or_else(unknown)?;
        Ok(Recipient { text: text.to_owned(), wrap: Wrap::X25519(key) })
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Key groups of recipients. With one group each of its recipients opens the document; with more the data key is split
/// (Shamir), and the threshold says how many groups are needed.
#[derive(Debug)]
pub struct Recipients {
    groups: Vec<Vec<Recipient>>,
    threshold: Option<usize>,
}

impl Recipients {
    /// One group.
    ///
    /// # Errors
    /// No recipients, too many, or one twice.
    pub fn new(recipients: Vec<Recipient>) -> Result<Recipients, RecipientError> {
        Recipients::in_groups(vec![recipients], None)
    }

    /// Several groups. Without a threshold all of them are needed. For one group the threshold has no meaning.
    ///
    /// # Errors
    /// A group is empty or too large or names a recipient twice, or the threshold is not from 2 to the number of groups.
    pub fn in_groups(
        groups: Vec<Vec<Recipient>>,
        threshold: Option<usize>,
    ) -> Result<Recipients, RecipientError> {
        if groups.is_empty() || groups.iter().any(Vec::is_empty) {
            return Err(RecipientError::None);
        }
        if groups.len() > MAX_GROUPS || groups.iter().map(Vec::len).sum::<usize>() > MAX_RECIPIENTS {
            return Err(RecipientError::TooMany);
        }
        for group in &groups {
            for (index, recipient) in group.iter().enumerate() {
                if recipient.text.is_empty() || recipient.text.len() > MAX_WRAPPED_KEY {
                    return Err(RecipientError::Unknown { recipient: crate::error::shown(&recipient.text) });
                }
                if group.iter().take(index).any(|other| other.text == recipient.text) {
                    return Err(RecipientError::Twice { recipient: crate::error::shown(&recipient.text) });
                }
            }
        }
        let threshold = match (groups.len(), threshold) {
            (1, _) => None,
            (count, None | Some(0)) => Some(count),
            (count, Some(needed)) if (2..=count).contains(&needed) => Some(needed),
            (count, Some(needed)) => return Err(RecipientError::Threshold { needed, groups: count }),
        };
        Ok(Recipients { groups, threshold })
    }

    /// The groups, never empty.
    pub fn groups(&self) -> &[Vec<Recipient>] {
        &self.groups
    }

    /// How many groups are needed, `None` if there is one group only.
    pub fn threshold(&self) -> Option<usize> {
        self.threshold
    }
}

/// Why nobody can be encrypted to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    #[error("{recipient}: not an age recipient of the kind age1...")]
    Unknown { recipient: String },
    #[error("{recipient}: listed twice")]
    Twice { recipient: String },
    #[error("there must be a recipient in every key group")]
    None,
    #[error("more than {MAX_RECIPIENTS} recipients or {MAX_GROUPS} key groups")]
    TooMany,
    #[error("a threshold of {needed} does not fit {groups} key groups: it must be from 2 to their number")]
    Threshold { needed: usize, groups: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "age19ww0y5fyr02g79lxaw9jh5hk0r766zye25hxvkf7wrxppxd0ed8qh0a3gh";
    const OTHER: &str = "age1hm68wwpcyyg7e7jwvapq4e49mm5vf2v5v7qnjxal7t7g9qm3492qghhsmx";

    fn group(texts: &[&str]) -> Vec<Recipient> {
        texts.iter().map(|text| text.parse().expect("a recipient")).collect()
    }

    #[test]
    fn what_is_no_x25519_recipient_is_refused() {
        for text in
            ["", "age1", "age1yubikey1qwerty", "AGE-SECRET-KEY-1", &ONE[..ONE.len() - 1], "ssh-ed25519 AAAA"]
        {
            assert!(matches!(text.parse::<Recipient>(), Err(RecipientError::Unknown { .. })), "{text}");
        }
        assert_eq!(format!(" {ONE}\n").parse::<Recipient>().expect("a recipient").text(), ONE);
    }

    #[test]
    fn thresholds_fit_the_groups() {
        let two = || vec![group(&[ONE]), group(&[OTHER])];
        assert_eq!(Recipients::in_groups(two(), None).expect("all").threshold(), Some(2));
        assert_eq!(Recipients::in_groups(vec![group(&[ONE])], Some(3)).expect("one").threshold(), None);
        for threshold in [1, 3] {
            let refused = Recipients::in_groups(two(), Some(threshold)).expect_err("refused");
            assert_eq!(refused, RecipientError::Threshold { needed: threshold, groups: 2 });
        }
        assert_eq!(Recipients::new(Vec::new()).expect_err("refused"), RecipientError::None);
        let twice = Recipients::new(group(&[ONE, ONE])).expect_err("refused");
        assert!(matches!(twice, RecipientError::Twice { .. }));
    }
}
