//! Test equipment: holders whose P-256 key is in software, fixed masters, and signing with a key of one's own.

use std::convert::Infallible;

use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use touchseal_crds::keyring::{Holder, HolderKind, KeyringSpec, PinPolicy, TouchPolicy};
use zeroize::Zeroizing;

use crate::derive::signing_key;
use crate::holder::{COMPRESSED_POINT_BYTES, PivPublicKey, unwrap};
use crate::id::KeyringId;
use crate::manifest::signing::{manifest_text, sign};
use crate::manifest::{VerifiedManifest, create_from, make, verify};
use crate::master::MasterKey;
use crate::open::OpenKeyring;
use crate::share::Share;

pub(crate) const TIME: &str = "2026-01-02T03:04:05Z";
pub(crate) const ID: KeyringId = KeyringId::from_bytes([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);

/// A holder whose private-key operation is done in software and counted.
pub(crate) struct SoftHolder {
    pub(crate) name: &'static str,
    pub(crate) serial: u32,
    secret: SecretKey,
    pub(crate) operations: usize,
}

impl SoftHolder {
    /// The holder whose private scalar is 32 bytes of `seed`.
    pub(crate) fn new(name: &'static str, seed: u8) -> Self {
        let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
        Self { name, serial: 10_000_000 + u32::from(seed), secret, operations: 0 }
    }

    pub(crate) fn secret_bytes(&self) -> Vec<u8> {
        self.secret.to_bytes().to_vec()
    }

    pub(crate) fn key(&self) -> PivPublicKey {
        PivPublicKey::from_sec1(self.secret.public_key().to_encoded_point(false).as_bytes()).unwrap()
    }

    pub(crate) fn entry(&self) -> Holder {
        Holder {
            name: self.name.to_owned(),
            kind: HolderKind::Piv,
            serial: self.serial,
            slot: "82".to_owned(),
            recipient: self.key().to_recipient(),
            pgp: None,
            pin_policy: Some(PinPolicy::Once),
            touch_policy: Some(TouchPolicy::Always),
        }
    }

    /// What the card does: the x coordinate of the shared point.
    pub(crate) fn ecdh(&mut self, point: &[u8; COMPRESSED_POINT_BYTES]) -> Zeroizing<[u8; 32]> {
        self.operations += 1;
        let point = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let shared = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), point.as_affine());
        Zeroizing::new((*shared.raw_secret_bytes()).into())
    }

    /// The holder's share, with one operation.
    pub(crate) fn share(&mut self, manifest: &VerifiedManifest) -> Share {
        let (key, entry) = (self.key(), self.entry());
        let wrapped = manifest.wrapped_for(&entry).unwrap();
        let bytes = unwrap(wrapped, &key, &mut |point| Ok::<_, Infallible>(self.ecdh(point))).unwrap();
        Share::recognise(manifest, self.serial, bytes).unwrap()
    }

    pub(crate) fn release_master(&mut self, manifest: &VerifiedManifest) -> MasterKey {
        let key = self.key();
        unwrap(manifest.active_wrapped(), &key, &mut |point| Ok::<_, Infallible>(self.ecdh(point))).unwrap()
    }
}

/// What holders with a quorum of two of three are tested with.
pub(crate) fn quorum() -> (VerifiedManifest, OpenKeyring) {
    quorum_of(ID, 1)
}

pub(crate) fn quorum_of(id: KeyringId, seed: u8) -> (VerifiedManifest, OpenKeyring) {
    let holders = trio().iter().map(SoftHolder::entry).collect();
    let (spec, open) = make(id, master(seed), holders, Some(2), TIME).unwrap();
    (verify(&spec).unwrap(), open)
}

pub(crate) fn trio() -> [SoftHolder; 3] {
    [alice(), bob(), SoftHolder::new("carol", 0x0c)]
}

pub(crate) fn alice() -> SoftHolder {
    SoftHolder::new("alice", 0x0a)
}

pub(crate) fn bob() -> SoftHolder {
    SoftHolder::new("bob", 0x0b)
}

pub(crate) fn mallory() -> SoftHolder {
    SoftHolder::new("mallory", 0x0e)
}

pub(crate) fn master(seed: u8) -> MasterKey {
    MasterKey::fill_with(|bytes| {
        bytes.fill(seed);
        Ok::<_, Infallible>(())
    })
    .unwrap()
}

/// A keyring of alice and bob whose first master is 32 bytes of 1.
pub(crate) fn keyring() -> (VerifiedManifest, OpenKeyring) {
    keyring_of(ID, 1)
}

pub(crate) fn keyring_of(id: KeyringId, seed: u8) -> (VerifiedManifest, OpenKeyring) {
    let (spec, open) = create_from(id, master(seed), vec![alice().entry(), bob().entry()], TIME).unwrap();
    (verify(&spec).unwrap(), open)
}

/// Signs a spec with whatever master one likes: what an attacker can do, and how malformed specs get a valid signature.
pub(crate) fn resign(spec: &mut KeyringSpec, id: &KeyringId, master: &MasterKey) {
    spec.signature = sign(&signing_key(master, id).unwrap(), &manifest_text(spec).unwrap());
}
