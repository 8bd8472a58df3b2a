//! As much of HTTP/1.1 as a loader on the loopback needs: one connection kept open.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Outcome;

pub struct Http {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Http {
    pub async fn connect(url: &str) -> Outcome<Http> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Http { stream: BufReader::with_capacity(1 << 16, stream), host })
    }

    /// Status and body of the answer.
    pub async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Outcome<(u16, Vec<u8>)> {
        let kind = if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).ok_or("no status")?.parse()?;
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let header = line.trim().to_ascii_lowercase();
            match header.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.stream.read_line(&mut line).await?;
                let length = usize::from_str_radix(line.trim(), 16)?;
                let start = answer.len();
                answer.resize(start + length, 0);
                self.stream.read_exact(&mut answer[start..]).await?;
                line.clear();
                self.stream.read_line(&mut line).await?;
                if length == 0 {
                    break;
                }
            }
        } else {
            answer.resize(length, 0);
            self.stream.read_exact(&mut answer).await?;
        }
        Ok((status, answer))
    }
}
