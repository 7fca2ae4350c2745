//! Generated documents, both ways: real sops encrypts and this crate decrypts, this crate encrypts and real sops
//! decrypts, and both must print the same. What sops wrote must also be printed as it was.
//!
//! Thousands go through sops's own library (`sopsbatch`), some of each format through the program as well, and those two
//! must agree. `TOUCHSEAL_DIFFERENTIAL=n` makes it n documents, `TOUCHSEAL_DIFFERENTIAL_SEED=s` starts at the seed a failure
//! names.

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use support::batch::{Batch, Both, Program, Sops};
use support::{Key, Random, generate};
use touchseal_sops::{Document, EncryptError, Format, Opener, OsRng, Recipients, Rules, Selector};

const DOCUMENTS: u64 = 5000;
const FIRST_SEED: u64 = 1;
/// Documents of each format that the program sees, too.
const BY_PROGRAM: usize = 20;
const WORKERS: usize = 2;
/// Failures to show before giving up.
const ENOUGH: usize = 5;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn generated_documents_are_the_same_to_sops_and_to_us() {
    let first = setting("TOUCHSEAL_DIFFERENTIAL_SEED", FIRST_SEED);
    let seeds: Vec<u64> = (first..first + setting("TOUCHSEAL_DIFFERENTIAL", DOCUMENTS)).collect();
    let key = Key::generate();
    check_all(&seeds, &key, || Batch::start(&key));
}

#[test]
fn the_program_agrees_with_its_library() {
    let mut chosen: HashMap<String, Vec<u64>> = HashMap::new();
    for seed in FIRST_SEED..FIRST_SEED + 1000 {
        let (format, _) = generate::document(&mut random(seed));
        let seeds = chosen.entry(format.to_string()).or_default();
        if seeds.len() < BY_PROGRAM {
            seeds.push(seed);
        }
    }
    let seeds: Vec<u64> = chosen.into_values().flatten().collect();
    assert_eq!(seeds.len(), 5 * BY_PROGRAM);
    let key = Key::generate();
    check_all(&seeds, &key, || Both(Program(&key), Batch::start(&key)));
}

/// Checks the documents of these seeds, each worker with a sops of its own.
fn check_all<S: Sops>(seeds: &[u64], key: &Key, sops: impl Fn() -> S + Sync) {
    let (started, next) = (Instant::now(), AtomicUsize::new(0));
    let (outcomes, failures) = (Mutex::new(HashMap::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut sops = sops();
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match check(seed, key, &mut sops) {
                        Ok(outcome) => {
                            *outcomes.lock().expect("outcomes").entry(outcome).or_insert(0usize) += 1;
                        }
                        Err(text) => failures.lock().expect("failures").push(format!("seed {seed}: {text}")),
                    }
                    if failures.lock().expect("failures").len() >= ENOUGH {
                        return;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let outcomes = outcomes.into_inner().expect("outcomes");
    let (first, last) = (seeds.iter().min().expect("seeds"), seeds.iter().max().expect("seeds"));
    let seconds = started.elapsed().as_secs_f64();
    println!("seeds {first} to {last}: {} documents in {seconds:.1} s, {outcomes:?}", seeds.len());
    assert_eq!(outcomes.values().sum::<usize>(), seeds.len());
    let same = outcomes.get(&Outcome::Same).copied().unwrap_or(0);
    assert!(same * 10 >= seeds.len() * 8, "{same} documents are the same: the others show little");
    let refused = outcomes.get(&Outcome::BothRefuse).copied().unwrap_or(0);
    assert!(
        refused * 10 <= seeds.len(),
        "{refused} documents are no documents: the generator is worth little"
    );
}

fn random(seed: u64) -> Random {
    Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Same,
    BothRefuse,
    /// sops wrote a comment between the brackets of an empty map, the closing one too far left.
    NoYaml,
    /// sops does not decrypt what it encrypted; it decrypts what we did.
    SopsLost,
    /// The same but for comments: where one stands behind something, sops moves or loses some of them.
    CommentsMoved,
}

fn rules(random: &mut Random) -> (Rules, Vec<&'static str>) {
    let (selector, mut options) = match random.below(14) {
        0 => (
            Selector::EncryptedRegex("^(data|stringData|list)".into()),
            vec!["--encrypted-regex", "^(data|stringData|list)"],
        ),
        1 => (
            Selector::UnencryptedRegex("^(kind|host|[a-c])".into()),
            vec!["--unencrypted-regex", "^(kind|host|[a-c])"],
        ),
        2 => (Selector::EncryptedSuffix("_enc".into()), vec!["--encrypted-suffix", "_enc"]),
        3 => (Selector::UnencryptedSuffix("t".into()), vec!["--unencrypted-suffix", "t"]),
        4 => (Selector::EncryptedCommentRegex("pick".into()), vec!["--encrypted-comment-regex", "pick"]),
        5 => (
            Selector::UnencryptedCommentRegex("pick| note".into()),
            vec!["--unencrypted-comment-regex", "pick| note"],
        ),
        _ => (Selector::default(), vec![]),
    };
    let mac_only_encrypted = random.below(5) == 0;
    if mac_only_encrypted {
        options.push("--mac-only-encrypted");
    }
    (Rules { selector, mac_only_encrypted }, options)
}

fn check(seed: u64, key: &Key, sops: &mut impl Sops) -> Result<Outcome, String> {
    let mut random = random(seed);
    let (format, plain) = generate::document(&mut random);
    let (rules, options) = rules(&mut random);
    let about = format!("{format} {options:?}\n{}", String::from_utf8_lossy(&plain));
    let recipients = Recipients::new(vec![key.recipient.parse().expect("a recipient")]).expect("recipients");
    let ours = Document::encrypt(&plain, format, &recipients, &rules, "2026-01-31T08:00:00Z", &mut OsRng);
    let options = [&["--age", key.recipient.as_str()], &options[..]].concat();
    let theirs = sops.encrypt(&plain, format, &options);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours.emit(), theirs),
        (Err(_), Err(_)) => return Ok(Outcome::BothRefuse),
        // A rule that makes sops write what it cannot read.
        (Err(EncryptError::NotReadBack { .. }), Ok(theirs)) if sops.decrypt(&theirs, format).is_err() => {
            return Ok(Outcome::SopsLost);
        }
        (Err(error), Ok(_)) => return Err(format!("{about}\nwe refuse: {error}")),
        // sops, too, cannot read back a block that starts with a tab.
        (Ok(_), Err(error)) if error.contains("unknown kind 0") => return Ok(Outcome::SopsLost),
        (Ok(_), Err(error)) => return Err(format!("{about}\nsops refuses: {error}")),
    };
    let by_sops = sops
        .decrypt(&ours, format)
        .map_err(|error| format!("{about}\nsops decrypt: {error}\n{}", String::from_utf8_lossy(&ours)))?;
    let read = sops.decrypt(&theirs, format);
    if let Err(error) = &read {
        // sops refuses what it wrote itself: a block with an indentation it miscounted.
        let opener = Opener::new().with_x25519(key.identity.clone());
        let plain = Document::parse(&ours, format).map(|document| document.decrypt_with(&opener));
        let Ok(Ok(plain)) = plain else { return Err(format!("{about}\nneither opens: {error}")) };
        let by_us = plain.emit().ok_or_else(|| format!("{about}\nnothing emitted"))?;
        return compare(&about, "sops printed", &by_sops, "we printed", &by_us).map(|()| Outcome::SopsLost);
    }
    if format == Format::Yaml && String::from_utf8_lossy(&theirs).contains(" {\n") {
        return Ok(Outcome::NoYaml);
    }
    let document = Document::parse(&theirs, format)
        .map_err(|error| format!("{about}\nparse: {error}\n{}", String::from_utf8_lossy(&theirs)))?;
    let opened = document
        .decrypt_with(&Opener::new().with_x25519(key.identity.clone()))
        .map_err(|error| format!("{about}\ndecrypt: {error}\n{}", String::from_utf8_lossy(&theirs)))?;
    let by_us = opened.emit().ok_or_else(|| format!("{about}\nnothing emitted"))?;
    let kept_as_it_is = compare(&about, "sops wrote", &theirs, "we print it as", &document.emit());
    if let (Err(_), Ok(read)) = (&kept_as_it_is, &read)
        && rules.mac_only_encrypted
        && miscounts(&theirs)
    {
        return compare(&about, "sops read", read, "we read", &by_us).map(|()| Outcome::SopsLost);
    }
    kept_as_it_is?;
    if by_sops == **by_us {
        return Ok(Outcome::Same);
    }
    let ((values, kept), (their_values, their_kept)) = (without_comments(&by_sops), without_comments(&by_us));
    if format == Format::Yaml && values == their_values && (kept >= their_kept || repeats_comments(&plain)) {
        return Ok(Outcome::CommentsMoved);
    }
    compare(&about, "sops printed", &by_sops, "we printed", &by_us)?;
    Ok(Outcome::Same)
}

/// Whether there is a block that sops says to be indented by four columns. Where it wrote fewer, in lists, neither reads
/// what was written; with a MAC over all values, sops refuses it.
fn miscounts(sealed: &[u8]) -> bool {
    String::from_utf8_lossy(sealed).lines().any(|line| line.trim_end_matches(['-', '+']).ends_with(" |4"))
}

/// Whether a comment belongs to a value with an anchor: sops repeats it with every alias.
fn repeats_comments(plain: &[u8]) -> bool {
    String::from_utf8_lossy(plain).lines().any(|line| line.contains(": &a") && line.ends_with("] # behind"))
}

/// The lines that are no comments, and the number of those that are. `by_sops` was parsed here, what it is compared with
/// there.
fn without_comments(printed: &[u8]) -> (String, usize) {
    let text = support::miscounted(printed);
    let (comments, values): (Vec<&str>, Vec<&str>) =
        text.lines().filter(|line| !line.is_empty()).partition(|line| line.trim_start().starts_with('#'));
    (values.join("\n"), comments.len())
}

fn compare(about: &str, what: &str, one: &[u8], other_what: &str, other: &[u8]) -> Result<(), String> {
    if one == other || support::miscounted(one) == support::miscounted(other) {
        return Ok(());
    }
    let text = String::from_utf8_lossy;
    let (a, b) = (text(one), text(other));
    let line = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    let at = |text: &str| text.lines().skip(line.saturating_sub(1)).take(4).collect::<Vec<_>>().join("\n");
    Err(format!("{about}\n--- {what}, from line {line}:\n{}\n--- {other_what}:\n{}", at(&a), at(&b)))
}
