//! Random networks.

use proptest::prelude::*;

use crate::activations::catalogue::activation;
use crate::convolution::network::{
    AveragePool, Convolution, ConvolutionLayer, GridLayer, Head, Padding,
};
use crate::infinite::recursion::LayerScales;

/// A network as the tests describe it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layers: Vec<PlanLayer>,
    pub head: Head,
    /// The dense layers after the head, with ReLU between them.
    pub dense: Vec<LayerScales>,
}

#[derive(Clone, Debug)]
pub struct PlanLayer {
    pub window: [usize; 2],
    pub strides: [usize; 2],
    pub padding: Padding,
    pub scales: LayerScales,
    pub erf: bool,
    /// The pools after the activation.
    pub pools: Vec<AveragePool>,
}

impl Plan {
    pub fn network(&self) -> Convolution {
        let convolution = |layer: &PlanLayer| {
            GridLayer::Convolution(ConvolutionLayer {
                window: layer.window,
                strides: layer.strides,
                padding: layer.padding,
                scales: layer.scales,
                activation: activation(if layer.erf { "erf" } else { "relu" }, &[]).unwrap(),
            })
        };
        let with_pools = |layer: &PlanLayer| {
            let pools = layer.pools.clone().into_iter().map(GridLayer::Pool);
            [convolution(layer)].into_iter().chain(pools)
        };
        let layers = self.layers.iter().flat_map(with_pools).collect();
        let between = (1..self.dense.len())
            .map(|_| activation("relu", &[]).unwrap())
            .collect();
        let dense = self.dense.clone();
        Convolution::new(layers, self.head, dense, between).unwrap()
    }
}

fn scales() -> impl Strategy<Value = LayerScales> {
    let biases = prop_oneof![Just(0.0), 0.1..1.5];
    let learned = prop_oneof![Just(None), (0.0..2.0, 0.0..2.0).prop_map(Some)];
    (0.5..2.0, biases, learned).prop_map(|(sigma_w, sigma_b, learned)| {
        let (tau_w, tau_b) = learned.unwrap_or((sigma_w, sigma_b));
        LayerScales {
            sigma_w,
            sigma_b,
            tau_w,
            tau_b,
        }
    })
}

fn layers() -> impl Strategy<Value = PlanLayer> {
    let sides = |most: usize| [1..=most, 1..=most];
    let paddings = [Padding::Same, Padding::Valid, Padding::Circular];
    let padding = prop::sample::select(paddings.to_vec());
    let parts = (
        sides(5),
        sides(3),
        padding,
        scales(),
        any::<bool>(),
        pools(),
    );
    parts.prop_map(|(window, strides, padding, scales, erf, pools)| PlanLayer {
        window,
        strides,
        padding,
        scales,
        erf,
        pools,
    })
}

/// A square pool, as many pixels apart as it is wide.
pub fn pool(side: usize) -> AveragePool {
    AveragePool {
        window: [side; 2],
        strides: [side; 2],
    }
}

/// Mostly none.
fn pools() -> impl Strategy<Value = Vec<AveragePool>> {
    let sides = || [1..=3_usize, 1..=3_usize];
    let pool = (sides(), sides()).prop_map(|(window, strides)| AveragePool { window, strides });
    let count = prop_oneof![3 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    count.prop_flat_map(move |count| prop::collection::vec(pool.clone(), count))
}

pub fn plans() -> impl Strategy<Value = Plan> {
    let heads = prop::sample::select(vec![Head::Flatten, Head::GlobalAvgPool]);
    let parts = (
        prop::collection::vec(layers(), 1..=3),
        heads,
        prop::collection::vec(scales(), 1..=3),
    );
    parts.prop_map(|(layers, head, dense)| Plan {
        layers,
        head,
        dense,
    })
}
