//! Documents that the person's own GnuPG opens, as sops would have it open them: each is one operation of the PGP key, for each
//! has a data key of its own. Whether it can is told by fingerprints, before anybody is asked for a PIN.

use std::rc::Rc;

use touchseal_sops::{Document, KeyGroup, Opener, PgpKey};

use super::stock::Stock;
use crate::error::Failure;
use crate::gpg::{Gpg, GpgError, is_of};

type Secret = Result<Vec<String>, Failure>;

/// The person's GnuPG, asked for its keys once.
pub struct Pgp {
    gpg: Gpg,
    secret: Option<Secret>,
    failure: Option<Failure>,
}

impl Pgp {
    /// Nothing is run yet.
    pub fn new() -> Self {
        Self { gpg: Gpg::of_environment(), secret: None, failure: None }
    }

    /// Whether GnuPG, with these age identities, opens the document, going by the recipients it names.
    pub fn suffices(&mut self, document: &Document, stock: &Stock) -> bool {
        let metadata = document.metadata();
        let groups = metadata.groups().iter();
        groups.filter(|group| stock.covers(group) || self.held(group).is_some()).count()
            >= metadata.threshold()
    }

    /// What opens the document: as many PGP messages of it as are needed, opened now.
    ///
    /// # Errors
    /// GnuPG did not open one. If it is for a reason that is the same at the next document, nobody is asked again.
    pub fn opener(&mut self, document: &Document, stock: &Stock) -> Result<Rc<Opener>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.again());
        }
        let metadata = document.metadata();
        let (ours, others): (Vec<&KeyGroup>, Vec<&KeyGroup>) =
            metadata.groups().iter().partition(|group| stock.covers(group));
        let missing = metadata.threshold().saturating_sub(ours.len());
        let mut opener = stock.add_to(Opener::new());
        let messages: Vec<&str> = others.iter().filter_map(|group| self.held(group)).take(missing).collect();
        for message in messages {
            let opened = self.gpg.open(message, self.secret.as_ref().map_or(&[], known));
            let payload = opened.map_err(|error| self.keep(error))?;
            opener = opener.with_message(message.to_owned(), payload);
        }
        Ok(Rc::new(opener))
    }

    /// Why no document will open any more.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.as_ref().map(Failure::again)
    }

    /// What is known of the document's PGP keys, for a message; `None` if it has none.
    pub fn looked(&mut self, document: &Document) -> Option<String> {
        let mut keys = document.metadata().groups().iter().flat_map(KeyGroup::pgp);
        let first = keys.next()?.fingerprint();
        self.secret();
        Some(match &self.secret {
            Some(Err(failure)) => format!("it has PGP recipients, and there is no gpg to ask: {failure}"),
            _ => match keys.count() {
                0 => format!("gpg has no secret key of its PGP recipient {first}"),
                more => format!("gpg has no secret key of its {} PGP recipients, such as {first}", more + 1),
            },
        })
    }

    /// The first message of a group that a key at hand opens.
    fn held<'d>(&mut self, group: &'d KeyGroup) -> Option<&'d str> {
        let listed = group.pgp();
        if listed.is_empty() {
            return None;
        }
        let secret = self.secret();
        let ours = |key: &&PgpKey| secret.iter().any(|own| is_of(own, key.fingerprint()));
        listed.iter().find(ours).map(PgpKey::message)
    }

    fn secret(&mut self) -> &[String] {
        let gpg = &self.gpg;
        known(self.secret.get_or_insert_with(|| gpg.secret_keys().map_err(Failure::from)))
    }

    fn keep(&mut self, error: GpgError) -> Failure {
        let all = error.is_of_the_key();
        let failure = Failure::from(error);
        if all {
            self.failure = Some(failure.again());
        }
        failure
    }
}

fn known(secret: &Secret) -> &[String] {
    secret.as_deref().unwrap_or_default()
}
