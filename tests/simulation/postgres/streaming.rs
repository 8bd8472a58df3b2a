//! What a process receives over its replication connection.

use std::future::Future;
use std::pin::Pin;

use projectord::source::{Event, Events};
use tokio::sync::mpsc::UnboundedReceiver;

use super::source::Postgres;

pub struct Streaming {
    pub source: Postgres,
    pub events: UnboundedReceiver<Vec<Event>>,
}

impl Events for Streaming {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Vec<Event>>> + Send + '_>> {
        Box::pin(async move {
            let events = self.events.recv().await;
            for event in events.iter().flatten() {
                if let Event::Message { wal_end, .. } | Event::Keepalive { wal_end, .. } = event
                    && let Some(watch) = self.source.judged()
                {
                    watch.received(*wal_end);
                }
            }
            events
        })
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { drop(self) })
    }
}
