//! The NNGP and NTK of infinitely wide networks, all layers of a tile at once.

use crate::error::{Error, Result};
use crate::panel::Panels;
use crate::recursion::{Pairs, Profile, Recursion};
use crate::scalar::Scalar;
use crate::tile::{Area, Tile, TileKernel, product};

use ndarray::ArrayView2;

/// Gaps below this are computed from the difference (or sum) of the two rows instead of their product: the product is
/// exact to some ε, which the kernel's infinite slope at ρ = ±1 would amplify to √ε.
const CLOSE: f64 = 1.0 / 64.0;

/// Which kernel of an infinitely wide network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Σ, the covariance of the outputs at initialisation.
    Nngp,
    /// Θ, the tangent kernel.
    Ntk,
}

/// Packed inputs with all that the recursion knows of them one by one.
#[derive(Debug)]
pub struct Inputs<T: Scalar> {
    rows: Panels<T>,
    /// Norms of the packed (scaled) rows.
    norms: Vec<f64>,
    profile: Profile,
}

impl<T: Scalar> Inputs<T> {
    /// Packs (N, d) inputs and runs the recursion along their diagonal. O(N·d + N·layers).
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::NoFeatures`], [`Error::Overflow`], [`Error::Memory`].
    pub fn new(
        recursion: &Recursion,
        x: ArrayView2<'_, T>,
        argument: &'static str,
    ) -> Result<Self> {
        if x.ncols() == 0 {
            return Err(Error::NoFeatures { argument });
        }
        let (rows, exponents) = Panels::pack_scaled(x, argument)?;
        let norms: Vec<f64> = rows.squared_norms().into_iter().map(f64::sqrt).collect();
        let width = (x.ncols() as f64).sqrt();
        let root = |(norm, exponent): (&f64, i32)| libm::scalbn(norm / width, exponent);
        let root_mean_squares = norms.iter().zip(exponents).map(root).collect();
        let profile = recursion.profile(root_mean_squares, argument)?;
        Ok(Self {
            rows,
            norms,
            profile,
        })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The kernels between two batches of inputs.
#[derive(Debug)]
pub struct Infinite<'a, T: Scalar> {
    recursion: &'a Recursion,
    rows: &'a Inputs<T>,
    cols: &'a Inputs<T>,
    outputs: &'a [Output],
}

impl<'a, T: Scalar> Infinite<'a, T> {
    /// The `outputs` of the network, between `rows` and `cols` (the same for a symmetric kernel).
    ///
    /// # Errors
    /// [`Error::Features`] if the batches differ in their number of features.
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a Inputs<T>,
        cols: &'a Inputs<T>,
        outputs: &'a [Output],
    ) -> Result<Self> {
        let (expected, got) = (rows.rows.depth(), cols.rows.depth());
        if got != expected {
            return Err(Error::Features {
                argument: "Z",
                got,
                reference: "X",
                expected,
            });
        }
        Ok(Self {
            recursion,
            rows,
            cols,
            outputs,
        })
    }

    /// The gap of the inputs, given the inner product of their packed rows.
    fn gap(&self, i: usize, j: usize, inner: f64, buffers: &mut [Vec<f64>; 2]) -> f64 {
        let norms = (self.rows.norms[i], self.cols.norms[j]);
        let product = norms.0 * norms.1;
        if product == 0.0 {
            return 1.0; // a zero row has no direction, and its weight in the kernel is 0
        }
        let correlation = inner / product;
        let size = (1.0 - correlation.abs()).max(0.0);
        let size = if size < CLOSE {
            self.gap_of_close_rows(i, j, norms, correlation, buffers)
        } else {
            size
        };
        size.copysign(correlation)
    }

    /// `|x/|x| ∓ y/|y||²/2` with the sign of the correlation, exact to the last digits of the angle. O(d).
    fn gap_of_close_rows(
        &self,
        i: usize,
        j: usize,
        norms: (f64, f64),
        correlation: f64,
        buffers: &mut [Vec<f64>; 2],
    ) -> f64 {
        let [x, y] = buffers;
        for buffer in [&mut *x, &mut *y] {
            buffer.resize(self.rows.rows.depth(), 0.0);
        }
        self.rows.rows.copy_row(i, x);
        self.cols.rows.copy_row(j, y);
        let (x_scale, y_scale) = (norms.1, norms.0.copysign(correlation));
        let square =
            |(x, y): (&f64, &f64)| (x * x_scale - y * y_scale) * (x * x_scale - y * y_scale);
        let squares: f64 = x.iter().zip(y.iter()).map(square).sum();
        squares / (2.0 * (norms.0 * norms.1) * (norms.0 * norms.1))
    }
}

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    inner: Tile,
    pairs: Pairs,
    buffers: [Vec<f64>; 2],
}

impl<T: Scalar> TileKernel for Infinite<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn cols(&self) -> usize {
        self.cols.len()
    }

    fn planes(&self) -> usize {
        self.outputs.len()
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile]) {
        let Scratch {
            inner,
            pairs,
            buffers,
        } = scratch;
        let (rows, cols) = (&self.rows.rows, &self.cols.rows);
        product(rows.of_rows(&area.rows), cols.of_rows(&area.cols), inner);
        for plane in &mut *planes {
            plane.reset(area.rows.len(), area.cols.len());
        }
        for (r, i) in area.rows.clone().enumerate() {
            pairs.gaps.clear();
            let inner = inner.row(r).iter().zip(area.cols.clone());
            pairs
                .gaps
                .extend(inner.map(|(inner, j)| self.gap(i, j, *inner, buffers)));
            self.recursion.run(
                &self.rows.profile,
                i,
                &self.cols.profile,
                area.cols.clone(),
                pairs,
            );
            for (plane, output) in planes.iter_mut().zip(self.outputs) {
                plane.row_mut(r).copy_from_slice(match output {
                    Output::Nngp => &pairs.nngp,
                    Output::Ntk => &pairs.ntk,
                });
            }
        }
    }
}

/// The diagonal of one kernel, the bits that the whole kernel has there. O(N·(d + layers)).
pub fn diagonal<T: Scalar>(recursion: &Recursion, inputs: &Inputs<T>, output: Output) -> Vec<f64> {
    let mut pairs = Pairs::default();
    let entry = |i: usize| {
        pairs.gaps.clear();
        // A zero row has no direction: see `Infinite::gap`.
        pairs
            .gaps
            .push(if inputs.norms[i] == 0.0 { 1.0 } else { 0.0 });
        recursion.run(&inputs.profile, i, &inputs.profile, i..i + 1, &mut pairs);
        match output {
            Output::Nngp => pairs.nngp[0],
            Output::Ntk => pairs.ntk[0],
        }
    };
    (0..inputs.len()).map(entry).collect()
}
