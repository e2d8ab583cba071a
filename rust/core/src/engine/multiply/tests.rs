//! Products with vectors against naive loops, bit by bit, for any strips and bands.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::pool::unwatched;

/// A square kernel of this order, given by its entries, that is computed in strips of some number of rows. Its tiles hold NaN
/// past their last column.
struct StripKernel<F>(usize, usize, F);

impl<F: Fn(usize, usize) -> f64 + Sync> TileKernel for StripKernel<F> {
    type Scratch = ();

    fn rows(&self) -> usize {
        self.0
    }

    fn cols(&self) -> usize {
        self.0
    }

    fn planes(&self) -> usize {
        1
    }

    fn entry_cycles(&self) -> f64 {
        1.0
    }

    fn strip(&self) -> usize {
        self.1
    }

    fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile], _: &Stop) {
        planes[0].reset(area.rows.len(), area.cols.len().next_multiple_of(WIDTH));
        for (r, i) in area.rows.clone().enumerate() {
            let row = planes[0].row_mut(r);
            row.fill(f64::NAN);
            for (value, j) in row.iter_mut().zip(area.cols.clone()) {
                *value = self.2(i, j);
            }
        }
    }
}

/// Numbers whose sums round.
fn entry(i: usize, j: usize) -> f64 {
    ((31 * i * j + 7 * (i + j) + 3) as f64).sin()
}

#[test]
fn values_past_the_last_column_do_not_count() {
    for n in [1, 13, 96, 101] {
        for symmetric in [false, true] {
            for count in [1, 2, 4, 5, 8, 11] {
                let (kernel, vectors) = (StripKernel(n, 24, |_, _| 1.0), Array2::ones((n, count)));
                let product = multiply(&kernel, symmetric, vectors.view(), &mut unwatched);
                let expected = vectors * n as f64;
                assert_eq!(product.unwrap(), expected, "{n} {symmetric} {count}");
            }
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_strips() {
    for n in [50, 333, 2000] {
        for symmetric in [false, true] {
            for count in [1, 2, 4, 9] {
                let vectors = Array2::from_shape_fn((n, count), |(i, r)| entry(i, r + 5));
                let product = |strip: usize| {
                    let kernel = StripKernel(n, strip, entry);
                    multiply(&kernel, symmetric, vectors.view(), &mut unwatched).unwrap()
                };
                let whole = product(96);
                assert_eq!(product(24), whole, "{n} {symmetric} {count}");
                assert_eq!(product(8), whole, "{n} {symmetric} {count}");
            }
        }
    }
}

/// The product of a tile (rows, cols), and of its transpose, with vectors: the sums over rows in eight lanes.
fn naive(isa: Isa, tile: &Array2<f64>, vectors: &Array2<f64>) -> [Array2<f64>; 2] {
    let mul_add = |x: f64, y: f64, sum: f64| {
        if isa == Isa::PORTABLE {
            x * y + sum
        } else {
            x.mul_add(y, sum)
        }
    };
    let (rows, cols) = tile.dim();
    let direct = Array2::from_shape_fn((rows, vectors.ncols()), |(r, g)| {
        let mut lanes = [0.0; WIDTH];
        for c in 0..cols {
            lanes[c % WIDTH] = mul_add(tile[[r, c]], vectors[[c, g]], lanes[c % WIDTH]);
        }
        lanes[1..].iter().fold(lanes[0], |sum, lane| sum + lane)
    });
    let transposed = Array2::from_shape_fn((cols, vectors.ncols()), |(c, g)| {
        (0..rows).fold(0.0, |sum, r| mul_add(tile[[r, c]], vectors[[r, g]], sum))
    });
    [direct, transposed]
}

#[test]
fn sums_over_a_tile_are_taken_in_their_order_on_every_instruction_set() {
    for isa in Isa::available() {
        for (rows, cols) in [(1, 8), (5, 96), (24, 80), (96, 96)] {
            for count in [1, 2, 3, 8, 10] {
                let values = Array2::from_shape_fn((rows, cols), |(r, c)| entry(r, c));
                let vectors = Array2::from_shape_fn((96, count), |(i, g)| entry(i, g + 5));
                let mut tile = Tile::default();
                tile.reset(rows, cols);
                for (r, row) in values.rows().into_iter().enumerate() {
                    tile.row_mut(r).copy_from_slice(row.as_slice().unwrap());
                }
                let vectors_in_groups = Vectors::new(vectors.view());
                let (mut direct, mut transposed) =
                    (vectors_in_groups.zeros(96), vectors_in_groups.zeros(96));
                tile_products::add(
                    isa,
                    &tile,
                    &vectors_in_groups,
                    &(0..cols),
                    &mut direct,
                    &(0..rows),
                );
                tile_products::add_transposed(
                    isa,
                    &tile,
                    &vectors_in_groups,
                    &(0..rows),
                    &mut transposed,
                    &(0..cols),
                );
                let expected = naive(isa, &values, &vectors);
                for (found, expected) in [direct, transposed].iter().zip(expected) {
                    let mut product = Array2::zeros(expected.dim());
                    found.add_to(0, &mut product.view_mut());
                    assert_eq!(product, expected, "{isa} {rows} {cols} {count}");
                }
            }
        }
    }
}

#[test]
fn totals_are_moved_to_the_sums_and_become_zeros() {
    let isa = Isa::current().unwrap();
    for count in [1, 2, 4, 8, 10] {
        let ones = Array2::ones((16, count));
        let (mut sums, mut totals) = (
            Vectors::new(Array2::ones((40, count)).view()),
            Vectors::new(ones.view()),
        );
        sums.take(isa, &(8..21), &mut totals);
        sums.take(isa, &(24..40), &mut totals);
        let mut found = Array2::zeros((40, count));
        sums.add_to(0, &mut found.view_mut());
        // Rows are moved in whole blocks.
        let expected =
            Array2::from_shape_fn((40, count), |(r, _)| 1.0 + f64::from((8..24).contains(&r)));
        assert_eq!(found, expected);
    }
}

#[test]
fn runs_hold_each_tile_once_and_tiles_on_the_diagonal_alone() {
    const EDGE: usize = 8;
    for half in [Half::All, Half::Upper, Half::Lower] {
        for (rows, cols) in [(0..150, 0..150), (80..160, 160..335), (80..160, 0..77)] {
            if half == Half::Upper && cols.start < rows.start
                || half == Half::Lower && cols.start > rows.start
            {
                continue;
            }
            let pair = Pair::new(
                Area {
                    rows: rows.clone(),
                    cols: cols.clone(),
                },
                half,
            );
            let mut seen = vec![];
            for run in pair.runs(&(16..128), EDGE) {
                assert!(run.cols.len() <= RUN * EDGE && run.rows.len() <= EDGE);
                let tiles = run
                    .clone()
                    .cut([EDGE; 2], false)
                    .map(|tile| [tile.rows.start, tile.cols.start]);
                let tiles: Vec<_> = tiles.collect();
                let diagonal = tiles.iter().any(|[row, col]| row == col);
                assert!(half == Half::All || !diagonal || tiles.len() == 1);
                seen.extend(tiles);
            }
            let all = Area {
                rows: rows.start.max(16)..rows.end.min(128),
                cols,
            }
            .cut([EDGE; 2], false);
            let all = all.map(|tile| [tile.rows.start, tile.cols.start]);
            let expected: Vec<_> = all
                .filter(|[row, col]| match half {
                    Half::All => true,
                    Half::Upper => row <= col,
                    Half::Lower => col <= row,
                })
                .collect();
            assert_eq!(seen, expected, "{half:?}");
        }
    }
}
