//! What of a value is looked for: all of it, and, where it is a file of several lines or values, what each of them holds.
//! A password that once stood in a settings file is public, whatever the rest of the file has become.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{PAD, STANDARD_NO_PAD as BASE64};
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::needles::{Text, WINDOW};

/// Fewer different characters say nothing.
const DIFFERENT: usize = 4;
/// Shorter words and numbers stand in files of every kind: `production`, `20260101`.
const WORD: usize = 12;
const PADDED_OR_NOT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
/// Files in files are looked into so deep.
const DEPTH: usize = 3;

/// Why a value is not looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    /// It would be found by chance.
    Short,
    /// A word or a number, which stands in files without having been taken from the value.
    Simple,
    /// A certificate or a public key.
    Public,
}

impl Unjudged {
    pub const fn words(self) -> &'static str {
        match self {
            Self::Short => "too short to judge",
            Self::Simple => "too simple to judge",
            Self::Public => "public by its nature",
        }
    }
}

/// A value, cut.
#[derive(Default)]
pub struct Cut {
    /// Any of these is the whole value.
    pub whole: Vec<Text>,
    /// What its lines hold.
    pub pieces: Vec<Piece>,
    /// Its pieces are all there is to it: whoever has them has the value.
    pub pieces_are_all: bool,
    /// So many parts are too short, too simple or comments.
    pub left: usize,
}

/// Something in a value that is worth looking for by itself.
pub struct Piece {
    /// Where it stands in the value, from 1.
    pub line: usize,
    /// Any of these is the piece.
    pub texts: Vec<Text>,
}

/// Cuts a value.
///
/// # Errors
/// Nothing in it can be looked for.
pub fn cut(value: &[u8]) -> Result<Cut, Unjudged> {
    let mut cut = Cut::default();
    let Ok(text) = std::str::from_utf8(value) else {
        judge(value)?;
        cut.whole.push(Text::exact(value));
        base64(value, &mut cut.whole);
        return Ok(cut);
    };
    let text = text.trim();
    let mut cutter = Cutter { cut: &mut cut, public: false, comments: 0 };
    if text.lines().nth(1).is_some() {
        cutter.lines(text, None, 0);
        let (only_public, comments) = (cutter.public && cutter.cut.left == 0, cutter.comments);
        let nothing = cut.pieces.is_empty();
        cut.left += comments;
        match nothing {
            true if only_public => return Err(Unjudged::Public),
            true => return Err(Unjudged::Simple),
            false => base64(text.as_bytes(), &mut cut.whole),
        }
        cut.pieces_are_all = true;
        return Ok(cut);
    }
    cutter.inside(text, 1, 0);
    if let Some(password) = packed_password(text) {
        cutter.value(&password, 1, DEPTH);
    }
    cut.left += cutter.comments;
    match judge(text.as_bytes()) {
        Ok(()) => {
            cut.whole.push(Text::any(text));
            base64(text.as_bytes(), &mut cut.whole);
        }
        Err(why) if cut.pieces.is_empty() => return Err(why),
        Err(_) => {}
    }
    Ok(cut)
}

/// Whether finding these bytes would mean something.
fn judge(bytes: &[u8]) -> Result<(), Unjudged> {
    if bytes.len() < WINDOW {
        return Err(Unjudged::Short);
    }
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let all = |is: fn(&u8) -> bool| bytes.iter().all(is);
    let is_word = all(u8::is_ascii_lowercase)
        || all(u8::is_ascii_uppercase)
        || all(|byte| byte.is_ascii_digit() || b".:-/".contains(byte));
    match seen.iter().filter(|seen| **seen).count() < DIFFERENT || is_word && bytes.len() < WORD {
        true => Err(Unjudged::Simple),
        false => Ok(()),
    }
}

struct Cutter<'c> {
    cut: &'c mut Cut,
    /// A certificate or a public key was passed over.
    public: bool,
    /// So many comments were passed over.
    comments: usize,
}

impl Cutter<'_> {
    /// `line`: where the text stands as a whole, if it is a value of a line itself.
    fn lines(&mut self, text: &str, line: Option<usize>, depth: usize) {
        let mut lines = text.lines().enumerate();
        while let Some((index, here)) = lines.next() {
            let place = line.unwrap_or(index + 1);
            let here = here.trim();
            let label = here.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
            if let Some(label) = label {
                let body = lines.by_ref().map(|(_, line)| line.trim());
                let body = body.take_while(|line| !line.starts_with("-----END "));
                // Lines with a colon are headers of older formats.
                let mut inside = Zeroizing::new(Vec::with_capacity(text.len()));
                body.filter(|line| !line.contains(':')).for_each(|line| inside.extend(line.bytes()));
                match label.contains("CERTIFICATE") || label.contains("PUBLIC KEY") {
                    true => self.public = true,
                    false => self.add(place, judge(&inside).ok().map(|()| vec![Text::loose(&inside)])),
                }
            } else if here.starts_with(['#', ';']) || here.starts_with("//") {
                self.comments += 1;
            } else if !here.is_empty() {
                self.setting(here, place, depth);
            }
        }
    }

    /// What a line of a settings file sets.
    fn setting(&mut self, line: &str, place: usize, depth: usize) {
        if self.inside(line, place, depth) {
            return;
        }
        let after = line.find('=').or_else(|| line.find(": ")).map(|at| &line[at + 1..]);
        let held = after.or_else(|| line.strip_prefix("- ")).unwrap_or(line);
        self.value(held.trim().trim_end_matches([',', ';']).trim_matches(['"', '\'']), place, depth);
    }

    /// Texts in quotes that are no keys, and passwords of URLs. Gives whether there are any quotes.
    fn inside(&mut self, line: &str, place: usize, depth: usize) -> bool {
        if let Some(password) = password(line) {
            let mut decoded = Zeroizing::new(Vec::with_capacity(password.len()));
            decoded.extend(percent_decode_str(password));
            let decoded = std::str::from_utf8(&decoded).ok().filter(|text| *text != password);
            self.any_of(place, [Some(password), decoded]);
        }
        let quoted = quoted(line);
        let any = !quoted.is_empty();
        for text in quoted {
            self.value(&text, place, depth + 1);
        }
        any
    }

    fn value(&mut self, text: &str, place: usize, depth: usize) {
        if depth < DEPTH && text.lines().nth(1).is_some() {
            return self.lines(text, Some(place), depth + 1);
        }
        let packed = packed_password(text);
        self.any_of(place, [Some(text), packed.as_deref().map(String::as_str)]);
    }

    /// A piece that any of these is.
    fn any_of(&mut self, line: usize, texts: [Option<&str>; 2]) {
        let mut ways = Vec::new();
        for text in texts.into_iter().flatten().filter(|text| judge(text.as_bytes()).is_ok()) {
            ways.push(Text::any(text));
            base64(text.as_bytes(), &mut ways);
        }
        self.add(line, (!ways.is_empty()).then_some(ways));
    }

    fn add(&mut self, line: usize, texts: Option<Vec<Text>>) {
        match texts {
            Some(texts) => self.cut.pieces.push(Piece { line, texts }),
            None => self.cut.left += 1,
        }
    }
}

/// `scheme://user:PASSWORD@host`.
fn password(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("://")?;
    let authority = rest.split(['/', '?', '#', ' ', '"', '\'']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// `user:PASSWORD` in base64, as registries and HTTP take it.
fn packed_password(text: &str) -> Option<Zeroizing<String>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len() + 3));
    PADDED_OR_NOT.decode_vec(text, &mut plain).ok()?;
    let plain = std::str::from_utf8(&plain).ok().filter(|plain| !plain.contains(char::is_control))?;
    plain.split_once(':').map(|(_, password)| Zeroizing::new(password.to_owned()))
}

/// What stands in quotes in a line and is not followed by a colon, which makes it a key; escapes are undone.
fn quoted(line: &str) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(begin) = rest.find(['"', '\'']) {
        let quote = if rest[begin..].starts_with('"') { '"' } else { '\'' };
        let mut text = Zeroizing::new(String::with_capacity(rest.len()));
        let (mut end, mut escaped) = (None, false);
        for (at, c) in rest[begin + 1..].char_indices() {
            match c {
                c if std::mem::take(&mut escaped) => text.push(match c {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c => c,
                }),
                '\\' if quote == '"' => escaped = true,
                c if c == quote => {
                    end = Some(begin + 1 + at + 1);
                    break;
                }
                c => text.push(c),
            }
        }
        // An apostrophe, and no quote.
        let Some(end) = end else {
            rest = &rest[begin + 1..];
            continue;
        };
        rest = &rest[end..];
        if !rest.trim_start().starts_with(':') {
            found.push(text);
        }
    }
    found
}

/// What of base64 is the same whatever stands around these bytes, for each place they may have in a group of three.
fn base64(bytes: &[u8], texts: &mut Vec<Text>) {
    for before in 0..3 {
        let mut padded = Zeroizing::new(vec![0; before]);
        padded.reserve_exact(bytes.len());
        padded.extend_from_slice(bytes);
        let encoded = Zeroizing::new(BASE64.encode(&*padded));
        let begin = if before == 0 { 0 } else { before + 1 };
        let end = padded.len() * 8 / 6;
        let Some(stable) = encoded.get(begin..end) else { continue };
        texts.push(Text::loose(stable.as_bytes()));
        if stable.contains(['+', '/']) {
            let mut safe = Zeroizing::new(stable.as_bytes().to_vec());
            for byte in safe.iter_mut() {
                *byte = match *byte {
                    b'+' => b'-',
                    b'/' => b'_',
                    other => other,
                };
            }
            texts.push(Text::loose(&safe));
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::super::needles::Needles;
    use super::*;

    /// Whether the whole value is found, and of which lines something is.
    fn found(value: &[u8], hay: &[u8]) -> (bool, Vec<usize>) {
        let cut = cut(value).unwrap();
        let has = |texts: Vec<Text>| {
            let mut any = false;
            Needles::new(texts).find(hay, |_, _| any = true);
            any
        };
        let lines =
            cut.pieces.into_iter().filter_map(|piece| has(piece.texts).then_some(piece.line)).collect();
        (has(cut.whole), lines)
    }

    #[test]
    fn base64_is_found_at_every_place_in_it() {
        for value in [&b"hunter2!hunter2?"[..], b"8 bytes!", b"\xff\xfe\xfb\xff\xbf\xef\xff\xff\xfe\xfa"] {
            for before in 0..6 {
                for after in 0..4 {
                    let around = [&vec![b'a'; before], value, &vec![b'z'; after]].concat();
                    for hay in [STANDARD.encode(&around), URL_SAFE.encode(&around)] {
                        assert!(found(value, hay.as_bytes()).0, "{value:?} {before} {after}");
                    }
                }
            }
        }
        assert!(!found(b"hunter2!hunter2?", STANDARD.encode("hunter2!hunter2x").as_bytes()).0);
    }

    #[test]
    fn a_settings_file_is_looked_for_by_what_its_lines_hold() {
        let value = b"# of the shop\n[db]\nhost = db\npassword = correct-horse\nURL=postgres://shop:battery-staple@db/shop\n\
            token: \"a \\\"quoted\\\" token\"\n- list-item-1\n";
        let hay = |text: &str| found(value, text.as_bytes());
        assert_eq!(hay("PASSWORD='correct-horse'"), (false, vec![4]));
        assert_eq!(hay("battery-staple"), (false, vec![5]));
        assert_eq!(hay("t: a \"quoted\" token"), (false, vec![6]));
        assert_eq!(hay("['list-item-1']"), (false, vec![7]));
        assert_eq!(hay("password = "), (false, vec![]), "what is set counts, not its name");
        assert_eq!(hay(&STANDARD.encode(value)), (true, vec![4, 5, 5, 7]));
        assert_eq!(cut(value).unwrap().left, 3, "the comment, [db] and its host");
    }

    #[test]
    fn what_is_passed_over_is_counted() {
        for (value, left) in [
            (&br#"{"username":"ci","password":"pa55","token":"correct-horse"}"#[..], 2),
            (b"postgres://shop:pa55@db.shop.svc/shop", 1),
            (b"a = correct-horse\n# b = battery-staple\n; c\n// d\n\n", 3),
            (b"correct-horse", 0),
        ] {
            assert_eq!(cut(value).unwrap().left, left, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn packed_and_escaped_passwords_are_looked_for_as_they_are() {
        let docker = br#"{"auths":{"registry.example.com":{"auth":"Y2k6Y29ycmVjdC1ob3JzZQ=="}}}"#;
        assert_eq!(found(docker, b"PASSWORD=correct-horse"), (false, vec![1]));
        assert_eq!(found(docker, b"Y2k6Y29ycmVjdC1ob3JzZQ=="), (false, vec![1]));
        assert_eq!(
            found(b"Y2k6Y29ycmVjdC1ob3JzZQ", b"PASSWORD=correct-horse"),
            (false, vec![1]),
            "by itself"
        );
        let url = b"postgres://shop:correct%2Fh%6Frse@db/shop";
        assert_eq!(found(url, b"PASSWORD=correct/horse"), (false, vec![1]));
        assert_eq!(found(url, b"//other:correct%2Fh%6Frse@host"), (false, vec![1]));
        let settings = [&b"stage = blue-and-green\nurl = "[..], url].concat();
        assert_eq!(found(&settings, b"correct/horse"), (false, vec![2]));
    }

    #[test]
    fn json_in_one_line_is_looked_into() {
        let value = br#"{"auths":{"registry.example.com":{"username":"ci","password":"correct-horse"}}}"#;
        assert_eq!(found(value, b"PASSWORD=correct-horse"), (false, vec![1]));
        let account = b"{\"key\":\"-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\\n-----END PRIVATE KEY-----\\n\"}";
        let moved = b"tls.key: |\n  -----BEGIN PRIVATE KEY-----\n  MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtM\n  DoQikTmiCqirVv9mWG9qfSnF\n";
        assert_eq!(found(account, moved), (false, vec![1]));
    }

    #[test]
    fn a_private_key_is_found_in_any_layout_and_a_certificate_is_not_looked_for() {
        let body = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
        let pem = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let (key, certificate) = (pem("PRIVATE KEY"), pem("CERTIFICATE"));
        assert_eq!(
            found(key.as_bytes(), pem("PRIVATE KEY").replace('\n', "\\n").as_bytes()),
            (false, vec![1])
        );
        assert_eq!(found(key.as_bytes(), key.replace('\n', "\r\n    ").as_bytes()), (false, vec![1]));
        assert_eq!(found(key.as_bytes(), STANDARD.encode(&key).as_bytes()), (true, vec![]));
        assert_eq!(cut(certificate.as_bytes()).err(), Some(Unjudged::Public));
        let both = format!("{certificate}{key}");
        assert_eq!(
            found(both.as_bytes(), certificate.replace("CERTIFICATE", "x").as_bytes()),
            (false, vec![4])
        );
    }

    #[test]
    fn what_would_be_found_by_chance_is_not_looked_for() {
        for (value, why) in [
            ("", Unjudged::Short),
            ("true", Unjudged::Short),
            ("pa55wrd", Unjudged::Short),
            ("production", Unjudged::Simple),
            ("PRODUCTION", Unjudged::Simple),
            ("2026-01-01", Unjudged::Simple),
            ("aaaaaaaaaaaaaaaaaaaa", Unjudged::Simple),
            ("debug: true\nport: 8080\n", Unjudged::Simple),
        ] {
            assert_eq!(cut(value.as_bytes()).err(), Some(why), "{value}");
        }
        for value in ["pa55word", "correct horse", "correcthorse", "202601010000"] {
            assert!(cut(value.as_bytes()).is_ok(), "{value}");
        }
    }
}
