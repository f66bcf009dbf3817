"""Products with a matrix of weights: InnerProduct, and Embed, which takes rows of it by number."""

from __future__ import annotations

import math

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, refusal


@layer_type("InnerProduct")
def inner_product(g: Builder, layer: Layer, x: Value) -> Value:
    """The axes from `axis` on, flattened in C order, times the weights (out, in), or (in, out) if transposed."""
    param = layer.message.inner_product_param
    axis = axis_of(layer, x, param.axis)
    before, width, count = x.shape[:axis], math.prod(x.sizes_from(axis)), int(param.num_output)
    if count < 1:
        raise refusal(layer, "has no output.", received=f"num_output: {count}", hint="write num_output")
    many = axis > 1  # a product of more than two axes has no transposing form
    shape = (width, count) if param.transpose else (count, width)
    kernel = g.blob(layer, 0, shape, param.weight_filler, transposed=many and not param.transpose)
    bias = g.blob(layer, 1, (count,), param.bias_filler) if param.bias_term else None
    if not many:
        if axis == 0:
            g.batch_is_fixed = True
        flat = g.reshape(x, (1, width)) if axis == 0 else g.Flatten(x, axis=1) if x.rank > 2 else x
        made = g.Gemm(flat, kernel, bias, transB=int(not param.transpose))
        return made if axis else g.reshape(made, (count,))
    made = g.MatMul(g.reshape(x, (*before, width)), kernel)
    return made if bias is None else g.Add(made, bias)


@layer_type("Embed")
def embed(g: Builder, layer: Layer, x: Value) -> Value:
    """Row x of the weights (input_dim, num_output) for each number of x, plus a bias."""
    param = layer.message.embed_param
    rows, count = int(param.input_dim), int(param.num_output)
    if min(rows, count) < 1:
        raise refusal(layer, "needs input_dim and num_output.", received=f"{rows} and {count}")
    table = g.blob(layer, 0, (rows, count), param.weight_filler)
    made = g.Gather(table, g.Cast(x, to=7), axis=0)
    return g.Add(made, g.blob(layer, 1, (count,), param.bias_filler)) if param.bias_term else made
