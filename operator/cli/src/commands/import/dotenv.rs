//! `.env` files: comments, `export`, quotes, values of several lines. Our own, because the crates for it put variables of the
//! environment it runs in into the values.
//!
//! There is no standard. What readers agree about is read so; where they do not, the text is taken as it stands, and a note
//! names the variable.

use zeroize::Zeroizing;

use super::material::Pair;

/// Longer names without a value are taken for something else.
const LONGEST_NAME: usize = 40;

/// What a file holds.
#[derive(Default)]
pub struct Env {
    pub pairs: Vec<Pair>,
    /// Variables that other readers may read otherwise, and because of what.
    pub doubtful: Vec<(String, &'static str)>,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub what: String,
}

/// Reads a file's text. Ends of lines become line feeds, also inside quotes, and a byte order mark is none of it.
pub fn parse(text: &str) -> Result<Env, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = Zeroizing::new(text.replace("\r\n", "\n"));
    let mut found = Env::default();
    let mut rest = Rest { text: &text, line: 1 };
    let mut places: Vec<usize> = Vec::new();
    while !rest.text.is_empty() {
        let line = rest.line;
        let Some(name) = rest.name()? else { continue };
        if let Some(first) = found.pairs.iter().position(|(known, _)| *known == name) {
            return Err(problem(line, format!("{name} is there already, in line {}", places[first])));
        }
        let (value, doubt) = rest.value(&name)?;
        found.doubtful.extend(doubt.map(|doubt| (name.clone(), doubt)));
        found.pairs.push((name, value));
        places.push(line);
    }
    Ok(found)
}

fn problem(line: usize, what: impl Into<String>) -> Problem {
    Problem { line, what: what.into() }
}

/// Whether a name that nothing but `=` stands behind may be the end of a value in base64.
fn may_be_base64(name: &str) -> bool {
    let has = |kind: fn(&char) -> bool| name.chars().any(|c| kind(&c));
    name.len() > LONGEST_NAME
        || has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit)
}

/// What has not been read yet.
struct Rest<'t> {
    text: &'t str,
    line: usize,
}

impl<'t> Rest<'t> {
    /// Up to the end of the line, which is left behind.
    fn leave_line(&mut self) -> &'t str {
        let (line, rest) = self.text.split_once('\n').unwrap_or((self.text, ""));
        self.text = rest;
        self.line += 1;
        line
    }

    /// The name before the `=`; `None` for a line without one that may be there.
    fn name(&mut self) -> Result<Option<String>, Problem> {
        let at = self.line;
        let line = self.text.split('\n').next().unwrap_or_default();
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            self.leave_line();
            return Ok(None);
        }
        let Some((before, after)) = line.split_once('=') else {
            return Err(problem(at, "it is not NAME=value"));
        };
        let name = before.trim();
        let name =
            name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(name, str::trim);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
            // What stands there may be a value whose line was broken: it is not shown.
            return Err(problem(at, "it is not NAME=value"));
        }
        if matches!(after.trim(), "" | "=") && may_be_base64(name) {
            return Err(problem(
                at,
                "it may be the end of a value whose line was broken; a name without a value is NAME=\"\"",
            ));
        }
        self.text = &self.text[before.len() + 1..];
        Ok(Some(name.to_owned()))
    }

    fn value(&mut self, name: &str) -> Result<(Zeroizing<Vec<u8>>, Option<&'static str>), Problem> {
        let blanks = self.text.len() - self.text.trim_start_matches([' ', '\t']).len();
        self.text = &self.text[blanks..];
        match self.text.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(name, quote),
            _ => Ok(self.bare(blanks > 0)),
        }
    }

    /// Up to the end of the line, or to a comment, which has a blank before it.
    fn bare(&mut self, behind_blank: bool) -> (Zeroizing<Vec<u8>>, Option<&'static str>) {
        let line = self.leave_line();
        let value = if behind_blank && line.starts_with('#') {
            ""
        } else {
            let comment = [" #", "\t#"].into_iter().filter_map(|start| line.find(start)).min();
            line[..comment.unwrap_or(line.len())].trim()
        };
        let doubt = if value.contains('$') {
            Some("a $")
        } else if value.contains('#') {
            Some("a # without a blank before it")
        } else if value.contains(['"', '\'', '`']) {
            Some("a quote")
        } else if value.contains('\\') {
            Some("a backslash")
        } else {
            None
        };
        (Zeroizing::new(value.as_bytes().to_vec()), doubt)
    }

    fn quoted(
        &mut self,
        name: &str,
        quote: char,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<&'static str>), Problem> {
        let begins = self.line;
        let body = &self.text[1..];
        let (mut value, mut doubt) = (Zeroizing::new(String::with_capacity(body.len())), None);
        let mut characters = body.char_indices();
        loop {
            let Some((at, c)) = characters.next() else {
                return Err(problem(begins, format!("the quote around the value of {name} has no end")));
            };
            match c {
                c if c == quote => {
                    self.text = &body[at + 1..];
                    break;
                }
                '\\' if quote == '"' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                    Some((_, other)) => {
                        doubt = Some("a backslash");
                        value.extend(['\\', other]);
                    }
                    None => {}
                },
                '$' if quote == '"' => {
                    doubt = Some("a $");
                    value.push('$');
                }
                c => value.push(c),
            }
        }
        self.line += body[..body.len() - self.text.len()].matches('\n').count();
        let at = self.line;
        let behind = self.leave_line().trim();
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(problem(at, format!("something stands behind the quoted value of {name}")));
        }
        Ok((Zeroizing::new(value.as_bytes().to_vec()), doubt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let text_of = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        parse(text).unwrap().pairs.into_iter().map(|(name, value)| (name, text_of(&value))).collect()
    }

    fn one(text: &str) -> String {
        let mut all = read(text);
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0).1
    }

    fn refused(text: &str) -> (usize, String) {
        let Problem { line, what } = parse(text).err().unwrap();
        (line, what)
    }

    #[test]
    fn lines_comments_and_export() {
        let text = "\u{feff}# head\r\n\r\nA=1\r\n  export B = two words  # why\r\nC=\nD= #none\nE=a#b\nexport=x\nDB.HOST-1=h";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", ""),
            ("D", ""),
            ("E", "a#b"),
            ("export", "x"),
            ("DB.HOST-1", "h"),
        ];
        assert_eq!(read(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn quotes_keep_what_is_inside() {
        assert_eq!(one("A=\"a # b = c\" # d"), "a # b = c");
        assert_eq!(one("A='a\\n\"$B'"), "a\\n\"$B");
        assert_eq!(one(r#"A="a\n\t\"\\\$\d""#), "a\n\t\"\\$\\d");
        assert_eq!(one("A=\"-----BEGIN\r\nxyz\r\n-----END\"\r\n"), "-----BEGIN\nxyz\n-----END");
        assert_eq!(read("A='1\n2'\nB=3\n").len(), 2);
        assert_eq!(one("A=''"), "");
        assert_eq!(one("A=\"ü\u{1f600}\""), "ü\u{1f600}");
    }

    #[test]
    fn what_readers_disagree_about_is_taken_as_it_stands_and_told() {
        let doubtful = |text: &str| parse(text).unwrap().doubtful;
        for text in ["A=pa$$word", "A=\"x${B}\"", "A=a#b", "A=a\\b", "A=\"a\\d\"", "A=it's"] {
            assert_eq!(doubtful(text).len(), 1, "{text}");
        }
        for text in ["A=a b", "A='$x#\\'", "A=\"\\$x\"", "A=a # b"] {
            assert_eq!(doubtful(text).len(), 0, "{text}");
        }
        assert_eq!(one("PASSWORD=#S3cret"), "#S3cret", "no comment without a blank");
        assert_eq!(doubtful("PASSWORD=#S3cret # c")[0].1, "a # without a blank before it");
        assert_eq!(one("A=pa$HOME"), "pa$HOME", "no variable of ours gets in");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_without_its_text() {
        assert_eq!(refused("A=1\n\nA=2\n"), (3, "A is there already, in line 1".to_owned()));
        assert_eq!(refused("A=1\nhunter2\n"), (2, "it is not NAME=value".to_owned()));
        assert_eq!(refused("A=\"1\n2\nB=3\n"), (1, "the quote around the value of A has no end".to_owned()));
        assert_eq!(refused("X=\"1\n2\"hunter2\n").0, 2);
        assert_eq!(refused("A='1\n2'\nA=3\n"), (3, "A is there already, in line 1".to_owned()));
        for text in ["=x", "1A=x", "A B=x", "hunter2/a+b=", "export A"] {
            let (line, what) = refused(text);
            assert_eq!((line, what.contains("hunter2")), (1, false), "{text}");
        }
    }

    #[test]
    fn the_end_of_a_value_in_base64_is_no_name() {
        let long = "abcdefghij".repeat(5);
        for end in ["c2VjcmV0aHVudGVyMg=", "c2VjcmV0aHVudGVyMg==", " c2VjcmV0 = ", &format!("{long}=")] {
            let (line, what) = refused(&format!("A=x\n{end}\nB=y\n"));
            assert_eq!((line, what.contains("c2Vj") || what.contains(&long)), (2, false), "{end}");
        }
        for kept in ["DB2_NAME=", "dbName=", "c2VjcmV0=x", "c2VjcmV0=\"\"", &format!("{long}=x")] {
            assert_eq!(read(kept).len(), 1, "{kept}");
        }
    }

    /// What others read where there is no doubt: a crate that programs in Rust read such files with.
    #[test]
    fn where_there_is_no_doubt_others_read_the_same() {
        let text =
            "# c\nA=1\nexport B='x y'\nC=\"a\\nb\"\nD=two words # c\nE=\"1\n2\"\nF=\nG=\"a\\\"b\\\\c\"\n";
        assert!(parse(text).unwrap().doubtful.is_empty());
        let theirs: Vec<(String, String)> =
            dotenvy::from_read_iter(text.replace("two words", "two_words").as_bytes())
                .map(Result::unwrap)
                .collect();
        let ours: Vec<(String, String)> = read(&text.replace("two words", "two_words"));
        assert_eq!(ours, theirs);
    }
}
