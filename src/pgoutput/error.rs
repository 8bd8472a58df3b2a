//! What can be wrong with bytes of the stream.

/// The bytes are not what PostgreSQL documents ("Logical Replication Message Formats"). Says where, never
/// what a value was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a message of no bytes at all")]
    Empty,
    /// Not a message of protocol version 1.
    #[error("a message of unknown kind {0:#04x}")]
    UnknownKind(u8),
    #[error("the {message} message ends too early: byte {at} is missing")]
    Truncated { message: &'static str, at: usize },
    #[error("the {message} message has {extra} bytes too many")]
    Trailing { message: &'static str, extra: usize },
    #[error("the {message} message has {problem} at byte {at}")]
    Malformed { message: &'static str, at: usize, problem: &'static str },
}
