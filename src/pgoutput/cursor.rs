//! A place in a message that is being read.

use super::error::Error;
use crate::model::Lsn;

/// Takes numbers and strings off the front of a message; every shortage becomes an error with its place.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    length: usize,
    message: &'static str,
}

impl<'a> Cursor<'a> {
    /// At the first byte. `message` names what is read, for errors.
    pub fn new(message: &'static str, bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes, length: bytes.len(), message }
    }

    /// Bytes that were not taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on behind what someone else has read of [`Cursor::rest`].
    pub fn set_rest(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else { return Err(self.truncated()) };
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    #[inline]
    pub fn lsn(&mut self) -> Result<Lsn, Error> {
        self.array().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    /// As many bytes as the message claims; it is an error when they are not there.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else { return Err(self.truncated()) };
        self.rest = rest;
        Ok(head)
    }

    /// The bytes before the next zero byte.
    pub fn terminated(&mut self) -> Result<&'a [u8], Error> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.truncated())?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// The same, for names that we must be able to compare with those of a definition.
    pub fn name(&mut self) -> Result<&'a str, Error> {
        let problem = self.malformed("a name that is not UTF-8");
        std::str::from_utf8(self.terminated()?).map_err(|_| problem)
    }

    /// Nothing may be left over.
    #[inline]
    pub fn end(&self) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(Error::Trailing { message: self.message, extra }),
        }
    }

    pub fn malformed(&self, problem: &'static str) -> Error {
        Error::Malformed { message: self.message, at: self.length - self.rest.len(), problem }
    }

    #[cold]
    pub fn truncated(&self) -> Error {
        Error::Truncated { message: self.message, at: self.length }
    }
}
