use super::base64;
use crate::{Error, ErrorKind, Result};

/// Each peer has this many bits of a filter.
const SEEDS: u32 = 3;

/// A set of peers that may say of a stranger that they are in it, and never of a member that they
/// are not: a Bloom filter, as clients of the protocol `offers` make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFilter {
    /// The lowest bit of a byte is its first.
    bytes: Vec<u8>,
}

impl PeerFilter {
    /// How large a filter may be: room for 21,000 peers, with one stranger in a hundred taken for
    /// one of them.
    pub const MAX_BYTES: usize = 32 * 1024;

    /// A filter in which nobody is. The number of bits is rounded up to whole bytes, and at most
    /// that of [`MAX_BYTES`](Self::MAX_BYTES).
    #[must_use]
    pub fn new(bits: usize) -> Self {
        Self { bytes: vec![0; bits.div_ceil(8).min(Self::MAX_BYTES)] }
    }

    /// A filter as it is sent: its bytes in base64, which is read as `atob` does. In one without
    /// bytes nobody is.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is no base64, or more than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn parse(base64: &str) -> Result<Self> {
        let bytes = base64::decode(base64).filter(|it| it.len() <= Self::MAX_BYTES);
        let bad = || Error::new(ErrorKind::Invalid, "Invalid bloom filter format");
        bytes.map(|bytes| Self { bytes }).ok_or_else(bad)
    }

    /// The filter as it is sent.
    #[must_use]
    pub fn to_base64(&self) -> String {
        base64::encode(&self.bytes)
    }

    /// Puts a peer in. Nothing happens to a filter without bytes.
    pub fn insert(&mut self, peer: &str) {
        for hash in hashes(peer) {
            let Some((at, mask)) = self.bit(hash) else { return };
            self.bytes[at] |= mask;
        }
    }

    /// Whether the peer is in it, or looks like it.
    #[must_use]
    pub fn contains(&self, peer: &str) -> bool {
        let is_set = |hash| self.bit(hash).is_some_and(|(at, mask)| self.bytes[at] & mask != 0);
        hashes(peer).all(is_set)
    }

    fn bit(&self, hash: u32) -> Option<(usize, u8)> {
        let bit = u64::from(hash).checked_rem(self.bytes.len() as u64 * 8)?;
        Some((usize::try_from(bit / 8).ok()?, 1 << (bit % 8)))
    }
}

/// FNV-1a, but over UTF-16 code units, and with a seed.
fn hashes(peer: &str) -> impl Iterator<Item = u32> {
    (0..SEEDS).map(move |seed| {
        let mix = |hash: u32, unit: u16| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193);
        peer.encode_utf16().fold(0x811C_9DC5 ^ seed, mix)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = "f17c195f067255e357232e34cf0735d9";

    #[test]
    fn hashes_and_bits_are_those_of_the_first_server() {
        let (zeros, fs) = ("0".repeat(32), "f".repeat(32));
        for (peer, wanted, bits) in [
            (FIRST, [0x2baa_6bd4, 0xe9f6_e5c5, 0x52b6_6b9a], [980, 453, 922]),
            (&zeros, [0xf0c8_6445, 0x7850_c5c4, 0xa3a8_c547], [69, 452, 327]),
            (&fs, [0xed92_8645, 0x4c75_f284, 0xcae0_ac47], [581, 644, 71]),
            ("a", [0xe40c_292c, 0xe50c_2abf, 0xe60c_2c52], [300, 703, 82]),
            ("naïve-😀", [0x2df0_5d3e, 0x4c25_96b3, 0xf4e3_6d14], [318, 691, 276]),
        ] {
            assert_eq!(hashes(peer).collect::<Vec<_>>(), wanted, "{peer}");
            let mut filter = PeerFilter::new(1024);
            filter.insert(peer);
            let set = |bit: &usize| filter.bytes[bit / 8] >> (bit % 8) & 1 == 1;
            let mut bits = Vec::from(bits);
            bits.sort_unstable();
            assert_eq!((0..1024).filter(set).collect::<Vec<_>>(), bits, "{peer}");
        }
    }

    #[test]
    fn whole_filters_are_those_of_the_first_server() {
        for (bits, peers, text) in [
            (64, vec![FIRST.to_owned()], "IAAQBAAAAAA="),
            (64, vec!["a".to_owned()], "AAAEAAAQAIA="),
            (
                128,
                vec![FIRST.to_owned(), "0".repeat(32), "f".repeat(32)],
                "EAAABAAAAACwABAAAAAAAA==",
            ),
        ] {
            let mut filter = PeerFilter::new(bits);
            peers.iter().for_each(|it| filter.insert(it));
            assert_eq!(filter.to_base64(), text);
            assert_eq!(PeerFilter::parse(text).unwrap(), filter);
            assert!(peers.iter().all(|it| filter.contains(it)));
            assert!(!filter.contains("somebody else"));
        }
    }

    #[test]
    fn nobody_is_in_a_filter_without_bytes() {
        let mut filter = PeerFilter::parse(" ").unwrap();
        filter.insert("a");
        assert!(!filter.contains("a"));
        assert_eq!(filter, PeerFilter::new(0));
    }

    #[test]
    fn what_is_no_base64_or_too_long_is_refused() {
        let full = base64::encode(&vec![255; PeerFilter::MAX_BYTES]);
        assert!(PeerFilter::parse(&full).unwrap().contains("a"));
        let long = base64::encode(&vec![255; PeerFilter::MAX_BYTES + 1]);
        for bad in ["!", "A", "AA=", &long] {
            let error = PeerFilter::parse(bad).unwrap_err();
            let said = (error.kind(), error.to_string());
            assert_eq!(said, (ErrorKind::Invalid, "Invalid bloom filter format".to_owned()));
        }
        assert_eq!(PeerFilter::new(usize::MAX).bytes.len(), PeerFilter::MAX_BYTES);
    }

    proptest! {
        #[test]
        fn members_are_always_in(peers in proptest::collection::vec(".{0,40}", 1..30), bits in 1_usize..3000) {
            let mut filter = PeerFilter::new(bits);
            peers.iter().for_each(|it| filter.insert(it));
            prop_assert!(peers.iter().all(|it| filter.contains(it)));
            prop_assert_eq!(PeerFilter::parse(&filter.to_base64()).unwrap(), filter);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}", peer in ".{0,40}") {
            if let Ok(filter) = PeerFilter::parse(&text) {
                let _ = filter.contains(&peer);
            }
        }
    }
}
