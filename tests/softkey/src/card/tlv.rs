//! BER-TLV as PIV commands use it (SP 800-73-4 part 2): one-byte tags plus `7F49`, lengths up to 65,535.

/// One element: its tag, its value and what follows it.
pub struct Element<'a> {
    pub tag: u16,
    pub value: &'a [u8],
    pub rest: &'a [u8],
}

/// Reads the first element of `input`, or nothing when it is malformed.
pub fn first(input: &[u8]) -> Option<Element<'_>> {
    let (&low, mut rest) = input.split_first()?;
    let mut tag = u16::from(low);
    if low & 0x1f == 0x1f {
        let (&second, after) = rest.split_first()?;
        tag = tag << 8 | u16::from(second);
        rest = after;
    }
    let (&length, mut rest) = rest.split_first()?;
    let length = match length {
        0..=0x7f => usize::from(length),
        0x81 => {
            let (&one, after) = rest.split_first()?;
            rest = after;
            usize::from(one)
        }
        0x82 => {
            let (two, after) = rest.split_at_checked(2)?;
            rest = after;
            usize::from(two[0]) << 8 | usize::from(two[1])
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, value, rest })
}

/// The value of the first element called `wanted`.
pub fn find(mut input: &[u8], wanted: u16) -> Option<&[u8]> {
    while !input.is_empty() {
        let element = first(input)?;
        if element.tag == wanted {
            return Some(element.value);
        }
        input = element.rest;
    }
    None
}

/// Appends one element to `out`.
pub fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    if tag > 0xff {
        out.push((tag >> 8) as u8);
    }
    out.push(tag as u8);
    match value.len() {
        short @ 0..=0x7f => out.push(short as u8),
        one @ 0x80..=0xff => out.extend([0x81, one as u8]),
        two => out.extend([0x82, (two >> 8) as u8, two as u8]),
    }
    out.extend_from_slice(value);
}

/// One element as bytes of its own.
pub fn element(tag: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 5);
    put(&mut out, tag, value);
    out
}
