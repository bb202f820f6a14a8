"""What reference implementations call the parameters, one file per family of models.

Each file has `NAMES`, a table from the modules of ours to those of the family's golden
source, in which `{s}` stands for a number and `{s:-1}` for that number less 1:

    {"stage{s}_block{b}/Conv_{i}": "layer{s}.{b:-1}.conv{i:+1}"}
"""
