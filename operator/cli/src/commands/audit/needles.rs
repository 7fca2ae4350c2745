//! Looking for many texts at once, in one pass over the bytes of an object. Of each text eight bytes are looked for by their
//! hash, and only where they stand the whole of it is compared.
//!
//! The texts are secret: they lie in buffers that are wiped, and in no automaton of a library, which would keep copies of
//! them. The table of hashes is under a key of the process and is wiped, too.

use rand_core::{OsRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use super::style::{Style, is_plain};

/// What is looked for by its hash. Nothing shorter is found.
pub const WINDOW: usize = 8;
/// Of a longer text so much is proof enough, and bounds what a comparison costs.
const COMPARED: usize = 4096;
/// Longest stretch between two characters of base64 that is passed over: a line's end, indentation, quotes.
const GAP: usize = 64;
/// Where base64 may be broken differs; of windows that lie apart one is whole.
const LOOSE_WINDOWS: [usize; 4] = [0, 16, 32, 48];

/// A text, and in which ways it may be written.
pub enum Text {
    /// Each character in any [`Style`].
    Any(Zeroizing<String>),
    /// These bytes.
    Exact(Zeroizing<Vec<u8>>),
    /// Base64, or the inside of PEM: line breaks, indentation and quotes may stand in it.
    Loose(Zeroizing<Vec<u8>>),
}

/// Texts that are looked for.
pub struct Needles {
    texts: Vec<Text>,
    anchors: Vec<Anchor>,
    /// A bit for each hash that is in `anchors`, by its upper bits.
    filter: Vec<u64>,
    shift: u32,
    key: [u64; 2],
}

/// Eight bytes of a text, or of one way to write it.
struct Anchor {
    hash: u64,
    text: u32,
    /// Where in the text they begin.
    at: u32,
}

impl Text {
    /// Cut to what is compared. Texts shorter than a window are not found: who makes them looks.
    pub fn any(text: &str) -> Text {
        let mut end = text.len().min(COMPARED);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Text::Any(Zeroizing::new(text[..end].to_owned()))
    }

    pub fn exact(bytes: &[u8]) -> Text {
        Text::Exact(Zeroizing::new(bytes[..bytes.len().min(COMPARED)].to_vec()))
    }

    pub fn loose(bytes: &[u8]) -> Text {
        Text::Loose(Zeroizing::new(bytes[..bytes.len().min(COMPARED)].to_vec()))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Text::Any(text) => text.as_bytes(),
            Text::Exact(bytes) | Text::Loose(bytes) => bytes,
        }
    }
}

impl Needles {
    /// Texts are known by their place in this list.
    pub fn new(texts: Vec<Text>) -> Needles {
        let key = [OsRng.next_u64(), OsRng.next_u64() | 1];
        let mut anchors = Vec::new();
        for (number, text) in (0..).zip(&texts) {
            anchor(text, |at, window| anchors.push(Anchor { hash: hash(key, window), text: number, at }));
        }
        anchors.sort_by_key(|anchor| (anchor.hash, anchor.text, anchor.at));
        anchors.dedup_by_key(|anchor| (anchor.hash, anchor.text, anchor.at));
        // Of the filter one bit in 32 is set at most, and it fits in a processor's nearest memory for a thousand texts.
        let bits = (anchors.len().max(1) * 32).next_power_of_two().ilog2().clamp(12, 26);
        let (mut filter, shift) = (vec![0_u64; 1 << (bits - 6)], 64 - bits);
        for anchor in &anchors {
            let bit = anchor.hash >> shift;
            filter[place(bit)] |= 1 << (bit & 63);
        }
        Needles { texts, anchors, filter, shift, key }
    }

    /// Calls `found` with each text that stands in `hay`, once, and where it begins.
    pub fn find(&self, hay: &[u8], mut found: impl FnMut(u32, usize)) {
        let mut seen = Vec::new();
        let mut window = [0; WINDOW];
        for (place_in_hay, bytes) in hay.windows(WINDOW).enumerate() {
            window.copy_from_slice(bytes);
            let hash = hash(self.key, window);
            let bit = hash >> self.shift;
            if self.filter[place(bit)] >> (bit & 63) & 1 == 0 {
                continue;
            }
            let first = self.anchors.partition_point(|anchor| anchor.hash < hash);
            for anchor in self.anchors[first..].iter().take_while(|anchor| anchor.hash == hash) {
                if seen.contains(&anchor.text) {
                    continue;
                }
                if let Some(begin) = self.compare(anchor, hay, place_in_hay) {
                    seen.push(anchor.text);
                    found(anchor.text, begin);
                }
            }
        }
    }

    fn compare(&self, anchor: &Anchor, hay: &[u8], at: usize) -> Option<usize> {
        let text = self.texts.get(usize::try_from(anchor.text).ok()?)?;
        let split = usize::try_from(anchor.at).ok()?;
        match text {
            Text::Any(text) => {
                let (before, after) = text.split_at_checked(split)?;
                after.chars().try_fold(vec![at], |ends, c| step(&ends, c, hay, true))?;
                let begins = before.chars().rev().try_fold(vec![at], |ends, c| step(&ends, c, hay, false))?;
                begins.into_iter().min()
            }
            Text::Exact(bytes) => {
                let begin = at.checked_sub(split)?;
                hay.get(begin..)?.starts_with(bytes).then_some(begin)
            }
            Text::Loose(bytes) => {
                let (before, after) = bytes.split_at_checked(split)?;
                after.iter().try_fold(at, |at, wanted| loose_after(hay, at, *wanted))?;
                before.iter().rev().try_fold(at, |at, wanted| loose_before(hay, at, *wanted))
            }
        }
    }
}

impl Drop for Needles {
    fn drop(&mut self) {
        self.filter.zeroize();
        self.anchors.iter_mut().for_each(|anchor| anchor.hash.zeroize());
    }
}

fn hash(key: [u64; 2], window: [u8; WINDOW]) -> u64 {
    (u64::from_le_bytes(window) ^ key[0]).wrapping_mul(key[1])
}

fn place(bit: u64) -> usize {
    usize::try_from(bit >> 6).unwrap_or_default()
}

/// The windows by which a text is found.
fn anchor(text: &Text, mut take: impl FnMut(u32, [u8; WINDOW])) {
    let mut at = |begin: usize, bytes: &[u8]| {
        if let (Ok(begin), Some(window)) = (u32::try_from(begin), bytes.first_chunk::<WINDOW>()) {
            take(begin, *window);
        }
    };
    let bytes = text.bytes();
    match text {
        Text::Any(text) => {
            let begin = telling(bytes, |at| text.is_char_boundary(at));
            for style in Style::ALL {
                let mut written = Zeroizing::new(Vec::with_capacity(WINDOW * 16));
                text[begin..].chars().take(WINDOW).for_each(|c| style.write(c, &mut written));
                at(begin, &written);
            }
        }
        Text::Exact(_) => {
            let begin = telling(bytes, |_| true);
            at(begin, &bytes[begin..]);
        }
        Text::Loose(_) => {
            let last = bytes.len().saturating_sub(WINDOW);
            for begin in LOOSE_WINDOWS.map(|begin| begin.min(last)) {
                at(begin, &bytes[begin..]);
            }
        }
    }
}

/// Where the eight bytes begin that are written alike in most styles and say most: `https://` begins many a text.
fn telling(bytes: &[u8], may_begin: impl Fn(usize) -> bool) -> usize {
    let worth = |window: &[u8]| {
        let plain = window.iter().filter(|byte| is_plain(**byte)).count();
        let mut sorted = Zeroizing::new([0; WINDOW]);
        sorted.copy_from_slice(window);
        sorted.sort_unstable();
        let different = sorted.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let mixed = window.iter().filter(|byte| !byte.is_ascii_lowercase()).count();
        (plain, different, mixed)
    };
    let windows = bytes.windows(WINDOW).enumerate().filter(|(at, _)| may_begin(*at));
    windows.max_by_key(|(_, window)| worth(window)).map_or(0, |(at, _)| at)
}

/// Where a character that begins (or, backwards, ends) at one of these places ends (or begins), however it is written.
fn step(from: &[usize], c: char, hay: &[u8], forwards: bool) -> Option<Vec<usize>> {
    let mut to = Vec::new();
    let mut try_it = |written: &[u8]| {
        for at in from {
            let next = match forwards {
                true => hay.get(*at..).filter(|rest| rest.starts_with(written)).map(|_| at + written.len()),
                false => hay.get(..*at).filter(|rest| rest.ends_with(written)).map(|_| at - written.len()),
            };
            to.extend(next.filter(|next| !to.contains(next)));
        }
    };
    let mut written = Zeroizing::new(Vec::with_capacity(16));
    let all = if u8::try_from(c).is_ok_and(is_plain) { &Style::ALL[..1] } else { &Style::ALL };
    for style in all {
        written.clear();
        style.write(c, &mut written);
        try_it(&written);
    }
    (!to.is_empty()).then_some(to)
}

/// What may stand between two characters of base64 that belong together, besides `\n` written out.
fn is_gap(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\\\"'#>|,".contains(&byte)
}

fn loose_after(hay: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let mut next = at;
    while next < at + GAP {
        match hay.get(next)? {
            byte if *byte == wanted => return Some(next + 1),
            b'\\' if matches!(hay.get(next + 1), Some(b'n' | b'r' | b't')) => next += 2,
            byte if is_gap(*byte) => next += 1,
            _ => return None,
        }
    }
    None
}

fn loose_before(hay: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let mut end = at;
    while end > 0 && at - end < GAP {
        let byte = hay[end - 1];
        let escapes = end >= 2 && hay[end - 2] == b'\\' && matches!(byte, b'n' | b'r' | b't');
        match byte {
            _ if escapes => end -= 2,
            byte if byte == wanted => return Some(end - 1),
            byte if is_gap(byte) => end -= 1,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: Vec<Text>, hay: &[u8]) -> Vec<(u32, usize)> {
        let mut all = Vec::new();
        Needles::new(texts).find(hay, |text, at| all.push((text, at)));
        all.sort_unstable();
        all
    }

    #[test]
    fn every_way_to_write_a_text_is_found_and_no_other_text() {
        // The first has a stretch without special characters, the second has none, the third is not ASCII.
        for text in
            ["p<a&s\"s'w\\ord-Long4enough/+ !", "<a>&\"b' \\c/d+%$#", "gr\u{fc}\u{df}e <\u{1f511}> & mehr"]
        {
            for style in Style::ALL {
                let mut written = b"x: ".to_vec();
                text.chars().for_each(|c| style.write(c, &mut written));
                written.extend(b"\n");
                assert_eq!(found(vec![Text::any(text)], &written), [(0, 3)], "{style:?} {text}");
                let end = written.len() - 2;
                assert_eq!(found(vec![Text::any(text)], &written[..end]), [], "{style:?} cut");
                written[end - 1] ^= 1;
                assert_eq!(found(vec![Text::any(text)], &written), [], "{style:?} changed");
            }
        }
    }

    #[test]
    fn many_texts_are_told_apart() {
        let texts =
            || (0..5_000).map(|number| Text::any(&format!("token-{number:05}-of-many"))).collect::<Vec<_>>();
        let hay = b"token-00007-of-many, token-04999-of-many; token-99999-of-many token-00007-of-man";
        assert_eq!(found(texts(), hay), [(7, 0), (4_999, 21)]);
    }

    #[test]
    fn base64_is_found_however_its_lines_are_broken() {
        let text: String = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect::<String>().repeat(3);
        for width in [1, 7, 19, 20, 21, 64, 76, 1_000] {
            let lines: Vec<&str> =
                text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            for between in ["\n", "\r\n    ", "\\n", "\",\n  \""] {
                let hay = format!("key: |\n  {}\nend", lines.join(between));
                // Windows of eight characters must stand together in some line.
                let expected = if width >= 19 || width == 1_000 { vec![(0, 9)] } else { vec![] };
                assert_eq!(
                    found(vec![Text::loose(text.as_bytes())], hay.as_bytes()),
                    expected,
                    "{width} {between:?}"
                );
            }
        }
        assert_eq!(found(vec![Text::loose(text.as_bytes())], text.replace('9', "8").as_bytes()), []);
    }

    #[test]
    fn bytes_are_found_at_every_place() {
        let bytes = b"\xff\x00\x01\xfe\x80\x81\x82\x83\x84";
        for before in 0..20 {
            let hay = [&vec![b'x'; before], &bytes[..], b"end"].concat();
            assert_eq!(found(vec![Text::exact(bytes)], &hay), [(0, before)]);
        }
        assert_eq!(found(vec![Text::exact(bytes)], &bytes[1..]), []);
        assert_eq!(found(vec![], b"anything at all"), []);
    }
}
