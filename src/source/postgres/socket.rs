//! The way to the server: TCP or a unix socket, and TLS on TCP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::refusal::{network, refused};
use super::{Error, Options, tls};

/// A connection whose other side is silent is probed after this long, and this often.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const KEEPALIVE_RETRIES: u32 = 3;

/// How long bytes of ours may stay without any sign from the other side's kernel.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Either kind of way.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Who can read what we send: decides which passwords may be sent, and how.
pub(super) enum Privacy {
    /// Everybody on the way.
    Open,
    /// This machine only.
    Local,
    /// The other end of a TLS session; `tls-server-end-point` if its certificate has one.
    Tls { end_point: Option<Vec<u8>> },
}

const RESOLVE: &str = "resolve the server's name";
const CONNECT: &str = "connect to the server";
const TLS: &str = "begin TLS with the server";

/// Opens the way. Names are resolved every time, because they move at a failover (hazard 42).
pub(super) async fn open(options: &Options) -> Result<(Box<dyn Duplex>, Privacy), Error> {
    let (host, port) = (options.host.as_str(), options.port);
    if tls::is_unix(host) {
        let path = format!("{host}/.s.PGSQL.{port}");
        let socket = UnixStream::connect(&path).await.map_err(|error| unreachable(&path, &error))?;
        return Ok((Box::new(socket), Privacy::Local));
    }
    let socket = connect(host, port).await?;
    let Some(config) = tls::client_config(options)? else { return Ok((Box::new(socket), Privacy::Open)) };
    begin_tls(socket, host, config).await
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Error> {
    let retry = |operation, error: &dyn std::fmt::Display| Error::Retry {
        operation,
        reason: format!("{host}: {error}"),
    };
    let addresses = lookup_host((host, port)).await.map_err(|error| retry(RESOLVE, &error))?;
    let mut failure = retry(RESOLVE, &"no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                tune(&socket).map_err(|error| network("set up the socket", &error))?;
                return Ok(socket);
            }
            Err(error) => failure = unreachable(&address.to_string(), &error),
        }
    }
    Err(failure)
}

fn unreachable(place: &str, error: &io::Error) -> Error {
    Error::Retry { operation: CONNECT, reason: format!("{place}: {error}") }
}

/// A half-open connection keeps the slot active on the server and us waiting: the kernel finds out.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    Ok(())
}

async fn begin_tls(
    mut socket: TcpStream,
    host: &str,
    config: rustls::ClientConfig,
) -> Result<(Box<dyn Duplex>, Privacy), Error> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(|error| network(TLS, &error))?;
    // One byte and not one more: bytes sent in the open behind it must not count as said inside TLS.
    match socket.read_u8().await.map_err(|error| network(TLS, &error))? {
        b'S' => (),
        b'N' => {
            let hint = "switch ssl on at the server, or set ssl_mode to disable if nobody can listen";
            return Err(refused("source-tls", TLS, "the server offers no TLS", hint));
        }
        // An error from before authentication: not even its text can be believed.
        b'E' => return Err(Error::Retry { operation: TLS, reason: "the server refused".to_owned() }),
        _ => {
            return Err(Error::Protocol { operation: TLS, reason: "not a PostgreSQL server".to_owned() });
        }
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        refused("source-tls", TLS, "the host is no name that a certificate can hold", "set host")
    })?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| network(TLS, &error))?;
    let certificates = stream.get_ref().1.peer_certificates();
    let end_point = certificates.and_then(|all| tls::end_point(all.first()?));
    Ok((Box::new(stream), Privacy::Tls { end_point }))
}
