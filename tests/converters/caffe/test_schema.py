"""`caffe.proto` and its compiled form."""

import subprocess
import sys

import pytest

from converters.caffe.schema import DESCRIPTORS, message_class, new


def test_the_compiled_form_is_that_of_the_text(tmp_path):
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools to compile caffe.proto")
    out = tmp_path / "caffe.pb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(DESCRIPTORS.parent)]
    subprocess.run([*command, f"--descriptor_set_out={out}", "caffe.proto"], check=True)
    from google.protobuf import descriptor_pb2

    parse = descriptor_pb2.FileDescriptorSet.FromString
    assert parse(out.read_bytes()) == parse(DESCRIPTORS.read_bytes())


def test_messages_do_not_clash_with_an_installed_caffe():
    from google.protobuf import descriptor_pb2, descriptor_pool

    theirs = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    theirs.message_type.add(name="NetParameter").field.add(name="other", number=1, label=1, type=5)
    descriptor_pool.Default().Add(theirs)
    found = descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
    assert "other" in found.fields_by_name
    assert "other" not in message_class("NetParameter").DESCRIPTOR.fields_by_name


@pytest.mark.parametrize(
    ("message", "field", "default"),
    [
        ("ConvolutionParameter", "bias_term", True),
        ("PoolingParameter", "round_mode", 0),
        ("LRNParameter", "local_size", 5),
        ("ConcatParameter", "axis", 1),
        ("PriorBoxParameter", "offset", 0.5),
        ("NormalizeParameter", "across_spatial", True),
        ("FillerParameter", "type", "constant"),
        ("V0LayerParameter", "dropout_ratio", 0.5),
    ],
)
def test_absent_fields_read_as_caffes_defaults(message, field, default):
    assert getattr(new(message), field) == default


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("NetParameter", {"layers": 2, "layer": 100, "input_shape": 8}),
        ("LayerParameter", {"blobs": 7, "convolution_param": 106, "clip_param": 148, "prior_box_param": 203}),
        ("V1LayerParameter", {"layer": 1, "name": 4, "blobs": 6, "param": 1001, "loss_param": 42}),
        ("V0LayerParameter", {"blobs": 50, "kernelsize": 8, "hdf5_output_param": 1001}),
        ("BlobProto", {"num": 1, "data": 5, "shape": 7, "double_data": 8}),
    ],
)
def test_numbers_are_those_of_the_wire(message, numbers):
    fields = message_class(message).DESCRIPTOR.fields_by_name
    assert {name: fields[name].number for name in numbers} == numbers
