//! The neck: three maps at 4, 2 and 1 times the grid (spec section 7).

use crate::Result;
use crate::config::Config;
use crate::grounding::Once;
use crate::nn::{Conv, ConvTranspose};
use crate::weights::Weights;
use sam3i_engine::ops::Activation;
use sam3i_engine::{Tensor, ops, trace};

/// The feature pyramid. `backbone.vision_backbone.convs`; level 3 of the checkpoint is dead and not loaded.
pub(crate) struct Neck {
    level0: Level0,
    level1: Level1,
    level2: Projection,
    grid: usize,
    /// The same for every picture.
    position_nc: Once,
}

/// The pyramid of a picture.
#[derive(Clone)]
pub(crate) struct Pyramid {
    /// `[4g, 4g, d]`.
    pub fine_hwc: Tensor,
    /// `[2g, 2g, d]`.
    pub middle_hwc: Tensor,
    /// `[g, g, d]`.
    pub coarse_hwc: Tensor,
    /// The sine position map of the coarse level, `[g * g, d]`.
    pub position_nc: Tensor,
}

/// `conv_1x1` and `conv_3x3`, nothing between them.
struct Projection {
    conv_1x1: Conv,
    conv_3x3: Conv,
}

impl Projection {
    fn load(w: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            conv_1x1: Conv::load_1x1(&w.at("conv_1x1"), inputs, outputs)?,
            conv_3x3: Conv::load_3x3(&w.at("conv_3x3"), outputs, outputs)?,
        })
    }

    fn forward(&self, x_hwc: &Tensor) -> Result<Tensor> {
        self.conv_3x3.forward(&self.conv_1x1.forward(x_hwc)?)
    }
}

struct Level0 {
    dconv_2x2_0: ConvTranspose,
    dconv_2x2_1: ConvTranspose,
    projection: Projection,
}

struct Level1 {
    dconv_2x2: ConvTranspose,
    projection: Projection,
}

impl Neck {
    pub fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (dim, d) = (config.vit.dim, config.d_model);
        let (w0, w1, w2) = (w.at("0"), w.at("1"), w.at("2"));
        Ok(Self {
            level0: Level0 {
                dconv_2x2_0: ConvTranspose::load(&w0.at("dconv_2x2_0"), dim, dim / 2)?,
                dconv_2x2_1: ConvTranspose::load(&w0.at("dconv_2x2_1"), dim / 2, dim / 4)?,
                projection: Projection::load(&w0, dim / 4, d)?,
            },
            level1: Level1 {
                dconv_2x2: ConvTranspose::load(&w1.at("dconv_2x2"), dim, dim / 2)?,
                projection: Projection::load(&w1, dim / 2, d)?,
            },
            level2: Projection::load(&w2, dim, d)?,
            grid: config.grid(),
            position_nc: Once::default(),
        })
    }

    /// `[g, g, c]` to the pyramid.
    pub fn forward(&self, x_hwc: &Tensor) -> Result<Pyramid> {
        let d_model = |map: &Tensor| map.last_dim();
        let _scope = trace::scope(|| "fpn");
        let coarse_hwc = self.level2.forward(x_hwc)?;
        trace::tap("2", &coarse_hwc);
        let up = self.level1.dconv_2x2.forward(x_hwc, Activation::None)?;
        let middle_hwc = self.level1.projection.forward(&up)?;
        drop(up);
        trace::tap("1", &middle_hwc);
        let up = self.level0.dconv_2x2_0.forward(x_hwc, Activation::Gelu)?;
        let up = self.level0.dconv_2x2_1.forward(&up, Activation::None)?;
        let fine_hwc = self.level0.projection.forward(&up)?;
        trace::tap("0", &fine_hwc);
        let d = d_model(&coarse_hwc);
        let map = || Ok(ops::sine::position_map(x_hwc.device(), self.grid, self.grid, d)?);
        let position_nc = self.position_nc.get_or_make(map)?;
        Ok(Pyramid { fine_hwc, middle_hwc, coarse_hwc, position_nc })
    }
}
