"""What reference implementations call the parameters, one file per family of models.

Each file has `SOURCES`, functions of the model, that of the family's golden source
first. They return a table from the modules of ours to those of the reference, in which
`{s}` stands for a number and `{s:-1}` for that number less 1:

    {"stage{s}_block{b}/Conv_{i}": "layer{s}.{b:-1}.conv{i:+1}"}

An entry may also name a single parameter by its whole path, and then its whole key,
with the shape that it has there if that is another one (-1 for what is left):

    {"stage{s}_block{b}/scale": ("layers.{s:-1}.{b:-1}.gamma", (-1, 1, 1))}

Or, for the kernel of a transposed convolution, a `Name` that says so.
"""
