//! Writes `tests/vectors/keyring`: `cargo test -p touchseal-keyring write_vectors -- --ignored`. Wrapping is random, so
//! ciphertexts and what depends on them (signatures, digests) differ each time; derivations do not.

use std::fs;

use serde_json::{Value, json};
use touchseal_crds::keyring::{GenerationState, KeyringSpec};

use super::{
    Generation, HolderSecret, Keyring, Namespace, Refused, SessionOffer, directory, holders, identity_text,
};
use crate::bytes::encode_base64;
use crate::derive::{DigestKey, NamespaceIdentity, signing_key, verify_key, wrapping_identity};
use crate::id::KeyringId;
use crate::manifest::signing::{endorsement_text, sign};
use crate::manifest::{VerifiedManifest, add_holder, create_from, remove_holder, retire, rotate_to, verify};
use crate::master::MasterKey;
use crate::open::OpenKeyring;
use crate::pin::Pin;
use crate::release::Offer;
use crate::testkit::{ID, TIME, alice, bob, mallory, master, resign};

const MASTERS: [u8; 3] = [0x01, 0x02, 0x03];
const ATTACKERS: u8 = 0x66;

#[test]
#[ignore = "writes tests/vectors/keyring"]
fn write_vectors() {
    let refused = directory().join("refused");
    fs::create_dir_all(&refused).unwrap();
    for entry in fs::read_dir(&refused).unwrap() {
        let path = entry.unwrap().path();
        // Those of a quorum are written by `write_quorum_vectors`.
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("quorum-")) {
            fs::remove_file(path).unwrap();
        }
    }
    let line = Line::new();
    for (index, manifest) in [&line.first, &line.second, &line.third].into_iter().enumerate() {
        write(&format!("manifest-{}.json", index + 1), manifest.spec());
    }
    write("keyring.json", &keyring(&line));
    line.write_tampered();
    line.write_malformed();
    line.write_unpinned();
}

/// Three manifests of one keyring: created, rotated, rotated again with generation 1 retired.
struct Line {
    first: VerifiedManifest,
    first_open: OpenKeyring,
    second: VerifiedManifest,
    second_open: OpenKeyring,
    third: VerifiedManifest,
}

impl Line {
    fn new() -> Self {
        let entries = vec![alice().entry(), bob().entry()];
        let (spec, first_open) = create_from(ID, master(MASTERS[0]), entries, TIME).unwrap();
        let first = verify(&spec).unwrap();
        let (spec, second_open) = rotate_to(&first, &first_open, master(MASTERS[1]), TIME).unwrap();
        let second = verify(&spec).unwrap();
        let (spec, open) = rotate_to(&second, &second_open, master(MASTERS[2]), TIME).unwrap();
        let third = verify(&retire(&verify(&spec).unwrap(), &open, 1).unwrap()).unwrap();
        Self { first, first_open, second, second_open, third }
    }

    /// What a git writer without a master can do.
    fn write_tampered(&self) {
        let refuse = |name: &str, reason, fault: &str, change: &dyn Fn(&mut KeyringSpec)| {
            let mut spec = self.second.spec().clone();
            change(&mut spec);
            write_refused(name, "verify", reason, fault, None, &spec);
        };
        refuse("added-holder", "Signature", "a holder was added after signing", &|spec| {
            spec.holders.push(mallory().entry());
        });
        refuse("removed-holder", "Signature", "a holder was removed after signing", &|spec| {
            spec.holders.pop();
        });
        refuse("flipped-signature", "Signature", "one bit of the signature is flipped", &|spec| {
            spec.signature = flip(&spec.signature);
        });
        refuse("revision-raised", "Signature", "the revision was raised after signing", &|spec| {
            spec.revision += 1;
        });
        refuse("swapped-wrapped", "Signature", "the wrapped master is another's", &|spec| {
            spec.generations[1].wrapped =
                Some(crate::holder::wrap(&master(ATTACKERS), &[alice().key()]).unwrap());
        });
        refuse(
            "signed-by-a-stranger",
            "Signature",
            "signed with a master that is not in the manifest",
            &|spec| {
                resign(spec, &ID, &master(ATTACKERS));
            },
        );
        refuse(
            "signed-by-the-generation-before",
            "Signature",
            "signed by the Retiring generation",
            &|spec| {
                resign(spec, &ID, &master(MASTERS[0]));
            },
        );
        refuse(
            "added-generation",
            "Endorsement",
            "a generation whose master the attacker knows was appended",
            &|s| {
                append_attackers(s, None);
            },
        );
        refuse(
            "added-generation-self-endorsed",
            "Endorsement",
            "an appended generation endorses itself",
            &|spec| {
                append_attackers(spec, Some(&master(ATTACKERS)));
            },
        );
        refuse(
            "endorsement-of-another-number",
            "Endorsement",
            "an endorsement is for another number",
            &|spec| {
                let key = verify_key(&master(MASTERS[1]), &ID).unwrap();
                spec.generations[1].endorsement = Some(endorse(&master(MASTERS[0]), &ID, 3, &key));
                resign(spec, &ID, &master(MASTERS[1]));
            },
        );
        refuse(
            "endorsement-for-another-keyring",
            "Endorsement",
            "an endorsement is for another keyring",
            &|spec| {
                let key = verify_key(&master(MASTERS[1]), &ID).unwrap();
                let other = KeyringId::from_bytes([5; 16]);
                spec.generations[1].endorsement = Some(endorse(&master(MASTERS[0]), &other, 2, &key));
                resign(spec, &ID, &master(MASTERS[1]));
            },
        );
        refuse("endorsement-missing", "Endorsement", "a later generation has no endorsement", &|spec| {
            spec.generations[1].endorsement = None;
            resign(spec, &ID, &master(MASTERS[1]));
        });
        refuse(
            "first-generation-endorsed",
            "Endorsement",
            "the first generation has an endorsement",
            &|spec| {
                spec.generations[0].endorsement = spec.generations[1].endorsement.clone();
                resign(spec, &ID, &master(MASTERS[1]));
            },
        );
    }

    /// Malformed, though signed by the Active generation: whoever signs does not get around the rules.
    fn write_malformed(&self) {
        let refuse = |name: &str, reason, fault: &str, change: &dyn Fn(&mut KeyringSpec)| {
            let mut spec = self.second.spec().clone();
            change(&mut spec);
            if !spec.generations.is_empty() && spec.revision < i64::MAX {
                resign(&mut spec, &ID, &master(MASTERS[1]));
            }
            write_refused(name, "verify", reason, fault, None, &spec);
        };
        refuse("version-2", "Version", "another format version", &|spec| spec.version = 2);
        refuse("id-upper-case", "Id", "the id has upper-case digits", &|spec| {
            spec.id = spec.id.to_uppercase()
        });
        refuse("revision-0", "Revision", "the revision is 0", &|spec| spec.revision = 0);
        refuse("revision-2-to-63", "Revision", "the revision is more than 2^53 - 1", &|spec| {
            spec.revision = i64::MAX
        });
        refuse("no-holders", "NoHolders", "there is no holder", &|spec| spec.holders.clear());
        refuse("holder-name-with-newline", "Holder", "a holder's name has a line break", &|spec| {
            spec.holders[0].name = "alice\nbob".to_owned();
        });
        refuse("holder-slot-9a", "Holder", "a holder's slot is not a retired one", &|spec| {
            spec.holders[0].slot = "9a".to_owned();
        });
        refuse("holder-recipient-age1", "Holder", "a holder's recipient is a plain age recipient", &|spec| {
            spec.holders[0].recipient = age::x25519::Identity::generate().to_public().to_string();
        });
        refuse("holder-recipient-upper-case", "Holder", "a holder's recipient is in upper case", &|spec| {
            spec.holders[0].recipient = spec.holders[0].recipient.to_uppercase();
        });
        refuse("duplicate-holder-key", "DuplicateHolder", "two holders have one key", &|spec| {
            spec.holders[1].recipient = spec.holders[0].recipient.clone();
        });
        refuse("duplicate-holder-name", "DuplicateHolder", "two holders have one name", &|spec| {
            spec.holders[1].name = spec.holders[0].name.clone();
        });
        refuse("no-generations", "NoGenerations", "there is no generation", &|spec| spec.generations.clear());
        refuse("duplicate-numbers", "GenerationNumber", "two generations have one number", &|spec| {
            spec.generations[1].number = 1;
        });
        refuse("descending-numbers", "GenerationNumber", "generations are in descending order", &|spec| {
            spec.generations.reverse();
        });
        refuse("gap-in-numbers", "GenerationNumber", "a generation number is skipped", &|spec| {
            spec.generations[1].number = 3;
        });
        refuse("first-generation-dropped", "GenerationNumber", "the chain does not begin at 1", &|spec| {
            spec.generations.remove(0);
        });
        refuse("two-actives", "ActiveState", "two generations are Active", &|spec| {
            spec.generations[0].state = GenerationState::Active;
        });
        refuse("no-active", "ActiveState", "the last generation is not Active", &|spec| {
            spec.generations[1].state = GenerationState::Retiring;
        });
        refuse("wrapped-missing", "Generation", "a Retiring generation has no wrapped master", &|spec| {
            spec.generations[0].wrapped = None;
        });
        refuse("wrapped-kept", "Generation", "a Retired generation still has its wrapped master", &|spec| {
            spec.generations[0].state = GenerationState::Retired;
        });
        refuse("wrapped-not-armored", "Generation", "a wrapped master is not an armored age file", &|spec| {
            spec.generations[0].wrapped = Some("age-encryption.org/v1\n".to_owned());
        });
        refuse("created-at-nonsense", "Generation", "a creation time is not RFC 3339", &|spec| {
            spec.generations[0].created_at = "yesterday".to_owned();
        });
        refuse("verify-key-small-order", "Generation", "a verify key is the neutral element", &|spec| {
            let mut neutral = [0; 32];
            neutral[0] = 1;
            spec.generations[0].verify_key = encode_base64(&neutral);
        });
        refuse("verify-key-short", "Generation", "a verify key has 31 bytes", &|spec| {
            spec.generations[0].verify_key = encode_base64(&[1; 31]);
        });
        refuse(
            "master-repeated",
            "DuplicateVerifyKey",
            "a generation repeats the master before it",
            &|spec| {
                spec.generations[1].verify_key = spec.generations[0].verify_key.clone();
            },
        );

        let mut unknown = serde_json::to_value(self.second.spec()).unwrap();
        unknown["generations"][0]["comment"] = json!("not covered by the signature");
        let fault = "a generation has a field that is not in the format";
        write_refused("unknown-field", "parse", "Unknown", fault, None, &unknown);
    }

    /// Manifests that verify by themselves and are not what was pinned.
    fn write_unpinned(&self) {
        let entries = vec![alice().entry(), bob().entry()];
        let (swapped, _) = create_from(ID, master(ATTACKERS), entries, TIME).unwrap();
        let fault = "the whole keyring is one the attacker made for the same id and holders";
        write_refused(
            "swapped-keyring",
            "pin",
            "FingerprintChanged",
            fault,
            Some(self.first.pin()),
            &swapped,
        );

        let fault = "an older revision, in which generation 1 was not retired, is shown again";
        let pin = Some(self.third.pin());
        write_refused("rolled-back", "pin", "ManifestRolledBack", fault, pin, self.second.spec());
        let edited = verify(&remove_holder(&self.second, &self.second_open, "bob").unwrap()).unwrap();
        let fault = "the revision before a holder was removed is shown again";
        let pin = Some(edited.pin());
        write_refused("rolled-back-revision", "pin", "ManifestRolledBack", fault, pin, self.second.spec());

        let (forked, _) = rotate_to(&self.first, &self.first_open, master(ATTACKERS), TIME).unwrap();
        let fault = "generation 1's master leaked, and was used to endorse a generation 2 of the attacker's";
        write_refused("forked-generation", "pin", "ManifestForked", fault, Some(self.second.pin()), &forked);

        let added = add_holder(&self.second, &self.second_open, mallory().entry()).unwrap();
        let fault = "two edits of one revision, of which the other one, that removed a holder, was pinned";
        write_refused("forked-revision", "pin", "ManifestForked", fault, Some(edited.pin()), &added);
    }
}

fn append_attackers(spec: &mut KeyringSpec, endorser: Option<&MasterKey>) {
    let key = verify_key(&master(ATTACKERS), &ID).unwrap();
    let mut generation = spec.generations[1].clone();
    spec.generations[1].state = GenerationState::Retiring;
    generation.number = 3;
    generation.verify_key = encode_base64(&key);
    generation.endorsement = endorser.map(|endorser| endorse(endorser, &ID, 3, &key));
    generation.wrapped =
        Some(crate::holder::wrap(&master(ATTACKERS), &[alice().key(), bob().key()]).unwrap());
    spec.generations.push(generation);
    resign(spec, &ID, &master(ATTACKERS));
}

fn endorse(endorser: &MasterKey, id: &KeyringId, number: u32, key: &[u8; 32]) -> String {
    sign(&signing_key(endorser, id).unwrap(), &endorsement_text(id, number, key).unwrap())
}

fn flip(signature: &str) -> String {
    let mut bytes: [u8; 64] = crate::bytes::decode_base64(signature).unwrap();
    bytes[20] ^= 1;
    encode_base64(&bytes)
}

fn keyring(line: &Line) -> Keyring {
    let generations =
        MASTERS.iter().zip(1..).map(|(seed, number)| generation(number, &master(*seed))).collect();
    let (session_key, nonce) = (encode_base64(&[9; 32]), "0f".repeat(16));
    let audience = Offer::parse(&session_key, &nonce).unwrap().audience(&ID);
    Keyring {
        id: ID.to_string(),
        fingerprint: line.first.fingerprint().to_string(),
        holders: holders()
            .iter()
            .map(|holder| HolderSecret {
                name: holder.name.to_owned(),
                secret: hex::encode(holder.secret_bytes()),
                recipient: holder.key().to_recipient(),
                tag: hex::encode(holder.key().tag()),
            })
            .collect(),
        generations,
        pins: vec![line.first.pin(), line.second.pin(), line.third.pin()],
        session: SessionOffer { session_key, nonce, audience },
    }
}

fn generation(number: u32, master: &MasterKey) -> Generation {
    let namespaces = ["shop", "kube-system", "a"].map(|name| {
        let identity = NamespaceIdentity::derive(master, &ID, name).unwrap();
        Namespace {
            name: name.to_owned(),
            identity: identity_text(&identity),
            recipient: identity.recipient().to_owned(),
            digest: hex::encode(DigestKey::derive(master, &ID, name).unwrap().digest(&[b"key", b"value"])),
        }
    });
    Generation {
        number,
        master: hex::encode(master.expose()),
        verify_key: encode_base64(&verify_key(master, &ID).unwrap()),
        wrapping_recipient: wrapping_identity(master, &ID).unwrap().to_public().to_string(),
        namespaces: namespaces.into(),
    }
}

pub(super) fn write_refused(
    name: &str,
    layer: &str,
    reason: &str,
    fault: &str,
    pin: Option<Pin>,
    manifest: &impl serde::Serialize,
) {
    let manifest: Value = serde_json::to_value(manifest).unwrap();
    let (fault, layer, reason) = (fault.to_owned(), layer.to_owned(), reason.to_owned());
    write(&format!("refused/{name}.json"), &Refused { fault, layer, reason, pin, manifest });
}

pub(super) fn write(name: &str, value: &impl serde::Serialize) {
    fs::write(directory().join(name), serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}
