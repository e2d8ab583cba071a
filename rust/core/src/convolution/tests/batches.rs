//! Batches whose variances are not kept.

use ndarray::Array4;

use super::super::batch_pair::{BatchKernel, BatchPair};
use super::super::images::Images;
use super::super::network::{Head, Padding};
use super::{Plan, both, images, relu_plan};
use crate::engine::gram;
use crate::engine::pool::unwatched;
use crate::engine::tile::TileKernel;
use crate::error::Result;

/// Both kernels between X and Z, or of X alone. Variances of at least `most` bytes are not kept.
fn planes(
    plan: &Plan,
    x: &Array4<f64>,
    z: Option<&Array4<f64>>,
    most: usize,
) -> Result<[Array4<f64>; 2]> {
    let network = plan.network();
    let copy = |x: &Array4<f64>, name| Images::new(&network, x.view(), name, &mut unwatched);
    let batches = (copy(x, "X")?, z.map(|z| copy(z, "Z")).transpose()?);
    let pair = BatchPair::new(&network, batches, most, &mut unwatched)?;
    let outputs = both(0);
    let kernel = pair.kernel(&outputs)?;
    assert_eq!(matches!(kernel, BatchKernel::Tiles(_)), most == 0);
    let shape = (kernel.rows(), 1, kernel.cols(), 1);
    let mut planes = [Array4::zeros(shape), Array4::zeros(shape)];
    let views = planes.iter_mut().map(|plane| plane.view_mut()).collect();
    if pair.is_symmetric() {
        gram::symmetric(&kernel, views, &mut unwatched)?;
    } else {
        gram::rectangular(&kernel, views, &mut unwatched)?;
    }
    Ok(planes)
}

#[test]
fn variances_of_tiles_alone_change_no_bit() {
    // Two tiles of rows: 24 images and one.
    let x = images((25, 16, 16, 2), 3);
    let z = images((24, 16, 16, 2), 4);
    for (padding, z) in [(Padding::Same, None), (Padding::Circular, Some(&z))] {
        let plan = relu_plan(1, padding, 0.1, Head::GlobalAvgPool);
        let kept = planes(&plan, &x, z, usize::MAX).unwrap();
        assert_eq!(planes(&plan, &x, z, 0).unwrap(), kept);
    }
}

#[test]
fn errors_name_the_image_of_the_whole_batch() {
    let mut x = images((101, 9, 9, 1), 5);
    x.index_axis_mut(ndarray::Axis(0), 100)
        .mapv_inplace(|value| 1e155 * value);
    let plan = relu_plan(1, Padding::Same, 0.1, Head::GlobalAvgPool);
    for most in [0, usize::MAX] {
        let message = planes(&plan, &x, None, most).unwrap_err().to_string();
        assert!(
            message.contains("the kernel of image 100 of X leaves the range"),
            "{message}"
        );
    }
}
