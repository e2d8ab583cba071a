//! The product of packed rows in L2, on one thread: `cargo bench --bench product`.
//!
//! Items are flops. Compare them with `limit`, a register-only multiply-add loop.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ndarray::Array2;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::pool::unwatched;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::tile::{EDGE, Tile, product};
use ntkrs_core::isa::{Isa, peak_loop};

fn main() {
    divan::main();
}

/// The names of this machine's instruction sets.
fn names() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// The instruction set of this name.
fn named(name: &str) -> Isa {
    Isa::available()
        .into_iter()
        .find(|isa| isa.name() == name)
        .unwrap()
}

#[divan::bench(types = [f64, f32], args = names())]
fn tile<T: Scalar>(bencher: Bencher<'_, '_>, name: &str) {
    const DEPTH: usize = 256;
    let rows = Array2::from_elem((EDGE, DEPTH), T::narrow(0.5));
    // Two copies: only half of a product of rows with themselves is computed.
    let pack = || {
        let panels = Panels::pack(rows.view(), "X", &mut unwatched).unwrap();
        panels.with_isa(named(name))
    };
    let (rows, cols) = (pack(), pack());
    let mut out = Tile::default();
    bencher
        .counter(ItemsCount::new(2 * EDGE * EDGE * DEPTH))
        .bench_local(|| product(black_box(rows.all()), black_box(cols.all()), &mut out));
}

#[divan::bench(consts = [false, true], args = names())]
fn limit<const SINGLE: bool>(bencher: Bencher<'_, '_>, name: &str) {
    const ROUNDS: usize = 100_000;
    let isa = named(name);
    bencher
        .counter(ItemsCount::new(peak_loop(isa, SINGLE, ROUNDS)))
        .bench_local(|| peak_loop(isa, SINGLE, black_box(ROUNDS)));
}
