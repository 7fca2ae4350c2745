//! Condition types and reasons: the one list of every word a status, an Event or a metric label may use.

use std::fmt;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every word, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word as it is written in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant),)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

words! {
    /// Types of conditions in `status.conditions`.
    ConditionType {
        /// The object is served as its spec asks (kstatus).
        Ready,
        /// Nothing will improve until a person acts (kstatus).
        Stalled,
        /// Pods still hold an older value (True), or the last of them has left (False).
        Draining,
        /// A value's maxAge ends soon or has ended.
        RotationDue,
        /// The documents served are older than ones seen before.
        RolledBack,
        /// Incident: everything it names is safe or accepted.
        Closed,
        /// Keyring: the manifest is not one its holders signed, or not the one that was pinned.
        Tampered,
        /// Keyring: at least one replica holds the master keys.
        Unsealed,
        /// Keyring: the loss of one YubiKey would be the loss of everything. Advisory.
        SingleHolder,
        /// UnsealRequest: the last release was refused.
        ReleaseRefused,
        /// Enrolment: the new holder is in the manifest that `status.manifest` holds.
        Enrolled,
    }
}

words! {
    /// Reasons of conditions and Events. Bounded: they are also metric labels.
    Reason {
        /// The Secret holds what the documents say.
        Materialised,
        /// A key is needed that no holder has released to this process.
        Sealed,
        /// The keyring that may open it is refused, so no key is there; its condition Tampered says why.
        KeyringRefused,
        /// Keyring: the time since a holder's release is over by `sealAfter`.
        SealAfter,
        /// Reconciling is switched off by `spec.suspend`.
        Suspended,
        /// A Secret of the target's name exists and is not ours.
        Conflict,
        /// A document could not be read as sops.
        InvalidDocument,
        /// A document is not encrypted to this namespace.
        NoMatchingRecipient,
        /// A document was changed after it was encrypted.
        DocumentTampered,
        /// A document uses a sops feature that is not supported.
        UnsupportedDocument,
        /// The documents cannot be mapped to Secret keys as asked.
        InvalidMapping,
        /// `target.template` cannot compose the Secret's keys of what the documents give.
        TemplateFailed,
        /// A referenced ConfigMap or key does not exist.
        SourceNotFound,
        /// The target asks for something refused.
        InvalidTarget,
        /// The API server refused or failed a write.
        ApiError,
        /// The Secret differed from the documents and was put back.
        DriftReverted,
        /// A foreign Secret was taken over with its owner's consent.
        Adopted,
        /// Draining: pods hold an older value.
        StaleConsumers,
        /// Draining: the kubelet has not had its time to refresh mounted files yet.
        Refreshing,
        /// Draining: no right to read pods, so nobody knows who uses the old value.
        ConsumersUnknown,
        /// Draining: the last consumer has left the old value; it may be revoked now.
        Drained,
        /// RotationDue: maxAge ends soon.
        DueSoon,
        /// RotationDue: maxAge has ended.
        Overdue,
        /// The documents are older than ones seen before.
        RolledBack,
        /// Previous content could not be kept.
        PreviousLost,
        /// A workload was annotated so that it rolls out.
        Restarted,
        /// Incident: something it names is still exposed or draining.
        Exposed,
        /// Incident: everything it names is safe or accepted.
        AllSafe,
        /// Incident: its selector matches no Secret key there is.
        NothingMatches,
        /// Incident: a person closed it.
        ClosedByHand,
        /// Keyring: unsealed and serving.
        Unsealed,
        /// Keyring: the manifest's signature or chain is wrong.
        ManifestInvalid,
        /// Keyring: the manifest is valid but not the pinned one.
        FingerprintChanged,
        /// Keyring: the manifest is older than one already seen.
        ManifestRolledBack,
        /// Keyring: the manifest is of the pinned keyring but not of its line: another generation or content was pinned.
        ManifestForked,
        /// Keyring: a holder's share was accepted, and more are needed.
        ShareReleased,
        /// Keyring: shares that were released are void: another session asks, or the manifest has new ones.
        SharesDropped,
        /// Keyring: an unsealed replica released it to another one.
        HandedOver,
        /// Keyring: a replica's request for a hand-over is not what it says and is not answered.
        RequestForged,
        /// Keyring: one YubiKey opens it and no other.
        OneYubiKey,
        /// Keyring: its quorum is all of its holders.
        EveryHolderNeeded,
        /// UnsealRequest: the release does not open, or opens to the wrong key.
        ReleaseInvalid,
        /// Enrolment: the operator waits for the administrator to repeat its challenge.
        ChallengeIssued,
        /// Enrolment, and an Event on the Keyring: an unsealed operator made somebody a holder.
        HolderEnrolled,
        /// Enrolment, and an Event on the Keyring: the operator makes nobody a holder by it.
        EnrolmentRefused,
    }
}
