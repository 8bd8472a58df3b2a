//! A server that answers every request with the same bytes: what no real cluster can be made to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Fake {
    pub url: String,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What is answered.
#[derive(Clone)]
pub enum Says {
    /// These bytes, then the connection is closed.
    Bytes(String),
    /// Nothing, ever.
    Silence,
    /// The connection is closed after the request.
    Hangs,
}

impl Says {
    pub fn json(status: u16, body: &str) -> Says {
        let length = body.len();
        Says::Bytes(format!(
            "HTTP/1.1 {status} Word\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Fake {
    pub async fn new(says: Says) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, says.clone(), counted.clone()));
            }
        });
        Fake { url, requests, task }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, says: Says, requests: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    match says {
        Says::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Says::Silence => std::future::pending().await,
        Says::Hangs => {}
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}
