//! The server's bytes to its messages: frames of the frontend/backend protocol (PostgreSQL docs, "Message
//! Formats"), cut without copying.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::backend::{COPY_DATA_TAG, Header, Message};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest message we take: the server's own limit for one.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The largest message we take from someone who has not proved who he is.
const GREETING_BYTES_MAX: usize = 64 << 10;

/// Size of the blocks that are read into. A message that is kept keeps its whole block.
const BLOCK_BYTES: usize = 1 << 20;

/// With less room than this left in a block, a new one is begun.
const ROOM_BYTES_MIN: usize = 64 << 10;

/// CopyBothResponse, which `postgres-protocol` does not know.
const COPY_BOTH_TAG: u8 = b'W';

/// What the server said.
pub enum Answer {
    CopyBoth,
    /// The payload of a CopyData message, sharing the block that it was read into.
    CopyData(Bytes),
    Other(Message),
}

/// Bytes that have arrived and were not taken yet.
pub struct Inbox {
    buffer: BytesMut,
    limit: usize,
}

/// As [`Inbox::new`].
impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

impl Inbox {
    /// For a server that we do not know yet: small messages only.
    pub fn new() -> Inbox {
        Inbox { buffer: BytesMut::new(), limit: GREETING_BYTES_MAX }
    }

    /// The server has proved to be the one we meant.
    pub fn trust(&mut self) {
        self.limit = MESSAGE_BYTES_MAX;
    }

    /// The next message that has arrived whole.
    pub fn take(&mut self) -> io::Result<Option<Answer>> {
        let Some(header) = Header::parse(&self.buffer)? else { return Ok(None) };
        let length = header.len() as usize;
        if length > self.limit {
            return Err(invalid(format!("a message of {length} bytes; at most {} are taken", self.limit)));
        }
        if self.buffer.len() <= length {
            return Ok(None);
        }
        match header.tag() {
            COPY_DATA_TAG => {
                self.buffer.advance(5);
                Ok(Some(Answer::CopyData(self.buffer.split_to(length - 4).freeze())))
            }
            COPY_BOTH_TAG => {
                self.buffer.advance(length + 1);
                Ok(Some(Answer::CopyBoth))
            }
            _ => Ok(Message::parse(&mut self.buffer)?.map(Answer::Other)),
        }
    }

    /// Reads what there is, at least one byte. Room grows with what has arrived, never with what a length
    /// claims: a block, or for a message larger than that as much again as there is already.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server has closed the connection.
    pub async fn fill(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES_MIN {
            self.buffer.reserve(self.buffer.len().max(BLOCK_BYTES));
        }
        match socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }

    /// The next message, waiting for it.
    pub async fn next(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.take()? {
                return Ok(answer);
            }
            self.fill(socket).await?;
        }
    }
}

pub(super) fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn copy_data(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b'd'];
        bytes.extend((payload.len() as u32 + 4).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[tokio::test]
    async fn messages_come_out_whole_however_they_were_cut() {
        let large = vec![7; 3 * BLOCK_BYTES];
        let payloads: [&[u8]; 5] = [b"", b"a", &large, b"bc", &[9; 5000]];
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| copy_data(payload)).collect();
        for piece in [7, 4096, 70_000, bytes.len()] {
            let mut socket = Pieces { bytes: &bytes, piece };
            let mut inbox = Inbox::new();
            inbox.trust();
            for payload in payloads {
                let Answer::CopyData(data) = inbox.next(&mut socket).await.unwrap() else { panic!() };
                assert!(data == payload, "{piece}");
            }
            let end = inbox.next(&mut socket).await.err().unwrap();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// Hands out `piece` bytes at a time.
    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let length = self.piece.min(self.bytes.len()).min(buffer.remaining());
            buffer.put_slice(&self.bytes[..length]);
            self.bytes = &self.bytes[length..];
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn claimed_length_allocates_nothing_and_has_a_limit() {
        let claim = |length: u32| [&[b'd'][..], &length.to_be_bytes(), b"xy"].concat();
        let mut inbox = Inbox::new();
        inbox.fill(&mut &claim(GREETING_BYTES_MAX as u32 + 1)[..]).await.unwrap();
        assert!(inbox.take().is_err());

        let mut inbox = Inbox::new();
        inbox.trust();
        inbox.fill(&mut &claim(MESSAGE_BYTES_MAX as u32)[..]).await.unwrap();
        assert!(inbox.take().unwrap().is_none());
        assert!(inbox.buffer.capacity() <= 2 * BLOCK_BYTES);

        let mut inbox = Inbox::new();
        inbox.trust();
        inbox.fill(&mut &claim(MESSAGE_BYTES_MAX as u32 + 1)[..]).await.unwrap();
        assert!(inbox.take().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_refused_without_a_panic(
            messages in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..30)), 0..5),
            tail in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut inbox = Inbox::new();
            for (tag, body) in &messages {
                inbox.buffer.extend_from_slice(&[*tag]);
                inbox.buffer.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
                inbox.buffer.extend_from_slice(body);
            }
            inbox.buffer.extend_from_slice(&tail);
            while let Ok(Some(answer)) = inbox.take() {
                if let Answer::Other(Message::ErrorResponse(body)) = answer {
                    let _ = crate::source::postgres::refusal::Refusal::from_fields(body.fields());
                }
            }
        }
    }
}
