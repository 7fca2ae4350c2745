//! One edit of a manifest in git, whatever it changes: read and accepted, opened by a holder with one operation, verified as
//! it will stand there, shown, written in one step. Nothing else writes a manifest that exists.

use std::path::{Path, PathBuf};

use touchseal_crds::KeyringSpec;
use touchseal_keyring::pin::PinMismatch;
use touchseal_keyring::{ManifestError, OpenKeyring, PinCheck, VerifiedManifest, manifest};

use super::review;
use super::show::warning;
use crate::card;
use crate::error::{Exit, Explain, Failure};
use crate::files::Existing;
use crate::known::Store;
use crate::manifest_file::{self, ManifestFile};
use crate::secret_input::{PinArgs, PinSource};
use crate::{output, terminal};

/// What every edit takes.
#[derive(clap::Args, Clone, Debug)]
pub struct ChangeArgs {
    /// The keyring's manifest; rewritten in place
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Serial number of the YubiKey, with several plugged in
    #[arg(long, value_name = "NUMBER")]
    pub serial: Option<u32>,
    #[command(flatten)]
    pub pin: PinArgs,
    /// Accept a keyring not seen before without asking
    #[arg(long)]
    pub yes: bool,
    /// Do and show everything, the YubiKey's operation included, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Why an edit was not written.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The library made none.
    #[error(transparent)]
    Edit(#[from] manifest::EditError),
    /// It would be refused by everybody.
    #[error("verify the edited manifest")]
    Verify(#[from] ManifestError),
    /// It is no successor of what was there.
    #[error("verify the edited manifest: {0}")]
    NotNext(PinMismatch),
    /// It could not be put into text.
    #[error("write the manifest: {0}")]
    Render(#[from] serde_json::Error),
    /// Somebody else wrote the file in between.
    #[error("write {}: it was changed by somebody else meanwhile", .0.display())]
    Meanwhile(PathBuf),
}

impl Explain for ChangeError {
    fn hint(&self) -> String {
        match self {
            Self::Meanwhile(_) => "nothing was written; look at what changed, then run it again".to_owned(),
            _ => "the file was not changed; this is a bug in touchseal: please report it".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotNext(_) => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// An edit under way.
pub struct Change {
    path: PathBuf,
    file: ManifestFile,
    yes: bool,
    dry_run: bool,
}

impl Change {
    /// Reads and verifies the manifest.
    pub fn begin(path: &Path, yes: bool, dry_run: bool) -> Result<Self, Failure> {
        Ok(Self { path: path.to_owned(), file: ManifestFile::read(path)?, yes, dry_run })
    }

    /// A person accepts a keyring that was not seen before; a changed or older one ends here.
    pub fn accept(&self) -> Result<(), Failure> {
        Store::open()?.accept(None, self.name(), self.manifest(), self.yes)
    }

    /// The keyring's name.
    pub fn name(&self) -> &str {
        self.file.name()
    }

    /// The manifest as it was read.
    pub const fn manifest(&self) -> &VerifiedManifest {
        self.file.verified()
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A holder opens it, if it is accepted, or as many as it takes: one private-key operation each.
    pub fn open(&self, serial: Option<u32>, pin: &mut PinSource) -> Result<OpenKeyring, Failure> {
        self.accept()?;
        card::unlock(self.name(), self.manifest(), serial, pin)
    }

    /// Verifies the edited manifest, shows what changed, writes it and remembers it. Returns whether it was written.
    pub fn end(self, spec: &KeyringSpec) -> Result<bool, Failure> {
        let before = self.file.verified();
        let after = manifest::verify(spec).map_err(ChangeError::Verify)?;
        match before.pin().check(&after) {
            PinCheck::Newer(_) => {}
            PinCheck::Refused(why) => return Err(ChangeError::NotNext(why).into()),
            PinCheck::Same => return Ok(false),
        }
        let text = self.file.with_spec(spec).map_err(ChangeError::Render)?;
        output::print(&review::difference(self.name(), before.spec(), spec))?;
        let place = self.path.display().to_string();
        if self.dry_run {
            ManifestFile::parse(&text, &place)?;
            terminal::say(&format!("{place} is as it was (--dry-run)"));
            return Ok(false);
        }
        if ManifestFile::read(&self.path)?.verified() != before {
            return Err(ChangeError::Meanwhile(self.path).into());
        }
        manifest_file::write(&self.path, &text, Existing::Replace)?;
        Store::open()?.remember_created(self.file.name(), &after)?;
        if let Some(warning) = warning(&after) {
            terminal::say(&format!("warning: {warning}"));
        }
        Ok(true)
    }
}
