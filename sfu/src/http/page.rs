//! The page: the files of `web/`, carried in the binary, or read from a folder while somebody works on them.

use super::problem::Problem;
use crate::control::Control;
use crate::files;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};

/// Name and content of every file.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Most bytes of a file of one's own page.
const MAX_FILE: u64 = 64 << 20;

/// What is known of a built-in file.
struct File {
    content: &'static [u8],
    etag: String,
}

static BY_NAME: LazyLock<HashMap<&str, File>> = LazyLock::new(|| {
    let file = |content: &'static [u8]| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let etag = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        File { content, etag: format!("\"{etag}\"") }
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
    let read = tokio::task::spawn_blocking(move || files::read(&path, MAX_FILE));
    match read.await.map_err(std::io::Error::other).flatten() {
        Ok(bytes) => content(name, bytes.into()),
        Err(_) => not_found(),
    }
}

/// Browsers ask each time whether the file changed, since a new server may carry a new page.
fn content(name: &str, bytes: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type(name)), (header::CACHE_CONTROL, "no-cache")];
    (headers, bytes).into_response()
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
