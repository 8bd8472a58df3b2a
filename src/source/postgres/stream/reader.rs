//! The task that reads.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use postgres_protocol::message::backend::Message;
use tokio::io::ReadHalf;
use tokio::sync::oneshot;

use super::queue::{Group, Queue};
use super::{Phase, Shared};
use crate::pgoutput::Frame;
use crate::pgoutput::frame::XLOG_DATA_HEADER_BYTES;
use crate::source::Event;
use crate::source::postgres::inbox::{Answer, Inbox, invalid};
use crate::source::postgres::refusal::Refusal;
use crate::source::postgres::socket::Duplex;

/// Reads until the connection ends, and says so once.
pub(super) async fn run(
    mut socket: ReadHalf<Box<dyn Duplex>>,
    mut inbox: Inbox,
    shared: Arc<Shared>,
    queue: Queue,
    status_failed: oneshot::Receiver<String>,
) {
    let reason = tokio::select! {
        reason = read(&mut socket, &mut inbox, &shared, &queue) => reason,
        // The sender is dropped without a word when the other task ends well.
        Ok(reason) = status_failed => reason,
    };
    // The connection is closed before anybody is told: the slot must be free for the next one.
    let closing = *shared.phase.borrow() == Phase::Closing;
    shared.enter(Phase::Ended);
    drop(socket);
    if !closing {
        let mut group = Group::default();
        group.push(Event::Lost { reason });
        queue.send(group).await;
    }
}

/// Reads, cuts and hands on, until it cannot; returns why.
async fn read(
    socket: &mut ReadHalf<Box<dyn Duplex>>,
    inbox: &mut Inbox,
    shared: &Shared,
    queue: &Queue,
) -> String {
    // What may have come together with the answer to START_REPLICATION is in the inbox already.
    loop {
        let mut group = Group::default();
        let end = cut(inbox, shared, &mut group);
        if !group.is_empty() && !queue.send(group).await && *shared.phase.borrow() != Phase::Closing {
            return "nobody takes the events".to_owned();
        }
        match end {
            Ok(None) => (),
            Ok(Some(end)) => return end,
            Err(error) => return error.to_string(),
        }
        if let Err(error) = inbox.fill(socket).await {
            return error.to_string();
        }
    }
}

/// Moves everything that has arrived into the group. Returns the reason when the stream ends with it.
fn cut(inbox: &mut Inbox, shared: &Shared, group: &mut Group) -> io::Result<Option<String>> {
    while let Some(answer) = inbox.take()? {
        match answer {
            Answer::CopyData(frame) => {
                let event = event(frame)?;
                if matches!(event, Event::Keepalive { reply_requested: true, .. }) {
                    shared.asked.notify_one();
                }
                group.push(event);
            }
            Answer::Other(Message::ErrorResponse(body)) => {
                let Refusal { sqlstate, message } = Refusal::from_fields(body.fields());
                return Ok(Some(format!("{message} (SQLSTATE {sqlstate})")));
            }
            Answer::Other(Message::ReadyForQuery(_)) => {
                return Ok(Some("the server ended the stream".to_owned()));
            }
            // The server's goodbye: the end follows.
            Answer::Other(Message::CopyDone | Message::CommandComplete(_)) => (),
            Answer::Other(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => (),
            Answer::CopyBoth | Answer::Other(_) => {
                return Err(invalid("a message that does not belong into the stream".to_owned()));
            }
        }
    }
    Ok(None)
}

/// The event that a frame is; its payload stays where it was read.
fn event(mut frame: Bytes) -> io::Result<Event> {
    match Frame::parse(&frame).map_err(|error| invalid(error.to_string()))? {
        Frame::XLogData { wal_end, .. } => {
            frame.advance(XLOG_DATA_HEADER_BYTES);
            Ok(Event::Message { wal_end, payload: frame })
        }
        Frame::Keepalive { wal_end, reply_requested, .. } => {
            Ok(Event::Keepalive { wal_end, reply_requested })
        }
    }
}
