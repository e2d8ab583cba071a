//! The recursion of Σ and Θ on the pairs of a band of rows, on one thread: `cargo bench --bench recursion`.
//!
//! Items are pairs times activations: the time of an item is that of one hidden layer.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ntkrs_core::activations::catalogue::activation;
use ntkrs_core::engine::pool::unwatched;
use ntkrs_core::engine::tile::{EDGE, Tile};
use ntkrs_core::infinite::recursion::{
    BandPairs, Batch, LayerScales, Output, PairState, PlaneRow, Recursion,
};
use ntkrs_core::isa::{Block, Isa, WIDTH};

fn main() {
    divan::main();
}

/// The names of this machine's instruction sets, each with a type of the inputs, an activation and a number of layers.
fn cases() -> Vec<(&'static str, &'static str, &'static str, usize)> {
    let names = [
        ("float64", "relu"),
        ("float32", "relu"),
        ("float64", "erf"),
        ("float32", "erf"),
        ("float64", "gelu"),
        ("float32", "gelu"),
    ];
    let each = |isa: Isa| {
        names
            .into_iter()
            .flat_map(move |(dtype, name)| [3, 20].map(|depth| (isa.name(), dtype, name, depth)))
    };
    Isa::available().into_iter().rev().flat_map(each).collect()
}

/// A network with biases, so that it has no table.
fn network(name: &str, depth: usize) -> Recursion {
    let (sigma_w, sigma_b) = (1.4, 0.1);
    let scales = LayerScales {
        sigma_w,
        sigma_b,
        tau_w: sigma_w,
        tau_b: sigma_b,
    };
    let activations = (0..depth).map(|_| activation(name, &[]).unwrap()).collect();
    Recursion::new(vec![scales; depth + 1], activations).unwrap()
}

#[divan::bench(args = cases())]
fn band(bencher: Bencher<'_, '_>, (isa, dtype, name, depth): (&str, &str, &str, usize)) {
    let isa = Isa::available()
        .into_iter()
        .find(|set| set.name() == isa)
        .unwrap();
    let recursion = network(name, depth);
    let root = |row: usize| (1.0 + 0.01 * row as f64).into();
    let batch = Batch {
        single: dtype == "float32",
        ..Batch::whole(EDGE, "X")
    };
    let profile = recursion.profile(&batch, &root, &mut unwatched).unwrap();
    let outputs = [Output::Nngp(depth), Output::Ntk(depth)];
    let kernel = recursion.between(isa, &profile, &profile, &outputs);
    let mut planes = [Tile::default(), Tile::default()];
    planes
        .iter_mut()
        .for_each(|plane| plane.reshape(WIDTH, EDGE));
    let pairs = BandPairs {
        rows: 0..WIDTH,
        blocks: 0..EDGE / WIDTH,
    };
    let block = |index: usize| std::array::from_fn(|lane| 0.3 + 0.007 * (index + lane) as f64);
    let gaps: Vec<Block> = (0..EDGE / WIDTH).map(block).collect();
    let mut state = PairState::default();
    bencher
        .counter(ItemsCount::new(WIDTH * EDGE * depth))
        .bench_local(|| {
            let target = PlaneRow {
                planes: &mut planes,
                row: 0,
            };
            kernel.run(black_box(&pairs), |_| &gaps[..], &mut state, target);
        });
}
