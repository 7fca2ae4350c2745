//! A document opened with the keys of this run; each failure names file and document and says what to do.

use std::rc::Rc;

use touchseal_sops::{DecryptError, Document, Fault, Opener, ParseError, Plain};

use super::file::DocumentFile;
use crate::error::{Exit, Explain, Failure, one_line};
use crate::local_keys::{Identities, Scope};

/// A document and what opens it.
pub struct Opened {
    pub document: Document,
    pub opener: Rc<Opener>,
    pub plain: Plain,
}

/// Why a document does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenDocumentError {
    /// It is no sops document.
    #[error("read {document}")]
    Parse { document: String, source: ParseError },
    /// The keys do not fit, or it was changed.
    #[error("decrypt {document}")]
    Decrypt { document: String, source: DecryptError },
}

impl Explain for OpenDocumentError {
    fn hint(&self) -> String {
        let fault = match self {
            Self::Parse { source, .. } => source.fault(),
            Self::Decrypt { source, .. } => source.fault(),
        };
        match fault {
            Fault::Author => "correct the document, or use its last version from git that was right".to_owned(),
            Fault::Recipients => {
                "it is encrypted for another namespace or keyring: --namespace and --keyring name another".to_owned()
            }
            Fault::Tampered => {
                "somebody changed it without its key: look at its history in git, and use its last version that opens"
                    .to_owned()
            }
            Fault::Unsupported => "stock sops may open it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Decrypt { source, .. } if source.fault() == Fault::Tampered => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

impl DocumentFile {
    /// How messages call a document.
    pub fn label(&self, index: usize) -> String {
        let path = self.path().display();
        match self.documents().get(index).filter(|_| self.is_manifest()) {
            Some(document) => format!("document {} of {path}", one_line(&document.name)),
            None => path.to_string(),
        }
    }

    /// What a document is: parsed, not opened.
    pub fn document(&self, index: usize) -> Result<Document, OpenDocumentError> {
        self.documents()[index]
            .parse()
            .map_err(|source| OpenDocumentError::Parse { document: self.label(index), source })
    }

    /// What a document is to those who look for its key; `namespace` is the command line's.
    pub fn scope<'s>(&'s self, index: usize, namespace: Option<&'s str>) -> Result<Scope<'s>, Failure> {
        Ok(match self.namespace(index, namespace)? {
            Some(namespace) => Scope::Namespace(namespace),
            None => Scope::File(self.path()),
        })
    }

    /// Opens a document and checks its MAC.
    pub fn open(
        &self,
        index: usize,
        keys: &mut Identities,
        namespace: Option<&str>,
    ) -> Result<Opened, Failure> {
        let document = self.document(index)?;
        let opener = keys.for_document(&document, self.scope(index, namespace)?)?;
        let plain = document
            .decrypt_with(&opener)
            .map_err(|source| OpenDocumentError::Decrypt { document: self.label(index), source })?;
        Ok(Opened { document, opener, plain })
    }
}
