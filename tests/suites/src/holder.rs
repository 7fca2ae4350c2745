//! A holder whose P-256 key lies in memory: for tests of what comes after the card. The card has its own suites.

use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use touchseal_crds::keyring::{Holder, HolderKind, KeyringSpec};
use touchseal_keyring::{KeyringId, MasterKey, OpenKeyring, PivPublicKey, holder, manifest};
use zeroize::Zeroizing;

/// A P-256 key and its entry in a manifest.
pub struct SoftHolder {
    secret: SecretKey,
    /// The entry.
    pub entry: Holder,
}

impl SoftHolder {
    /// A new key.
    pub fn generate(name: &str, serial: u32) -> SoftHolder {
        let secret = SecretKey::random(&mut rand::rngs::OsRng);
        let public = PivPublicKey::from_sec1(secret.public_key().to_encoded_point(true).as_bytes()).unwrap();
        let entry = Holder {
            name: name.to_owned(),
            kind: HolderKind::Piv,
            serial,
            slot: "82".to_owned(),
            recipient: public.to_recipient(),
            pgp: None,
            pin_policy: None,
            touch_policy: None,
        };
        SoftHolder { secret, entry }
    }

    /// The holder of this entry, whose private scalar is known.
    pub fn known(entry: Holder, scalar: &[u8]) -> SoftHolder {
        SoftHolder { secret: SecretKey::from_slice(scalar).unwrap(), entry }
    }

    /// A new keyring with this holder alone.
    pub fn create_keyring(&self) -> (KeyringSpec, OpenKeyring) {
        manifest::create(vec![self.entry.clone()], "2026-01-02T03:04:05Z").unwrap()
    }

    /// A new keyring of a given master, for tests that look for its bytes.
    pub fn create_keyring_of(&self, master: &[u8; 32]) -> (KeyringSpec, OpenKeyring) {
        let master = MasterKey::fill_with(|bytes| {
            bytes.copy_from_slice(master);
            Ok::<_, std::convert::Infallible>(())
        });
        let holders = vec![self.entry.clone()];
        manifest::create_from(KeyringId::generate(), master.unwrap(), holders, "2026-01-02T03:04:05Z")
            .unwrap()
    }

    /// Opens a keyring.
    pub fn open(&self, spec: &KeyringSpec) -> OpenKeyring {
        let verified = manifest::verify(spec).unwrap();
        let master = self.unwrap(verified.active_wrapped());
        OpenKeyring::open(&verified, master).unwrap()
    }

    /// Opens what was wrapped to this holder: a master, or a share of one.
    pub fn unwrap(&self, wrapped: &str) -> MasterKey {
        let public = PivPublicKey::from_recipient(&self.entry.recipient).unwrap();
        let mut ecdh = |point: &[u8; 33]| {
            let peer = p256::PublicKey::from_sec1_bytes(point).unwrap();
            let shared = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
            Ok::<_, std::convert::Infallible>(Zeroizing::new((*shared.raw_secret_bytes()).into()))
        };
        holder::unwrap(wrapped, &public, &mut ecdh).unwrap()
    }
}
