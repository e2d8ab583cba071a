//! Kernels of `f32` images, whose gaps are rounded to `f32` in activations.

use ndarray::{Array2, Array4, Axis, s};
use proptest::prelude::*;

use super::super::images::Images;
use super::super::network::{Head, Padding};
use super::plans::{Plan, plans};
use super::{Geometry, both, diagonal, images, kernels, relu_plan};
use crate::engine::pool::unwatched;
use crate::isa::Isa;

/// The network without what keeps gaps in `f64`.
fn single(mut plan: Plan) -> Plan {
    for layer in &mut plan.layers {
        (layer.erf, layer.pools) = (false, Vec::new());
    }
    plan.dense.truncate(1);
    plan
}

/// Random images: among them nearly equal ones, and one that is mostly zero.
fn batch(shape: (usize, usize, usize, usize), seed: u64) -> Array4<f32> {
    let mut x = images(shape, seed).mapv(|value| value as f32);
    if shape.0 > 4 {
        let first = x.index_axis(Axis(0), 0).to_owned();
        x.index_axis_mut(Axis(0), 1).assign(&first);
        x.index_axis_mut(Axis(0), 2)
            .zip_mut_with(&first, |x, first| *x = 1e-3_f32.mul_add(*x, *first));
        x.index_axis_mut(Axis(0), 3).assign(&-first);
        x.slice_mut(s![4, .., 1.., ..]).fill(0.0);
    }
    x
}

/// The largest error of gaps in `f32`, in ε of `√(K_ii K_jj)`.
fn error(plan: &Plan, x: &Array4<f32>, z: &Array4<f32>, isa: Isa) -> f64 {
    let wide = |x: &Array4<f32>| x.mapv(f64::from);
    let exact = |x: &Array4<f32>, z: &Array4<f32>| kernels(plan, &wide(x), &wide(z), isa).unwrap();
    let found = kernels(plan, x, z, isa).unwrap();
    let own = [exact(x, x), exact(z, z)];
    let mut largest = 0.0_f64;
    for (index, (found, exact)) in found.iter().zip(exact(x, z)).enumerate() {
        for ((i, j), exact) in exact.indexed_iter() {
            let scale = own[0][index][[i, i]].sqrt() * own[1][index][[j, j]].sqrt();
            let error = (found[[i, j]] - exact).abs();
            assert!(error.is_finite());
            largest = largest.max(error / (scale.max(f64::MIN_POSITIVE) * f64::from(f32::EPSILON)));
        }
    }
    largest
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn gaps_in_f32_keep_their_digits(
        plan in plans(), sides in [1..=7_usize, 1..=7_usize], channels in 1..=3_usize, seed in any::<u64>(),
    ) {
        let plan = single(plan);
        prop_assume!(Geometry::new(&plan.network(), sides).is_ok());
        prop_assert!(plan.network().allows_single());
        let x = batch((6, sides[0], sides[1], channels), seed);
        let z = batch((17, sides[0], sides[1], channels), seed ^ 0xABCD_EF12);
        for isa in Isa::available() {
            let error = error(&plan, &x, &z, isa);
            prop_assert!(error <= 8.0, "{isa}: {error}");
        }
    }

    #[test]
    fn entries_depend_on_their_images_alone(
        plan in plans(), sides in [1..=6_usize, 1..=6_usize], count in 1..=33_usize, seed in any::<u64>(),
    ) {
        let plan = single(plan);
        prop_assume!(Geometry::new(&plan.network(), sides).is_ok());
        let x = batch((3, sides[0], sides[1], 2), seed);
        let z = batch((count, sides[0], sides[1], 2), seed ^ 77);
        let part = z.slice(s![count / 2.., .., .., ..]).to_owned();
        let isa = Isa::current().unwrap();
        let there = kernels(&plan, &x, &z, isa).unwrap();
        let back = kernels(&plan, &z, &x, isa).unwrap();
        let parts = kernels(&plan, &part, &x, isa).unwrap();
        let own = kernels(&plan, &z, &z, isa).unwrap();
        for index in 0..2 {
            prop_assert_eq!(&there[index], &back[index].t());
            prop_assert_eq!(&parts[index], &back[index].slice(s![count / 2.., ..]));
            let network = plan.network();
            let geometry = Geometry::new(&network, sides).unwrap();
            let copy = Images::new(&network, z.view(), "Z", &mut unwatched).unwrap();
            let output = both(0)[index];
            let diagonal = diagonal(&network, &geometry, copy, output, &mut unwatched).unwrap();
            prop_assert_eq!(diagonal, own[index].diag().to_vec());
            prop_assert_eq!(&own[index], &own[index].t());
        }
    }
}

#[test]
fn many_layers_keep_the_digits_of_nearly_equal_and_flat_images() {
    let mut x = batch((16, 3, 3, 2), 3);
    for (image, distance) in (5..12).zip([1e-6_f32, 1e-4, 1e-2, 0.05, 0.1, 0.2, 0.3]) {
        let first = x.index_axis(Axis(0), 0).to_owned();
        x.index_axis_mut(Axis(0), image)
            .zip_mut_with(&first, |x, first| *x = distance.mul_add(*x, *first));
    }
    x.slice_mut(s![12, .., .., ..]).fill(0.7);
    x.slice_mut(s![13, .., .., ..]).fill(0.3);
    x.slice_mut(s![14, .., .., 0]).fill(1.0);
    x.slice_mut(s![14, .., .., 1]).fill(0.7);
    for head in [Head::Flatten, Head::GlobalAvgPool] {
        for (layers, sigma_b) in [(3, 0.1), (20, 0.0), (20, 0.1), (40, 0.1)] {
            for padding in [Padding::Same, Padding::Circular] {
                let plan = relu_plan(layers, padding, sigma_b, head);
                let error = error(&plan, &x, &x, Isa::current().unwrap());
                assert!(error <= 8.0, "{plan:?}: {error}");
            }
        }
    }
}

#[test]
fn numbers_out_of_range_are_no_harm() {
    let mut x = batch((20, 5, 5, 2), 9);
    for (image, scale) in [1e-45_f32, 1e-38, 1e-20, 1e20, 1e37]
        .into_iter()
        .enumerate()
    {
        x.index_axis_mut(Axis(0), image)
            .mapv_inplace(|value| scale * value);
        // All pixels but a few are tiny beside them.
        x.slice_mut(s![5 + image, .., 1.., ..])
            .mapv_inplace(|value| scale.min(1e-10) * value);
    }
    x.slice_mut(s![11, .., .., ..]).fill(0.0);
    for sigma_b in [0.0, 0.3] {
        for layers in [1, 3, 30] {
            for head in [Head::Flatten, Head::GlobalAvgPool] {
                let mut plan = relu_plan(layers, Padding::Same, sigma_b, head);
                for sigma_w in [0.01, 1.0, 100.0] {
                    for layer in &mut plan.layers {
                        (layer.scales.sigma_w, layer.scales.tau_w) = (sigma_w, sigma_w);
                    }
                    assert!(plan.network().allows_single());
                    let error = error(&plan, &x, &x, Isa::current().unwrap());
                    assert!(
                        error <= 8.0,
                        "{head:?} {layers} {sigma_b} {sigma_w}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn networks_that_lose_digits_in_f32_stay_in_f64() {
    let x = batch((9, 6, 6, 2), 4);
    let mut plans = vec![relu_plan(2, Padding::Same, 0.1, Head::GlobalAvgPool); 3];
    plans[0].layers[1].erf = true;
    plans[1].layers[0].pools = vec![super::plans::pool(2)];
    plans[2].dense = vec![plans[2].dense[0]; 2];
    let isa = Isa::current().unwrap();
    let wide = x.mapv(f64::from);
    for (index, plan) in plans.iter().enumerate() {
        assert!(!plan.network().allows_single(), "{index}");
        let found: [Array2<f64>; 2] = kernels(plan, &x, &x, isa).unwrap();
        assert_eq!(found, kernels(plan, &wide, &wide, isa).unwrap());
    }
}
