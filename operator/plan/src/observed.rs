//! Everything one reconcile gathered before it decides. Holds digests and metadata, no plaintext.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use touchseal_crds::names::{GENERATION_ANNOTATION, ROLE_ANNOTATION};
use touchseal_crds::{EncryptedSecret, Reason};

use crate::consumers::{Consumer, Owner, Seconds};
use crate::decision::Expected;
use crate::floor::Floor;
use crate::generation::{LedgerEntry, LedgerKey};
use crate::rollout::Wait;

/// Highest number that a Secret is believed to bear: one change a second for thirty years.
pub const MAX_NUMBER: i64 = 1_000_000_000;

/// The input of [`crate::decide`].
#[derive(Debug)]
pub struct Observed<'a> {
    /// The object itself, as read.
    pub object: &'a EncryptedSecret,
    /// SHA-256 over the ciphertext sources (hexadecimal), where all were found. Ciphertext is public.
    pub source: Option<String>,
    /// What became of the documents.
    pub opened: Opened,
    /// The Secret that holds, or is to hold, the ledger's present number: the one of the target's name, or with delivery
    /// Immutable the one of that number (see [`crate::deliver::held`]).
    pub secret: SecretSeen,
    /// With delivery Immutable and changed content, the Secret of the next number's name; Absent otherwise.
    pub fresh: SecretSeen,
    /// With delivery Previous, the Secret that holds the content before; Absent otherwise.
    pub previous: SecretSeen,
    /// Whether the content that is about to be overwritten is what the ledger knows of its number.
    pub live: Live,
    /// Our further Secrets of this object, see [`crate::deliver::is_other`].
    pub others: Vec<Other>,
    /// The ConfigMap of the newest generation's name, where there is or was delivery Immutable; Absent otherwise.
    pub alias: AliasSeen,
    /// What the ledger knows of this object.
    pub ledger: Option<LedgerEntry>,
    /// The least number that is given out.
    pub floor: Floor,
    /// What is known of the pods that use its Secrets.
    pub consumers: Consumers,
}

/// What became of the documents.
#[derive(Debug)]
pub enum Opened {
    /// A keyring that might open them is sealed in this process; it names the keyrings.
    Sealed {
        /// Names of the sealed keyrings, comma-separated.
        keyrings: String,
    },
    /// No open keyring opens them, none is sealed, and one that might is refused.
    Refused {
        /// Names of the refused keyrings, comma-separated.
        keyrings: String,
        /// What their author is told where they were meant for an open keyring.
        otherwise: Option<String>,
    },
    /// They cannot be used.
    Failed(Trouble),
    /// They were decrypted and mapped.
    Content(Digests),
}

/// Why something cannot be used: a reason from the fixed list and a message that names the object and the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Word for the condition.
    pub reason: Reason,
    /// What failed and what to do; holds no value.
    pub message: String,
}

impl Trouble {
    /// A trouble with its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Trouble {
        Trouble { reason, message: message.into() }
    }

    /// True where nothing improves until a person changes the object (kstatus: Stalled).
    pub fn stalls(&self) -> bool {
        use Reason::{ApiError, KeyringRefused, Sealed, SourceNotFound};
        !matches!(self.reason, SourceNotFound | Sealed | KeyringRefused | ApiError)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Keyed digests of the content; they compare contents and tell nothing of them.
#[derive(Clone, Debug)]
pub struct Digests {
    /// Name of the keyring that opened the documents.
    pub keyring: String,
    /// Key the digests were made under: the keyring's Active generation.
    pub key: LedgerKey,
    /// Oldest key generation a document needed.
    pub oldest_generation: u32,
    /// Digest of each Secret key's value, under `key`.
    pub keys: BTreeMap<String, String>,
    /// The same under the other live key generations that the ledger's entry holds digests of.
    pub older: BTreeMap<u32, BTreeMap<String, String>>,
    /// Authenticated `lastmodified` of the document each Secret key came from.
    pub modified: BTreeMap<String, Time>,
    /// Of values that changed and that another key of the object has or had: when they are known to have existed there.
    pub elsewhere: BTreeMap<String, Time>,
    /// Fingerprint of the whole data under this process's own random key; compares with [`OurSecret::fingerprint`].
    pub fingerprint: [u8; 16],
    /// Type a manifest asked for.
    pub type_: Option<String>,
    /// Newest authenticated `lastmodified`.
    pub last_modified: Option<Time>,
}

impl Digests {
    /// Digests of the values under this key, where it is live.
    pub fn under(&self, key: &LedgerKey) -> Option<&BTreeMap<String, String>> {
        match key {
            _ if *key == self.key => Some(&self.keys),
            LedgerKey { keyring, generation } if *keyring == self.key.keyring => self.older.get(generation),
            LedgerKey { .. } => None,
        }
    }
}

/// What is known of the pods that use an object's Secrets.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    /// False where the operator may not read pods, or has not read them yet: the rest says nothing then.
    pub known: bool,
    /// They are being read for the first time since the operator started: what was told before stands until then.
    pub listing: bool,
    /// The watch of pods is interrupted: there may be others, so that nobody uses something cannot be told anew.
    pub blind: bool,
    /// The pods of its namespace that refer to one of them.
    pub pods: Vec<Consumer>,
    /// How long the kubelet may take to refresh mounted files.
    pub refresh: Seconds,
    /// Workloads whose restart waits, and why.
    pub waits: BTreeMap<Owner, Wait>,
}

impl Consumers {
    /// Whether a pod refers to this Secret, or may do so for all that is known.
    pub fn may_use(&self, secret: &str) -> bool {
        let refers = |pod: &Consumer| pod.shape.refs.iter().any(|reference| &*reference.secret == secret);
        !self.known || self.blind || self.pods.iter().any(refers)
    }
}

/// The Secret of the target's name.
#[derive(Clone, Debug, Default)]
pub enum SecretSeen {
    /// There is none.
    #[default]
    Absent,
    /// It is ours.
    Ours(OurSecret),
    /// It is somebody else's.
    Foreign {
        /// Identity, for the write's precondition.
        uid: String,
        /// Version, for the write's precondition.
        resource_version: String,
        /// Its owner asked for it to be taken over by this EncryptedSecret.
        consents: bool,
        /// Who it seems to belong to, for the message.
        owner: String,
        /// Its type; a Secret's type cannot change.
        type_: String,
        /// `immutable: true` was set on it: its data cannot change either.
        immutable: bool,
    },
}

impl SecretSeen {
    /// The secret generation a Secret of ours bears.
    pub fn generation(&self) -> Option<i64> {
        let SecretSeen::Ours(ours) = self else { return None };
        ours.generation()
    }

    /// Its type.
    pub fn type_(&self) -> Option<&str> {
        match self {
            SecretSeen::Ours(OurSecret { type_, .. }) | SecretSeen::Foreign { type_, .. } => Some(type_),
            SecretSeen::Absent => None,
        }
    }
}

/// Whether the Secret still holds what the ledger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Live {
    /// It was not compared, or it differs, or it cannot be told.
    #[default]
    Unknown,
    /// Exactly the digests of the ledger's entry.
    Intact,
}

/// A further Secret of ours.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub secret: OurSecret,
}

impl Other {
    /// The secret generation it bears.
    pub fn generation(&self) -> Option<i64> {
        self.secret.generation()
    }

    /// Which content it holds: `previous`, `generation`, or none for the newest.
    pub fn role(&self) -> Option<&str> {
        self.secret.annotations.get(ROLE_ANNOTATION).map(String::as_str)
    }
}

/// The ConfigMap of the newest generation's name.
#[derive(Clone, Debug, Default)]
pub enum AliasSeen {
    /// There is none.
    #[default]
    Absent,
    /// It is ours.
    Ours(OurAlias),
    /// It is somebody else's.
    Foreign {
        /// Who it seems to belong to, for the message.
        owner: String,
    },
}

/// A ConfigMap of ours.
#[derive(Clone, Debug)]
pub struct OurAlias {
    /// The object, for the write's precondition.
    pub expected: Expected,
    /// Name of the Secret it tells.
    pub secret_name: Option<String>,
    /// The number it tells.
    pub generation: Option<String>,
    /// uid of the EncryptedSecret in its owner reference.
    pub owner_uid: Option<String>,
}

/// A Secret of ours, as the watch saw it; its data only as a fingerprint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OurSecret {
    /// Identity, for the write's precondition.
    pub uid: String,
    /// Version, for the write's precondition.
    pub resource_version: String,
    /// Fingerprint of its data under this process's own random key.
    pub fingerprint: [u8; 16],
    /// Secret type.
    pub type_: String,
    /// `immutable: true` was set on it.
    pub immutable: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// Somebody else changed its data: values of it belong to another manager than us; of a Secret without a role, which may
    /// have been taken over with values like ours, values that were written since we did.
    pub altered: bool,
    /// The EncryptedSecret it says it comes from.
    pub source: Option<String>,
    /// The labels our own server-side apply owns, with their present values.
    pub labels: BTreeMap<String, String>,
    /// The annotations our own server-side apply owns, with their present values.
    pub annotations: BTreeMap<String, String>,
    /// The secret generation it bears, whoever wrote it there.
    pub claimed: Option<i64>,
    /// uid of the EncryptedSecret in its owner reference.
    pub owner_uid: Option<String>,
}

impl OurSecret {
    /// The secret generation it bears. Whoever may write Secrets in its namespace may write any number there: one that no
    /// object can have come to is none, so that a lost ledger does not go on from where it cannot count.
    pub fn generation(&self) -> Option<i64> {
        OurSecret::number(&self.annotations)
    }

    /// The number among annotations.
    pub fn number(annotations: &BTreeMap<String, String>) -> Option<i64> {
        let number = annotations.get(GENERATION_ANNOTATION)?.parse().ok()?;
        (1..=MAX_NUMBER).contains(&number).then_some(number)
    }
}
