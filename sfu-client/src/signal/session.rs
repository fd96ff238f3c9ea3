//! A server to talk to, whichever way it is reached.

use super::native::{JoinOptions, NativeSession, SignalEvent};
use super::whip::WhipSession;
use crate::peer::{Peer, PeerConfig};
use anyhow::Result;
use sfu_proto::v1::{
    EncoderDirectiveAck, LongTermReference, ParticipantInfo, PublicationInfo, Publish, ReferenceDirectiveAck,
    SlotAssignment, Subscribe,
};
use std::future;

/// Where media goes to or comes from.
#[derive(Clone, Debug)]
pub enum Target {
    /// A room, by the native signalling.
    Native(JoinOptions),
    /// A WHIP or WHEP endpoint.
    Http {
        /// Its URL.
        url: String,
        /// Bearer token.
        token: Option<String>,
    },
}

/// A running session.
pub enum Session {
    /// By the native signalling.
    Native(Box<NativeSession>),
    /// By WHIP or WHEP.
    Http(WhipSession),
}

impl Target {
    /// How to make a peer that can reach the server.
    ///
    /// # Errors
    /// Where the URL names no server that can be resolved.
    pub fn peer_config(&self) -> Result<PeerConfig> {
        let (host, port) = match self {
            Self::Native(options) => options.host_and_port()?,
            Self::Http { url, .. } => WhipSession::host_and_port(url)?,
        };
        PeerConfig::towards(&host, port)
    }

    /// Negotiates `peer`, whose sections are in place, and begins the session.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses.
    pub async fn start(&self, peer: &Peer, offer: String, publish: Vec<Publish>) -> Result<Session> {
        let (session, answer) = match self {
            Self::Native(options) => {
                let (session, answer) = NativeSession::join(options, offer, publish).await?;
                (Session::Native(Box::new(session)), answer)
            }
            Self::Http { url, token } => {
                let (session, answer) = WhipSession::start(url, token.as_deref(), offer).await?;
                (Session::Http(session), answer)
            }
        };
        tracing::trace!(%answer, "the server's answer");
        if let Err(error) = peer.accept_answer(answer).await {
            session.stop().await;
            return Err(error);
        }
        Ok(session)
    }
}

impl Session {
    /// What the server tells next; `None` after the end. Waits for ever over HTTP, where it tells nothing.
    pub async fn next_event(&mut self) -> Option<SignalEvent> {
        match self {
            Self::Native(session) => session.next_event().await,
            Self::Http(_) => future::pending().await,
        }
    }

    /// Who was there at the join, and what the slots carried.
    pub fn welcome(&self) -> (Vec<ParticipantInfo>, Vec<SlotAssignment>) {
        match self {
            Self::Native(session) => (session.joined.participants.clone(), session.joined.slots.clone()),
            Self::Http(_) => Default::default(),
        }
    }

    /// Answers an encoder directive.
    pub async fn acknowledge(&self, ack: EncoderDirectiveAck) {
        if let Self::Native(session) = self {
            session.acknowledge(ack).await;
        }
    }

    /// Says what is wanted in a slot, and how large it is shown.
    pub async fn subscribe(&self, subscribe: Subscribe) {
        if let Self::Native(session) = self {
            session.subscribe(subscribe).await;
        }
    }

    /// Says that a picture is kept as a long-term reference.
    pub async fn keep(&self, reference: LongTermReference) {
        if let Self::Native(session) = self {
            session.keep(reference).await;
        }
    }

    /// Answers a directive on references.
    pub async fn acknowledge_references(&self, ack: ReferenceDirectiveAck) {
        if let Self::Native(session) = self {
            session.acknowledge_references(ack).await;
        }
    }

    /// The publications that were announced with the offer, in its order; none where that is not said.
    pub fn published(&self) -> Vec<PublicationInfo> {
        match self {
            Self::Native(session) => {
                session.joined.answer.iter().flat_map(|answer| &answer.publications).cloned().collect()
            }
            Self::Http(_) => Vec::new(),
        }
    }

    /// Ends the session. A failure is of no consequence: the server sees the media end.
    pub async fn stop(self) {
        match self {
            Self::Native(session) => session.leave("done").await,
            Self::Http(session) => {
                if let Err(error) = session.stop().await {
                    tracing::debug!(%error, "the session was not ended in order");
                }
            }
        }
    }
}
