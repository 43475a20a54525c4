//! Hugging Face's names for the tensors of base SAM3, and ours.
//!
//! The file is the same model with other names, attention matrices split into q, k and v, and a position table
//! without its class row. `#` stands for a number, `@` for that number less one, `*` for `weight` or `bias`.

/// What every name of the image model starts with.
pub(super) const PREFIX: &str = "detector_model.";

/// How a tensor of the file becomes (a part of) ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// It is ours.
    Whole,
    /// It is the first, second or last third of our rows: q, k or v.
    Third(usize),
    /// Ours has a row of zeros before it.
    AfterZeroRow,
}

/// Names that change and nothing else.
#[rustfmt::skip]
const PLAIN: &[(&str, &str)] = &[
    ("vision_encoder.backbone.embeddings.patch_embeddings.projection.weight", "backbone.vision_backbone.trunk.patch_embed.proj.weight"),
    ("vision_encoder.backbone.layer_norm.*", "backbone.vision_backbone.trunk.ln_pre.*"),
    ("vision_encoder.backbone.layers.#.layer_norm#.*", "backbone.vision_backbone.trunk.blocks.#.norm#.*"),
    ("vision_encoder.backbone.layers.#.mlp.fc#.*", "backbone.vision_backbone.trunk.blocks.#.mlp.fc#.*"),
    ("vision_encoder.neck.fpn_layers.0.scale_layers.0.*", "backbone.vision_backbone.convs.0.dconv_2x2_0.*"),
    ("vision_encoder.neck.fpn_layers.0.scale_layers.2.*", "backbone.vision_backbone.convs.0.dconv_2x2_1.*"),
    ("vision_encoder.neck.fpn_layers.1.scale_layers.0.*", "backbone.vision_backbone.convs.1.dconv_2x2.*"),
    ("vision_encoder.neck.fpn_layers.#.proj1.*", "backbone.vision_backbone.convs.#.conv_1x1.*"),
    ("vision_encoder.neck.fpn_layers.#.proj2.*", "backbone.vision_backbone.convs.#.conv_3x3.*"),
    ("text_encoder.text_model.embeddings.token_embedding.weight", "backbone.language_backbone.encoder.token_embedding.weight"),
    ("text_encoder.text_model.embeddings.position_embedding.weight", "backbone.language_backbone.encoder.positional_embedding"),
    ("text_encoder.text_model.encoder.layers.#.layer_norm#.*", "backbone.language_backbone.encoder.transformer.resblocks.#.ln_#.*"),
    ("text_encoder.text_model.encoder.layers.#.mlp.fc1.*", "backbone.language_backbone.encoder.transformer.resblocks.#.mlp.c_fc.*"),
    ("text_encoder.text_model.encoder.layers.#.mlp.fc2.*", "backbone.language_backbone.encoder.transformer.resblocks.#.mlp.c_proj.*"),
    ("text_encoder.text_model.final_layer_norm.*", "backbone.language_backbone.encoder.ln_final.*"),
    // Stored transposed; never used, so never read.
    ("text_encoder.text_projection.weight", "backbone.language_backbone.encoder.text_projection"),
    ("text_projection.*", "backbone.language_backbone.resizer.*"),
    ("geometry_encoder.label_embed.weight", "geometry_encoder.label_embed.weight"),
    ("geometry_encoder.cls_embed.weight", "geometry_encoder.cls_embed.weight"),
    ("geometry_encoder.boxes_direct_project.*", "geometry_encoder.boxes_direct_project.*"),
    ("geometry_encoder.boxes_pool_project.*", "geometry_encoder.boxes_pool_project.*"),
    ("geometry_encoder.boxes_pos_enc_project.*", "geometry_encoder.boxes_pos_enc_project.*"),
    ("geometry_encoder.final_proj.*", "geometry_encoder.final_proj.*"),
    ("geometry_encoder.prompt_layer_norm.*", "geometry_encoder.norm.*"),
    ("geometry_encoder.vision_layer_norm.*", "geometry_encoder.img_pre_norm.*"),
    ("geometry_encoder.output_layer_norm.*", "geometry_encoder.encode_norm.*"),
    ("geometry_encoder.layers.#.mlp.fc#.*", "geometry_encoder.encode.#.linear#.*"),
    ("geometry_encoder.layers.#.layer_norm#.*", "geometry_encoder.encode.#.norm#.*"),
    ("detr_encoder.layers.#.mlp.fc#.*", "transformer.encoder.layers.#.linear#.*"),
    ("detr_encoder.layers.#.layer_norm#.*", "transformer.encoder.layers.#.norm#.*"),
    ("detr_decoder.layers.#.mlp.fc#.*", "transformer.decoder.layers.#.linear#.*"),
    ("detr_decoder.layers.#.vision_cross_attn_layer_norm.*", "transformer.decoder.layers.#.norm1.*"),
    ("detr_decoder.layers.#.self_attn_layer_norm.*", "transformer.decoder.layers.#.norm2.*"),
    ("detr_decoder.layers.#.mlp_layer_norm.*", "transformer.decoder.layers.#.norm3.*"),
    ("detr_decoder.layers.#.text_cross_attn_layer_norm.*", "transformer.decoder.layers.#.catext_norm.*"),
    ("detr_decoder.output_layer_norm.*", "transformer.decoder.norm.*"),
    ("detr_decoder.box_head.layer#.*", "transformer.decoder.bbox_embed.layers.@.*"),
    ("detr_decoder.query_embed.weight", "transformer.decoder.query_embed.weight"),
    ("detr_decoder.reference_points.weight", "transformer.decoder.reference_points.weight"),
    ("detr_decoder.box_rpb_embed_x.layer#.*", "transformer.decoder.boxRPB_embed_x.layers.@.*"),
    ("detr_decoder.box_rpb_embed_y.layer#.*", "transformer.decoder.boxRPB_embed_y.layers.@.*"),
    ("detr_decoder.presence_token.weight", "transformer.decoder.presence_token.weight"),
    ("detr_decoder.presence_head.layer#.*", "transformer.decoder.presence_token_head.layers.@.*"),
    ("detr_decoder.presence_layer_norm.*", "transformer.decoder.presence_token_out_norm.*"),
    ("detr_decoder.ref_point_head.layer#.*", "transformer.decoder.ref_point_head.layers.@.*"),
    ("mask_decoder.pixel_decoder.conv_layers.#.*", "segmentation_head.pixel_decoder.conv_layers.#.*"),
    ("mask_decoder.pixel_decoder.norms.#.*", "segmentation_head.pixel_decoder.norms.#.*"),
    ("mask_decoder.mask_embedder.layers.#.*", "segmentation_head.mask_predictor.mask_embed.layers.#.*"),
    ("mask_decoder.prompt_cross_attn_norm.*", "segmentation_head.cross_attn_norm.*"),
    ("mask_decoder.semantic_projection.*", "segmentation_head.semantic_seg_head.*"),
    ("mask_decoder.instance_projection.*", "segmentation_head.instance_seg_head.*"),
    ("dot_product_scoring.text_mlp.layer#.*", "dot_prod_scoring.prompt_mlp.layers.@.*"),
    ("dot_product_scoring.text_mlp_out_norm.*", "dot_prod_scoring.prompt_mlp.out_norm.*"),
    ("dot_product_scoring.text_proj.*", "dot_prod_scoring.prompt_proj.*"),
    ("dot_product_scoring.query_proj.*", "dot_prod_scoring.hs_proj.*"),
];

/// Attentions: q, k and v become `in_proj_*` (in the trunk `qkv.*`), `o_proj` or `out_proj` becomes `out_proj.*` (`proj.*`).
#[rustfmt::skip]
const ATTENTIONS: &[(&str, &str)] = &[
    ("vision_encoder.backbone.layers.#.attention", "backbone.vision_backbone.trunk.blocks.#.attn"),
    ("text_encoder.text_model.encoder.layers.#.self_attn", "backbone.language_backbone.encoder.transformer.resblocks.#.attn"),
    ("geometry_encoder.layers.#.self_attn", "geometry_encoder.encode.#.self_attn"),
    ("geometry_encoder.layers.#.cross_attn", "geometry_encoder.encode.#.cross_attn_image"),
    ("detr_encoder.layers.#.self_attn", "transformer.encoder.layers.#.self_attn"),
    ("detr_encoder.layers.#.cross_attn", "transformer.encoder.layers.#.cross_attn_image"),
    ("detr_decoder.layers.#.self_attn", "transformer.decoder.layers.#.self_attn"),
    ("detr_decoder.layers.#.text_cross_attn", "transformer.decoder.layers.#.ca_text"),
    ("detr_decoder.layers.#.vision_cross_attn", "transformer.decoder.layers.#.cross_attn"),
    ("mask_decoder.prompt_cross_attn", "segmentation_head.cross_attend_prompt"),
];

/// Our name for a tensor of the file (given without [`PREFIX`]) and its place in it; `None` if no rule fits.
pub(super) fn canonical(name: &str) -> Option<(String, Place)> {
    if name == "vision_encoder.backbone.embeddings.position_embeddings" {
        return Some(("backbone.vision_backbone.trunk.pos_embed".to_owned(), Place::AfterZeroRow));
    }
    let plain = PLAIN.iter().find_map(|(theirs, ours)| Some((rewrite(name, theirs, ours)?, Place::Whole)));
    plain.or_else(|| attention(name))
}

fn attention(name: &str) -> Option<(String, Place)> {
    let (rest, leaf) = name.rsplit_once('.').filter(|(_, leaf)| is_leaf(leaf))?;
    let (module, projection) = rest.rsplit_once('.')?;
    let ours = ATTENTIONS.iter().find_map(|(theirs, ours)| rewrite(module, theirs, ours))?;
    let in_trunk = ours.starts_with("backbone.vision_backbone.");
    let third = ["q_proj", "k_proj", "v_proj"].iter().position(|&p| p == projection);
    match (third, projection) {
        (Some(i), _) if in_trunk => Some((format!("{ours}.qkv.{leaf}"), Place::Third(i))),
        (Some(i), _) => Some((format!("{ours}.in_proj_{leaf}"), Place::Third(i))),
        (None, "o_proj" | "out_proj") if in_trunk => Some((format!("{ours}.proj.{leaf}"), Place::Whole)),
        (None, "o_proj" | "out_proj") => Some((format!("{ours}.out_proj.{leaf}"), Place::Whole)),
        _ => None,
    }
}

fn is_leaf(text: &str) -> bool {
    text == "weight" || text == "bias"
}

/// Matches `name` with the pattern `theirs` and fills what the wild cards stood for into `ours`.
fn rewrite(name: &str, theirs: &str, ours: &str) -> Option<String> {
    let mut captures = Vec::new();
    let mut rest = name;
    for c in theirs.chars() {
        match c {
            '#' => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let (digits, after) = rest.split_at(end);
                captures.push(digits);
                rest = if digits.is_empty() { return None } else { after };
            }
            '*' => {
                captures.push(rest);
                rest = if is_leaf(rest) { "" } else { return None };
            }
            c => rest = rest.strip_prefix(c)?,
        }
    }
    if rest.is_empty() { fill(ours, &captures) } else { None }
}

fn fill(ours: &str, captures: &[&str]) -> Option<String> {
    let mut captures = captures.iter();
    let mut name = String::with_capacity(ours.len() + 8);
    for c in ours.chars() {
        match c {
            '#' | '*' => name.push_str(captures.next()?),
            '@' => name.push_str(&captures.next()?.parse::<u32>().ok()?.checked_sub(1)?.to_string()),
            c => name.push(c),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SAM3I_SPEC`, else the folder `shared/spec` beside the workspace.
    fn spec(file: &str) -> Option<String> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/spec");
        let folder = std::env::var("SAM3I_SPEC").unwrap_or_else(|_| beside.to_owned());
        let text = std::fs::read_to_string(std::path::Path::new(&folder).join(file)).ok();
        if text.is_none() {
            eprintln!("SKIPPED: no {file} in {folder}; set SAM3I_SPEC to the folder that has it");
        }
        text
    }

    #[test]
    fn the_rules_give_the_published_list_of_names() {
        let Some(list) = spec("hf-names.tsv") else { return };
        let mut checked = 0;
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            let [_, ours, theirs, _, operation] = fields[..] else { panic!("five fields: {line}") };
            let Some(theirs) = theirs.strip_prefix(PREFIX) else { continue };
            let place = match operation {
                o if o.starts_with("rows ") => Place::Third(o.as_bytes()[5].wrapping_sub(b'0') as usize),
                o if o.starts_with("drop row 0") => Place::AfterZeroRow,
                _ => Place::Whole,
            };
            assert_eq!(canonical(theirs), Some((ours.to_owned(), place)), "{theirs}");
            checked += 1;
        }
        assert!(checked > 1000, "only {checked} names");
    }

    #[test]
    fn other_names_have_no_rule() {
        let names = [
            "",
            "text_projection.scale",
            "text_projection.weight.more",
            "detr_decoder.box_head.layer0.weight",
            "detr_decoder.box_head.layer.weight",
            "detr_decoder.layers.0.self_attn.z_proj.weight",
            "detr_decoder.layers.99999999999999999999.self_attn.q_proj",
        ];
        for name in names {
            assert_eq!(canonical(name), None, "{name}");
        }
    }
}
