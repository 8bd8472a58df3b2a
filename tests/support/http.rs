//! The smallest HTTP client that tests need: one request per connection, over the loopback, blocking.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Limit of one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The body, if the status says that all is well.
    pub fn ok(self) -> Answer {
        assert!((200..300).contains(&self.status), "HTTP {}: {}", self.status, self.body);
        self
    }
}

/// `url` is `http://host:port/path?query`, with `user:password@` where they are asked for. The error is text: nobody answered, or not in HTTP.
pub fn request(method: &str, url: &str, body: Option<(&str, &str)>) -> Result<Answer, String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// here")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let (user, host) = host.split_once('@').map_or((None, host), |(user, host)| (Some(user), host));
    let address: std::net::SocketAddr = host.parse().map_err(|_| format!("{host} is not address:port"))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if let Some(user) = user {
        head += &format!("Authorization: Basic {}\r\n", base64(user.as_bytes()));
    }
    if let Some((kind, body)) = body {
        head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.map_or("", |(_, body)| body).as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    parse(&exchange().map_err(|error| format!("{method} {url}: {error}"))?)
        .ok_or_else(|| format!("{method} {url}: not an HTTP answer"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = number >> (18 - 6 * digit) & 63;
            text.push(if digit > three.len() { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    text
}

pub fn get(url: &str) -> Result<Answer, String> {
    request("GET", url, None)
}

pub fn post_json(url: &str, body: &str) -> Result<Answer, String> {
    request("POST", url, Some(("application/json", body)))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let lower = head.to_ascii_lowercase();
    let body = &answer[end + 4..];
    let body =
        if lower.contains("\r\ntransfer-encoding: chunked") { join_chunks(body)? } else { body.to_vec() };
    if let Some(length) = lower.lines().find_map(|line| line.strip_prefix("content-length:")) {
        let length: usize = length.trim().parse().ok()?;
        // An answer cut off by a kill is no answer.
        if body.len() < length {
            return None;
        }
    }
    Some(Answer { status, body: String::from_utf8(body).ok()? })
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
