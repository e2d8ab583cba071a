//! Batches of inputs, packed, with the recursion along their diagonal.
//!
//! A batch is packed first ([`Packed`]), then prepared for the kernels of one network ([`Inputs`]).

use std::ptr;

use ndarray::ArrayView2;

use crate::engine::panel::Panels;
use crate::engine::pool::{Stages, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, product, product_cycles};
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::gap::{self, gaps};
use crate::infinite::normed_rows::NormedRows;
use crate::infinite::recursion::{Batch, Profile, Recursion};
use crate::isa::Isa;

/// A private, packed copy of the inputs, taken before another thread can change them.
#[derive(Debug)]
pub struct Packed<T: Scalar> {
    rows: Panels<T>,
    exponents: Vec<i32>,
    pub(super) argument: &'static str,
}

impl<T: Scalar> Packed<T> {
    /// Packs (N, d) inputs. `argument` is their name in errors. O(N·d).
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::NoFeatures`], [`Error::Memory`]; as
    /// [`pool::for_each`](crate::engine::pool::for_each).
    pub fn new(
        x: ArrayView2<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        if x.ncols() == 0 {
            return Err(Error::NoFeatures { argument });
        }
        let (rows, exponents) = Panels::pack_scaled(x, argument, watch)?;
        Ok(Self {
            rows,
            exponents,
            argument,
        })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// True if there is no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.rows.depth()
    }

    /// The inputs with their norms. O(N·d).
    ///
    /// # Errors
    /// As [`pool::for_each`](crate::engine::pool::for_each).
    pub(super) fn normed(self, watch: &mut Watch<'_>) -> Result<NormedRows<T>> {
        NormedRows::new(self.rows, &self.exponents, watch)
    }
}

/// Packed inputs and their per-row recursion (the kernel's diagonal at every layer).
#[derive(Debug)]
pub struct Inputs<T: Scalar> {
    pub(super) normed: NormedRows<T>,
    pub(super) profile: Profile,
}

impl<T: Scalar> Inputs<T> {
    /// Runs the recursion along the diagonal of the inputs. O(N·d + N·layers).
    ///
    /// # Errors
    /// As [`pool::for_each`](crate::engine::pool::for_each) and [`Recursion::profile`].
    pub fn new(recursion: &Recursion, packed: Packed<T>, watch: &mut Watch<'_>) -> Result<Self> {
        let shares = [
            NormedRows::<T>::cycles(packed.features()),
            recursion.profile_cycles(),
        ];
        let mut stages = Stages::new(watch, &shares);
        let batch = Batch {
            single: T::SINGLE,
            ..Batch::whole(packed.len(), packed.argument)
        };
        let normed = stages.next(|watch| packed.normed(watch))?;
        let root = |row| normed.root_mean_square(row);
        Ok(Self {
            profile: stages.next(|watch| recursion.profile(&batch, &root, watch))?,
            normed,
        })
    }

    /// Estimated cycles of [`Inputs::new`], on one thread.
    pub fn cycles(recursion: &Recursion, packed: &Packed<T>) -> f64 {
        let norm = NormedRows::<T>::cycles(packed.features());
        packed.len() as f64 * (norm + recursion.profile_cycles())
    }

    /// The recursion along the diagonal if rows of zeros had the root mean square `small`. `None` if no row is zero, or
    /// one would then leave the range of `f64` in some layer.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn profile_without_zeros(
        &self,
        recursion: &Recursion,
        small: f64,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Profile>> {
        let root = |row| self.normed.root_mean_square(row);
        if (0..self.len()).all(|row| root(row).hi != 0.0) {
            return Ok(None);
        }
        let positive = |row| match root(row) {
            root if root.hi == 0.0 => small.into(),
            root => root,
        };
        let batch = Batch::whole(self.len(), "X");
        match recursion.profile(&batch, &positive, watch) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            profile => Ok(profile.ok()),
        }
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.normed.rows().rows()
    }

    /// True if there is no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bound on the error of any kernel entry between these inputs, round-off excluded.
    pub fn bound(&self) -> ErrorBound {
        self.profile.bound()
    }

    /// Bound on the error of any kernel entry between these inputs and `cols`, round-off excluded.
    ///
    /// # Errors
    /// [`Error::Features`] if the batches differ in their number of features.
    pub fn bound_with(&self, cols: &Self) -> Result<ErrorBound> {
        check_features(self.features(), cols.features())?;
        Ok(self.bound().max(cols.bound()))
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.normed.rows().depth()
    }
}

/// Checks that two batches X and Z, of `expected` and of `got` features, have the same number of features.
///
/// # Errors
/// [`Error::Features`] if they differ.
pub fn check_features(expected: usize, got: usize) -> Result<()> {
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

/// Two batches of inputs with the same number of features: the rows and the columns of a kernel.
#[derive(Debug)]
pub(super) struct InputPairs<'a, T: Scalar> {
    pub(super) rows: &'a Inputs<T>,
    pub(super) cols: &'a Inputs<T>,
}

impl<'a, T: Scalar> InputPairs<'a, T> {
    /// Pairs two batches; the same one twice for a symmetric kernel.
    ///
    /// # Errors
    /// [`Error::Features`] if the batches differ in their number of features.
    pub(super) fn new(rows: &'a Inputs<T>, cols: &'a Inputs<T>) -> Result<Self> {
        check_features(rows.features(), cols.features())?;
        Ok(Self { rows, cols })
    }

    /// True if rows and columns are the same batch.
    pub(super) fn symmetric(&self) -> bool {
        ptr::eq(self.rows, self.cols)
    }

    /// Estimated cycles per entry of a kernel, on one thread.
    pub(super) fn entry_cycles(&self, recursion: &Recursion) -> f64 {
        product_cycles(self.rows.features()) + recursion.cycles()
    }

    /// Fills a tile with the gaps between the inputs of an area.
    pub(super) fn gaps(&self, isa: Isa, area: &Area, tile: &mut Tile, scratch: &mut gap::Scratch) {
        let sides @ [rows, cols] = [&self.rows.normed, &self.cols.normed];
        let row_panels = rows.rows().of_rows(&area.rows);
        let col_panels = cols.rows().of_rows(&area.cols);
        product(row_panels, col_panels, tile);
        gaps(isa, sides, area, tile, scratch);
    }
}
