"""The converter of the default model, on a graph of our own and, where it was made, on the model.
"""

import ast
import base64
import hashlib
import json
import pathlib
import subprocess

import numpy
import pytest

onnx = pytest.importorskip("onnx")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONVERTER = ROOT / "tools/convert-centernet.mjs"
MODEL = ROOT / "models/centernet-512.onnx"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def ints(*values):
    return {"list": {"i": [str(value) for value in values]}}


class Graph:
    """A TensorFlow.js graph model in the making."""

    def __init__(self):
        self.nodes = []
        self.manifest = []
        self.bytes = b""
        self.node("tower_0/images", "Placeholder")

    def node(self, name, op, *inputs, **attr):
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attr})
        return name

    def half(self, name, array):
        array = numpy.asarray(array, "<f2")
        self.manifest.append({"name": name, "shape": list(array.shape), "dtype": "float32",
                              "quantization": {"dtype": "float16", "original_dtype": "float32"}})
        self.bytes += array.tobytes()
        return self.node(name, "Const")

    def int32(self, name, array):
        array = numpy.asarray(array, "<i4")
        self.manifest.append({"name": name, "shape": list(array.shape), "dtype": "int32"})
        self.bytes += array.tobytes()
        return self.node(name, "Const")

    def convolution(self, name, x, kernel, op="_FusedConv2D", stride=1, padding="SAME", bias=None,
                    fused=()):
        weights = self.half(name + "/weights", kernel)
        inputs = [x, weights] + ([self.half(name + "/bias", bias)] if bias is not None else [])
        return self.node(name, op, *inputs, strides=ints(1, stride, stride, 1),
                         dilations=ints(1, 1, 1, 1), padding={"s": b64(padding)},
                         data_format={"s": b64("NHWC")},
                         fused_ops={"list": {"s": [b64(item) for item in fused]}})

    def detections(self, x):
        """Ends the graph: any tensor of 600 elements becomes the output."""
        shape = self.int32("shape", [1, 100, -1])
        self.node("tower_0/detections", "Identity", self.node("rows", "Reshape", x, shape))

    def convert(self, folder, cut=0):
        (folder / "net.bin").write_bytes(self.bytes[:len(self.bytes) - cut])
        (folder / "net.json").write_text(json.dumps({
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["net.bin"], "weights": self.manifest}]}))
        return subprocess.run(["node", CONVERTER, folder / "net.json", folder / "out" / "net.onnx"],
                              capture_output=True, text=True, check=False)

    def onnx(self, folder):
        run = self.convert(folder)
        assert run.returncode == 0, run.stderr
        model = onnx.load(str(folder / "out" / "net.onnx"))
        onnx.checker.check_model(model, full_check=True)
        return model


def pooled(graph, x):
    """The mean over a picture of 600 channels, as the output."""
    axes = graph.int32("axes", [1, 2])
    graph.detections(graph.node("mean", "Mean", x, axes, keep_dims={"b": True}))


def attributes(node):
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def nodes_of(model, op):
    return [node for node in model.graph.node if node.op_type == op]


def initializer(model, name):
    """An initializer's array; that of a kernel stands behind the Cast that widens it."""
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] == name:
            name = node.input[0]
    return next(numpy_helper.to_array(item) for item in model.graph.initializer
                if item.name == name)


@pytest.fixture(name="graph")
def new_graph():
    return Graph()


def test_a_kernel_is_turned_from_hwio_to_oihw(graph, tmp_path):
    kernel = numpy.arange(3 * 3 * 3 * 600).reshape(3, 3, 3, 600) % 2048
    pooled(graph, graph.convolution("conv", "tower_0/images", kernel))
    model = graph.onnx(tmp_path)
    node, = nodes_of(model, "Conv")
    assert initializer(model, node.input[1]).dtype == numpy.float16
    numpy.testing.assert_array_equal(initializer(model, node.input[1]),
                                     kernel.transpose(3, 2, 0, 1))


def test_a_depthwise_kernel_becomes_one_group_per_channel(graph, tmp_path):
    kernel = numpy.arange(5 * 5 * 3 * 200).reshape(5, 5, 3, 200) % 2048
    pooled(graph, graph.convolution("conv", "tower_0/images", kernel, op="DepthwiseConv2dNative"))
    model = graph.onnx(tmp_path)
    node, = nodes_of(model, "Conv")
    assert attributes(node)["group"] == 3
    numpy.testing.assert_array_equal(initializer(model, node.input[1]),
                                     kernel.transpose(2, 3, 0, 1).reshape(600, 1, 5, 5))


@pytest.mark.parametrize("size,stride,padding,pads", [
    (3, 1, "SAME", [1, 1, 1, 1]),
    (3, 2, "SAME", [0, 0, 1, 1]),  # the odd row goes to the end
    (5, 2, "SAME", [1, 1, 2, 2]),
    (1, 2, "SAME", [0, 0, 0, 0]),
    (3, 2, "VALID", [0, 0, 0, 0]),
])
def test_padding_is_that_of_tensorflow(graph, tmp_path, size, stride, padding, pads):
    kernel = numpy.zeros((size, size, 3, 600))
    pooled(graph, graph.convolution("conv", "tower_0/images", kernel, stride=stride,
                                    padding=padding))
    assert attributes(nodes_of(graph.onnx(tmp_path), "Conv")[0])["pads"] == pads


def test_a_fused_bias_and_activation_are_kept(graph, tmp_path):
    bias = numpy.linspace(-1, 1, 600).astype("f2")
    pooled(graph, graph.convolution("conv", "tower_0/images", numpy.zeros((1, 1, 3, 600)),
                                    bias=bias, fused=("BiasAdd", "Relu")))
    model = graph.onnx(tmp_path)
    node, = nodes_of(model, "Conv")
    numpy.testing.assert_array_equal(initializer(model, node.input[2]), bias.astype("f4"))
    assert nodes_of(model, "Relu")[0].input[0] == node.output[0]


def hard_swish(graph, x, offset=3.0, scale=1 / 6):
    """As the exporter writes it: (1/6 * x) * relu6(x + 3)."""
    shifted = graph.node("add", "Add", x, graph.half("three", offset))
    clipped = graph.node("relu6", "Relu6", shifted)
    scaled = graph.node("mul", "Mul", graph.half("sixth", scale), x)
    return graph.node("swish", "Mul", scaled, clipped)


def test_hard_swish_is_folded(graph, tmp_path):
    x = graph.convolution("conv", "tower_0/images", numpy.zeros((1, 1, 3, 600)))
    pooled(graph, hard_swish(graph, x))
    model = graph.onnx(tmp_path)
    node, = nodes_of(model, "HardSigmoid")
    assert attributes(node) == pytest.approx({"alpha": 1 / 6, "beta": 0.5})
    assert not nodes_of(model, "Clip") and not nodes_of(model, "Add")


def test_what_only_looks_like_hard_swish_is_left_alone(graph, tmp_path):
    x = graph.convolution("conv", "tower_0/images", numpy.zeros((1, 1, 3, 600)))
    pooled(graph, hard_swish(graph, x, offset=2.0))
    model = graph.onnx(tmp_path)
    assert not nodes_of(model, "HardSigmoid") and len(nodes_of(model, "Clip")) == 1


def test_the_input_is_scaled_to_what_the_network_was_trained_with(graph, tmp_path):
    pooled(graph, graph.convolution("conv", "tower_0/images", numpy.zeros((1, 1, 3, 600))))
    model = graph.onnx(tmp_path)
    first = nodes_of(model, "Mul")[0]
    assert first.input[0] == "images" and initializer(model, first.input[1]) == 255


def test_an_unknown_operator_is_refused_by_name(graph, tmp_path):
    graph.detections(graph.node("odd", "Bessel", "tower_0/images"))
    run = graph.convert(tmp_path)
    assert run.returncode == 1
    assert run.stderr.endswith("node odd: no rule for the operator Bessel\n")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_length_are_refused(graph, tmp_path):
    pooled(graph, graph.convolution("conv", "tower_0/images", numpy.zeros((1, 1, 3, 600))))
    run = graph.convert(tmp_path, cut=2)
    assert run.returncode == 1 and "bytes long" in run.stderr


def test_wrong_usage_exits_with_2():
    assert subprocess.run(["node", CONVERTER], capture_output=True, check=False).returncode == 2


@pytest.fixture(name="model", scope="module")
def default_model():
    if not MODEL.exists():
        pytest.skip("no default model: tools/setup model")
    return onnx.load(str(MODEL))


def test_the_default_model_is_the_pinned_one():
    if not MODEL.exists():
        pytest.skip("no default model: tools/setup model")
    lines = (ROOT / "tools/setup.d/pins.sha256").read_text().splitlines()
    pins = dict(reversed(line.split()) for line in lines if not line.startswith("#"))
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() == pins["models/centernet-512.onnx"]


def test_the_default_model_is_well_formed(model):
    onnx.checker.check_model(model, full_check=True)


def test_the_default_model_reads_like_an_end_to_end_export(model):
    def signature(value):
        return value.name, [side.dim_value for side in value.type.tensor_type.shape.dim]
    assert [signature(value) for value in model.graph.input] == [("images", [1, 3, 512, 512])]
    assert [signature(value) for value in model.graph.output] == [("output0", [1, 100, 6])]


def test_the_default_model_describes_itself(model):
    metadata = {item.key: item.value for item in model.metadata_props}
    names = ast.literal_eval(metadata["names"])
    assert len(names) == 80 and names[0] == "person" and names[79] == "toothbrush"
    assert ast.literal_eval(metadata["imgsz"]) == [512, 512]
    assert metadata["task"] == "detect" and float(metadata["confidence"]) == 0.35


def test_the_default_model_stays_small(model):
    """Half precision kernels, and no Transpose but the two that flatten the picture."""
    assert MODEL.stat().st_size < 4_200_000
    assert len(nodes_of(model, "Transpose")) == 2 and not nodes_of(model, "Clip")
