//! The per-sample gradients of a layer's weights, a few rows of the weights at a time.

use std::ops::Range;

use super::gradient_block::GradientBlock;
use crate::engine::panel::Panels;
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::product_cycles;
use crate::error::Result;

/// The number of columns of a chunk of gradients, if a row of the weights has fewer.
const DEPTH: usize = 1024;

/// The largest number of rows of the weights in a chunk that is longer than [`DEPTH`].
const ROWS: usize = 32;

/// The numbers of rows and of columns of the weights whose gradients are formed at a time for the samples of a panel. All
/// of them fit into L2.
const BLOCK: [usize; 2] = [32, 48];

/// The factors of the gradients `Σ_s g_is a_isᵀ`, (m, n), of S directions of the outputs of each sample.
#[derive(Clone, Copy, Debug)]
pub struct GradientFactors<'a, T: Scalar> {
    /// Rows (i, k): value k of the n that enter, at all T tokens of sample i.
    pub entering: &'a Panels<T>,
    /// Rows (i, o, k): value k of the m gradients of direction o, at all tokens of sample i.
    pub leaving: &'a Panels<T>,
    /// The number N of samples.
    pub samples: usize,
    /// S.
    pub directions: usize,
}

impl<T: Scalar> GradientFactors<'_, T> {
    /// n, the number of values that enter.
    fn inputs(&self) -> usize {
        self.entering.rows() / self.samples
    }

    /// m, the number of values that leave.
    fn outputs(&self) -> usize {
        self.leaving.rows() / (self.samples * self.directions)
    }

    /// The number of gradients of weights: n·m.
    pub fn weights(&self) -> usize {
        self.inputs() * self.outputs()
    }

    /// The number of rows of the gradients: N·S.
    pub fn count(&self) -> usize {
        self.samples * self.directions
    }

    /// T.
    fn tokens(&self) -> usize {
        self.entering.depth()
    }

    /// The ranges of rows of the weights whose gradients are held at a time, for kernels between two batches.
    ///
    /// A chunk has about 1024 columns, or as many as there are values of a sample that enter. Its size depends on the
    /// shape of the layer alone, and so do the bits of sums over chunks.
    pub fn chunks(&self, other: &Self) -> Vec<Range<usize>> {
        let tokens = self.tokens().max(other.tokens());
        let rows = (DEPTH / self.inputs()).max(tokens.min(ROWS)).max(1);
        let starts = (0..self.outputs()).step_by(rows);
        starts
            .map(|start| start..self.outputs().min(start + rows))
            .collect()
    }

    /// Estimated cycles of the gradients of all chunks, on one thread.
    pub fn cycles(&self) -> f64 {
        (self.count() * self.weights()) as f64 * (2.0 + product_cycles(self.tokens()))
    }

    /// The gradients of the rows `chunk` of the weights, one after another: rows (i, o).
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory); as [`pool::for_each`].
    pub fn gradients(&self, chunk: &Range<usize>, watch: &mut Watch<'_>) -> Result<Panels<T>> {
        let (inputs, lanes) = (self.inputs(), Panels::<T>::LANES);
        let (rows, depth) = (self.count(), chunk.len() * inputs);
        let mut gradients = Panels::unwritten(rows, depth)?;
        let panels = gradients.chunks_mut(1).enumerate();
        let share = chunk.len() as f64 / self.outputs() as f64;
        let load = Load::new(panels.len(), self.cycles() * share);
        let fill =
            |block: &mut GradientBlock<T>, (panel, lines): (usize, &mut [T::Line]), _: &Stop| {
                let samples = panel * lanes..rows.min((panel + 1) * lanes);
                for top in (0..chunk.len()).step_by(BLOCK[0]) {
                    let bottom = chunk.len().min(top + BLOCK[0]);
                    let outputs = chunk.start + top..chunk.start + bottom;
                    for left in (0..inputs).step_by(BLOCK[1]) {
                        let cols = left..inputs.min(left + BLOCK[1]);
                        block.clear([outputs.len(), cols.len()]);
                        for (lane, row) in samples.clone().enumerate() {
                            self.read(block, (lane, row), [&outputs, &cols]);
                        }
                        let targets = lines[top * inputs..bottom * inputs].chunks_mut(inputs);
                        block.write(targets.map(|target| &mut target[cols.clone()]));
                    }
                }
            };
        let isa = self.leaving.all().isa();
        pool::for_each(panels, load, watch, || GradientBlock::new(isa), fill)?;
        Ok(gradients)
    }

    /// Reads rows and columns of the gradients (i, o) of the weights, number `row`, into a lane of a block.
    fn read(
        &self,
        block: &mut GradientBlock<T>,
        (lane, row): (usize, usize),
        [outputs, inputs]: [&Range<usize>; 2],
    ) {
        let within = |range: &Range<usize>, first: usize| first + range.start..first + range.end;
        let rows = within(outputs, row * self.outputs());
        let cols = within(inputs, row / self.directions * self.inputs());
        let factors = (self.leaving.of_rows(&rows), self.entering.of_rows(&cols));
        let corner = [&rows, &cols].map(|range| range.start % Panels::<T>::LANES);
        block.read(lane, factors, corner);
    }
}
