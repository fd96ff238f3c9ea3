//! What `--dev` means: keys that everybody knows, no token asked for, and a page that cannot be opened from outside.

use crate::config::Config;
use std::net::IpAddr;

/// API key of every --dev server.
pub(super) const DEV_KEY: &str = "devkey";
/// Its secret. Everybody knows it, so a server that uses it is open to everybody who reaches it.
pub(super) const DEV_SECRET: &str = "dev-secret-that-everybody-knows-01";

/// Turns `config` into that of a --dev server. Without an explicit address it takes signalling, and so participants,
/// on loopback only. Media is offered on the machine's other addresses all the same: Firefox does not use loopback.
pub(super) fn apply(config: &mut Config, bind_given: bool, node_ip_given: bool) {
    config.auth.open = true;
    config.auth.keys.entry(DEV_KEY.into()).or_insert_with(|| DEV_SECRET.into());
    config.http.drain_seconds = 0;
    if !bind_given && !node_ip_given {
        config.http.bind = IpAddr::from([127, 0, 0, 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_unless_told_otherwise() {
        let mut config = Config::default();
        apply(&mut config, false, false);
        assert!(config.http.bind.is_loopback() && config.media.bind.is_unspecified());
        let mut open = Config::default();
        apply(&mut open, false, true);
        assert!(open.http.bind.is_unspecified() && open.auth.open);
    }

    #[test]
    fn the_dev_secret_is_long_enough_to_be_configured() {
        assert!(DEV_SECRET.len() >= 32);
    }
}
