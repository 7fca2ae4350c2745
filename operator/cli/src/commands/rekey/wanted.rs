//! Whom a document should be encrypted to: what the keyring says of its namespace, or the creation rule of its file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use touchseal_crds::RecipientSpec;
use touchseal_sops::Document;

use super::plan::{self, Keys, PlanError, Wanted};
use crate::creation_rules::{ChooseError, Chosen, Config};
use crate::error::{Explain, Failure};
use crate::gpg::is_of;
use crate::local_keys::Identities;

/// What was found out about a document.
pub struct Found {
    pub wanted: Wanted,
    pub namespace: Option<String>,
}

/// The creation rules of a run, each file of them read once.
pub struct Rules<'a> {
    named: Option<&'a Path>,
    by_folder: BTreeMap<PathBuf, Option<std::rc::Rc<Config>>>,
}

/// Why nothing can be wanted.
#[derive(Debug, thiserror::Error)]
enum WantedError {
    #[error("it is a sops file, and there are no creation rules beside or above it")]
    NoRules,
    #[error("none of the creation rules in {0} fits it")]
    NoRule(String),
    #[error("its creation rule names PGP keys alone, or a key group of them: {0}")]
    OnlyPgp(String),
    #[error("its creation rule names the PGP key {0}, and it is not encrypted to that")]
    PgpToCome(String),
    #[error("its creation rule names the PGP key {0}, and PGP recipients are to go")]
    PgpToGo(String),
    #[error("{0}")]
    Plan(PlanError),
}

impl Explain for WantedError {
    fn hint(&self) -> String {
        match self {
            Self::PgpToCome(_) => "encrypt it to that key with sops first: sops updatekeys".to_owned(),
            Self::PgpToGo(_) => "take it out of the rule first, or run it without --drop-others".to_owned(),
            Self::NoRules | Self::NoRule(_) | Self::OnlyPgp(_) => {
                "say its namespace: --namespace NAME, or write rules: touchseal recipients -f FILE --for NAMESPACE --sops-yaml"
                    .to_owned()
            }
            Self::Plan(PlanError::NoPlace(_)) => "take it away with --drop-others".to_owned(),
            Self::Plan(PlanError::Groups(_)) => "change its key groups with sops updatekeys first".to_owned(),
            Self::Plan(PlanError::StaleRule { namespace, .. }) => {
                format!(
                    "bring the rules up to date first: touchseal recipients -f FILE --for {namespace} --sops-yaml"
                )
            }
        }
    }
}

/// A plan that could not be made.
pub fn unplanned(problem: PlanError) -> Failure {
    WantedError::Plan(problem).into()
}

impl Found {
    /// By its namespace alone.
    pub fn of_namespace(namespace: &str, before: &Keys, keys: &mut Identities) -> Result<Self, Failure> {
        let own = keys.recipients(namespace)?;
        let wanted = plan::of_namespace(before, &own).map_err(unplanned)?;
        Ok(Self { wanted, namespace: Some(namespace.to_owned()) })
    }
}

/// What a rule says of PGP keys can be kept to, but not brought about: nothing is encrypted to them here.
pub fn check_pgp(wanted: &Wanted, document: &Document, drop_others: bool) -> Result<(), Failure> {
    let listed = |key: &str| {
        let keys = document.metadata().groups().iter().flat_map(|group| group.pgp());
        keys.into_iter().any(|one| is_of(one.fingerprint(), key) || is_of(key, one.fingerprint()))
    };
    if let Some(absent) = wanted.pgp.iter().find(|key| !listed(key)) {
        return Err(WantedError::PgpToCome(absent.clone()).into());
    }
    match wanted.pgp.first().filter(|_| drop_others) {
        Some(key) => Err(WantedError::PgpToGo(key.clone()).into()),
        None => Ok(()),
    }
}

impl<'a> Rules<'a> {
    pub const fn new(named: Option<&'a Path>) -> Self {
        Self { named, by_folder: BTreeMap::new() }
    }

    /// By its creation rule. The namespace matters as well: what is of its older key generations goes.
    pub fn of_file(
        &mut self,
        path: &Path,
        document: &Document,
        before: &Keys,
        keys: &mut Identities,
    ) -> Result<Found, Failure> {
        let chosen = match self.config(path)? {
            Some(config) => config.choose_beside_pgp(path).map_err(|problem| match problem {
                // The file's name stands beside it.
                ChooseError::NoRule { rules, .. } => Failure::from(WantedError::NoRule(rules)),
                ChooseError::OtherKeys { place, field: "pgp" } => WantedError::OnlyPgp(place).into(),
                other => other.into(),
            })?,
            None => None,
        };
        let chosen = chosen.ok_or(WantedError::NoRules)?;
        let (namespace, own) = namespace_of(&chosen, path, document, before, keys)?.unzip();
        let rule = Keys { groups: chosen.groups, threshold: chosen.threshold };
        let wanted = plan::of_rule(rule, chosen.pgp, namespace.as_deref().unwrap_or_default(), own.as_ref())
            .map_err(unplanned)?;
        Ok(Found { wanted, namespace })
    }

    fn config(&mut self, path: &Path) -> Result<Option<std::rc::Rc<Config>>, Failure> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if let Some(known) = self.by_folder.get(&folder) {
            return Ok(known.clone());
        }
        let config = Config::of(path, self.named)?.map(std::rc::Rc::new);
        self.by_folder.insert(folder, config.clone());
        Ok(config)
    }
}

/// The namespace of a file: what `touchseal recipients` wrote above its rule, else whose key is known to be among its
/// recipients or the rule's, else, where the keyring is needed anyway, whose key the document lists.
fn namespace_of(
    chosen: &Chosen,
    path: &Path,
    document: &Document,
    before: &Keys,
    keys: &mut Identities,
) -> Result<Option<(String, RecipientSpec)>, Failure> {
    if let Some((keyring, namespace)) = &chosen.written_for
        && keys.keyring()?.is_some_and(|ours| ours.name() == keyring)
    {
        return Ok(Some((namespace.clone(), keys.recipients(namespace)?)));
    }
    let listed = || before.groups.iter().chain(&chosen.groups).flatten().map(String::as_str);
    let known = match keys.known_namespaces(listed()).as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    let complete = chosen.groups == before.groups;
    let namespace = match known {
        Some(known) => Some(known),
        None if complete || keys.without_keyring(document).is_some() || keys.opens_by_gpg(document) => None,
        None if keys.keyring()?.is_none() => None,
        None => match keys.namespaces_of(document, path)?.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
    };
    namespace.map(|namespace| keys.recipients(&namespace).map(|own| (namespace, own))).transpose()
}
