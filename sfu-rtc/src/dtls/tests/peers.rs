//! Peers of either version and with other keys than ours.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use dimpl::crypto::{Buf, CryptoProvider, KeyProvider, SigningKey};
use dimpl::{CryptoError, HashAlgorithm, SignatureAlgorithm};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};

/// DTLS versions of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Dtls12,
    Dtls13,
}

pub(super) const VERSIONS: [Version; 2] = [Version::Dtls12, Version::Dtls13];

/// A peer's certificate with an ECDSA P-256 key.
pub(super) fn p256(version: Version) -> DtlsCertificate {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    DtlsCertificate::with(certificate, dimpl::Config::builder(), make(version))
}

fn make(version: Version) -> super::super::certificate::Make {
    match version {
        Version::Dtls12 => dimpl::Dtls::new_12,
        Version::Dtls13 => dimpl::Dtls::new_13,
    }
}

/// One with an ECDSA P-256 key that is larger than a datagram.
fn large(version: Version) -> DtlsCertificate {
    let names: Vec<_> = (0..150).map(|i| format!("{i}.a-peer-of-many-names.example")).collect();
    let certificate = certificate(&KeyPair::generate().unwrap(), names);
    assert!(certificate.certificate.len() > 4_000);
    DtlsCertificate::with(certificate, dimpl::Config::builder(), make(version))
}

fn signed(key: &KeyPair) -> dimpl::DtlsCertificate {
    certificate(key, vec!["peer".to_owned()])
}

fn certificate(key: &KeyPair, names: Vec<String>) -> dimpl::DtlsCertificate {
    let certificate = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
    dimpl::DtlsCertificate { certificate: certificate.der().to_vec(), private_key: key.serialize_der() }
}

fn p384(version: Version) -> DtlsCertificate {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    DtlsCertificate::with(signed(&key), dimpl::Config::builder(), make(version))
}

pub(super) fn rsa(version: Version, size: RsaKeySize) -> DtlsCertificate {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap();
    let key_provider: &'static dyn KeyProvider = match version {
        Version::Dtls12 => &RsaKeys(Version::Dtls12),
        Version::Dtls13 => &RsaKeys(Version::Dtls13),
    };
    let provider = CryptoProvider { key_provider, ..dimpl::crypto::aws_lc_rs::default_provider() };
    let config = dimpl::Config::builder().with_crypto_provider(provider);
    DtlsCertificate::with(signed(&key), config, make(version))
}

/// Signs with RSA, which our own side never does.
#[derive(Debug)]
struct RsaKeys(Version);

#[derive(Debug)]
struct RsaKey(RsaKeyPair, Version);

impl KeyProvider for RsaKeys {
    fn load_private_key(&self, der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = RsaKeyPair::from_pkcs8(der).map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(RsaKey(key, self.0)))
    }
}

impl SigningKey for RsaKey {
    fn sign(&mut self, data: &[u8], _: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let encoding: &'static dyn RsaEncoding = match self.1 {
            Version::Dtls12 => &RSA_PKCS1_SHA256,
            Version::Dtls13 => &RSA_PSS_SHA256,
        };
        self.0.sign(encoding, &SystemRandom::new(), data, &mut signature).expect("a signature");
        out.clear();
        out.extend_from_slice(&signature);
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

#[test]
fn every_kind_of_key_is_taken_in_both_roles_and_versions() {
    for version in VERSIONS {
        let peers = [
            p256(version),
            p384(version),
            large(version),
            rsa(version, RsaKeySize::_2048),
            rsa(version, RsaKeySize::_3072),
            rsa(version, RsaKeySize::_4096),
        ];
        for (kind, peer) in peers.iter().enumerate() {
            for role in [CLIENT, SERVER] {
                let mut pair = Pair::ours_and(peer, role);
                pair.run_clean();
                assert!(pair.sides[role].keys.is_some(), "{version:?}, key {kind}, we are {role}");
                pair.assert_same_keys();
            }
        }
    }
}

/// Shows a certificate whose key it has not.
pub(super) fn thief(version: Version) -> DtlsCertificate {
    let shown = dimpl::certificate::generate_self_signed_certificate().unwrap();
    let mut held = dimpl::certificate::generate_self_signed_certificate().unwrap();
    held.certificate = shown.certificate;
    DtlsCertificate::with(held, dimpl::Config::builder(), make(version))
}

#[test]
fn a_peer_that_shows_the_certificate_of_another_gets_no_keys() {
    for version in VERSIONS {
        let thief = thief(version);
        for role in [CLIENT, SERVER] {
            let mut pair = Pair::ours_and(&thief, role);
            pair.run(Duration::from_secs(60), || (1, Duration::ZERO));
            assert!(pair.sides[role].keys.is_none(), "{version:?}");
            assert_eq!(pair.sides[role].closed, Some(DtlsClosed::Failed), "{version:?}");
        }
    }
}

#[test]
fn a_thousand_handshakes_at_ten_percent_loss_all_succeed() {
    let peers = VERSIONS.map(|version| [p256(version), rsa(version, RsaKeySize::_2048)]);
    let mut state = 7u64;
    let mut lost = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33).is_multiple_of(10)
    };
    let mut slowest = Duration::ZERO;
    for round in 0..1_000 {
        let peer = &peers[round % 2][round / 2 % 2];
        let mut pair = Pair::ours_and(peer, round / 4 % 2);
        let took = pair.connect(Duration::from_secs(15), || (usize::from(!lost()), Duration::ZERO));
        slowest = slowest.max(took.unwrap_or_else(|| panic!("round {round}: {pair:?}")));
        pair.assert_same_keys();
    }
    println!("slowest handshake: {slowest:?}");
}

#[test]
fn hellos_without_anything_in_common_get_an_alert_at_once() {
    // A ClientHello for DTLS 1.2 alone, whose suites or extensions are then overwritten.
    let hello = || {
        let mut pair = Pair::ours_and(&p256(Version::Dtls12), SERVER);
        let mut hello = Vec::new();
        pair.poll(CLIENT, |_, _, packet| hello = packet);
        (pair, hello)
    };
    let place = |hello: &[u8], what: &[u8]| hello.windows(what.len()).position(|at| at == what).unwrap();
    for spoil in [
        // Extended master secret becomes an unknown extension.
        |hello: &mut Vec<u8>, at: &dyn Fn(&[u8], &[u8]) -> usize| {
            let at = at(hello, &[0, 23, 0, 0]);
            hello[at] = 0x7f;
        },
        // So does the offer of SRTP profiles (RFC 5764 section 4.1.1).
        |hello: &mut Vec<u8>, at: &dyn Fn(&[u8], &[u8]) -> usize| {
            let at = at(hello, &[0, 14, 0, 9, 0, 6]);
            hello[at] = 0x7f;
        },
        // Each suite becomes an unknown one.
        |hello: &mut Vec<u8>, _: &dyn Fn(&[u8], &[u8]) -> usize| {
            // Record and message header, version, random, empty session and cookie.
            let suites = 13 + 12 + 2 + 32 + 1 + 1;
            let len = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
            hello[suites + 2..suites + 2 + len].fill(0x5a);
        },
    ] {
        let (mut pair, good) = hello();
        let mut bad = good.clone();
        spoil(&mut bad, &place);
        let now = pair.now;
        assert!(pair.sides[SERVER].endpoint.handle_packet(now, &bad).is_err());
        let mut sent = Vec::new();
        pair.poll(SERVER, |_, _, packet| sent.push(packet));
        assert!(matches!(sent.as_slice(), [alert] if alert[0] == 21 && alert[13..] == [2, 40]), "{sent:?}");
        // Nobody authenticated it, so that the true one is still taken.
        pair.link.push_back((now, SERVER, good));
        pair.run_clean();
        pair.assert_same_keys();
    }
}

/// Hands each other's datagrams over at once, as long as there are any; all of them, each with its receiver.
fn exchange(pair: &mut Pair) -> Vec<(usize, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let mut news = Vec::new();
        for side in [CLIENT, SERVER] {
            pair.poll(side, |_, to, packet| news.push((to, packet)));
        }
        if news.is_empty() {
            return all;
        }
        for (to, packet) in &news {
            let _ = pair.sides[*to].endpoint.handle_packet(pair.now, packet);
        }
        all.extend(news);
    }
}

#[test]
fn a_stranger_hears_at_once_that_its_certificate_is_bad() {
    for version in VERSIONS {
        for role in [CLIENT, SERVER] {
            let mut pair = Pair::ours_and(&p256(version), role);
            let [ours, other] = certificates();
            let dtls_role = if role == CLIENT { DtlsRole::Client } else { DtlsRole::Server };
            pair.sides[role].endpoint = DtlsEndpoint::new(dtls_role, ours, vec![other.fingerprint().clone()], pair.now);
            let sent = exchange(&mut pair);
            assert_eq!(pair.sides[role].closed, Some(DtlsClosed::WrongFingerprint), "{version:?}, we are {role}");
            let peer = &pair.sides[1 - role];
            if (version, role) == (Version::Dtls12, SERVER) {
                // Instead of our Finished, and so in plaintext, which a peer of ours does not believe.
                let last = sent.iter().rfind(|(to, _)| *to == CLIENT).map(|(_, packet)| packet.as_slice());
                assert!(matches!(last, Some([21, .., 2, 42])), "{last:?}");
                assert!(peer.keys.is_none());
            } else {
                assert_eq!(peer.closed, Some(DtlsClosed::Failed), "{version:?}, we are {role}: {pair:?}");
            }
        }
    }
}

#[test]
fn a_client_whose_certificate_is_of_no_use_gets_an_alert_at_once() {
    let ed25519 = signed(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()).certificate;
    for (certificate, alert) in [(None, 40), (Some(ed25519), 43)] {
        let mut pair = Pair::ours_and(&p256(Version::Dtls12), SERVER);
        // Up to the client's flight, which begins with its Certificate.
        let mut flight: Vec<Vec<u8>> = Vec::new();
        while flight.first().is_none_or(|first| first[13] != 11) {
            let mut other = Vec::new();
            flight.clear();
            pair.poll(SERVER, |_, _, packet| other.push(packet));
            other.iter().for_each(|packet| pair.sides[CLIENT].endpoint.handle_packet(pair.now, packet).unwrap());
            pair.poll(CLIENT, |_, _, packet| flight.push(packet));
            if flight[0][13] != 11 {
                pair.sides[SERVER].endpoint.handle_packet(pair.now, &flight[0]).unwrap();
            }
        }
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
        let list = certificate.map_or(Vec::new(), |der| [&length(der.len())[1..], &der].concat());
        let body = [&length(list.len())[1..], &list].concat();
        let size = &length(body.len())[1..];
        // Message header of RFC 6347 section 4.2.2, with the number that the client gave it.
        let message = [&[11], size, &flight[0][17..19], &[0, 0, 0], size, &body].concat();
        let record = [&flight[0][..11], &length(message.len())[2..], &message].concat();
        let now = pair.now;
        assert!(pair.sides[SERVER].endpoint.handle_packet(now, &record).is_err());
        let mut sent = Vec::new();
        pair.poll(SERVER, |_, _, packet| sent.push(packet));
        assert!(matches!(sent.as_slice(), [packet] if packet[0] == 21 && packet[13..] == [2, alert]), "{sent:?}");
        // Nobody authenticated it, so that the true one is still taken.
        flight.into_iter().for_each(|packet| pair.link.push_back((now, SERVER, packet)));
        pair.run_clean();
        pair.assert_same_keys();
    }
}
