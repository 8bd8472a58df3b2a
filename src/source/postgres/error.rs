//! What can go wrong with the source.

/// An error of the source. Texts name operation and place and never hold row values: a server's DETAIL is
/// dropped, because it quotes them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Worth another try: not reachable, connection lost, starting up, too many connections, slot still active.
    #[error("{operation}: {reason}")]
    Retry { operation: &'static str, reason: String },
    /// Going on would be wrong or senseless until somebody acts (G5). `code` is listed in docs/errors.md,
    /// `hint` is one command or one sentence that mends it.
    #[error("{code}: {operation}: {reason}\n    {hint}")]
    Refused { code: &'static str, operation: &'static str, reason: String, hint: String },
    /// The server answered a statement with an error that has no meaning of its own to us.
    #[error("{operation}: {message} (SQLSTATE {sqlstate})")]
    Server { operation: &'static str, sqlstate: String, message: String },
    /// The other side does not speak the protocol as documented.
    #[error("{operation}: unexpected answer: {reason}")]
    Protocol { operation: &'static str, reason: String },
}
