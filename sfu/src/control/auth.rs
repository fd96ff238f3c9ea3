//! Tokens: JWT (RFC 7519) signed with HS256 by the secret of an API key, which the claim `iss` names.
//!
//! ```json
//! { "iss": "devkey", "sub": "alice", "exp": 1790000000, "room": "demo", "name": "Alice",
//!   "grants": { "publish": true, "subscribe": true, "data": true, "moderate": false, "admin": false } }
//! ```

use crate::config::AuthConfig;
use crate::control::caps::{VideoCaps, check_caps};
use crate::control::error::ControlError;
use crate::random;
use crate::text::{clip, misleads};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Clocks of those who make tokens may be off by this much.
const LEEWAY_SECONDS: u64 = 5;
/// Most characters of an identity; it stands in every roster.
pub(crate) const MAX_IDENTITY: usize = 128;
/// Longest name to show.
pub(crate) const MAX_NAME: usize = 128;
/// Most characters of a room's name.
pub(crate) const MAX_ROOM: usize = 128;
/// Most bytes of metadata of a participant or room.
const MAX_METADATA: usize = 4 * 1024;

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// API key.
    pub(crate) iss: String,
    /// Identity. Empty: an invitation, with which everybody gets an identity of their own.
    #[serde(default)]
    pub(crate) sub: String,
    /// End of validity, seconds since the Unix epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub(crate) exp: u64,
    /// Begin of validity.
    #[serde(default, deserialize_with = "optional_numeric_date", skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<u64>,
    /// Room, or `*` for any. Empty: none (a token for the admin API alone).
    #[serde(default)]
    pub(crate) room: String,
    /// Name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
    /// What its bearer may do.
    #[serde(default)]
    pub(crate) grants: GrantClaims,
    /// Options of the room, should this join make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) room_options: Option<RoomOptions>,
}

/// What the bearer of a token may do. What is not said is not allowed, but for making the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GrantClaims {
    pub(crate) publish: bool,
    pub(crate) subscribe: bool,
    pub(crate) data: bool,
    pub(crate) moderate: bool,
    pub(crate) admin: bool,
    /// The first join makes the room.
    pub(crate) create: bool,
    /// The most that it may send of each video that it publishes: the bitrate is that of all its layers together.
    #[serde(skip_serializing_if = "VideoCaps::is_none")]
    pub(crate) publish_video: VideoCaps,
    /// The most that it gets: the bitrate is that of everything together, the rest holds for each video.
    #[serde(skip_serializing_if = "VideoCaps::is_none")]
    pub(crate) subscribe_video: VideoCaps,
}

impl Default for GrantClaims {
    fn default() -> Self {
        Self {
            publish: false,
            subscribe: false,
            data: false,
            moderate: false,
            admin: false,
            create: true,
            publish_video: VideoCaps::default(),
            subscribe_video: VideoCaps::default(),
        }
    }
}

/// Options of a room; what is left out is as configured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RoomOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_participants: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) empty_timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
    /// The most that each participant may send of each video, as in the grants: the lower bound holds.
    #[serde(skip_serializing_if = "VideoCaps::is_none")]
    pub(crate) publish_video: VideoCaps,
    /// The most that each participant gets.
    #[serde(skip_serializing_if = "VideoCaps::is_none")]
    pub(crate) subscribe_video: VideoCaps,
}

/// Seconds since the Unix epoch, of which fractions may be given (RFC 7519 section 2, NumericDate).
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if seconds >= 0.0 { Ok(seconds as u64) } else { Err(D::Error::custom("a time before 1970")) }
}

fn optional_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

/// Who somebody is and what they may do, once their token was checked.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    pub(crate) identity: String,
    /// The token is an invitation: the identity was made up.
    pub(crate) invited: bool,
    /// The token's name; wins over what the client says.
    pub(crate) name: Option<String>,
    /// The token's metadata; wins over what the client says.
    pub(crate) metadata: Option<String>,
    pub(crate) grants: GrantClaims,
    pub(crate) room_options: RoomOptions,
    /// Tells tokens apart; `None` without one.
    pub(crate) token: Option<u64>,
}

/// Checks tokens.
pub(crate) struct Authenticator {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
    open: bool,
    hasher: RandomState,
}

impl Authenticator {
    /// With the configured keys.
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss"]);
        let decoding = |secret: &String| DecodingKey::from_secret(secret.as_bytes());
        let keys = config.keys.iter().map(|(key, secret)| (key.clone(), decoding(secret))).collect();
        Self { keys, validation, open: config.open, hasher: RandomState::new() }
    }

    /// Admits the bearer of `token` to `room`. `identity` is what an open server calls somebody without a token.
    pub(crate) fn admit(&self, token: &str, room: &str, identity: Option<&str>) -> Result<Permit, ControlError> {
        check_room_name(room)?;
        if let Some(identity) = identity {
            check_length("name", identity, MAX_IDENTITY)?;
            check_text("name", identity)?;
            check_segment("name", identity)?;
        }
        let parts = Parts::read(token);
        // An open server ignores tokens that name no key of ours: streaming software has a field for a bearer token, and
        // people write into it what they like.
        if self.open && !parts.as_ref().is_ok_and(|parts| self.key(parts).is_some()) {
            return Ok(open_permit(identity));
        }
        let claims = self.claims(token, &parts?)?;
        if claims.room != room && claims.room != "*" {
            let for_room = if claims.room.is_empty() { "no room".into() } else { format!("room `{}`", claims.room) };
            return Err(ControlError::forbidden(format!("The token is for {for_room}, not for `{room}`.")));
        }
        Ok(Permit { token: Some(self.hasher.hash_one(token)), ..permit(claims)? })
    }

    /// Admits the bearer of `token` to the admin API.
    pub(crate) fn admit_admin(&self, token: &str) -> Result<(), ControlError> {
        if self.claims(token, &Parts::read(token)?)?.grants.admin {
            Ok(())
        } else {
            Err(ControlError::forbidden("The token has no admin grant; `sfu token --admin` makes one that has."))
        }
    }

    /// The key that the token names, which proves that it does: read without trust.
    fn key(&self, parts: &Parts) -> Option<&DecodingKey> {
        self.keys.get(parts.payload.get("iss")?.as_str()?)
    }

    fn claims(&self, token: &str, parts: &Parts) -> Result<Claims, ControlError> {
        check_header(&parts.header)?;
        let Some(key) = self.key(parts) else {
            let text = "The token names an API key (iss) that this server does not have.";
            return Err(ControlError::unauthenticated(text));
        };
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|error| {
            ControlError::unauthenticated(match error.kind() {
                ErrorKind::ExpiredSignature => "The token has expired; ask for a new one.".into(),
                ErrorKind::ImmatureSignature => "The token is not valid yet; check the clocks.".into(),
                ErrorKind::InvalidAudience => "The token is for an audience (aud), and this server has no name.".into(),
                ErrorKind::MissingRequiredClaim(claim) => {
                    format!("The token's claim `{claim}` is missing, or not what it should be.")
                }
                ErrorKind::InvalidSignature => "The token's signature does not match the key that it names.".into(),
                _ => format!("The token is not valid: {error}."),
            })
        })?;
        Ok(decoded.claims)
    }
}

/// What is signed of a token, as JSON in UTF-8 throughout (RFC 7519 section 7.2): what is read into [`Claims`] skips
/// members that it does not know.
struct Parts {
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

impl Parts {
    fn read(token: &str) -> Result<Self, ControlError> {
        if token.is_empty() {
            return Err(ControlError::unauthenticated("A token is needed; `sfu token` makes one."));
        }
        let mut parts = token.split('.');
        let mut object = |name: &str| {
            let json = parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
            json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(|| {
                let text = format!("The token cannot be read: its {name} is no JSON object.");
                ControlError::unauthenticated(text)
            })
        };
        Ok(Self { header: object("header")?, payload: object("payload")? })
    }
}

/// Refuses a header that asks for more than RFC 7519 says. `crit` is refused whatever it holds: what it names must be
/// understood, and we know no extensions; without a name in it, it is malformed (RFC 7515 section 4.1.11). `b64` may be
/// `true`, its default, and nothing else in a JWT (RFC 7797 section 7).
fn check_header(header: &Map<String, Value>) -> Result<(), ControlError> {
    if header.get("alg").is_none_or(|alg| alg != "HS256") {
        return Err(ControlError::unauthenticated("The token is not signed with HS256 (alg)."));
    }
    if header.contains_key("crit") {
        let text = "The token has critical extensions (crit) that this server does not know.";
        return Err(ControlError::unauthenticated(text));
    }
    if header.get("b64").is_some_and(|b64| *b64 != true) {
        let text = "The token's payload is not said to be base64url (b64), which that of a JWT is.";
        return Err(ControlError::unauthenticated(text));
    }
    Ok(())
}

/// Signs a token.
pub(crate) fn sign(claims: &Claims, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes()))
}

fn permit(claims: Claims) -> Result<Permit, ControlError> {
    check_length("token's identity (sub)", &claims.sub, MAX_IDENTITY)?;
    check_text("token's identity (sub)", &claims.sub)?;
    check_text("token's name", claims.name.as_deref().unwrap_or_default())?;
    check_metadata("token's metadata", claims.metadata.as_deref().unwrap_or_default())?;
    let room_options = claims.room_options.unwrap_or_default();
    check_room_options(&room_options)?;
    check_caps([claims.grants.publish_video, claims.grants.subscribe_video])?;
    Ok(Permit {
        invited: claims.sub.is_empty(),
        identity: if claims.sub.is_empty() { made_up_identity() } else { claims.sub },
        name: claims.name.map(|name| clip(&name, MAX_NAME)),
        metadata: claims.metadata,
        grants: claims.grants,
        room_options,
        token: None,
    })
}

fn open_permit(identity: Option<&str>) -> Permit {
    Permit {
        invited: false,
        identity: identity.map_or_else(made_up_identity, str::to_owned),
        name: None,
        metadata: None,
        grants: GrantClaims { publish: true, subscribe: true, data: true, moderate: true, ..GrantClaims::default() },
        room_options: RoomOptions::default(),
        token: None,
    }
}

fn made_up_identity() -> String {
    format!("guest-{}", random::text(8))
}

/// Checks what somebody wants to call a room, and what it shall be like.
pub(crate) fn check_room(name: &str, options: &RoomOptions) -> Result<(), ControlError> {
    check_room_name(name)?;
    check_room_options(options)
}

fn check_room_name(room: &str) -> Result<(), ControlError> {
    if room.is_empty() || room.contains('/') {
        return Err(ControlError::bad_message("A room's name has at least one character, and no slash."));
    }
    check_length("room's name", room, MAX_ROOM)?;
    check_text("room's name", room)?;
    check_segment("room's name", room)
}

/// Refuses what a client would take out of a URL, escaped or not (RFC 3986 section 5.2.4).
fn check_segment(what: &str, text: &str) -> Result<(), ControlError> {
    if matches!(text, "." | "..") {
        return Err(ControlError::bad_message(format!("The {what} cannot be `{text}`, which cannot stand in a URL.")));
    }
    Ok(())
}

fn check_room_options(options: &RoomOptions) -> Result<(), ControlError> {
    check_metadata("room's metadata", options.metadata.as_deref().unwrap_or_default())?;
    check_caps([options.publish_video, options.subscribe_video])
}

/// Refuses a name that is too long.
fn check_length(what: &str, text: &str, max: usize) -> Result<(), ControlError> {
    if text.chars().nth(max).is_some() {
        return Err(ControlError::bad_message(format!("The {what} has more than {max} characters.")));
    }
    Ok(())
}

/// Refuses a name that a terminal, a log or a page would show as something else.
pub(crate) fn check_text(what: &str, text: &str) -> Result<(), ControlError> {
    match text.chars().find(|c| misleads(*c)) {
        Some(c) => {
            let text = format!("The {what} has the control character {}, which no name may have.", c.escape_unicode());
            Err(ControlError::bad_message(text))
        }
        None => Ok(()),
    }
}

/// Refuses free text that is too long, or has what no text has: in JSON a control character takes six bytes.
pub(crate) fn check_metadata(what: &str, text: &str) -> Result<(), ControlError> {
    if text.len() > MAX_METADATA {
        return Err(ControlError::limit(format!("The {what} has more than {MAX_METADATA} bytes.")));
    }
    match text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        Some(c) => {
            let text = format!("The {what} has the control character {}, which is no text.", c.escape_unicode());
            Err(ControlError::bad_message(text))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::unix_time;
    use serde_json::{Value, json};
    use sfu_proto::v1::ErrorCode;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn authenticator() -> Authenticator {
        let keys = [("key".to_owned(), SECRET.to_owned())].into();
        Authenticator::new(&AuthConfig { keys, open: false })
    }

    fn claims() -> Claims {
        Claims {
            iss: "key".into(),
            sub: "alice".into(),
            exp: unix_time().as_secs() + 60,
            nbf: None,
            room: "demo".into(),
            name: Some("Alice".into()),
            metadata: None,
            grants: GrantClaims { publish: true, ..GrantClaims::default() },
            room_options: None,
        }
    }

    fn refusal(claims: &Claims, secret: &str) -> ControlError {
        authenticator().admit(&sign(claims, secret).unwrap(), "demo", None).unwrap_err()
    }

    #[test]
    fn a_good_token_admits() {
        let permit = authenticator().admit(&sign(&claims(), SECRET).unwrap(), "demo", None).unwrap();
        assert_eq!((permit.identity.as_str(), permit.name.as_deref()), ("alice", Some("Alice")));
        assert!(permit.grants.publish && !permit.grants.subscribe && permit.grants.create);
    }

    #[test]
    fn times_may_have_fractions() {
        let raw = |exp: &str| {
            let claims =
                json!({ "iss": "key", "room": "demo", "exp": serde_json::from_str::<Value>(exp).unwrap(), "nbf": 0.5 });
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            authenticator().admit(&token, "demo", None).map(drop).map_err(|error| error.code)
        };
        assert_eq!(raw("9999999999.75"), Ok(()));
        for bad in ["-1.5", "\"9999999999\"", "null", "1.5"] {
            assert_eq!(raw(bad), Err(ErrorCode::Unauthenticated), "{bad}");
        }
    }

    #[test]
    fn bad_tokens_are_refused() {
        let past = unix_time().as_secs() - 60;
        let future = unix_time().as_secs() + 60;
        assert!(refusal(&Claims { exp: past, ..claims() }, SECRET).message.contains("expired"));
        assert!(refusal(&Claims { nbf: Some(future), ..claims() }, SECRET).message.contains("not valid yet"));
        assert!(refusal(&claims(), "another secret").message.contains("signature"));
        let told = |header: &Header, more: Value| {
            let mut claims = json!({ "iss": "key", "room": "demo", "exp": future });
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            let token = jsonwebtoken::encode(header, &claims, &key).unwrap();
            authenticator().admit(&token, "demo", None).unwrap_err().message
        };
        assert!(told(&Header::new(Algorithm::HS512), json!({})).contains("HS256"));
        assert!(told(&Header::default(), json!({ "exp": 1e300 })).contains("`exp`"));
        assert!(told(&Header::default(), json!({ "aud": "other" })).contains("audience"));
        assert!(refusal(&Claims { iss: "other".into(), ..claims() }, SECRET).message.contains("API key"));
        assert_eq!(refusal(&Claims { room: "other".into(), ..claims() }, SECRET).code, ErrorCode::Forbidden);
        assert_eq!(refusal(&Claims { sub: "x".repeat(129), ..claims() }, SECRET).code, ErrorCode::BadMessage);
        for garbage in ["", "x", "a.b.c", "🦀.🦀.🦀"] {
            let error = authenticator().admit(garbage, "demo", None).unwrap_err();
            assert_eq!(error.code, ErrorCode::Unauthenticated, "{garbage}");
        }
    }

    #[test]
    fn an_invitation_gives_everybody_an_identity_of_their_own() {
        let token = sign(&Claims { sub: String::new(), ..claims() }, SECRET).unwrap();
        let identity = || authenticator().admit(&token, "demo", None).unwrap().identity;
        assert_ne!(identity(), identity());
    }

    #[test]
    fn another_algorithm_is_refused() {
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJrZXkiLCJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5LCJyb29tIjoiZGVtbyJ9.";
        assert_eq!(authenticator().admit(unsigned, "demo", None).unwrap_err().code, ErrorCode::Unauthenticated);
        let hs512 = jsonwebtoken::encode(
            &Header::new(Algorithm::HS512),
            &claims(),
            &EncodingKey::from_secret(SECRET.as_bytes()),
        );
        assert_eq!(authenticator().admit(&hs512.unwrap(), "demo", None).unwrap_err().code, ErrorCode::Unauthenticated);
    }

    #[test]
    fn a_token_with_critical_extensions_is_refused() {
        for crit in [r#"["http://example.com/unknown"]"#, r#"["b64"]"#, "[]", "null", "\"exp\"", "[7]"] {
            let error = authenticator().admit(&with_header("crit", crit), "demo", None).expect_err(crit);
            assert!(error.code == ErrorCode::Unauthenticated && error.message.contains("crit"), "{}", error.message);
        }
    }

    #[test]
    fn a_payload_that_is_not_base64url_is_refused() {
        for b64 in ["false", "null", "\"true\"", "1"] {
            let error = authenticator().admit(&with_header("b64", b64), "demo", None).expect_err(b64);
            assert!(error.code == ErrorCode::Unauthenticated && error.message.contains("b64"), "{}", error.message);
        }
        assert!(authenticator().admit(&with_header("b64", "true"), "demo", None).is_ok(), "the default");
    }

    #[test]
    fn a_payload_that_is_no_text_is_refused() {
        let mut payload = serde_json::to_vec(&claims()).unwrap();
        assert!(authenticator().admit(&signed(r#"{"alg":"HS256"}"#, &payload), "demo", None).is_ok());
        payload.splice(1..1, *b"\"unknown\":\"\xff\",");
        let error = authenticator().admit(&signed(r#"{"alg":"HS256"}"#, &payload), "demo", None).unwrap_err();
        assert!(error.code == ErrorCode::Unauthenticated && error.message.contains("payload"), "{}", error.message);
    }

    /// A good token but for a further parameter in its header.
    fn with_header(name: &str, value: &str) -> String {
        let header = format!(r#"{{"alg":"HS256","typ":"JWT","{name}":{value}}}"#);
        signed(&header, &serde_json::to_vec(&claims()).unwrap())
    }

    fn signed(header: &str, claims: &[u8]) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_without_expiry_is_refused() {
        let claims = serde_json::json!({ "iss": "key", "sub": "a", "room": "demo" });
        let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes()));
        assert_eq!(authenticator().admit(&token.unwrap(), "demo", None).unwrap_err().code, ErrorCode::Unauthenticated);
    }

    #[test]
    fn the_star_opens_every_room_and_admin_needs_its_grant() {
        let token = sign(&Claims { room: "*".into(), ..claims() }, SECRET).unwrap();
        assert!(authenticator().admit(&token, "anything", None).is_ok());
        assert_eq!(authenticator().admit_admin(&token).unwrap_err().code, ErrorCode::Forbidden);
        let grants = GrantClaims { admin: true, ..GrantClaims::default() };
        assert!(authenticator().admit_admin(&sign(&Claims { grants, ..claims() }, SECRET).unwrap()).is_ok());
    }

    #[test]
    fn an_open_server_takes_anybody_but_checks_tokens_of_its_own() {
        let keys = [("devkey".to_owned(), "a-secret-of-the-development-server".to_owned())].into();
        let open = Authenticator::new(&AuthConfig { open: true, keys });
        for foreign in ["", "garbage", "mystream"] {
            assert!(open.admit(foreign, "demo", None).unwrap().identity.starts_with("guest-"), "{foreign:?}");
        }
        let token = |iss: &str, secret: &str| {
            let claims = serde_json::json!({ "iss": iss, "exp": 4_000_000_000_u64, "room": "other" });
            sign(&serde_json::from_value(claims).unwrap(), secret).unwrap()
        };
        assert!(open.admit(&token("another", "key"), "demo", None).is_ok(), "for another server");
        let ours = open.admit(&token("devkey", "a-secret-of-the-development-server"), "demo", None);
        assert_eq!(ours.unwrap_err().code, ErrorCode::Forbidden, "for another room");
        assert!(open.admit(&token("devkey", "forged"), "demo", None).is_err());
        assert!(open.admit(&signed(r#"{"alg":"HS256"}"#, br#"{"iss":"devkey"}"#), "demo", None).is_err());
        assert!(open.admit_admin("").is_err(), "the admin API always wants a token");
    }

    #[test]
    fn room_names_are_checked() {
        let open = Authenticator::new(&AuthConfig { open: true, ..AuthConfig::default() });
        for bad in ["", "a/b", "a\nb", &"x".repeat(129)] {
            assert_eq!(open.admit("", bad, None).unwrap_err().code, ErrorCode::BadMessage, "{bad:?}");
        }
    }
}
