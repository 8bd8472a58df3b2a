//! One thing that was looked at, and what an error of some room means as one.

use serde::Serialize;

use crate::error::{Exit, Failure};
use crate::model::Diagnostic;
use crate::source::postgres::gate::Warning;
use crate::{sink, source};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `projections`, `data`, `source`, `sink`.
    pub room: &'static str,
    /// Listed in docs/errors.md; empty when all is well, and when the server's own words are all there is.
    pub code: String,
    /// Mistakes in files begin with `file:line:column: `.
    pub message: String,
    pub hint: String,
    pub verdict: Verdict,
}

/// From well to worst: the worst one decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Warning,
    /// It did not work, for a reason that has no meaning of its own to us.
    Failed,
    Unreachable,
    Refused,
    /// A projection file is wrong.
    Wrong,
}

impl Finding {
    pub fn ok(room: &'static str, message: String) -> Finding {
        Finding { room, code: String::new(), message, hint: String::new(), verdict: Verdict::Ok }
    }

    pub fn of_mistake(mistake: &Diagnostic) -> Finding {
        let place = match (mistake.line, mistake.column) {
            (0, _) => mistake.file.clone(),
            (line, 0) => format!("{}:{line}", mistake.file),
            (line, column) => format!("{}:{line}:{column}", mistake.file),
        };
        Finding {
            room: "projections",
            code: mistake.code.to_owned(),
            message: format!("{place}: {}", mistake.message),
            hint: mistake.hint.clone(),
            verdict: Verdict::Wrong,
        }
    }

    pub fn of_source(error: source::Error) -> Finding {
        use source::Error;
        let (verdict, code, message, hint) = match error {
            Error::Refused { code, operation, reason, hint } => {
                (Verdict::Refused, code, format!("{operation}: {reason}"), hint)
            }
            error @ Error::Retry { .. } => (Verdict::Unreachable, "", error.to_string(), String::new()),
            error => (Verdict::Failed, "", error.to_string(), String::new()),
        };
        Finding { room: "source", code: code.to_owned(), message, hint, verdict }
    }

    pub fn of_warning(warning: Warning) -> Finding {
        Finding {
            room: "source",
            code: warning.code.to_owned(),
            message: warning.text,
            hint: warning.hint,
            verdict: Verdict::Warning,
        }
    }

    pub fn of_sink(error: sink::Error) -> Finding {
        use sink::Error;
        let (verdict, code, message, hint) = match error {
            Error::Refused { code, operation, reason, hint } => {
                let mild = code == sink::elasticsearch::NOT_DURABLE;
                let verdict = if mild { Verdict::Warning } else { Verdict::Refused };
                (verdict, code, format!("{operation}: {reason}"), hint)
            }
            error @ Error::Retry { .. } => (Verdict::Unreachable, "", error.to_string(), String::new()),
            error @ Error::TooLarge { .. } => (Verdict::Failed, "", error.to_string(), String::new()),
        };
        Finding { room: "sink", code: code.to_owned(), message, hint, verdict }
    }

    /// What other rooms say, each in its own words.
    pub fn of_failure(room: &'static str, failure: Failure) -> Finding {
        let verdict = match failure.exit {
            Exit::Done => Verdict::Ok,
            Exit::Attention => Verdict::Warning,
            Exit::Failed => Verdict::Failed,
            Exit::Unreachable => Verdict::Unreachable,
            Exit::Refused => Verdict::Refused,
            Exit::Usage => Verdict::Wrong,
        };
        // Rooms' errors read `code: message`, and have their hint on the second line.
        let (first, rest) = failure.message.split_once('\n').unwrap_or((&failure.message, ""));
        let (code, message) = match first.split_once(": ") {
            Some((code, message)) if is_code(code) => (code, message),
            _ => ("", first),
        };
        let hint = if rest.is_empty() { failure.hint.clone() } else { rest.trim().to_owned() };
        Finding { room, code: code.to_owned(), message: message.to_owned(), hint, verdict }
    }

    /// For people: one line, and the hint below.
    pub fn line(&self) -> String {
        let Finding { room, code, message, hint, verdict } = self;
        let word = match verdict {
            Verdict::Ok => return format!("ok       {room}: {message}"),
            Verdict::Warning => "warning ",
            Verdict::Failed => "failed  ",
            Verdict::Unreachable => "no answer",
            Verdict::Refused => "refused ",
            Verdict::Wrong => "wrong   ",
        };
        let mut text = format!("{word} {room}: {message}");
        if !code.is_empty() {
            text.push_str(&format!(" [{code}]"));
        }
        if !hint.is_empty() {
            text.push_str(&format!("\n         {hint}"));
        }
        text
    }
}

fn is_code(text: &str) -> bool {
    text.contains('-') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// What the worst of them means for whoever asked.
pub fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.verdict).max() {
        None | Some(Verdict::Ok | Verdict::Warning) => Exit::Done,
        Some(Verdict::Failed) => Exit::Failed,
        Some(Verdict::Unreachable) => Exit::Unreachable,
        Some(Verdict::Refused) => Exit::Refused,
        Some(Verdict::Wrong) => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let finding = |verdict| Finding {
            room: "source",
            code: "slot-lost".into(),
            message: "the slot is lost".into(),
            hint: "projectord backfill --all".into(),
            verdict,
        };
        for (verdicts, expected) in [
            (&[][..], Exit::Done),
            (&[Verdict::Ok, Verdict::Warning], Exit::Done),
            (&[Verdict::Failed, Verdict::Warning], Exit::Failed),
            (&[Verdict::Unreachable, Verdict::Ok], Exit::Unreachable),
            (&[Verdict::Refused, Verdict::Unreachable], Exit::Refused),
            (&[Verdict::Wrong, Verdict::Refused], Exit::Usage),
        ] {
            let findings: Vec<_> = verdicts.iter().map(|verdict| finding(*verdict)).collect();
            assert_eq!(exit(&findings), expected, "{verdicts:?}");
        }
        let failure = Failure::new(Exit::Refused, "journal-damaged: 1.journal: torn\n    Restore it.");
        let found = Finding::of_failure("data", failure);
        assert_eq!(
            (&*found.code, &*found.message, &*found.hint),
            ("journal-damaged", "1.journal: torn", "Restore it.")
        );
        assert!(finding(Verdict::Refused).line().contains("[slot-lost]\n         projectord backfill"));
    }
}
