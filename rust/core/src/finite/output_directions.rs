//! Directions in output space, along which outputs are differentiated.

use ndarray::{Array2, ArrayView1, ArrayViewMut1, Axis};

use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::error::Result;
use crate::finite::layer::Layer;

/// The directions `s_0 … s_{S−1}` in output space along which the outputs are differentiated.
///
/// For all outputs they are the S = O unit vectors, and for one output that unit vector alone.
#[derive(Clone, Debug)]
pub struct OutputDirections(Array2<f64>);

impl OutputDirections {
    /// The directions that are the rows of an (S, O) matrix.
    pub fn new(directions: Array2<f64>) -> Self {
        Self(directions)
    }

    /// S, the number of directions.
    pub fn len(&self) -> usize {
        self.0.nrows()
    }

    /// True if there is no direction.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `⟨s_m, s_n⟩`, (S, S).
    ///
    /// # Errors
    /// As [`pool::for_each`].
    pub fn gram(&self, watch: &mut Watch<'_>) -> Result<Array2<f64>> {
        let mut gram = Array2::zeros((self.len(), self.len()));
        let cycles = 4.0 * self.len() as f64 * self.0.len() as f64;
        let rows = gram.axis_iter_mut(Axis(0)).zip(self.0.axis_iter(Axis(0)));
        let work =
            |(): &mut (), (row, one): (ArrayViewMut1<'_, f64>, ArrayView1<'_, f64>), _: &Stop| {
                // A plain sum, since a library's product may round differently from machine to machine.
                for (value, other) in row.into_iter().zip(self.0.rows()) {
                    *value = one.iter().zip(other).map(|(a, b)| a * b).sum();
                }
            };
        let load = Load::new(self.len(), cycles);
        pool::for_each(rows, load, watch, || (), work)?;
        Ok(gram)
    }

    /// Copies direction `s` to `values`.
    pub(crate) fn copy(&self, s: usize, values: &mut [f64]) {
        for (value, entry) in values.iter_mut().zip(self.0.row(s)) {
            *value = *entry;
        }
    }

    /// `weight scale · W s` for each input unit of the last layer (rows) and each direction (columns).
    pub(super) fn through<T: Scalar>(
        &self,
        layer: &Layer<T>,
        watch: &mut Watch<'_>,
    ) -> Result<Array2<f64>> {
        let mut heads = Array2::zeros((layer.inputs(), self.len()));
        let load = Load::new(layer.inputs(), self.head_cycles(layer));
        let rows = heads.axis_iter_mut(Axis(0)).enumerate();
        let weights = || vec![0.0; layer.outputs()];
        let work =
            |weights: &mut Vec<f64>, (unit, head): (usize, ArrayViewMut1<'_, f64>), _: &Stop| {
                layer.rows.copy_row(unit, weights);
                for (value, direction) in head.into_iter().zip(self.0.rows()) {
                    let sum: f64 = weights
                        .iter()
                        .zip(direction)
                        .map(|(weight, entry)| weight * entry)
                        .sum();
                    *value = layer.weight_scale * sum;
                }
            };
        pool::for_each(rows, load, watch, weights, work)?;
        Ok(heads)
    }

    /// Estimated cycles of [`OutputDirections::through`], on one thread.
    pub(super) fn head_cycles<T: Scalar>(&self, layer: &Layer<T>) -> f64 {
        (4 * layer.inputs() * layer.outputs()) as f64 * self.len() as f64
    }
}
