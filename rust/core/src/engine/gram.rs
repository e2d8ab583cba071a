//! Driver for Gram matrices of any kernel: each tile is computed once and stored.

use ndarray::ArrayViewMut4;

use crate::engine::pool::{self, Load, Stop, Watch};
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
    fill(kernel, outputs, true, watch)
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
    fill(kernel, outputs, false, watch)
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
    let work = |worker: &mut TileWorker<K>, slot: Slot<'_, T>, stop: &Stop| {
        let TileWorker { scratch, tiles, .. } = worker;
        kernel.compute(slot.area(), scratch, tiles, stop);
        slot.store(&worker.tiles, &mut worker.turned);
    };
    pool::for_each(
        canvas.slots(kernel.edge(), symmetric),
        load,
        watch,
        state,
        work,
    )?;
    kernel.check()
}
