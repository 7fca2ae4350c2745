//! Editing, rotating and updating keys: what stays, what goes, and that real sops takes what comes out, as this crate
//! takes what sops makes of it.

mod support;

use std::collections::BTreeSet;

use support::{Key, decrypt, encrypt, encrypt_to_groups, in_place};
use touchseal_sops::{
    ChangeError, DecryptError, Document, Edited, EncryptError, Format, Opener, OsRng, OtherKey, Recipient,
    Recipients, Rules,
};

const NOW: &str = "2026-01-31T08:00:00Z";

fn recipient(key: &Key) -> Recipient {
    key.recipient.parse().expect("a recipient")
}

fn to(keys: &[&Key]) -> Recipients {
    Recipients::new(keys.iter().map(|key| recipient(key)).collect()).expect("recipients")
}

fn opener(key: &Key) -> Opener {
    Opener::new().with_x25519(key.identity.clone())
}

fn parse(bytes: &[u8], format: Format) -> Document {
    Document::parse(bytes, format).expect("parse")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn plain(document: &Document, key: &Key) -> String {
    text(&document.decrypt_with(&opener(key)).expect("decrypt").emit().expect("emits"))
}

fn edited(sealed: &[u8], format: Format, key: &Key, plaintext: &str) -> String {
    let edit = parse(sealed, format).edit(&opener(key), plaintext.as_bytes(), NOW, &mut OsRng).expect("edit");
    match edit {
        Edited::Changed(document) => text(&document.emit()),
        Edited::Unchanged => unreachable!("nothing changed"),
    }
}

fn changed(outcome: Result<Edited, ChangeError>) -> Document {
    match outcome.expect("a change") {
        Edited::Changed(document) => *document,
        Edited::Unchanged => unreachable!("nothing changed"),
    }
}

/// The lines of `new` that are not in `old`.
fn new_lines<'a>(old: &'a str, new: &'a str) -> Vec<&'a str> {
    let old: BTreeSet<&str> = old.lines().collect();
    new.lines().filter(|line| !old.contains(line)).map(str::trim_start).collect()
}

/// Checks that exactly these lines are new, named by what they start with, besides the time and the MAC.
fn assert_new(old: &str, new: &str, starts: &[&str]) {
    let lines = new_lines(old, new);
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|line| {
            !["mac", "\"mac", "sops_mac", "lastmodified", "\"lastmodified", "sops_lastmodified"]
                .iter()
                .any(|s| line.starts_with(s))
        })
        .collect();
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} instead of {start}");
    }
}

const YAML: &str = "# head\na: x\nb:\n    # in b\n    c: 5\n    d: true\nl:\n    # one\n    - same\n    - same\n    # two\n    - other\n    - num: 1.5\n      m: same\ne_unencrypted: clear\n# last\n";

#[test]
fn an_edit_changes_only_what_was_edited() {
    let key = Key::generate();
    let sealed = encrypt(YAML.as_bytes(), Format::Yaml, &["--age", &key.recipient]);
    let old = text(&sealed);
    let edit = |from: &str, to: &str| {
        let plaintext = YAML.replacen(from, to, 1);
        assert_ne!(plaintext, YAML, "nothing to change: {from}");
        let new = edited(&sealed, Format::Yaml, &key, &plaintext);
        assert_eq!(text(&decrypt(new.as_bytes(), Format::Yaml, &key).expect("sops decrypt")), plaintext);
        new
    };
    assert_new(&old, &edit("a: x", "a: w"), &["a: ENC"]);
    assert_new(&old, &edit("a: x", "z: x\na: x"), &["z: ENC"]);
    assert_new(&old, &edit("a: x\n", ""), &[]);
    assert_new(&old, &edit("# head", "# other head"), &["#ENC"]);
    assert_new(&old, &edit("c: 5", "c: \"5\""), &["c: ENC"]);
    assert_new(&old, &edit("d: true", "d: false"), &["d: ENC"]);
    assert_new(&old, &edit("# two", "# three"), &["- ENC"]);
    // sops gives equal values of a list one nonce when it edits, and so changes the first.
    assert_new(&old, &edit("- other", "- another"), &["- ENC"]);
    assert_new(&old, &edit("    - same\n", ""), &[]);
    assert_new(&old, &edit("    - same\n", "    - same\n    - new\n    - same\n"), &["- ENC", "- ENC"]);
    assert_new(&old, &edit("m: same", "m: other"), &["m: ENC"]);
    assert_new(&old, &edit(": clear", ": clearer"), &["e_unencrypted: clearer"]);
    // The value moves to another place, where its ciphertext does not open.
    assert_new(&old, &edit("    c: 5\n    d", "    d"), &[]);
}

#[test]
fn an_edit_of_nothing_changes_nothing() {
    let key = Key::generate();
    for (format, plaintext) in [
        (Format::Yaml, YAML),
        (Format::Json, "{\"a\": 1e3, \"b\": [1.50, \"x\"]}"),
        (Format::Dotenv, "# c\nA=1\n\nB=x\\ny\n"),
        (Format::Ini, "; c\n[s]\na=1\n; d\nb = 2\n"),
        (Format::Binary, "x\n"),
    ] {
        let document = parse(&encrypt(plaintext.as_bytes(), format, &["--age", &key.recipient]), format);
        let printed = plain(&document, &key);
        for again in [plaintext, &printed] {
            let edit = document.edit(&opener(&key), again.as_bytes(), NOW, &mut OsRng).expect("edit");
            assert!(matches!(edit, Edited::Unchanged), "{format}: {again}");
        }
    }
}

#[test]
fn flat_formats_are_edited_as_well() {
    let key = Key::generate();
    for (format, from, to, line) in [
        (
            Format::Json,
            "{\n\t\"a\": \"x\",\n\t\"b\": [\n\t\t\"y\",\n\t\t1\n\t]\n}\n",
            "{\n\t\"a\": \"x\",\n\t\"b\": [\n\t\t\"y\",\n\t\t2\n\t]\n}\n",
            "\"ENC",
        ),
        (Format::Dotenv, "# c\nA=1\nB=2\n", "# c\nA=1\nB=3\n", "B=ENC"),
        (Format::Ini, "[s]\na = 1\nb = 2\n\n[t]\nc = 3\n", "[s]\na = 1\nb = 4\n\n[t]\nc = 3\n", "b = ENC"),
        (Format::Binary, "x\n", "y\n", "\"data\": \"ENC"),
    ] {
        let sealed = encrypt(from.as_bytes(), format, &["--age", &key.recipient]);
        let new = edited(&sealed, format, &key, to);
        assert_new(&text(&sealed), &new, &[line]);
        assert_eq!(text(&decrypt(new.as_bytes(), format, &key).expect("sops decrypt")), to, "{format}");
    }
}

#[test]
fn an_edit_keeps_what_the_metadata_says() {
    let key = Key::generate();
    let sealed = encrypt(
        b"data: x\nnum: 1\n",
        Format::Yaml,
        &["--age", &key.recipient, "--encrypted-regex", "^data$", "--mac-only-encrypted"],
    );
    let older = text(&sealed).replace("version: 3.11.0", "version: 3.9.4");
    let pgp = "mac: ENC";
    let with_pgp = older.replacen(pgp, "pgp: []\n    mac: ENC", 1);
    let new = edited(with_pgp.as_bytes(), Format::Yaml, &key, "data: w\nnum: 2\n");
    assert_new(&text(&sealed), &new, &["data: ENC", "num: 2"]);
    let newer = text(&sealed).replace("version: 3.11.0", "version: 3.20.1");
    let new = edited(newer.as_bytes(), Format::Yaml, &key, "data: w\nnum: 2\n");
    assert!(new.contains("version: 3.20.1"), "{new}");
}

#[test]
fn an_edit_of_what_does_not_open_or_fit_is_refused() {
    let (key, other) = (Key::generate(), Key::generate());
    let sealed = encrypt(b"a: x\nb: y\n", Format::Yaml, &["--age", &key.recipient]);
    let document = parse(&sealed, Format::Yaml);
    let edit = |key: &Key, plaintext: &[u8], now| {
        document.edit(&opener(key), plaintext, now, &mut OsRng).expect_err("refused")
    };
    assert_eq!(
        edit(&other, b"a: y\n", NOW),
        ChangeError::Open(DecryptError::NoMatchingKey { recipients: 1 })
    );
    assert_eq!(edit(&key, b"sops: y\n", NOW), ChangeError::Encrypt(EncryptError::AlreadyEncrypted));
    assert!(matches!(edit(&key, b"a: [", NOW), ChangeError::Encrypt(EncryptError::Parse(_))));
    for now in ["", "2026-01-31", "2026-01-31T08:00:00.5Z", "2026-01-31T08:00:00+01:00"] {
        assert_eq!(edit(&key, b"a: y\n", now), ChangeError::Encrypt(EncryptError::Time), "{now}");
    }
    // A document with a value taken out is not mended by editing it.
    let line = text(&sealed).lines().next().expect("a line").to_owned();
    let tampered = parse(text(&sealed).replacen(&line, "a: \"\"", 1).as_bytes(), Format::Yaml);
    let error = tampered.edit(&opener(&key), b"a: y\n", NOW, &mut OsRng).expect_err("refused");
    assert_eq!(error, ChangeError::Open(DecryptError::MacMismatch));
    let error = tampered.rotate(&opener(&key), None, true, NOW, &mut OsRng).expect_err("refused");
    assert_eq!(error, ChangeError::Open(DecryptError::MacMismatch));
    let error =
        tampered.update_keys(&opener(&key), &to(&[&key, &other]), true, &mut OsRng).expect_err("refused");
    assert_eq!(error, ChangeError::Open(DecryptError::MacMismatch));
}

#[test]
fn rotation_makes_everything_new() {
    let (key, other) = (Key::generate(), Key::generate());
    let sealed = encrypt(YAML.as_bytes(), Format::Yaml, &["--age", &key.recipient]);
    let document = parse(&sealed, Format::Yaml);
    let rotated = document.rotate(&opener(&key), None, true, NOW, &mut OsRng).expect("rotate");
    let new = text(&rotated.emit());
    let sealed = text(&sealed);
    assert!(new.lines().filter(|line| line.contains("ENC[")).all(|line| !sealed.contains(line)), "{new}");
    assert_eq!(text(&decrypt(new.as_bytes(), Format::Yaml, &key).expect("sops decrypt")), YAML);
    // The data key is new: the old one's wrapping does not open what was rotated.
    let of = |text: &str| {
        text[text.find("            -----BEGIN").expect("a key")
            ..text.find("            -----END").expect("its end")]
            .to_owned()
    };
    let mixed = new.replace(&of(&new), &of(&sealed));
    let error = parse(mixed.as_bytes(), Format::Yaml).decrypt_with(&opener(&key)).expect_err("another key");
    assert!(matches!(error, DecryptError::Value { .. }), "{error}");
    // To others.
    let rotated =
        document.rotate(&opener(&key), Some(&to(&[&other])), true, NOW, &mut OsRng).expect("rotate");
    assert_eq!(plain(&rotated, &other), YAML);
    assert!(rotated.decrypt_with(&opener(&key)).is_err());
}

#[test]
fn rotation_names_those_it_cannot_encrypt_to() {
    let key = Key::generate();
    let sealed = text(&encrypt(b"a: x\n", Format::Yaml, &["--age", &key.recipient]));
    let with = |entry: &str| parse(sealed.replacen("    age:\n", entry, 1).as_bytes(), Format::Yaml);
    let pgp = with("    hc_vault:\n        - enc: x\n    pgp:\n        - enc: x\n    age:\n");
    let kinds = vec![OtherKey::Pgp, OtherKey::HashicorpVault];
    for recipients in [None, Some(to(&[&key]))] {
        let error =
            pgp.rotate(&opener(&key), recipients.as_ref(), true, NOW, &mut OsRng).expect_err("refused");
        assert_eq!(error, ChangeError::OtherKinds { kinds: kinds.clone() });
        assert!(error.to_string().ends_with(": pgp, hc_vault"), "{error}");
    }
    let dropped =
        pgp.rotate(&opener(&key), Some(&to(&[&key])), false, NOW, &mut OsRng).expect("without them");
    assert!(!text(&dropped.emit()).contains("pgp:") && !text(&dropped.emit()).contains("hc_vault:"));
    assert_eq!(plain(&dropped, &key), "a: x\n");
    let plugin = with("    age:\n        - recipient: age1yubikey1qwerty\n          enc: x\n");
    let error = plugin.rotate(&opener(&key), None, true, NOW, &mut OsRng).expect_err("refused");
    assert_eq!(error, ChangeError::OtherRecipient { recipient: "age1yubikey1qwerty".to_owned() });
    plugin.rotate(&opener(&key), Some(&to(&[&key])), true, NOW, &mut OsRng).expect("to others");
}

#[test]
fn new_keys_leave_values_mac_and_time_alone() {
    let (old, kept, new) = (Key::generate(), Key::generate(), Key::generate());
    let both = format!("{},{}", old.recipient, kept.recipient);
    let sealed = encrypt(YAML.as_bytes(), Format::Yaml, &["--age", &both]);
    let document = parse(&sealed, Format::Yaml);
    let updated = changed(document.update_keys(&opener(&old), &to(&[&kept, &new]), true, &mut OsRng));
    let (before, after) = (text(&sealed), text(&updated.emit()));
    let without = |text: &str| -> String {
        let (head, rest) = text.split_once("    age:\n").expect("keys");
        format!("{head}{}", &rest[rest.find("    lastmodified").expect("the time")..])
    };
    assert_eq!(without(&before), without(&after));
    let entry = |text: &str, key: &Key| {
        let at = text.find(&key.recipient).expect("the recipient");
        text[at..at + text[at..].find("-----END").expect("its end")].to_owned()
    };
    assert_eq!(entry(&before, &kept), entry(&after, &kept));
    assert!(!after.contains(&old.recipient));
    for key in [&kept, &new] {
        assert_eq!(text(&decrypt(after.as_bytes(), Format::Yaml, key).expect("sops decrypt")), YAML);
    }
    // As sops does it, but for the entry that stays: it wraps the key for everybody anew.
    let config = format!("creation_rules:\n  - age: {},{}\n", kept.recipient, new.recipient);
    let theirs = in_place(&sealed, Format::Yaml, &["updatekeys", "-y"], &[], &old, Some(&config))
        .expect("sops updatekeys");
    assert_eq!(without(&text(&theirs)), without(&after));
    // Again, and in another order: nothing to do.
    for again in [to(&[&kept, &new]), to(&[&new, &kept])] {
        let outcome = updated.update_keys(&opener(&new), &again, true, &mut OsRng).expect("nothing to do");
        assert!(matches!(outcome, Edited::Unchanged));
    }
}

#[test]
fn entries_of_other_kinds_stay_or_go() {
    let (key, new) = (Key::generate(), Key::generate());
    let sealed = text(&encrypt(b"a: x\n", Format::Yaml, &["--age", &key.recipient]));
    let pgp = "    pgp:\n        - created_at: \"2026-01-01T00:00:00Z\"\n          enc: |-\n            -----BEGIN PGP MESSAGE-----\n            x\n            -----END PGP MESSAGE-----\n          fp: ABCD\n";
    let kms = "    kms:\n        - arn: arn:aws:kms:x\n          context:\n            a: b\n            z: \"\"\n          created_at: \"2026-01-01T00:00:00Z\"\n          enc: x\n          aws_profile: \"\"\n";
    let sealed = sealed.replacen("    age:\n", &format!("{kms}    age:\n"), 1);
    let sealed = sealed.replacen("    unencrypted_suffix", &format!("{pgp}    unencrypted_suffix"), 1);
    let document = parse(sealed.as_bytes(), Format::Yaml);
    assert_eq!(text(&document.emit()), sealed);
    let stay = changed(document.update_keys(&opener(&key), &to(&[&key, &new]), true, &mut OsRng));
    assert!(text(&stay.emit()).contains(pgp) && text(&stay.emit()).contains(kms), "{}", text(&stay.emit()));
    assert_eq!(plain(&stay, &new), "a: x\n");
    let go = changed(document.update_keys(&opener(&key), &to(&[&key]), false, &mut OsRng));
    assert_eq!(text(&go.emit()), sealed.replace(pgp, "").replace(kms, ""));
    assert!(matches!(
        document.update_keys(&opener(&key), &to(&[&key]), true, &mut OsRng),
        Ok(Edited::Unchanged)
    ));
}

#[test]
fn key_groups_are_written_and_changed() {
    let keys: Vec<Key> = (0..4).map(|_| Key::generate()).collect();
    let groups = |places: &[&[usize]], threshold| {
        let groups =
            places.iter().map(|places| places.iter().map(|&place| recipient(&keys[place])).collect());
        Recipients::in_groups(groups.collect(), threshold).expect("groups")
    };
    let both = |a: usize, b: usize| opener(&keys[a]).with_x25519(keys[b].identity.clone());
    let opens = |document: &Document, a, b| document.decrypt_with(&both(a, b)).is_ok();
    let two_of_three = groups(&[&[0], &[1], &[2]], Some(2));
    let document =
        Document::encrypt(b"a: x\n", Format::Yaml, &two_of_three, &Rules::default(), NOW, &mut OsRng)
            .expect("encrypt");
    assert!(opens(&document, 0, 1) && opens(&document, 0, 2) && opens(&document, 1, 2));
    let error = document.decrypt_with(&opener(&keys[1])).expect_err("one share");
    assert_eq!(error, DecryptError::NotEnoughShares { needed: 2, opened: 1, closed: vec![1, 3] });
    assert!(error.to_string().ends_with("no key is held for group 1, 3"), "{error}");
    // sops puts the shares together, whichever two there are.
    for (a, b) in [(0, 1), (0, 2), (2, 1)] {
        let sealed = document.emit();
        let plain =
            support::decrypt_with_keys(&sealed, Format::Yaml, &[&keys[a], &keys[b]]).expect("sops decrypt");
        assert_eq!(text(&plain), "a: x\n");
    }
    assert!(support::decrypt_with_keys(&document.emit(), Format::Yaml, &[&keys[0]]).is_err());

    // One group gets another recipient: the others' entries stay.
    let update =
        |recipients: &Recipients, opener: &Opener| document.update_keys(opener, recipients, true, &mut OsRng);
    let more = changed(update(&groups(&[&[0], &[1, 3], &[2]], Some(2)), &both(0, 1)));
    let (before, after) = (text(&document.emit()), text(&more.emit()));
    assert!(before.lines().all(|line| after.contains(line)), "{after}");
    assert!(opens(&more, 0, 3) && opens(&more, 2, 3) && !opens(&more, 1, 3));
    // The share of a group nobody here opens is not known: all is split anew.
    let other = changed(update(&groups(&[&[0], &[1], &[3]], Some(2)), &both(0, 1)));
    assert!(opens(&other, 0, 3) && opens(&other, 1, 3) && !opens(&other, 0, 2));
    // Too few shares.
    let error = update(&groups(&[&[0], &[1], &[3]], Some(2)), &opener(&keys[0])).expect_err("refused");
    assert_eq!(
        error,
        ChangeError::Open(DecryptError::NotEnoughShares { needed: 2, opened: 1, closed: vec![2, 3] })
    );
    // Another threshold, another number of groups, one group.
    let all = changed(update(&groups(&[&[0], &[1], &[2]], Some(3)), &both(0, 1)));
    assert!(!opens(&all, 0, 1));
    let single = changed(update(&groups(&[&[0, 3]], None), &both(0, 1)));
    assert!(single.decrypt_with(&opener(&keys[3])).is_ok());
    assert!(!text(&single.emit()).contains("shamir_threshold"));
    assert!(matches!(update(&groups(&[&[0], &[1], &[2]], Some(2)), &both(0, 1)), Ok(Edited::Unchanged)));

    // Rotation keeps groups and threshold; what sops split is rotated as well.
    let names: Vec<[&str; 1]> = keys.iter().take(3).map(|key| [key.recipient.as_str()]).collect();
    let theirs = encrypt_to_groups(b"a: x\n", &[&names[0], &names[1], &names[2]], 2);
    let rotated =
        parse(&theirs, Format::Yaml).rotate(&both(1, 2), None, true, NOW, &mut OsRng).expect("rotate");
    assert_eq!((rotated.metadata().groups().len(), rotated.metadata().threshold()), (3, 2));
    assert!(opens(&rotated, 0, 2) && rotated.decrypt_with(&opener(&keys[0])).is_err());
}

#[test]
fn what_a_pgp_message_holds_may_be_opened_outside() {
    let (key, new) = (Key::generate(), Key::generate());
    let sealed = text(&encrypt(b"a: x\n", Format::Yaml, &["--age", &key.recipient]));
    let pgp = "    pgp:\n        - created_at: \"2026-01-01T00:00:00Z\"\n          enc: message\n          fp: ABCD\n    unencrypted_suffix";
    let document = parse(sealed.replacen("    unencrypted_suffix", pgp, 1).as_bytes(), Format::Yaml);
    let [listed] = document.metadata().groups()[0].pgp() else { panic!("one PGP key") };
    assert_eq!((listed.fingerprint(), listed.message()), ("ABCD", "message"));
    // The same data key, as gpg would give it.
    let wrapped = document.metadata().groups()[0].age()[0].wrapped();
    let data_key = support::open_age_file(wrapped, &key.identity);
    let outside = |text: &str, payload: &[u8]| {
        Opener::new().with_message(text.to_owned(), zeroize::Zeroizing::new(payload.to_vec()))
    };
    let opener = outside("message", &data_key);
    let both = changed(document.update_keys(&opener, &to(&[&key, &new]), true, &mut OsRng));
    assert_eq!(plain(&both, &new), "a: x\n");
    assert_eq!(document.decrypt_with(&opener).expect("open").opened_by().count(), 0, "no age identity did");
    let refused = |opener: &Opener| document.decrypt_with(opener).expect_err("refused");
    assert_eq!(
        refused(&outside("message", &data_key[1..])),
        DecryptError::DataKey { recipient: "ABCD".to_owned() }
    );
    assert_eq!(refused(&outside("another", &data_key)), DecryptError::NoMatchingKey { recipients: 2 });
    assert!(matches!(
        refused(&outside("message", &[7; 32])),
        DecryptError::Value { .. } | DecryptError::MacDamaged
    ));
    assert!(!format!("{opener:?}").contains("message"));
}

#[test]
fn an_entry_of_a_pgp_key_that_is_not_whole_is_passed_over() {
    let key = Key::generate();
    let sealed = text(&encrypt(b"a: x\n", Format::Yaml, &["--age", &key.recipient]));
    let pgp = "    pgp:\n        - fp: ABCD\n        - enc: [x]\n          fp: 7\n        - {}\n    unencrypted_suffix";
    let document = parse(sealed.replacen("    unencrypted_suffix", pgp, 1).as_bytes(), Format::Yaml);
    assert!(document.metadata().groups()[0].pgp().is_empty());
    assert_eq!(document.metadata().groups()[0].others(), [OtherKey::Pgp; 3]);
    assert_eq!(plain(&document, &key), "a: x\n");
}

#[test]
fn a_share_of_another_kind_cannot_be_made_anew() {
    let (key, other, new) = (Key::generate(), Key::generate(), Key::generate());
    let groups = [&[key.recipient.as_str()][..], &[other.recipient.as_str()]];
    let sealed = text(&encrypt_to_groups(b"a: x\n", &groups, 2));
    let sealed = sealed.replacen("        - hc_vault: []\n", "        - pgp:\n            - created_at: \"2026-01-01T00:00:00Z\"\n              enc: x\n              fp: A\n          hc_vault: []\n", 1);
    let document = parse(sealed.as_bytes(), Format::Yaml);
    assert_eq!(text(&document.emit()), sealed);
    let both = opener(&key).with_x25519(other.identity.clone());
    let in_groups = |groups: Vec<Vec<Recipient>>| Recipients::in_groups(groups, None).expect("groups");
    let fine = in_groups(vec![vec![recipient(&key), recipient(&new)], vec![recipient(&other)]]);
    let updated = text(&changed(document.update_keys(&both, &fine, true, &mut OsRng)).emit());
    assert!(updated.contains("fp: A"), "{updated}");
    let three = in_groups(vec![vec![recipient(&key)], vec![recipient(&other)], vec![recipient(&new)]]);
    let error = document.update_keys(&both, &three, true, &mut OsRng).expect_err("refused");
    assert_eq!(error, ChangeError::OtherKinds { kinds: vec![OtherKey::Pgp] });
    changed(document.update_keys(&both, &three, false, &mut OsRng));
}

#[test]
fn sops_changes_what_was_written_here() {
    let (key, new) = (Key::generate(), Key::generate());
    for (format, plaintext, path) in [
        (Format::Yaml, YAML, "[\"b\"][\"c\"]"),
        (Format::Json, "{\n\t\"a\": 1,\n\t\"b\": [\n\t\t\"x\"\n\t]\n}\n", "[\"a\"]"),
        (Format::Dotenv, "# c\nA=1\nB=x\n", "[\"A\"]"),
        (Format::Ini, "[s]\na = 1\nb = x\n", "[\"s\"][\"a\"]"),
        (Format::Binary, "x\n", ""),
    ] {
        let document =
            Document::encrypt(plaintext.as_bytes(), format, &to(&[&key]), &Rules::default(), NOW, &mut OsRng)
                .expect("encrypt");
        let sealed = document.emit();
        let rotated = in_place(&sealed, format, &["rotate", "-i"], &[], &key, None).expect("sops rotate");
        assert_eq!(plain(&parse(&rotated, format), &key), plaintext, "{format}");
        let config = format!("creation_rules:\n  - age: {}\n", new.recipient);
        let updated = in_place(&sealed, format, &["updatekeys", "-y"], &[], &key, Some(&config))
            .expect("sops updatekeys");
        assert_eq!(plain(&parse(&updated, format), &new), plaintext, "{format}");
        if !path.is_empty() {
            let set = in_place(&sealed, format, &["set"], &[path, "\"new\""], &key, None).expect("sops set");
            let document = parse(&set, format);
            assert_ne!(plain(&document, &key), plaintext);
            // And here, back to what it was.
            let back = document.edit(&opener(&key), plaintext.as_bytes(), NOW, &mut OsRng);
            assert_eq!(text(&decrypt(&changed(back).emit(), format, &key).expect("sops decrypt")), plaintext);
        }
    }
}

#[test]
fn what_an_edit_puts_in_the_clear_is_told() {
    let key = Key::generate();
    let beyond = |sealed: &str, plaintext: &str| -> Vec<String> {
        let before = parse(sealed.as_bytes(), Format::Yaml);
        let after = changed(before.edit(&opener(&key), plaintext.as_bytes(), NOW, &mut OsRng));
        let places = after.exposure().expect("after").beyond(&before.exposure().expect("before"));
        places.iter().map(ToString::to_string).collect()
    };
    let sealed =
        text(&encrypt(b"user: u\npassword: p\nempty: \"\"\n", Format::Yaml, &["--age", &key.recipient]));
    assert_eq!(beyond(&sealed, "user: u\npassword: p\napi_key: k\n# more\n"), [""; 0]);
    assert_eq!(beyond(&sealed, "user: u\npassword: p\napi_unencrypted: k\n"), ["api_unencrypted"]);
    // Somebody without a key names the keys that are there: everything still opens.
    let selector = ("unencrypted_suffix: _unencrypted", "encrypted_regex: ^(user|password)$");
    let swapped = sealed.replace(selector.0, selector.1);
    assert_ne!(swapped, sealed);
    let with = "user: u\npassword: p\nempty: now\n";
    assert_eq!(beyond(&swapped, with), ["empty"], "an empty one was nothing to hide");
    assert_eq!(beyond(&swapped, "user: u2\npassword: p2\nempty: \"\"\n"), [""; 0]);
    let nested = "user: u\npassword: p\nempty: \"\"\nmore:\n    keys:\n        - a\n        - b\n# c\n";
    assert_eq!(beyond(&swapped, nested), ["more.keys", ""], "each place once, a comment by where it stands");
    // One more in a place where there is one already.
    let list = text(&encrypt(b"l_unencrypted:\n    - a\nb: c\n", Format::Yaml, &["--age", &key.recipient]));
    assert_eq!(beyond(&list, "l_unencrypted:\n    - x\nb: c\n"), [""; 0]);
    assert_eq!(beyond(&list, "l_unencrypted:\n    - a\n    - x\nb: c\n"), ["l_unencrypted"]);
}

#[test]
fn what_is_in_the_clear_is_told_with_its_line() {
    let key = Key::generate();
    let plain = b"# c\nuser_unencrypted: u\npassword: p\nlist_unencrypted:\n    - 1\n    - 2\n";
    let sealed = text(&encrypt(plain, Format::Yaml, &["--age", &key.recipient]));
    let inspect = |sealed: &str| parse(sealed.as_bytes(), Format::Yaml).inspect().expect("inspected");
    let found = inspect(&sealed);
    let clear: Vec<(u32, &str)> = found.clear.iter().map(|path| (path.line(), path.keys())).collect();
    assert_eq!(clear, [(2, "user_unencrypted"), (4, "list_unencrypted")]);
    assert!(found.mac && found.open.is_empty() && found.damaged_keys.is_empty(), "{found:?}");
    // The armor of the one wrapped key, cut.
    let cut = sealed.replacen("-----BEGIN AGE", "-----BEGIN", 1);
    assert_eq!(inspect(&cut).damaged_keys, std::slice::from_ref(&key.recipient));
}
