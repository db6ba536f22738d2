#!/usr/bin/env node
// Makes the default detection model: TensorFlow.js' CenterNet in, an ONNX file out.
//
//     node tools/convert-centernet.mjs centernet.json models/centernet-512.onnx
//
// The input is the graph model that the npm package @vladmandic/human carries (centernet.json, and
// beside it centernet.bin with the weights): CenterNet on MobileNetV3, trained on COCO's 80 classes
// by github.com/610265158/mobilenetv3_centernet. The output is fed and read like an end-to-end
// Ultralytics export, so the detector needs no decoder of its own for it:
//
//     images   float [1,3,512,512]  RGB, 0..1, letterboxed
//     output0  float [1,100,6]      x1 y1 x2 y2 (input pixels), score, class
//
// Nothing but Node is needed, and the same input gives the same bytes on every machine. How it
// goes: the graph is walked from its output back to the input, each TensorFlow node becoming one or
// a few ONNX nodes (`operators` below is the whole vocabulary; an unknown node is an error, never a
// guess). TensorFlow keeps pictures as NHWC (channels last), ONNX as NCHW. A tensor here is
// therefore
//
//     { name, shape, planar }       the ONNX value's name; its shape as TensorFlow sees it, where
//                                   known; and whether ONNX has it as NCHW instead
//
// so that the whole convolutional part is planar without a single Transpose; `asTensorflow` puts
// one where a node asks for TensorFlow's own order (two do: those that flatten the picture).

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv, exit, pid } from 'node:process'

const INPUT = 'tower_0/images'
const OUTPUT = 'tower_0/detections'
const SIDE = 512

const METADATA = {
    description: 'CenterNet on MobileNetV3, COCO, converted from TensorFlow.js',
    author: '610265158/mobilenetv3_centernet, packaged for npm as @vladmandic/human',
    license: 'MIT (as stated by the npm package @vladmandic/human)',
    architecture: 'CenterNet',
    task: 'detect',
    batch: '1',
    imgsz: `[${SIDE}, ${SIDE}]`,
    stride: '32',
    // CenterNet's scores are lower than YOLO's: this is where its precision on persons is that of
    // YOLOv8 at its usual 0.25 to 0.4.
    confidence: '0.35',
}

const COCO_NAMES = [
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
    'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
    'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange',
    'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant',
    'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
    'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush',
]

function main() {
    if (argv.length !== 4) {
        console.error('usage: convert-centernet.mjs centernet.json OUTPUT.onnx')
        exit(2)
    }
    const [jsonPath, onnxPath] = argv.slice(2)
    try {
        writeWhole(onnxPath, convert(readModel(jsonPath)))
    } catch (error) {
        console.error(`convert-centernet: ${jsonPath}: ${error.message}`)
        exit(1)
    }
}

// A reader never sees half a model.
function writeWhole(path, bytes) {
    mkdirSync(dirname(path), { recursive: true })
    const unfinished = `${path}.${pid}`
    writeFileSync(unfinished, bytes)
    renameSync(unfinished, path)
}

// Reading TensorFlow.js' graph model.

// Returns { nodes: Map name -> node, weights: Map name -> { shape, dtype, bytes } }.
function readModel(jsonPath) {
    const json = JSON.parse(readFileSync(jsonPath, 'utf8'))
    const nodes = new Map(json.modelTopology.node.map(node => [node.name, node]))
    const weights = new Map()
    for (const group of json.weightsManifest) {
        const read = path => readFileSync(join(dirname(jsonPath), path))
        const file = Buffer.concat(group.paths.map(read))
        const end = sliceWeights(group.weights, file, weights)
        if (end !== file.length) {
            throw new Error(`the weights are ${file.length} bytes long, but ${end} are described`)
        }
    }
    return { nodes, weights }
}

// Tensors stand in the file one after the other in the order of the manifest, without alignment.
function sliceWeights(entries, file, weights) {
    let offset = 0
    for (const entry of entries) {
        const dtype = entry.quantization?.dtype ?? entry.dtype
        const size = { float16: 2, float32: 4, int32: 4 }[dtype]
        if (!size) throw new Error(`weight ${entry.name}: unknown type ${dtype}`)
        const length = elements(entry.shape) * size
        const bytes = file.subarray(offset, offset + length)
        weights.set(entry.name, { shape: entry.shape, dtype, bytes })
        offset += length
    }
    return offset
}

const elements = shape => shape.reduce((product, side) => product * side, 1)

// The few small constants that the conversion itself must know: axes, sizes, factors.
function numbersOf(weight) {
    const { bytes, dtype, shape } = weight
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const read = {
        float16: i => halfToNumber(view.getUint16(2 * i, true)),
        float32: i => view.getFloat32(4 * i, true),
        int32: i => view.getInt32(4 * i, true),
    }[dtype]
    return Array.from({ length: elements(shape) }, (_, i) => read(i))
}

function halfToNumber(bits) {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    if (exponent === 31) return fraction ? NaN : sign * Infinity
    if (exponent === 0) return sign * 2 ** -14 * (fraction / 1024)
    return sign * 2 ** (exponent - 15) * (1 + fraction / 1024)
}

// Attributes: integers come as strings (JSON has no 64 bits), strings as base64.
const ints = attribute => (attribute?.list?.i ?? []).map(Number)
const text = base64 => Buffer.from(base64, 'base64').toString()
const flag = (node, name) => Boolean(node.attr[name]?.b)

// The conversion.

// model is what readModel returns. Returns the ONNX file as a Buffer.
function convert(model) {
    const graph = { ...model, done: new Map(), onnxNodes: [], initializers: [], serial: 0 }
    const output = tensorOf(graph, OUTPUT)
    if (output.shape?.join() !== '1,100,6') {
        throw new Error(`${OUTPUT} is not [1,100,6] but [${output.shape}]`)
    }
    graph.onnxNodes.push(onnxNode('Identity', [output.name], ['output0'], {}))
    return onnxModel(graph)
}

// The tensor that a TensorFlow input names ('node' or 'node:1'), converting its node when met
// first. What the output does not depend on is thus never met (the raw key points, for one).
function tensorOf(graph, input) {
    const [name, port = '0'] = input.split(':')
    if (!graph.done.has(name)) graph.done.set(name, convertNode(graph, name))
    return graph.done.get(name)[Number(port)]
}

function convertNode(graph, name) {
    const node = graph.nodes.get(name)
    if (!node) throw new Error(`node ${name} is missing`)
    const operator = operators[node.op]
    if (!operator) throw new Error(`node ${name}: no rule for the operator ${node.op}`)
    const made = operator(graph, node)
    return Array.isArray(made) ? made : [made]
}

const inputs = (graph, node) => node.input.map(input => tensorOf(graph, input))

// The rules, one per TensorFlow operator; those that are more than a line follow below.
const operators = {
    Placeholder: picture,
    Const: (graph, node) => constant(graph, node.name),
    Identity: (graph, node) => tensorOf(graph, node.input[0]),

    Conv2D: (graph, node) => convolution(graph, node, { depthwise: false }),
    _FusedConv2D: (graph, node) => convolution(graph, node, { depthwise: false }),
    DepthwiseConv2dNative: (graph, node) => convolution(graph, node, { depthwise: true }),
    FusedDepthwiseConv2dNative: (graph, node) => convolution(graph, node, { depthwise: true }),
    MaxPool: maxPool,
    Mean: spatialMean,
    ResizeBilinear: resizeBilinear,

    Relu: elementwise('Relu'),
    Relu6: (graph, node) => clip6(graph, tensorOf(graph, node.input[0])),
    Sigmoid: elementwise('Sigmoid'),
    Add: elementwise('Add'),
    AddV2: elementwise('Add'),
    Sub: elementwise('Sub'),
    Mul: multiply,
    Equal: elementwise('Equal'),
    // On integers, and right for the non-negative ones only: ONNX rounds towards zero, TensorFlow
    // down. All of them are indices here.
    FloorDiv: elementwise('Div'),
    FloorMod: elementwise('Mod'),
    Cast: cast,

    ConcatV2: concat,
    Reshape: reshape,
    ExpandDims: expandDims,
    StridedSlice: stridedSlice,
    GatherV2: gather,
    TopKV2: topK,
}

// TensorFlow's graph takes 0..255; an Ultralytics export, whose form we take on, 0..1.
function picture(graph, node) {
    if (node.name !== INPUT) throw new Error(`a second input, ${node.name}`)
    const scale = smallFloats(graph, [], [255])
    return emit(graph, 'Mul', ['images', scale], {}, { shape: [1, SIDE, SIDE, 3], planar: true })
}

function convolution(graph, node, { depthwise }) {
    const x = planarInput(graph, node)
    const weight = graph.weights.get(node.input[1])
    if (weight?.dtype !== 'float16') {
        throw new Error(`node ${node.name}: its kernel is no float16 constant`)
    }
    if (text(node.attr.data_format.s) !== 'NHWC') throw new Error(`node ${node.name}: not NHWC`)
    const [height, width, channels, multiplier] = weight.shape
    const dilations = ints(node.attr.dilations).slice(1, 3)
    if (dilations.join() !== '1,1') throw new Error(`node ${node.name}: dilation is not supported`)

    const { attributes, shape } = window(node, x, [height, width])
    // HWIO to OIHW; a depthwise kernel's H,W,C,M has one group of M filters per channel, which
    // makes it (C*M),1,H,W.
    const order = depthwise ? [2, 3, 0, 1] : [3, 2, 0, 1]
    const filters = depthwise ? channels * multiplier : multiplier
    const kernelShape = [filters, depthwise ? 1 : channels, height, width]
    const operands = [x.name, halfKernel(graph, permuteHalves(weight, order), kernelShape)]

    const fused = (node.attr.fused_ops?.list?.s ?? []).map(text)
    if (fused[0] === 'BiasAdd') operands.push(constant(graph, node.input[2]).name)
    const activation = fused[0] === 'BiasAdd' ? fused[1] : fused[0]
    const y = emit(graph, 'Conv', operands,
        { ...attributes, dilations, group: depthwise ? channels : 1 },
        { shape: [...shape, filters], planar: true })
    switch (activation) {
    case undefined: return y
    case 'Relu': return emit(graph, 'Relu', [y.name], {}, y)
    case 'Relu6': return clip6(graph, y)
    default: throw new Error(`node ${node.name}: no rule for the fused operator ${activation}`)
    }
}

function maxPool(graph, node) {
    const x = planarInput(graph, node)
    const { attributes, shape } = window(node, x, ints(node.attr.ksize).slice(1, 3))
    return emit(graph, 'MaxPool', [x.name], attributes,
        { shape: [...shape, x.shape[3]], planar: true })
}

// Pads and strides of a sliding window, as ONNX attributes, and the [height, width] that comes out.
// With padding SAME, TensorFlow gives the odd row or column to the END: stride 2 over an even side
// with a kernel of 3 is padded 0 before and 1 after.
function window(node, x, kernel) {
    const strides = ints(node.attr.strides).slice(1, 3)
    const before = [0, 0]
    const after = [0, 0]
    const shape = [1]
    const padding = text(node.attr.padding.s)
    for (const axis of [0, 1]) {
        const side = x.shape[1 + axis]
        if (padding === 'SAME') {
            const out = Math.ceil(side / strides[axis])
            const total = Math.max(0, (out - 1) * strides[axis] + kernel[axis] - side)
            before[axis] = Math.floor(total / 2)
            after[axis] = total - before[axis]
            shape.push(out)
        } else if (padding === 'VALID') {
            shape.push(Math.floor((side - kernel[axis]) / strides[axis]) + 1)
        } else {
            throw new Error(`node ${node.name}: padding ${padding}`)
        }
    }
    return { attributes: { kernel_shape: kernel, pads: [...before, ...after], strides }, shape }
}

function spatialMean(graph, node) {
    const x = planarInput(graph, node)
    const axes = numbersOf(graph.weights.get(node.input[1]))
    if (axes.join() !== '1,2' || !flag(node, 'keep_dims')) {
        throw new Error(`node ${node.name}: a mean over [${axes}]`)
    }
    return emit(graph, 'GlobalAveragePool', [x.name], {},
        { shape: [1, 1, 1, x.shape[3]], planar: true })
}

function resizeBilinear(graph, node) {
    const x = planarInput(graph, node)
    const [height, width] = numbersOf(graph.weights.get(node.input[1]))
    const mode = flag(node, 'align_corners') ? 'align_corners'
        : flag(node, 'half_pixel_centers') ? 'half_pixel' : 'asymmetric'
    const sizes = smallInts(graph, [1, x.shape[3], height, width])
    return emit(graph, 'Resize', [x.name, '', '', sizes],
        { mode: 'linear', coordinate_transformation_mode: mode },
        { shape: [1, height, width, x.shape[3]], planar: true })
}

// Nodes that work element by element. Both operands must be in the same order; a scalar is in any.
function elementwise(op) {
    return (graph, node) => {
        let operands = inputs(graph, node)
        const planar = operands.some(tensor => tensor.planar)
        const differs = tensor => tensor.planar !== planar && tensor.shape?.length !== 0
        const mixed = operands.some(differs)
        if (mixed) operands = operands.map(tensor => asTensorflow(graph, tensor))
        const shape = broadcast(operands.map(tensor => tensor.shape))
        return emit(graph, op, operands.map(tensor => tensor.name), {},
            { shape, planar: planar && !mixed })
    }
}

function broadcast(shapes) {
    const rank = Math.max(...shapes.map(shape => shape.length))
    const padded = shapes.map(shape => [...Array(rank - shape.length).fill(1), ...shape])
    return Array.from({ length: rank }, (_, axis) => Math.max(...padded.map(shape => shape[axis])))
}

// MobileNetV3's hard swish, x * relu6(x + 3) / 6, arrives as four nodes, and its squeeze-and-excite
// gate, relu6(x + 3) / 6, as three. As HardSigmoid the whole network runs 10 % faster. It is also
// truer to the training: the weights were rounded to half precision, where 1/6 became 0.16662598.
function multiply(graph, node) {
    const swish = hardSwishArgument(graph, node)
    if (swish) {
        const x = tensorOf(graph, swish)
        return emit(graph, 'Mul', [x.name, hardSigmoid(graph, x).name], {}, x)
    }
    const gate = hardSigmoidArgument(graph, node)
    if (gate) return hardSigmoid(graph, tensorOf(graph, gate))
    return elementwise('Mul')(graph, node)
}

function hardSigmoid(graph, x) {
    return emit(graph, 'HardSigmoid', [x.name], { alpha: 1 / 6, beta: 0.5 }, x)
}

// x of Mul(Mul(1/6, x), Relu6(Add(x, 3))), or nothing.
function hardSwishArgument(graph, node) {
    const [scaled, clipped] = node.input
    const x = scaledArgument(graph, scaled)
    return x && x === clippedArgument(graph, clipped) ? x : undefined
}

// x of Mul(1/6, Relu6(Add(x, 3))), or nothing.
function hardSigmoidArgument(graph, node) {
    const clipped = scaledArgument(graph, node.name)
    return clipped && clippedArgument(graph, clipped)
}

// y of Mul(1/6, y), or nothing.
function scaledArgument(graph, name) {
    const node = graph.nodes.get(name)
    const scales = node?.op === 'Mul' && isScalarNear(graph, node.input[0], 1 / 6)
    return scales ? node.input[1] : undefined
}

// x of Relu6(Add(x, 3)), or nothing.
function clippedArgument(graph, name) {
    const relu = graph.nodes.get(name)
    const add = relu?.op === 'Relu6' ? graph.nodes.get(relu.input[0]) : undefined
    return add?.op === 'Add' && isScalarNear(graph, add.input[1], 3) ? add.input[0] : undefined
}

function isScalarNear(graph, name, value) {
    const weight = graph.weights.get(name)
    return weight?.shape.length === 0 && Math.abs(numbersOf(weight)[0] - value) < 1e-3 * value
}

function clip6(graph, x) {
    const limits = [0, 6].map(limit => smallFloats(graph, [], [limit]))
    return emit(graph, 'Clip', [x.name, ...limits], {}, x)
}

// TensorFlow's int32 are int64 throughout: ONNX wants that for indices and shapes.
function cast(graph, node) {
    const x = tensorOf(graph, node.input[0])
    const to = { DT_FLOAT: ONNX_FLOAT, DT_INT32: ONNX_INT64 }[node.attr.DstT.type]
    if (!to) throw new Error(`node ${node.name}: a cast to ${node.attr.DstT.type}`)
    return emit(graph, 'Cast', [x.name], { to }, x)
}

function concat(graph, node) {
    const parts = node.input.slice(0, -1).map(input => tensorOf(graph, input))
    const rank = parts[0].shape.length
    const axis = (numbersOf(graph.weights.get(node.input.at(-1)))[0] + rank) % rank
    const planar = parts[0].planar
    if (parts.some(part => part.planar !== planar)) {
        throw new Error(`node ${node.name}: parts in mixed order`)
    }
    const shape = [...parts[0].shape]
    shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis], 0)
    return emit(graph, 'Concat', parts.map(part => part.name),
        { axis: planar ? NHWC_AXIS_IN_NCHW[axis] : axis }, { shape, planar })
}

function reshape(graph, node) {
    const x = asTensorflow(graph, tensorOf(graph, node.input[0]))
    const shape = numbersOf(graph.weights.get(node.input[1]))
    const target = smallInts(graph, shape)
    const rest = elements(x.shape) / -elements(shape)
    return emit(graph, 'Reshape', [x.name, target], {},
        { shape: shape.map(side => side === -1 ? rest : side) })
}

function expandDims(graph, node) {
    const x = asTensorflow(graph, tensorOf(graph, node.input[0]))
    const rank = x.shape.length + 1
    const axis = (numbersOf(graph.weights.get(node.input[1]))[0] + rank) % rank
    return emit(graph, 'Unsqueeze', [x.name, smallInts(graph, [axis])], {},
        { shape: [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)] })
}

// begin_mask and end_mask are bit sets of the axes whose begin or end is to be taken as 'all'.
function stridedSlice(graph, node) {
    const x = asTensorflow(graph, tensorOf(graph, node.input[0]))
    const [begin, end, step] = node.input.slice(1).map(input => numbersOf(graph.weights.get(input)))
    for (const mask of ['shrink_axis_mask', 'new_axis_mask', 'ellipsis_mask']) {
        if (Number(node.attr[mask].i) !== 0) throw new Error(`node ${node.name}: ${mask} is set`)
    }
    const masked = (mask, axis) => Number(node.attr[mask].i) & (1 << axis)
    const starts = begin.map((value, axis) => masked('begin_mask', axis) ? 0 : value)
    const ends = end.map((value, axis) => masked('end_mask', axis) ? x.shape[axis] : value)
    if (step.some(value => value !== 1)) throw new Error(`node ${node.name}: steps [${step}]`)
    const axes = starts.map((_, axis) => axis)
    const operands = [starts, ends, axes].map(list => smallInts(graph, list))
    return emit(graph, 'Slice', [x.name, ...operands], {},
        { shape: ends.map((value, axis) => value - starts[axis]) })
}

function gather(graph, node) {
    const [x, indices] = inputs(graph, { input: node.input.slice(0, 2) })
        .map(tensor => asTensorflow(graph, tensor))
    const axis = numbersOf(graph.weights.get(node.input[2]))[0]
    if (axis !== 0 || Number(node.attr.batch_dims.i) !== 0) {
        throw new Error(`node ${node.name}: axis ${axis}`)
    }
    return emit(graph, 'Gather', [x.name, indices.name], { axis },
        { shape: [...indices.shape, ...x.shape.slice(1)] })
}

function topK(graph, node) {
    const x = asTensorflow(graph, tensorOf(graph, node.input[0]))
    const k = numbersOf(graph.weights.get(node.input[1]))[0]
    const shape = [...x.shape.slice(0, -1), k]
    const [values, indices] = [newName(graph), newName(graph)]
    const operands = [x.name, smallInts(graph, [k])]
    graph.onnxNodes.push(onnxNode('TopK', operands, [values, indices], { axis: -1 }))
    return [{ name: values, shape, planar: false }, { name: indices, shape, planar: false }]
}

// Building the ONNX graph.

const NHWC_AXIS_IN_NCHW = [0, 2, 3, 1]

const newName = graph => `t${graph.serial++}`

// Adds a node with one output; `like` says that output's shape and order.
function emit(graph, op, operands, attributes, like) {
    const name = newName(graph)
    graph.onnxNodes.push(onnxNode(op, operands, [name], attributes))
    return { name, shape: like.shape, planar: Boolean(like.planar) }
}

function planarInput(graph, node) {
    const x = tensorOf(graph, node.input[0])
    if (!x.planar) throw new Error(`node ${node.name}: its input is no picture`)
    return x
}

function asTensorflow(graph, tensor) {
    if (!tensor.planar) return tensor
    return emit(graph, 'Transpose', [tensor.name], { perm: [0, 2, 3, 1] }, { shape: tensor.shape })
}

// A constant other than a convolution's kernel: biases, factors, divisors.
function constant(graph, name) {
    const weight = graph.weights.get(name)
    const numbers = numbersOf(weight)
    const floats = weight.dtype !== 'int32'
    if (weight.shape.length > 1) {
        throw new Error(`constant ${name}: has the shape [${weight.shape}]`)
    }
    const add = floats ? smallFloats : addInts
    const made = add(graph, weight.shape, numbers)
    return { name: made, shape: weight.shape, planar: false }
}

const smallInts = (graph, numbers) => addInts(graph, [numbers.length], numbers)

function smallFloats(graph, shape, numbers) {
    return addInitializer(graph, shape, ONNX_FLOAT, Buffer.from(new Float32Array(numbers).buffer))
}

function addInts(graph, shape, numbers) {
    const raw = Buffer.from(new BigInt64Array(numbers.map(BigInt)).buffer)
    return addInitializer(graph, shape, ONNX_INT64, raw)
}

// Kernels stay in half precision, which halves the file; the runtime folds the Cast when it loads
// the model, so that it costs nothing afterwards.
function halfKernel(graph, bytes, shape) {
    const half = addInitializer(graph, shape, ONNX_FLOAT16, bytes)
    return emit(graph, 'Cast', [half], { to: ONNX_FLOAT }, { shape }).name
}

function permuteHalves({ bytes, shape }, order) {
    const strides = shape.map((_, axis) => elements(shape.slice(axis + 1)))
    const [a, b, c, d] = order.map(axis => shape[axis])
    const [sa, sb, sc, sd] = order.map(axis => strides[axis])
    const out = Buffer.alloc(bytes.length)
    let to = 0
    for (let i = 0; i < a; i++) {
        for (let j = 0; j < b; j++) {
            for (let k = 0; k < c; k++) {
                for (let l = 0; l < d; l++) {
                    const from = i * sa + j * sb + k * sc + l * sd
                    out.writeUInt16LE(bytes.readUInt16LE(2 * from), 2 * to++)
                }
            }
        }
    }
    return out
}

// Writing ONNX: a Protocol Buffers message, with the field numbers of onnx.proto.

const ONNX_FLOAT = 1
const ONNX_INT64 = 7
const ONNX_FLOAT16 = 10

// Opset 13 and IR 7 hold all that is used and are read by every runtime since 2020.
function onnxModel(graph) {
    const images = [1, 3, SIDE, SIDE]
    const names = `{${COCO_NAMES.map((name, i) => `${i}: '${name}'`).join(', ')}}`
    return Buffer.concat([
        integer(1, 7), // ir_version
        bytes(2, 'snapshot-processor'), // producer_name
        bytes(7, [ // graph
            ...graph.onnxNodes.map(node => bytes(1, node)),
            bytes(2, 'centernet'),
            ...graph.initializers.map(tensor => bytes(5, tensor)),
            bytes(11, valueInfo('images', images)),
            bytes(12, valueInfo('output0', [1, 100, 6])),
        ]),
        bytes(8, [integer(2, 13)]), // opset_import
        ...Object.entries({ ...METADATA, names })
            .map(([key, value]) => bytes(14, [bytes(1, key), bytes(2, value)])), // metadata_props
    ])
}

function onnxNode(op, operands, results, attributes) {
    return [
        ...operands.map(name => bytes(1, name)),
        ...results.map(name => bytes(2, name)),
        bytes(4, op),
        ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
    ]
}

// Which kind an attribute is follows from the operator; only HardSigmoid has floats.
function attribute(name, value) {
    if (typeof value === 'string') return [bytes(1, name), bytes(4, value), integer(20, 3)]
    if (Array.isArray(value)) {
        return [bytes(1, name), ...value.map(item => integer(8, item)), integer(20, 7)]
    }
    if (Number.isInteger(value)) return [bytes(1, name), integer(3, value), integer(20, 2)]
    return [bytes(1, name), float(2, value), integer(20, 1)]
}

function addInitializer(graph, shape, type, raw) {
    const name = newName(graph)
    const dimensions = shape.map(side => integer(1, side))
    graph.initializers.push([...dimensions, integer(2, type), bytes(8, name), bytes(9, raw)])
    return name
}

function valueInfo(name, shape) {
    const dimensions = shape.map(side => bytes(1, [integer(1, side)]))
    return [bytes(1, name), bytes(2, [bytes(1, [integer(1, ONNX_FLOAT), bytes(2, dimensions)])])]
}

// Negative numbers are written as their 64-bit two's complement, ten bytes long.
function varint(value) {
    let rest = BigInt.asUintN(64, BigInt(value))
    const out = []
    while (rest > 127n) {
        out.push(Number(rest & 127n) | 128)
        rest >>= 7n
    }
    out.push(Number(rest))
    return Buffer.from(out)
}

const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)])

function float(field, value) {
    const number = Buffer.alloc(4)
    number.writeFloatLE(value)
    return Buffer.concat([varint((field << 3) | 5), number])
}

// content is a string, a Buffer, or a list of encoded fields (a message).
function bytes(field, content) {
    const raw = Array.isArray(content) ? Buffer.concat(content) : Buffer.from(content)
    return Buffer.concat([varint((field << 3) | 2), varint(raw.length), raw])
}

main()
