//! The keys that documents are opened with on a laptop, for one run of a command: age identities where sops looks for
//! them, else the person's own GnuPG for documents that list no recipient of the keyring, else the keyring, opened at the
//! first document that needs it and never twice: one PIN, one touch.
//!
//! A keyring's identities are asked for a namespace, and open that namespace's documents only, as in the cluster.

mod error;
mod find;
mod hints;
mod keyring;
mod pgp;
mod remembered;
mod stock;

pub use error::LocalKeysError;
pub use hints::namespaces as likely_namespaces;
pub use keyring::FoundKeyring;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use touchseal_crds::RecipientSpec;
use touchseal_keyring::{OpenKeyring, VerifiedManifest};
use touchseal_sops::{Document, Opener};

use crate::args::Global;
use crate::error::Failure;
use crate::published::NotDerived;
use crate::secret_input::PinArgs;

use pgp::Pgp;
use remembered::Remembered;
use stock::Stock;

/// Which keyring, and how it is opened.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct KeyArgs {
    /// The keyring: its manifest, or its name in the cluster [default: the manifest found beside or above the files]
    #[arg(long, value_name = "FILE|NAME")]
    pub keyring: Option<String>,
    /// Serial number of the YubiKey, with several plugged in
    #[arg(long, value_name = "NUMBER")]
    pub serial: Option<u32>,
    #[command(flatten)]
    pub pin: PinArgs,
    /// Accept the keyring that --keyring names without asking, though not seen before; never one that just lies there
    #[arg(long)]
    pub yes: bool,
}

/// What a document is, to those who look for its key.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// A document of this namespace: by its manifest, or because a person said so.
    Namespace(&'a str),
    /// A file on its own. Its folders, the rules above it and what was seen before hint at its namespace.
    File(&'a Path),
}

/// The keys of one run. Everything private in it is zeroized when it is dropped.
pub struct Identities {
    args: KeyArgs,
    global: Global,
    places: Vec<PathBuf>,
    stock: Option<Rc<Stock>>,
    pgp: Pgp,
    keyring: Looked,
    remembered: Option<Remembered>,
    openers: BTreeMap<String, Rc<Opener>>,
}

/// Remembers what an open keyring said of a namespace, for runs without a YubiKey.
pub fn remember(manifest: &VerifiedManifest, namespace: &str, spec: &RecipientSpec) {
    Remembered::open().remember(manifest, namespace, spec);
}

/// The recipients of those of these namespaces that are remembered.
pub fn remembered<'n>(
    manifest: &VerifiedManifest,
    namespaces: impl IntoIterator<Item = &'n String>,
) -> Vec<(String, RecipientSpec)> {
    let memory = Remembered::open();
    namespaces.into_iter().filter_map(|one| Some((one.clone(), memory.of(manifest, one)?))).collect()
}

/// Every recipient of this keyring that is remembered, of whatever key generation: namespace, generation, recipient.
pub fn every_remembered(manifest: &VerifiedManifest) -> Vec<(String, u32, String)> {
    Remembered::open().every(manifest)
}

/// The namespaces whose recipients of this keyring are remembered.
pub fn known_namespaces(manifest: &VerifiedManifest) -> Vec<String> {
    Remembered::open().known(manifest)
}

/// Remembers, of every namespace that is remembered already, what the keyring says at its present manifest: after a new key
/// generation nobody needs a YubiKey to learn the new recipients.
///
/// # Errors
/// A remembered name is no namespace's.
pub fn remember_known(open: &OpenKeyring) -> Result<(), Failure> {
    let mut memory = Remembered::open();
    for namespace in memory.known(open.manifest()) {
        let spec = open.recipient_spec(&namespace).map_err(NotDerived::of(&namespace))?;
        memory.remember(open.manifest(), &namespace, &spec);
    }
    Ok(())
}

/// Where the keyring stands. A failure is kept: nobody is asked the same thing at every document.
enum Looked {
    NotYet,
    Nothing,
    Found(Box<FoundKeyring>),
    Failed(Failure),
}

impl Identities {
    /// Nothing is read yet. `places` are the files and folders the command works on.
    pub fn new(args: &KeyArgs, global: &Global, places: &[PathBuf]) -> Self {
        Self {
            args: args.clone(),
            global: global.clone(),
            places: places.to_vec(),
            stock: None,
            pgp: Pgp::new(),
            keyring: Looked::NotYet,
            remembered: None,
            openers: BTreeMap::new(),
        }
    }

    /// What opens this document: identities where sops looks for them if they suffice, else GnuPG if it holds a key and no
    /// recipient is known to be the keyring's, else the keyring's identities for its scope.
    ///
    /// # Errors
    /// No key fits, no keyring is at hand, or it did not open. The YubiKey is asked once: a failure is the same failure
    /// at the next document.
    pub fn for_document(&mut self, document: &Document, scope: Scope<'_>) -> Result<Rc<Opener>, Failure> {
        let stock = self.stock();
        if stock.suffices(document) {
            return Ok(stock.opener());
        }
        if self.opens_by_gpg(document) && !self.lists_the_keyrings(document) {
            return self.by_gpg(document);
        }
        if self.keyring()?.is_none() {
            return Err(self.no_key(document).into());
        }
        match scope {
            Scope::Namespace(namespace) => self.with_stock(&[namespace.to_owned()]),
            Scope::File(path) => {
                let namespaces = self.namespaces_of(document, path)?;
                self.with_stock(&namespaces)
            }
        }
    }

    /// The keyring's identities of a namespace, of all live key generations, the newest first.
    ///
    /// # Errors
    /// As [`Identities::for_document`].
    pub fn for_namespace(&mut self, namespace: &str) -> Result<Rc<Opener>, Failure> {
        if let Some(opener) = self.openers.get(namespace) {
            return Ok(Rc::clone(opener));
        }
        let opener = Rc::new(self.add(Opener::new(), namespace)?);
        self.openers.insert(namespace.to_owned(), Rc::clone(&opener));
        Ok(opener)
    }

    /// What authors of a namespace encrypt to, and what they used to: remembered from an earlier run if possible, else
    /// as the cluster published it, else derived with the YubiKey.
    ///
    /// # Errors
    /// As [`Identities::for_document`].
    pub fn recipients(&mut self, namespace: &str) -> Result<RecipientSpec, Failure> {
        if let Some(known) = self.known_recipients(namespace)? {
            return Ok(known);
        }
        let keyring = self.required()?;
        if let Some(published) = keyring.published(namespace)? {
            return Ok(published);
        }
        self.derived(namespace)
    }

    /// The same where neither a YubiKey nor a cluster is needed for it.
    ///
    /// # Errors
    /// No keyring is at hand, or it is not to be trusted.
    pub fn known_recipients(&mut self, namespace: &str) -> Result<Option<RecipientSpec>, Failure> {
        let (keyring, remembered) = self.required_with_memory()?;
        Ok(remembered.of(keyring.manifest(), namespace))
    }

    /// Which recipients are known, without a YubiKey or a question, to be a namespace's own: its present one, of the
    /// keyring that was named or of a known one near the files; where there is none, all that were ever seen in a keyring
    /// for a namespace of this name. Empty if nobody can say.
    ///
    /// # Errors
    /// A keyring is at hand that is not to be trusted, or the cluster's cannot be asked.
    pub fn told_recipients(&mut self, keyring: &str, namespace: &str) -> Result<Vec<String>, Failure> {
        let looked = !matches!(self.keyring, Looked::NotYet);
        if !(looked || self.args.keyring.is_some() || keyring::find_known(&self.places)?.is_some()) {
            return Ok(self.memory().ever(namespace));
        }
        if self.keyring()?.is_none_or(|found| found.name() != keyring) {
            return Ok(self.memory().ever(namespace));
        }
        let spec = match self.known_recipients(namespace)? {
            Some(known) => Some(known),
            None => self.required()?.published(namespace)?,
        };
        Ok(spec.map_or_else(Vec::new, |spec| vec![spec.recipient]))
    }

    /// Whether a recipient is the person's own: its identity is where sops looks for them.
    pub fn holds(&mut self, recipient: &str) -> bool {
        self.stock().opener().recipients().any(|own| own == recipient)
    }

    /// The namespaces that these recipients are known to be of, as far as a keyring was looked at already.
    pub fn known_namespaces<'r>(&mut self, recipients: impl Iterator<Item = &'r str>) -> Vec<String> {
        let Looked::Found(keyring) = &self.keyring else { return Vec::new() };
        let remembered = self.remembered.get_or_insert_with(Remembered::open);
        remembered.namespaces(keyring.manifest(), recipients)
    }

    /// The keyring of this run, verified and accepted; `None` where none was named or found.
    ///
    /// # Errors
    /// It cannot be read, does not verify, or is not the one accepted before.
    pub fn keyring(&mut self) -> Result<Option<&FoundKeyring>, Failure> {
        if matches!(self.keyring, Looked::NotYet) {
            self.keyring = match keyring::find(&self.args, &self.global, &self.places) {
                Ok(Some(found)) => Looked::Found(Box::new(found)),
                Ok(None) => Looked::Nothing,
                Err(failure) => Looked::Failed(failure),
            };
        }
        match &self.keyring {
            Looked::Found(keyring) => Ok(Some(keyring)),
            Looked::Failed(failure) => Err(failure.again()),
            Looked::NotYet | Looked::Nothing => Ok(None),
        }
    }

    /// Takes up the keyring near the files, if it is known here, so that nobody has to be asked about it.
    pub fn take_known(&mut self) -> bool {
        // What cannot be decided, such as between two known ones, is no reason to fail for who named none.
        matches!(keyring::find_known(&self.places), Ok(Some(_))) && matches!(self.keyring(), Ok(Some(_)))
    }

    /// Whether identities where sops looks for them open this document without the keyring.
    pub fn without_keyring(&mut self, document: &Document) -> Option<Rc<Opener>> {
        let stock = self.stock();
        stock.suffices(document).then(|| stock.opener())
    }

    /// Whether the person's GnuPG opens this document without the keyring.
    pub fn opens_by_gpg(&mut self, document: &Document) -> bool {
        let stock = self.stock();
        self.pgp.suffices(document, &stock)
    }

    /// What opens it then: the operation of the PGP key is done when this returns.
    ///
    /// # Errors
    /// GnuPG did not open it. A key that failed is not asked again at the next document.
    pub fn by_gpg(&mut self, document: &Document) -> Result<Rc<Opener>, Failure> {
        let stock = self.stock();
        self.pgp.opener(document, &stock)
    }

    /// Nothing is at hand that opens it.
    pub fn no_key(&mut self, document: &Document) -> LocalKeysError {
        let stock = self.stock();
        LocalKeysError::no_key(document, &stock, self.pgp.looked(document))
    }

    /// What the keyring or GnuPG failed with, if one did: no other document will fare better with it.
    pub fn failure(&self) -> Option<Failure> {
        if let Some(failure) = self.pgp.failure() {
            return Some(failure);
        }
        match &self.keyring {
            Looked::Failed(failure) => Some(failure.again()),
            Looked::Found(keyring) => keyring.failure(),
            Looked::NotYet | Looked::Nothing => None,
        }
    }

    /// Whether the keyring was opened, and so a YubiKey used.
    pub fn opened_keyring(&self) -> bool {
        matches!(&self.keyring, Looked::Found(keyring) if keyring.is_open())
    }

    /// Whether a keyring was looked for in vain.
    pub const fn has_no_keyring(&self) -> bool {
        matches!(self.keyring, Looked::Nothing)
    }

    fn lists_the_keyrings(&mut self, document: &Document) -> bool {
        document.age_recipients().next().is_some()
            && matches!(self.keyring(), Ok(Some(_)))
            && !self.known_namespaces(document.age_recipients()).is_empty()
    }

    fn memory(&mut self) -> &mut Remembered {
        self.remembered.get_or_insert_with(Remembered::open)
    }

    fn stock(&mut self) -> Rc<Stock> {
        Rc::clone(self.stock.get_or_insert_with(|| Rc::new(Stock::read())))
    }

    fn required(&mut self) -> Result<&mut FoundKeyring, Failure> {
        self.keyring()?;
        match &mut self.keyring {
            Looked::Found(keyring) => Ok(keyring),
            _ => Err(LocalKeysError::NoKeyring.into()),
        }
    }

    fn required_with_memory(&mut self) -> Result<(&mut FoundKeyring, &mut Remembered), Failure> {
        self.keyring()?;
        match &mut self.keyring {
            Looked::Found(keyring) => Ok((keyring, self.remembered.get_or_insert_with(Remembered::open))),
            _ => Err(LocalKeysError::NoKeyring.into()),
        }
    }

    /// A namespace's recipients out of the open keyring; remembered for runs without a YubiKey.
    fn derived(&mut self, namespace: &str) -> Result<RecipientSpec, Failure> {
        self.keyring()?;
        let Looked::Found(keyring) = &mut self.keyring else { return Err(LocalKeysError::NoKeyring.into()) };
        let spec = keyring.recipients(&self.args, namespace)?;
        let remembered = self.remembered.get_or_insert_with(Remembered::open);
        remembered.remember(keyring.manifest(), namespace, &spec);
        Ok(spec)
    }

    fn add(&mut self, mut opener: Opener, namespace: &str) -> Result<Opener, Failure> {
        self.derived(namespace)?;
        for identity in self.required()?.identities(namespace)? {
            opener = opener.with_x25519(identity.identity().clone());
        }
        Ok(opener)
    }

    /// Key groups may need both kinds of keys.
    fn with_stock(&mut self, namespaces: &[String]) -> Result<Rc<Opener>, Failure> {
        let stock = self.stock();
        if let ([only], true) = (namespaces, stock.is_empty()) {
            return self.for_namespace(only);
        }
        let mut opener = Opener::new();
        for namespace in namespaces {
            opener = self.add(opener, namespace)?;
        }
        Ok(Rc::new(stock.add_to(opener)))
    }

    /// The namespaces whose keys open a file, of those that it may be of: known, or tried with the YubiKey.
    ///
    /// # Errors
    /// As [`Identities::for_document`].
    pub fn namespaces_of(&mut self, document: &Document, path: &Path) -> Result<Vec<String>, Failure> {
        let (keyring, remembered) = self.required_with_memory()?;
        let known = remembered.namespaces(keyring.manifest(), document.age_recipients());
        if !known.is_empty() {
            return Ok(known);
        }
        let keyring = keyring.name().to_owned();
        let candidates = hints::namespaces(path, &keyring);
        if candidates.is_empty() {
            return Err(LocalKeysError::NoNamespace { path: path.to_owned(), keyring }.into());
        }
        let mut fitting = Vec::new();
        for namespace in &candidates {
            let spec = self.derived(namespace)?;
            let ours = |listed: &str| spec.generations.iter().any(|own| own.recipient == listed);
            if document.age_recipients().any(ours) {
                fitting.push(namespace.clone());
            }
        }
        if fitting.is_empty() {
            let path = path.to_owned();
            return Err(LocalKeysError::OtherNamespace { path, keyring, tried: candidates }.into());
        }
        Ok(fitting)
    }
}

#[cfg(test)]
mod tests;
