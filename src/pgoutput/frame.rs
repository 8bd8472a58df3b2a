//! Frames of the streaming replication protocol (PostgreSQL docs, "Streaming Replication Protocol",
//! START_REPLICATION): the payloads of CopyData messages.

use bytes::{Buf, Bytes, BytesMut};

use crate::model::Lsn;

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// XLogData: one pgoutput message.
    Data { wal_start: Lsn, wal_end: Lsn, payload: Bytes },
    /// Primary keepalive message.
    Keepalive { wal_end: Lsn, reply_requested: bool },
}

/// Neither of the two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a replication frame of {bytes} bytes cannot be read")]
pub struct InvalidFrame {
    pub bytes: usize,
}

/// Reads the payload of a CopyData message, without copying the message inside.
pub fn parse(mut payload: Bytes) -> Result<Frame, InvalidFrame> {
    let invalid = InvalidFrame { bytes: payload.len() };
    match payload.first() {
        Some(b'w') if payload.len() >= 25 => {
            payload.advance(1);
            let wal_start = Lsn(payload.get_u64());
            let wal_end = Lsn(payload.get_u64());
            payload.advance(8); // the server's clock: not believed
            Ok(Frame::Data { wal_start, wal_end, payload })
        }
        Some(b'k') if payload.len() >= 18 => {
            payload.advance(1);
            let wal_end = Lsn(payload.get_u64());
            payload.advance(8);
            Ok(Frame::Keepalive { wal_end, reply_requested: payload.get_u8() != 0 })
        }
        _ => Err(invalid),
    }
}

/// Standby status update: everything up to `confirmed` is durable here. `time_us` is microseconds since
/// 2000-01-01 UTC; the server only shows it.
pub fn status(confirmed: Lsn, time_us: i64, reply_requested: bool, out: &mut BytesMut) {
    use bytes::BufMut;
    out.put_u8(b'r');
    for _ in ["written", "flushed", "applied"] {
        out.put_u64(confirmed.0);
    }
    out.put_i64(time_us);
    out.put_u8(u8::from(reply_requested));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_short_ones_refused() {
        let mut data = vec![b'w'];
        data.extend_from_slice(&7u64.to_be_bytes());
        data.extend_from_slice(&9u64.to_be_bytes());
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(b"payload");
        let expected =
            Frame::Data { wal_start: Lsn(7), wal_end: Lsn(9), payload: Bytes::from_static(b"payload") };
        assert_eq!(parse(data.clone().into()), Ok(expected));
        for end in 0..25 {
            assert!(parse(data[..end].to_vec().into()).is_err(), "{end}");
        }
        let mut keepalive = vec![b'k'];
        keepalive.extend_from_slice(&9u64.to_be_bytes());
        keepalive.extend_from_slice(&[0; 8]);
        keepalive.push(1);
        assert_eq!(parse(keepalive.into()), Ok(Frame::Keepalive { wal_end: Lsn(9), reply_requested: true }));
    }
}
