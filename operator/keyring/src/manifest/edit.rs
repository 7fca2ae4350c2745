//! Writing manifests: every edit starts from a verified manifest and the masters in the clear, and ends in a spec of the
//! next revision, wrapped anew, signed and verified.

use touchseal_crds::keyring::{
    EmergencyEnrolment, GenerationState, HandOver, Holder, KeyGeneration, KeyRemoval, KeyShare, KeyringSpec,
};

use super::error::ManifestError;
use super::quorum;
use super::signing::{endorsement_text, manifest_text, sign};
use super::verify::{is_time, verify};
use super::{MANIFEST_VERSION, VerifiedManifest};
use crate::agefile;
use crate::bytes::encode_base64;
use crate::derive::{DeriveError, signing_key, verify_key, wrapping_identity};
use crate::holder::{self, HolderKey, HolderKeyError, WrapError};
use crate::id::KeyringId;
use crate::master::MasterKey;
use crate::open::{Masters, OpenError, OpenKeyring};
use crate::share;

/// Why a manifest was not written.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The masters in hand are not those of the manifest to be edited.
    #[error("edit the manifest: the keyring was opened at another manifest")]
    NotOpen,
    /// A time is not RFC 3339.
    #[error("edit the manifest: {0:?} is not an RFC 3339 time")]
    Time(String),
    /// There is no such holder.
    #[error("edit the manifest: there is no holder {0:?}")]
    NoSuchHolder(String),
    /// There is no such generation in state Retiring.
    #[error("edit the manifest: key generation {0} is not Retiring")]
    NotRetiring(u32),
    /// A holder's recipient is not a key.
    #[error(transparent)]
    HolderKey(#[from] HolderKeyError),
    /// Deriving a key failed.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// Alarm: a quorum that was checked could not be met.
    #[error("edit the manifest: the master could not be split")]
    Split,
    /// Wrapping a master failed.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// The edit would make a manifest that everybody refuses.
    #[error("edit the manifest: {0}")]
    Refused(#[from] ManifestError),
    /// The edited manifest does not open with its own masters.
    #[error("edit the manifest: {0}")]
    Open(#[from] OpenError),
}

/// A new keyring: random id, one generation, wrapped to `holders`. `created_at` is RFC 3339.
pub fn create(holders: Vec<Holder>, created_at: &str) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    create_with(holders, None, created_at)
}

/// [`create`] of a keyring that it takes `quorum` holders to open: its master is never wrapped whole.
pub fn create_with(
    holders: Vec<Holder>,
    quorum: Option<u32>,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    make(KeyringId::generate(), MasterKey::generate(), holders, quorum, created_at)
}

/// A new keyring from a given id and master: what [`create`] does with random ones, and test vectors with fixed ones.
pub fn create_from(
    id: KeyringId,
    master: MasterKey,
    holders: Vec<Holder>,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    make(id, master, holders, None, created_at)
}

/// A new keyring from everything that is drawn at random elsewhere.
pub(crate) fn make(
    id: KeyringId,
    master: MasterKey,
    holders: Vec<Holder>,
    quorum: Option<u32>,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    let generation = new_generation(1, &master, &id, created_at)?;
    let spec = KeyringSpec {
        version: MANIFEST_VERSION,
        id: id.to_string(),
        revision: 0,
        holders,
        quorum,
        generations: vec![generation],
        hand_over: None,
        seal_after: None,
        on_key_removal: None,
        emergency_enrolment: None,
        signature: String::new(),
    };
    issue(spec, &id, &Masters::new(1, master))
}

/// One more holder; the master is wrapped anew to all of them.
pub fn add_holder(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    holder: Holder,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.holders.push(holder);
        Ok(())
    })
}

/// One holder less. What they could open so far they may have kept: rotate, too, unless the key was merely replaced.
pub fn remove_holder(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    name: &str,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        let before = spec.holders.len();
        spec.holders.retain(|holder| holder.name != name);
        if spec.holders.len() == before { Err(EditError::NoSuchHolder(name.to_owned())) } else { Ok(()) }
    })
}

/// Lets unsealed replicas unseal others, or no longer.
pub fn set_hand_over(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    hand_over: HandOver,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.hand_over = Some(hand_over);
        Ok(())
    })
}

/// Seals when a YubiKey that is left in a node is pulled, or no longer. What is the default leaves no field: programs of before it
/// read the manifest again.
pub fn set_on_key_removal(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    policy: KeyRemoval,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.on_key_removal = Some(policy).filter(|policy| *policy != KeyRemoval::Keep);
        Ok(())
    })
}

/// Lets an unsealed operator enrol a holder for an administrator, or no longer; the default leaves no field.
pub fn set_emergency_enrolment(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    policy: EmergencyEnrolment,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.emergency_enrolment = Some(policy).filter(|policy| *policy != EmergencyEnrolment::Deny);
        Ok(())
    })
}

/// Ends every unseal so long after the holder's release, in words such as `12h`; `None`: no end.
pub fn set_seal_after(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    span: Option<String>,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.seal_after = span;
        Ok(())
    })
}

/// Another number of holders it takes from now on; `None`: any one of them. Who could open the Active master alone so far
/// may have done so: rotate, too, where the number goes up.
pub fn set_quorum(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    quorum: Option<u32>,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        spec.quorum = quorum;
        Ok(())
    })
}

/// A new Active generation, endorsed by the present one, which becomes Retiring.
pub fn rotate(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    rotate_to(manifest, open, MasterKey::generate(), created_at)
}

/// [`rotate`] with other entries of the same holders: those by PGP get a new identity with each generation.
pub fn rotate_for(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    holders: Vec<Holder>,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    rotated(manifest, open, holders, MasterKey::generate(), created_at)
}

/// [`rotate`] to a given master, for test vectors.
pub(crate) fn rotate_to(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    master: MasterKey,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    rotated(manifest, open, manifest.spec().holders.clone(), master, created_at)
}

fn rotated(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    holders: Vec<Holder>,
    master: MasterKey,
    created_at: &str,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    check_open(manifest, open)?;
    let mut spec = KeyringSpec { holders, ..manifest.spec().clone() };
    let number = manifest.active_generation() + 1;
    let mut generation = new_generation(number, &master, manifest.id(), created_at)?;
    let text = endorsement_text(manifest.id(), number, &verify_key(&master, manifest.id())?)
        .ok_or(ManifestError::Endorsement(number))?;
    generation.endorsement = Some(sign(&*signing_key(open.masters().active(), manifest.id())?, &text));
    if let Some(active) = spec.generations.last_mut() {
        active.state = GenerationState::Retiring;
    }
    spec.generations.push(generation);
    issue(spec, manifest.id(), &open.masters().behind(number, master))
}

/// Drops the master of a Retiring generation from the manifest; its number and verify key stay for the chain.
pub fn retire(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    generation: u32,
) -> Result<KeyringSpec, EditError> {
    edit(manifest, open, |spec| {
        let entry = spec
            .generations
            .iter_mut()
            .find(|entry| entry.number == generation && entry.state == GenerationState::Retiring)
            .ok_or(EditError::NotRetiring(generation))?;
        entry.state = GenerationState::Retired;
        entry.wrapped = None;
        Ok(())
    })
}

/// An edit that leaves the Active generation in place.
fn edit(
    manifest: &VerifiedManifest,
    open: &OpenKeyring,
    change: impl FnOnce(&mut KeyringSpec) -> Result<(), EditError>,
) -> Result<KeyringSpec, EditError> {
    check_open(manifest, open)?;
    let mut spec = manifest.spec().clone();
    change(&mut spec)?;
    Ok(issue(spec, manifest.id(), open.masters())?.0)
}

fn check_open(manifest: &VerifiedManifest, open: &OpenKeyring) -> Result<(), EditError> {
    if open.manifest() == manifest { Ok(()) } else { Err(EditError::NotOpen) }
}

fn new_generation(
    number: u32,
    master: &MasterKey,
    id: &KeyringId,
    created_at: &str,
) -> Result<KeyGeneration, EditError> {
    if !is_time(created_at) {
        return Err(EditError::Time(created_at.chars().take(64).collect()));
    }
    Ok(KeyGeneration {
        number,
        state: GenerationState::Active,
        created_at: created_at.to_owned(),
        verify_key: encode_base64(&verify_key(master, id)?),
        endorsement: None,
        wrapped: None,
        shares: Vec::new(),
    })
}

/// Revision + 1, every live master wrapped anew, signed, verified, and opened again from what was written.
fn issue(
    mut spec: KeyringSpec,
    id: &KeyringId,
    masters: &Masters,
) -> Result<(KeyringSpec, OpenKeyring), EditError> {
    spec.revision = spec.revision.saturating_add(1);
    quorum::numbers(&spec)?;
    wrap_all(&mut spec, id, masters)?;
    let text = manifest_text(&spec).ok_or(ManifestError::Revision(spec.revision))?;
    spec.signature = sign(&*signing_key(masters.active(), id)?, &text);
    let manifest = verify(&spec)?;
    let open = OpenKeyring::open(&manifest, masters.active().duplicate())?;
    Ok((spec, open))
}

/// The Active master to all holders, or its shares to each; each older live one to the next newer live one.
fn wrap_all(spec: &mut KeyringSpec, id: &KeyringId, masters: &Masters) -> Result<(), EditError> {
    let holders: Vec<HolderKey> = spec.holders.iter().map(HolderKey::of).collect::<Result<_, _>>()?;
    let mut newer: Option<&MasterKey> = None;
    for entry in spec.generations.iter_mut().rev().filter(|entry| entry.state != GenerationState::Retired) {
        let master = masters.of(entry.number).ok_or(EditError::NotOpen)?;
        entry.shares.clear();
        entry.wrapped = match (newer, spec.quorum) {
            (None, None) => Some(holder::wrap(master, &holders)?),
            (None, Some(quorum)) => {
                let places = spec.holders.iter().map(|holder| holder.name.as_str()).zip(&holders);
                entry.shares = wrap_shares(master, quorum, (id, entry.number, spec.revision), places)?;
                None
            }
            (Some(newer), _) => {
                let recipient = wrapping_identity(newer, id)?.to_public();
                Some(
                    agefile::seal(master, &[&recipient])
                        .map_err(|error| WrapError::Age(error.to_string()))?,
                )
            }
        };
        newer = Some(master);
    }
    Ok(())
}

/// A new sharing at every revision: shares of two revisions do not add up, so who is removed holds a piece of nothing.
fn wrap_shares<'a>(
    master: &MasterKey,
    quorum: u32,
    (id, generation, revision): (&KeyringId, u32, i64),
    holders: impl ExactSizeIterator<Item = (&'a str, &'a HolderKey)>,
) -> Result<Vec<KeyShare>, EditError> {
    let needed = usize::try_from(quorum).unwrap_or(usize::MAX);
    let shares = share::split(master, needed, holders.len()).ok_or(EditError::Split)?;
    let wrapped = shares.iter().zip(holders).zip(1..).map(|((share, (name, key)), index)| {
        let entry = share::entry(id, generation, revision, (name, index), share);
        Ok(KeyShare { wrapped: holder::wrap(share, std::slice::from_ref(key))?, ..entry })
    });
    wrapped.collect()
}
