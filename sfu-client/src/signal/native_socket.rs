//! The WebSocket of the native signalling: binary protobuf, one message per frame.

use super::USER_AGENT;
use super::stream::{Io, Origin};
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sfu_proto::SUBPROTOCOL_PROTO;
use sfu_proto::v1::{ClientMessage, ServerMessage};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Largest message that is read: a roster of thousands.
const MAX_MESSAGE: usize = 4 << 20;

/// A connected socket.
pub(super) struct NativeSocket(WebSocketStream<Box<dyn Io>>);

impl NativeSocket {
    /// Connects to `server`: `ws://host:port`, with or without a path.
    pub(super) async fn connect(server: &str) -> Result<Self> {
        let uri = join_uri(server)?;
        let stream = Origin::of(&uri, "ws", "wss")?.connect().await?;
        let mut request = uri.clone().into_client_request().with_context(|| format!("{uri} is no URL"))?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL_PROTO));
        headers.insert("User-Agent", HeaderValue::from_static(USER_AGENT));
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
        let (socket, _) = match client_async_with_config(request, stream, Some(config)).await {
            Ok(connected) => connected,
            Err(Error::Http(response)) => bail!("{uri} refuses the WebSocket: {}", response.status()),
            Err(error) => return Err(error).with_context(|| format!("no WebSocket at {uri}")),
        };
        Ok(Self(socket))
    }

    pub(super) async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        self.0.send(Message::binary(message.encode_to_vec())).await.context("the server's connection is lost")
    }

    /// The next message; `None` once the server has closed.
    pub(super) async fn receive(&mut self) -> Result<Option<ServerMessage>> {
        while let Some(message) = self.0.next().await {
            match message.context("the server's connection is lost")? {
                Message::Binary(bytes) => {
                    let message = ServerMessage::decode(bytes).context("the server sent something unreadable")?;
                    return Ok(Some(message));
                }
                Message::Close(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    pub(super) async fn close(mut self) {
        // The server may have closed before.
        let _ = self.0.close(None).await;
    }
}

/// The join URL of a server, whose path may be left out.
pub(super) fn join_uri(server: &str) -> Result<hyper::Uri> {
    let uri: hyper::Uri = server.parse().with_context(|| format!("{server} is no URL"))?;
    if uri.path() != "/" && !uri.path().is_empty() {
        return Ok(uri);
    }
    let text = format!("{}/v1/join", server.trim_end_matches('/'));
    text.parse().with_context(|| format!("{text} is no URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_may_be_left_out() {
        assert_eq!(join_uri("ws://a:7880").unwrap(), "ws://a:7880/v1/join");
        assert_eq!(join_uri("ws://a:7880/").unwrap(), "ws://a:7880/v1/join");
        assert_eq!(join_uri("wss://a/sfu/v1/join").unwrap(), "wss://a/sfu/v1/join");
        assert!(join_uri("ws://[").is_err());
    }
}
