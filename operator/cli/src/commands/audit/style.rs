//! How one character is written in files: as it is, in JSON, in a URL, in XML, in quotes of YAML and of shells. What a value
//! looks like in a file depends on who wrote the file, and one value may be written in several ways at once.

/// A way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Raw,
    /// JSON, and double quotes of YAML and of most languages.
    Json,
    /// JSON as Go writes it: `<`, `>` and `&` escaped for HTML.
    JsonForHtml,
    /// JSON as Python writes it, in ASCII alone; also `/` escaped, as PHP writes it.
    JsonInAscii,
    Url,
    UrlInLowerCase,
    /// A form's: a space is a plus.
    Form,
    Xml,
    XmlByNumber,
    /// Single quotes of YAML.
    YamlQuote,
    /// As shells take it.
    Backslash,
}

impl Style {
    pub const ALL: [Style; 11] = [
        Style::Raw,
        Style::Json,
        Style::JsonForHtml,
        Style::JsonInAscii,
        Style::Url,
        Style::UrlInLowerCase,
        Style::Form,
        Style::Xml,
        Style::XmlByNumber,
        Style::YamlQuote,
        Style::Backslash,
    ];

    /// Appends the character.
    pub fn write(self, c: char, out: &mut Vec<u8>) {
        match self {
            Style::Raw => raw(c, out),
            Style::Json => json(c, out),
            Style::JsonForHtml if matches!(c, '<' | '>' | '&') => utf16(c, out),
            Style::JsonForHtml => json(c, out),
            Style::JsonInAscii if c == '/' => out.extend(b"\\/"),
            Style::JsonInAscii if !c.is_ascii() => utf16(c, out),
            Style::JsonInAscii => json(c, out),
            Style::Form if c == ' ' => out.push(b'+'),
            Style::Url | Style::Form => percent(c, HEX_UPPER, out),
            Style::UrlInLowerCase => percent(c, HEX, out),
            Style::Xml => match c {
                '&' => out.extend(b"&amp;"),
                '<' => out.extend(b"&lt;"),
                '>' => out.extend(b"&gt;"),
                '"' => out.extend(b"&quot;"),
                '\'' => out.extend(b"&apos;"),
                c => raw(c, out),
            },
            Style::XmlByNumber if matches!(c, '&' | '<' | '>' | '"' | '\'') => {
                out.extend(format!("&#{};", u32::from(c)).bytes());
            }
            Style::XmlByNumber => raw(c, out),
            Style::YamlQuote if c == '\'' => out.extend(b"''"),
            Style::YamlQuote => raw(c, out),
            Style::Backslash => {
                if c.is_ascii_punctuation() || c == ' ' {
                    out.push(b'\\');
                }
                raw(c, out);
            }
        }
    }
}

/// Whether all styles write it alike.
pub const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn raw(c: char, out: &mut Vec<u8>) {
    out.extend(c.encode_utf8(&mut [0; 4]).bytes());
}

fn json(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend(b"\\\""),
        '\\' => out.extend(b"\\\\"),
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        c if c.is_ascii_control() => utf16(c, out),
        c => raw(c, out),
    }
}

fn utf16(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend(b"\\u");
        out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift & 15)]));
    }
}

fn percent(c: char, digits: &[u8; 16], out: &mut Vec<u8>) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
}
