//! Derivatives with respect to inputs, against finite differences of the kernels.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::activations::catalogue;
use crate::engine::pool::unwatched;
use crate::engine::tile::Tile;
use crate::infinite::recursion::{Batch, LayerScales, PairState, Profile};
use crate::isa::WIDTH;

const ROOTS: [f64; WIDTH] = [0.7, 0.7, 1.3, 0.2, 1.0, 2.5, 1.1, 0.9];
const GAPS: Block = [0.1, 0.3, -0.4, 0.99, 0.02, -0.05, 0.9, -0.99];

fn recursion(names: &[&str], sigma_b: f64) -> Recursion {
    let scales = LayerScales {
        sigma_w: 1.2,
        sigma_b,
        tau_w: 0.8,
        tau_b: sigma_b,
    };
    let activations = names.iter().map(|name| catalogue::activation(name, &[]));
    let activations = activations.collect::<crate::Result<Vec<_>>>().unwrap();
    Recursion::new(vec![scales; names.len() + 1], activations).unwrap()
}

fn profile(recursion: &Recursion, shift: f64) -> Profile {
    let root = |row: usize| (ROOTS[row] * shift.exp()).into();
    let batch = Batch::whole(WIDTH, "X");
    recursion.profile(&batch, &root, &mut unwatched).unwrap()
}

/// Runs `compute` on row 0 against all columns.
fn planes(count: usize, compute: impl FnOnce(&RowPairs, PlaneRow<'_>)) -> Vec<Block> {
    let (row, blocks) = (0, 0..1);
    let mut planes = vec![Tile::default(); count];
    planes.iter_mut().for_each(|plane| plane.reshape(1, WIDTH));
    let target = PlaneRow {
        planes: &mut planes,
        row,
    };
    compute(&RowPairs { row, blocks }, target);
    planes.iter().map(|plane| plane.row_blocks(0)[0]).collect()
}

/// A kernel at a shift of ρ, and of λ of the row and of the columns.
fn kernel(recursion: &Recursion, isa: Isa, output: Output, shifts: [f64; 3]) -> Block {
    let [rows, cols] = [1, 2].map(|n| profile(recursion, shifts[n]));
    let outputs = [output];
    let pairs = recursion.between(isa, &rows, &cols, &outputs);
    let gaps = [GAPS.map(|gap| gap - shifts[0])];
    planes(1, |row, target| {
        pairs.run(
            &row.band(),
            |_| &gaps[..],
            &mut PairState::default(),
            target,
        );
    })[0]
}

/// Asserts that the derivatives of `outputs` are those of central differences.
fn assert_close(recursion: &Recursion, isa: Isa, side: ChainedProfile<'_>, outputs: &[Output]) {
    const H: f64 = 1e-4;
    let own = side.profile.profile;
    let pairs = PairSlopes::new(recursion, isa, [side; 2], outputs);
    let found = planes(pairs.planes(), |row, target| {
        pairs.run(row, &[GAPS], &mut SlopeState::default(), target);
    });
    for (n, mut found) in found.into_iter().enumerate() {
        let direction = n % SLOPES;
        let at = |h: f64| {
            let shifts = std::array::from_fn(|d| if d == direction { h } else { 0.0 });
            kernel(recursion, isa, outputs[n / SLOPES], shifts)
        };
        // They are in units of both inputs.
        own.unscale(
            own,
            isa,
            &RowPairs {
                row: 0,
                blocks: 0..1,
            },
            std::slice::from_mut(&mut found),
        );
        let (above, below) = (at(H), at(-H));
        for lane in 0..WIDTH {
            let difference = (above[lane] - below[lane]) / (2.0 * H);
            // H² times third derivatives, which reach some thousands where the gap is 0.02.
            let error = (found[lane] - difference).abs();
            assert!(error < 1e-4, "{isa} {outputs:?} {n} {lane}: {error}");
        }
    }
}

#[test]
fn derivatives_are_those_of_finite_differences_on_every_instruction_set() {
    let networks: [(&[&str], f64); 4] = [
        (&["gelu", "relu", "erf"], 0.3),
        (&["relu"], 0.0),
        (&["relu", "abs", "relu"], 0.0),
        (&["tanh", "gelu"], 0.2),
    ];
    for (names, sigma_b) in networks {
        let recursion = recursion(names, sigma_b);
        let own = profile(&recursion, 0.0);
        let slopes = ProfileSlopes::new(&recursion, &own, &mut unwatched).unwrap();
        let chain = RootChain::new(&recursion, &slopes);
        let (profile, slopes) = (&own, &slopes);
        let side = ChainedProfile {
            profile: DifferentiatedProfile { profile, slopes },
            chain: &chain,
        };
        let outputs = [Output::Nngp(names.len()), Output::Ntk(names.len())];
        for isa in Isa::available() {
            assert_close(&recursion, isa, side, &outputs);
        }
    }
}
