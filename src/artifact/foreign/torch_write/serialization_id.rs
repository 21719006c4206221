//! The id that `torch.save` puts into a file: hashes of the names of its members, and of their checksums.
//!
//! PyTorch takes the names out of a `std::unordered_set`, whose order is that of the C++ library. This is the order of
//! GNU's library, on 64-bit machines, which PyTorch's packages for Linux are built with.

/// The id, for members in the order in which they were written: 40 digits.
pub(super) fn serialization_id<'a>(members: impl Iterator<Item = (&'a str, Option<u32>)>) -> String {
    let (mut names, mut checksums) = (NameSet::default(), 0);
    for (name, checksum) in members {
        names.insert(hash(name.as_bytes()));
        checksums = checksum.map_or(checksums, |checksum| combine(checksums, u64::from(checksum)));
    }
    let names = names.hashes().into_iter().fold(0, combine);
    format!("{names:020}{checksums:020}")
}

/// `at::hash_combine`.
fn combine(seed: u64, value: u64) -> u64 {
    /// 2^32 over the golden ratio.
    const MIX: u64 = 0x9e37_79b9;
    seed ^ value.wrapping_add(MIX).wrapping_add(seed << 6).wrapping_add(seed >> 2)
}

/// `std::hash` of a string in GNU's library: MurmurHash64A with its seed.
fn hash(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    let shift_mix = |value: u64| value ^ (value >> 47);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash = (hash ^ shift_mix(word).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        hash = (hash ^ rest).wrapping_mul(MULTIPLIER);
    }
    shift_mix(shift_mix(hash).wrapping_mul(MULTIPLIER))
}

/// Numbers of buckets that GNU's library grows through, each at least twice the one before.
const BUCKETS: [u64; 16] =
    [13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10_273, 20_753, 42_043, 85_229, 172_933, 351_061, 712_697];

/// The hashes of a set of names, in the order in which GNU's library lists them: of the buckets the one that was begun
/// last comes first, and within a bucket the name that was put in last.
#[derive(Default)]
struct NameSet {
    buckets: u64,
    begun: Vec<u64>,
    filled: std::collections::BTreeMap<u64, Vec<u64>>,
    names: u64,
}

impl NameSet {
    fn insert(&mut self, hash: u64) {
        self.names += 1;
        // One name a bucket on average; the largest number is far above what a file may hold.
        if self.names > self.buckets {
            let earlier = self.hashes();
            self.buckets = BUCKETS.into_iter().find(|&buckets| buckets >= 2 * self.buckets.max(6)).unwrap_or(u64::MAX);
            self.begun.clear();
            self.filled.clear();
            earlier.into_iter().for_each(|hash| self.put(hash));
        }
        self.put(hash);
    }

    fn put(&mut self, hash: u64) {
        let bucket = hash % self.buckets;
        let names = self.filled.entry(bucket).or_default();
        if names.is_empty() {
            self.begun.push(bucket);
        }
        names.push(hash);
    }

    fn hashes(&self) -> Vec<u64> {
        let buckets = self.begun.iter().rev().filter_map(|bucket| self.filled.get(bucket));
        buckets.flat_map(|names| names.iter().rev().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hashed_and_listed_as_by_gnus_library() {
        // `std::hash<std::string>` and `std::unordered_set` of g++ 12, x86-64.
        let hashes = ["", "a", "12345678", "data.pkl", ".format_version"].map(|name| hash(name.as_bytes()));
        let expected = [
            6_142_509_188_972_423_790,
            4_993_892_634_952_068_459,
            10_113_836_418_918_046_885,
            4_941_642_132_189_851_806,
            17_551_914_330_364_864_604,
        ];
        assert_eq!(hashes, expected);
        let names: Vec<String> = (0..3000).map(|i| format!("data/{i}")).collect();
        let id = serialization_id(names.iter().map(|name| (name.as_str(), None)));
        assert_eq!(id.get(..20), Some("12802521807203424790"));
    }
}
