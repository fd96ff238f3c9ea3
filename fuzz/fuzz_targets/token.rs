//! Tokens: any text, and any header and claims with a true signature. Nobody is admitted but by HS256, in time, without
//! extensions that we do not know, to the room and with the rights that the claims name.

#![no_main]

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sfu::fuzzing::{Admitted, Tokens};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of the fuzz target's own";
/// Clocks may be off by this much, and the test takes a moment.
const LEEWAY: f64 = 7.0;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

fn tokens() -> &'static Tokens {
    static TOKENS: OnceLock<Tokens> = OnceLock::new();
    TOKENS.get_or_init(|| Tokens::new("key", SECRET))
}

// A byte for the kind; then the text, or header and claims with a line end between.
fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    if kind % 4 == 0 {
        if let Ok(text) = str::from_utf8(data) {
            let refused = tokens().admit(text, "room").err().expect("the signature cannot be guessed");
            check_refusal(&refused);
            check_refusal(&tokens().admit_admin(text).expect_err("the signature cannot be guessed"));
        }
        return;
    }
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let algorithm = ALGORITHMS[usize::from(kind >> 2) % 3];
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(signed.as_bytes(), &key, algorithm).expect("a secret signs");
    let token = format!("{signed}.{signature}");
    match tokens().admit(&token, "room") {
        Ok(admitted) => {
            let claims = check_token(header, claims, algorithm);
            check_grants(&admitted, &claims);
            assert!(claims["room"] == "room" || claims["room"] == "*");
        }
        Err(refused) => check_refusal(&refused),
    }
    match tokens().admit_admin(&token) {
        Ok(()) => assert_eq!(check_token(header, claims, algorithm)["grants"]["admin"], true),
        Err(refused) => check_refusal(&refused),
    }
});

/// What must hold of every token that counts; its claims.
fn check_token(header: &[u8], claims: &[u8], algorithm: Algorithm) -> Value {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).expect("it was read");
    let (header, claims) = (read(header), read(claims));
    assert!(header["alg"] == "HS256" && algorithm == Algorithm::HS256, "{header}");
    assert!(header["crit"].is_null(), "{header}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(claims["exp"].as_f64().expect("a number") > now - LEEWAY, "{claims}");
    assert!(claims["nbf"].is_null() || claims["nbf"].as_f64().expect("a number") < now + LEEWAY, "{claims}");
    assert_eq!(claims["iss"], "key");
    claims
}

fn check_grants(admitted: &Admitted, claims: &Value) {
    let names = ["publish", "subscribe", "data", "moderate", "admin"];
    for (name, granted) in names.into_iter().zip(admitted.grants) {
        assert_eq!(claims["grants"][name].as_bool().unwrap_or(false), granted, "{name} in {claims}");
    }
    let identity = claims["sub"].as_str().unwrap_or_default();
    assert!(admitted.identity == identity || (identity.is_empty() && admitted.identity.starts_with("guest-")));
    assert!(admitted.identity.chars().count() <= 128 && !admitted.identity.contains(char::is_control));
}

/// A refusal says why, and nothing that a log would show as something else.
fn check_refusal(why: &str) {
    assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
}
