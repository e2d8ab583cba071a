//! An activation and the dense layer after it on pairs of float32 inputs. Gaps and angles are `f32`, sixteen at a time; Σ
//! and Θ, whose errors add up over the layers, are `f64`.

use std::iter;

use crate::activations::bias::{BIAS_NUMBERS, add_bias, single_bias_numbers};
use crate::activations::dense_layer::BandLayer;
use crate::activations::features::SingleNumbers;
use crate::activations::pixel_band::PixelBand;
use crate::activations::row_pairs::{BandPairs, RowPairs};
use crate::isa::{Block, BlockPair, Blocks, Isa, Lanes, Real, Singles, Vector, Vectorized, WIDTH};

/// The dual of an activation, in closed form and of the gap alone, that does not magnify relative errors of gaps.
///
/// Kernels then keep the digits of `f32` when gaps have no more.
pub trait SingleForm: Copy {
    /// The gap of (φ(u), φ(v)), and the angle between u and v, in [0, π]. A gap of +0 stays +0.
    ///
    /// Implementations and everything they call must be `#[inline(always)]`.
    fn gap_and_angle<R: Real>(&self, gap: R) -> (R, R);

    /// Ṫ, given the angle between u and v. Must be `#[inline(always)]`.
    fn dot<R: Real>(&self, angle: R) -> R;
}

/// The expectations of one activation on gaps in `f32`.
pub trait SingleDual {
    /// [`Dual::step_and_layer`](crate::activations::dual::Dual::step_and_layer) on gaps in `f32`. Those in `f64` stay as
    /// they are.
    ///
    /// # Panics
    /// If there is no room for the kernels of a pair.
    fn step_and_layer(&self, isa: Isa, layer: SingleLayer<'_>);

    /// [`Dual::pixel_step`](crate::activations::dual::Dual::pixel_step) with gaps and angles in `f32`.
    ///
    /// # Panics
    /// If the slices of the band are too short.
    fn pixel_step(&self, isa: Isa, band: PixelBand<'_>);
}

impl<F: SingleForm> SingleDual for F {
    fn step_and_layer(&self, isa: Isa, layer: SingleLayer<'_>) {
        isa.run(SingleFormLayer { form: *self, layer });
    }

    fn pixel_step(&self, isa: Isa, band: PixelBand<'_>) {
        isa.run(SingleFormPixels { form: *self, band });
    }
}

/// The numbers of [`single_bias_numbers`] of a batch of inputs, given those in `f64`.
pub fn single_bias(numbers: &[Blocks; BIAS_NUMBERS]) -> SingleNumbers {
    let lists = numbers.each_ref().map(|list| list.blocks().as_flattened());
    SingleNumbers::from_fn(BIAS_NUMBERS, numbers[0].blocks().len(), |input| {
        single_bias_numbers(lists.map(|list| list[input]))
    })
}

/// The gaps of a band of pairs in `f32`. Blocks of two rows are side by side; the last row of an odd number is there twice.
#[derive(Debug, Default)]
pub struct SingleGaps {
    gaps: Vec<BlockPair>,
    /// The gaps of the current two rows before the bias.
    before: Vec<BlockPair>,
    /// The angles of the current two rows.
    angles: Vec<BlockPair>,
}

impl SingleGaps {
    /// Rounds the gaps of a band of pairs.
    pub fn start(&mut self, isa: Isa, pairs: &BandPairs, gaps: &[Block]) {
        let (rows, blocks) = (pairs.rows.len(), pairs.blocks.len());
        let zero = Lanes([0.0; 2 * WIDTH]);
        self.gaps.resize(rows.div_ceil(2) * blocks, zero);
        self.before.resize(blocks, zero);
        self.angles.resize(blocks, zero);
        isa.run(Round {
            blocks,
            gaps,
            rounded: &mut self.gaps,
        });
    }

    /// Replaces the gap of one pair, given its row, block and lane in the band, if there are gaps in `f32`. The copy of a
    /// last row stays as it is.
    pub fn set(&mut self, pairs: &BandPairs, [row, block, lane]: [usize; 3], gap: f32) {
        if let Some(two_rows) = self.gaps.get_mut(row / 2 * pairs.blocks.len() + block) {
            two_rows.0[row % 2 * WIDTH + lane] = gap;
        }
    }
}

/// Rounds gaps, `blocks` of each row.
struct Round<'a> {
    blocks: usize,
    gaps: &'a [Block],
    rounded: &'a mut [BlockPair],
}

impl Vectorized for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let two_rows = self.gaps.chunks(2 * self.blocks);
        for (gaps, rounded) in two_rows.zip(self.rounded.chunks_mut(self.blocks)) {
            let last = gaps.len() - self.blocks;
            let rows = gaps[..self.blocks].iter().zip(&gaps[last..]);
            for ((first, second), rounded) in rows.zip(rounded) {
                let (halves, _) = rounded.0.as_chunks_mut::<WIDTH>();
                for (half, gap) in halves.iter_mut().zip([first, second]) {
                    V::load(gap).narrow(half);
                }
            }
        }
    }
}

/// A dense layer on a band of pairs whose gaps are in `f32`.
#[derive(Debug)]
pub struct SingleLayer<'a> {
    /// The layer. Its gaps are not used.
    pub layer: BandLayer<'a>,
    /// The numbers that [`add_bias`] reads of the rows and of the columns, if there is a bias.
    pub bias: Option<[&'a SingleNumbers; 2]>,
    /// The gaps.
    pub gaps: &'a mut SingleGaps,
}

/// The loop over a band of pairs, with the dense layer after the activation.
struct SingleFormLayer<'a, F> {
    form: F,
    layer: SingleLayer<'a>,
}

impl<F: SingleForm> Vectorized for SingleFormLayer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (form, mut layer) = (self.form, self.layer.layer);
        let SingleGaps {
            gaps,
            before,
            angles,
        } = self.layer.gaps;
        let BandPairs { rows, blocks } = layer.pairs;
        for (two, gaps) in gaps.chunks_mut(blocks.len()).enumerate() {
            let first = rows.start + 2 * two;
            let last = rows.end.min(first + 2) - 1;
            GapsOfTwoRows {
                rows: [first, last],
                first_block: blocks.start,
                bias: self.layer.bias,
                gaps,
                before,
                angles,
            }
            .update::<V, F>(form);
            for row in first..=last {
                let half = row - first;
                let start = (row - rows.start) * blocks.len();
                let pairs = RowPairs {
                    row,
                    blocks: blocks.clone(),
                };
                let mut kernels = layer.row(&pairs, start..start + blocks.len());
                let values = before.iter().zip(&*gaps).zip(&*angles);
                for (block, ((before, gap), angle)) in values.enumerate() {
                    let [before, gap, angle] = [before, gap, angle]
                        .map(|values| V::widen(&values.0.as_chunks::<WIDTH>().0[half]));
                    kernels.update_kernels(block, [before, gap], form.dot(angle));
                }
            }
        }
    }
}

/// The loop over a band of pixel pairs, with the products after the activation.
struct SingleFormPixels<'a, F> {
    form: F,
    band: PixelBand<'a>,
}

impl<F: SingleForm> Vectorized for SingleFormPixels<'_, F> {
    type Output = ();

    /// Blocks of two neighbouring pairs are side by side. The last one of an odd number is there twice.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let (form, mut band) = (self.form, self.band);
        for line in 0..band.lines {
            let (len, mut line) = (band.len, band.line(line));
            for x in (0..len).step_by(2) {
                let next = (x + 1).min(len - 1);
                let gaps = V::join([line.gap(x), line.gap(next)]);
                let (gap, angle) = form.gap_and_angle(gaps);
                let ([gap, next_gap], [angle, next_angle]) = (V::split(gap), V::split(angle));
                line.write::<V>(next, next_gap, form.dot(next_angle));
                line.write::<V>(x, gap, form.dot(angle));
            }
        }
    }
}

/// The gaps of two rows.
struct GapsOfTwoRows<'a> {
    rows: [usize; 2],
    first_block: usize,
    bias: Option<[&'a SingleNumbers; 2]>,
    gaps: &'a mut [BlockPair],
    before: &'a mut [BlockPair],
    angles: &'a mut [BlockPair],
}

impl GapsOfTwoRows<'_> {
    /// Takes the gaps through an activation and the bias after it. Keeps the gaps before the bias, and the angles.
    #[inline(always)]
    fn update<V: Vector, F: SingleForm>(self, form: F) {
        let zero = V::Singles::splat(0.0);
        let (mut row, mut col) = ([zero; BIAS_NUMBERS], [zero; BIAS_NUMBERS]);
        if let Some([rows, _]) = self.bias {
            for (index, row) in row.iter_mut().enumerate() {
                *row = V::Singles::halves([
                    rows.get(index, self.rows[0]),
                    rows.get(index, self.rows[1]),
                ]);
            }
        }
        let kept = self.before.iter_mut().zip(self.angles);
        for (block, (gap, (before, angle))) in iter::zip(self.gaps, kept).enumerate() {
            let (new, turn) = form.gap_and_angle(V::Singles::load(gap));
            turn.store(angle);
            new.store(before);
            let with_bias = match self.bias {
                Some([_, cols]) => {
                    for (index, col) in col.iter_mut().enumerate() {
                        *col = V::Singles::twice(&cols.list(index)[self.first_block + block]);
                    }
                    add_bias([row, col], new)
                }
                None => new,
            };
            with_bias.store(gap);
        }
    }
}
