"""Swin Transformers, as torchvision, timm and the authors call their parameters."""


def torchvision(model):
    table = {
        "stem": "features.0.0",
        "stem_norm": "features.0.2",
        "head_norm": "norm",
        "head": "head",
    }
    for stage, depth in enumerate(model.depths, start=1):
        table |= _blocks(stage, depth, f"features.{2 * stage - 1}", ("mlp.0", "mlp.3"))
        table |= _merge(stage, f"features.{2 * stage - 2}")
    return table


def timm(model):
    table = {
        "stem": "patch_embed.proj",
        "stem_norm": "patch_embed.norm",
        "head_norm": "norm",
        "head": "head.fc",
    }
    for stage, depth in enumerate(model.depths, start=1):
        layer = f"layers.{stage - 1}"
        table |= _blocks(stage, depth, f"{layer}.blocks", ("mlp.fc1", "mlp.fc2"))
        table |= _merge(stage, f"{layer}.downsample")
    return table


def authors(model):
    """Theirs merge patches at a stage's end, timm's at the beginning of the next."""
    table = timm(model) | {"head": "head"}
    for stage in range(2, len(model.depths) + 1):
        table |= _merge(stage, f"layers.{stage - 2}.downsample")
    return table


def _blocks(stage, depth, theirs, mlp):
    """Names the two blocks of each pair, whose layers are numbered together."""
    table = {}
    for block in range(depth):
        pair, i = f"stage{stage}_block{block // 2 + 1}", block % 2
        attention, one = f"{pair}/WindowAttention_{i}", f"{theirs}.{block}"
        table |= {
            f"{pair}/LayerNorm_{2 * i}": f"{one}.norm1",
            f"{pair}/LayerNorm_{2 * i + 1}": f"{one}.norm2",
            attention: f"{one}.attn",
            f"{attention}/SelfAttention_0/qkv": f"{one}.attn.qkv",
            f"{attention}/SelfAttention_0/proj": f"{one}.attn.proj",
            f"{pair}/Mlp_{i}/Dense_0": f"{one}.{mlp[0]}",
            f"{pair}/Mlp_{i}/Dense_1": f"{one}.{mlp[1]}",
        }
    return table


def _merge(stage, theirs):
    return {
        f"stage{stage}_merge/LayerNorm_0": f"{theirs}.norm",
        f"stage{stage}_merge/Dense_0": f"{theirs}.reduction",
    }


SOURCES = [torchvision, timm, authors]
