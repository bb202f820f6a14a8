"""DeiT, as timm calls its parameters; the names are the authors', too."""

BLOCK = "blocks.{b:-1}"
NAMES = {
    "stem": "patch_embed.proj",
    "class_token": "cls_token",
    "position_embedding": "pos_embed",
    "stage1_block{b}/LayerNorm_{i}": BLOCK + ".norm{i:+1}",
    "stage1_block{b}/SelfAttention_0/qkv": BLOCK + ".attn.qkv",
    "stage1_block{b}/SelfAttention_0/proj": BLOCK + ".attn.proj",
    "stage1_block{b}/Mlp_0/Dense_{i}": BLOCK + ".mlp.fc{i:+1}",
    "head_norm": "norm",
    "head": "head",
}
SOURCES = [lambda model: NAMES]
