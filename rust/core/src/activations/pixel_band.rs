//! An activation on a band of pixel pairs of images, and the products after it, which belong into the same loop: there
//! gaps and Ṫ are still in registers.

use crate::activations::features::{Features, Variables};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// The pairs of one image with the eight of a group, on so many lines of `len` pixels. Lists of images have one block for
/// each pixel.
#[derive(Debug)]
pub struct PixelBand<'a> {
    /// The image of the rows is that in this lane of its group.
    pub lane: usize,
    /// The number of lines.
    pub lines: usize,
    /// The number of pairs in a line.
    pub len: usize,
    /// The pixels of the first pair, counted row by row.
    pub pixels: [usize; 2],
    /// The number of pixels in a row of an image.
    pub columns: usize,
    /// The features of both batches, and the first block of each group.
    pub features: [(&'a Features, usize); 2],
    /// ω of both groups after the activation.
    pub roots: [&'a [Block]; 2],
    /// The gaps before the activation, line by line.
    pub gaps: &'a [Block],
    /// Θ before the activation, line by line.
    pub tangents: &'a [Block],
    /// The gaps after the activation, `c = ωω'ρ` and ṪΘ.
    pub results: [&'a mut [Block]; 3],
    /// The number of blocks from one line of results to the next.
    pub stride: usize,
}

impl<'a> PixelBand<'a> {
    /// One line of pairs.
    #[inline(always)]
    pub fn line(&mut self, line: usize) -> PixelLine<'_> {
        let len = self.len;
        let [u, v] = self.pixels.map(|pixel| pixel + line * self.columns);
        let (from, to) = (line * len, line * self.stride);
        let [gaps, products, tangents] = &mut self.results;
        PixelLine {
            lane: self.lane % WIDTH,
            roots: [&self.roots[0][u..u + len], &self.roots[1][v..v + len]],
            before: [
                &self.gaps[from..from + len],
                &self.tangents[from..from + len],
            ],
            gaps: &mut gaps[to..to + len],
            products: &mut products[to..to + len],
            tangents: &mut tangents[to..to + len],
        }
    }

    /// The variables of a line: the first u, and all v. Each v goes with the variable of the same lane in the next block of
    /// u.
    #[inline(always)]
    pub fn variables(&self, line: usize) -> Variables<'a> {
        let [rows, cols] = self.features;
        let [u, v] = self.pixels.map(|pixel| pixel + line * self.columns);
        Variables {
            rows: rows.0,
            row: (rows.1 + u) * WIDTH + self.lane,
            cols: cols.0,
            blocks: cols.1 + v..cols.1 + v + self.len,
        }
    }

    /// Takes the pairs through an activation that is given by its
    /// [`Dual::step`](crate::activations::dual::Dual::step).
    pub fn run(mut self, isa: Isa, step: impl Fn(Variables<'_>, &mut [Block], &mut [Block])) {
        for line in 0..self.lines {
            let first = self.variables(line);
            let row = self.line(line);
            row.gaps.copy_from_slice(row.before[0]);
            let blocks = row.gaps.chunks_mut(1).zip(row.products.chunks_mut(1));
            for (x, (gap, dot)) in blocks.enumerate() {
                let block = first.blocks.start + x;
                let pairs = Variables {
                    row: first.row + WIDTH * x,
                    blocks: block..block + 1,
                    ..first
                };
                step(pairs, gap, dot);
            }
            isa.run(row);
        }
    }
}

/// A line of pixel pairs.
///
/// Run as a [`Vectorized`] computation, it takes the gaps after the activation and Ṫ from the places of gaps and products.
#[derive(Debug)]
pub struct PixelLine<'a> {
    lane: usize,
    /// ω of both groups.
    roots: [&'a [Block]; 2],
    /// Gaps and Θ before the activation.
    before: [&'a [Block]; 2],
    gaps: &'a mut [Block],
    products: &'a mut [Block],
    tangents: &'a mut [Block],
}

impl PixelLine<'_> {
    /// The gaps of a block of pairs before the activation.
    #[inline(always)]
    pub fn gap<V: Vector>(&self, x: usize) -> V {
        V::load(&self.before[0][x])
    }

    /// Writes the results of a block of pairs, given the gaps after the activation, and Ṫ.
    #[inline(always)]
    pub fn write<V: Vector>(&mut self, x: usize, gap: V, dot: V) {
        let [rows, cols] = self.roots;
        let correlation = (V::splat(1.0) - gap.abs()).copysign(gap);
        let scale = V::splat(rows[x][self.lane]) * V::load(&cols[x]);
        gap.store(&mut self.gaps[x]);
        (scale * correlation).store(&mut self.products[x]);
        (dot * V::load(&self.before[1][x])).store(&mut self.tangents[x]);
    }
}

impl Vectorized for PixelLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        for x in 0..self.gaps.len() {
            let (gap, dot) = (V::load(&self.gaps[x]), V::load(&self.products[x]));
            self.write(x, gap, dot);
        }
    }
}
