//! A request for the password in clear text over an open network is not answered.
//!
//! Our own exchange refuses it ([`super::auth`]); tokio-postgres, which has no switch for it, would send the password
//! to whoever asks. So what comes in is looked through until the server lets us in, and such a request never
//! reaches the library.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Kind and length of a message.
const HEAD_BYTES: usize = 5;
/// Of an authentication message, what it asks for as well.
const REQUEST_BYTES: usize = 9;

const LET_IN: u32 = 0;
const CLEAR_TEXT: u32 = 3;

/// Why a connection was broken off, inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the server asks for the password in clear text over an open network")]
pub(super) struct Asked;

/// A way to the server that everybody between can read.
pub(super) struct Guarded<S> {
    way: S,
    /// Until we are let in.
    watch: Option<Watch>,
}

impl<S> Guarded<S> {
    /// `open`: others can read what is sent.
    pub fn new(way: S, open: bool) -> Guarded<S> {
        Guarded { way, watch: open.then(Watch::default) }
    }
}

/// Where among the server's messages we are, by the same framing as the library's.
#[derive(Default)]
struct Watch {
    begun: Vec<u8>,
    skip: usize,
}

enum Said {
    Nothing,
    LetIn,
    ClearText,
}

impl Watch {
    fn look(&mut self, mut bytes: &[u8]) -> Said {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.begun.push(*first);
            bytes = rest;
            let Some(length) = number(&self.begun, HEAD_BYTES) else { continue };
            let request = self.begun[0] == b'R' && length >= 8;
            let known = if request { REQUEST_BYTES } else { HEAD_BYTES };
            if self.begun.len() < known {
                continue;
            }
            match number(&self.begun, REQUEST_BYTES) {
                Some(LET_IN) => return Said::LetIn,
                Some(CLEAR_TEXT) => return Said::ClearText,
                _ => {}
            }
            // The length counts itself and not the kind.
            self.skip = (length as usize + 1).saturating_sub(known);
            self.begun.clear();
        }
        Said::Nothing
    }
}

/// The number that ends at this position.
fn number(bytes: &[u8], end: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(end - 4..end)?.first_chunk()?))
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.way).poll_read(context, into))?;
        let said = self.watch.as_mut().map(|watch| watch.look(&into.filled()[before..]));
        match said {
            Some(Said::LetIn) => self.watch = None,
            Some(Said::ClearText) => {
                into.set_filled(before);
                return Poll::Ready(Err(io::Error::other(Asked)));
            }
            Some(Said::Nothing) | None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.way).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.way).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.way).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    fn word(said: Said) -> &'static str {
        match said {
            Said::Nothing => "nothing",
            Said::LetIn => "let in",
            Said::ClearText => "clear text",
        }
    }

    #[test]
    fn request_for_the_password_is_found_however_the_bytes_are_cut() {
        let notice = message(b'N', b"R\0\0\0\x08\0\0\0\x03");
        let (md5, scram) = (message(b'R', b"\0\0\0\x05salt"), message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
        let (clear, let_in) = (message(b'R', b"\0\0\0\x03"), message(b'R', b"\0\0\0\0"));
        for (messages, expected) in [
            (vec![&clear], "clear text"),
            (vec![&notice, &clear], "clear text"),
            (vec![&md5, &clear], "clear text"),
            (vec![&scram, &notice, &clear, &let_in], "clear text"),
            (vec![&notice, &md5, &let_in, &clear], "let in"),
            (vec![&notice, &scram], "nothing"),
        ] {
            let bytes: Vec<u8> = messages.into_iter().flatten().copied().collect();
            for size in 1..=bytes.len() {
                let mut watch = Watch::default();
                let said = bytes.chunks(size).map(|piece| word(watch.look(piece)));
                assert_eq!(said.into_iter().find(|word| *word != "nothing").unwrap_or("nothing"), expected);
            }
        }
    }

    #[test]
    fn nonsense_ends_in_nothing() {
        for bytes in [&b"R\0\0\0\0\0\0\0\x03"[..], b"R\0\0\0\x07\0\0\0\x03", b"E\xff\xff\xff\xff\0", b""] {
            assert_eq!(word(Watch::default().look(bytes)), "nothing", "{bytes:?}");
        }
    }
}
