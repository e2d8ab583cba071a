//! Batches of inputs, packed, with the recursion along their diagonal.

use ndarray::ArrayView2;

use crate::engine::panel::Panels;
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, product, product_cycles};
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::gap::{self, gaps};
use crate::infinite::normed_rows::NormedRows;
use crate::infinite::recursion::{Profile, Recursion};
use crate::isa::Isa;

/// Packed inputs with all that the recursion knows of them one by one.
#[derive(Debug)]
pub struct Inputs<T: Scalar> {
    pub(super) normed: NormedRows<T>,
    pub(super) profile: Profile,
}

/// Packed inputs: all that is to be taken while nobody else may change them.
#[derive(Debug)]
pub struct Packed<T: Scalar> {
    rows: Panels<T>,
    exponents: Vec<i32>,
    argument: &'static str,
}

impl<T: Scalar> Packed<T> {
    /// Packs (N, d) inputs. O(N·d).
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::NoFeatures`], [`Error::Memory`]; those of [`pool::for_each`](crate::engine::pool::for_each).
    pub fn new(x: ArrayView2<'_, T>, argument: &'static str) -> Result<Self> {
        if x.ncols() == 0 {
            return Err(Error::NoFeatures { argument });
        }
        let (rows, exponents) = Panels::pack_scaled(x, argument)?;
        Ok(Self {
            rows,
            exponents,
            argument,
        })
    }
}

impl<T: Scalar> Inputs<T> {
    /// Runs the recursion along the diagonal of the inputs. O(N·d + N·layers).
    ///
    /// # Errors
    /// Those of [`pool::for_each`](crate::engine::pool::for_each) and of [`Recursion::profile`].
    pub fn new(recursion: &Recursion, packed: Packed<T>) -> Result<Self> {
        let normed = NormedRows::new(packed.rows, &packed.exponents)?;
        Ok(Self {
            profile: recursion.profile(normed.root_mean_squares(), packed.argument)?,
            normed,
        })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.normed.rows().rows()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far off the kernels between any of the inputs can be.
    pub fn bound(&self) -> ErrorBound {
        self.profile.bound()
    }
}

/// That two batches of inputs belong together.
///
/// # Errors
/// [`Error::Features`] if the inputs differ in their number of features.
pub fn check_features<T: Scalar>(rows: &Inputs<T>, cols: &Inputs<T>) -> Result<()> {
    let depth = |inputs: &Inputs<T>| inputs.normed.rows().depth();
    let (expected, got) = (depth(rows), depth(cols));
    if got != expected {
        return Err(Error::Features {
            argument: "Z",
            got,
            reference: "X",
            expected,
        });
    }
    Ok(())
}

/// About how many cycles of one thread an entry of a kernel of these inputs takes.
pub(super) fn entry_cycles<T: Scalar>(recursion: &Recursion, inputs: &Inputs<T>) -> f64 {
    product_cycles(inputs.normed.rows().depth()) + recursion.cycles()
}

/// Fills a tile with the gaps between inputs.
pub(super) fn input_gaps<T: Scalar>(
    isa: Isa,
    (rows, cols): (&Inputs<T>, &Inputs<T>),
    area: &Area,
    tile: &mut Tile,
    scratch: &mut gap::Scratch,
) {
    let (rows, cols) = (&rows.normed, &cols.normed);
    let (row_panels, col_panels) = (
        rows.rows().of_rows(&area.rows),
        cols.rows().of_rows(&area.cols),
    );
    product(row_panels, col_panels, tile);
    gaps(isa, [rows, cols], area, tile, scratch);
}
