//! JSON as a value to compare: object keys in any order, numbers as decimals, never as floats.
//!
//! A float would call 0.1 + 0.2 and 0.3 different, and two neighbouring 19-digit integers equal.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// Canonical: see [`canonical`].
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Parses one JSON text. A key that comes twice in an object is an error: one of the two would be unseen.
pub fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    reader.blanks();
    if reader.at == text.len() {
        Ok(value)
    } else {
        Err(format!("more than one value at byte {}", reader.at))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Json, String> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => {
                let word = self.word();
                canonical(word).map(Json::Number).ok_or_else(|| format!("not a number: {word}"))
            }
            _ => match self.word() {
                "null" => Ok(Json::Null),
                "true" => Ok(Json::Bool(true)),
                "false" => Ok(Json::Bool(false)),
                other => Err(format!("not JSON: {other:?}")),
            },
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        let mut fields = BTreeMap::new();
        self.at += 1;
        self.blanks();
        if self.skip(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            if !self.skip(b':') {
                return Err(format!("no colon at byte {}", self.at));
            }
            let value = self.value()?;
            if fields.insert(key.clone(), value).is_some() {
                return Err(format!("the key {key:?} comes twice"));
            }
            self.blanks();
            if self.skip(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.skip(b',') {
                return Err(format!("no comma at byte {}", self.at));
            }
        }
    }

    fn array(&mut self) -> Result<Json, String> {
        let mut items = Vec::new();
        self.at += 1;
        self.blanks();
        if self.skip(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            if self.skip(b']') {
                return Ok(Json::Array(items));
            }
            if !self.skip(b',') {
                return Err(format!("no comma at byte {}", self.at));
            }
        }
    }

    /// Finds the closing quote here and leaves the escapes to serde.
    fn string(&mut self) -> Result<String, String> {
        let bytes = self.text.as_bytes();
        let begin = self.at;
        if !self.skip(b'"') {
            return Err(format!("no string at byte {}", self.at));
        }
        let mut escaped = false;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => {
                    let plain = &self.text[begin + 1..self.at - 1];
                    if !escaped && !plain.bytes().any(|byte| byte < b' ') {
                        return Ok(plain.to_owned());
                    }
                    return serde_json::from_str(&self.text[begin..self.at])
                        .map_err(|error| error.to_string());
                }
                b'\\' if self.at < bytes.len() => {
                    escaped = true;
                    self.at += 1;
                }
                _ => {}
            }
        }
        Err("a string has no end".to_owned())
    }

    fn word(&mut self) -> &str {
        let begin = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
        &self.text[begin..self.at]
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// One spelling per decimal value: `digitsEexponent` without zeros at either end, `0` for zero.
fn canonical(number: &str) -> Option<String> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some("0".to_owned());
    }
    let exponent = exponent - fraction.len() as i64 + (digits.len() - trimmed.len()) as i64;
    Some(format!("{sign}{}E{exponent}", trimmed.trim_start_matches('0')))
}
