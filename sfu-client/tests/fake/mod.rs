//! A server of one participant: native signalling and WHIP/WHEP, with a peer of our own as its media.

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sfu_client::capture::Scene;
use sfu_client::peer::{MediaKind, Peer, PeerConfig, RtpSink};
use sfu_client::send::{VideoSender, VideoSettings};
use sfu_proto::v1::client_message::Body as In;
use sfu_proto::v1::server_message::Body as Out;
use sfu_proto::v1::{Answer, ClientMessage, Error, ErrorCode, Join, Joined, Left, ServerMessage};
use sfu_rtc::units::Bitrate;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// What a client said to the fake.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// Joined this room with so many announced publications.
    Join(String, usize),
    /// Took a lost session up again.
    Resume,
    /// Left.
    Leave,
    /// An HTTP request: method and bearer token.
    Http(String, String),
}

/// What the fake does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Sends the scene to the client.
    pub(crate) sends: bool,
    /// Refuses the join.
    pub(crate) refuses: bool,
    /// Closes the first WebSocket a while after the join.
    pub(crate) loses_socket: bool,
    /// Ends the session a while after the join.
    pub(crate) ends: bool,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
}

impl Fake {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard_out, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heard = heard_out.clone();
                tokio::spawn(async move {
                    let mut start = [0; 4];
                    while stream.peek(&mut start).await.unwrap_or(0) == 0 {}
                    if &start == b"GET " {
                        serve_socket(stream, manners, heard).await;
                    } else {
                        serve_http(stream, manners, heard).await;
                    }
                });
            }
        });
        Self { address, heard }
    }
}

/// A peer that takes whatever is offered, and what it sends itself.
async fn answer(offer: String, sends: bool) -> (Peer, String) {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let peer = Peer::new(PeerConfig { bind: vec![loopback], ..Default::default() }).await.unwrap();
    let sink: Option<RtpSink> = if sends { Some(peer.add_sink(MediaKind::Video, "fake").await.unwrap()) } else { None };
    let answer = peer.answer(offer).await.unwrap();
    if let Some(sink) = sink {
        let mut state = peer.state();
        tokio::spawn(async move {
            let connected = sfu_client::peer::ConnectionState::Connected;
            state.wait_for(|state| *state == connected).await.unwrap();
            let settings = VideoSettings { bitrate: Bitrate::from_kbps(500), ..Default::default() };
            let scene = Box::new(Scene::new(320, 180, 30.0).unwrap());
            let _ = VideoSender::start(sink, scene, settings).await.unwrap().finished().await;
        });
    }
    (peer, answer)
}

#[expect(clippy::result_large_err, reason = "the crate's callback has this shape")]
fn choose_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", "sfu.v1.proto".parse().unwrap());
    Ok(response)
}

async fn serve_socket(stream: TcpStream, manners: Manners, heard: mpsc::UnboundedSender<Heard>) {
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose_protocol).await.unwrap();
    let mut peer = None;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        let message = ClientMessage::decode(bytes).unwrap();
        let (body, first) = match message.body {
            Some(In::Join(join)) => {
                let Join { room, offer: Some(offer), .. } = join else { panic!("a join without an offer") };
                heard.send(Heard::Join(room, offer.publish.len())).unwrap();
                if manners.refuses {
                    (Out::Error(Error { code: ErrorCode::RoomFull.into(), message: "full".to_owned() }), false)
                } else {
                    let (answerer, sdp) = answer(offer.sdp, manners.sends).await;
                    peer = Some(answerer);
                    (Out::Joined(welcome(Some(Answer { sdp, publications: Vec::new() }))), true)
                }
            }
            Some(In::Resume(resume)) => {
                assert_eq!(resume.session, "secret");
                heard.send(Heard::Resume).unwrap();
                (Out::Joined(welcome(None)), false)
            }
            Some(In::Leave(_)) => {
                heard.send(Heard::Leave).unwrap();
                break;
            }
            _ => continue,
        };
        let reply = ServerMessage { reply_to: message.id, body: Some(body) };
        socket.send(Message::binary(reply.encode_to_vec())).await.unwrap();
        if first && (manners.loses_socket || manners.ends) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if manners.ends {
                let left = Out::Left(Left { reason: 0, message: "closing time".to_owned() });
                let left = ServerMessage { reply_to: 0, body: Some(left) };
                socket.send(Message::binary(left.encode_to_vec())).await.unwrap();
            }
            // The media of a lost socket goes on.
            let peer = peer.take();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                drop(peer);
            });
            return;
        }
    }
    if let Some(peer) = peer {
        peer.close().await;
    }
}

fn welcome(answer: Option<Answer>) -> Joined {
    Joined { session: "secret".to_owned(), answer, resume_window_ms: 5000, ..Default::default() }
}

async fn serve_http(mut stream: TcpStream, manners: Manners, heard: mpsc::UnboundedSender<Heard>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let method = head.split(' ').next().unwrap().to_owned();
    let token = header(&head, "authorization").unwrap_or_default();
    heard.send(Heard::Http(method.clone(), token)).unwrap();
    let (response, peer) = if manners.refuses {
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nno key\n".to_owned(), None)
    } else if method == "POST" {
        let (peer, sdp) = answer(body, manners.sends).await;
        let headers = "Content-Type: application/sdp\r\nLocation: /resource/7";
        (format!("HTTP/1.1 201 Created\r\n{headers}\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len()), Some(peer))
    } else {
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), None)
    };
    stream.write_all(response.as_bytes()).await.unwrap();
    // Media outlives the request.
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop(peer);
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}
