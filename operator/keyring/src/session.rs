//! A session: one process's key pair for one unseal, in memory only. It dies when the process is unsealed or sealed
//! again, and every release made for it dies with it.

use std::fmt;

use rand_core::{OsRng, RngCore};
use touchseal_crds::unseal_request::{Release, ShareRelease};

use crate::id::KeyringId;
use crate::locked::Locked;
use crate::manifest::VerifiedManifest;
use crate::master::MasterKey;
use crate::release::{self, Offer, ReleaseError};
use crate::share::Share;

const NONCE_BYTES: usize = 16;

/// An ephemeral X25519 key pair and nonce. The secret stays in one place and is zeroized on drop.
pub struct Session {
    secret: Locked,
    offer: Offer,
}

impl Session {
    /// A fresh session.
    pub fn generate() -> Self {
        let mut secret = Locked::zeroed();
        OsRng.fill_bytes(secret.expose_mut());
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        let offer = Offer::new(release::session_public_key(secret.expose()), hex::encode(nonce));
        Self { secret, offer }
    }

    /// What is published of it.
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// X25519 public key, base64: `status.sessionKey`.
    pub fn public_key(&self) -> String {
        self.offer.session_key()
    }

    /// 32 lower-case hexadecimal digits: `status.nonce`.
    pub fn nonce(&self) -> &str {
        self.offer.nonce()
    }

    /// Audience of the proof that belongs to this session and keyring.
    pub fn audience(&self, keyring: &KeyringId) -> String {
        self.offer.audience(keyring)
    }

    /// The master inside a release, if it is the manifest's Active one.
    pub fn open_release(
        &self,
        manifest: &VerifiedManifest,
        release: &Release,
    ) -> Result<MasterKey, ReleaseError> {
        release::open_release(self.secret.expose(), &self.offer, manifest, release)
    }

    /// The share inside a share's release, if it is the one the manifest commits to.
    pub fn open_share(
        &self,
        manifest: &VerifiedManifest,
        release: &ShareRelease,
    ) -> Result<Share, ReleaseError> {
        release::open_share(self.secret.expose(), &self.offer, manifest, release)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(nonce {})", self.offer.nonce())
    }
}
