//! Mutants: bytes, pieces and lines changed, copied, swapped, or taken from another input.

use crate::random::Random;

/// Longer inputs find little more and cost time. Seeds may be longer than what is made of them.
pub const MAX_INPUT: usize = 8 * 1024;

const WORDS: &[&[u8]] = &[
    b"\n",
    b" ",
    b"    ",
    b"#",
    b"-",
    b"- ",
    b":",
    b": ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"'",
    b",",
    b"&a ",
    b"*a",
    b"!",
    b"!!str ",
    b"!!binary ",
    b"!!int ",
    b"!<x>",
    b"|\n",
    b"|2-\n",
    b">",
    b">-\n",
    b"\\",
    b"\\n",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"---\n",
    b"...\n",
    b"%YAML 1.2\n",
    b"%TAG ! x\n",
    b"? ",
    b"null",
    b"~",
    b"true",
    b"yes",
    b"=",
    b"\0",
    b"\r\n",
    b"\t",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xff",
    b"<<: *a\n",
    b"0x1f",
    b"0o7",
    b"1e999",
    b".inf",
    b".nan",
    b"-0",
    b"1_000",
    b"9223372036854775808",
    b"2026-01-02",
    b"2026-01-02T03:04:05Z",
    b"`",
    b"\"\"\"",
    b";",
    b"[a]\n",
    b"[DEFAULT]\n",
    b"sops",
    b"sops:\n",
    b"sops_",
    b"[sops]\n",
    b"__list_0",
    b"__map_",
    b"age",
    b"key_groups",
    b"shamir_threshold",
    b"mac_only_encrypted",
    b"lastmodified",
    b"mac",
    b"enc",
    b"recipient",
    b"version",
    b"unencrypted_suffix",
    b"encrypted_regex",
    b"unencrypted_regex",
    b"encrypted_comment_regex",
    b"(a*)*",
    b"\\p{L}",
    b"ENC[AES256_GCM,data:",
    b",iv:",
    b",tag:",
    b",type:str]",
    b",type:comment]",
    b",type:int]",
    b"==",
    b"AA==",
    b"-----BEGIN AGE ENCRYPTED FILE-----\n",
    b"-----END AGE ENCRYPTED FILE-----\n",
    b"-> X25519 ",
    b"--- ",
    b"age-encryption.org/v1\n",
    b"data",
    b"a: &a [*a]\n",
    b"[0]",
    b"[\"",
    b"\"]",
    b".",
];

/// A mutant of `input`, at most [`MAX_INPUT`] long; `other` lends pieces.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(5) {
        once(&mut bytes, other, random);
    }
    bytes.truncate(MAX_INPUT.max(input.len()));
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + short(random)).min(bytes.len());
    match random.below(11) {
        0 => change(bytes, at, |byte| byte ^ (1 << random.below(8))),
        1 => change(bytes, at, |_| random.number() as u8),
        2 => drop(bytes.drain(at..end)),
        3 | 4 => drop(bytes.splice(at..at, random.pick(WORDS).unwrap_or_default().iter().copied())),
        5 => drop(bytes.splice(at..end, random.pick(WORDS).unwrap_or_default().iter().copied())),
        6 => {
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            let times = 1 + random.below(3) * random.below(6);
            drop(bytes.splice(to..to, piece.repeat(times)));
        }
        7 => bytes.truncate(at),
        8 | 9 => lines(bytes, other, random),
        _ => {
            let from = random.below(other.len() + 1);
            let piece = &other[from..(from + short(random)).min(other.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
    }
}

/// Mostly a few bytes, seldom hundreds.
fn short(random: &mut Random) -> usize {
    let most = [4, 16, 64, 512][random.below(4)];
    1 + random.below(most)
}

fn change(bytes: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = to(*byte);
    }
}

fn lines(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let own: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
    if own.is_empty() {
        return;
    }
    let (one, two) = (random.below(own.len()), random.below(own.len()));
    let mut changed = own.clone();
    match random.below(5) {
        0 => changed.swap(one, two),
        1 => drop(changed.remove(one)),
        2 => changed.insert(two, own[one]),
        3 => {
            let lines: Vec<&[u8]> = other.split_inclusive(|&b| b == b'\n').collect();
            changed.insert(one, random.pick(&lines).unwrap_or_default());
        }
        _ => changed.insert(one, &b"    "[..random.below(5)]),
    }
    *bytes = changed.concat();
}
