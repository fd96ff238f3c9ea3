//! What WHIP and WHEP have in common: an SDP offer in, an answer and a session's URL out; PATCH for candidates and ICE
//! restarts, DELETE to end.

use super::bearer::Bearer;
use super::body::read_text;
use super::path::Path;
use super::problem::Problem;
use super::proxy::ClientAddr;
use crate::config::IceServerConfig;
use crate::control::{
    Access, Budget, Control, ControlError, Entered, JoinRequest, MAX_CLIENT, Permit, Room, RoomState,
    negotiation::Media,
};
use crate::text::clip;
use crate::worker_thread::WorkerHandle;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use sfu_proto::v1::Offer;
use sfu_room::{Member, ParticipantId, Subscription};
use sfu_rtc::ice::Candidate;
use sfu_rtc::sdp::TrickleFragment;
use std::sync::Arc;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Any page may publish or play: what guards a room is its token, not the page's origin.
const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, PATCH, DELETE, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type, If-Match")),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, Warning, WWW-Authenticate",
        ),
    ),
];
/// Stands for the stream in URLs of those who play whoever speaks.
pub(super) const SPEAKER: &str = "-";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// What a POST is about.
pub(super) struct Target {
    pub(super) room: String,
    /// The publisher's identity for WHIP; the viewer's for WHEP, who is made up.
    pub(super) identity: Option<String>,
    pub(super) access: Access,
    pub(super) subscription: Subscription,
    /// The URL's path up to the session.
    pub(super) base: String,
}

/// Lets pages of other origins read whatever WHIP and WHEP answer, also where there is no such URL (RFC 9725 section 4.1).
pub(super) async fn allow_all_origins(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let ours = matches!(path.split('/').nth(1), Some("whip" | "whep"));
    let mut response = next.run(request).await;
    if ours {
        response.headers_mut().extend(CORS.map(|(name, value)| (Some(name), value)));
    }
    response
}

/// `routes` with `at` under this path, with and without a slash at its end.
pub(super) fn route(routes: Router<Arc<Control>>, path: &str, at: &MethodRouter<Arc<Control>>) -> Router<Arc<Control>> {
    routes.route(path, at.clone()).route(&format!("{path}/"), at.clone())
}

/// OPTIONS: what can be posted. Where STUN and TURN are, and with which credential, is told with the session
/// (RFC 9725 section 4.6): a browser asks without a token here.
pub(super) async fn options() -> Response {
    (StatusCode::NO_CONTENT, [(ACCEPT_POST, SDP)]).into_response()
}

/// What can be done with a session's URL, the last of whose three segments is the session.
pub(super) fn session_routes(access: Access) -> MethodRouter<Arc<Control>> {
    type Url = Path<(String, String, String)>;
    let on_patch = move |State(control): State<Arc<Control>>,
                         url: Url,
                         bearer: Bearer,
                         headers: HeaderMap,
                         body: Body| async move {
        let session = find(&control, access, url, bearer)?;
        patch(&control, session, headers, body).await
    };
    let on_delete = move |State(control): State<Arc<Control>>, url: Url, bearer: Bearer| async move {
        let session = find(&control, access, url, bearer)?;
        Ok::<_, Problem>(end(&control, &session))
    };
    routing::patch(on_patch).delete(on_delete).options(session_options)
}

/// POST: a session begins.
pub(super) async fn begin(
    control: &Arc<Control>,
    client: ClientAddr,
    bearer: Bearer,
    headers: HeaderMap,
    body: Body,
    target: Target,
) -> Result<Response, Problem> {
    require_type(&headers, SDP, ACCEPT_POST)?;
    require_plain(&headers)?;
    let (permit, software) = (admit(control, &bearer, &target)?, user_agent(&headers));
    drop((bearer, headers));
    // Nothing is read of who may not enter.
    let sdp = read_text(control, body).await?;
    let request = JoinRequest {
        room: target.room,
        name: String::new(),
        metadata: String::new(),
        client: software,
        offer: Some(Offer { sdp, publish: Vec::new() }),
        manual_subscribe: false,
        access: target.access,
        subscription: target.subscription,
        address: Some(client.0),
    };
    let entered = control.join_in_turn(&permit, request).await?;
    created(control, entered, &target.base)
}

/// What the token permits of what is posted.
fn admit(control: &Control, bearer: &Bearer, target: &Target) -> Result<Permit, ControlError> {
    let mut permit = control.auth.admit(&bearer.0, &target.room, target.identity.as_deref())?;
    match target.access {
        Access::Whip if !permit.grants.publish => {
            return Err(ControlError::forbidden("The token does not allow publishing."));
        }
        // Else one participant could replace another.
        Access::Whip if target.identity.as_ref().is_some_and(|stream| *stream != permit.identity) => {
            return Err(wrong_identity(&permit, target));
        }
        Access::Whep => {
            require_subscribe(&permit)?;
            // Many may watch with one token; nobody replaces anybody.
            permit.identity = format!("{}#{}", permit.identity, crate::random::text(8));
            permit.grants.publish = false;
        }
        Access::Whip | Access::Signal => permit.grants.subscribe = false,
    }
    Ok(permit)
}

/// The answer to who has entered.
fn created(control: &Control, entered: Entered, base: &str) -> Result<Response, Problem> {
    let Entered { session, joined, warnings } = entered;
    let answer = joined.answer.map(|answer| answer.sdp).unwrap_or_default();
    let etag = with_media(&session.room, session.id, |(media, _), _, _| Ok(etag(media)))?;
    let location = format!("{base}/{}", joined.session);
    let headers = [
        (header::CONTENT_TYPE, text_value(SDP)?),
        (header::LOCATION, text_value(&location)?),
        (header::ETAG, text_value(&etag)?),
        (ACCEPT_PATCH, text_value(FRAGMENT)?),
    ];
    let mut response = (StatusCode::CREATED, headers, answer).into_response();
    for warning in warnings {
        // RFC 7234 section 5.5; the texts are ours and without quotes.
        response.headers_mut().append(header::WARNING, text_value(&format!("199 sfu \"{warning}\""))?);
    }
    append_links(response.headers_mut(), &control.config.ice_servers);
    Ok(response)
}

/// Refuses who may not subscribe.
pub(super) fn require_subscribe(permit: &Permit) -> Result<(), ControlError> {
    if permit.grants.subscribe {
        return Ok(());
    }
    Err(ControlError::forbidden("The token does not allow subscribing."))
}

fn wrong_identity(permit: &Permit, target: &Target) -> ControlError {
    let stream = target.identity.as_deref().unwrap_or_default();
    ControlError::forbidden(if permit.invited {
        format!(
            "The token is an invitation, which names no identity; `sfu token --identity {stream}` makes one for this stream."
        )
    } else {
        format!("The token is for the identity `{}`, which must be the stream's name.", permit.identity)
    })
}

/// PATCH: candidates of the client, which we need not know, or an ICE restart (RFC 9725 section 4.4).
async fn patch(
    control: &Control,
    (room, id): (Arc<Room>, ParticipantId),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    require_type(&headers, FRAGMENT, ACCEPT_PATCH)?;
    require_plain(&headers)?;
    let current = with_media(&room, id, |(media, _), _, _| Ok(etag(media)))?;
    let condition = Condition::read(&headers, current)?;
    drop(headers);
    let fragment = TrickleFragment::parse(&read_text(control, body).await?)
        .map_err(|error| ControlError::bad_sdp(format!("The fragment cannot be read: {error}.")))?;
    with_media(&room, id, |(media, budget), worker, roster| {
        let current = etag(media);
        Condition::require(condition.as_ref(), &current)?;
        let remote = match fragment.ice {
            Some(remote) if media.is_restart(&remote)? => remote,
            _ => return Ok((StatusCode::NO_CONTENT, [(header::ETAG, text_value(&current)?)]).into_response()),
        };
        budget.change(control.clock.now()).map_err(|error| control.count(error))?;
        roster.order(worker.index(), media.restart(remote, worker));
        let body = restart_fragment(media, worker.candidates());
        let headers = [(header::CONTENT_TYPE, text_value(FRAGMENT)?), (header::ETAG, text_value(&etag(media))?)];
        Ok((StatusCode::OK, headers, body).into_response())
    })
}

/// DELETE: the session ends.
fn end(control: &Control, (room, id): &(Arc<Room>, ParticipantId)) -> StatusCode {
    let reason = sfu_proto::v1::LeaveReason::Client;
    control.end_session(room, &mut room.lock(), *id, reason, "The session was deleted.");
    StatusCode::OK
}

/// Anything else on a session's URL.
async fn session_options() -> Response {
    (StatusCode::NO_CONTENT, [(ACCEPT_PATCH, FRAGMENT)]).into_response()
}

/// The session of this URL, where room and stream are its own too. The URL is a secret of its own; a token that comes with
/// it has to be one for the room (RFC 9725 section 4.7 lets clients send theirs with every request).
fn find(
    control: &Control,
    access: Access,
    Path((name, stream, secret)): Path<(String, String, String)>,
    bearer: Bearer,
) -> Result<(Arc<Room>, ParticipantId), Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "There is no such session; it may have ended.");
    let (room, id) = control.session(&secret).ok_or_else(gone)?;
    if room.name != name || !is_of_stream(&room.lock(), id, access, &stream) {
        return Err(gone());
    }
    if !bearer.0.is_empty() {
        control.auth.admit(&bearer.0, &room.name, None)?;
    }
    Ok((room, id))
}

/// Whether a session of this kind was begun at this stream's URL.
fn is_of_stream(state: &RoomState, id: ParticipantId, access: Access, stream: &str) -> bool {
    let Some(me) = state.participants.get(&id).filter(|me| me.access == access) else { return false };
    let slots = state.roster.member(id).map(Member::slots).unwrap_or_default();
    match access {
        Access::Whip => *me.identity == *stream,
        // All slots carry what was posted for, and nothing once media have ended.
        Access::Whep => slots.iter().all(|slot| match &slot.subscription {
            Subscription::Identity(played) => played == stream,
            _ => stream == SPEAKER,
        }),
        Access::Signal => false,
    }
}

fn with_media<T>(
    room: &Room,
    id: ParticipantId,
    act: impl FnOnce((&mut Media, &Budget), &WorkerHandle, &mut sfu_room::Room) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let state = &mut *room.lock();
    let worker = room.worker_of(state, id);
    let media = state.participants.get_mut(&id).and_then(|me| Some((me.media.as_mut()?, &*me.budget)));
    match media.zip(worker) {
        Some((media, worker)) => act(media, worker, &mut state.roster),
        None => Err(Problem::new(StatusCode::NOT_FOUND, "The session has ended.")),
    }
}

/// Names the ICE session: new with every restart.
fn etag(media: &Media) -> String {
    format!("\"{}\"", media.local.ufrag)
}

/// Our side of an ICE restart, as RFC 9725 section 4.4.2 shows it.
fn restart_fragment(media: &Media, candidates: &[Candidate]) -> String {
    let mut text = format!(
        "a=ice-lite\r\na=ice-options:trickle ice2\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        media.local.ufrag, media.local.pwd
    );
    if let Some(first) = media.sections.first() {
        let kind = match first.kind {
            sfu_rtc::media::MediaKind::Audio => "audio",
            sfu_rtc::media::MediaKind::Video => "video",
        };
        text.push_str(&format!("m={kind} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{}\r\n", first.mid));
        candidates.iter().for_each(|candidate| text.push_str(&format!("a={candidate}\r\n")));
        text.push_str("a=end-of-candidates\r\n");
    }
    text
}

/// What a request's If-Match header fields name (RFC 9110 section 13.1.1).
enum Condition {
    /// Whatever is current. RFC 9725 section 4.3.3 writes it in quotes, RFC 9110 without.
    Any,
    /// The entity tag that was current when the head came, if they name it. Nobody can name one that comes later.
    Tag(Option<String>),
}

impl Condition {
    /// `None` without such a field.
    fn read(headers: &HeaderMap, current: String) -> Result<Option<Self>, Problem> {
        let fields = headers.get_all(header::IF_MATCH);
        if fields.iter().next().is_none() {
            return Ok(None);
        }
        let tags: Vec<_> =
            fields.iter().flat_map(|field| entity_tags(&String::from_utf8_lossy(field.as_bytes()))).collect();
        match tags.as_slice() {
            [star] if star == "*" || star == "\"*\"" => Ok(Some(Self::Any)),
            tags if tags.iter().any(|tag| tag == "*") => {
                let text = "If-Match: * stands alone, without entity tags beside it (RFC 9110 section 13.1.1).";
                Err(Problem::new(StatusCode::BAD_REQUEST, text))
            }
            // A weak tag (`W/"..."`) is equal to no strong one.
            tags => Ok(Some(Self::Tag(Some(current).filter(|current| tags.contains(current))))),
        }
    }

    /// Refuses what may not go on where `current` is current.
    fn require(condition: Option<&Self>, current: &str) -> Result<(), Problem> {
        let (status, text) = match condition {
            Some(condition) if condition.holds(current) => return Ok(()),
            Some(_) => {
                let text = "If-Match names another ICE session; use the ETag of the last 200 or 201.";
                (StatusCode::PRECONDITION_FAILED, text)
            }
            None => {
                let text = "If-Match is missing: the ETag of the session for candidates, or * for an ICE restart.";
                (StatusCode::PRECONDITION_REQUIRED, text)
            }
        };
        Err(Problem::new(status, text))
    }

    fn holds(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tag(tag) => tag.as_deref() == Some(current),
        }
    }
}

/// The members of a list, in which a comma may stand in quotes.
fn entity_tags(list: &str) -> Vec<String> {
    let mut quoted = false;
    let members = list.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    members.map(|member| member.trim().to_owned()).filter(|member| !member.is_empty()).collect()
}

/// Refuses a body of another type, or of none; `accept` says which one would do.
fn require_type(headers: &HeaderMap, wanted: &'static str, accept: HeaderName) -> Result<(), Problem> {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let first = given.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = first.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) && given.next().is_none() {
        return Ok(());
    }
    let text = format!("The body's Content-Type must be {wanted}.");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).with(accept, HeaderValue::from_static(wanted)))
}

/// Refuses a body in a coding that nobody would undo (RFC 9110 section 15.5.16).
fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = headers.get_all(header::CONTENT_ENCODING);
    if codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must have no Content-Encoding.");
    Err(problem.with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    clip(value.unwrap_or_default(), MAX_CLIENT)
}

/// One Link header per STUN or TURN URL (RFC 9725 section 4.6).
fn append_links(headers: &mut HeaderMap, servers: &[IceServerConfig]) {
    for server in servers {
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if !server.username.is_empty() {
                let (user, pass) = (quoted(&server.username), quoted(&server.credential));
                link.push_str(&format!("; username={user}; credential={pass}; credential-type=\"password\""));
            }
            if let Ok(value) = HeaderValue::from_str(&link) {
                headers.append(header::LINK, value);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Room and stream stand in the URL and so in the Location; names that cannot are refused.
fn text_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The name cannot stand in a URL."))
}

/// `text` as one segment of a URL's path (RFC 3986 section 3.3).
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_carry_turn_credentials() {
        let server = IceServerConfig {
            urls: vec!["turn:t.example?transport=udp".into(), "stun:s.example".into()],
            username: "u".into(),
            credential: "p\"q".into(),
        };
        let mut headers = HeaderMap::new();
        append_links(&mut headers, &[server]);
        let links: Vec<_> = headers.get_all(header::LINK).iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(links.len(), 2);
        assert!(
            links[0].starts_with(
                "<turn:t.example?transport=udp>; rel=\"ice-server\"; username=\"u\"; credential=\"p\\\"q\""
            )
        );
    }

    #[test]
    fn conditions_are_lists_of_entity_tags() {
        let holds = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            fields.iter().for_each(|field| {
                headers.append(header::IF_MATCH, HeaderValue::from_static(field));
            });
            let condition = Condition::read(&headers, "\"now\"".to_owned())?;
            Condition::require(condition.as_ref(), "\"now\"")
        };
        let status = |fields: &[&'static str]| holds(fields).map_err(|problem| problem.into_response().status());
        assert_eq!(status(&[]), Err(StatusCode::PRECONDITION_REQUIRED));
        for fields in [
            &["*"][..],
            &["\"*\""],
            &["\"now\""],
            &[" \"old\" ,\"now\""],
            &["\"a,b\", \"now\""],
            &["\"old\"", "\"now\""],
        ] {
            assert_eq!(status(fields), Ok(()), "{fields:?}");
        }
        for fields in [
            &["\"old\""][..],
            &["now"],
            &["W/\"now\""],
            &["\"old,now\""],
            &[""],
            &["\"x\", \"y\""],
            // A tag in a list, which nothing has.
            &["\"*\", \"x\""],
        ] {
            assert_eq!(status(fields), Err(StatusCode::PRECONDITION_FAILED), "{fields:?}");
        }
        for fields in [&["*, \"now\""][..], &["\"now\", *"], &["*", "\"now\""], &["*,*"]] {
            assert_eq!(status(fields), Err(StatusCode::BAD_REQUEST), "{fields:?}");
        }
    }

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("a b/ü"), "a%20b%2F%C3%BC");
    }
}
