//! Wires between the daemon and its servers that listen in on what the daemon says: nothing may be confirmed
//! that the journal does not hold, no version may go back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::daemon::parse_lsn;
use super::journal::JournalEnd;
pub use super::wire::Proxy;

/// What was heard on all connections of a proxy. Nothing in `wrong` is what must be.
#[derive(Debug, Default)]
pub struct Heard {
    /// Status updates, or document actions.
    pub count: u64,
    pub wrong: Vec<String>,
    /// The highest version sent, by index and document id.
    pub versions: HashMap<(String, String), u64>,
    /// Actions sent again with the version that they had.
    pub repeated: u64,
}

/// Before PostgreSQL: no status update may confirm what the journal's files do not hold (G4).
pub fn confirmations(server_port: u16, journal: PathBuf) -> (Proxy, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let journal = Arc::new(Mutex::new(JournalEnd::new(journal)));
    let all = Arc::clone(&heard);
    let proxy = Proxy::start(server_port, move || {
        let (heard, journal) = (Arc::clone(&heard), Arc::clone(&journal));
        let (mut bytes, mut started) = (Vec::new(), false);
        Box::new(move |more| {
            bytes.extend_from_slice(more);
            // The first message has no type byte (protocol, "Message Formats": StartupMessage).
            while let Some(length) = bytes
                .get(usize::from(started)..usize::from(started) + 4)
                .map(|length| u32::from_be_bytes(length.try_into().expect("four bytes")) as usize)
            {
                let end = usize::from(started) + length;
                if bytes.len() < end {
                    break;
                }
                let message: Vec<u8> = bytes.drain(..end).collect();
                // CopyData with a standby status update: written, flushed, applied.
                if started && message.len() >= 30 && message[0] == b'd' && message[5] == b'r' {
                    let flushed = u64::from_be_bytes(message[14..22].try_into().expect("eight bytes"));
                    let held = journal.lock().expect("no panic").position();
                    let mut heard = heard.lock().expect("no panic");
                    heard.count += 1;
                    if flushed > held {
                        heard.wrong.push(format!("confirmed {flushed:X}, the journal holds {held:X}"));
                    }
                }
                started = true;
            }
        })
    });
    (proxy, all)
}

/// Before Elasticsearch: no document may be sent with a version below one that was sent before (G3). The
/// daemon must not compress: `sink_extra` of `"  compress: false\n"`.
pub fn versions(server_port: u16) -> (Proxy, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let all = Arc::clone(&heard);
    let proxy = Proxy::start(server_port, move || {
        let heard = Arc::clone(&heard);
        let mut bytes = Vec::new();
        Box::new(move |more| {
            bytes.extend_from_slice(more);
            while let Some((head_end, length)) = request(&bytes) {
                if bytes.len() < head_end + length {
                    break;
                }
                if bytes.windows(6).take(200).any(|word| word == b"/_bulk") {
                    bulk(&bytes[head_end..head_end + length], &mut heard.lock().expect("no panic"));
                }
                bytes.drain(..head_end + length);
            }
        })
    });
    (proxy, all)
}

/// Where the head ends, and how long the body is.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    assert!(!head.contains("content-encoding: gzip"), "the daemon must not compress here");
    assert!(!head.contains("transfer-encoding: chunked"), "chunked requests are not understood here");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some((end, length.map_or(0, |length| length.trim().parse().expect("a length"))))
}

fn bulk(body: &[u8], heard: &mut Heard) {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let action: serde_json::Value = serde_json::from_slice(line).expect("an action");
        let (verb, about) = action.as_object().and_then(|one| one.iter().next()).expect("one action");
        if verb != "delete" {
            lines.next();
        }
        let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        let version = about["version"].as_u64().expect("an external version");
        heard.count += 1;
        let known = heard.versions.entry((text("_index"), text("_id"))).or_insert(0);
        if version < *known {
            heard.wrong.push(format!("{} at {version} after {known}", text("_id")));
        }
        heard.repeated += u64::from(version == *known);
        *known = version.max(*known);
    }
}

/// The port of `http://host:port`.
pub fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// As SQL shows it.
pub fn lsn(text: &str) -> u64 {
    parse_lsn(text)
}
