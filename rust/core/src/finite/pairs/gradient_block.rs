//! A part of the gradients of a few samples, turned from sample by sample to panels of samples.

use crate::engine::panel::{PanelSlice, transpose};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{Tile, product};
use crate::isa::{Isa, Pod, Vector, Vectorized, WIDTH};

/// The gradients of some rows and columns of the weights, for each sample of a panel.
///
/// A panel has a line for each weight, which holds a value of each sample. Written sample by sample, each of its lines
/// would be visited as often as it has lanes.
pub struct GradientBlock<T: Scalar> {
    /// The gradients of one sample.
    product: Tile,
    /// The gradients of all samples: for each row of the weights and each line of its columns, a line of every sample.
    squares: Vec<T::Line>,
    /// The numbers of rows and of columns.
    shape: [usize; 2],
    isa: Isa,
}

impl<T: Scalar> GradientBlock<T> {
    /// An empty block.
    pub fn new(isa: Isa) -> Self {
        Self {
            product: Tile::default(),
            squares: Vec::new(),
            shape: [0; 2],
            isa,
        }
    }

    /// Makes all gradients of a block of this shape zero.
    pub fn clear(&mut self, shape: [usize; 2]) {
        self.shape = shape;
        self.squares.clear();
        let lines = shape[0] * shape[1].div_ceil(T::Line::LANES) * T::Line::LANES;
        self.squares.resize(lines, T::Line::ZERO);
    }

    /// Stores the gradients of the sample of a lane: a product of rows and columns of panels, from row and column
    /// `corner` of the panels.
    pub fn read(
        &mut self,
        lane: usize,
        (rows, cols): (PanelSlice<'_, T>, PanelSlice<'_, T>),
        corner: [usize; 2],
    ) {
        product(rows, cols, &mut self.product);
        self.isa.run(Rounded::<T> {
            product: &self.product,
            corner,
            shape: self.shape,
            lines: &mut self.squares[lane..],
        });
    }

    /// Writes the gradients to the lines of each row of the weights.
    pub fn write<'a>(&self, rows: impl Iterator<Item = &'a mut [T::Line]>) {
        let lanes = T::Line::LANES;
        let squares = self.squares.chunks(self.shape[1].div_ceil(lanes) * lanes);
        for (squares, row) in squares.zip(rows) {
            transpose::<T>(squares.chunks(lanes).zip(row.chunks_mut(lanes)), self.isa);
        }
    }
}

/// Rounds a part of a product to every line of one lane.
struct Rounded<'a, T: Scalar> {
    product: &'a Tile,
    corner: [usize; 2],
    shape: [usize; 2],
    lines: &'a mut [T::Line],
}

impl<T: Scalar> Vectorized for Rounded<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let ([top, left], [height, width]) = (self.corner, self.shape);
        let mut lines = self.lines.iter_mut().step_by(T::Line::LANES);
        for r in 0..height {
            let values = self.product.row(top + r)[left..][..width].chunks(T::Line::LANES);
            for (values, line) in values.zip(&mut lines) {
                let (blocks, rest) = values.as_chunks();
                for (index, block) in blocks.iter().enumerate() {
                    T::store(V::load(block), line, index);
                }
                let last = line.lanes_mut()[blocks.len() * WIDTH..].iter_mut();
                last.zip(rest)
                    .for_each(|(rounded, value)| *rounded = T::narrow(*value));
            }
        }
    }
}
