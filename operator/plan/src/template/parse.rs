//! Text -> syntax tree, of templates that anybody may have written: what would take the parser too deep is refused by its
//! tokens, before it is parsed.

use minijinja::machinery::{Token, WhitespaceConfig, ast, parse as parse_tree, tokenize};

use super::error::{Misplaced, Wrong, shown};

/// Longest template.
pub const MAX_TEXT: usize = 64 * 1024;
/// Tokens of one tag, operators among them, and brackets that are open at once: each takes the parser, or whoever walks the
/// tree, one step deeper.
const MAX_TOKENS: usize = 256;
const MAX_OPERATORS: usize = 48;
const MAX_BRACKETS: usize = 6;
/// Statements inside each other.
const MAX_NESTING: usize = 10;

/// Statements on lines of their own leave no line behind, and no character of a settings file is dropped at its end.
pub const WHITESPACE: WhitespaceConfig =
    WhitespaceConfig { keep_trailing_newline: true, lstrip_blocks: true, trim_blocks: true };

/// Parses.
pub fn parse(text: &str) -> Result<ast::Stmt<'_>, Misplaced> {
    if text.len() > MAX_TEXT {
        return Err(Wrong::LongText.somewhere());
    }
    check_tokens(text)?;
    parse_tree(text, "", Default::default(), WHITESPACE).map_err(|error| syntax(&error))
}

/// The engine's words about a text that it has seen no value with. They name tokens by their kind.
fn syntax(error: &minijinja::Error) -> Misplaced {
    let detail = error.detail().unwrap_or("it ends too early, or holds what is no template");
    Wrong::Syntax(shown(detail)).at(error.line().unwrap_or_default())
}

/// How deep one tag goes.
#[derive(Default)]
struct Tag {
    tokens: usize,
    operators: usize,
    brackets: usize,
    /// Its first word is a statement's.
    is_statement: bool,
}

fn check_tokens(text: &str) -> Result<(), Misplaced> {
    let mut tag = Tag::default();
    // How many steps each statement that is open takes: one, and one for each elif.
    let mut open: Vec<usize> = Vec::new();
    for token in tokenize(text, false, Default::default(), WHITESPACE) {
        let (token, span) = token.map_err(|error| syntax(&error))?;
        let line = usize::from(span.start_line);
        if let (Token::Ident(word), true) = (&token, tag.is_statement) {
            statement(word, &mut open).map_err(|wrong| wrong.at(line))?;
            tag.is_statement = false;
            continue;
        }
        match &token {
            Token::VariableStart => tag = Tag::default(),
            Token::BlockStart => tag = Tag { is_statement: true, ..Tag::default() },
            _ => tag.take(&token).map_err(|wrong| wrong.at(line))?,
        }
    }
    Ok(())
}

fn statement(word: &str, open: &mut Vec<usize>) -> Result<(), Wrong> {
    match word {
        "if" | "for" => open.push(1),
        "elif" => open.last_mut().into_iter().for_each(|steps| *steps += 1),
        "endif" | "endfor" => drop(open.pop()),
        "else" => {}
        other => return Err(Wrong::Statement(shown(other))),
    }
    if open.iter().sum::<usize>() > MAX_NESTING { Err(Wrong::Deep) } else { Ok(()) }
}

impl Tag {
    fn take(&mut self, token: &Token<'_>) -> Result<(), Wrong> {
        self.tokens += 1;
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                self.brackets += 1;
                self.operators += 1;
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.brackets = self.brackets.saturating_sub(1);
            }
            // Never closed: each nests what follows.
            Token::Ident("not" | "else") => self.brackets += 1,
            Token::Tilde | Token::Pipe | Token::Dot | Token::Eq | Token::Ne | Token::Ident("and" | "or") => {
                self.operators += 1;
            }
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod => {
                return Err(Wrong::Operation("arithmetic (texts are joined with ~)"));
            }
            Token::Gt | Token::Gte | Token::Lt | Token::Lte => {
                return Err(Wrong::Operation("comparing by order"));
            }
            Token::Assign => return Err(Wrong::Operation("an assignment")),
            Token::Ident("is") => return Err(Wrong::Operation("a test (is)")),
            _ => {}
        }
        let deep = self.tokens > MAX_TOKENS || self.operators > MAX_OPERATORS || self.brackets > MAX_BRACKETS;
        if deep { Err(Wrong::Deep) } else { Ok(()) }
    }
}
