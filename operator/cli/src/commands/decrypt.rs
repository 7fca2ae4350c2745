//! `touchseal decrypt`: one document's plaintext on stdout; on the disk only where a person says so.

use std::path::PathBuf;

use touchseal_sops::{Format, LookupError, Plain};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::documents::Candidate;
use crate::error::{Exit, Explain, Failure};
use crate::files::{self, Existing};
use crate::local_keys::{Identities, KeyArgs};
use crate::output;

/// Where stdin is a file. Windows has none: reading it fails there, and says so.
const STDIN: &str = "/dev/stdin";

#[derive(clap::Args, Debug)]
pub struct DecryptArgs {
    /// A sops file, or a manifest with documents in it; - is stdin
    file: PathBuf,
    /// Which document of a manifest
    #[arg(long, value_name = "NAME")]
    document: Option<String>,
    /// Print this value alone: database.hosts[0], or as sops writes it: ["database"]["hosts"][0]
    #[arg(long, value_name = "PATH")]
    extract: Option<String>,
    /// Write it into this file, readable by its owner alone, instead of to stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long, requires = "to")]
    force: bool,
    /// Format of a sops file whose name does not tell: yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "FORMAT")]
    input_type: Option<Format>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum DecryptError {
    #[error("extract {0:?}: {1}")]
    Path(String, LookupError),
    #[error("extract {0:?}: a map or a list stands there")]
    NoValue(String),
    #[error("print the document: it does not fit its format")]
    Emit,
    #[error("write to stdout")]
    Stdout(#[source] std::io::Error),
}

impl Explain for DecryptError {
    fn hint(&self) -> String {
        match self {
            Self::Path(_, LookupError::Syntax { .. }) => {
                "write it like database.hosts[0]; keys with dots in brackets and quotes: [\"tls.crt\"]"
                    .to_owned()
            }
            Self::Path(..) => "check its keys; without --extract the whole document is printed".to_owned(),
            Self::NoValue(_) => "name a value in it".to_owned(),
            Self::Emit => {
                "it was not written by sops; use its last version from git that was right".to_owned()
            }
            Self::Stdout(_) => "look at where stdout goes".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Path(_, LookupError::Syntax { .. }) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: &DecryptArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    if let Some(to) = &args.to {
        files::check_place(to, existing)?;
    }
    // A keyring for what comes from stdin is looked for from here on.
    let (from, near) = match args.file.as_os_str() == "-" {
        true => (PathBuf::from(STDIN), PathBuf::from("stdin")),
        false => (args.file.clone(), args.file.clone()),
    };
    let file = Candidate::named(&from).read_documents(args.input_type)?;
    let index = file.choose_one(args.document.as_deref())?;
    let mut keys = Identities::new(&args.keys, global, std::slice::from_ref(&near));
    let opened = file.open(index, &mut keys, global.namespace.as_deref())?;
    let bytes = wanted(&opened.plain, args.extract.as_deref())?;
    match &args.to {
        Some(to) => Ok(files::write(to, &bytes, existing, true)?),
        None => Ok(output::print_secret(&bytes).map_err(DecryptError::Stdout)?),
    }
}

fn wanted(plain: &Plain, path: Option<&str>) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let Some(path) = path else { return plain.emit().ok_or(DecryptError::Emit) };
    let node = plain.lookup(path).map_err(|problem| DecryptError::Path(path.to_owned(), problem))?;
    let value = node.bytes().ok_or_else(|| DecryptError::NoValue(path.to_owned()))?;
    Ok(Zeroizing::new(value.to_vec()))
}
