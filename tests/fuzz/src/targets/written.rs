//! The way back: what is encrypted comes out as it went in, prints and reads as the same bytes, and stays what it is when
//! edited to what it holds, rotated, or given to others. The input is plaintext; its length chooses the rules.

use std::sync::LazyLock;

use age::x25519::Identity;
use rand_core::{CryptoRng, RngCore};
use touchseal_sops::{Document, Edited, EncryptError, Format, Opener, Recipients, Rules, Selector};

use super::{Target, documents};
use crate::corpus::escape;
use crate::known::{self, identity, opener};
use crate::random::Random;

macro_rules! target {
    ($target:ident, $name:literal, $format:expr) => {
        pub const $target: Target =
            Target { name: $name, run: |input| write(input, $format), vectors: || seeds($format) };
    };
}

target!(YAML, "write-yaml", Format::Yaml);
target!(JSON, "write-json", Format::Json);
target!(DOTENV, "write-dotenv", Format::Dotenv);
target!(INI, "write-ini", Format::Ini);
target!(BINARY, "write-binary", Format::Binary);

const NOW: &str = "2026-01-31T08:00:00Z";

fn write(input: &[u8], format: Format) {
    let random = &mut Numbers(Random::new(input.len() as u64));
    let document = match Document::encrypt(input, format, &to(identity()), &rules(input), NOW, random) {
        Ok(document) => document,
        Err(error) => return refused(&error),
    };
    let sealed = document.emit();
    let again = Document::parse(&sealed, format).expect("what was written is a document");
    same(&again.emit(), &sealed, "printed again it is another file");
    let printed = print(&again, opener());
    if format == Format::Ini && printed.windows(3).any(|three| three == b"\"\"\"") {
        // The one kind of quotes an ini file has for such values; one that holds them cannot be written so that it reads
        // back, by sops neither.
        return;
    }
    match again.edit(opener(), &printed, NOW, random) {
        Ok(Edited::Unchanged) => {}
        Ok(Edited::Changed(_)) => unreachable!("an edit that changes nothing changes the document"),
        Err(error) => unreachable!("an edit that changes nothing is refused: {error}"),
    }
    // What was printed is a plaintext file of its own, and prints as itself; but for an ini value that begins or ends with
    // signs of its own, which sops prints as they are.
    let signs = printed.iter().any(|b| matches!(b, b'"' | b'\'' | b'`' | b'\\'));
    if format != Format::Binary && !(format == Format::Ini && signs) {
        match Document::encrypt(&printed, format, &to(identity()), &Rules::default(), NOW, random) {
            Ok(second) => same(&print(&second, opener()), &printed, "printed twice it is another plaintext"),
            Err(error) => unreachable!("what was printed cannot be encrypted: {error}"),
        }
    }
    if input.len().is_multiple_of(4) {
        let rotated = again.rotate(opener(), None, true, NOW, random).expect("rotates");
        same(&print(&rotated, opener()), &printed, "rotated it holds something else");
        match again.update_keys(opener(), &to(&OTHER), false, random).expect("is given to another") {
            Edited::Changed(given) => {
                same(&print(&given, &OTHERS), &printed, "given to another it holds something else");
                assert!(given.decrypt_with(opener()).is_err(), "who was removed can still open it");
            }
            Edited::Unchanged => unreachable!("another recipient is no change"),
        }
    }
}

fn same(found: &[u8], expected: &[u8], problem: &str) {
    assert!(found == expected, "{problem}: {} instead of {}", escape(found), escape(expected));
}

/// The plaintext of a document, read from its file.
fn print(document: &Document, opener: &Opener) -> zeroize::Zeroizing<Vec<u8>> {
    let document = Document::parse(&document.emit(), document.format()).expect("reads back");
    document.decrypt_with(opener).expect("opens").emit().expect("prints")
}

fn refused(error: &EncryptError) {
    match error {
        EncryptError::Parse(error) => documents::parse_error(error),
        EncryptError::CommentMatches { path } => {
            documents::silent(&[error.to_string(), format!("{error:?}")], &path.to_string());
        }
        error => documents::silent(&[error.to_string(), format!("{error:?}")], ""),
    }
}

fn rules(input: &[u8]) -> Rules {
    let selector = match input.len() % 8 {
        1 => Selector::EncryptedRegex("^[a-d]".to_owned()),
        2 => Selector::UnencryptedRegex("^[a-d]".to_owned()),
        3 => Selector::EncryptedSuffix("a".to_owned()),
        5 => Selector::UnencryptedCommentRegex("clear".to_owned()),
        6 => Selector::EncryptedCommentRegex("x".to_owned()),
        _ => return Rules::default(),
    };
    Rules { selector, mac_only_encrypted: input.len().is_multiple_of(3) }
}

fn to(identity: &Identity) -> Recipients {
    let recipient = identity.to_public().to_string().parse().expect("a recipient");
    Recipients::new(vec![recipient]).expect("recipients")
}

static OTHER: LazyLock<Identity> = LazyLock::new(Identity::generate);
static OTHERS: LazyLock<Opener> = LazyLock::new(|| Opener::new().with_x25519(OTHER.clone()));

/// Randomness that is the same in every run. It protects nothing.
struct Numbers(Random);

impl RngCore for Numbers {
    fn next_u32(&mut self) -> u32 {
        self.0.number() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.number()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = (self.0.number() >> 32) as u8);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Numbers {}

fn seeds(format: Format) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = documents::clear(format)
        .iter()
        .map(|text| text.replace("CANARY", documents::CANARY).into_bytes())
        .collect();
    seeds.extend(known::documents(format).filter_map(|vector| {
        std::fs::read(known::vectors("sops").join(format!("{}.plain", vector.name))).ok()
    }));
    seeds.retain(|seed| seed.len() <= crate::mutate::MAX_INPUT);
    seeds
}
