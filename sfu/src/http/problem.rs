//! Refusals over HTTP: a status, and a JSON body with a code for programs and a sentence for people (RFC 9457).

use crate::control::ControlError;
use crate::text::escape;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sfu_proto::v1::ErrorCode;

/// A refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Whether the same may be asked again in a moment.
    retry: bool,
    /// A further header field.
    field: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let retry = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        Self { status, detail: escape(&detail.into()).into_owned(), retry, field: None }
    }

    /// With a further header field.
    pub(crate) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { field: Some((name, value)), ..self }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let status = match error.code {
            ErrorCode::BadMessage | ErrorCode::Unspecified => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::RoomFull | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Limit if error.retry => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::BadSdp | ErrorCode::Limit => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::NothingUsable => StatusCode::NOT_ACCEPTABLE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let retry = error.retry || status == StatusCode::SERVICE_UNAVAILABLE;
        Self { status, detail: error.message, retry, field: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some((name, value)) = self.field {
            headers.insert(name, value);
        }
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
