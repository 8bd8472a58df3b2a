//! The outer layer of the stream: XLogData and keepalives.

use projectord::model::Lsn;
use projectord::pgoutput::{Frame, frame};

pub const WORDS: &[&[u8]] = &[b"w", b"k", b"r"];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut data = vec![b'w'];
    data.extend(7u64.to_be_bytes());
    data.extend(9u64.to_be_bytes());
    data.extend((-5i64).to_be_bytes());
    data.extend(b"payload");
    let mut keepalive = vec![b'k'];
    keepalive.extend(3u64.to_be_bytes());
    keepalive.extend(4i64.to_be_bytes());
    keepalive.push(1);
    vec![data, keepalive, frame::status(Lsn(1 << 40), 77).to_vec()]
}

/// What was read, written again, is what was read.
pub fn run(bytes: &[u8]) {
    let Ok(frame) = Frame::parse(bytes) else { return };
    let mut again = Vec::new();
    match frame {
        Frame::XLogData { wal_start, wal_end, time_us, payload } => {
            again.push(b'w');
            again.extend(wal_start.0.to_be_bytes());
            again.extend(wal_end.0.to_be_bytes());
            again.extend(time_us.to_be_bytes());
            assert_eq!(again.len(), frame::XLOG_DATA_HEADER_BYTES);
            again.extend(payload);
            assert_eq!(again, bytes);
        }
        Frame::Keepalive { wal_end, time_us, reply_requested } => {
            again.push(b'k');
            again.extend(wal_end.0.to_be_bytes());
            again.extend(time_us.to_be_bytes());
            assert_eq!(again, bytes[..17]);
            assert_eq!((bytes.len(), bytes[17] != 0), (18, reply_requested));
        }
    }
    let shown = format!("{frame:?}");
    assert!(shown.len() < 100, "a payload has no place in a log: {shown}");
}
