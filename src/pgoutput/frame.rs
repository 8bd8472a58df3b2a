//! The outer layer of the stream: what one CopyData message of the replication connection holds
//! (PostgreSQL docs, "Streaming Replication Protocol"), and the one thing that we say back.

use std::fmt;

use super::cursor::Cursor;
use super::error::Error;
use crate::model::Lsn;

/// Bytes of an XLogData frame before its payload: so a reader that owns the frame can slice it off.
pub const XLOG_DATA_HEADER_BYTES: usize = 25;

/// Bytes of a Standby Status Update.
pub const STATUS_BYTES: usize = 34;

/// What the server sends. Times are its clock: microseconds since 2000-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `w`: one pgoutput message.
    XLogData { wal_start: Lsn, wal_end: Lsn, time_us: i64, payload: &'a [u8] },
    /// `k`: the server's position; it cuts off who does not answer a request in time (hazard 21).
    Keepalive { wal_end: Lsn, time_us: i64, reply_requested: bool },
}

/// Without the payload: values are nobody's business in a log.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::XLogData { wal_end, payload, .. } => {
                write!(f, "XLogData({} bytes at {wal_end})", payload.len())
            }
            Frame::Keepalive { wal_end, reply_requested, .. } => {
                write!(f, "Keepalive(at {wal_end}, reply requested: {reply_requested})")
            }
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads the payload of one CopyData message.
    ///
    /// # Errors
    /// Another kind than `w` and `k`, a frame cut short, a keepalive with bytes behind it.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, Error> {
        let (kind, body) = bytes.split_first().ok_or(Error::Empty)?;
        match kind {
            b'w' => {
                let mut cursor = Cursor::new("XLogData", body);
                Ok(Frame::XLogData {
                    wal_start: cursor.lsn()?,
                    wal_end: cursor.lsn()?,
                    time_us: cursor.i64()?,
                    payload: cursor.rest(),
                })
            }
            b'k' => {
                let mut cursor = Cursor::new("keepalive", body);
                let frame = Frame::Keepalive {
                    wal_end: cursor.lsn()?,
                    time_us: cursor.i64()?,
                    reply_requested: cursor.u8()? != 0,
                };
                cursor.end()?;
                Ok(frame)
            }
            other => Err(Error::UnknownKind(*other)),
        }
    }
}

/// A Standby Status Update (`r`), the payload of a CopyData message. Written, flushed and applied are the
/// same position: the server moves the slot by "flushed", and waits by one of the three if it was told to
/// (rule 1). It is never asked for an answer.
pub fn status(confirmed: Lsn, time_us: i64) -> [u8; STATUS_BYTES] {
    let mut bytes = [0; STATUS_BYTES];
    bytes[0] = b'r';
    for field in [1, 9, 17] {
        bytes[field..field + 8].copy_from_slice(&confirmed.0.to_be_bytes());
    }
    bytes[25..33].copy_from_slice(&time_us.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn data_frame_gives_its_positions_and_the_rest_as_payload() {
        let mut bytes = vec![b'w'];
        bytes.extend(7u64.to_be_bytes());
        bytes.extend(9u64.to_be_bytes());
        bytes.extend((-5i64).to_be_bytes());
        assert_eq!(bytes.len(), XLOG_DATA_HEADER_BYTES);
        bytes.extend(b"payload");
        let expected =
            Frame::XLogData { wal_start: Lsn(7), wal_end: Lsn(9), time_us: -5, payload: b"payload" };
        assert_eq!(Frame::parse(&bytes), Ok(expected));
        for end in 0..XLOG_DATA_HEADER_BYTES {
            assert!(Frame::parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn keepalive_says_whether_an_answer_is_wanted_and_has_one_length_only() {
        let mut bytes = vec![b'k'];
        bytes.extend(3u64.to_be_bytes());
        bytes.extend(4i64.to_be_bytes());
        bytes.push(1);
        let expected = Frame::Keepalive { wal_end: Lsn(3), time_us: 4, reply_requested: true };
        assert_eq!(Frame::parse(&bytes), Ok(expected));
        for end in 0..bytes.len() {
            assert!(Frame::parse(&bytes[..end]).is_err(), "{end}");
        }
        bytes.push(0);
        assert_eq!(Frame::parse(&bytes), Err(Error::Trailing { message: "keepalive", extra: 1 }));
    }

    #[test]
    fn status_repeats_one_position_three_times_and_asks_for_nothing() {
        let bytes = status(Lsn(0x1_0000_0002), 77);
        assert_eq!(bytes[0], b'r');
        for field in [1, 9, 17] {
            assert_eq!(bytes[field..field + 8], 0x1_0000_0002u64.to_be_bytes());
        }
        assert_eq!(bytes[25..33], 77i64.to_be_bytes());
        assert_eq!(bytes[33], 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_refused_without_a_panic(
            kind in prop_oneof![Just(b'w'), Just(b'k'), any::<u8>()],
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = Frame::parse(&[&[kind], &bytes[..]].concat());
        }
    }
}
