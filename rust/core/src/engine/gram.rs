//! Driver for Gram matrices of any kernel: each tile is computed once, and stored or added.

use ndarray::ArrayViewMut4;

use crate::engine::pool::{self, AllFinite, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Canvas, Slot, Tile, TileKernel};
use crate::error::{Error, Result};

/// Computes `K(X, X)` for a kernel whose rows and columns are the same. Half of it is computed, and mirrored.
///
/// `outputs` are arrays of shape (N, S, N, S), one per plane of the kernel. An (N, N) matrix has S = 1.
///
/// # Errors
/// [`Error::Shape`] if the arrays do not fit the kernel, [`Error::Cancelled`], [`Error::Panicked`]; as
/// [`TileKernel::check`].
pub fn symmetric<T: Scalar, K: TileKernel>(
    kernel: &K,
    outputs: Vec<ArrayViewMut4<'_, T>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    fill(kernel, outputs, true, false, watch)
}

/// Computes every entry of `K(X, Z)`, into arrays of shape (N, S, M, S).
///
/// # Errors
/// As [`symmetric`].
pub fn rectangular<T: Scalar, K: TileKernel>(
    kernel: &K,
    outputs: Vec<ArrayViewMut4<'_, T>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    fill(kernel, outputs, false, false, watch)
}

/// Adds a kernel to what `outputs` hold. If `symmetric`, kernel and outputs are symmetric, and only half of both is read.
///
/// An entry of the outputs is its old value plus one number, rounded once: a sum of kernels has the same bits whatever
/// the threads.
///
/// # Errors
/// [`Error::TooLarge`] if a sum exceeds the range of `T`; as [`symmetric`].
pub fn add<T: Scalar, K: TileKernel>(
    kernel: &K,
    outputs: Vec<ArrayViewMut4<'_, T>>,
    symmetric: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    fill(kernel, outputs, symmetric, true, watch)
}

/// Per-worker scratch space, reused between tiles.
struct TileWorker<K: TileKernel> {
    scratch: K::Scratch,
    tiles: Vec<Tile>,
    turned: Tile,
}

fn fill<T: Scalar, K: TileKernel>(
    kernel: &K,
    outputs: Vec<ArrayViewMut4<'_, T>>,
    symmetric: bool,
    adds: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let Some(shape) = outputs
        .first()
        .map(|array| [0, 1, 2, 3].map(|axis| array.shape()[axis]))
    else {
        return Ok(());
    };
    let mut canvas = Canvas::new(outputs, shape)?;
    let (rows, cols) = canvas.matrix_shape();
    let expected = [kernel.planes(), kernel.rows(), kernel.cols()];
    Error::check_shape("out", &[canvas.planes(), rows, cols], &expected)?;
    let load = Load::new(canvas.slot_count(kernel.edge(), symmetric), kernel.cycles());
    let state = || TileWorker::<K> {
        scratch: K::Scratch::default(),
        tiles: vec![Tile::default(); kernel.planes()],
        turned: Tile::default(),
    };
    let finite = AllFinite::new();
    let work = |worker: &mut TileWorker<K>, slot: Slot<'_, T>, stop: &Stop| {
        kernel.compute(slot.area(), &mut worker.scratch, &mut worker.tiles, stop);
        if adds {
            finite.record(slot.add_stored(&mut worker.tiles));
        }
        slot.store(&worker.tiles, &mut worker.turned);
    };
    let slots = canvas.slots(kernel.edge(), symmetric);
    pool::for_each(slots, load, watch, state, work)?;
    kernel.check()?;
    finite.check(|| Error::TooLarge {
        what: "an entry of the kernel",
        dtype: T::NAME,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4};

    use super::*;
    use crate::engine::linear::Linear;
    use crate::engine::panel::Panels;
    use crate::engine::pool::unwatched;

    #[test]
    fn a_kernel_is_added_to_the_outputs() {
        // Integers: exact.
        let x = Array2::from_shape_fn((130, 3), |(i, k)| ((7 * i + 3 * k) % 11) as f64 - 5.0);
        let rows = Panels::pack(x.view(), "X", &mut unwatched).unwrap();
        let (kernel, gram) = (
            Linear {
                rows: &rows,
                cols: &rows,
            },
            x.dot(&x.t()),
        );
        for symmetric in [false, true] {
            let mut sum = Array4::<f64>::from_elem((130, 1, 130, 1), 1.0);
            for _ in 0..2 {
                add(&kernel, vec![sum.view_mut()], symmetric, &mut unwatched).unwrap();
            }
            let sum = sum.into_shape_with_order((130, 130)).unwrap();
            assert_eq!(sum, 2.0 * &gram + 1.0);
        }
    }

    #[test]
    fn a_sum_that_overflows_is_an_error() {
        let x = Array2::from_elem((2, 1), 1.2e19_f32);
        let rows = Panels::pack(x.view(), "X", &mut unwatched).unwrap();
        let (rows, cols) = (&rows, &rows);
        let mut sum = Array4::<f32>::zeros((2, 1, 2, 1));
        let mut more = || {
            add(
                &Linear { rows, cols },
                vec![sum.view_mut()],
                true,
                &mut unwatched,
            )
        };
        assert_eq!([more(), more()].map(|result| result.is_ok()), [true, true]);
        assert!(matches!(more(), Err(Error::TooLarge { .. })));
    }
}
