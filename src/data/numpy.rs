//! The generator that `numpy.random.default_rng(seed)` gives, to the bit.
//!
//! Bits are those of PCG64 (M. O'Neill's PCG XSL RR 128/64), seeded by numpy's `SeedSequence`; what is drawn from them is
//! what `numpy.random.Generator` draws, checked with numpy 2.4. numpy promises the bits for good and the draws for a
//! version (NEP 19).

/// A generator of numpy's.
#[derive(Clone, Debug)]
pub(super) struct NumpyGenerator {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits, where only the lower was used.
    half: Option<u32>,
}

/// Multiplier of the 128-bit linear congruential generator.
const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl NumpyGenerator {
    /// `numpy.random.default_rng(seed)`.
    pub(super) fn new(seed: u64) -> Self {
        let [a, b, c, d] = SeedSequence::new(seed).words().map(u128::from);
        let mut generator = NumpyGenerator { state: 0, increment: ((c << 64 | d) << 1) | 1, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(a << 64 | b);
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// 64 bits.
    fn bits(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// 32 bits: of each 64 the lower ones first.
    fn half_bits(&mut self) -> u32 {
        self.half.take().unwrap_or_else(|| {
            let bits = self.bits();
            self.half = Some((bits >> 32) as u32);
            bits as u32
        })
    }

    /// `integers(bound)`: uniform in `0..bound`, by D. Lemire's multiplication; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        // Of one value no bits are drawn.
        if bound <= 1 {
            return 0;
        }
        // Lower halves below this would make small values likelier: 2^32 mod bound.
        let biased = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.half_bits()) * u64::from(bound);
            if product as u32 >= biased {
                return (product >> 32) as u32;
            }
        }
    }

    /// `random()`: uniform in [0, 1), on a grid of 2^-53.
    pub(super) fn uniform(&mut self) -> f64 {
        const GRID: f64 = 1.0 / (1u64 << 53) as f64;
        (self.bits() >> 11) as f64 * GRID
    }

    /// `permutation(count)`.
    pub(super) fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last as usize, self.up_to(last) as usize);
        }
        order
    }

    /// Uniform in `0..=most`, as shuffling draws it: bits masked until they fit.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX >> most.leading_zeros().min(31);
        loop {
            let value = self.half_bits() & mask;
            if value <= most {
                return value;
            }
        }
    }

    /// `choice(len, p=weights / weights.sum())`; 0 where all weights are 0.
    pub(super) fn choice(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut sums: Vec<f64> = Vec::with_capacity(weights.len());
        let mut sum = 0.0;
        for &weight in weights {
            sum += f64::from(weight) / total as f64;
            sums.push(sum);
        }
        let uniform = self.uniform();
        sums.iter_mut().for_each(|value| *value /= sum);
        let found = sums.partition_point(|&value| value <= uniform);
        if found < weights.len() { found } else { 0 }
    }
}

/// numpy's `SeedSequence` of one number: a pool of four words that each bit of the seed has reached.
struct SeedSequence {
    pool: [u32; 4],
}

const SHIFT: u32 = 16;

impl SeedSequence {
    fn new(seed: u64) -> Self {
        let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
        let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
        for from in 0..pool.len() {
            for to in (0..pool.len()).filter(|to| *to != from) {
                pool[to] = mix(pool[to], hash.of(pool[from]));
            }
        }
        SeedSequence { pool }
    }

    /// `generate_state(4, numpy.uint64)`.
    fn words(&self) -> [u64; 4] {
        let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
        let mut pool = self.pool.iter().cycle();
        [(); 4].map(|()| {
            let mut half = || u64::from(hash.of(pool.next().copied().unwrap_or_default()));
            let lower = half();
            half() << 32 | lower
        })
    }
}

/// A hash whose constant changes with every word.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let mixed = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let hashed = mixed.wrapping_mul(self.constant);
        hashed ^ hashed >> SHIFT
    }
}

fn mix(a: u32, b: u32) -> u32 {
    let mixed = a.wrapping_mul(0xca01_f9dd).wrapping_sub(b.wrapping_mul(0x4973_f715));
    mixed ^ mixed >> SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.random.PCG64(seed).random_raw(3)` of numpy 2.4.6.
    #[test]
    fn bits_are_numpys() {
        for (seed, expected) in [
            (0, [0xa30f_ebcf_d9c2_825f, 0x4510_bdf8_82d9_d721, 0x0a7d_3da9_4ecd_e8b8]),
            (1, [0x8306_bdf3_7922_e4ff, 0xf351_96bb_c152_a866, 0x24e7_a4f6_08ec_18cd]),
            (12_345_678_901_234_567_890, [0x0114_e1b8_8d30_6508, 0xa700_0427_81d3_a29c, 0x9b9e_0e7d_c8c7_370c]),
        ] {
            let mut generator = NumpyGenerator::new(seed);
            assert_eq!([(); 3].map(|()| generator.bits()), expected, "{seed}");
        }
    }

    /// One after another from `numpy.random.default_rng(42)` of numpy 2.4.6: draws share halves of 64 bits.
    #[test]
    fn draws_are_numpys() {
        let mut generator = NumpyGenerator::new(42);
        let bounds = [1, 2, 10, 2048, (1 << 31) + 5, 3];
        assert_eq!(bounds.map(|bound| generator.below(bound)), [0, 0, 7, 1340, 942484274, 1]);
        assert_eq!(generator.uniform(), 0.6973680290593639);
        assert_eq!(generator.permutation(12), [4, 8, 11, 6, 10, 9, 7, 3, 0, 1, 5, 2]);
        assert_eq!(generator.below(7), 4);
        let long = generator.permutation(1000);
        assert_eq!(long[..6], [51, 427, 222, 573, 607, 536]);
        let sum: u64 = (1..).zip(&long).map(|(place, &value)| place * u64::from(value)).sum();
        assert_eq!(sum, 250345848);
        let chosen = [(); 12].map(|()| generator.choice(&[3, 0, 5, 1, 9]));
        assert_eq!(chosen, [4, 4, 4, 4, 2, 4, 0, 4, 4, 4, 2, 0]);
    }

    #[test]
    fn a_permutation_has_every_number_once_and_a_choice_has_a_weight() {
        let mut generator = NumpyGenerator::new(5);
        for count in [0, 1, 2, 3, 257] {
            let mut order = generator.permutation(count);
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<u32>>());
        }
        assert!((0..1000).all(|_| [1, 3].contains(&generator.choice(&[0, 2, 0, 1, 0]))));
    }
}
