//! Tests of the control socket over real sockets.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::shutdown;

struct Echo;

impl Handler for Echo {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            match request {
                Request::Status => Answer::Status(Box::default()),
                other => Answer::Accepted { message: format!("{other:?}"), entry: Some(EntryNo(7)) },
            }
        })
    }
}

fn start(path: PathBuf) -> (shutdown::Stopper, tokio::task::JoinHandle<()>) {
    let (stopper, stop) = shutdown::channel();
    let listener = Listener::bind(&path).unwrap();
    (stopper, tokio::spawn(listener.serve(Arc::new(Echo), stop)))
}

#[tokio::test]
async fn a_request_is_answered_and_the_socket_goes_away_with_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET_NAME);
    assert!(matches!(client::ask(&path, &Request::Status).await, Err(client::Error::NoDaemon)));
    let (stopper, served) = start(path.clone());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(client::ask(&path, &Request::Status).await.unwrap(), Answer::Status(Box::default()));
    let request = Request::Replay { target: Target::Documents { ids: vec!["1".into()], projection: None } };
    let answer = client::ask(&path, &request).await.unwrap();
    assert_eq!(answer, Answer::Accepted { message: format!("{request:?}"), entry: Some(EntryNo(7)) });
    stopper.stop();
    served.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET_NAME);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_stopper, _served) = start(path.clone());
    assert!(client::ask(&path, &Request::Status).await.is_ok());
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_and_too_much_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET_NAME);
    let (_stopper, _served) = start(path.clone());
    let ask = move |bytes: Vec<u8>| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            // The daemon may hang up before it has read everything.
            let _ = stream.write_all(&bytes);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    };
    for (line, code) in [
        ("{}\n", "bad-request"),
        ("status\n", "bad-request"),
        ("{\"do\":\"format_disk\"}\n", "bad-request"),
        ("{\"do\":\"backfill\",\"projections\":\"all\",\"force\":1}\n", "bad-request"),
    ] {
        let answer = ask(line.as_bytes().to_vec()).await.unwrap();
        assert!(answer.contains(code), "{line}: {answer}");
    }
    let answer = ask(vec![b' '; REQUEST_BYTES_MAX as usize + 2]).await.unwrap();
    assert!(answer.is_empty() || answer.contains("request-too-large"), "{answer}");
}
