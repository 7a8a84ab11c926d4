//! Finding sagas by personal fields, without a personal field in any key of the store: the index
//! holds keyed hashes of them.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// Length of a key in bytes: that of the hash, beyond which more adds nothing (RFC 2104).
pub const SEARCH_KEY_BYTES: usize = 32;

/// The key of a store's search index. Whoever has the index alone cannot try out addresses on it.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchKey([u8; SEARCH_KEY_BYTES]);

impl SearchKey {
    /// Takes random bytes.
    pub fn new(bytes: [u8; SEARCH_KEY_BYTES]) -> SearchKey {
        SearchKey(bytes)
    }

    /// What stands in the index for a value: 128 bits of HMAC-SHA256 over its normal form. Nothing
    /// for a value that is empty.
    pub(crate) fn hash(&self, value: &str) -> Option<[u8; 16]> {
        let normal = normal(value);
        (!normal.is_empty()).then(|| self.mac(b"found by", normal.as_bytes()))
    }

    /// Tells keys apart without telling them.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        self.mac(b"fingerprint", b"")
    }

    fn mac(&self, purpose: &[u8], value: &[u8]) -> [u8; 16] {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose);
        mac.update(value);
        let mut short = [0; 16];
        short.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        short
    }
}

impl fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SearchKey(…)")
    }
}

/// The form in which values are compared: without white space around them, in lower case (Unicode's
/// simple mapping). Nothing else: whether `ann+shop@` is `ann@` is the mail provider's affair.
fn normal(value: &str) -> String {
    value.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_space_around_do_not_count_and_everything_else_does() {
        let key = SearchKey::new([1; SEARCH_KEY_BYTES]);
        let hash = |value: &str| key.hash(value);
        assert_eq!(hash("Ann@Example.com "), hash("ann@example.COM"));
        assert_eq!(hash("JÖRG@example.com"), hash("jörg@example.com"));
        assert_ne!(hash("ann@example.com"), hash("ann@example.org"));
        assert_ne!(hash("a nn@example.com"), hash("ann@example.com"));
        assert_eq!(hash(" \t"), None);
        let other = SearchKey::new([2; SEARCH_KEY_BYTES]);
        assert_ne!(hash("ann@example.com"), other.hash("ann@example.com"), "it is keyed");
        assert_ne!(key.fingerprint(), other.fingerprint());
        assert_eq!(format!("{key:?}"), "SearchKey(…)");
    }

    #[test]
    fn it_is_the_hmac_that_everybody_computes() {
        // RFC 4231, test case 1, has a key of 20 bytes: HMAC pads keys with zeros.
        let mut key = [0; SEARCH_KEY_BYTES];
        key[..20].fill(0x0b);
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
        mac.update(b"Hi There");
        let expected = [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53];
        assert_eq!(mac.finalize().into_bytes()[..8], expected);
    }
}
