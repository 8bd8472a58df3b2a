//! Messages of the stream become transactions: gathered, appended in parts when they are large, seen by
//! nobody before their commit (rule 5). Only the first bytes of a message are looked at.

use bytes::Bytes;

use super::{Error, Ingest, MESSAGE_BYTES_MAX, OpenTransaction, parse};
use crate::journal::Kind;
use crate::journal::entry::{self, Commit};
use crate::pgoutput::message::Message;

impl Ingest {
    pub(super) fn message(&mut self, payload: &Bytes) -> Result<(), Error> {
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MESSAGE_BYTES_MAX });
        }
        match payload.first() {
            Some(b'I' | b'U' | b'D' | b'T') => self.row(payload),
            Some(b'R') => self.relation(payload),
            Some(b'B') => self.begin(payload),
            Some(b'C') => self.commit(payload),
            Some(b'M') => self.marker(payload),
            Some(b'Y' | b'O') => self.gather(payload),
            _ => Err(Error::Stream("an empty or unknown message".to_owned())),
        }
    }

    fn begin(&mut self, payload: &Bytes) -> Result<(), Error> {
        let Message::Begin { final_lsn, xid, .. } = parse(payload)? else {
            return Err(Error::Stream("BEGIN is another message".to_owned()));
        };
        if self.open.is_some() {
            return Err(Error::Stream("BEGIN inside a transaction".to_owned()));
        }
        self.open = Some(OpenTransaction {
            first: self.journal.end().next(),
            // A copy: a slice would keep the whole block that it was read in alive.
            begin: Bytes::copy_from_slice(payload),
            commit: final_lsn,
            xid,
            rows: 0,
            messages: Vec::new(),
            parts: false,
        });
        Ok(())
    }

    fn row(&mut self, payload: &[u8]) -> Result<(), Error> {
        if let Some(open) = &mut self.open {
            open.rows = open.rows.saturating_add(1);
        }
        self.gather(payload)
    }

    fn relation(&mut self, payload: &Bytes) -> Result<(), Error> {
        if let Some(oid) = payload.get(1..5) {
            let oid = u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]);
            // A copy: a slice would keep the whole block that it was read in alive.
            self.head.announced.push((oid, Bytes::copy_from_slice(payload)));
        }
        self.gather(payload)
    }

    fn gather(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Some(open) = &mut self.open else {
            // Type and origin outside a transaction carry nothing; a row there would be lost.
            return match payload.first() {
                Some(b'Y' | b'O' | b'R') => Ok(()),
                _ => Err(Error::Stream("a row outside a transaction".to_owned())),
            };
        };
        if !open.messages.is_empty() && open.messages.len() + payload.len() > self.options.part_bytes {
            let messages = std::mem::take(&mut open.messages);
            open.parts = true;
            let mut begin = Vec::new();
            entry::put_message(&mut begin, &open.begin);
            self.append_raw(Kind::TransactionPart, &[&begin, &messages])?;
        }
        if let Some(open) = &mut self.open {
            entry::put_message(&mut open.messages, payload);
        }
        Ok(())
    }

    fn commit(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Message::Commit { commit, end, time_us, .. } = parse(payload)? else {
            return Err(Error::Stream("COMMIT is another message".to_owned()));
        };
        let Some(open) = self.open.take() else {
            return Err(Error::Stream("COMMIT without BEGIN".to_owned()));
        };
        if open.commit != commit {
            return Err(Error::Stream(format!("BEGIN announced {}, COMMIT is {commit}", open.commit)));
        }
        // Rule 6: we always start at the journal's end, so a known transaction is a mistake, not a repeat.
        if end <= self.end_lsn {
            return Err(Error::Stream(format!(
                "a transaction that ends at {end} came again; the journal ends at {}",
                self.end_lsn
            )));
        }
        let head = Commit { commit, end, time_us, xid: open.xid, rows: open.rows, first: open.first };
        self.append(Kind::Transaction, &[&head.encode(), &open.messages])?;
        self.end_lsn = end;
        self.idle = None;
        self.append_waiting()
    }
}
