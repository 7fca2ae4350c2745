//! What `touchseal audit git -o json` found, as incidents: exactly the keys it names. A selector names Secrets and keys, and means
//! each of these keys in each of these Secrets; so there is one incident for all Secrets of a namespace that share their keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use touchseal_crds::incident::IncidentSelector;

use crate::error::{Explain, Failure};
use crate::files::{self, FileError};

const MAX_BYTES: u64 = 64 << 20;

/// What is read of a report; it may hold more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What was in use and public at that moment is exposed, since whenever it is public.
    pub audited_at: Timestamp,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    key: String,
    namespace: Option<String>,
    encrypted_secret: Option<String>,
    #[serde(default)]
    secret_keys: Vec<String>,
}

/// Why an audit's report gives no incident.
#[derive(Debug, thiserror::Error)]
pub enum FromAuditError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("read {}: it is no report of an audit", .0.display())]
    NotAReport(PathBuf, #[source] serde_json::Error),
    #[error("{}: nothing was found that an EncryptedSecret serves", .0.display())]
    Nothing(PathBuf),
    #[error("{}: nothing was found of namespace {namespace}, and {others} of others", .path.display())]
    NothingOf { path: PathBuf, namespace: String, others: usize },
}

impl Explain for FromAuditError {
    fn hint(&self) -> String {
        match self {
            Self::File(problem) => problem.hint(),
            Self::NotAReport(..) => "write one: touchseal audit git -o json > FILE".to_owned(),
            Self::Nothing(_) => {
                "incidents follow EncryptedSecrets: audit their manifests, or name what is exposed with --secret and --key"
                    .to_owned()
            }
            Self::NothingOf { .. } => "without --namespace incidents are about all that was found".to_owned(),
        }
    }
}

impl Audit {
    /// Reads a report.
    pub fn read(path: &Path) -> Result<Audit, Failure> {
        let text = files::read(path, MAX_BYTES).map_err(FromAuditError::File)?;
        Ok(serde_json::from_slice(&text)
            .map_err(|error| FromAuditError::NotAReport(path.to_owned(), error))?)
    }

    /// What each incident is about, in the order of namespaces and names, and how many findings are of other namespaces than
    /// the one that is meant.
    ///
    /// # Errors
    /// It would be about nothing.
    pub fn selectors(
        &self,
        path: &Path,
        only: Option<&str>,
    ) -> Result<(Vec<IncidentSelector>, usize), FromAuditError> {
        let mut keys: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        let mut others = 0;
        for finding in &self.findings {
            let Some(of) = finding.served_by() else { continue };
            if only.is_some_and(|only| only != of.0) {
                others += 1;
            } else {
                keys.entry(of).or_default().extend(finding.secret_keys.iter().map(String::as_str));
            }
        }
        let mut alike: BTreeMap<(&str, &BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
        for ((namespace, name), keys) in &keys {
            alike.entry((namespace, keys)).or_default().push(name);
        }
        if alike.is_empty() {
            let (path, namespace) = (path.to_owned(), only.unwrap_or_default().to_owned());
            return Err(match others {
                0 => FromAuditError::Nothing(path),
                others => FromAuditError::NothingOf { path, namespace, others },
            });
        }
        let owned = |words: &mut dyn Iterator<Item = &&str>| words.map(|word| (*word).to_owned()).collect();
        let selectors = alike.into_iter().map(|((namespace, keys), names)| IncidentSelector {
            namespaces: vec![namespace.to_owned()],
            names: owned(&mut names.iter()),
            keys: owned(&mut keys.iter()),
            ..IncidentSelector::default()
        });
        Ok((selectors.collect(), others))
    }

    /// Values that no EncryptedSecret is known to serve: those of files on their own, and what no template uses.
    pub fn left_out(&self) -> Vec<&str> {
        let others = self.findings.iter().filter(|one| one.served_by().is_none());
        others.map(|one| one.key.as_str()).collect()
    }
}

impl Finding {
    /// The namespace and name of what serves it.
    fn served_by(&self) -> Option<(&str, &str)> {
        let of = self.namespace.as_deref().zip(self.encrypted_secret.as_deref());
        of.filter(|_| !self.secret_keys.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(findings: &[(&str, &str, &str)]) -> Audit {
        let findings: Vec<serde_json::Value> = findings
            .iter()
            .map(|(namespace, name, key)| {
                serde_json::json!({ "key": "k", "namespace": namespace, "encryptedSecret": name, "secretKeys": key.split(' ').collect::<Vec<_>>(), "whole": true })
            })
            .chain([serde_json::json!({ "key": "shop/app.yaml:password", "file": "shop/app.yaml" })])
            .collect();
        let report =
            serde_json::json!({ "auditedAt": "2026-05-01T00:00:00Z", "findings": findings, "objects": 3 });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn incidents_are_about_the_keys_that_were_found_and_no_others() {
        let found = [
            ("shop", "app", "password"),
            ("shop", "app", "token"),
            ("shop", "db", "password"),
            ("shop", "mail", "password"),
            ("chat", "app", "token"),
            ("chat", "app", "token"),
        ];
        let audit = audit(&found);
        let (selectors, _) = audit.selectors(Path::new("f"), None).unwrap();
        let mut meant = BTreeSet::new();
        for one in &selectors {
            for name in &one.names {
                meant.extend(
                    one.keys.iter().map(|key| (one.namespaces[0].clone(), name.clone(), key.clone())),
                );
            }
        }
        let owned = |(a, b, c): &(&str, &str, &str)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned());
        assert_eq!(meant, found.iter().map(owned).collect());
        assert_eq!(selectors.len(), 3);
        assert_eq!(audit.left_out(), ["shop/app.yaml:password"]);
    }

    #[test]
    fn an_incident_is_about_every_key_that_a_value_is_part_of() {
        let audit = audit(&[("shop", "db", "DATABASE_URL settings.ini")]);
        let (selectors, _) = audit.selectors(Path::new("f"), None).unwrap();
        assert_eq!(selectors[0].keys, ["DATABASE_URL", "settings.ini"]);
        assert_eq!(selectors.len(), 1);
    }

    #[test]
    fn nothing_found_is_no_incident() {
        let error = |found, only| audit(found).selectors(Path::new("f"), only).unwrap_err().to_string();
        assert!(error(&[], None).contains("nothing was found that"));
        assert!(error(&[], Some("shop")).contains("nothing was found that"));
        let found = [("shop", "app", "token"), ("shop", "app", "password"), ("chat", "bot", "token")];
        let of_none = error(&found, Some("mail"));
        assert!(of_none.ends_with("nothing was found of namespace mail, and 3 of others"), "{of_none}");
        let (selectors, others) = audit(&found).selectors(Path::new("f"), Some("chat")).unwrap();
        assert_eq!((selectors[0].names.join(" "), selectors.len(), others), ("bot".to_owned(), 1, 2));
    }
}
