//! Kernels against loops over all pairs of pixels and all taps, and laws that hold to the last bit.

mod batches;
mod loops;
mod plans;
mod singles;

use ndarray::{Array2, Array4, Axis, s};
use proptest::prelude::*;

use super::geometry::Geometry;
use super::images::Images;
use super::inputs::ImageInputs;
use super::kernel::{Convolutional, diagonal};
use super::network::{Head, Padding};
use crate::engine::gram;
use crate::engine::pool::unwatched;
use crate::engine::scalar::Scalar;
use crate::error::Error;
use crate::infinite::recursion::{LayerScales, Output};
use crate::isa::Isa;
use loops::naive;
use plans::{Plan, PlanLayer, plans};

/// Both outputs after dense layer `last`.
fn both(last: usize) -> [Output; 2] {
    [Output::Nngp(last), Output::Ntk(last)]
}

/// Random images.
fn images(shape: (usize, usize, usize, usize), seed: u64) -> Array4<f64> {
    let mut state = seed | 1;
    Array4::from_shape_fn(shape, |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    })
}

/// The outputs between two batches, on an instruction set.
fn kernels<T: Scalar>(
    plan: &Plan,
    x: &Array4<T>,
    z: &Array4<T>,
    isa: Isa,
) -> Result<[Array2<f64>; 2], Error> {
    let network = plan.network();
    let geometry = Geometry::new(&network, [x.dim().1, x.dim().2])?;
    let inputs = |x: &Array4<T>| {
        let images = Images::new(&network, x.view(), "X", &mut unwatched)?;
        ImageInputs::new(&network, &geometry, images, &mut unwatched)
    };
    let (rows, cols) = (inputs(x)?, inputs(z)?);
    let outputs = both(plan.dense.len() - 1);
    let mut kernel = Convolutional::new(&network, &geometry, [&rows, &cols], &outputs)?;
    kernel.isa = isa;
    let shape = (x.dim().0, 1, z.dim().0, 1);
    let mut planes = [Array4::zeros(shape), Array4::zeros(shape)];
    let views = planes.iter_mut().map(|plane| plane.view_mut()).collect();
    gram::rectangular(&kernel, views, &mut unwatched)?;
    Ok(planes.map(|plane| plane.remove_axis(Axis(3)).remove_axis(Axis(1))))
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn kernels_are_those_of_loops_over_all_pixels_and_taps(
        plan in plans(), sides in [1..=7_usize, 1..=7_usize], channels in 1..=3_usize, seed in any::<u64>(),
    ) {
        let x = images((2, sides[0], sides[1], channels), seed);
        let z = images((9, sides[0], sides[1], channels), seed ^ 0xABCD_EF12);
        let fits = Geometry::new(&plan.network(), sides).is_ok();
        prop_assume!(fits);
        for isa in Isa::available() {
            let found = kernels(&plan, &x, &z, isa).unwrap();
            for (i, j) in [(0, 0), (0, 8), (1, 3), (1, 8)] {
                let image = |x: &Array4<f64>, i: usize| x.index_axis(Axis(0), i).to_owned();
                let expected = naive(&plan, &image(&x, i), &image(&z, j));
                for (found, expected) in found.iter().zip(expected) {
                    // Pairs with |ρ| = 1 lose half of their digits in the loops.
                    let error = (found[[i, j]] - expected).abs();
                    prop_assert!(error <= 3e-7 * expected.abs().max(1.0), "{} {}", found[[i, j]], expected);
                }
            }
        }
    }

    #[test]
    fn exchanging_images_changes_no_bit(plan in plans(), sides in [1..=6_usize, 1..=6_usize], seed in any::<u64>()) {
        let mut x = images((3, sides[0], sides[1], 2), seed);
        let z = images((10, sides[0], sides[1], 2), seed ^ 77);
        x.slice_mut(s![1, .., .., ..]).assign(&z.slice(s![9, .., .., ..]));
        prop_assume!(Geometry::new(&plan.network(), sides).is_ok());
        let isa = Isa::current().unwrap();
        let there = kernels(&plan, &x, &z, isa).unwrap();
        let back = kernels(&plan, &z, &x, isa).unwrap();
        let own = kernels(&plan, &z, &z, isa).unwrap();
        for (index, (there, back)) in there.iter().zip(&back).enumerate() {
            prop_assert_eq!(there, &back.t());
            // Image 1 of X is image 9 of Z.
            prop_assert_eq!(there.row(1), own[index].row(9));
            let network = plan.network();
            let geometry = Geometry::new(&network, sides).unwrap();
            let copy = Images::new(&network, z.view(), "Z", &mut unwatched).unwrap();
            let diagonal = diagonal(&network, &geometry, copy, both(plan.dense.len() - 1)[index], &mut unwatched).unwrap();
            prop_assert_eq!(diagonal, own[index].diag().to_vec());
        }
    }
}

fn relu_layer(padding: Padding, sigma_b: f64) -> PlanLayer {
    let sigma_w = 2.0_f64.sqrt();
    PlanLayer {
        window: [3, 3],
        strides: [1, 1],
        padding,
        scales: LayerScales {
            sigma_w,
            sigma_b,
            tau_w: sigma_w,
            tau_b: sigma_b,
        },
        erf: false,
        pools: Vec::new(),
    }
}

fn relu_plan(layers: usize, padding: Padding, sigma_b: f64, head: Head) -> Plan {
    let layer = relu_layer(padding, sigma_b);
    Plan {
        dense: vec![layer.scales],
        layers: vec![layer; layers],
        head,
    }
}

#[test]
fn powers_of_two_come_out_exactly() {
    let x = images((4, 4, 4, 1), 5);
    for head in [Head::Flatten, Head::GlobalAvgPool] {
        let plan = relu_plan(3, Padding::Same, 0.0, head);
        let isa = Isa::current().unwrap();
        let one = kernels(&plan, &x, &x, isa).unwrap();
        for exponent in [-400, 3, 400] {
            let scaled = x.mapv(|value| libm::scalbn(value, exponent));
            let other = kernels(&plan, &scaled, &scaled, isa).unwrap();
            for (one, other) in one.iter().zip(&other) {
                assert_eq!(one.mapv(|value| libm::scalbn(value, 2 * exponent)), other);
            }
        }
    }
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let plan = relu_plan(2, Padding::Valid, 0.1, Head::Flatten);
    let isa = Isa::current().unwrap();
    let refused = |x: &Array4<f64>, z: &Array4<f64>, plan: &Plan| {
        kernels(plan, x, z, isa).unwrap_err().to_string()
    };
    let small = images((2, 4, 4, 1), 1);
    let message = refused(&small, &small, &plan);
    assert!(
        message.contains("layer 2 has a window of 3 × 3, but its input has 2 × 2 pixels"),
        "{message}"
    );
    let mut circular = plan.clone();
    circular.layers[1].padding = Padding::Circular;
    let x = images((2, 6, 6, 1), 1);
    let message = refused(&x, &x, &circular);
    assert!(
        message.contains("layer 2 has padding \"circular\", but a layer before it"),
        "{message}"
    );
    circular.layers[0] = circular.layers[1].clone();
    circular.layers[1].strides = [4, 1];
    let message = refused(&x, &x, &circular);
    assert!(
        message.contains("stride 4, which does not divide the 6 pixels"),
        "{message}"
    );
    let message = refused(&x, &images((2, 6, 6, 2), 1), &plan);
    assert!(
        message.contains("has images of shape (6, 6, 2), but"),
        "{message}"
    );
    let message = refused(&images((2, 6, 0, 2), 1), &x, &plan);
    assert!(message.contains("at least one is needed"), "{message}");
    let mut broken = x.clone();
    broken[[1, 2, 3, 0]] = f64::NAN;
    let message = refused(&broken, &x, &plan);
    assert!(
        message.contains("(image 1, row 2, column 3, channel 0)"),
        "{message}"
    );
    let large = x.mapv(|value| 1e155 * value);
    assert!(refused(&large, &x, &plan).contains("the kernel of image 0 of X leaves the range"));
}

#[test]
fn zero_images_and_no_images_give_no_nan() {
    let zero = Array4::<f64>::zeros((3, 5, 4, 2));
    for (sigma_b, head) in [
        (0.0, Head::Flatten),
        (0.0, Head::GlobalAvgPool),
        (0.3, Head::GlobalAvgPool),
    ] {
        let plan = relu_plan(2, Padding::Same, sigma_b, head);
        let found = kernels(&plan, &zero, &zero, Isa::current().unwrap()).unwrap();
        for found in found {
            assert!(
                found
                    .iter()
                    .all(|value| value.is_finite() && (sigma_b > 0.0 || *value == 0.0))
            );
        }
        let none = Array4::<f64>::zeros((0, 5, 4, 2));
        assert!(kernels(&plan, &none, &zero, Isa::current().unwrap()).is_ok());
    }
}
