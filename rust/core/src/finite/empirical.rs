//! The empirical NTK of a network, without a Jacobian:
//!
//! ```text
//! Θ_st(x, x') = Σ_l ( σ_w²/n_l ⟨x^l, x'^l⟩ + σ_b² ) · ⟨δ^{l+1}_s, δ'^{l+1}_t⟩            (1)
//! ```
//!
//! Each trained layer takes two Gram matrices and an elementwise product. All layers are summed while the tile is in cache.

use std::ops::Range;

use ndarray::Array2;

use crate::engine::panel::Panels;
use crate::engine::pool::{AllFinite, Stages, Stop, Watch};
use crate::engine::scalar::{Scalar, all_fit};
use crate::engine::tile::{Area, Tile, TileKernel, product, product_cycles, sum_of_products};
use crate::error::{Error, Result};
use crate::finite::backward::{Deltas, backward, collapse};
use crate::finite::forward::{ForwardPass, forward};
use crate::finite::layer::Layer;
use crate::finite::network::Network;
use crate::finite::output_directions::OutputDirections;
use crate::finite::outputs::Outputs;
use crate::isa::{Vector, Vectorized};

/// Activations and deltas of a batch, for some groups of directions.
#[derive(Debug)]
pub struct Linearized<T: Scalar> {
    pass: ForwardPass<T>,
    groups: Vec<(OutputDirections, Deltas<T>)>,
    /// For sums over outputs: one set of rows that replaces the last hidden layer's deltas of all outputs.
    collapsed: Option<Panels<T>>,
}

impl<T: Scalar> Linearized<T> {
    /// Runs the network forward and backward on packed inputs.
    ///
    /// # Errors
    /// As [`forward`] and [`backward`].
    pub fn new(
        network: &Network<T>,
        x: Panels<T>,
        outputs: Outputs,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let groups = outputs.groups(network.outputs());
        let directions: usize = groups.iter().map(OutputDirections::len).sum();
        let shares = [1.0, directions as f64, 0.1];
        let mut stages = Stages::new(watch, &shares);
        let pass = stages.next(|watch| forward(network, x, watch))?;
        let deltas = stages.next(|watch| backward(network, &pass, &groups, watch))?;
        let groups = groups.into_iter().zip(deltas).collect();
        let collapsed = match outputs {
            Outputs::Trace | Outputs::Mean if network.outputs() > 1 => {
                stages.next(|watch| collapse(network, &pass, watch))?
            }
            _ => None,
        };
        Ok(Self {
            pass,
            groups,
            collapsed,
        })
    }

    /// Returns the packed inputs for reuse.
    pub(crate) fn into_inputs(mut self) -> Panels<T> {
        self.pass.inputs.swap_remove(0)
    }
}

/// The empirical NTK between two batches, as a [`TileKernel`].
#[derive(Debug)]
pub struct Empirical<'a, T: Scalar> {
    network: &'a Network<T>,
    rows: &'a Linearized<T>,
    cols: &'a Linearized<T>,
    outputs: Outputs,
    per_layer: bool,
    /// For each plane `⟨s_m, s_n⟩`, summed over its groups: the Gram matrix of the last layer's deltas.
    last: Vec<Array2<f64>>,
    finite: AllFinite,
}

impl<'a, T: Scalar> Empirical<'a, T> {
    /// The kernel between the batches of `rows` and `cols`, both linearized for `outputs`.
    ///
    /// With `per_layer`, each summand of (1) is a plane of its own.
    ///
    /// # Errors
    /// As [`OutputDirections::gram`].
    ///
    /// # Panics
    /// If the two batches were linearized for different numbers of groups of directions.
    pub fn new(
        network: &'a Network<T>,
        rows: &'a Linearized<T>,
        cols: &'a Linearized<T>,
        outputs: Outputs,
        per_layer: bool,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        assert_eq!(rows.groups.len(), cols.groups.len());
        let mut kernel = Self {
            network,
            rows,
            cols,
            outputs,
            per_layer,
            last: Vec::new(),
            finite: AllFinite::new(),
        };
        let shares = vec![1.0; rows.groups.len()];
        let mut stages = Stages::new(watch, &shares);
        let groups = rows.groups.iter();
        let grams = groups.map(|(directions, _)| stages.next(|watch| directions.gram(watch)));
        let grams = grams.collect::<Result<Vec<_>>>()?;
        let sum =
            |groups: Range<usize>| grams[groups].iter().cloned().reduce(|sum, gram| sum + gram);
        kernel.last = kernel.groups().filter_map(sum).collect();
        Ok(kernel)
    }

    /// S, the number of directions in a group: rows of the kernel per sample.
    fn directions(&self) -> usize {
        self.rows.groups[0].0.len()
    }

    /// The number of planes that each layer adds to.
    fn planes_per_layer(&self) -> usize {
        if self.outputs == Outputs::Diagonal {
            self.rows.groups.len()
        } else {
            1
        }
    }

    /// For each plane of a layer, the groups of directions that it sums.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let count = self.rows.groups.len() / self.planes_per_layer();
        (0..self.planes_per_layer()).map(move |plane| plane * count..(plane + 1) * count)
    }

    /// Writes `⟨δ^{l+1}_s, δ'^{l+1}_t⟩`, summed over groups, for any layer but the last.
    fn delta_gram(&self, layer: usize, groups: Range<usize>, area: &Area, tile: &mut Tile) {
        if let (Some(rows), Some(cols)) = (&self.rows.collapsed, &self.cols.collapsed)
            && layer + 2 == self.network.depth()
        {
            product(rows.of_rows(&area.rows), cols.of_rows(&area.cols), tile);
            return;
        }
        let groups = self.rows.groups[groups.clone()]
            .iter()
            .zip(&self.cols.groups[groups]);
        let pairs = groups.map(|((_, rows), (_, cols))| {
            let (rows, cols) = (&rows[layer], &cols[layer]);
            (rows.of_rows(&area.rows), cols.of_rows(&area.cols))
        });
        sum_of_products(pairs, tile);
    }

    /// Writes the same for the last layer, whose deltas are the directions.
    fn last_gram(&self, plane: usize, area: &Area, tile: &mut Tile) {
        let (gram, count) = (&self.last[plane], self.directions());
        tile.reset(area.rows.len(), area.cols.len());
        for (r, row) in area.rows.clone().enumerate() {
            let directions = gram.row(row % count);
            let repeated = directions.iter().cycle().skip(area.cols.start % count);
            tile.row_mut(r)
                .iter_mut()
                .zip(repeated)
                .for_each(|(value, entry)| *value = *entry);
        }
    }

    /// `plane += (σ_w²/n ⟨x, x'⟩ + σ_b²) ⊙ deltas`.
    fn accumulate(&self, layer: usize, area: &Area, scratch: &mut Scratch, plane: &mut Tile) {
        let layer = &self.network.layers[layer];
        let (count, isa) = (self.directions(), self.rows.pass.outputs.all().isa());
        let first = first_in_tile::<T>(&area.rows, count);
        let Scratch {
            inner,
            deltas,
            factors,
        } = scratch;
        for (r, row) in area.rows.clone().enumerate() {
            if r == 0 || row % count == 0 {
                self.write_factors(layer, inner.row(row / count - first), &area.cols, factors);
            }
            isa.run(AddProducts {
                factors,
                others: deltas.row(r),
                values: plane.row_mut(r),
            });
        }
    }

    /// Writes `σ_w²/n ⟨x, x'⟩ + σ_b²` for each of the columns `cols`, given the inner products of one sample.
    fn write_factors(
        &self,
        layer: &Layer<T>,
        inner: &[f64],
        cols: &Range<usize>,
        factors: &mut Vec<f64>,
    ) {
        let weight = layer.weight_learning_scale * layer.weight_learning_scale;
        let bias = if layer.has_bias() {
            layer.bias_learning_scale * layer.bias_learning_scale
        } else {
            0.0
        };
        let count = self.directions();
        let samples = &inner[cols.start / count - first_in_tile::<T>(cols, count)..];
        let scaled = samples.iter().map(|inner| weight * inner + bias);
        factors.clear();
        if count == 1 {
            factors.extend(scaled.take(cols.len()));
        } else {
            let repeated = scaled.flat_map(|factor| std::iter::repeat_n(factor, count));
            factors.extend(repeated.skip(cols.start % count).take(cols.len()));
        }
    }

    /// Divides by O for [`Outputs::Mean`], and records whether the entries are finite when stored.
    fn finish(&self, area: &Area, planes: &mut [Tile]) {
        let mut finite = true;
        for plane in planes {
            for r in 0..area.rows.len() {
                let row = plane.row_mut(r);
                if self.outputs == Outputs::Mean {
                    row.iter_mut()
                        .for_each(|value| *value /= self.network.outputs() as f64);
                }
                finite &= all_fit::<T>(row);
            }
        }
        self.finite.record(finite);
    }
}

/// `values += factors ⊙ others`.
struct AddProducts<'a> {
    factors: &'a [f64],
    others: &'a [f64],
    values: &'a mut [f64],
}

impl Vectorized for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let terms = self.factors.iter().zip(self.others);
        for (value, (factor, other)) in self.values.iter_mut().zip(terms) {
            *value += factor * other;
        }
    }
}

/// The samples that a range of kernel rows belongs to, with `count` rows per sample.
fn samples(range: &Range<usize>, count: usize) -> Range<usize> {
    range.start / count..range.end.div_ceil(count)
}

/// The first sample of the panels that hold these samples: row 0 of the tile of inner products.
fn first_in_tile<T: Scalar>(range: &Range<usize>, count: usize) -> usize {
    range.start / count / Panels::<T>::LANES * Panels::<T>::LANES
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `⟨x, x'⟩` of samples.
    inner: Tile,
    /// `⟨δ_s, δ'_t⟩` of kernel rows and columns.
    deltas: Tile,
    /// `σ_w²/n ⟨x, x'⟩ + σ_b²` of one sample and each column.
    factors: Vec<f64>,
}

impl<T: Scalar> TileKernel for Empirical<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.pass.samples() * self.directions()
    }

    fn cols(&self) -> usize {
        self.cols.pass.samples() * self.directions()
    }

    fn planes(&self) -> usize {
        let layers = if self.per_layer {
            self.network.depth()
        } else {
            1
        };
        layers * self.planes_per_layer()
    }

    fn entry_cycles(&self) -> f64 {
        let layers = self.network.layers.iter();
        let products =
            layers.map(|layer| layer.inputs() + self.planes_per_layer() * layer.outputs());
        product_cycles(products.sum())
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], _: &Stop) {
        for plane in &mut *planes {
            plane.reset(area.rows.len(), area.cols.len());
        }
        let (per_layer, count) = (self.planes_per_layer(), self.directions());
        let (rows, cols) = (samples(&area.rows, count), samples(&area.cols, count));
        let trained = |layer: &usize| {
            let layer = &self.network.layers[*layer];
            layer.trains_weights() || layer.trains_bias()
        };
        for layer in (0..self.network.depth()).filter(trained) {
            let (x, z) = (&self.rows.pass.inputs[layer], &self.cols.pass.inputs[layer]);
            product(x.of_rows(&rows), z.of_rows(&cols), &mut scratch.inner);
            let first = if self.per_layer { layer * per_layer } else { 0 };
            let planes = &mut planes[first..first + per_layer];
            for (index, (plane, groups)) in planes.iter_mut().zip(self.groups()).enumerate() {
                if layer + 1 == self.network.depth() {
                    self.last_gram(index, area, &mut scratch.deltas);
                } else {
                    self.delta_gram(layer, groups, area, &mut scratch.deltas);
                }
                self.accumulate(layer, area, scratch, plane);
            }
        }
        self.finish(area, planes);
    }

    fn check(&self) -> Result<()> {
        self.finite.check(|| Error::TooLarge {
            what: "an entry of the kernel",
            dtype: T::NAME,
        })
    }
}
