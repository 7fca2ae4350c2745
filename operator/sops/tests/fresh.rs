//! What is made twice is different twice: nonces, data keys, and what wraps them. A constant in the place of randomness
//! opens just as well, so no test that opens what was made can tell.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use touchseal_sops::{Document, Edited, Format, Opener, OsRng, Recipients, Rules};

const NOW: &str = "2026-01-31T08:00:00Z";
const PLAIN: &str = "a: same\nb: same\nl:\n    - same\n    - same\n# note\nc: same\n";

struct Made {
    identity: age::x25519::Identity,
    text: String,
}

impl Made {
    fn new(identity: &age::x25519::Identity) -> Made {
        let recipient = identity.to_public().to_string().parse().expect("a recipient");
        let recipients = Recipients::new(vec![recipient]).expect("recipients");
        let rules = Rules::default();
        let made = Document::encrypt(PLAIN.as_bytes(), Format::Yaml, &recipients, &rules, NOW, &mut OsRng);
        Made { identity: identity.clone(), text: text(&made.expect("encrypt")) }
    }

    fn opener(&self) -> Opener {
        Opener::new().with_x25519(self.identity.clone())
    }

    /// The age file that wraps the data key, armor and all.
    fn wrapped(&self) -> &str {
        let start = self.text.find("            -----BEGIN").expect("an age file");
        &self.text[start..self.text.find("    lastmodified").expect("its end")]
    }

    /// The ephemeral share, what it wraps, and the payload's nonce with what is behind it.
    fn parts(&self) -> Vec<String> {
        let lines = self.wrapped().lines().map(str::trim);
        let digits: String = lines.filter(|line| !line.starts_with('-')).collect();
        let file = STANDARD.decode(digits).expect("base64");
        let text = String::from_utf8_lossy(&file).into_owned();
        let mut lines = text.split('\n');
        let share = lines.nth(1).expect("a stanza").to_owned();
        let body = lines.next().expect("its body").to_owned();
        let at = file.windows(4).position(|four| four == b"--- ").expect("the end of the header");
        let payload = &file[at + 4 + 44..];
        vec![share, body, format!("{:?}", &payload[..16]), format!("{:?}", &payload[16..])]
    }
}

fn text(document: &Document) -> String {
    String::from_utf8(document.emit()).expect("UTF-8")
}

/// All nonces of values, comments and the MAC.
fn nonces(text: &str) -> Vec<&str> {
    text.split(",iv:").skip(1).map(|rest| rest.split(',').next().unwrap_or_default()).collect()
}

#[test]
fn no_nonce_is_used_twice() {
    let identity = age::x25519::Identity::generate();
    let (one, two) = (Made::new(&identity), Made::new(&identity));
    let document = Document::parse(one.text.as_bytes(), Format::Yaml).expect("parse");
    let new = PLAIN.replace("b: same", "b: other").replace("    - same\n", "    - same\n    - more\n");
    let edited = document.edit(&one.opener(), new.as_bytes(), NOW, &mut OsRng).expect("edit");
    let Edited::Changed(edited) = edited else { unreachable!("it was changed") };
    let (before, edited) = (nonces(&one.text), text(&edited));
    assert_eq!(before.len(), 7, "five values, a comment and the MAC");
    let fresh: Vec<&str> = nonces(&edited).into_iter().filter(|nonce| !before.contains(nonce)).collect();
    assert!(fresh.len() >= 3, "two values and the MAC: {edited}");
    let all: Vec<&str> = [before, fresh, nonces(&two.text)].concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:#?}");
    assert!(all.iter().all(|nonce| STANDARD.decode(nonce).is_ok_and(|bytes| bytes.len() == 32)));
}

#[test]
fn no_data_key_is_used_twice() {
    let identity = age::x25519::Identity::generate();
    let (one, two) = (Made::new(&identity), Made::new(&identity));
    let swapped = one.text.replace(one.wrapped(), two.wrapped());
    assert_ne!(swapped, one.text);
    let document = Document::parse(swapped.as_bytes(), Format::Yaml).expect("parse");
    assert!(document.decrypt_with(&one.opener()).is_err(), "one data key opens two documents");
}

#[test]
fn nothing_that_wraps_a_data_key_is_used_twice() {
    let identity = age::x25519::Identity::generate();
    let (one, two) = (Made::new(&identity), Made::new(&identity));
    for (what, (one, two)) in ["share", "wrapped file key", "nonce", "payload"]
        .into_iter()
        .zip(one.parts().iter().zip(&two.parts()))
    {
        assert_ne!(one, two, "{what}");
    }
}
