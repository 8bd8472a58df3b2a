//! Words and grammar of conditions.

use super::{Mistake, Operator};

/// Parentheses and NOTs inside one another.
const DEPTH_MAX: usize = 64;
/// Bytes of one condition.
const LENGTH_MAX: usize = 16 * 1024;

/// A condition as it was written; the number is the byte at which it begins.
#[derive(Debug)]
pub enum Expression {
    /// A column or a literal by itself.
    Value(Value),
    Compare(Value, Operator, Value),
    In(Value, Vec<Value>),
    Null(Value),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Clone, Debug)]
pub struct Value {
    pub offset: usize,
    pub word: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    Name(String),
    Text(String),
    Number(String),
    True,
    False,
    Null,
    Operator(Operator),
    Keyword(&'static str),
    Open,
    Close,
    Comma,
    End,
}

pub fn parse(text: &str) -> Result<Expression, Mistake> {
    if text.len() > LENGTH_MAX {
        return Err(syntax(0, format!("a condition has at most {LENGTH_MAX} bytes"), ""));
    }
    let mut parser = Parser { words: words(text)?, next: 0 };
    let expression = parser.or(0)?;
    match parser.peek() {
        Word::End => Ok(expression),
        _ => Err(parser.unexpected("AND, OR or the end")),
    }
}

fn syntax(offset: usize, message: impl Into<String>, hint: &str) -> Mistake {
    Mistake::new(offset, "where-syntax", message, hint)
}

const KEYWORDS: [&str; 6] = ["AND", "OR", "NOT", "IN", "IS", "BETWEEN"];

fn words(text: &str) -> Result<Vec<Value>, Mistake> {
    let mut words = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let offset = at;
        let two = bytes.get(at + 1);
        let (word, length) = match char {
            char if char.is_whitespace() => {
                at += char.len_utf8();
                continue;
            }
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            ',' => (Word::Comma, 1),
            '=' => (Word::Operator(Operator::Equal), 1),
            '!' if two == Some(&b'=') => (Word::Operator(Operator::NotEqual), 2),
            '<' if two == Some(&b'>') => (Word::Operator(Operator::NotEqual), 2),
            '<' if two == Some(&b'=') => (Word::Operator(Operator::LessOrEqual), 2),
            '>' if two == Some(&b'=') => (Word::Operator(Operator::GreaterOrEqual), 2),
            '<' => (Word::Operator(Operator::Less), 1),
            '>' => (Word::Operator(Operator::Greater), 1),
            '\'' | '"' => {
                let (inside, length) =
                    quoted(&text[at..], char).ok_or_else(|| syntax(offset, "a quote is not closed", ""))?;
                (if char == '\'' { Word::Text(inside) } else { Word::Name(inside) }, length)
            }
            '0'..='9' | '-' | '+' | '.' => {
                let rest = &text[at + 1..];
                let end = rest.find(|char: char| !matches!(char, '0'..='9' | '.')).unwrap_or(rest.len());
                (Word::Number(number(&text[at..=at + end], offset)?), end + 1)
            }
            char if char.is_alphabetic() || char == '_' => {
                let rest = &text[at..];
                let end = rest.find(|char: char| !(char.is_alphanumeric() || matches!(char, '_' | '$')));
                let name = &rest[..end.unwrap_or(rest.len())];
                (word(name), name.len())
            }
            other => return Err(syntax(offset, format!("`{other}` has no meaning here"), "")),
        };
        words.push(Value { offset, word });
        at += length;
    }
    words.push(Value { offset: text.len(), word: Word::End });
    Ok(words)
}

fn word(name: &str) -> Word {
    let upper = name.to_uppercase();
    match upper.as_str() {
        "TRUE" => Word::True,
        "FALSE" => Word::False,
        "NULL" => Word::Null,
        _ => match KEYWORDS.iter().find(|keyword| **keyword == upper) {
            Some(keyword) => Word::Keyword(keyword),
            // As in SQL: without quotes, letter case does not count.
            None => Word::Name(name.to_lowercase()),
        },
    }
}

/// A quoted text from its first quote on: its inside, and its length with the quotes. Two quotes are one.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        if char != quote {
            inside.push(char);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return Some((inside, at + 1));
        }
    }
    None
}

fn number(text: &str, offset: usize) -> Result<String, Mistake> {
    let digits = text.trim_start_matches(['-', '+']);
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(integer) || !plain(fraction) || (integer.is_empty() && fraction.is_empty()) || digits.is_empty()
    {
        return Err(syntax(offset, format!("`{text}` is no number"), "write decimals such as -12.5"));
    }
    Ok(text.trim_start_matches('+').to_owned())
}

struct Parser {
    words: Vec<Value>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Word {
        self.words.get(self.next).map_or(&Word::End, |value| &value.word)
    }

    fn take(&mut self, word: &Word) -> bool {
        let found = self.peek() == word;
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let offset = self.words.get(self.next).map_or(0, |value| value.offset);
        match self.peek() {
            Word::End => syntax(offset, format!("the condition ends where {expected} should follow"), ""),
            Word::Keyword("BETWEEN") => syntax(offset, "BETWEEN is not known", "write `a >= 1 AND a <= 2`"),
            _ => syntax(offset, format!("{expected} should stand here"), ""),
        }
    }

    fn or(&mut self, depth: usize) -> Result<Expression, Mistake> {
        let mut parts = vec![self.and(depth)?];
        while self.take(&Word::Keyword("OR")) {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Expression, Mistake> {
        let mut parts = vec![self.not(depth)?];
        while self.take(&Word::Keyword("AND")) {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Expression, Mistake> {
        if depth > DEPTH_MAX {
            let message = format!("a condition is nested deeper than {DEPTH_MAX} levels");
            return Err(syntax(self.words.get(self.next).map_or(0, |value| value.offset), message, ""));
        }
        if self.take(&Word::Keyword("NOT")) {
            return Ok(Expression::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take(&Word::Open) {
            let inside = self.or(depth + 1)?;
            return if self.take(&Word::Close) { Ok(inside) } else { Err(self.unexpected("`)`")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, Mistake> {
        let left = self.value()?;
        if let Word::Operator(operator) = *self.peek() {
            self.next += 1;
            let right = self.value()?;
            return Ok(Expression::Compare(left, operator, right));
        }
        if self.take(&Word::Keyword("IS")) {
            let negated = self.take(&Word::Keyword("NOT"));
            if !self.take(&Word::Null) {
                return Err(self.unexpected("NULL"));
            }
            return Ok(negate(Expression::Null(left), negated));
        }
        let negated = self.take(&Word::Keyword("NOT"));
        if self.take(&Word::Keyword("IN")) {
            return Ok(negate(Expression::In(left, self.list()?), negated));
        }
        if negated { Err(self.unexpected("IN")) } else { Ok(Expression::Value(left)) }
    }

    fn list(&mut self) -> Result<Vec<Value>, Mistake> {
        if !self.take(&Word::Open) {
            return Err(self.unexpected("`(`"));
        }
        let mut values = vec![self.value()?];
        while self.take(&Word::Comma) {
            values.push(self.value()?);
        }
        if self.take(&Word::Close) { Ok(values) } else { Err(self.unexpected("`,` or `)`")) }
    }

    fn value(&mut self) -> Result<Value, Mistake> {
        match self.peek() {
            Word::Name(_) | Word::Text(_) | Word::Number(_) | Word::True | Word::False | Word::Null => {
                let value = self.words[self.next].clone();
                self.next += 1;
                Ok(value)
            }
            _ => Err(self.unexpected("a column or a value")),
        }
    }
}

fn negate(expression: Expression, negated: bool) -> Expression {
    if negated { Expression::Not(Box::new(expression)) } else { expression }
}
