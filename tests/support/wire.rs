//! A wire between the daemon and a server, with weather of its own: bytes come late, one by one, or not at all;
//! connections are cut, reset, or lose an answer half-way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Hears the bytes of one connection, from the daemon to the server, before they go on.
pub type Listener = Box<dyn FnMut(&[u8]) + Send>;

/// How often a thread that holds bytes back looks whether it still has to.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Between two bytes of [`Weather::Trickle`].
const TRICKLE: Duration = Duration::from_secs(1);

/// What happens to bytes, from now on, on all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Weather {
    #[default]
    Clear,
    /// Connections stay open, and nothing passes in either direction: half-open, as behind a dead router.
    Silent,
    /// What the daemon says passes; what the server answers waits.
    AnswersHeld,
    /// Everything that was read at once comes this much later, both ways.
    Late(Duration),
    /// One byte per second, both ways.
    Trickle,
    /// New connections are hung up on; those that are open stay.
    Closed,
}

/// Forwards until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server_port: AtomicU16,
    weather: Mutex<Weather>,
    ended: AtomicBool,
    /// Bytes of answers that still pass before their connection is cut; negative: no such plan.
    answer_bytes: AtomicI64,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    daemon: TcpStream,
    server: TcpStream,
    over: AtomicBool,
    /// Ends without a goodbye.
    reset: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    There,
    Back,
}

impl Proxy {
    pub fn start(server_port: u16, listener: impl Fn() -> Listener + Send + 'static) -> Proxy {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            server_port: AtomicU16::new(server_port),
            weather: Mutex::default(),
            ended: AtomicBool::new(false),
            answer_bytes: AtomicI64::new(-1),
            connections: Mutex::default(),
        });
        let proxy = Proxy { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for daemon in socket.incoming() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(daemon) = daemon else { continue };
                if shared.weather() == Weather::Closed {
                    continue;
                }
                let server_port = shared.server_port.load(Ordering::Relaxed);
                // Nobody listens there: the daemon is hung up on, as by the server's machine.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let _ = (daemon.set_nodelay(true), server.set_nodelay(true));
                let connection = Arc::new(Connection {
                    daemon,
                    server,
                    over: AtomicBool::new(false),
                    reset: AtomicBool::new(false),
                });
                let mut all = shared.connections();
                all.retain(|connection| !connection.over.load(Ordering::Relaxed));
                all.push(Arc::clone(&connection));
                drop(all);
                forward(&shared, &connection, Way::There, listener());
                forward(&shared, &connection, Way::Back, Box::new(|_| ()));
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections lead to another port from now on.
    pub fn aim(&self, server_port: u16) {
        self.shared.server_port.store(server_port, Ordering::Relaxed);
    }

    /// With [`Weather::Clear`] no answer is to be lost any more, either.
    pub fn set(&self, weather: Weather) {
        if weather == Weather::Clear {
            self.shared.answer_bytes.store(-1, Ordering::Relaxed);
        }
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// Connections stay open, and nothing passes.
    pub fn fall_silent(&self) {
        self.set(Weather::Silent);
    }

    pub fn speak_again(&self) {
        self.set(Weather::Clear);
    }

    /// Ends all connections with a goodbye on both sides. How many there were.
    pub fn cut(&self) -> usize {
        self.end_all(false)
    }

    /// Ends all connections by a reset (RST) on both sides. How many there were.
    pub fn reset(&self) -> usize {
        self.end_all(true)
    }

    /// So many bytes of the answers that come next still pass, then their connection is cut.
    pub fn lose_answer_after(&self, bytes: u32) {
        self.shared.answer_bytes.store(i64::from(bytes), Ordering::Relaxed);
    }

    fn end_all(&self, reset: bool) -> usize {
        let all = std::mem::take(&mut *self.shared.connections());
        let open = all.iter().filter(|one| !one.over.load(Ordering::Relaxed));
        open.map(|connection| connection.end(reset)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the thread that accepts
    }
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds bytes back for as long as the weather wants it.
    fn wait(&self, connection: &Connection, way: Way) {
        let begin = Instant::now();
        loop {
            let held = match self.weather() {
                Weather::Silent => true,
                Weather::AnswersHeld => way == Way::Back,
                Weather::Late(late) => begin.elapsed() < late,
                Weather::Clear | Weather::Trickle | Weather::Closed => false,
            };
            if !held || connection.over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// How many of these bytes pass before the connection is cut, if it is to be cut.
    fn cut_within(&self, way: Way, count: usize) -> Option<usize> {
        let left = self.answer_bytes.load(Ordering::Relaxed);
        if way == Way::There || left < 0 {
            return None;
        }
        let passing = (left as usize).min(count);
        let cut = passing < count || left == 0;
        self.answer_bytes.store(if cut { -1 } else { left - passing as i64 }, Ordering::Relaxed);
        cut.then_some(passing)
    }
}

impl Connection {
    fn end(&self, reset: bool) {
        self.over.store(true, Ordering::Relaxed);
        if reset {
            self.reset.store(true, Ordering::Relaxed);
            // With this the last close sends a reset; reading ends without telling the other side.
            for socket in [&self.daemon, &self.server] {
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Read);
            }
        } else {
            let _ = (self.daemon.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
        }
    }
}

fn forward(shared: &Arc<Shared>, connection: &Arc<Connection>, way: Way, mut listener: Listener) {
    let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
    std::thread::spawn(move || {
        let (mut from, mut to) = match way {
            Way::There => (&connection.daemon, &connection.server),
            Way::Back => (&connection.server, &connection.daemon),
        };
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            shared.wait(&connection, way);
            if connection.over.load(Ordering::Relaxed) {
                break;
            }
            let bytes = &buffer[..count];
            listener(bytes);
            if let Some(passing) = shared.cut_within(way, count) {
                let _ = to.write_all(&bytes[..passing]);
                break;
            }
            if pass(&shared, &connection, &mut to, bytes).is_err() {
                break;
            }
        }
        connection.over.store(true, Ordering::Relaxed);
        if !connection.reset.load(Ordering::Relaxed) {
            connection.end(false);
        }
        shared.connections().retain(|known| !Arc::ptr_eq(known, &connection));
    });
}

fn pass(shared: &Shared, connection: &Connection, to: &mut &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut passed = 0;
    while shared.weather() == Weather::Trickle && passed < bytes.len() {
        to.write_all(&bytes[passed..=passed])?;
        passed += 1;
        let begin = Instant::now();
        while shared.weather() == Weather::Trickle && begin.elapsed() < TRICKLE {
            if connection.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    to.write_all(&bytes[passed..])
}
