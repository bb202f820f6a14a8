"""What reference implementations call the parameters, one file per family of models.

Each file has `SOURCES`: functions of a model that return its names in one
implementation. The first is the one that `to_torch` writes; `from_torch` takes
whichever fits a file. Names are a table from the modules of ours to theirs, in which
`{s}` stands for a number and `{s:-1}` for that number less 1:

    {"stage{s}_block{b}/Conv_{i}": "layer{s}.{b:-1}.conv{i:+1}"}

A value may be a pair of the name and the shape that the array has there. Where a
parameter's own name is irregular, the table has its whole path, which goes first:

    {"stage{s}_block{b}/LayerScale_0/scale": ("…layer_scale", (-1, 1, 1))}
"""
