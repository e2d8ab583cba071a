//! The engine against naive loops. Outputs start as NaN, and shapes are arbitrary.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use ndarray::{Array2, Array3, Array4, ArrayView2};
use ntkrs_core::Error;
use ntkrs_core::activations::catalogue::activation;
use ntkrs_core::engine::gram;
use ntkrs_core::engine::linear::Linear;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::pool::unwatched;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::tile::TileKernel;
use ntkrs_core::finite::empirical::{Empirical, Linearized};
use ntkrs_core::finite::forward::forward;
use ntkrs_core::finite::jacobian::jacobian;
use ntkrs_core::finite::network::{Dense, Network};
use ntkrs_core::finite::outputs::Outputs;
use ntkrs_core::infinite::inputs::{Inputs, Packed};
use ntkrs_core::infinite::kernel::Infinite;
use ntkrs_core::infinite::pointwise::{diagonal, diagonal_of_inputs, error_bound};
use ntkrs_core::infinite::recursion::{LayerScales, Output, Recursion};
use ntkrs_core::isa::Isa;
use proptest::prelude::*;

/// Values in [-1, 1) from a linear congruential generator.
fn noise(rows: usize, cols: usize, seed: u64) -> Array2<f64> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    Array2::from_shape_simple_fn((rows, cols), || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    })
}

fn cast<T: Scalar>(matrix: ArrayView2<'_, f64>) -> Array2<T> {
    matrix.mapv(T::narrow)
}

/// The only plane of a kernel, computed into an array of NaN.
fn compute<T: Scalar, K: TileKernel>(kernel: &K, symmetric: bool) -> Array2<T> {
    let shape = (kernel.rows(), 1, kernel.cols(), 1);
    let mut out = Array4::from_elem(shape, T::narrow(f64::NAN));
    let planes = vec![out.view_mut()];
    let run = if symmetric {
        gram::symmetric
    } else {
        gram::rectangular
    };
    run(kernel, planes, &mut unwatched).unwrap();
    out.into_shape_with_order((shape.0, shape.2)).unwrap()
}

/// All planes of a symmetric kernel, computed into arrays of NaN.
fn compute_planes<K: TileKernel>(kernel: &K, planes: usize) -> Vec<Array2<f64>> {
    let shape = (kernel.rows(), 1, kernel.cols(), 1);
    let mut out = vec![Array4::from_elem(shape, f64::NAN); planes];
    let views = out.iter_mut().map(|plane| plane.view_mut()).collect();
    gram::symmetric(kernel, views, &mut unwatched).unwrap();
    let matrix = |plane: Array4<f64>| plane.into_shape_with_order((shape.0, shape.2)).unwrap();
    out.into_iter().map(matrix).collect()
}

fn check_linear<T: Scalar>(isa: Isa, x: &Array2<f64>, z: &Array2<f64>, epsilon: f64) {
    let (x, z) = (cast::<T>(x.view()), cast::<T>(z.view()));
    let pack = |matrix: &Array2<T>| {
        Panels::pack(matrix.view(), "X", &mut unwatched)
            .unwrap()
            .with_isa(isa)
    };
    let (rows, cols) = (pack(&x), pack(&z));
    let rectangular: Array2<T> = compute(
        &Linear {
            rows: &rows,
            cols: &cols,
        },
        false,
    );
    let naive = x.mapv(Scalar::widen).dot(&z.mapv(Scalar::widen).t());
    for (value, expected) in rectangular.iter().zip(&naive) {
        // The bound for a sum of products below 1 in any order, and for the rounding of the result.
        assert!(
            (value.widen() - expected).abs() <= (x.ncols() + 1) as f64 * epsilon,
            "{isa} {value:?} {expected}"
        );
    }
    let symmetric: Array2<T> = compute(
        &Linear {
            rows: &rows,
            cols: &rows,
        },
        true,
    );
    let general: Array2<T> = compute(
        &Linear {
            rows: &rows,
            cols: &rows,
        },
        false,
    );
    assert_eq!(symmetric, general);
    assert_eq!(symmetric, symmetric.t());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_naive_loops(n in 0..210_usize, m in 0..210_usize, depth in 1..600_usize, seed: u32) {
        let seed = u64::from(seed);
        let (x, z) = (noise(n, depth, seed), noise(m, depth, seed + 1));
        for isa in Isa::available() {
            check_linear::<f64>(isa, &x, &z, f64::EPSILON);
            check_linear::<f32>(isa, &x, &z, f32::EPSILON.into());
        }
    }

    #[test]
    fn an_entry_depends_on_its_rows_alone(n in 1..230_usize, first in 0..230_usize, seed: u32) {
        let x = noise(n, 300, seed.into());
        let first = first.min(n - 1);
        let rows = Panels::pack(x.view(), "X", &mut unwatched).unwrap();
        let tail = Panels::pack(x.slice(ndarray::s![first.., ..]), "X", &mut unwatched).unwrap();
        let whole: Array2<f64> = compute(&Linear { rows: &rows, cols: &rows }, true);
        let part: Array2<f64> = compute(&Linear { rows: &tail, cols: &rows }, false);
        prop_assert_eq!(part, whole.slice(ndarray::s![first.., ..]));
    }

    #[test]
    fn the_empirical_kernel_is_the_jacobian_contracted(
        n in 0..40_usize, widths in prop::collection::vec(1..40_usize, 0..3), outputs in 1..6_usize, seed: u32,
    ) {
        let network = network(5, &widths, outputs, seed.into());
        let x = noise(n, 5, seed.into());
        let kernel = {
            let features = Linearized::new(&network, network.pack(x.view(), "X", &mut unwatched).unwrap(), Outputs::Full, &mut unwatched);
            let features = features.unwrap();
            let kernel = Empirical::new(&network, &features, &features, Outputs::Full, false, &mut unwatched).unwrap();
            let mut out = Array4::from_elem((n, outputs, n, outputs), f64::NAN);
            gram::symmetric(&kernel, vec![out.view_mut()], &mut unwatched).unwrap();
            out.into_shape_with_order((n * outputs, n * outputs)).unwrap()
        };
        let mut j = Array3::from_elem((n, outputs, network.parameters()), f64::NAN);
        let packed = network.pack(x.view(), "X", &mut unwatched).unwrap();
        jacobian(&network, packed, j.as_slice_mut().unwrap(), &mut unwatched).unwrap();
        let j = j.into_shape_with_order((n * outputs, network.parameters())).unwrap();
        let contracted = j.dot(&j.t());
        let largest = contracted.iter().fold(1.0_f64, |max, value| max.max(value.abs()));
        for (value, expected) in kernel.iter().zip(&contracted) {
            // One is a sum over at most 3,500 parameters, the other over layers; values are of order `largest`.
            prop_assert!((value - expected).abs() <= 1e-12 * largest, "{} {}", value, expected);
        }
    }
}

fn network(inputs: usize, widths: &[usize], outputs: usize, seed: u64) -> Network<f64> {
    let sizes: Vec<usize> = [inputs]
        .into_iter()
        .chain(widths.iter().copied())
        .chain([outputs])
        .collect();
    let weights: Vec<_> = sizes
        .windows(2)
        .map(|pair| noise(pair[0], pair[1], seed + pair[0] as u64))
        .collect();
    let biases: Vec<_> = sizes[1..]
        .iter()
        .map(|width| noise(1, *width, seed).row(0).to_owned())
        .collect();
    let layers: Vec<_> = weights
        .iter()
        .zip(&biases)
        .map(|(weights, bias)| Dense {
            weights: weights.view(),
            bias: Some(bias.view()),
            weight_scale: 1.5 / (weights.nrows() as f64).sqrt(),
            bias_scale: 0.3,
            weight_learning_scale: 1.5 / (weights.nrows() as f64).sqrt(),
            bias_learning_scale: 0.3,
        })
        .collect();
    Network::new(
        &layers,
        widths
            .iter()
            .map(|_| activation("erf", &[]).unwrap())
            .collect(),
        &mut unwatched,
    )
    .unwrap()
}

#[test]
fn outputs_are_those_of_a_naive_network() {
    let network = network(7, &[], 3, 4);
    let x = noise(20, 7, 9);
    let mut out = Array2::from_elem((20, 3), f64::NAN);
    let pass = forward(
        &network,
        network.pack(x.view(), "X", &mut unwatched).unwrap(),
        &mut unwatched,
    )
    .unwrap();
    pass.write_outputs(out.view_mut()).unwrap();
    let (weights, bias) = (noise(7, 3, 4 + 7), noise(1, 3, 4));
    let expected = x.dot(&weights) * (1.5 / 7_f64.sqrt()) + bias.row(0).to_owned() * 0.3;
    assert!(
        out.iter()
            .zip(&expected)
            .all(|(value, expected)| (value - expected).abs() < 1e-14)
    );
}

#[test]
fn the_diagonal_has_the_bits_of_the_whole_kernel() {
    let layers = vec![scales(1.4, 0.1); 3];
    let activations = vec![
        activation("relu", &[]).unwrap(),
        activation("erf", &[]).unwrap(),
    ];
    let recursion = Recursion::new(layers, activations).unwrap();
    let mut x = noise(130, 9, 1);
    x.row_mut(7).fill(0.0);
    let pack = || Packed::new(x.view(), "X", &mut unwatched).unwrap();
    let inputs = Inputs::new(&recursion, pack(), &mut unwatched).unwrap();
    for output in [Output::Nngp(2), Output::Ntk(2), Output::Part(1)] {
        let outputs = [output];
        let kernel: Array2<f64> = compute(
            &Infinite::new(&recursion, &inputs, &inputs, &outputs).unwrap(),
            true,
        );
        let expected = kernel.diag().to_vec();
        let found = diagonal(&recursion, pack(), output, &mut unwatched).unwrap();
        assert_eq!(found, expected);
        let found = diagonal_of_inputs(&recursion, &inputs, output, &mut unwatched).unwrap();
        assert_eq!(found, expected);
    }
}

#[test]
fn many_inputs_have_the_diagonal_and_the_error_bound_of_their_parts() {
    const ROWS: usize = 40_000;
    let layers = vec![scales(1.4, 0.1); 3];
    let activations = vec![
        activation("elu", &[1.0]).unwrap(),
        activation("tanh", &[]).unwrap(),
    ];
    let recursion = Recursion::new(layers, activations).unwrap();
    // Norms over many octaves: the first and the last inputs differ in what their series miss.
    let x = Array2::from_shape_fn((ROWS, 1), |(i, _)| libm::exp2((i / 1000) as f64 / 4.0));
    let pack = |rows| Packed::new(x.slice(ndarray::s![rows, ..]), "X", &mut unwatched).unwrap();
    let diagonal = |rows| diagonal(&recursion, pack(rows), Output::Ntk(2), &mut unwatched).unwrap();
    let (whole, last) = (diagonal(0..ROWS), ROWS - 100..ROWS);
    assert_eq!(whole[last.clone()], diagonal(last));
    let inputs = Inputs::new(&recursion, pack(0..ROWS), &mut unwatched).unwrap();
    let bound = error_bound(&recursion, pack(0..ROWS), &mut unwatched).unwrap();
    assert_eq!(bound, inputs.bound());
    assert!(bound.ntk > 0.0);
}

#[test]
fn the_row_of_an_overflow_is_that_of_the_whole_batch() {
    let layers = vec![scales(1e300, 0.0); 2];
    let recursion = Recursion::new(layers, vec![activation("relu", &[]).unwrap()]).unwrap();
    let mut x = Array2::from_elem((40_000, 1), 1e-300);
    x[[39_999, 0]] = 1e300;
    let packed = Packed::new(x.view(), "X", &mut unwatched).unwrap();
    let (argument, row) = ("X", 39_999);
    let error = diagonal(&recursion, packed, Output::Ntk(1), &mut unwatched).unwrap_err();
    assert_eq!(error, Error::Overflow { argument, row });
}

/// A layer with equal learning scales.
fn scales(sigma_w: f64, sigma_b: f64) -> LayerScales {
    LayerScales {
        sigma_w,
        sigma_b,
        tau_w: sigma_w,
        tau_b: sigma_b,
    }
}

#[test]
fn a_kernel_is_the_sum_of_its_parts_and_holds_those_of_shallower_networks() {
    let mut layers = [scales(1.4, 0.1); 4];
    (layers[1].tau_w, layers[1].tau_b) = (0.0, 0.0);
    layers[2].tau_b = 0.7;
    let relu = activation("relu", &[]).unwrap();
    let x = noise(40, 9, 1);
    let run = |depth: usize, outputs: &[Output]| {
        let recursion = Recursion::new(layers[..depth].to_vec(), vec![relu.clone(); depth - 1]);
        let recursion = recursion.unwrap();
        let inputs = Inputs::new(
            &recursion,
            Packed::new(x.view(), "X", &mut unwatched).unwrap(),
            &mut unwatched,
        )
        .unwrap();
        let kernel = Infinite::new(&recursion, &inputs, &inputs, outputs).unwrap();
        compute_planes(&kernel, outputs.len())
    };
    let parts = run(4, &[0, 1, 2, 3].map(Output::Part));
    let whole = run(4, &[Output::Ntk(3), Output::Ntk(1), Output::Nngp(2)]);
    let sum = parts
        .iter()
        .fold(Array2::zeros((40, 40)), |sum, part| sum + part);
    assert!(parts[1].iter().all(|value| *value == 0.0));
    assert!(
        (&sum - &whole[0])
            .iter()
            .all(|error: &f64| error.abs() < 1e-14)
    );
    // A shallower network scales its layers by other powers of two, which is exact.
    assert_eq!(whole[1], run(2, &[Output::Ntk(1)])[0]);
    assert_eq!(whole[2], run(3, &[Output::Nngp(2)])[0]);
    // A layer's part is that of its weights plus that of its biases, at their learning scale.
    let [nngp, own] = &run(3, &[Output::Nngp(2), Output::Part(2)])[..] else {
        panic!("two outputs");
    };
    let biases = 0.7 * 0.7 - 0.1 * 0.1;
    assert!(
        (own - nngp - biases)
            .iter()
            .all(|error: &f64| error.abs() < 1e-14)
    );
}

#[test]
fn invalid_descriptions_are_errors() {
    let relu = || activation("relu", &[]).unwrap();
    let plain = scales(1.0, 0.0);
    for (layers, activations) in [
        (vec![plain], vec![relu()]),
        (vec![plain, plain], vec![]),
        (
            vec![LayerScales {
                sigma_w: 0.0,
                ..plain
            }],
            vec![],
        ),
        (
            vec![LayerScales {
                sigma_w: f64::NAN,
                ..plain
            }],
            vec![],
        ),
        (
            vec![LayerScales {
                sigma_b: -1.0,
                ..plain
            }],
            vec![],
        ),
    ] {
        assert!(Recursion::new(layers, activations).is_err());
    }
    assert!(activation("relu", &[1.0]).is_err());
    assert!(activation("leaky_relu", &[f64::NAN]).is_err());
}

#[test]
fn batches_of_different_widths_are_an_error() {
    let recursion = Recursion::new(vec![scales(1.0, 0.0)], vec![]).unwrap();
    let x = Inputs::new(
        &recursion,
        Packed::new(noise(3, 4, 0).view(), "X", &mut unwatched).unwrap(),
        &mut unwatched,
    )
    .unwrap();
    let z = Inputs::new(
        &recursion,
        Packed::new(noise(3, 5, 0).view(), "Z", &mut unwatched).unwrap(),
        &mut unwatched,
    )
    .unwrap();
    let message = Infinite::new(&recursion, &x, &z, &[Output::Ntk(0)])
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "Z has 5 features, but X has 4 (both must be n_0). Did you pass Z transposed?"
    );
    assert!(Packed::new(noise(3, 0, 0).view(), "X", &mut unwatched).is_err());
}
