//! What is written out in a template, for those who look for values in it that should not be there.

use minijinja::machinery::{Token, tokenize};

use super::parse::{MAX_TEXT, WHITESPACE};

/// A template without its tags.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its text, with [`Outline::TAG`] for each `{{ }}` and nothing for statements and comments; lines stay.
    pub text: String,
    /// Texts in quotes inside tags, with their lines.
    pub quoted: Vec<(usize, String)>,
    /// Whether anything at all is put in.
    pub puts_in: bool,
}

impl Outline {
    /// What stands for an expression.
    pub const TAG: char = '\u{fffc}';
}

/// Takes a template apart; None where it is none.
pub fn outline(template: &str) -> Option<Outline> {
    if template.len() > MAX_TEXT {
        return None;
    }
    let mut found = Outline::default();
    let mut line = 1;
    for token in tokenize(template, false, Default::default(), WHITESPACE) {
        let (token, span) = token.ok()?;
        let at = usize::from(span.start_line);
        match token {
            Token::TemplateData(text) => {
                // What was cut off between tags had lines, too.
                (line..at).for_each(|_| found.text.push('\n'));
                found.text.push_str(text);
                line = at.max(line) + text.matches('\n').count();
            }
            Token::VariableStart => {
                (line..at).for_each(|_| found.text.push('\n'));
                line = at.max(line);
                found.text.push(Outline::TAG);
            }
            Token::Str(text) => found.quoted.push((at, text.to_owned())),
            Token::String(text) => found.quoted.push((at, text.into_string())),
            Token::Ident(_) => found.puts_in = true,
            _ => {}
        }
    }
    Some(found)
}
