//! What is written out in a template, for those who look for values in it that should not be there.

use minijinja::machinery::{Token, tokenize};

use super::parse::{MAX_TEXT, WHITESPACE};

/// A template without its tags.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its text, with [`Outline::TAG`] for each `{{ }}` that puts in anything but a text in quotes, and nothing for
    /// statements and comments; lines stay.
    pub text: String,
    /// Whether anything at all is put in.
    pub puts_in: bool,
}

impl Outline {
    /// What stands for what is put in.
    pub const TAG: char = '\u{fffc}';

    /// Goes on on a later line: what was cut off between tags had lines, too.
    fn forward(&mut self, line: &mut usize, to: usize) {
        (*line..to).for_each(|_| self.text.push('\n'));
        *line = to.max(*line);
    }
}

/// Takes a template apart; None where it is none.
pub fn outline(template: &str) -> Option<Outline> {
    if template.len() > MAX_TEXT {
        return None;
    }
    let mut found = Outline::default();
    let (mut line, mut quoted) = (1, None);
    let (mut begins, mut piped) = (false, false);
    for token in tokenize(template, false, Default::default(), WHITESPACE) {
        let (token, span) = token.ok()?;
        let (begun, is_filter) = (std::mem::take(&mut begins), std::mem::take(&mut piped));
        piped = matches!(token, Token::Pipe);
        match token {
            Token::TemplateData(text) => {
                found.forward(&mut line, usize::from(span.start_line));
                found.text.push_str(text);
                line += text.matches('\n').count();
            }
            Token::VariableStart => {
                found.forward(&mut line, usize::from(span.start_line));
                begins = true;
            }
            Token::Str(text) if begun => quoted = Some(text.to_owned()),
            Token::String(text) if begun => quoted = Some(text.into_string()),
            // Whatever is done to a text that is written out, it is.
            Token::VariableEnd | Token::Pipe if quoted.is_some() => {
                found.text.push_str(&quoted.take().unwrap_or_default().replace('\n', " "));
            }
            other => {
                found.puts_in |= matches!(other, Token::Ident(_)) && !is_filter;
                if begun || quoted.take().is_some() {
                    found.text.push(Outline::TAG);
                }
            }
        }
    }
    Some(found)
}
