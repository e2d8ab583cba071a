//! Standard normal numbers, bit for bit the same as `numpy.random.default_rng(seed).standard_normal`: the only random
//! numbers of this crate.
//!
//! `pcg` is the generator, PCG64 (XSL-RR), and expands the seed by O'Neill's `seed_seq`. `ziggurat` holds the tables of
//! the ziggurat method. The method accepts most numbers of the generator as they come, and rejects one in 80; a rejected
//! number uses up more of them. The normal numbers of a batch are therefore computed side by side, as if all were
//! accepted, and copied in runs between the rejected ones.

mod pcg;
mod ziggurat;

use pcg::{BATCH, Stream};
use ziggurat::{HEIGHT, INSIDE, TAIL, WIDTH};

use crate::isa::{Isa, Vector, Vectorized};

/// A stream of standard normal numbers.
#[derive(Debug)]
pub struct Normal {
    isa: Isa,
    stream: Stream,
    draws: Draws,
    /// The number of draws that are used up.
    used: usize,
    /// The number of its rejected ones that were passed.
    passed: usize,
}

/// Numbers of the generator, and the normal number of each.
#[derive(Debug)]
struct Draws {
    bits: [u64; BATCH],
    normal: [f64; BATCH],
    /// The indices of the rejected numbers, ascending, then [`BATCH`].
    rejected: [u16; BATCH + 1],
}

impl Normal {
    /// The stream of `numpy.random.default_rng(seed)`.
    pub fn new(seed: u64, isa: Isa) -> Self {
        Self {
            isa,
            stream: Stream::new(seed),
            draws: Draws {
                bits: [0; BATCH],
                normal: [0.0; BATCH],
                rejected: [BATCH as u16; BATCH + 1],
            },
            used: BATCH,
            passed: 0,
        }
    }

    /// Fills `values` with draws from N(0, 1).
    pub fn fill(&mut self, mut values: &mut [f64]) {
        while !values.is_empty() {
            if self.used == BATCH {
                self.renew();
            }
            let rejected = usize::from(self.draws.rejected[self.passed]);
            if self.used == rejected {
                values[0] = self.draw();
                values = &mut values[1..];
            } else if self.used > rejected {
                // An earlier rejected number used it up.
                self.passed += 1;
            } else {
                let run = values.len().min(rejected - self.used);
                let (target, rest) = values.split_at_mut(run);
                target.copy_from_slice(&self.draws.normal[self.used..self.used + run]);
                self.used += run;
                values = rest;
            }
        }
    }

    /// Makes the next batch.
    fn renew(&mut self) {
        self.stream.fill(self.isa, &mut self.draws.bits);
        self.isa.run(&mut self.draws);
        (self.used, self.passed) = (0, 0);
    }

    /// A single draw, from the number at `used` on.
    fn draw(&mut self) -> f64 {
        loop {
            let bits = self.bits();
            let (x, layer, inside) = proposal(bits);
            if inside {
                return x;
            }
            if layer == 0 {
                return self.tail(bits >> 17 & 1 == 1);
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

    /// The next number, as a uniform one in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next number of the generator.
    fn bits(&mut self) -> u64 {
        if self.used == BATCH {
            self.renew();
        }
        self.used += 1;
        self.draws.bits[self.used - 1]
    }
}

/// A point of the ziggurat: its abscissa, its layer, and true if it lies under the curve for certain.
#[inline(always)]
fn proposal(bits: u64) -> (f64, usize, bool) {
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let layer = (bits & 0xff) as usize;
    let magnitude = (bits >> 9) & ((1 << 52) - 1);
    // An integer below 2^52 is the mantissa of a number between 2^52 and 2^53.
    let x = f64::from_bits(magnitude | TWO_52) - f64::from_bits(TWO_52);
    let x = x * f64::from_bits(WIDTH[layer]);
    let sign = bits << 55 & 1 << 63;
    (
        f64::from_bits(x.to_bits() ^ sign),
        layer,
        magnitude < INSIDE[layer],
    )
}

impl Vectorized for &mut Draws {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let mut count = 0;
        let blocks = self.bits.as_chunks::<MASK>().0.iter();
        let blocks = blocks.zip(self.normal.as_chunks_mut::<MASK>().0);
        for (block, (bits, normal)) in blocks.enumerate() {
            let mut outside = 0_u64;
            for (place, (bits, normal)) in bits.iter().zip(normal).enumerate() {
                let (x, _, inside) = proposal(*bits);
                *normal = x;
                outside |= u64::from(!inside) << place;
            }
            while outside != 0 {
                let place = outside.trailing_zeros() as usize;
                self.rejected[count] = (block * MASK + place) as u16;
                count += 1;
                outside &= outside - 1;
            }
        }
        self.rejected[count] = BATCH as u16;
    }
}

/// The number of bits of a mask of rejected numbers.
const MASK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are `numpy.random.default_rng(seed).standard_normal(2)`.
    #[test]
    fn draws_are_those_of_numpy() {
        for (seed, expected) in [
            (0, [0.125_730_221_093_393_3, -0.132_104_863_291_301_9]),
            (
                12_345_678_901_234,
                [-0.392_233_552_914_708_24, -0.380_413_517_925_006_5],
            ),
        ] {
            for isa in Isa::available() {
                let mut values = [0.0; 2];
                Normal::new(seed, isa).fill(&mut values);
                assert_eq!(values, expected);
            }
        }
    }

    #[test]
    fn draws_are_the_same_in_any_portions() {
        let mut whole = vec![f64::NAN; 100_000];
        Normal::new(7, Isa::PORTABLE).fill(&mut whole);
        for isa in Isa::available() {
            for portion in [1, 7, 64, 1000] {
                let mut parts = vec![f64::NAN; whole.len()];
                let mut stream = Normal::new(7, isa);
                parts.chunks_mut(portion).for_each(|part| stream.fill(part));
                assert!(parts == whole, "{isa}, {portion}");
            }
        }
    }
}
