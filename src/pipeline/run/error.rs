//! Why the daemon ended.

use super::{apply_loop, deliver, ingest};
use crate::journal;
use crate::pipeline::apply;
use crate::store::engine;
use crate::{sink, source};

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Store(#[from] engine::Error),
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    #[error(transparent)]
    Deliver(#[from] deliver::Error),
    #[error(transparent)]
    ApplyLoop(#[from] apply_loop::Failed),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// A safety check says no (G5).
    #[error("{code}: {reason}\n    {hint}")]
    Refused { code: &'static str, reason: String, hint: String },
    #[error("{}", join(.0))]
    Projections(Vec<crate::model::Diagnostic>),
    #[error("internal: the {0} thread ended without a word")]
    Panicked(&'static str),
}

fn join(diagnostics: &[crate::model::Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Error {
    /// Whether the store itself failed, so that it is not to be believed any more.
    pub fn is_store(&self) -> bool {
        use engine::Error::Broken;
        match self {
            Error::ApplyLoop(error) => error.is_store(),
            Error::Store(Broken { .. })
            | Error::Apply(apply::Error::Store(Broken { .. }))
            | Error::Deliver(deliver::Error::Store(Broken { .. })) => true,
            _ => false,
        }
    }

    /// What the journal said, whoever asked it.
    fn journal(&self) -> Option<&journal::Error> {
        match self {
            Error::Journal(error)
            | Error::Ingest(ingest::Error::Journal(error))
            | Error::ApplyLoop(apply_loop::Failed::Journal(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the journal says what this program cannot follow, so that another try would end as this one did.
    pub fn is_unreadable(&self) -> bool {
        use apply::Error::{Entry, Facts, Gap, Message};
        let (Error::Apply(error) | Error::ApplyLoop(apply_loop::Failed::Apply(error))) = self else {
            return false;
        };
        matches!(error, Entry { .. } | Message { .. } | Facts { .. } | Gap { .. })
    }

    /// Whether this is a refusal by a safety check rather than a failure.
    pub fn is_refusal(&self) -> bool {
        use journal::Error::{Damaged, Exhausted, Identity, Locked, Missing, Newer, Other};
        if let Some(error) = self.journal() {
            return matches!(
                error,
                Damaged { .. }
                    | Other { .. }
                    | Newer { .. }
                    | Missing { .. }
                    | Locked { .. }
                    | Identity { .. }
                    | Exhausted
            );
        }
        matches!(
            self,
            Error::Refused { .. }
                | Error::Source(source::Error::Refused { .. })
                | Error::Sink(sink::Error::Refused { .. })
                | Error::Deliver(
                    deliver::Error::OtherWriter { .. }
                        | deliver::Error::RefusalRate { .. }
                        | deliver::Error::IndexGone { .. }
                )
        )
    }
}
