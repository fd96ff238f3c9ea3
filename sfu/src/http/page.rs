//! The page: the files of `web/`, carried in the binary, or read from a folder while somebody works on them.

use super::problem::Problem;
use crate::control::Control;
use crate::files;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};

/// Name and content of every file.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// A file of one's own page is read in pieces of so many bytes, as its reader takes them: whoever takes none holds little.
const PIECE: usize = 8 * 1024;

/// What is known of a built-in file.
struct BuiltIn {
    content: &'static [u8],
    etag: String,
}

static BY_NAME: LazyLock<HashMap<&str, BuiltIn>> = LazyLock::new(|| {
    let file = |content: &'static [u8]| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let etag = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        BuiltIn { content, etag: format!("\"{etag}\"") }
    };
    FILES.iter().map(|(name, content)| (*name, file(content))).collect()
});

/// Serves one file.
pub(crate) async fn serve(
    State(control): State<Arc<Control>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Pages are read, by GET or HEAD.");
        return problem.with(header::ALLOW, HeaderValue::from_static("GET, HEAD")).into_response();
    }
    let name = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let folder = &control.config.http.web_dir;
    if !folder.as_os_str().is_empty() {
        return from_folder(folder, name).await;
    }
    let Some(file) = BY_NAME.get(name) else { return not_found() };
    let mut response = if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == file.etag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        content(name, Bytes::from_static(file.content))
    };
    let etag = HeaderValue::from_str(&file.etag).expect("hexadecimal");
    response.headers_mut().insert(header::ETAG, etag);
    response
}

async fn from_folder(folder: &Path, name: &str) -> Response {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return not_found();
    }
    let path = folder.join(name);
    match files::aside(move || files::open(&path)).await {
        Ok((file, length)) => {
            let body = Body::from_stream(stream::try_unfold((file, length), |(file, left)| next_piece(file, left)));
            ([(header::CONTENT_LENGTH, HeaderValue::from(length))], content(name, body)).into_response()
        }
        Err(_) => not_found(),
    }
}

/// The next piece of a file of which so many bytes are left. One that has become shorter is an error, which the reader
/// learns of by the connection's end.
async fn next_piece(mut file: File, left: u64) -> io::Result<Option<(Bytes, (File, u64))>> {
    if left == 0 {
        return Ok(None);
    }
    let read = move || -> io::Result<_> {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        file.read_exact(&mut piece)?;
        Ok((piece, file))
    };
    let (piece, file) = files::aside(read).await?;
    let left = left - piece.len() as u64;
    Ok(Some((piece.into(), (file, left))))
}

/// Browsers ask each time whether the file changed, since a new server may carry a new page.
fn content(name: &str, body: impl IntoResponse) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type(name)), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is no such page. The start page is at /.\n").into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_in_the_binary() {
        assert!(BY_NAME.contains_key("index.html"));
        assert_eq!(media_type("js/main.js"), "text/javascript; charset=utf-8");
    }

    #[tokio::test]
    async fn no_way_out_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        assert_eq!(from_folder(&folder, "index.html").await.status(), StatusCode::OK);
        for name in ["../Cargo.toml", "/etc/passwd", "js/../../Cargo.toml", "."] {
            assert_eq!(from_folder(&folder, name).await.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }
}
