//! Test vectors of RFC 7714 sections 16 and 17 and RFC 3711 appendix B.

use super::*;
use crate::srtp::hex;

const GCM_KEY: &str = "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f";
const GCM_SALT: &[u8; 12] = b"Quid pro quo";

fn gcm(key_len: usize) -> Cipher {
    Cipher::gcm(&hex(GCM_KEY)[..key_len], *GCM_SALT).unwrap()
}

#[test]
fn rfc_7714_section_16() {
    let plain = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
        61727465 73207472 6573");
    let sealed_128 = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
        51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";
    let sealed_256 = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02
        76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
    for (key_len, sealed) in [(16, sealed_128), (32, sealed_256)] {
        let cipher = gcm(key_len);
        let mut packet = plain.clone();
        cipher.seal_rtp(&mut packet, 0, 12, (0x5501_a0b2, 0xf17b)).unwrap();
        assert_eq!(packet, hex(sealed), "AES with {key_len} bytes");
        assert_eq!(cipher.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }
}

/// The sealed packets are those of sections 17.1 and 17.3; the plaintext ends as they decrypt, not as the text of
/// the RFC prints it.
#[test]
fn rfc_7714_section_17() {
    let plain = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
        deadbeef deadbeef deadbeef");
    let sealed_128 = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
        4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";
    let sealed_256 = "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be
        8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4";
    for (key_len, sealed) in [(16, sealed_128), (32, sealed_256)] {
        let cipher = gcm(key_len);
        let mut packet = plain.clone();
        packet.resize(plain.len() + GCM_TAG + RTCP_INDEX, 0);
        cipher.seal_rtcp(&mut packet, 0x5d4).unwrap();
        assert_eq!(packet, hex(sealed), "AES with {key_len} bytes");
        assert_eq!(cipher.rtcp_index(&packet), Ok(0x5d4));
        assert_eq!(cipher.open_rtcp(&mut packet, 0x5d4), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }
}

#[test]
fn rfc_3711_appendix_b_2() {
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let salt = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd").try_into().unwrap();
    let mut stream = [0; 48];
    counter_mode(&key).unwrap().less_safe_encrypt(&mut stream, counter(&salt, 0, 0)).unwrap();
    let expected = "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0";
    assert_eq!(stream[..], hex(expected));
}

fn check_rtp(master: &MasterKey, sealed: &str) {
    let plain = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
    let cipher = Cipher::for_rtp(master);
    let mut packet = plain.clone();
    cipher.seal_rtp(&mut packet, 0, 12, (0xcafe_babe, 0x1234)).unwrap();
    assert_eq!(packet, hex(sealed));
    assert_eq!(cipher.open_rtp(&mut packet, 12, 0xcafe_babe, 0x1234), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
}

fn check_rtcp(master: &MasterKey, sealed: &str) {
    let plain = hex("81c8000b cafebabe abababab abababab abababab abababab");
    let cipher = Cipher::for_rtcp(master);
    let mut packet = [plain.clone(), vec![0; cipher.tag_len() + RTCP_INDEX]].concat();
    cipher.seal_rtcp(&mut packet, 1).unwrap();
    assert_eq!(packet, hex(sealed));
    assert_eq!(cipher.rtcp_index(&packet), Ok(1));
    assert_eq!(cipher.open_rtcp(&mut packet, 1), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
}

/// The packets by which libsrtp checks itself, from master key to tag.
#[test]
fn packets_as_libsrtp_seals_them() {
    let (key, salt) = (hex("e1f97a0d3e018be0d64fa32c06de4139"), hex("0ec675ad498afeebb6960b3aabe6"));
    let master = MasterKey::new(SrtpProfile::Aes128CmHmacSha1_80, &key, &salt).unwrap();
    check_rtp(&master, "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb");
    check_rtcp(&master, "81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 0798");

    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    let master = MasterKey::new(SrtpProfile::AeadAes128Gcm, &key, &salt).unwrap();
    let rtp = "800f1234 decafbad cafebabe c5002ede 04cfdd2e b91159e0 880aa06e d2976826 f796b201 df3131a1 27e8a392";
    check_rtp(&master, rtp);
    let rtcp = "81c8000b cafebabe c98b8b5d f0392a55 852b6c21 ac8e7025 c52c6fbe a2b3b446 ea31123b a88ce61e 80000001";
    check_rtcp(&master, rtcp);
}
