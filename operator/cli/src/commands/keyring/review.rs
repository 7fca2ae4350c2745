//! What an edit changed, for the person who commits it: a unified diff of the manifest, ciphertext and signatures shortened.
//! What is shown verifies nowhere, so it is no manifest that anybody could apply.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use similar::TextDiff;
use touchseal_crds::KeyringSpec;
use touchseal_crds::keyring::{GenerationState, Holder, HolderKind, KeyGeneration, PgpKey};

use super::show::policies;

const SHOWN: usize = 12;

/// The diff, a line for each holder and generation; empty where nothing differs.
pub fn difference(name: &str, before: &KeyringSpec, after: &KeyringSpec) -> String {
    let (old, new) = (lines(before), lines(after));
    let diff = TextDiff::from_lines(&old, &new);
    let head = |spec: &KeyringSpec| format!("{name}, revision {}", spec.revision);
    diff.unified_diff().context_radius(2).header(&head(before), &head(after)).to_string()
}

/// Every field is named, so that a new one cannot be forgotten here.
fn lines(spec: &KeyringSpec) -> String {
    let KeyringSpec {
        version,
        id,
        revision,
        holders,
        quorum,
        generations,
        hand_over,
        seal_after,
        on_key_removal,
        emergency_enrolment,
        signature,
    } = spec;
    let optional = [
        hand_over.map(|policy| format!("hand-over {policy:?}")),
        seal_after.as_ref().map(|span| format!("seal-after {span}")),
        on_key_removal.map(|policy| format!("on-key-removal {policy:?}")),
        emergency_enrolment.map(|policy| format!("emergency-enrolment {policy:?}")),
        quorum.map(|quorum| format!("quorum {quorum} of {}", holders.len())),
    ];
    let lines = [format!("revision {revision}, version {version}, id {id}")]
        .into_iter()
        .chain(optional.into_iter().flatten())
        .chain(holders.iter().map(holder))
        .chain(generations.iter().map(|one| generation(one, spec)))
        .chain([format!("signature {}", short(signature))]);
    lines.map(|line| line + "\n").collect()
}

fn holder(holder: &Holder) -> String {
    let (pin, touch) = policies(holder);
    // `policies` reads pin_policy and touch_policy.
    let Holder { name, kind, serial, slot, recipient, pgp, pin_policy: _, touch_policy: _ } = holder;
    let place = match kind {
        HolderKind::Piv => format!("slot {slot}"),
        HolderKind::Pgp => format!("{slot} key"),
    };
    let key = pgp.as_ref().map(|PgpKey { fingerprint, public_key, identity }| {
        let (public_key, identity) = (hash(public_key), hash(identity));
        format!(", PGP key {fingerprint} (sha256 {public_key}), identity sha256 {identity}")
    });
    let key = key.unwrap_or_default();
    format!("holder {name}: YubiKey {serial}, {place}, PIN {pin}, touch {touch}, {recipient}{key}")
}

fn generation(entry: &KeyGeneration, spec: &KeyringSpec) -> String {
    let live =
        |other: &&KeyGeneration| other.number > entry.number && other.state != GenerationState::Retired;
    let to = match (spec.generations.iter().find(live), spec.holders.as_slice()) {
        (Some(newer), _) => format!("generation {}", newer.number),
        (None, [_]) => "1 holder".to_owned(),
        (None, several) => format!("{} holders", several.len()),
    };
    let KeyGeneration { number, state, created_at, verify_key, endorsement, wrapped, shares } = entry;
    let wrapped = match wrapped {
        Some(wrapped) => format!("wrapped to {to}: sha256 {}", hash(wrapped)),
        None if !shares.is_empty() => {
            let all: String = shares.iter().map(|share| share.wrapped.as_str()).collect();
            format!("split into {} shares: sha256 {}", shares.len(), hash(&all))
        }
        None => "its master is gone".to_owned(),
    };
    let endorsed = endorsement.as_ref().map(|by| format!("endorsed {}, ", short(by))).unwrap_or_default();
    format!("generation {number}: {state:?}, made {created_at}, verify key {verify_key}, {endorsed}{wrapped}")
}

/// Tells one wrapping from another.
fn hash(ciphertext: &str) -> String {
    short(&BASE64.encode(Sha256::digest(ciphertext)))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => format!("{text}..."),
    }
}

#[cfg(test)]
mod tests {
    use super::SHOWN;
    use super::difference;
    use crate::card::testing::holder;
    use serde_json::Value;
    use touchseal_crds::KeyringSpec;
    use touchseal_crds::keyring::{EmergencyEnrolment, HandOver, KeyRemoval, PgpKey};
    use touchseal_keyring::manifest;

    const TIME: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn the_difference_names_what_came_and_shows_no_ciphertext_whole() {
        let (spec, open) = manifest::create(vec![holder("anna", 1)], TIME).unwrap();
        let verified = manifest::verify(&spec).unwrap();
        let edited = manifest::add_holder(&verified, &open, holder("ben", 2)).unwrap();
        let text = difference("main", &spec, &edited);
        let has = |text: &str, start: &str, part: &str| {
            let found = text.lines().any(|line| line.starts_with(start) && line.contains(part));
            assert!(found, "no {start:?} with {part:?} in\n{text}");
        };
        has(&text, "-revision 1", "");
        has(&text, "+revision 2", "");
        has(&text, "+holder ben: YubiKey 2, slot 82, PIN once, touch always, age1yubikey1", "");
        has(&text, " holder anna: ", "");
        has(&text, "+generation 1: Active", "wrapped to 2 holders: ");
        assert!(!text.contains(&edited.signature) && text.contains(&edited.signature[..SHOWN]), "{text}");
        assert!(text.lines().count() < 12, "{text}");

        let (ben, open) =
            (manifest::verify(&edited).unwrap(), open.reopen(&manifest::verify(&edited).unwrap()).unwrap());
        let text = difference("main", &edited, &manifest::set_quorum(&ben, &open, Some(2)).unwrap());
        has(&text, "+quorum 2 of 2", "");
        has(&text, "+generation 1: Active", "split into 2 shares: sha256 ");

        let open = open.reopen(&verified).unwrap();
        let (rotated, both) = manifest::rotate(&verified, &open, TIME).unwrap();
        let text = difference("main", &spec, &rotated);
        has(&text, "-generation 1: Active", "wrapped to 1 holder: ");
        has(&text, "+generation 1: Retiring", "wrapped to generation 2: ");
        has(&text, "+generation 2: Active", "wrapped to 1 holder: ");
        let verified = manifest::verify(&rotated).unwrap();
        let retired = manifest::retire(&verified, &both, 1).unwrap();
        has(&difference("main", &rotated, &retired), "+generation 1: Retired", "its master is gone");
        assert_eq!(difference("main", &spec, &spec), "");
    }

    /// Whoever commits an edit must see all of it: each field there is, changed alone, is shown.
    #[test]
    fn every_field_that_changes_is_shown() {
        let pgp = PgpKey {
            fingerprint: "A".repeat(40),
            public_key: "-----BEGIN PGP PUBLIC KEY BLOCK-----".to_owned(),
            identity: "-----BEGIN PGP MESSAGE-----".to_owned(),
        };
        let (spec, open) = manifest::create(vec![holder("anna", 1), holder("ben", 2)], TIME).unwrap();
        let verified = manifest::verify(&spec).unwrap();
        let (rotated, _) = manifest::rotate(&verified, &open, TIME).unwrap();
        // Without `..`: a new field has to be set here, too.
        let full = KeyringSpec {
            version: rotated.version,
            id: rotated.id,
            revision: rotated.revision,
            holders: rotated.holders,
            quorum: Some(2),
            generations: rotated.generations,
            hand_over: Some(HandOver::Deny),
            seal_after: Some("12h".to_owned()),
            on_key_removal: Some(KeyRemoval::Seal),
            emergency_enrolment: Some(EmergencyEnrolment::Allow),
            signature: rotated.signature,
        };
        let mut full = full;
        full.holders[0].pgp = Some(pgp);
        let before = serde_json::to_value(&full).unwrap();
        let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut seen = 0;
        for at in ["", "/holders/0", "/holders/0/pgp", "/generations/1"] {
            for field in fields(before.pointer(at).unwrap()) {
                let mut after = before.clone();
                let place = after.pointer_mut(&format!("{at}/{field}")).unwrap();
                *place = match (&*place, field.as_str()) {
                    (_, "kind") => "Pgp".into(),
                    (_, "handOver") => "Allow".into(),
                    (_, "onKeyRemoval") => "Keep".into(),
                    (_, "emergencyEnrolment") => "Deny".into(),
                    (_, "pinPolicy" | "touchPolicy") => "Never".into(),
                    (_, "state") => "Retired".into(),
                    (Value::String(text), _) => format!("x{text}").into(),
                    (Value::Number(number), _) => (number.as_u64().unwrap() + 1).into(),
                    (Value::Array(list), _) => list[1..].into(),
                    (Value::Object(_), "pgp") => Value::Null,
                    (other, _) => panic!("{field}: {other}"),
                };
                let after: KeyringSpec = serde_json::from_value(after).unwrap();
                assert_ne!(difference("main", &full, &after), "", "{at}/{field}");
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen}");
    }
}
