//! What comes over the replication connection, cut into messages, however the network cuts it.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use projectord::source::postgres::inbox::{Answer, Inbox};
use tokio::io::{AsyncRead, ReadBuf};

use super::take::Take;

pub const WORDS: &[&[u8]] = &[
    b"d\0\0\0\x04",
    b"W\0\0\0\x04",
    b"d\0\0\0\x08",
    b"d\x40\0\0\0",
    b"d\x40\0\0\x01",
    b"d\x7F\xFF\xFF\xFF",
    b"E\0\0\0\x10SERROR\0C22012\0\0",
    b"R\0\0\0\x08\0\0\0\0",
    b"Z\0\0\0\x05I",
    b"S\0\0\0\x08a\0b\0",
    b"T\0\0\0\x06\xFF\xFF",
    b"D\0\0\0\x0A\0\x01\xFF\xFF\xFF\xFF",
    b"C\0\0\0\x09COPY\0",
    b"K\0\0\0\x0C",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![7];
    let mut each: Vec<Vec<u8>> = Vec::new();
    for word in WORDS {
        all.extend(*word);
        let mut one = vec![3];
        one.extend(*word);
        each.push(one);
    }
    let mut data = vec![200, b'd'];
    data.extend(204u32.to_be_bytes());
    data.extend([9; 200]);
    data.extend(b"d\0\0\0\x07abc");
    each.extend([all, data]);
    each
}

/// Hands out a few bytes at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.piece.min(self.bytes.len()).min(buffer.remaining());
        buffer.put_slice(&self.bytes[..length]);
        self.bytes = &self.bytes[length..];
        Poll::Ready(Ok(()))
    }
}

/// The first byte says how the network cuts, the rest is what the server sends. CopyData comes out as it
/// was framed, byte by byte, until the first message that is refused.
pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    let piece = usize::from(take.byte()) + 1;
    let mut expected = take.0;
    let mut socket = Pieces { bytes: take.0, piece };
    let mut inbox = Inbox::new();
    if piece % 2 == 0 {
        inbox.trust();
    }
    loop {
        let answer = {
            let next = pin!(inbox.next(&mut socket));
            // The socket is never pending, so neither is the reader.
            let Poll::Ready(answer) = next.poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
            answer
        };
        let Ok(answer) = answer else { return };
        let (head, rest) = expected.split_first_chunk::<5>().unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let (body, behind) = rest.split_at(length);
        expected = behind;
        match answer {
            Answer::CopyData(data) => assert_eq!((head[0], &data[..]), (b'd', body)),
            Answer::CopyBoth => assert_eq!(head[0], b'W'),
            Answer::Other(_) => assert!(!b"dW".contains(&head[0])),
        }
    }
}
