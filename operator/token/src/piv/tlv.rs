//! BER-TLV as PIV uses it: tags of one or two bytes, lengths up to 65,535; the buffers may hold secrets and are wiped.

use zeroize::Zeroizing;

/// The first element: tag, value, rest. `None` when malformed.
pub fn first(input: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (tag, input) = match input {
        [high, low, rest @ ..] if high & 0x1f == 0x1f => (u16::from_be_bytes([*high, *low]), rest),
        [tag, rest @ ..] => (u16::from(*tag), rest),
        [] => return None,
    };
    let (length, input) = match input {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    let (value, rest) = input.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// All elements in order; ends at the first malformed one.
pub fn each(input: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (tag, value, after) = first(rest)?;
        rest = after;
        Some((tag, value))
    })
}

/// The value of the first element with this tag.
pub fn find(input: &[u8], wanted: u16) -> Option<&[u8]> {
    each(input).find_map(|(tag, value)| (tag == wanted).then_some(value))
}

/// One element.
pub fn element(tag: u8, value: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for the longest header, so that no copy is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() + 4));
    out.push(tag);
    match value.len() {
        short @ 0..=0x7f => out.push(short as u8),
        one @ 0x80..=0xff => out.extend([0x81, one as u8]),
        two => out.extend([0x82, (two >> 8) as u8, two as u8]),
    }
    out.extend_from_slice(value);
    out
}

/// Several elements or fragments as one buffer.
pub fn join(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip() {
        for length in [0, 1, 127, 128, 255, 256, 3000] {
            let value = vec![7; length];
            let element = element(0x53, &value);
            assert_eq!(first(&element), Some((0x53, value.as_slice(), &[][..])), "{length}");
        }
    }

    #[test]
    fn malformed_is_nothing() {
        for bad in [&[][..], &[0x53], &[0x53, 2, 1], &[0x53, 0x81], &[0x53, 0x83, 0, 0, 1, 0], &[0x7f]] {
            assert_eq!(first(bad), None, "{bad:02x?}");
        }
        assert_eq!(find(&[0x7f, 0x49, 1, 9], 0x7f49), Some(&[9][..]));
    }
}
