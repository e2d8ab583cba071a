//! Kernels by loops over all pairs of pixels and all taps.

use std::f64::consts::PI;

use ndarray::{Array2, Array3, s};

use super::plans::{Plan, PlanLayer};
use crate::convolution::network::{AveragePool, Head, Padding};

/// T and Θ of all pairs of pixels, (rows, columns, rows, columns) as lists.
struct Tensor {
    sides: [usize; 2],
    /// Indexed by the first pixel, then by the second.
    values: Array2<f64>,
    tangents: Array2<f64>,
}

/// The pixel under a tap, by the definition of each padding.
fn under(
    p: usize,
    tap: usize,
    n: usize,
    window: usize,
    stride: usize,
    padding: Padding,
) -> Option<usize> {
    let total = match padding {
        Padding::Valid => 0,
        _ => ((n.div_ceil(stride) - 1) * stride + window).saturating_sub(n),
    };
    let at = (p * stride + tap) as isize - (total / 2) as isize;
    match padding {
        Padding::Circular => Some(at.rem_euclid(n as isize) as usize),
        _ => usize::try_from(at).ok().filter(|at| *at < n),
    }
}

impl Tensor {
    fn of_pixels(x: &Array3<f64>, z: &Array3<f64>) -> Self {
        let (height, width, channels) = x.dim();
        let values = Array2::from_shape_fn((height * width, height * width), |(p, q)| {
            let pixel =
                |x: &Array3<f64>, p: usize| x.slice(s![p / width, p % width, ..]).to_owned();
            pixel(x, p).dot(&pixel(z, q)) / channels as f64
        });
        Self {
            sides: [height, width],
            tangents: Array2::zeros(values.dim()),
            values,
        }
    }

    /// Σ and Θ after a convolution.
    fn convolved(&self, layer: &PlanLayer, first: bool) -> Self {
        let [height, width] = self.sides;
        let side = |axis: usize| match layer.padding {
            Padding::Valid => (self.sides[axis] - layer.window[axis]) / layer.strides[axis] + 1,
            _ => self.sides[axis].div_ceil(layer.strides[axis]),
        };
        let sides = [side(0), side(1)];
        let taps = layer.window[0] * layer.window[1];
        let mean = |tensor: &Array2<f64>, p: usize, q: usize| {
            let mut sum = 0.0;
            for tap in 0..taps {
                let at = |p: usize| {
                    let axis = |axis: usize, p: usize, tap: usize, n: usize| {
                        under(
                            p,
                            tap,
                            n,
                            layer.window[axis],
                            layer.strides[axis],
                            layer.padding,
                        )
                    };
                    let y = axis(0, p / sides[1], tap / layer.window[1], height)?;
                    Some(y * width + axis(1, p % sides[1], tap % layer.window[1], width)?)
                };
                if let (Some(p), Some(q)) = (at(p), at(q)) {
                    sum += tensor[[p, q]];
                }
            }
            sum / taps as f64
        };
        let scales = &layer.scales;
        let shape = (sides[0] * sides[1], sides[0] * sides[1]);
        let values = Array2::from_shape_fn(shape, |(p, q)| {
            scales.sigma_w.powi(2) * mean(&self.values, p, q) + scales.sigma_b.powi(2)
        });
        let tangents = Array2::from_shape_fn(shape, |(p, q)| {
            let own = scales.tau_w.powi(2) * mean(&self.values, p, q) + scales.tau_b.powi(2);
            let before = if first {
                0.0
            } else {
                mean(&self.tangents, p, q)
            };
            own + scales.sigma_w.powi(2) * before
        });
        Self {
            sides,
            values,
            tangents,
        }
    }

    /// T and ṪΘ after an activation, given the variances of both images.
    fn activated(&self, erf: bool, variances: [&[f64]; 2]) -> Self {
        let mut next = Self {
            sides: self.sides,
            values: self.values.clone(),
            tangents: self.tangents.clone(),
        };
        for ((p, q), covariance) in self.values.indexed_iter() {
            let (a, b) = (variances[0][p], variances[1][q]);
            let (value, dot) = if erf {
                of_erf(a, b, *covariance)
            } else {
                of_relu(a, b, *covariance)
            };
            next.values[[p, q]] = value;
            next.tangents[[p, q]] *= dot;
        }
        next
    }

    fn variances(&self) -> Vec<f64> {
        self.values.diag().to_vec()
    }

    fn pooled(&self, pool: &AveragePool) -> Self {
        let [height, width] = [0, 1]
            .map(|axis: usize| (self.sides[axis] - pool.window[axis]) / pool.strides[axis] + 1);
        let count = pool.window[0] * pool.window[1];
        let inside = |p: usize, n: usize| {
            let y = p / width * pool.strides[0] + n / pool.window[1];
            y * self.sides[1] + p % width * pool.strides[1] + n % pool.window[1]
        };
        let mean = |tensor: &Array2<f64>| {
            Array2::from_shape_fn((height * width, height * width), |(p, q)| {
                let pairs = (0..count).flat_map(|a| (0..count).map(move |b| [a, b]));
                let sum: f64 = pairs
                    .map(|[a, b]| tensor[[inside(p, a), inside(q, b)]])
                    .sum();
                sum / (count * count) as f64
            })
        };
        Self {
            sides: [height, width],
            values: mean(&self.values),
            tangents: mean(&self.tangents),
        }
    }
}

/// T and Ṫ of ReLU (Cho & Saul 2009).
fn of_relu(a: f64, b: f64, covariance: f64) -> (f64, f64) {
    let scale = (a * b).sqrt();
    if scale == 0.0 {
        return (0.0, 0.25);
    }
    let rho = (covariance / scale).clamp(-1.0, 1.0);
    let angle = rho.acos();
    (
        scale / (2.0 * PI) * (angle.sin() + (PI - angle) * rho),
        (PI - angle) / (2.0 * PI),
    )
}

/// T and Ṫ of the error function (Williams 1997).
fn of_erf(a: f64, b: f64, covariance: f64) -> (f64, f64) {
    let product = (1.0 + 2.0 * a) * (1.0 + 2.0 * b);
    let value = 2.0 / PI * (2.0 * covariance / product.sqrt()).asin();
    (
        value,
        4.0 / PI / (product - 4.0 * covariance * covariance).sqrt(),
    )
}

/// Both outputs by loops over all pixels and taps.
pub fn naive(plan: &Plan, x: &Array3<f64>, z: &Array3<f64>) -> [f64; 2] {
    let mut tensors = [(x, x), (x, z), (z, z)].map(|(x, z)| Tensor::of_pixels(x, z));
    for (index, layer) in plan.layers.iter().enumerate() {
        tensors = tensors.map(|tensor| tensor.convolved(layer, index == 0));
        let (a, b) = (tensors[0].variances(), tensors[2].variances());
        let [xx, xz, zz] = &tensors;
        tensors = [
            xx.activated(layer.erf, [&a, &a]),
            xz.activated(layer.erf, [&a, &b]),
            zz.activated(layer.erf, [&b, &b]),
        ];
        for pool in &layer.pools {
            tensors = tensors.map(|tensor| tensor.pooled(pool));
        }
    }
    let heads = tensors.map(|tensor| {
        let mean = |tensor: &Array2<f64>| match plan.head {
            Head::Flatten => tensor.diag().mean().unwrap(),
            Head::GlobalAvgPool => tensor.mean().unwrap(),
        };
        [mean(&tensor.values), mean(&tensor.tangents)]
    });
    dense(plan, heads)
}

/// Both outputs of the dense layers, given T and Θ of the head: of the first image, of both, and of the second.
fn dense(plan: &Plan, mut heads: [[f64; 2]; 3]) -> [f64; 2] {
    for (index, scales) in plan.dense.iter().enumerate() {
        if index > 0 {
            let (a, b) = (heads[0][0], heads[2][0]);
            for (head, (a, b)) in heads.iter_mut().zip([(a, a), (a, b), (b, b)]) {
                let (value, dot) = of_relu(a, b, head[0]);
                *head = [value, dot * head[1]];
            }
        }
        heads = heads.map(|[nngp, ntk]| {
            let own = scales.tau_w.powi(2) * nngp + scales.tau_b.powi(2);
            [
                scales.sigma_w.powi(2) * nngp + scales.sigma_b.powi(2),
                own + scales.sigma_w.powi(2) * ntk,
            ]
        });
    }
    heads[1]
}
