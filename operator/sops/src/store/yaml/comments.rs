//! Comments, which the parser drops: found in the text between its events. Which map or list a comment belongs to is
//! told by its place and column; only its order among the entries matters, since sops keeps comments as entries.

use crate::text::Text;

/// A comment not yet given to a map or list.
pub(super) struct Comment {
    pub(super) text: Text,
    /// 0-based column of the `#`.
    pub(super) column: usize,
    /// Stands behind something on its line.
    pub(super) inline: bool,
    /// A list's `-` stands between it and what follows.
    pub(super) before_dash: bool,
    /// No blank line divides it from what stands before it.
    follows: bool,
    /// It follows what stands before it and a blank line comes next: it closes that.
    pub(super) foot: bool,
}

impl Comment {
    /// One behind a block scalar's header.
    pub(super) fn of_header(text: Text) -> Comment {
        Comment { text, column: 0, inline: false, before_dash: true, follows: false, foot: false }
    }
}

/// Walks through the text alongside the parser, whose positions count characters.
pub(super) struct Gaps<'a> {
    rest: &'a str,
    index: usize,
    column: usize,
    /// Only blanks since the line began.
    blank: bool,
    /// The character before `rest`.
    previous: char,
    /// Line breaks since there was anything.
    breaks: usize,
    /// The column of the last list's `-` that was read over on the way to where the walk stands.
    pub(super) dash: Option<usize>,
    /// What was there last is no comment, or one that follows such a thing.
    follows: bool,
}

impl<'a> Gaps<'a> {
    pub(super) fn new(text: &'a str) -> Gaps<'a> {
        Gaps {
            rest: text,
            index: 0,
            column: 0,
            blank: true,
            previous: '\n',
            breaks: 0,
            dash: None,
            follows: false,
        }
    }

    /// Reads comments up to the character `end`.
    pub(super) fn read_to(&mut self, end: usize, found: &mut Vec<Comment>) {
        self.dash = None;
        while self.index < end {
            let Some(c) = self.rest.chars().next() else { return };
            if c == '#' && self.previous.is_whitespace() {
                let line = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                let (comment, _) = self.rest.split_at(line);
                let follows = self.follows && self.breaks == 1;
                found.push(Comment {
                    text: comment[1..].into(),
                    column: self.column,
                    // Behind a dash alone a comment is one of what follows.
                    inline: !self.blank && self.dash.is_none(),
                    before_dash: false,
                    follows,
                    foot: false,
                });
                let after_content = !self.blank;
                self.skip(comment.chars().count());
                self.follows = follows || after_content;
                continue;
            }
            if c == '\n' && self.breaks > 0 {
                close(found);
            }
            if c == '-' && self.rest[1..].starts_with([' ', '\n', '\r', '\t']) {
                found.iter_mut().for_each(|comment| comment.before_dash = true);
                self.dash = Some(self.column);
            }
            self.step(c);
        }
        if self.rest.is_empty() {
            close(found);
        }
    }

    /// Passes over a scalar or bracket up to the character `end`.
    pub(super) fn skip_to(&mut self, end: usize) {
        self.skip(end.saturating_sub(self.index));
    }

    /// Passes over a quoted scalar that begins here and ends at the character `end` or before: to the parser blanks and a
    /// comment behind it are part of it.
    pub(super) fn skip_quoted(&mut self, quote: char, end: usize) {
        let mut inside = false;
        let mut escaped = false;
        while self.index < end {
            let Some(c) = self.rest.chars().next() else { return };
            self.step(c);
            if escaped {
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote {
                // A doubled quote ends the text and begins it again.
                inside = !inside;
                if !inside && !self.rest.starts_with(quote) {
                    return;
                }
            }
        }
    }

    /// The comment behind a block scalar's `|` or `>`, if one is next. To the parser a block begins with its text, unless
    /// there is none.
    pub(super) fn header_comment(&self) -> Option<Text> {
        let header = self.rest.split(['\n', '\r']).next()?.strip_prefix(['|', '>'])?;
        header.find(" #").map(|at| header[at + 2..].into())
    }

    fn skip(&mut self, count: usize) {
        if let Some((skipped, rest)) = self.rest.split_at_checked(count)
            && skipped.is_ascii()
            && let Some(&last) = skipped.as_bytes().last()
        {
            let line = skipped.bytes().rposition(|b| b == b'\n' || b == b'\r');
            self.column = line.map_or(self.column + count, |at| count - at - 1);
            let on_line = &skipped[line.map_or(0, |at| at + 1)..];
            self.blank = (self.blank || line.is_some()) && on_line.bytes().all(|b| b == b' ' || b == b'\t');
            let content = skipped.trim_ascii_end();
            if !content.is_empty() {
                self.breaks = 0;
                self.follows = true;
            }
            self.breaks += skipped[content.len()..].bytes().filter(|&b| b == b'\n').count();
            self.rest = rest;
            self.index += count;
            self.previous = char::from(last);
            return;
        }
        for _ in 0..count {
            let Some(c) = self.rest.chars().next() else { return };
            self.step(c);
        }
    }

    fn step(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
        self.index += 1;
        self.previous = c;
        if c == '\n' {
            self.breaks += 1;
        } else if !c.is_whitespace() {
            self.breaks = 0;
            self.follows = true;
        }
        if c == '\n' || c == '\r' {
            self.column = 0;
            self.blank = true;
        } else {
            self.column += 1;
            self.blank &= c == ' ' || c == '\t' || c == '\u{feff}';
        }
    }
}

/// A blank line is read: the comments just before it close what they follow.
fn close(found: &mut [Comment]) {
    found.iter_mut().rev().take_while(|comment| comment.follows && !comment.foot).for_each(|c| c.foot = true);
}
