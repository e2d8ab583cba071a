//! An activation and the dense layer after it on pairs of float32 inputs, where formulas in `f32` serve pairs that are far
//! apart, sixteen at a time. Gaps, Σ and Θ stay `f64`, and so do the formulas for all other pairs.

use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers, RowForm};
use crate::activations::far_layer::{FAR_NUMBERS, FarDual, FarLayer, FarNumbers};
use crate::activations::features::{Features, SingleNumbers};
use crate::activations::row_pairs::{BandPairs, RowPairs};
use crate::isa::{Block, BlockPair, Isa, Lanes, Real, Singles, Vector, Vectorized, WIDTH};

/// The most numbers in `f32` that a variable of a [`FarForm`] can have.
pub const MOST_SINGLES: usize = 5;

/// A closed form with formulas in `f32` for pairs that are far apart.
///
/// Roundings of `f32` are harmless there: Ṫ falls so fast with the gap that few layers add them up. See docs/decisions.md.
pub trait FarForm: ClosedForm {
    /// The count of numbers that [`FarForm::far`] reads of a variable.
    const SINGLES: usize;

    /// Pairs whose gap is at least this are far apart.
    const FAR: f64;

    /// The numbers that [`FarForm::far`] reads, the first [`FarForm::SINGLES`] of them. They are rounded to `f32`.
    fn singles(&self, variable: Self::Variable<f64>) -> [f64; MOST_SINGLES];

    /// The numbers of a pair in `f32`, given those of both variables and the size of the gap. Symmetric in u and v,
    /// bitwise. Must be `#[inline(always)]`.
    fn far<R: Real>(&self, u: [R; MOST_SINGLES], v: [R; MOST_SINGLES], size: R)
    -> [R; FAR_NUMBERS];

    /// The gap of (φ(u), φ(v)), and Ṫ, given the numbers of [`FarForm::far`]. Must be `#[inline(always)]`.
    fn finish<R: Real>(
        &self,
        u: Self::Variable<R>,
        v: Self::Variable<R>,
        gap: R,
        far: [R; FAR_NUMBERS],
    ) -> (R, R);
}

impl<F: FarForm> FarDual for F {
    fn single_features(&self, features: &Features) -> SingleNumbers {
        let blocks = features.0.first().map_or(0, |first| first.blocks().len());
        SingleNumbers::from_fn(F::SINGLES, blocks, |variable| {
            let mut numbers = [1.0; MOST_NUMBERS];
            for (number, feature) in numbers.iter_mut().zip(&features.0) {
                *number = feature.blocks().as_flattened()[variable];
            }
            let singles = self.singles(F::Variable::from_numbers(numbers));
            singles.map(|number| number as f32)
        })
    }

    fn step_and_layer(&self, isa: Isa, layer: FarLayer<'_>) {
        isa.run(FarFormLayer { form: *self, layer });
    }
}

/// The loop over a band of pairs, with the dense layer after the activation.
struct FarFormLayer<'a, F> {
    form: F,
    layer: FarLayer<'a>,
}

impl<F: FarForm> Vectorized for FarFormLayer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (form, FarNumbers(numbers)) = (self.form, self.layer.numbers);
        let (mut layer, features) = (self.layer.layer, self.layer.features);
        let BandPairs { rows, blocks } = layer.pairs;
        numbers.resize(blocks.len(), [Lanes([0.0; 2 * WIDTH]); FAR_NUMBERS]);
        for first in rows.clone().step_by(2) {
            let last = rows.end.min(first + 2) - 1;
            let two_rows = [first, last].map(|row| RowPairs {
                row,
                blocks: blocks.clone(),
            });
            let start = (first - rows.start) * blocks.len();
            let gaps = &layer.kernels.gaps[start..start + (last + 1 - first) * blocks.len()];
            narrow_sizes::<V>(gaps, numbers);
            far_numbers::<V, F>(form, self.layer.singles, &two_rows, numbers);
            for (half, pairs) in two_rows[..=last - first].iter().enumerate() {
                let start = start + half * blocks.len();
                let [rows, cols] = features;
                let form = RowForm::new(form, &pairs.variables(rows, cols));
                let mut kernels = layer.row(pairs, start..start + blocks.len());
                for (block, numbers) in numbers.iter().enumerate() {
                    let (gap, dot) = far_pair::<V, F>(&form, block, kernels.gap(block), {
                        let [first, second] = numbers;
                        [widen_half(first, half), widen_half(second, half)]
                    });
                    kernels.update(block, gap, dot);
                }
            }
        }
    }
}

/// One row of two that are side by side.
#[inline(always)]
fn widen_half<V: Vector>(two_rows: &BlockPair, half: usize) -> V {
    V::widen(&two_rows.0.as_chunks::<WIDTH>().0[half])
}

/// Writes the sizes of the gaps of one or two rows, rounded, to the first of the numbers. One row is there twice.
#[inline(always)]
fn narrow_sizes<V: Vector>(gaps: &[Block], numbers: &mut [[BlockPair; FAR_NUMBERS]]) {
    let second = gaps.len() - numbers.len();
    for (block, [sizes, ..]) in numbers.iter_mut().enumerate() {
        let (halves, _) = sizes.0.as_chunks_mut::<WIDTH>();
        V::load(&gaps[block]).abs().narrow(&mut halves[0]);
        V::load(&gaps[second + block]).abs().narrow(&mut halves[1]);
    }
}

/// The numbers of two rows, given the sizes of the gaps. They are arbitrary where no pair of a block is far apart.
#[inline(always)]
fn far_numbers<V: Vector, F: FarForm>(
    form: F,
    [rows, cols]: [&SingleNumbers; 2],
    [first, second]: &[RowPairs; 2],
    numbers: &mut [[BlockPair; FAR_NUMBERS]],
) {
    let one = V::Singles::splat(1.0);
    // Less than the bound by more than the rounding of a gap.
    let bound = V::Singles::splat(0.999 * F::FAR);
    let (mut u, mut v) = ([one; MOST_SINGLES], [one; MOST_SINGLES]);
    let mut lists = [&[][..]; MOST_SINGLES];
    for index in 0..F::SINGLES {
        u[index] = V::Singles::halves([rows.get(index, first.row), rows.get(index, second.row)]);
        lists[index] = &cols.list(index)[first.blocks.clone()];
    }
    for (block, numbers) in numbers.iter_mut().enumerate() {
        let size = V::Singles::load(&numbers[0]);
        if !V::Singles::any(bound.less(size)) {
            continue;
        }
        for index in 0..F::SINGLES {
            v[index] = V::Singles::twice(&lists[index][block]);
        }
        let far = form.far(u, v, size);
        for index in 0..FAR_NUMBERS {
            far[index].store(&mut numbers[index]);
        }
    }
}

/// The new gaps of a block of pairs, and Ṫ. Each pair chooses between the formulas by its own gap.
#[inline(always)]
fn far_pair<V: Vector, F: FarForm>(
    form: &RowForm<'_, F>,
    block: usize,
    gap: V,
    far: [V; FAR_NUMBERS],
) -> (V, V) {
    let (u, v) = form.variables(block);
    let far = form.form.finish(u, v, gap, far);
    let near = gap.abs().less(V::splat(F::FAR));
    if !V::any(near) {
        return far;
    }
    let pair = form.form.quick_pair(u, v, gap);
    (
        V::select(near, pair.0, far.0),
        V::select(near, pair.1, far.1),
    )
}
