//! Every parameter of a model of given sizes: name and shape.

use crate::Config;

/// A parameter's name and shape, outermost axis first.
pub type NamedShape = (String, Vec<usize>);

/// The three adapters of a layer, by the names they have in checkpoints.
pub const ADAPTERS: [&str; 3] = ["adapter1", "adapter12", "adapter2"];

/// The parameters of the complete SAM3-I image model in the order of its state dict, with those that are stored and
/// never used ([`is_dead`](crate::checkpoint::is_dead) tells them) and without buffers.
///
/// Source: image-model spec, sections 2 and 16.
#[must_use]
pub fn tensor_list(config: &Config) -> Vec<NamedShape> {
    let mut list = List(Vec::new());
    list.trunk(config);
    list.neck(config);
    list.text(config);
    list.geometry(config);
    list.fusion(config);
    list.decoder(config);
    list.segmentation(config);
    list.scoring(config);
    list.0
}

struct List(Vec<NamedShape>);

impl List {
    fn one(&mut self, name: String, shape: &[usize]) {
        self.0.push((name, shape.to_vec()));
    }

    /// A weight of any shape with a bias of `out`.
    fn biased(&mut self, at: &str, shape: &[usize], out: usize) {
        self.one(format!("{at}.weight"), shape);
        self.one(format!("{at}.bias"), &[out]);
    }

    fn linear(&mut self, at: &str, input: usize, out: usize) {
        self.biased(at, &[out, input], out);
    }

    fn norm(&mut self, at: &str, channels: usize) {
        self.biased(at, &[channels], channels);
    }

    fn conv(&mut self, at: &str, input: usize, out: usize, side: usize) {
        self.biased(at, &[out, input, side, side], out);
    }

    /// A transposed 2 x 2 convolution: stored input channels first.
    fn up_conv(&mut self, at: &str, input: usize, out: usize) {
        self.biased(at, &[input, out, 2, 2], out);
    }

    fn attention(&mut self, at: &str, channels: usize) {
        self.one(format!("{at}.in_proj_weight"), &[3 * channels, channels]);
        self.one(format!("{at}.in_proj_bias"), &[3 * channels]);
        self.linear(&format!("{at}.out_proj"), channels, channels);
    }

    /// Linear layers `layers.0`, `layers.1`, ... between the given widths.
    fn mlp(&mut self, at: &str, widths: &[usize]) {
        for (i, pair) in widths.windows(2).enumerate() {
            self.linear(&format!("{at}.layers.{i}"), pair[0], pair[1]);
        }
    }

    fn trunk(&mut self, config: &Config) {
        let (at, c) = ("backbone.vision_backbone.trunk", config.vit.dim);
        self.one(format!("{at}.pos_embed"), &[1, 1 + config.pretrain_grid().pow(2), c]);
        self.one(format!("{at}.patch_embed.proj.weight"), &[c, 3, config.patch, config.patch]);
        for i in 0..config.vit.depth {
            let at = format!("{at}.blocks.{i}");
            self.norm(&format!("{at}.norm1"), c);
            self.linear(&format!("{at}.attn.qkv"), c, 3 * c);
            self.linear(&format!("{at}.attn.proj"), c, c);
            self.norm(&format!("{at}.norm2"), c);
            self.linear(&format!("{at}.mlp.fc1"), c, config.vit_mlp());
            self.linear(&format!("{at}.mlp.fc2"), config.vit_mlp(), c);
        }
        self.norm(&format!("{at}.ln_pre"), c);
    }

    fn neck(&mut self, config: &Config) {
        let (c, d) = (config.vit.dim, config.d_model);
        let at = |level: usize| format!("backbone.vision_backbone.convs.{level}");
        self.up_conv(&format!("{}.dconv_2x2_0", at(0)), c, c / 2);
        self.up_conv(&format!("{}.dconv_2x2_1", at(0)), c / 2, c / 4);
        for (level, input) in [c / 4, c / 2, c, c].into_iter().enumerate() {
            if level == 1 {
                self.up_conv(&format!("{}.dconv_2x2", at(1)), c, c / 2);
            }
            self.conv(&format!("{}.conv_1x1", at(level)), input, d, 1);
            self.conv(&format!("{}.conv_3x3", at(level)), d, d, 3);
        }
    }

    fn text(&mut self, config: &Config) {
        let (at, w) = ("backbone.language_backbone.encoder", config.text.width);
        self.one(format!("{at}.positional_embedding"), &[config.text.ctx, w]);
        // The pooled projection is 512 wide whatever the sizes.
        self.one(format!("{at}.text_projection"), &[w, 512]);
        self.one(format!("{at}.token_embedding.weight"), &[config.text.vocab, w]);
        for i in 0..config.text.layers {
            let at = format!("{at}.transformer.resblocks.{i}");
            self.attention(&format!("{at}.attn"), w);
            self.norm(&format!("{at}.ln_1"), w);
            self.norm(&format!("{at}.ln_2"), w);
            self.linear(&format!("{at}.mlp.c_fc"), w, 4 * w);
            self.linear(&format!("{at}.mlp.c_proj"), 4 * w, w);
            for adapter in ADAPTERS {
                self.text_adapter(&format!("{at}.{adapter}"), w, config.adapter.dim);
            }
        }
        self.norm(&format!("{at}.ln_final"), w);
        self.linear("backbone.language_backbone.resizer", w, config.d_model);
    }

    fn text_adapter(&mut self, at: &str, w: usize, bottleneck: usize) {
        self.attention(&format!("{at}.mha_adapter"), w);
        self.linear(&format!("{at}.down_proj"), w, bottleneck);
        self.linear(&format!("{at}.up_proj"), bottleneck, w);
        self.norm(&format!("{at}.norm1"), w);
        self.norm(&format!("{at}.norm2"), w);
    }

    fn geometry(&mut self, config: &Config) {
        let (at, d) = ("geometry_encoder", config.d_model);
        self.one(format!("{at}.label_embed.weight"), &[2, d]);
        self.one(format!("{at}.cls_embed.weight"), &[1, d]);
        self.linear(&format!("{at}.points_direct_project"), 2, d);
        self.linear(&format!("{at}.points_pool_project"), d, d);
        self.linear(&format!("{at}.points_pos_enc_project"), d, d);
        self.linear(&format!("{at}.boxes_direct_project"), 4, d);
        self.conv(&format!("{at}.boxes_pool_project"), d, d, 7);
        self.linear(&format!("{at}.boxes_pos_enc_project"), d + 2, d);
        self.linear(&format!("{at}.final_proj"), d, d);
        self.norm(&format!("{at}.norm"), d);
        self.norm(&format!("{at}.img_pre_norm"), d);
        for i in 0..config.geo_layers {
            self.encoder_layer(&format!("{at}.encode.{i}"), config);
        }
        self.norm(&format!("{at}.encode_norm"), d);
    }

    /// A pre-norm layer of the geometry and the fusion encoder.
    fn encoder_layer(&mut self, at: &str, config: &Config) {
        let d = config.d_model;
        self.attention(&format!("{at}.self_attn"), d);
        self.attention(&format!("{at}.cross_attn_image"), d);
        self.linear(&format!("{at}.linear1"), d, config.ffn);
        self.linear(&format!("{at}.linear2"), config.ffn, d);
        for norm in ["norm1", "norm2", "norm3"] {
            self.norm(&format!("{at}.{norm}"), d);
        }
    }

    /// The adapters of a fusion or decoder layer: their norm is over the bottleneck.
    fn adapters(&mut self, at: &str, config: &Config) {
        let (d, bottleneck) = (config.d_model, config.adapter.dim);
        for adapter in ADAPTERS {
            self.linear(&format!("{at}.{adapter}.down_proj"), d, bottleneck);
            self.linear(&format!("{at}.{adapter}.up_proj"), bottleneck, d);
            self.norm(&format!("{at}.{adapter}.norm"), bottleneck);
        }
    }

    fn fusion(&mut self, config: &Config) {
        for i in 0..config.enc_layers {
            let at = format!("transformer.encoder.layers.{i}");
            self.encoder_layer(&at, config);
            self.adapters(&at, config);
        }
    }

    fn decoder(&mut self, config: &Config) {
        let (at, d) = ("transformer.decoder", config.d_model);
        for i in 0..config.dec_layers {
            self.decoder_layer(&format!("{at}.layers.{i}"), config);
        }
        self.norm(&format!("{at}.norm"), d);
        self.mlp(&format!("{at}.bbox_embed"), &[d, d, d, 4]);
        self.one(format!("{at}.query_embed.weight"), &[config.queries, d]);
        self.one(format!("{at}.reference_points.weight"), &[config.queries, 4]);
        self.mlp(&format!("{at}.boxRPB_embed_x"), &[2, d, config.heads]);
        self.mlp(&format!("{at}.boxRPB_embed_y"), &[2, d, config.heads]);
        self.one(format!("{at}.presence_token.weight"), &[1, d]);
        self.mlp(&format!("{at}.presence_token_head"), &[d, d, d, 1]);
        self.norm(&format!("{at}.presence_token_out_norm"), d);
        self.mlp(&format!("{at}.ref_point_head"), &[2 * d, d, d]);
    }

    fn decoder_layer(&mut self, at: &str, config: &Config) {
        let d = config.d_model;
        self.attention(&format!("{at}.cross_attn"), d);
        self.norm(&format!("{at}.norm1"), d);
        self.attention(&format!("{at}.ca_text"), d);
        self.norm(&format!("{at}.catext_norm"), d);
        self.attention(&format!("{at}.self_attn"), d);
        self.norm(&format!("{at}.norm2"), d);
        self.linear(&format!("{at}.linear1"), d, config.ffn);
        self.linear(&format!("{at}.linear2"), config.ffn, d);
        self.norm(&format!("{at}.norm3"), d);
        self.adapters(at, config);
    }

    fn segmentation(&mut self, config: &Config) {
        let (at, d) = ("segmentation_head", config.d_model);
        for i in 0..3 {
            self.conv(&format!("{at}.pixel_decoder.conv_layers.{i}"), d, d, 3);
        }
        for i in 0..3 {
            self.norm(&format!("{at}.pixel_decoder.norms.{i}"), d);
        }
        for predictor in ["mask_predictor", "mask_predictor_adapter1", "mask_predictor_adapter2"] {
            self.mlp(&format!("{at}.{predictor}.mask_embed"), &[d, d, d, d]);
        }
        self.attention(&format!("{at}.cross_attend_prompt"), d);
        self.norm(&format!("{at}.cross_attn_norm"), d);
        self.conv(&format!("{at}.semantic_seg_head"), d, 1, 1);
        self.conv(&format!("{at}.instance_seg_head"), d, d, 1);
    }

    fn scoring(&mut self, config: &Config) {
        let (at, d) = ("dot_prod_scoring", config.d_model);
        self.mlp(&format!("{at}.prompt_mlp"), &[d, config.ffn, d]);
        self.norm(&format!("{at}.prompt_mlp.out_norm"), d);
        self.linear(&format!("{at}.prompt_proj"), d, d);
        self.linear(&format!("{at}.hs_proj"), d, d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_give_the_published_count() {
        let list = tensor_list(&Config::default());
        let values: usize = list.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        // Image-model spec, section 16.
        assert_eq!((list.len(), values), (2194, 1_154_195_510));
    }
}
