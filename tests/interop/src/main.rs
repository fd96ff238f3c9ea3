//! `str0m-whip`: the server as a program, for trying clients by hand.

use anyhow::{Context, Result};
use clap::Parser;
use std::net::SocketAddr;
use tokio::net::{TcpListener, UdpSocket};

/// A small WHIP/WHEP server on str0m: publish to /whip/ROOM/STREAM, play from /whep/ROOM/STREAM.
#[derive(Parser)]
struct Cli {
    /// Where to listen for HTTP.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where media arrives; also the only candidate that is offered.
    #[arg(long, default_value = "127.0.0.1:8081")]
    media: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let http = TcpListener::bind(cli.http).await.with_context(|| format!("cannot listen on {}", cli.http))?;
    let media = UdpSocket::bind(cli.media).await.with_context(|| format!("cannot open UDP {}", cli.media))?;
    println!("http://{}/whip/ROOM/STREAM and /whep/ROOM/STREAM, media on {}", http.local_addr()?, media.local_addr()?);
    sfu_interop::serve(http, media).await
}
