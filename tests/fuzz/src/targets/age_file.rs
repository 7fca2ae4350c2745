//! The wrapped data key: the short way and the age crate must come to the same end. An input that starts with `=` is an
//! age file to be armored, any other is the armored text itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use touchseal_sops::{Document, Format};

use super::{Target, documents};
use crate::known::{self, identity, opener};

pub const AGE: Target = Target { name: "age", run, vectors };

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
const END: &str = "-----END AGE ENCRYPTED FILE-----\n";

fn run(input: &[u8]) {
    let armored = match input.strip_prefix(b"=") {
        Some(file) => armor(file),
        None => String::from_utf8_lossy(input).into_owned(),
    };
    let document = match Document::parse(document(&armored).as_bytes(), Format::Json) {
        Ok(document) => document,
        Err(error) => return documents::parse_error(&error),
    };
    let quick = document.decrypt_with(opener()).map(|plain| known::covered(&plain));
    let slow = document.decrypt(&[identity()]).map(|plain| known::covered(&plain));
    if let Err(error) = &quick {
        documents::decrypt_error(error);
    }
    assert_eq!(
        quick.as_ref().map_err(|error| error.reason()),
        slow.as_ref().map_err(|error| error.reason()),
        "the short way and the age crate differ"
    );
    if let Ok(values) = quick {
        assert!(known::originals().contains(&values), "opens to what was never encrypted");
    }
}

/// The vector `good.json` with another age file.
fn document(armored: &str) -> String {
    let vector =
        known::documents(Format::Json).find(|vector| vector.name == "good.json").expect("the vector");
    let text = std::str::from_utf8(&vector.bytes).expect("UTF-8");
    let own = serde_json::json!(known::wrapped().armored).to_string();
    assert!(text.contains(&own), "the vector is written otherwise");
    text.replace(&own, &serde_json::json!(armored).to_string())
}

fn armor(file: &[u8]) -> String {
    let digits = STANDARD.encode(file);
    let mut text = BEGIN.to_owned();
    for line in digits.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + END
}

fn vectors() -> Vec<Vec<u8>> {
    let armored = &known::wrapped().armored;
    let digits: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
    let file = STANDARD.decode(&digits).expect("base64");
    let longer = armored.replacen('\n', "\r\n", 20);
    vec![
        armored.clone().into_bytes(),
        [b"=", &file[..]].concat(),
        longer.into_bytes(),
        format!("\n  \n{armored}\n\n").into_bytes(),
        format!("  {armored}").into_bytes(),
        format!("{BEGIN}{digits}\n{END}").into_bytes(),
        format!("{BEGIN}{}\n{}\n{END}", &digits[..60], &digits[60..]).into_bytes(),
        b"=age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\nAAAA\n--- AAAA\n".to_vec(),
    ]
}
