//! Certificate fingerprints (RFC 8122 section 5).

use std::fmt;
use std::str::FromStr;

/// Hash of a certificate, as a=fingerprint carries it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint {
    /// Name of the hash function, lower case ("sha-256").
    pub algorithm: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

/// The text is no fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a fingerprint is a hash name and colon-separated hexadecimal bytes")]
pub struct BadFingerprint;

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hash) = text.trim().split_once(' ').ok_or(BadFingerprint)?;
        let bytes = hash
            .trim()
            .split(':')
            .map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None })
            .collect::<Option<Vec<u8>>>()
            .ok_or(BadFingerprint)?;
        Ok(Self { algorithm: algorithm.to_ascii_lowercase(), bytes })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.algorithm)?;
        for (i, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let fingerprint: Fingerprint = "SHA-256 0A:ff:10".parse().unwrap();
        assert_eq!(fingerprint.to_string(), "sha-256 0A:FF:10");
        for bad in ["", "sha-256", "sha-256 0", "sha-256 0g", "sha-256 0A::ff"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
