//! Who watches the daemon from outside: systemd over its socket, machines over HTTP. No server is needed: a daemon
//! whose database does not answer yet is watched like any other.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use projectord::http::{CONNECTIONS_MAX, HEAD_TIMEOUT};
use rustix::process::Signal;
use support::process::Process;
use support::{daemon, http};

/// Limit of anything that should take a moment, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How often systemd wants to hear of it.
const WATCHDOG: Duration = Duration::from_millis(400);

struct Watched {
    folder: tempfile::TempDir,
    port: u16,
    socket: UnixDatagram,
    process: Process,
}

impl Watched {
    fn start() -> Watched {
        let folder = support::private_folder("watched");
        fs::write(
            folder.path().join("orders.yaml"),
            "projection: orders\nroot: orders\nindex: orders\nfields: [id]\n",
        )
        .expect("a projection");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let (port, nobody) = (support::free_port(), support::free_port());
        let config = format!(
            "source: {{host: 127.0.0.1, port: {nobody}, database: shop, user: app}}\n\
             sink: {{kind: ndjson, path: documents.ndjson}}\n\
             data: data\nprojections: [orders.yaml]\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n"
        );
        let file = folder.path().join("projectord.yaml");
        fs::write(&file, config).expect("a configuration");
        let mut command = Command::new(daemon::binary());
        command.args(["run", "--config"]).arg(&file);
        command.env("NOTIFY_SOCKET", folder.path().join("notify"));
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()).env_remove("WATCHDOG_PID");
        // One thread for all: whatever blocks it, such as a socket that systemd does not read, is noticed.
        command.env("TOKIO_WORKER_THREADS", "1");
        let process = Process::spawn(&mut command, &folder.path().join("log"));
        Watched { folder, port, socket, process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The next word to systemd.
    fn hears(&self) -> String {
        let mut datagram = [0; 4096];
        let length =
            self.socket.recv(&mut datagram).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        String::from_utf8_lossy(&datagram[..length]).trim_end().to_owned()
    }

    /// The next one that is no sign of life.
    fn hears_news(&self) -> String {
        loop {
            let word = self.hears();
            if word != "WATCHDOG=1" {
                return word;
            }
        }
    }
}

#[test]
fn systemd_hears_of_readiness_of_life_and_of_the_end() {
    let mut watched = Watched::start();
    assert_eq!(watched.hears(), "READY=1");
    // What is ready can be asked.
    let status = http::get(&format!("http://127.0.0.1:{}/healthz", watched.port)).expect("an answer");
    assert_eq!(status.status, 200);
    let begin = Instant::now();
    for _ in 0..5 {
        assert_eq!(watched.hears(), "WATCHDOG=1");
    }
    let took = begin.elapsed();
    assert!(took > WATCHDOG && took < LIMIT, "five signs of life in {took:?}");
    watched.process.signal(Signal::TERM);
    assert_eq!(watched.hears_news(), "STOPPING=1");
    let ended = support::wait_for("it ends", LIMIT, || watched.process.ended().ok_or_else(|| watched.log()));
    assert_eq!(ended.code(), Some(0), "{}", watched.log());
}

/// Nobody reads what systemd is told meanwhile, so that its socket is full long before the end.
#[test]
fn a_caller_that_does_not_send_its_head_is_let_go_and_others_are_answered() {
    let watched = Watched::start();
    assert_eq!(watched.hears(), "READY=1");
    let address = ("127.0.0.1", watched.port);
    let half = |said: &[u8]| {
        let mut caller = TcpStream::connect(address).expect("a connection");
        caller.write_all(said).expect("room in the socket");
        caller.set_read_timeout(Some(LIMIT)).expect("a limit");
        caller
    };
    let begin = Instant::now();
    let mut callers = vec![half(b""), half(b"GET /status HTTP/1.1\r\nHost: localh")];
    let asked = http::get(&format!("http://127.0.0.1:{}/healthz", watched.port)).expect("an answer");
    assert_eq!(asked.status, 200);
    for caller in &mut callers {
        let mut answer = String::new();
        // A reset says as well as an end that the connection is gone.
        let _ = caller.read_to_string(&mut answer);
        assert!(!answer.contains("200 OK"), "{answer}");
        let took = begin.elapsed();
        assert!(took > HEAD_TIMEOUT / 2 && took < LIMIT, "let go after {took:?}");
    }
    println!("both were let go after {:?}", begin.elapsed());
    // As many as may be there at once stay silent: the next one is turned away, and heard again once they are gone.
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| half(b"")).collect();
    let url = format!("http://127.0.0.1:{}/healthz", watched.port);
    assert!(http::get(&url).is_err(), "a further connection is closed");
    support::wait_for("there is room again", LIMIT, || http::get(&url).map(|_| ()));
    assert_eq!(silent.len(), CONNECTIONS_MAX);
}
