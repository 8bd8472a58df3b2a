//! What the cluster does to a request.

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// 503, or no connection: nothing is carried out.
    Unavailable,
    /// 401 or 403 as a whole: the credentials were changed under us.
    Unauthorized,
    /// 413 for one of its documents, as the sink says of it once it has halved the request.
    TooLarge,
    /// Carried out; the answer is lost, a proxy's page, or cut short.
    AnswerLost,
    Malformed,
    Truncated,
    /// Not answered in time; carried out much later.
    Late,
    /// Carried out twice: a proxy tried again.
    Twice,
    /// 429, 503 or a 403 block for some of its documents.
    Busy,
    /// 400 for some of its documents.
    Rejected,
    /// The answer has one item too few.
    ItemMissing,
}

impl Fault {
    pub const ALL: [Fault; 12] = [
        Fault::None,
        Fault::Unavailable,
        Fault::Unauthorized,
        Fault::TooLarge,
        Fault::AnswerLost,
        Fault::Malformed,
        Fault::Truncated,
        Fault::Late,
        Fault::Twice,
        Fault::Busy,
        Fault::Rejected,
        Fault::ItemMissing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::None => "sink: a request without a fault",
            Fault::Unavailable => "sink: unavailable (503, 429 as a whole)",
            Fault::Unauthorized => "sink: unauthorized (401, 403)",
            Fault::TooLarge => "sink: too large (413)",
            Fault::AnswerLost => "sink: carried out, the answer lost",
            Fault::Malformed => "sink: carried out, the answer malformed",
            Fault::Truncated => "sink: carried out, the answer truncated",
            Fault::Late => "sink: carried out late",
            Fault::Twice => "sink: carried out twice",
            Fault::Busy => "sink: some items busy (429, 503, 403)",
            Fault::Rejected => "sink: some items rejected (400)",
            Fault::ItemMissing => "sink: an item missing from the answer",
        }
    }
}
