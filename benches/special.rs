//! Values of the special functions on every instruction set of this machine, for the table of ulps in docs/accuracy.md:
//! `cargo run --example special`, which `benches/accuracy.py` calls.
//!
//! Every line holds an instruction set, a function, the ends of a range, one or two arguments, and the value.

#![allow(missing_docs, clippy::print_stdout)]

use ntkrs_core::isa::{Block, Isa, Vector, Vectorized, WIDTH};
use ntkrs_core::math::special;

/// The number of blocks of arguments in each range.
const BLOCKS: usize = 500;

/// The functions, with the range of their argument.
const RANGES: [(&str, f64, f64); 20] = [
    ("exp", -708.0, 709.7),
    ("exp", -1.0, 1.0),
    ("exp_minus_square", 0.0, 26.0),
    ("exp_minus_half_square", 0.0, 37.0),
    ("expm1", -40.0, 709.0),
    ("expm1", -1.0, 1.0),
    ("log1p_unit", 0.0, 1.0),
    ("tanh", -20.0, 20.0),
    ("tanh", -1.0, 1.0),
    ("erf", -6.0, 6.0),
    ("erfcx", 0.0, 26.0),
    ("normal", -37.0, 8.0),
    ("sin", -10.0, 10.0),
    ("cos", -10.0, 10.0),
    ("sin", -1e5, 1e5),
    ("cos", -1e5, 1e5),
    ("angle", 1e-30, 1.0),
    ("lift", 1e-30, 1.0),
    ("angle_of", 1e-30, 1.0),
    ("angle_between", 1e-30, 1.0),
];

/// The functions of positive numbers of any size: the logarithms of their arguments are spread evenly.
const OF_ANY_SIZE: [&str; 4] = ["angle", "lift", "angle_of", "angle_between"];

fn main() {
    for isa in Isa::available() {
        for (name, from, to) in RANGES {
            for index in 0..BLOCKS {
                let x = arguments(name, from, to, index);
                let (y, value) = isa.run(Call { name, x: &x });
                for ((x, y), value) in x.iter().zip(y).zip(value) {
                    println!(
                        "{} {name} {from:e} {to:e} {x:e} {y:e} {value:e}",
                        isa.name()
                    );
                }
            }
        }
    }
}

/// Arguments that fill the range evenly: multiples of the golden ratio modulo 1.
fn arguments(name: &str, from: f64, to: f64, block: usize) -> Block {
    std::array::from_fn(|lane| {
        let share = ((block * WIDTH + lane) as f64 * 0.618_033_988_749_894_9).fract();
        if OF_ANY_SIZE.contains(&name) {
            (from.ln() + share * (to / from).ln()).exp()
        } else {
            from + share * (to - from)
        }
    })
}

/// A call of a function.
struct Call<'a> {
    name: &'a str,
    x: &'a Block,
}

impl Vectorized for Call<'_> {
    /// The second argument, 0 for functions of one, and the value.
    type Output = (Block, Block);

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let x = V::load(self.x);
        let none = V::splat(0.0);
        let cosine = (V::splat(1.0) - x * x).sqrt();
        let (second, value) = match self.name {
            "exp" => (none, special::exp(x)),
            "exp_minus_square" => (none, special::exp_minus_square(x)),
            "exp_minus_half_square" => (none, special::exp_minus_half_square(x)),
            "expm1" => (none, special::expm1(x)),
            "log1p_unit" => (none, special::log1p_unit(x)),
            "tanh" => (none, special::tanh(x)),
            "erf" => (none, special::erf(x)),
            "erfcx" => (none, special::erfcx(x)),
            "normal" => (none, special::normal(x).0),
            "sin" => (none, special::sin_cos(x).0),
            "cos" => (none, special::sin_cos(x).1),
            "angle" => (none, special::angle_and_lift(x).0),
            "lift" => (none, special::angle_and_lift(x).1),
            "angle_of" => (cosine, special::angle_of(x, cosine)),
            "angle_between" => (cosine, special::angle_between(x, cosine)),
            name => panic!("{name} is not in the list"),
        };
        let (mut seconds, mut values) = ([0.0; WIDTH], [0.0; WIDTH]);
        second.store(&mut seconds);
        value.store(&mut values);
        (seconds, values)
    }
}
