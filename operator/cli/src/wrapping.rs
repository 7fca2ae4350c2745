//! Recipients as they are written, to what a data key is wrapped to: X25519 keys. Others (plugins, SSH) may stay where they
//! are, for nothing is wrapped to them then.

use std::collections::HashSet;

use touchseal_sops::{Recipient, RecipientError, Recipients};

use crate::error::Explain;

/// Why nobody can be encrypted to.
#[derive(Debug, thiserror::Error)]
pub enum WrappingError {
    /// A plugin's recipient, or an SSH key.
    #[error("encrypt to {0}: recipients of age plugins and SSH keys are not supported")]
    Kind(String),
    /// It is no recipient, or they do not go together.
    #[error("encrypt to these recipients: {0}")]
    Recipients(RecipientError),
}

impl Explain for WrappingError {
    fn hint(&self) -> String {
        match self {
            Self::Kind(_) => "use sops itself for this file: sops encrypt, sops updatekeys".to_owned(),
            Self::Recipients(_) => {
                "give age recipients (age1...), as touchseal recipients and age-keygen -y print them"
                    .to_owned()
            }
        }
    }
}

/// The recipients of these groups. Those in `staying` have their entry already.
pub fn recipients(
    groups: &[Vec<String>],
    threshold: Option<usize>,
    staying: &HashSet<&str>,
) -> Result<Recipients, WrappingError> {
    let groups = groups
        .iter()
        .map(|group| group.iter().map(|text| recipient(text, staying)).collect())
        .collect::<Result<_, _>>()?;
    Recipients::in_groups(groups, threshold).map_err(WrappingError::Recipients)
}

fn recipient(text: &str, staying: &HashSet<&str>) -> Result<Recipient, WrappingError> {
    match text.parse() {
        Ok(recipient) => Ok(recipient),
        Err(_) if staying.contains(text) => Ok(Recipient::new(text.to_owned(), Box::new(Stays))),
        Err(_) if is_other_kind(text) => Err(WrappingError::Kind(text.to_owned())),
        Err(error) => Err(WrappingError::Recipients(error)),
    }
}

/// `age1name1...` is a plugin's; the part before the last 1 is the kind.
fn is_other_kind(text: &str) -> bool {
    text.starts_with("ssh-") || text.strip_prefix("age1").is_some_and(|rest| rest.contains('1'))
}

/// A recipient that nothing is wrapped to, because what is wrapped for it stays.
struct Stays;

impl age::Recipient for Stays {
    fn wrap_file_key(
        &self,
        _: &age_core::format::FileKey,
    ) -> Result<(Vec<age_core::format::Stanza>, HashSet<String>), age::EncryptError> {
        Err(age::EncryptError::Io(std::io::Error::other("nothing is wrapped to a recipient that stays")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "age19ww0y5fyr02g79lxaw9jh5hk0r766zye25hxvkf7wrxppxd0ed8qh0a3gh";
    const PLUGIN: &str = "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t";

    fn texts(groups: &[&[&str]], staying: &[&str]) -> Result<Vec<String>, String> {
        let groups: Vec<Vec<String>> =
            groups.iter().map(|g| g.iter().map(|t| (*t).to_owned()).collect()).collect();
        let made = recipients(&groups, None, &staying.iter().copied().collect());
        made.map(|all| all.groups().iter().flatten().map(|one| one.text().to_owned()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn other_kinds_may_stay_and_not_come() {
        assert_eq!(texts(&[&[ONE]], &[]), Ok(vec![ONE.to_owned()]));
        assert_eq!(texts(&[&[PLUGIN, ONE]], &[PLUGIN]), Ok(vec![PLUGIN.to_owned(), ONE.to_owned()]));
        for other in [PLUGIN, "ssh-ed25519 AAAA"] {
            assert!(texts(&[&[other]], &[]).unwrap_err().contains("not supported"), "{other}");
        }
        assert!(texts(&[&["age1nonsense"]], &[]).unwrap_err().contains("not an age recipient"));
        assert!(texts(&[&[]], &[]).is_err());
    }
}
