//! PCG64 (O'Neill 2014, XSL-RR), seeded as in NumPy: the numbers of one stream, many at a time.
//!
//! One step is `s ← a s + c` modulo 2^128, and k steps are `s ← a^k s + c (1 + a + … + a^{k−1})`. So [`LANES`] states,
//! one step apart, advance side by side by [`LANES`] steps, instead of each waiting for its predecessor.

use crate::isa::{Isa, Vector, Vectorized};

/// The multiplier a.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// The number of states that advance side by side.
const LANES: usize = 16;

/// The number of numbers made at a time.
pub(super) const BATCH: usize = 256;

/// A stream of 64-bit numbers.
#[derive(Debug)]
pub(super) struct Stream {
    /// The upper halves of the states that make the next [`LANES`] numbers.
    high: [u64; LANES],
    /// The lower halves.
    low: [u64; LANES],
    /// c (1 + a + … + a^{LANES−1}).
    increment: u128,
}

/// a^LANES.
const JUMP: u128 = {
    let (mut power, mut step) = (1_u128, 0);
    while step < LANES {
        power = power.wrapping_mul(MULTIPLIER);
        step += 1;
    }
    power
};

impl Stream {
    /// The stream of `numpy.random.default_rng(seed)`.
    pub(super) fn new(seed: u64) -> Self {
        let words = spread(seed);
        let wide = |i: usize| u128::from(words[i]) << 64 | u128::from(words[i + 1]);
        let increment = wide(2) << 1 | 1;
        let step = |state: u128| state.wrapping_mul(MULTIPLIER).wrapping_add(increment);
        let mut state = step(increment.wrapping_add(wide(0)));
        let mut stream = Self {
            high: [0; LANES],
            low: [0; LANES],
            increment: 0,
        };
        for lane in 0..LANES {
            state = step(state);
            (stream.high[lane], stream.low[lane]) = ((state >> 64) as u64, state as u64);
            stream.increment = step(stream.increment);
        }
        stream
    }

    /// The next numbers.
    pub(super) fn fill(&mut self, isa: Isa, numbers: &mut [u64; BATCH]) {
        isa.run(Fill {
            stream: self,
            numbers,
        });
    }
}

/// The computation of [`Stream::fill`].
struct Fill<'a> {
    stream: &'a mut Stream,
    numbers: &'a mut [u64; BATCH],
}

impl Vectorized for Fill<'_> {
    type Output = ();

    /// Works on plain integers, in arrays of fixed length: the compiler puts them into the instruction set's vectors.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let (mut high, mut low) = (self.stream.high, self.stream.low);
        let (jump_high, jump_low) = ((JUMP >> 64) as u64, JUMP as u64);
        let (add_high, add_low) = (
            (self.stream.increment >> 64) as u64,
            self.stream.increment as u64,
        );
        for numbers in self.numbers.as_chunks_mut::<LANES>().0 {
            for lane in 0..LANES {
                let (h, l) = (high[lane], low[lane]);
                numbers[lane] = (h ^ l).rotate_right((h >> 58) as u32);
                let product = l.wrapping_mul(jump_low);
                let sum = product.wrapping_add(add_low);
                low[lane] = sum;
                high[lane] = upper(l, jump_low)
                    .wrapping_add(l.wrapping_mul(jump_high))
                    .wrapping_add(h.wrapping_mul(jump_low))
                    .wrapping_add(add_high)
                    .wrapping_add(u64::from(sum < product));
            }
        }
        (self.stream.high, self.stream.low) = (high, low);
    }
}

/// The upper half of a product, from products of 32 bits, which vectors have.
#[inline(always)]
fn upper(x: u64, y: u64) -> u64 {
    const HALF: u64 = 0xffff_ffff;
    let (x1, x0, y1, y0) = (x >> 32, x & HALF, y >> 32, y & HALF);
    let middle = x1 * y0 + ((x0 * y0) >> 32);
    let other = x0 * y1 + (middle & HALF);
    x1 * y1 + (middle >> 32) + (other >> 32)
}

/// Expands a seed to four words, as `numpy.random.SeedSequence` does.
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

/// The running factor of the seed's hash, and the multiplier that changes it with each use.
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

    /// Compares the lanes with single steps of one state.
    #[test]
    fn lanes_are_one_stream_on_every_instruction_set() {
        for isa in Isa::available() {
            for seed in [0, 1, u64::MAX] {
                let words = spread(seed);
                let wide = |i: usize| u128::from(words[i]) << 64 | u128::from(words[i + 1]);
                let increment = wide(2) << 1 | 1;
                let step = |state: u128| state.wrapping_mul(MULTIPLIER).wrapping_add(increment);
                let mut state = step(increment.wrapping_add(wide(0)));
                let mut stream = Stream::new(seed);
                for _ in 0..3 {
                    let mut numbers = [0; BATCH];
                    stream.fill(isa, &mut numbers);
                    for number in numbers {
                        state = step(state);
                        let folded = (state >> 64) as u64 ^ state as u64;
                        assert_eq!(number, folded.rotate_right((state >> 122) as u32), "{isa}");
                    }
                }
            }
        }
    }
}
