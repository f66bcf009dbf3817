"""Keras models as files that others read: Python source with safetensors, LiteRT, ONNX.

In comes a functional `keras.Model` of stock layers; out goes a file that is whole or not there. No text that comes
from a model's file is ever run or written as code: names are quoted, identifiers are made.
"""
