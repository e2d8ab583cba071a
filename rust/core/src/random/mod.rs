//! Standard normal numbers, bit for bit those of `numpy.random.default_rng(seed).standard_normal`: a seed gives the same
//! network here and there.
//!
//! The seed is spread by O'Neill's `seed_seq`, the generator is PCG64 (XSL-RR), the normal numbers are a ziggurat's.

mod ziggurat;

use ziggurat::{HEIGHT, INSIDE, TAIL, WIDTH};

/// A stream of standard normal numbers.
#[derive(Debug)]
pub struct Normal {
    state: u128,
    increment: u128,
}

impl Normal {
    /// The stream of `numpy.random.default_rng(seed)`.
    pub fn new(seed: u64) -> Self {
        let words = spread(seed);
        let wide = |i: usize| u128::from(words[i]) << 64 | u128::from(words[i + 1]);
        let mut stream = Self {
            state: 0,
            increment: wide(2) << 1 | 1,
        };
        stream.step();
        stream.state = stream.state.wrapping_add(wide(0));
        stream.step();
        stream
    }

    /// Fills `values` with draws from N(0, 1).
    pub fn fill(&mut self, values: &mut [f64]) {
        values.iter_mut().for_each(|value| *value = self.draw());
    }

    fn draw(&mut self) -> f64 {
        loop {
            let bits = self.bits();
            let layer = (bits & 0xff) as usize;
            let magnitude = (bits >> 9) & ((1 << 52) - 1);
            let x = magnitude as f64 * f64::from_bits(WIDTH[layer]);
            let x = if bits >> 8 & 1 == 1 { -x } else { x };
            if magnitude < INSIDE[layer] {
                return x;
            }
            if layer == 0 {
                return self.tail(magnitude >> 8 & 1 == 1);
            }
            let (low, high) = (
                f64::from_bits(HEIGHT[layer]),
                f64::from_bits(HEIGHT[layer - 1]),
            );
            if (high - low) * self.uniform() + low < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// A draw beyond the base layer.
    fn tail(&mut self, negative: bool) -> f64 {
        loop {
            let x = -(1.0 / TAIL) * (-self.uniform()).ln_1p();
            let y = -(-self.uniform()).ln_1p();
            if y + y > x * x {
                return if negative { -(TAIL + x) } else { TAIL + x };
            }
        }
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[inline]
    fn bits(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    #[inline]
    fn step(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }
}

/// Four words made of a seed, as `numpy.random.SeedSequence` makes them.
fn spread(seed: u64) -> [u64; 4] {
    let mut factor = Factor(0x43b0_d7e5, 0x931e_8875);
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| factor.hash(word));
    for source in 0..4 {
        for target in 0..4 {
            if source != target {
                let mixed = pool[target].wrapping_mul(0xca01_f9dd);
                let mixed = mixed.wrapping_sub(factor.hash(pool[source]).wrapping_mul(0x4973_f715));
                pool[target] = mixed ^ mixed >> 16;
            }
        }
    }
    let mut factor = Factor(0x8b51_f9dd, 0x58f3_8ded);
    let mut words = [0; 4];
    for (index, word) in words.iter_mut().enumerate() {
        let (low, high) = (pool[2 * index % 4], pool[(2 * index + 1) % 4]);
        *word = u64::from(factor.hash(low)) | u64::from(factor.hash(high)) << 32;
    }
    words
}

/// A factor that changes with each use, and what changes it.
struct Factor(u32, u32);

impl Factor {
    fn hash(&mut self, value: u32) -> u32 {
        let value = value ^ self.0;
        self.0 = self.0.wrapping_mul(self.1);
        let value = value.wrapping_mul(self.0);
        value ^ value >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are what `numpy.random.default_rng(seed).standard_normal(2)` gives.
    #[test]
    fn draws_are_those_of_numpy() {
        for (seed, expected) in [
            (0, [0.125_730_221_093_393_3, -0.132_104_863_291_301_9]),
            (
                12_345_678_901_234,
                [-0.392_233_552_914_708_24, -0.380_413_517_925_006_5],
            ),
        ] {
            let mut values = [0.0; 2];
            Normal::new(seed).fill(&mut values);
            assert_eq!(values, expected);
        }
    }
}
