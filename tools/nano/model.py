"""The SAM3-I image model in PyTorch, at any size: the graph that nano is trained with.

Written from the specification of the image model (section numbers below are its). Module attributes
spell the SAM3-I tensor names, so `state_dict()` is what is exported. Everything is batch first:
`b` prompts, `n` image tokens, `t` text positions, `p` prompt tokens (text, boxes, one class token),
`q` queries, `d` detector channels. A prompt belongs to the picture `picture_of_prompt[b]`.

`check_goldens.py` compares every stage with recordings of the published model.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONCEPT, SIMPLE, COMPLEX = 1, 2, 4
"""Text types: adapters off, adapter1, adapter12 then adapter2."""

Trace = dict[str, Tensor] | None
"""Where intermediate tensors are recorded, under the goldens' names; `None` records nothing."""


@dataclass
class Config:
    """`config.json`: every size of the model."""

    name: str
    image_size: int
    patch: int
    pretrain_image_size: int
    vit: dict
    text: dict
    d_model: int
    heads: int
    ffn: int
    enc_layers: int
    dec_layers: int
    geo_layers: int
    queries: int
    adapter: dict
    extra: dict = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> Config:
        """Reads a `config.json`."""
        return cls.of(json.loads(Path(path).read_text()))

    @classmethod
    def of(cls, values: dict) -> Config:
        """Builds the configuration from the parsed JSON; unknown keys are kept aside."""
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        return cls(**known, extra={k: v for k, v in values.items() if k not in known})

    @property
    def grid(self) -> int:
        """Tokens along a side of the picture."""
        return self.image_size // self.patch

    @property
    def pretrain_grid(self) -> int:
        """Side of the position table's grid."""
        return self.pretrain_image_size // self.patch

    @property
    def vit_mlp(self) -> int:
        """Hidden channels of the ViT's MLP."""
        return int(self.vit["dim"] * self.vit["mlp_ratio"])


def record(trace: Trace, name: str, value: Tensor) -> None:
    """Keeps `value` under `name` when a trace is being taken."""
    if trace is not None:
        trace[name] = value


# --- building blocks -------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention on projected inputs.

    Shapes: q `[b, n, c]`, k and v `[b, m, c]`, bias broadcastable to `[b, heads, n, m]` -> `[b, n, c]`.
    """
    b, n, c = q.shape
    split = lambda x: x.view(x.shape[0], -1, heads, c // heads).transpose(1, 2)
    out = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias)
    return out.transpose(1, 2).reshape(b, n, c)


class PackedAttention(nn.Module):
    """Attention whose three input projections are one matrix (section 1)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Shapes as `attend`; where q, k and v are the same tensor they are projected together."""
        return self.out_proj(attend(*self.project(q, k, v), self.heads, bias))

    def project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three input projections."""
        w, b, e = self.in_proj_weight, self.in_proj_bias, q.shape[-1]
        if q is k and k is v:
            return F.linear(q, w, b).chunk(3, dim=-1)
        if q is k:
            q, k = F.linear(q, w[: 2 * e], b[: 2 * e]).chunk(2, dim=-1)
            return q, k, F.linear(v, w[2 * e :], b[2 * e :])
        q = F.linear(q, w[:e], b[:e])
        if k is v:
            return q, *F.linear(k, w[e:], b[e:]).chunk(2, dim=-1)
        return q, F.linear(k, w[e : 2 * e], b[e : 2 * e]), F.linear(v, w[2 * e :], b[2 * e :])


class Mlp(nn.Module):
    """Linear layers with ReLU between them, none at the end (section 1, "MLP n")."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(dims, dims[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., dims[0]]` -> `[..., dims[-1]]`."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def key_bias(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """Turns a padding mask `[b, m]` (true = padding) into an additive bias `[b, 1, 1, m]`."""
    bias = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return bias.masked_fill(padding, -math.inf)[:, None, None, :]


def sine_code(v: Tensor, channels: int) -> Tensor:
    """The sine code of an angle (section 7): `[...]` -> `[..., channels]`, even sin, odd cos."""
    k = torch.arange(channels, device=v.device)
    angle = v[..., None] / 10000.0 ** (2 * (k // 2) / channels).to(v.dtype)
    return torch.where(k % 2 == 0, angle.sin(), angle.cos())


def position_map(height: int, width: int, d: int) -> Tensor:
    """The sine position map (section 7) `[d, height, width]`: first half of the channels from y."""
    y = sine_code((torch.arange(height) + 1) / (height + 1e-6) * 2 * math.pi, d // 2)
    x = sine_code((torch.arange(width) + 1) / (width + 1e-6) * 2 * math.pi, d // 2)
    y, x = y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=-1).permute(2, 0, 1).contiguous()


def box_code(boxes: Tensor, channels: int) -> Tensor:
    """Codes of cx, cy, w, h (section 10): `[..., 4]` -> `[..., 4 * channels]` in the order y, x, w, h."""
    order = boxes[..., [1, 0, 2, 3]]
    return sine_code(order * 2 * math.pi, channels).flatten(-2)


def tokens(image_bchw: Tensor) -> Tensor:
    """`[b, c, h, w]` -> `[b, h * w, c]`, row by row."""
    return image_bchw.flatten(2).transpose(1, 2)


# --- image trunk -----------------------------------------------------------------------------------


def rope_table(side: int, head_dim: int, scale: float) -> Tensor:
    """Angles of axial RoPE (section 6) as cos and sin: `[side * side, head_dim / 2, 2]`, x first."""
    freqs = 10000.0 ** (-4.0 * torch.arange(head_dim // 4) / head_dim)
    at = torch.arange(side) * scale
    y, x = torch.meshgrid(at, at, indexing="ij")
    angles = torch.cat([x.reshape(-1, 1) * freqs, y.reshape(-1, 1) * freqs], dim=-1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotates adjacent channel pairs of `[b, heads, n, head_dim]` by the angles of `table`."""
    u, v = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([u * cos - v * sin, u * sin + v * cos], dim=-1).flatten(-2)


class TrunkAttention(nn.Module):
    """Self-attention with RoPE over the tokens it is given (a window or the whole picture)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Tensor, trace: Trace = None, name: str = "") -> Tensor:
        """`[b, h, w, c]` -> the same shape; attention is over h * w."""
        b, h, w, c = x.shape
        qkv = self.qkv(x)
        record(trace, f"{name}.qkv", qkv)
        q, k, v = qkv.view(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(rotate(q, rope), rotate(k, rope), v)
        return self.proj(out.transpose(1, 2).reshape(b, h, w, c))


class TrunkMlp(nn.Module):
    """The ViT's feed-forward layer, with the exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., c]` -> `[..., c]`."""
        return self.fc2(F.gelu(self.fc1(x)))


def partition_windows(x: Tensor, side: int) -> Tensor:
    """Cuts `[b, h, w, c]` into windows `[b * windows, side, side, c]`, zeros appended where needed."""
    b, h, w, c = x.shape
    x = F.pad(x, (0, 0, 0, -w % side, 0, -h % side))
    x = x.unflatten(1, (-1, side)).unflatten(3, (-1, side)).transpose(2, 3)
    return x.reshape(-1, side, side, c)


def join_windows(x: Tensor, b: int, h: int, w: int) -> Tensor:
    """Undoes `partition_windows`: `[b * windows, side, side, c]` -> `[b, h, w, c]`."""
    side, c = x.shape[1], x.shape[3]
    rows, cols = -(-h // side), -(-w // side)
    x = x.view(b, rows, cols, side, side, c).transpose(2, 3)
    return x.reshape(b, rows * side, cols * side, c)[:, :h, :w]


class TrunkBlock(nn.Module):
    """A pre-norm ViT block; `window` is the side of its windows, or 0 where it attends globally."""

    def __init__(self, dim: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim)
        self.attn = TrunkAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TrunkMlp(dim, hidden)

    def forward(self, x: Tensor, rope: Tensor, trace: Trace = None, name: str = "") -> Tensor:
        """`[b, h, w, c]` -> the same shape."""
        b, h, w, _ = x.shape
        y = self.norm1(x)
        record(trace, f"{name}.norm1", y)
        y = partition_windows(y, self.window) if self.window else y
        y = self.attn(y, rope, trace, name)
        record(trace, f"{name}.attn", y)
        x = x + (join_windows(y, b, h, w) if self.window else y)
        y = self.norm2(x)
        record(trace, f"{name}.norm2", y)
        y = self.mlp(y)
        record(trace, f"{name}.mlp", y)
        x = x + y
        record(trace, name, x)
        return x


class PatchEmbed(nn.Module):
    """Non-overlapping patches, no bias."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """`[b, 3, s, s]` -> `[b, g, g, c]`."""
        patch = self.proj.weight.shape[-1]
        b, c, s, _ = pixels.shape
        g = s // patch
        patches = pixels.view(b, c, g, patch, g, patch).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.reshape(b, g, g, -1), self.proj.weight.flatten(1))


class Trunk(nn.Module):
    """The ViT (section 6): windowed and global blocks, tiled position table, no final norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        vit, grid, pre = config.vit, config.grid, config.pretrain_grid
        dim, heads = vit["dim"], vit["heads"]
        self.grid, self.pre = grid, pre
        self.patch_embed = PatchEmbed(config.patch, dim)
        self.pos_embed = nn.Parameter(torch.randn(1, pre * pre + 1, dim) * 0.02)
        self.ln_pre = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(
            TrunkBlock(dim, heads, config.vit_mlp, 0 if i in vit["global_blocks"] else vit["window"])
            for i in range(vit["depth"])
        )
        window_rope = rope_table(vit["window"], dim // heads, 1.0)
        self.register_buffer("rope_window", window_rope, persistent=False)
        global_rope = rope_table(grid, dim // heads, vit["window"] / grid)
        self.register_buffer("rope_global", global_rope, persistent=False)

    def tiled_positions(self) -> Tensor:
        """The position table without its class row, tiled over the grid: `[g, g, c]`."""
        table = self.pos_embed[0, 1:].view(self.pre, self.pre, -1)
        at = torch.arange(self.grid, device=table.device) % self.pre
        return table[at[:, None], at[None, :]]

    def forward(self, pixels: Tensor, trace: Trace = None) -> Tensor:
        """`[b, 3, s, s]` -> `[b, c, g, g]`."""
        x = self.patch_embed(pixels)
        record(trace, "vit.patch_embed", x)
        x = x + self.tiled_positions()
        record(trace, "vit.pos_added", x)
        x = self.ln_pre(x)
        record(trace, "vit.ln_pre", x)
        record(trace, "vit.rope.window", self.rope_window)
        record(trace, "vit.rope.global", self.rope_global)
        for i, block in enumerate(self.blocks):
            rope = self.rope_window if block.window else self.rope_global
            x = block(x, rope, trace, f"vit.block.{i}")
        return x.permute(0, 3, 1, 2)


class Level(nn.Module):
    """One level of the neck (section 7): up to two doublings, then 1x1 and 3x3 convolutions."""

    def __init__(self, c: int, d: int, level: int) -> None:
        super().__init__()
        self.level = level
        if level == 0:
            self.dconv_2x2_0 = nn.ConvTranspose2d(c, c // 2, 2, stride=2)
            self.dconv_2x2_1 = nn.ConvTranspose2d(c // 2, c // 4, 2, stride=2)
        elif level == 1:
            self.dconv_2x2 = nn.ConvTranspose2d(c, c // 2, 2, stride=2)
        self.conv_1x1 = nn.Conv2d((c // 4, c // 2, c, c)[level], d, 1)
        self.conv_3x3 = nn.Conv2d(d, d, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, c, g, g]` -> `[b, d, side, side]`, side = 4g, 2g, g or g / 2."""
        if self.level == 0:
            x = self.dconv_2x2_1(F.gelu(self.dconv_2x2_0(x)))
        elif self.level == 1:
            x = self.dconv_2x2(x)
        elif self.level == 3:
            x = F.max_pool2d(x, 2)
        return self.conv_3x3(self.conv_1x1(x))


class VisionBackbone(nn.Module):
    """Trunk and neck. Level 3 is stored and never used."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.convs = nn.ModuleList(Level(config.vit["dim"], config.d_model, i) for i in range(4))

    def forward(self, pixels: Tensor, trace: Trace = None, finest: int = 0) -> list[Tensor | None]:
        """`[b, 3, s, s]` -> levels 0 (4g), 1 (2g) and 2 (g), each `[b, d, side, side]`.

        Levels before `finest` are not computed and are `None`.
        """
        x = self.trunk(pixels, trace)
        levels = [self.convs[i](x) if i >= finest else None for i in range(3)]
        if trace is not None:
            for i, level in enumerate(levels):
                record(trace, f"fpn.{i}", level)
            record(trace, "fpn.3", self.convs[3](x))
        return levels


# --- text ------------------------------------------------------------------------------------------


class TextAdapter(nn.Module):
    """A text adapter (section 5): unmasked attention and a bottleneck, residuals included."""

    def __init__(self, width: int, adapter: dict) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.mha_adapter = PackedAttention(width, adapter["heads"])
        self.norm2 = nn.LayerNorm(width)
        self.down_proj = nn.Linear(width, adapter["dim"])
        self.up_proj = nn.Linear(adapter["dim"], width)
        for part in (self.mha_adapter.out_proj, self.up_proj):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, t, width]` -> the same shape."""
        y = self.norm1(x)
        x = x + self.mha_adapter(y, y, y)
        return x + self.up_proj(F.gelu(self.down_proj(self.norm2(x))))


class TextMlp(nn.Module):
    """The text encoder's feed-forward layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, t, width]` -> the same shape."""
        return self.c_proj(F.gelu(self.c_fc(x)))


class TextBlock(nn.Module):
    """A text block; its MLP is computed before the adapter and added after it."""

    def __init__(self, width: int, heads: int, adapter: dict) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = PackedAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = TextMlp(width)
        self.adapter1 = TextAdapter(width, adapter)
        self.adapter12 = TextAdapter(width, adapter)
        self.adapter2 = TextAdapter(width, adapter)

    def route(self, x: Tensor, text_type: int, trace: Trace, name: str) -> Tensor:
        """Sends `[b, t, width]` through the adapters of the text type."""
        adapters = {CONCEPT: (), SIMPLE: ("adapter1",)}.get(text_type, ("adapter12", "adapter2"))
        for adapter in adapters:
            x = getattr(self, adapter)(x)
            record(trace, f"{name}.{adapter}", x)
        return x

    def forward(
        self, x: Tensor, causal: Tensor, text_type: int, trace: Trace = None, name: str = ""
    ) -> Tensor:
        """`[b, t, width]` -> the same shape."""
        y = self.ln_1(x)
        y = self.attn(y, y, y, causal)
        record(trace, f"{name}.attn", y)
        x = x + y
        m = self.mlp(self.ln_2(x))
        record(trace, f"{name}.mlp", m)
        x = self.route(x, text_type, trace, name) + m
        record(trace, name, x)
        return x


class TextTransformer(nn.Module):
    """Holds the blocks under the name the files use."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        text = config.text
        self.resblocks = nn.ModuleList(
            TextBlock(text["width"], text["heads"], config.adapter) for _ in range(text["layers"])
        )


class TextEncoder(nn.Module):
    """Token table, position table, causal blocks (section 5)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, ctx = config.text["width"], config.text["ctx"]
        self.token_embedding = nn.Embedding(config.text["vocab"], width)
        self.positional_embedding = nn.Parameter(torch.randn(ctx, width) * 0.02)
        self.transformer = TextTransformer(config)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, 512))
        nn.init.normal_(self.token_embedding.weight, std=0.05)

    def forward(self, ids: Tensor, text_type: int, trace: Trace = None) -> Tensor:
        """`[b, t]` -> `[b, t, width]`."""
        x = self.token_embedding(ids)
        record(trace, "text.token_embedding", x)
        t = ids.shape[1]
        x = x + self.positional_embedding[:t]
        causal = torch.full((t, t), -math.inf, device=ids.device, dtype=x.dtype).triu(1)
        for i, block in enumerate(self.transformer.resblocks):
            x = block(x, causal, text_type, trace, f"text.block.{i}")
        x = self.ln_final(x)
        record(trace, "text.ln_final", x)
        return x


class LanguageBackbone(nn.Module):
    """The text encoder and the projection to the detector's width."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.resizer = nn.Linear(config.text["width"], config.d_model)

    def forward(self, ids: Tensor, text_type: int, trace: Trace = None) -> Tensor:
        """`[b, t]` -> `[b, t, d]`."""
        out = self.resizer(self.encoder(ids, text_type, trace))
        record(trace, "text.features", out)
        return out


class Backbone(nn.Module):
    """Both backbones, under the name the files use."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.vision_backbone = VisionBackbone(config)
        self.language_backbone = LanguageBackbone(config)


# --- geometry --------------------------------------------------------------------------------------


def roi_align(feature: Tensor, box: Tensor, out: int = 7) -> Tensor:
    """RoI align, `aligned = False`, adaptive sampling (section 8), for one box.

    Shapes: feature `[d, h, w]`, box `[4]` as x0, y0, x1, y1 in feature pixels -> `[d, out, out]`.
    """
    d, h, w = feature.shape
    x0, y0, x1, y1 = box.tolist()

    def samples(start: float, length: float, size: int) -> tuple[Tensor, int]:
        count = math.ceil(length / out)
        at = start + (torch.arange(out * count, dtype=feature.dtype) + 0.5) * (length / out / count)
        outside = (at < -1) | (at > size)
        at = at.clamp(min=0)
        low = at.floor().clamp(max=size - 1)
        at = torch.where(low >= size - 1, low, at)
        high = (low + 1).clamp(max=size - 1)
        weights = torch.zeros(len(at), size, dtype=feature.dtype)
        index = torch.arange(len(at))
        weights[index, low.long()] += 1 - (at - low)
        weights[index, high.long()] += at - low
        weights[outside] = 0
        return weights.view(out, count, size).mean(dim=1), count

    wy, _ = samples(y0, max(y1 - y0, 1.0), h)
    wx, _ = samples(x0, max(x1 - x0, 1.0), w)
    wy, wx = wy.to(feature.device), wx.to(feature.device)
    return torch.einsum("ih,dhw,jw->dij", wy, feature, wx)


class GeometryLayer(nn.Module):
    """A pre-norm layer of the geometry encoder: here `cross_attn_image` does attend to the image."""

    def __init__(self, d: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = PackedAttention(d, heads)
        self.cross_attn_image = PackedAttention(d, heads)
        self.linear1 = nn.Linear(d, ffn)
        self.linear2 = nn.Linear(ffn, d)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d) for _ in range(3))

    def forward(self, x: Tensor, image: Tensor, keys: Tensor) -> Tensor:
        """x `[b, g, d]`, image (values) and keys `[b, n, d]` -> `[b, g, d]`."""
        y = self.norm1(x)
        x = x + self.self_attn(y, y, y)
        y = self.norm2(x)
        x = x + self.cross_attn_image(y, keys, image)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class GeometryEncoder(nn.Module):
    """Exemplar boxes and the class token (section 8). Point weights are stored, not run here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.d_model
        self.d = d
        self.label_embed = nn.Embedding(2, d)
        self.cls_embed = nn.Embedding(1, d)
        self.points_direct_project = nn.Linear(2, d)
        self.points_pool_project = nn.Linear(d, d)
        self.points_pos_enc_project = nn.Linear(d, d)
        self.boxes_direct_project = nn.Linear(4, d)
        self.boxes_pool_project = nn.Conv2d(d, d, 7)
        self.boxes_pos_enc_project = nn.Linear(d + 2, d)
        self.img_pre_norm = nn.LayerNorm(d)
        self.final_proj = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        self.encode = nn.ModuleList(
            GeometryLayer(d, config.heads, config.ffn) for _ in range(config.geo_layers)
        )
        self.encode_norm = nn.LayerNorm(d)

    def box_tokens(self, f2: Tensor, boxes: Tensor, labels: Tensor, trace: Trace) -> Tensor:
        """f2 `[d, g, g]` of one picture, boxes `[m, 4]` cxcywh, labels `[m]` -> `[m, d]`."""
        grid = f2.shape[-1]
        normed = self.img_pre_norm(f2.permute(1, 2, 0)).permute(2, 0, 1)
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        direct = self.boxes_direct_project(boxes)
        rois = torch.stack([roi_align(normed, box * grid) for box in corners])
        pooled = self.boxes_pool_project(rois)
        code = sine_code(boxes[:, [1, 0]] * 2 * math.pi, self.d // 2).flatten(1)
        code = torch.cat([code, boxes[:, [3, 2]]], dim=1)
        posenc = self.boxes_pos_enc_project(code)
        for name, value in [("box_direct", direct), ("roi_align", rois), ("box_pool", pooled)]:
            record(trace, f"geo.{name}", value)
        record(trace, "geo.box_posenc_in", code)
        record(trace, "geo.box_posenc", posenc)
        return direct + pooled.flatten(1) + posenc + self.label_embed(labels.long())

    def forward(
        self,
        f2: Tensor,
        pos: Tensor,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
        trace: Trace = None,
    ) -> Tensor:
        """f2 `[b, d, g, g]`, pos `[d, g, g]`, boxes `[b, m, 4]`, labels `[b, m]` -> `[b, m + 1, d]`."""
        b = f2.shape[0]
        x = self.cls_embed.weight[None].expand(b, -1, -1)
        if boxes is not None and boxes.shape[1]:
            rows = zip(f2, boxes, labels, strict=True)
            x = torch.cat([torch.stack([self.box_tokens(*row, trace) for row in rows]), x], dim=1)
        record(trace, "geo.seq_in", x)
        x = self.norm(self.final_proj(x))
        record(trace, "geo.proj_norm", x)
        image = tokens(f2)
        keys = tokens(f2 + pos)
        for i, layer in enumerate(self.encode):
            x = layer(x, image, keys)
            record(trace, f"geo.layer.{i}", x)
        x = self.encode_norm(x)
        record(trace, "geo.out", x)
        return x


# --- fusion encoder and decoder --------------------------------------------------------------------


class Adapter(nn.Module):
    """An adapter of the fusion encoder or decoder (section 9): a bottleneck with its own norm."""

    def __init__(self, d: int, bottleneck: int) -> None:
        super().__init__()
        self.down_proj = nn.Linear(d, bottleneck)
        self.norm = nn.LayerNorm(bottleneck)
        self.up_proj = nn.Linear(bottleneck, d)
        nn.init.zeros_(self.up_proj.weight)
        nn.init.zeros_(self.up_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d]` -> `[..., d]`, without a residual."""
        return self.up_proj(F.gelu(self.norm(self.down_proj(x))))


class Adapted(nn.Module):
    """What fusion and decoder layers share: the three adapters and their routing."""

    inner_skip = False
    """Whether adapter2 adds its own input (the fusion encoder's does, the decoder's does not)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, bottleneck = config.d_model, config.adapter["dim"]
        self.scale = config.adapter["scale"]
        self.adapter1 = Adapter(d, bottleneck)
        self.adapter12 = Adapter(d, bottleneck)
        self.adapter2 = Adapter(d, bottleneck)

    def route(self, x: Tensor, text_type: int, trace: Trace, name: str) -> Tensor:
        """Adds the adapters of the text type to `[..., d]`."""
        if text_type == CONCEPT:
            return x
        if text_type == SIMPLE:
            u = self.adapter1(x)
            record(trace, f"{name}.adapter1", u)
            return x + self.scale * u
        u = self.adapter12(x)
        record(trace, f"{name}.adapter12", u)
        v = self.adapter2(u) + (u if self.inner_skip else 0)
        record(trace, f"{name}.adapter2", v)
        return x + self.scale * v


class FusionLayer(Adapted):
    """A pre-norm layer; its `cross_attn_image` attends from image tokens to the prompt."""

    inner_skip = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        d = config.d_model
        self.self_attn = PackedAttention(d, config.heads)
        self.cross_attn_image = PackedAttention(d, config.heads)
        self.linear1 = nn.Linear(d, config.ffn)
        self.linear2 = nn.Linear(config.ffn, d)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d) for _ in range(3))

    def look_around(self, x: Tensor, pos: Tensor, trace: Trace, name: str) -> Tensor:
        """Self-attention with its residual: depends on the picture alone in the first layer."""
        y = self.norm1(x)
        at = y + pos
        y = self.self_attn(at, at, y)
        record(trace, f"{name}.self_attn", y)
        return x + y

    def read_prompt(
        self, x: Tensor, prompt: Tensor, bias: Tensor, text_type: int, trace: Trace, name: str
    ) -> Tensor:
        """Attention to the prompt, feed-forward and adapters."""
        y = self.cross_attn_image(self.norm2(x), prompt, prompt, bias)
        record(trace, f"{name}.cross_attn", y)
        x = x + y
        r = self.linear2(F.relu(self.linear1(self.norm3(x))))
        record(trace, f"{name}.ffn", r)
        x = self.route(x, text_type, trace, name) + r
        record(trace, name, x)
        return x


class FusionEncoder(nn.Module):
    """The fusion encoder (section 9)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(config) for _ in range(config.enc_layers))

    def forward(
        self,
        image: Tensor,
        picture_of_prompt: Tensor,
        pos: Tensor,
        prompt: Tensor,
        bias: Tensor,
        text_type: int,
        trace: Trace = None,
    ) -> Tensor:
        """image `[pictures, n, d]`, pos `[n, d]`, prompt `[b, p, d]` -> memory `[b, n, d]`."""
        x = image
        for i, layer in enumerate(self.layers):
            name = f"enc.layer.{i}"
            x = layer.look_around(x, pos, trace, name)
            x = x[picture_of_prompt] if i == 0 else x
            x = layer.read_prompt(x, prompt, bias, text_type, trace, name)
        return x if len(self.layers) else x[picture_of_prompt]


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """The decoder's logit, with its coarse eps (section 10)."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def corners(boxes: Tensor) -> Tensor:
    """cx, cy, w, h -> x0, y0, x1, y1 over the last axis."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


class DecoderLayer(Adapted):
    """A post-norm layer; the norms' numbers are not their order (section 10)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        d = config.d_model
        self.self_attn = PackedAttention(d, config.heads)
        self.ca_text = PackedAttention(d, config.heads)
        self.cross_attn = PackedAttention(d, config.heads)
        self.linear1 = nn.Linear(d, config.ffn)
        self.linear2 = nn.Linear(config.ffn, d)
        self.norm1, self.norm2, self.norm3, self.catext_norm = (nn.LayerNorm(d) for _ in range(4))

    def forward(
        self,
        z: Tensor,
        zpos: Tensor,
        prompt: Tensor,
        prompt_bias: Tensor,
        memory: Tensor,
        keys: Tensor,
        box_bias: Tensor,
        text_type: int,
        trace: Trace = None,
        name: str = "",
    ) -> Tensor:
        """z (presence token, then queries) and zpos `[b, 1 + q, d]` -> z of the next layer."""
        at = z + zpos
        y = self.self_attn(at, at, z)
        record(trace, f"{name}.self_attn", y)
        z = self.norm2(z + y)
        record(trace, f"{name}.norm2", z)
        y = self.ca_text(z + zpos, prompt, prompt, prompt_bias)
        record(trace, f"{name}.ca_text", y)
        z = self.catext_norm(z + y)
        record(trace, f"{name}.catext_norm", z)
        y = self.cross_attn(z + zpos, keys, memory, box_bias)
        record(trace, f"{name}.cross_attn", y)
        z = self.norm1(z + y)
        record(trace, f"{name}.norm1", z)
        r = self.linear2(F.relu(self.linear1(z)))
        return self.norm3(self.route(z, text_type, trace, name) + r)


@dataclass
class Decoded:
    """What the decoder returns, one entry a layer."""

    queries: list[Tensor]
    """`[b, q, d]` after the shared norm."""
    boxes: list[Tensor]
    """`[b, q, 4]` cxcywh in [0, 1], as refined by that layer."""
    presence: list[Tensor]
    """`[b]` logits."""


class Decoder(nn.Module):
    """The decoder (section 10): queries with boxes, a presence token, box-relative position bias."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, q = config.d_model, config.queries
        self.d, self.heads, self.grid = d, config.heads, config.grid
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.dec_layers))
        self.norm = nn.LayerNorm(d)
        self.query_embed = nn.Embedding(q, d)
        self.reference_points = nn.Embedding(q, 4)
        self.presence_token = nn.Embedding(1, d)
        self.presence_token_head = Mlp(d, d, d, 1)
        self.presence_token_out_norm = nn.LayerNorm(d)
        self.bbox_embed = Mlp(d, d, d, 4)
        self.ref_point_head = Mlp(2 * d, d, d)
        self.boxRPB_embed_x = Mlp(2, d, config.heads)
        self.boxRPB_embed_y = Mlp(2, d, config.heads)

    def box_bias(self, boxes: Tensor) -> Tensor:
        """`[b, q, 4]` -> `[b, heads, 1 + q, n]`; the presence token's row is zero."""
        b, q, _ = boxes.shape
        at = torch.arange(self.grid, device=boxes.device, dtype=boxes.dtype) / self.grid
        edges = corners(boxes)
        x = at[:, None] - edges[:, :, None, [0, 2]]
        y = at[:, None] - edges[:, :, None, [1, 3]]
        phi = lambda v: v.sign() * torch.log2(1 + 8 * v.abs()) / math.log2(8)
        x = self.boxRPB_embed_x(phi(x)).permute(0, 3, 1, 2)
        y = self.boxRPB_embed_y(phi(y)).permute(0, 3, 1, 2)
        bias = (y[..., :, None] + x[..., None, :]).flatten(-2)
        return F.pad(bias, (0, 0, 1, 0))

    def forward(
        self,
        memory: Tensor,
        pos: Tensor,
        prompt: Tensor,
        prompt_bias: Tensor,
        text_type: int,
        trace: Trace = None,
    ) -> Decoded:
        """memory `[b, n, d]`, pos `[n, d]`, prompt `[b, p, d]` -> queries, boxes, presence."""
        b = memory.shape[0]
        z = torch.cat([self.presence_token.weight, self.query_embed.weight])[None].expand(b, -1, -1)
        boxes = self.reference_points.weight.sigmoid()[None].expand(b, -1, -1)
        keys = memory + pos
        out = Decoded([], [], [])
        entering = []
        for i, layer in enumerate(self.layers):
            name = f"dec.layer.{i}"
            code = box_code(boxes, self.d // 2)
            query_pos = self.ref_point_head(code)
            bias = self.box_bias(boxes)
            if i == 0:
                record(trace, f"{name}.sine", code)
                record(trace, f"{name}.rpb", bias[:, :, 1:])
            record(trace, f"{name}.query_pos", query_pos)
            zpos = F.pad(query_pos, (0, 0, 1, 0))
            z = layer(z, zpos, prompt, prompt_bias, memory, keys, bias, text_type, trace, name)
            record(trace, f"{name}.out", z[:, 1:])
            record(trace, f"{name}.presence", z[:, :1])
            h = self.norm(z[:, 1:])
            entering.append(boxes)
            boxes = (self.bbox_embed(h) + inverse_sigmoid(boxes)).sigmoid()
            presence = self.presence_token_head(self.presence_token_out_norm(z[:, 0]))
            out.queries.append(h)
            out.boxes.append(boxes)
            out.presence.append(presence[:, 0])
            boxes = boxes.detach()
        if trace is not None:
            record(trace, "dec.hs", torch.stack(out.queries))
            record(trace, "dec.ref_boxes", torch.stack(entering))
            record(trace, "dec.presence_logits", torch.stack(out.presence)[..., None])
        return out


class Transformer(nn.Module):
    """Fusion encoder and decoder, under the name the files use."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = FusionEncoder(config)
        self.decoder = Decoder(config)


# --- heads -----------------------------------------------------------------------------------------


class PromptMlp(Mlp):
    """The residual MLP of the scoring head, with its norm."""

    def __init__(self, d: int, ffn: int) -> None:
        super().__init__(d, ffn, d)
        self.out_norm = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, p, d]` -> the same shape."""
        return self.out_norm(x + super().forward(x))


class DotProductScoring(nn.Module):
    """The score of a query: a dot product with the mean prompt (section 11)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.d_model
        self.prompt_mlp = PromptMlp(d, config.ffn)
        self.prompt_proj = nn.Linear(d, d)
        self.hs_proj = nn.Linear(d, d)

    def pooled(self, prompt: Tensor, padding: Tensor, trace: Trace = None) -> Tensor:
        """prompt `[b, p, d]`, padding `[b, p]` -> `[b, d]`."""
        y = self.prompt_mlp(prompt)
        record(trace, "score.prompt_mlp", y)
        keep = (~padding).to(y.dtype)[..., None]
        y = self.prompt_proj((y * keep).sum(1) / keep.sum(1).clamp(min=1))
        record(trace, "score.prompt_proj", y)
        return y

    def forward(self, queries: Tensor, pooled: Tensor) -> Tensor:
        """queries `[b, q, d]`, pooled `[b, d]` -> logits `[b, q]`."""
        logits = (self.hs_proj(queries) @ pooled[..., None])[..., 0] / math.sqrt(pooled.shape[-1])
        return logits.clamp(-12, 12)


class PixelDecoder(nn.Module):
    """Two doublings towards the finest level (section 12); the third stage is stored, never run."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(nn.Conv2d(d, d, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.GroupNorm(8, d) for _ in range(3))

    def forward(self, u: Tensor, finer: list[Tensor], trace: Trace = None) -> Tensor:
        """u `[b, d, g, g]`, finer levels `[b, d, 2g, 2g]` and `[b, d, 4g, 4g]` -> `[b, d, 4g, 4g]`."""
        for i, level in enumerate(finer):
            u = level + F.interpolate(u, scale_factor=2, mode="nearest")
            u = self.norms[i](self.conv_layers[i](u))
            record(trace, f"seg.pixel_decoder.norm.{i}", u)
            u = F.relu(u)
        return u


class MaskPredictor(nn.Module):
    """From a query to a mask embedding."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.mask_embed = Mlp(d, d, d, d)


class SegmentationHead(nn.Module):
    """Masks of the queries and the semantic map (section 12)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.d_model
        self.cross_attend_prompt = PackedAttention(d, config.heads)
        self.cross_attn_norm = nn.LayerNorm(d)
        self.pixel_decoder = PixelDecoder(d)
        self.instance_seg_head = nn.Conv2d(d, d, 1)
        self.semantic_seg_head = nn.Conv2d(d, 1, 1)
        self.mask_predictor = MaskPredictor(d)
        self.mask_predictor_adapter1 = MaskPredictor(d)
        self.mask_predictor_adapter2 = MaskPredictor(d)

    def predictor(self, text_type: int) -> MaskPredictor:
        """The mask predictor of the text type."""
        if text_type == CONCEPT:
            return self.mask_predictor
        return self.mask_predictor_adapter1 if text_type == SIMPLE else self.mask_predictor_adapter2

    def pixels(
        self, memory: Tensor, f1: Tensor, f0: Tensor, prompt: Tensor, bias: Tensor, trace: Trace = None
    ) -> Tensor:
        """Pixel features `[b, d, 4g, 4g]`."""
        m = self.cross_attend_prompt(self.cross_attn_norm(memory), prompt, prompt, bias)
        record(trace, "seg.cross_attn", m)
        m = memory + m
        grid = math.isqrt(m.shape[1])
        u = m.transpose(1, 2).unflatten(2, (grid, grid))
        u = self.pixel_decoder(u, [f1, f0], trace)
        record(trace, "seg.pixel_embed", u)
        return u

    def masks(self, pixels: Tensor, queries: Tensor, text_type: int) -> Tensor:
        """pixels `[b, d, h, w]`, queries `[b, k, d]` -> mask logits `[b, k, h, w]`."""
        k = self.predictor(text_type).mask_embed(queries)
        # k . (W u + b) = (k W) . u + k . b: the 1x1 convolution moves to the few queries.
        w, bias = self.instance_seg_head.weight.flatten(1), self.instance_seg_head.bias
        out = (k @ w) @ pixels.flatten(2) + (k @ bias)[..., None]
        return out.unflatten(2, pixels.shape[2:])

    def semantic(self, pixels: Tensor) -> Tensor:
        """pixels `[b, d, h, w]` -> `[b, 1, h, w]`."""
        return self.semantic_seg_head(pixels)


# --- the whole -------------------------------------------------------------------------------------


@dataclass
class Grounded:
    """Everything known of a batch of prompts before the masks."""

    text: Tensor
    """`[b, t, d]` text features."""
    prompt: Tensor
    """`[b, p, d]`."""
    padding: Tensor
    """`[b, p]`, true = padding."""
    memory: Tensor
    """`[b, n, d]`."""
    decoded: Decoded
    logits: list[Tensor]
    """`[b, q]`, one a layer."""


class Sam3I(nn.Module):
    """The image model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.geometry_encoder = GeometryEncoder(config)
        self.transformer = Transformer(config)
        self.dot_prod_scoring = DotProductScoring(config)
        self.segmentation_head = SegmentationHead(config)
        pos = position_map(config.grid, config.grid, config.d_model)
        self.register_buffer("pos", pos, persistent=False)

    def image(self, pixels: Tensor, trace: Trace = None, finest: int = 0) -> list[Tensor | None]:
        """Normalised pixels `[pictures, 3, s, s]` -> levels 0, 1, 2 (those before `finest` left out)."""
        return self.backbone.vision_backbone(pixels, trace, finest)

    def encode_text(self, ids: Tensor, text_type: int, trace: Trace = None) -> Tensor:
        """Token ids `[b, t]` -> `[b, t, d]`."""
        return self.backbone.language_backbone(ids, text_type, trace)

    def ground(
        self,
        levels: list[Tensor],
        picture_of_prompt: Tensor,
        text: Tensor,
        text_padding: Tensor,
        text_type: int,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
        trace: Trace = None,
    ) -> Grounded:
        """Fuses text with the pictures and decodes queries.

        Shapes: levels as `image` gives them, picture_of_prompt `[b]`, text `[b, t, d]`,
        text_padding `[b, t]`; boxes `[b, m, 4]` and labels `[b, m]`, or `[m, 4]` and `[m]` with one prompt.
        """
        f2 = levels[2]
        if boxes is None:
            geo = self.geometry_encoder(f2, self.pos, trace=trace)[picture_of_prompt]
        else:
            boxes, labels = (boxes, labels) if boxes.ndim == 3 else (boxes[None], labels[None])
            geo = self.geometry_encoder(f2[picture_of_prompt], self.pos, boxes, labels, trace)
        prompt = torch.cat([text, geo], dim=1)
        padding = F.pad(text_padding, (0, geo.shape[1]))
        record(trace, "prompt", prompt)
        bias = key_bias(padding, prompt.dtype)
        pos = tokens(self.pos[None])[0]
        memory = self.transformer.encoder(tokens(f2), picture_of_prompt, pos, prompt, bias, text_type, trace)
        decoded = self.transformer.decoder(memory, pos, prompt, bias, text_type, trace)
        pooled = self.dot_prod_scoring.pooled(prompt, padding, trace)
        logits = [self.dot_prod_scoring(h, pooled) for h in decoded.queries]
        return Grounded(text, prompt, padding, memory, decoded, logits)

    def pixels(
        self,
        levels: list[Tensor],
        picture_of_prompt: Tensor,
        grounded: Grounded,
        rows: Tensor | None = None,
        trace: Trace = None,
    ) -> Tensor:
        """Pixel features `[rows, d, 4g, 4g]` of the prompts `rows` (all when `None`)."""
        memory, prompt, padding = grounded.memory, grounded.prompt, grounded.padding
        if rows is not None:
            memory, prompt, padding = memory[rows], prompt[rows], padding[rows]
            picture_of_prompt = picture_of_prompt[rows]
        f0, f1 = levels[0][picture_of_prompt], levels[1][picture_of_prompt]
        bias = key_bias(padding, prompt.dtype)
        return self.segmentation_head.pixels(memory, f1, f0, prompt, bias, trace)

    @torch.no_grad()
    def predict(
        self,
        levels: list[Tensor],
        picture_of_prompt: Tensor,
        ids: Tensor,
        text_type: int,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
        trace: Trace = None,
    ) -> dict[str, Tensor]:
        """The whole inference after the image part; keys are the goldens' `out.*`."""
        padding = ids == 0
        text = self.encode_text(ids, text_type, trace)
        g = self.ground(levels, picture_of_prompt, text, padding, text_type, boxes, labels, trace)
        pixels = self.pixels(levels, picture_of_prompt, g, trace=trace)
        head = self.segmentation_head
        queries, presence = g.decoded.queries[-1], g.decoded.presence[-1]
        if trace is not None:
            record(trace, "seg.instance_embed", head.instance_seg_head(pixels))
            for name in ("mask_predictor", "mask_predictor_adapter1", "mask_predictor_adapter2"):
                record(trace, f"seg.mask_embed.{name}", getattr(head, name).mask_embed(queries))
        return {
            "out.pred_logits": g.logits[-1][..., None],
            "out.presence_logit": presence[:, None],
            "out.scores": g.logits[-1].sigmoid() * presence.sigmoid()[:, None],
            "out.pred_boxes": g.decoded.boxes[-1],
            "out.pred_boxes_xyxy": corners(g.decoded.boxes[-1]),
            "out.pred_masks": head.masks(pixels, queries, text_type),
            "out.semantic_seg": head.semantic(pixels),
        }
