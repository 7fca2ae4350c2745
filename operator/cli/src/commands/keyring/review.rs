//! What an edit changed, for the person who commits it: a unified diff of the manifest, ciphertext and signatures shortened.
//! What is shown verifies nowhere, so it is no manifest that anybody could apply.

use similar::TextDiff;
use touchseal_crds::KeyringSpec;
use touchseal_crds::keyring::{GenerationState, Holder, KeyGeneration};

use super::show::policies;

const SHOWN: usize = 12;

/// The diff, a line for each holder and generation; empty where nothing differs.
pub fn difference(name: &str, before: &KeyringSpec, after: &KeyringSpec) -> String {
    let (old, new) = (lines(before), lines(after));
    let diff = TextDiff::from_lines(&old, &new);
    let head = |spec: &KeyringSpec| format!("{name}, revision {}", spec.revision);
    diff.unified_diff().context_radius(2).header(&head(before), &head(after)).to_string()
}

fn lines(spec: &KeyringSpec) -> String {
    let mut out = format!("revision {}\n", spec.revision);
    if let Some(hand_over) = spec.hand_over {
        out.push_str(&format!("hand-over {hand_over:?}\n"));
    }
    if let Some(policy) = spec.on_key_removal {
        out.push_str(&format!("on-key-removal {policy:?}\n"));
    }
    if let Some(policy) = spec.emergency_enrolment {
        out.push_str(&format!("emergency-enrolment {policy:?}\n"));
    }
    if let Some(quorum) = spec.quorum {
        out.push_str(&format!("quorum {quorum} of {}\n", spec.holders.len()));
    }
    spec.holders.iter().for_each(|one| out.push_str(&format!("{}\n", holder(one))));
    spec.generations.iter().for_each(|one| out.push_str(&format!("{}\n", generation(one, spec))));
    out.push_str(&format!("signature {}\n", short(&spec.signature)));
    out
}

fn holder(holder: &Holder) -> String {
    let (pin, touch) = policies(holder);
    let Holder { name, serial, slot, recipient, .. } = holder;
    format!("holder {name}: YubiKey {serial}, slot {slot}, PIN {pin}, touch {touch}, {recipient}")
}

fn generation(entry: &KeyGeneration, spec: &KeyringSpec) -> String {
    let live =
        |other: &&KeyGeneration| other.number > entry.number && other.state != GenerationState::Retired;
    let to = match (spec.generations.iter().find(live), spec.holders.as_slice()) {
        (Some(newer), _) => format!("generation {}", newer.number),
        (None, [_]) => "1 holder".to_owned(),
        (None, several) => format!("{} holders", several.len()),
    };
    let KeyGeneration { number, state, created_at, verify_key, .. } = entry;
    let shares = entry.shares.len();
    let wrapped = match &entry.wrapped {
        Some(wrapped) => format!("wrapped to {to}: {}", short(last_body_line(wrapped))),
        None if shares > 0 => format!("split into {shares} shares"),
        None => "its master is gone".to_owned(),
    };
    format!("generation {number}: {state:?}, made {created_at}, verify key {verify_key}, {wrapped}")
}

/// The end of the ciphertext tells one wrapping from another.
fn last_body_line(armored: &str) -> &str {
    armored.lines().rev().find(|line| !line.is_empty() && !line.starts_with('-')).unwrap_or_default()
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
        has(&text, "+generation 1: Active", "split into 2 shares");

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
}
