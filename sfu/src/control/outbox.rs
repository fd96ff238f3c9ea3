//! What waits to be sent to one client: bounded, in order, and encoded at most once per subprotocol however many
//! clients get it.

use crate::lock::lock;
use prost::Message as _;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{LeaveReason, Left, ServerMessage};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;

/// Most bytes that wait.
const MAX_BYTES: usize = 384 * 1024;
/// Above this much, messages that may be lost are.
const LOSSY_BYTES: usize = 64 * 1024;

/// A message on its way to one or many clients. Kept encoded: decoded, a list of small entries takes several times as
/// much memory, and it may wait for long.
#[derive(Debug)]
pub(crate) struct Outgoing {
    proto: Vec<u8>,
    json: OnceLock<String>,
    /// Whether it is more than state, all of which a new connection begins with.
    outlives_connection: bool,
}

impl Outgoing {
    /// A message that answers nothing.
    pub(crate) fn new(body: Body) -> Arc<Self> {
        Self::reply(0, body)
    }

    /// Answers the client's message `reply_to`.
    pub(crate) fn reply(reply_to: u32, body: Body) -> Arc<Self> {
        let outlives_connection = matches!(body, Body::Data(_) | Body::Left(_));
        let proto = ServerMessage { reply_to, body: Some(body) }.encode_to_vec();
        Arc::new(Self { proto, json: OnceLock::new(), outlives_connection })
    }

    /// As binary protobuf.
    pub(crate) fn proto(&self) -> &[u8] {
        &self.proto
    }

    /// As proto3 JSON.
    pub(crate) fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let message = ServerMessage::decode(self.proto()).expect("encoded above");
            serde_json::to_string(&message).expect("messages are plain data")
        })
    }

    /// Bytes of memory.
    fn held(&self) -> usize {
        size_of::<Self>() + self.proto.len() + self.json.get().map_or(0, String::len)
    }
}

/// What comes out of an [`Outbox`].
pub(crate) enum Next {
    /// To be sent.
    Message(Arc<Outgoing>),
    /// Everything was sent; the session is over.
    Closed,
    /// Another connection took the session up.
    Superseded,
    /// The client reads too slowly.
    Overflow,
}

/// The queue of one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Outgoing>>,
    attachment: u64,
    closed: bool,
    overflow: bool,
}

impl State {
    /// Bytes that wait. Counted anew each time, since a message that many get grows when the first one wants JSON.
    fn held(&self) -> usize {
        self.queue.iter().map(|waiting| waiting.held()).sum()
    }
}

impl Outbox {
    /// Appends a message.
    pub(crate) fn push(&self, message: Arc<Outgoing>) {
        let mut state = lock(&self.state);
        if state.closed || state.overflow {
            return;
        }
        // One that is larger by itself, such as the roster of a large room, waits alone.
        if !state.queue.is_empty() && state.held() + message.held() > MAX_BYTES {
            state.overflow = true;
        } else {
            state.queue.push_back(message);
        }
        drop(state);
        self.notify.notify_one();
    }

    /// Appends a message unless the client lags behind.
    pub(crate) fn push_lossy(&self, message: Arc<Outgoing>) {
        if lock(&self.state).held() < LOSSY_BYTES {
            self.push(message);
        }
    }

    /// Appends Left as the last message.
    pub(crate) fn close(&self, reason: LeaveReason, text: &str) {
        self.push(Outgoing::new(Body::Left(Left { reason: reason.into(), message: text.into() })));
        lock(&self.state).closed = true;
        self.notify.notify_one();
    }

    /// A new connection takes the queue over. State that waits is forgotten, since the connection begins with all of
    /// it; messages of others stay.
    pub(crate) fn attach(&self) -> u64 {
        let mut state = lock(&self.state);
        state.attachment += 1;
        state.overflow = false;
        state.queue.retain(|waiting| waiting.outlives_connection);
        let attachment = state.attachment;
        drop(state);
        // The connection before must learn that it was superseded, the new one that something may wait.
        self.notify.notify_waiters();
        self.notify.notify_one();
        attachment
    }

    /// Whether `attachment` is still the connection that owns the queue.
    pub(crate) fn is_attached(&self, attachment: u64) -> bool {
        lock(&self.state).attachment == attachment
    }

    /// The next message for the connection `attachment`.
    pub(crate) async fn next(&self, attachment: u64) -> Next {
        loop {
            let notified = self.notify.notified();
            if let Some(next) = self.poll(attachment) {
                return next;
            }
            notified.await;
        }
    }

    fn poll(&self, attachment: u64) -> Option<Next> {
        let mut state = lock(&self.state);
        if state.attachment != attachment {
            return Some(Next::Superseded);
        }
        if let Some(message) = state.queue.pop_front() {
            return Some(Next::Message(message));
        }
        if state.overflow {
            return Some(Next::Overflow);
        }
        state.closed.then_some(Next::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_proto::v1::{Data, Pong, Slots};

    fn data(len: usize) -> Arc<Outgoing> {
        Outgoing::new(Body::Data(Data { payload: vec![1; len], ..Data::default() }))
    }

    async fn next_body(outbox: &Outbox, attachment: u64) -> Option<Body> {
        match outbox.next(attachment).await {
            Next::Message(message) => ServerMessage::decode(message.proto()).unwrap().body,
            _ => None,
        }
    }

    #[tokio::test]
    async fn messages_come_in_order_and_left_is_the_last() {
        let outbox = Outbox::default();
        let me = outbox.attach();
        outbox.push(Outgoing::new(Body::Pong(Pong { timestamp: 7 })));
        outbox.close(LeaveReason::Removed, "out");
        outbox.push(data(1));
        assert!(matches!(next_body(&outbox, me).await, Some(Body::Pong(_))));
        assert!(matches!(next_body(&outbox, me).await, Some(Body::Left(_))));
        assert!(matches!(outbox.next(me).await, Next::Closed));
    }

    #[tokio::test]
    async fn a_slow_client_fills_no_memory() {
        let outbox = Outbox::default();
        let me = outbox.attach();
        for _ in 0..10_000 {
            outbox.push(data(1_000));
        }
        assert!(lock(&outbox.state).held() <= MAX_BYTES);
        while let Next::Message(_) = outbox.next(me).await {}
        assert!(matches!(outbox.next(me).await, Next::Overflow));
        let again = outbox.attach();
        outbox.push(data(1));
        assert!(next_body(&outbox, again).await.is_some(), "a new connection begins afresh");
    }

    #[test]
    fn json_that_others_read_is_counted() {
        let outbox = Outbox::default();
        for _ in 0..10_000 {
            let message = data(1_000);
            message.json();
            outbox.push(message);
        }
        let state = lock(&outbox.state);
        let json: usize = state.queue.iter().map(|waiting| waiting.json().len()).sum();
        assert!(state.overflow && json > 0 && json <= MAX_BYTES);
    }

    #[tokio::test]
    async fn what_may_be_lost_is_lost_first() {
        let outbox = Outbox::default();
        outbox.push(data(LOSSY_BYTES));
        outbox.push_lossy(data(10));
        assert_eq!(lock(&outbox.state).queue.len(), 1);
    }

    #[tokio::test]
    async fn the_newer_connection_takes_over_and_keeps_data() {
        let outbox = Arc::new(Outbox::default());
        let first = outbox.attach();
        let waiting = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { matches!(outbox.next(first).await, Next::Superseded) }
        });
        tokio::task::yield_now().await;
        let second = outbox.attach();
        assert!(waiting.await.unwrap());
        outbox.push(Outgoing::new(Body::Slots(Slots::default())));
        outbox.push(data(1));
        let third = outbox.attach();
        assert!(!outbox.is_attached(second));
        assert!(matches!(next_body(&outbox, third).await, Some(Body::Data(_))));
    }

    #[test]
    fn both_encodings_agree() {
        let message = Outgoing::reply(3, Body::Pong(Pong { timestamp: 5 }));
        let binary = ServerMessage::decode(message.proto()).unwrap();
        let text: ServerMessage = serde_json::from_str(message.json()).unwrap();
        assert_eq!(binary, text);
    }
}
