//! Markers that come back in the stream: what was held for them is appended (rule 11).

use super::{Error, Ingest, MARKER_PREFIX, MARKERS_SEEN_MAX, parse};
use crate::pgoutput::message::Message;

impl Ingest {
    pub(super) fn marker(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Message::Logical { prefix, content, .. } = parse(payload)? else {
            return Err(Error::Stream("a logical message is another message".to_owned()));
        };
        if prefix != MARKER_PREFIX.as_bytes() {
            return Ok(()); // somebody else's
        }
        let Ok(nonce) = std::str::from_utf8(content) else { return Ok(()) };
        if self.open.is_some() {
            return Err(Error::Stream("a marker inside a transaction".to_owned()));
        }
        match self.held.remove(nonce) {
            Some(held) => {
                self.waiting.push_back(held);
                self.append_waiting()
            }
            None => {
                if self.seen.len() == MARKERS_SEEN_MAX {
                    self.seen.pop_front();
                }
                self.seen.push_back(nonce.to_owned());
                Ok(())
            }
        }
    }
}
