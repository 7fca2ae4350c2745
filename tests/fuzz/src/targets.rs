//! The targets: functions of any bytes that must neither panic nor take long nor find their property broken.

mod age_file;
mod documents;
mod keyring;
mod lookup;
mod metadata;
mod sealed;
mod template;
mod written;

use crate::corpus;

/// One target.
pub struct Target {
    pub name: &'static str,
    /// Panics if the input shows a fault.
    pub run: fn(&[u8]),
    /// The inputs every run starts from: the project's vectors.
    pub vectors: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// The vectors and the kept corpus.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.vectors)();
        seeds.extend(corpus::load(self.name));
        seeds
    }
}

/// Every target.
pub const ALL: &[Target] = &[
    documents::YAML,
    documents::JSON,
    documents::DOTENV,
    documents::INI,
    documents::BINARY,
    metadata::YAML,
    metadata::JSON,
    metadata::DOTENV,
    metadata::INI,
    lookup::LOOKUP,
    age_file::AGE,
    sealed::SEALED,
    keyring::MANIFEST,
    keyring::MANIFEST_YAML,
    keyring::TEXTS,
    template::TEMPLATE,
    written::YAML,
    written::JSON,
    written::DOTENV,
    written::INI,
    written::BINARY,
];

/// The target of a name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
