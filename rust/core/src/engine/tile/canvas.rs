//! The output arrays, split into slots that are each written once: several threads write one array, soundly.

#![allow(unsafe_code, reason = "several threads write one array")]

use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

use ndarray::ArrayViewMut4;

use super::add_rows::AddRows;
use super::{Area, Tile, area_count, areas};
use crate::engine::scalar::{Line, Scalar, all_fit};
use crate::error::{Error, Result};
use crate::isa::{Isa, Vector, Vectorized};

/// Output arrays of shape (N, S, M, S'), viewed as matrices of N·S rows and M·S' columns.
///
/// An (N, M) matrix is an (N, 1, M, 1) array. Arrays of any strides are written in place: transposed, sliced or
/// memory-mapped ones.
#[derive(Debug)]
pub struct Canvas<'a, T> {
    planes: Vec<Plane<T>>,
    shape: [usize; 4],
    isa: Isa,
    arrays: PhantomData<ArrayViewMut4<'a, T>>,
}

/// The memory of one output array. Made from an exclusive view, so no two indices share an address.
#[derive(Debug)]
struct Plane<T> {
    base: *mut T,
    strides: [isize; 4],
    /// True if whole cache lines are written past the caches.
    streamed: bool,
}

// SAFETY: a plane is an exclusive view of an array of `T` taken apart; sending it moves that exclusive access.
unsafe impl<T: Send> Send for Plane<T> {}
// SAFETY: a shared plane is only written through slots, whose areas are disjoint (see `Canvas::slots`).
unsafe impl<T: Send> Sync for Plane<T> {}

/// Arrays of more bytes than this are written past the caches. Most of such an array would not stay in cache, and a line
/// written as a whole need not be read first.
const STREAMED: usize = 1 << 25;

/// The right to write one area of every plane, once.
#[derive(Debug)]
pub struct Slot<'a, T> {
    planes: &'a [Plane<T>],
    isa: Isa,
    /// S and S': matrix rows and columns per index of the first and third axis.
    blocks: [usize; 2],
    area: Area,
    mirrored: bool,
}

impl<'a, T: Scalar> Canvas<'a, T> {
    /// Takes over the output arrays.
    ///
    /// # Errors
    /// [`Error::Shape`] if one of them does not have the given shape; as [`Isa::current`].
    pub fn new(arrays: Vec<ArrayViewMut4<'a, T>>, shape: [usize; 4]) -> Result<Self> {
        let planes = arrays
            .into_iter()
            .map(|mut array| {
                Error::check_shape("out", array.shape(), &shape)?;
                let strides = [0, 1, 2, 3].map(|axis| array.strides()[axis]);
                Ok(Plane {
                    base: array.as_mut_ptr(),
                    strides,
                    streamed: array.len() * size_of::<T>() > STREAMED,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            planes,
            shape,
            isa: Isa::current()?,
            arrays: PhantomData,
        })
    }

    /// The number of output arrays.
    pub fn planes(&self) -> usize {
        self.planes.len()
    }

    /// The number of rows and of columns of the output, viewed as a matrix.
    pub fn matrix_shape(&self) -> (usize, usize) {
        (self.shape[0] * self.shape[1], self.shape[2] * self.shape[3])
    }

    /// The slots of `edge` rows and columns that together cover the canvas, each exactly once, in the order of
    /// [`areas()`]. If `symmetric`, yields only those on and above the diagonal: slots above it also write their transpose
    /// below it.
    ///
    /// # Panics
    /// If `symmetric` and the canvas is not square.
    pub fn slots(
        &mut self,
        edge: usize,
        symmetric: bool,
    ) -> impl Iterator<Item = Slot<'_, T>> + Send {
        let (rows, cols) = self.matrix_shape();
        assert!(!symmetric || (self.shape[0] == self.shape[2] && self.shape[1] == self.shape[3]));
        let (planes, isa, blocks) = (&self.planes[..], self.isa, [self.shape[1], self.shape[3]]);
        areas(rows, cols, edge, symmetric).map(move |area| Slot {
            planes,
            isa,
            blocks,
            mirrored: symmetric && area.is_above_diagonal(),
            area,
        })
    }

    /// The number of [`Canvas::slots`].
    pub fn slot_count(&self, edge: usize, symmetric: bool) -> usize {
        let (rows, cols) = self.matrix_shape();
        area_count(rows, cols, edge, symmetric)
    }
}

impl<T: Scalar> Slot<'_, T> {
    /// The rows and columns to compute.
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// Adds the values that the area of each plane holds to its tile. Returns true if all sums, rounded to `T`, are finite.
    ///
    /// # Panics
    /// If there are fewer tiles than planes, or a tile is smaller than the area.
    pub fn add_stored(&self, tiles: &mut [Tile]) -> bool {
        assert!(tiles.len() >= self.planes.len());
        let [row_block, col_block] = self.blocks;
        let mut finite = true;
        for (plane, tile) in self.planes.iter().zip(tiles) {
            let [i, m, j, n] = plane.strides;
            let rows = offsets(&self.area.rows, row_block, i, m);
            let cols = offsets(&self.area.cols, col_block, j, n);
            // SAFETY: as in `store`, every address is one of the array's, and only this slot writes to it. The array
            // is initialized, since its view is.
            finite &= unsafe { plane.add_to(self.isa, &rows, &cols, tile) };
        }
        finite
    }

    /// Writes one tile per plane, rounded to `T`. `turned` is scratch space for its transpose.
    ///
    /// # Panics
    /// If there are fewer tiles than planes, or a tile is smaller than the area.
    pub fn store(self, tiles: &[Tile], turned: &mut Tile) {
        assert!(tiles.len() >= self.planes.len());
        let [row_block, col_block] = self.blocks;
        for (plane, tile) in self.planes.iter().zip(tiles) {
            let [i, m, j, n] = plane.strides;
            let rows = offsets(&self.area.rows, row_block, i, m);
            let cols = offsets(&self.area.cols, col_block, j, n);
            // SAFETY: `area` lies within the canvas' matrix and the offsets are those of its rows and columns, so
            // every address is one of the array's. `slots` borrows the canvas exclusively and yields each area
            // once, `store` consumes the slot, and distinct areas have distinct addresses: no other write races.
            unsafe { plane.write(self.isa, &rows, &cols, tile) };
            if self.mirrored {
                tile.transpose(self.isa, turned);
                let rows = offsets(&self.area.cols, row_block, i, m);
                let cols = offsets(&self.area.rows, col_block, j, n);
                // SAFETY: as above; the canvas is square and this area is the transpose of one strictly above the
                // diagonal, so it lies strictly below, where `slots` yields nothing.
                unsafe { plane.write(self.isa, &rows, &cols, turned) };
            }
        }
    }
}

impl<T: Scalar> Plane<T> {
    /// Adds the value at `rows[r] + cols[c]` to `tile[r][c]`. Returns true if all sums, rounded to `T`, are finite.
    ///
    /// # Safety
    /// Every such offset is that of an element of this plane, and no other thread writes to it.
    unsafe fn add_to(&self, isa: Isa, rows: &[isize], cols: &[isize], tile: &mut Tile) -> bool {
        if !consecutive(cols) {
            let mut finite = true;
            for (r, row) in rows.iter().enumerate() {
                let values = &mut tile.row_mut(r)[..cols.len()];
                for (col, value) in cols.iter().zip(&mut *values) {
                    // SAFETY: the caller's promise.
                    *value += unsafe { self.base.offset(row + col).read() }.widen();
                }
                finite &= all_fit::<T>(values);
            }
            return finite;
        }
        let sources = rows.iter().map(|row| {
            // SAFETY: these are consecutive elements of the plane that, by the caller's promise, nobody writes to.
            unsafe { slice::from_raw_parts(self.base.offset(row + cols[0]), cols.len()) }
        });
        isa.run(AddRows { sources, tile })
    }

    /// Writes `tile[r][c]` at `rows[r] + cols[c]`.
    ///
    /// # Safety
    /// Every such offset is that of an element of this plane, and no other thread accesses it.
    unsafe fn write(&self, isa: Isa, rows: &[isize], cols: &[isize], tile: &Tile) {
        if !consecutive(cols) {
            for (r, row) in rows.iter().enumerate() {
                for (col, value) in cols.iter().zip(&tile.row(r)[..cols.len()]) {
                    // SAFETY: the caller's promise.
                    unsafe { self.base.offset(row + col).write(T::narrow(*value)) };
                }
            }
            return;
        }
        let targets = rows.iter().map(|row| {
            // SAFETY: these are consecutive elements of the plane that, by the caller's promise, nobody else accesses.
            unsafe { slice::from_raw_parts_mut(self.base.offset(row + cols[0]), cols.len()) }
        });
        isa.run(Rows {
            targets,
            tile,
            streamed: self.streamed,
        });
    }
}

/// Writes the rows of a tile to `targets`, each as far as its target is long.
struct Rows<'a, I> {
    targets: I,
    tile: &'a Tile,
    streamed: bool,
}

impl<'t, T: Scalar, I: Iterator<Item = &'t mut [T]>> Vectorized for Rows<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let narrow = |target: &mut [T], values: &[f64]| {
            target
                .iter_mut()
                .zip(values)
                .for_each(|(target, value)| *target = T::narrow(*value));
        };
        for (r, target) in self.targets.enumerate() {
            let values = &self.tile.row(r)[..target.len()];
            if !self.streamed {
                narrow(target, values);
                continue;
            }
            // SAFETY: a line is an array of `T`, and any bytes are a value of it.
            let (head, lines, tail) = unsafe { target.align_to_mut::<T::Line>() };
            let (first, values) = values.split_at(head.len());
            let (whole, last) = values.split_at(lines.len() * T::Line::LANES);
            narrow(head, first);
            for (line, values) in lines.iter_mut().zip(whole.chunks_exact(T::Line::LANES)) {
                T::stream::<V>(values, line);
            }
            narrow(tail, last);
        }
        if self.streamed {
            V::drain();
        }
    }
}

/// Returns true if each offset is its predecessor plus 1.
fn consecutive(offsets: &[isize]) -> bool {
    offsets.windows(2).all(|pair| pair[1] - pair[0] == 1)
}

/// Element offsets of matrix rows or columns. An index splits into `index / block` and `index % block`, of strides
/// `outer` and `inner`.
fn offsets(range: &Range<usize>, block: usize, outer: isize, inner: isize) -> Vec<isize> {
    let offset = |index: usize| (index / block) as isize * outer + (index % block) as isize * inner;
    range.clone().map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::super::EDGE;
    use super::*;
    use ndarray::{Array2, Array4, Axis};
    use proptest::prelude::*;

    /// Fills a canvas with values that tell their matrix index, and returns it as a matrix.
    fn paint(mut array: Array4<f64>, symmetric: bool) -> Array2<f64> {
        let shape = array.shape();
        let (rows, cols) = (shape[0] * shape[1], shape[2] * shape[3]);
        paint_view(array.view_mut(), symmetric);
        array.to_shape((rows, cols)).unwrap().to_owned()
    }

    fn paint_view(view: ArrayViewMut4<'_, f64>, symmetric: bool) {
        let shape = [0, 1, 2, 3].map(|axis| view.shape()[axis]);
        let mut canvas = Canvas::new(vec![view], shape).unwrap();
        let count = canvas.slot_count(EDGE, symmetric);
        let mut seen = 0;
        for slot in canvas.slots(EDGE, symmetric) {
            let mut tile = Tile::default();
            tile.reset(EDGE, EDGE);
            let Area { rows, cols } = slot.area().clone();
            for r in rows.clone() {
                for c in cols.clone() {
                    let (low, high) = if symmetric {
                        (r.min(c), r.max(c))
                    } else {
                        (r, c)
                    };
                    tile.row_mut(r - rows.start)[c - cols.start] = (low * 10_000 + high) as f64;
                }
            }
            slot.store(&[tile], &mut Tile::default());
            seen += 1;
        }
        assert_eq!(seen, count);
    }

    proptest! {
        #[test]
        fn every_entry_is_written_where_it_belongs(n in 0..120_usize, m in 0..120_usize, s in 1..4_usize) {
            let painted = paint(Array4::from_elem((n, s, m, s), f64::NAN), false);
            let expected = Array2::from_shape_fn((n * s, m * s), |(r, c)| (r * 10_000 + c) as f64);
            prop_assert_eq!(painted, expected);
        }

        #[test]
        fn the_mirror_image_is_written_too(n in 0..150_usize, s in 1..4_usize) {
            let painted = paint(Array4::from_elem((n, s, n, s), f64::NAN), true);
            let expected = |(r, c): (usize, usize)| (r.min(c) * 10_000 + r.max(c)) as f64;
            prop_assert_eq!(painted, Array2::from_shape_fn((n * s, n * s), expected));
        }
    }

    #[test]
    fn large_arrays_of_any_alignment_are_written_past_the_caches() {
        const N: usize = 2049;
        for offset in [0, 1, 7] {
            let mut memory = vec![f64::NAN; offset + N * N + 1];
            let values = &mut memory[offset..offset + N * N];
            assert!(size_of_val(values) > STREAMED);
            let view = ArrayViewMut4::from_shape((N, 1, N, 1), values).unwrap();
            paint_view(view, true);
            for (index, value) in memory[offset..offset + N * N].iter().enumerate() {
                let (r, c) = (index / N, index % N);
                assert_eq!(*value, (r.min(c) * 10_000 + r.max(c)) as f64);
            }
            assert!(memory[..offset].iter().all(|value| value.is_nan()));
            assert!(memory[offset + N * N].is_nan());
        }
    }

    #[test]
    fn strided_arrays_are_written_in_place() {
        let mut whole = Array2::from_elem((7, 12), -1.0);
        let view = whole
            .slice_mut(ndarray::s![..;2, 1..;3])
            .insert_axis(Axis(1))
            .insert_axis(Axis(3));
        let mut canvas = Canvas::new(vec![view], [4, 1, 4, 1]).unwrap();
        for slot in canvas.slots(EDGE, false) {
            let mut tile = Tile::default();
            tile.reset(EDGE, EDGE);
            slot.store(&[tile], &mut Tile::default());
        }
        assert_eq!(whole.iter().filter(|value| **value == 0.0).count(), 16);
        assert_eq!(whole[[2, 4]], 0.0);
        assert_eq!(whole[[1, 4]], -1.0);
    }

    #[test]
    fn stored_values_are_added_to_a_tile() {
        // Apart, and side by side.
        for step in [2, 1] {
            let mut whole = Array2::from_shape_fn((4, 6), |(r, c)| (10 * r + c) as f32);
            let view = whole.slice_mut(ndarray::s![.., ..3 * step; step]);
            let view = view.insert_axis(Axis(1)).insert_axis(Axis(3));
            let mut canvas = Canvas::new(vec![view], [4, 1, 3, 1]).unwrap();
            for slot in canvas.slots(EDGE, false) {
                let mut tile = Tile::default();
                tile.reset(4, 3);
                tile.row_mut(3)[2] = 0.5;
                slot.add_stored(slice::from_mut(&mut tile));
                let row = |r: usize| [0, 1, 2].map(|c| (10 * r + step * c) as f64);
                assert_eq!(tile.row(1), row(1));
                assert_eq!(tile.row(3), [row(3)[0], row(3)[1], row(3)[2] + 0.5]);
            }
        }
    }

    #[test]
    fn an_array_of_another_shape_is_an_error() {
        let mut array = Array4::<f32>::zeros((2, 1, 3, 1));
        assert!(Canvas::new(vec![array.view_mut()], [2, 1, 2, 1]).is_err());
    }
}
