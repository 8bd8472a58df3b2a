//! What the sink's answers mean.

use std::time::Duration;

use super::{Deliverer, Error, Judged, REFUSAL_WINDOW, Refusals, Request, Resting};
use crate::failpoint;
use crate::model::{Action, Generation, Key, Outcome};
use crate::pipeline::apply::Settle;
use crate::pipeline::observer::Delivered;
use crate::planted::{self, Bug};
use crate::retry::Backoff;
use crate::sink;
use crate::store::meta::Quarantined;

impl Deliverer {
    /// Remembers that a request is on its way. [`Deliverer::answered`] must be called for it exactly once.
    pub fn sent(&mut self, request: Request) -> std::sync::Arc<Request> {
        let request = std::sync::Arc::new(request);
        self.requests.insert(request.number, std::sync::Arc::clone(&request));
        request
    }

    /// Judges an answered request: every document on its own. The bytes are dropped in any case.
    pub fn answered(
        &mut self,
        number: u64,
        answer: Result<Vec<Outcome>, sink::Error>,
        now: Duration,
        unix_s: i64,
        random: u64,
    ) -> Result<Judged, Error> {
        let Some(request) = self.requests.remove(&number) else { return Ok(Judged::default()) };
        let mut judged = Judged {
            delivered: Delivered {
                bytes: request.documents.iter().map(|document| document.size_bytes() as u64).sum(),
                ..Delivered::default()
            },
            ..Judged::default()
        };
        for mark in &request.marks {
            self.in_flight.remove(mark);
        }
        let outcomes = match answer {
            Ok(outcomes) if outcomes.len() == request.documents.len() => outcomes,
            Ok(_) => {
                self.sink_failed(
                    "the answer has another number of items".to_owned(),
                    now,
                    random,
                    &mut judged,
                );
                return Ok(judged);
            }
            // Nobody knows what was written: ids and versions make sending again safe (hazard 49).
            Err(error) => {
                judged.delivered.retried += request.documents.len() as u64;
                self.sink_failed(error.to_string(), now, random, &mut judged);
                return Ok(judged);
            }
        };
        if outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Applied)) {
            failpoint::hit("deliver.partial");
        }
        let mut overloaded = 0;
        let batch = self.settling.next();
        for ((document, mark), outcome) in request.documents.iter().zip(&request.marks).zip(outcomes) {
            let settle = |refused| Settle {
                generation: mark.0,
                document: mark.1.clone(),
                view: request.view,
                refused,
                batch,
            };
            match outcome {
                Outcome::Applied => {
                    match document.action {
                        Action::Index(_) => judged.delivered.indexed += 1,
                        Action::Delete => judged.delivered.deleted += 1,
                    }
                    judged.settles.push(settle(None));
                    self.count(mark.0, None);
                }
                // Epochs are taken anew at each start and a view's entry determines the document, so
                // an equal version is this process's own earlier write of the same bytes (rule 36).
                Outcome::Conflict { current } if current == Some(document.version) => {
                    judged.delivered.repeated += 1;
                    judged.settles.push(settle(None));
                }
                Outcome::Conflict { .. } if planted::is(Bug::ConflictIsDone) => {
                    judged.settles.push(settle(None));
                }
                Outcome::Conflict { current } => {
                    return Err(Error::OtherWriter {
                        index: document.index.to_string(),
                        id: document.id.clone(),
                        current: current.unwrap_or_default(),
                    });
                }
                Outcome::Retry { .. } if planted::is(Bug::BusyIsDone) => judged.settles.push(settle(None)),
                Outcome::Rejected { .. } if planted::is(Bug::RefusedIsDone) => {
                    judged.settles.push(settle(None));
                }
                Outcome::Retry { reason } => {
                    overloaded += 1;
                    judged.delivered.retried += 1;
                    judged.retries.push(reason);
                    self.rest(mark.clone(), now, random);
                }
                Outcome::Rejected { code, reason } => {
                    judged.delivered.rejected += 1;
                    self.count(mark.0, Some(&code));
                    judged.settles.push(settle(Some(Quarantined {
                        id: document.id.clone(),
                        code,
                        reason,
                        entry: request.view,
                        since_unix_s: unix_s,
                        attempts: 0,
                    })));
                    self.refusal_rate(mark.0, &document.index)?;
                }
                Outcome::IndexGone { reason } => {
                    return Err(Error::IndexGone { index: document.index.to_string(), reason });
                }
            }
        }
        if !judged.settles.is_empty() {
            let settles = judged.settles.iter();
            let documents = settles.map(|settle| (settle.generation, settle.document.clone())).collect();
            self.settling.give(request.view, documents);
        }
        if overloaded == 0 {
            self.sink_rests = None;
        } else if overloaded == request.documents.len() {
            self.sink_failed(
                "every item of a request has to be tried again".to_owned(),
                now,
                random,
                &mut judged,
            );
        }
        Ok(judged)
    }

    /// Lets a document rest before it is taken again.
    pub(super) fn rest(&mut self, mark: (Generation, Key), now: Duration, random: u64) {
        let new = || Resting { until: now, backoff: Backoff::new(self.options.retry) };
        let rest = self.resting.entry(mark).or_insert_with(new);
        rest.until = now + rest.backoff.failed(random);
    }

    fn sink_failed(&mut self, reason: String, now: Duration, random: u64, judged: &mut Judged) {
        let new = || Resting { until: now, backoff: Backoff::new(self.options.retry) };
        let rest = self.sink_rests.get_or_insert_with(new);
        rest.until = now + rest.backoff.failed(random);
        judged.sink_failed = Some(reason.clone());
        judged.retries.push(reason);
    }

    fn count(&mut self, generation: Generation, refused: Option<&str>) {
        let refusals = self.refusals.entry(generation).or_default();
        if refusals.judged >= 2 * REFUSAL_WINDOW {
            // Halved rather than cleared, so that a rate just below the limit does not hide in the reset.
            refusals.judged /= 2;
            refusals.refused /= 2;
        }
        refusals.judged += 1;
        if let Some(code) = refused {
            refusals.refused += 1;
            refusals.code = code.to_owned();
        }
    }

    fn refusal_rate(&self, generation: Generation, index: &str) -> Result<(), Error> {
        let Some(Refusals { judged, refused, code }) = self.refusals.get(&generation) else { return Ok(()) };
        if *judged >= REFUSAL_WINDOW && f64::from(*refused) > f64::from(*judged) * self.options.refusal_limit
        {
            return Err(Error::RefusalRate {
                index: index.to_owned(),
                refused: *refused,
                judged: *judged,
                code: code.clone(),
            });
        }
        Ok(())
    }
}
