package ops

import (
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// Fused is the domain of the operators that plans make by joining nodes; no
// file may use it.
const Fused = onnx.Reserved

// The opset versions whose operators this project knows.
const (
	minOpset = 1
	maxOpset = 26
)

const many = -1 // no upper bound on the number of inputs or outputs

// row is one operator: what the standard says of it, and the function that
// gives it meaning.
type row struct {
	op      string
	since   int64 // the first opset version understood
	in, out [2]int
	attrs   string // "name:kind …"; kinds f i s t g fs is ss
	lower   func(*Call) (*Kernel, error)
	layouts func(*Call) []Layout // nil: every input Plain
}

func (r *row) required() int { return r.in[0] }

// The table of every operator. A version that changed an operator's meaning is
// told apart by its lower function.
var table = []row{
	// unary.go
	{"Abs", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Ceil", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Celu", 12, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Cos", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Elu", 1, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Erf", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Exp", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Floor", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Gelu", 20, [2]int{1, 1}, [2]int{1, 1}, "approximate:s", lowerUnary, followLayout},
	{"HardSigmoid", 1, [2]int{1, 1}, [2]int{1, 1}, "alpha:f beta:f", lowerUnary, followLayout},
	{"HardSwish", 14, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"LeakyRelu", 1, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Log", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Mish", 18, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Neg", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Reciprocal", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Relu", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Round", 11, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Selu", 1, [2]int{1, 1}, [2]int{1, 1}, "alpha:f gamma:f", lowerUnary, followLayout},
	{"Sigmoid", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sign", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sin", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Softplus", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Softsign", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sqrt", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Swish", 24, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Tanh", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Acos", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Acosh", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Asin", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Asinh", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Atan", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Atanh", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Cosh", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sinh", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Tan", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Shrink", 9, [2]int{1, 1}, [2]int{1, 1}, "bias:f lambd:f", lowerUnary, followLayout},
	{"ThresholdedRelu", 10, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Clip", 1, [2]int{1, 3}, [2]int{1, 1}, "min:f max:f", lowerClip, followLayout},
	{"Not", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerNot, nil},
	{"Cast", 1, [2]int{1, 1}, [2]int{1, 1}, "to:i saturate:i round_mode:s", lowerCast, castLayouts},
	{"CastLike", 15, [2]int{2, 2}, [2]int{1, 1}, "saturate:i round_mode:s", lowerCastLike, castLayouts},

	// binary.go
	{"Add", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Sub", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Mul", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Div", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Pow", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"PRelu", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Mod", 10, [2]int{2, 2}, [2]int{1, 1}, "fmod:i", lowerBinary, nil},
	{"Min", 1, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Max", 1, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Sum", 1, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Mean", 1, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Equal", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Greater", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"GreaterOrEqual", 12, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Less", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"LessOrEqual", 12, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"And", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Or", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Xor", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Where", 9, [2]int{3, 3}, [2]int{1, 1}, "", lowerWhere, nil},

	// bits.go
	{"BitShift", 11, [2]int{2, 2}, [2]int{1, 1}, "direction:s", lowerBitwise, nil},
	{"BitwiseAnd", 18, [2]int{2, 2}, [2]int{1, 1}, "", lowerBitwise, nil},
	{"BitwiseOr", 18, [2]int{2, 2}, [2]int{1, 1}, "", lowerBitwise, nil},
	{"BitwiseXor", 18, [2]int{2, 2}, [2]int{1, 1}, "", lowerBitwise, nil},
	{"BitwiseNot", 18, [2]int{1, 1}, [2]int{1, 1}, "", lowerBitwiseNot, nil},
	{"BitCast", 26, [2]int{1, 1}, [2]int{1, 1}, "to:i", lowerBitCast, nil},
	{"IsNaN", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerIsNaN, nil},
	{"IsInf", 10, [2]int{1, 1}, [2]int{1, 1}, "detect_negative:i detect_positive:i", lowerIsInf, nil},

	// reduce.go, softmax.go
	{"ReduceMax", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceMean", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceMin", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceProd", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceSum", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceL1", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceL2", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceSumSquare", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceLogSum", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceLogSumExp", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"Softmax", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerSoftmax, nil},
	{"LogSoftmax", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerSoftmax, nil},

	// arg.go, cumulate.go, matrix.go
	{"ArgMax", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i keepdims:i select_last_index:i", lowerArg, nil},
	{"ArgMin", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i keepdims:i select_last_index:i", lowerArg, nil},
	{"Hardmax", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerHardmax, nil},
	{"TopK", 1, [2]int{1, 2}, [2]int{1, 2}, "axis:i k:i largest:i sorted:i", lowerTopK, nil},
	{"CumSum", 11, [2]int{2, 2}, [2]int{1, 1}, "exclusive:i reverse:i", lowerCumulate, nil},
	{"CumProd", 26, [2]int{2, 2}, [2]int{1, 1}, "exclusive:i reverse:i", lowerCumulate, nil},
	{"Trilu", 14, [2]int{1, 2}, [2]int{1, 1}, "upper:i", lowerTrilu, nil},
	{"EyeLike", 9, [2]int{1, 1}, [2]int{1, 1}, "dtype:i k:i", lowerEyeLike, nil},
	{"OneHot", 9, [2]int{3, 3}, [2]int{1, 1}, "axis:i", lowerOneHot, nil},
	{"Det", 11, [2]int{1, 1}, [2]int{1, 1}, "", lowerDet, nil},

	// matmul.go, einsum.go, attention.go
	{"MatMul", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerMatMul, nil},
	{"Gemm", 1, [2]int{2, 3}, [2]int{1, 1}, "alpha:f beta:f transA:i transB:i", lowerGemm, nil},
	{"Einsum", 12, [2]int{1, many}, [2]int{1, 1}, "equation:s", lowerEinsum, nil},
	{"Attention", 23, [2]int{3, 7}, [2]int{1, 4}, "is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f softmax_precision:i left_window_size:i right_window_size:i", lowerAttention, nil},
	{"RotaryEmbedding", 23, [2]int{3, 4}, [2]int{1, 1}, "interleaved:i num_heads:i rotary_embedding_dim:i", lowerRotary, nil},

	// quantize.go
	{"QuantizeLinear", 10, [2]int{2, 3}, [2]int{1, 1}, "axis:i block_size:i output_dtype:i precision:i saturate:i", lowerQuantizeLinear, nil},
	{"DequantizeLinear", 10, [2]int{2, 3}, [2]int{1, 1}, "axis:i block_size:i output_dtype:i", lowerDequantizeLinear, nil},
	{"DynamicQuantizeLinear", 11, [2]int{1, 1}, [2]int{3, 3}, "", lowerDynamicQuantizeLinear, nil},
	{"MatMulInteger", 10, [2]int{2, 4}, [2]int{1, 1}, "", lowerIntegerMatMul, nil},
	{"QLinearMatMul", 10, [2]int{8, 8}, [2]int{1, 1}, "", lowerIntegerMatMul, nil},
	{"ConvInteger", 10, [2]int{2, 4}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerIntegerConv, nil},
	{"QLinearConv", 10, [2]int{8, 9}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerIntegerConv, nil},

	// recurrent.go, fourier.go
	{"RNN", 1, [2]int{3, 6}, [2]int{1, 2}, "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i layout:i output_sequence:i", lowerRecurrent, nil},
	{"GRU", 1, [2]int{3, 6}, [2]int{1, 2}, "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i layout:i linear_before_reset:i output_sequence:i", lowerRecurrent, nil},
	{"LSTM", 1, [2]int{3, 8}, [2]int{1, 3}, "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i input_forget:i layout:i output_sequence:i", lowerRecurrent, nil},
	{"DFT", 17, [2]int{1, 3}, [2]int{1, 1}, "axis:i inverse:i onesided:i", lowerDFT, nil},
	{"STFT", 17, [2]int{2, 4}, [2]int{1, 1}, "onesided:i", lowerSTFT, nil},
	{"HannWindow", 17, [2]int{1, 1}, [2]int{1, 1}, "output_datatype:i periodic:i", lowerWindow, nil},
	{"HammingWindow", 17, [2]int{1, 1}, [2]int{1, 1}, "output_datatype:i periodic:i", lowerWindow, nil},
	{"BlackmanWindow", 17, [2]int{1, 1}, [2]int{1, 1}, "output_datatype:i periodic:i", lowerWindow, nil},
	{"MelWeightMatrix", 17, [2]int{5, 5}, [2]int{1, 1}, "output_datatype:i", lowerMelWeightMatrix, nil},

	// conv.go, pool.go, resize.go, pad.go
	{"Conv", 1, [2]int{2, 3}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerConv, convLayouts},
	{"ConvTranspose", 1, [2]int{2, 3}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is output_padding:is output_shape:is pads:is strides:is", lowerConvTranspose, convTransposeLayouts},
	{"AveragePool", 1, [2]int{1, 1}, [2]int{1, 1}, "auto_pad:s ceil_mode:i count_include_pad:i dilations:is kernel_shape:is pads:is strides:is", lowerPool, poolLayouts},
	{"MaxPool", 1, [2]int{1, 1}, [2]int{1, 2}, "auto_pad:s ceil_mode:i dilations:is kernel_shape:is pads:is storage_order:i strides:is", lowerPool, poolLayouts},
	{"GlobalAveragePool", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerGlobalPool, nil},
	{"GlobalMaxPool", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerGlobalPool, nil},
	{"Resize", 10, [2]int{1, 4}, [2]int{1, 1}, "antialias:i axes:is coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f keep_aspect_ratio_policy:s mode:s nearest_mode:s", lowerResize, resizeLayouts},
	{"Upsample", 1, [2]int{1, 2}, [2]int{1, 1}, "mode:s scales:fs", lowerUpsample, resizeLayouts},
	{"Pad", 1, [2]int{1, 4}, [2]int{1, 1}, "mode:s pads:is value:f", lowerPad, nil},
	{"GridSample", 16, [2]int{2, 2}, [2]int{1, 1}, "align_corners:i mode:s padding_mode:s", lowerGridSample, nil},
	{"AffineGrid", 20, [2]int{2, 2}, [2]int{1, 1}, "align_corners:i", lowerAffineGrid, nil},

	// unpool.go, roi.go
	{"MaxUnpool", 9, [2]int{2, 3}, [2]int{1, 1}, "kernel_shape:is pads:is strides:is", lowerMaxUnpool, nil},
	{"Col2Im", 18, [2]int{3, 3}, [2]int{1, 1}, "dilations:is pads:is strides:is", lowerCol2Im, nil},
	{"RoiAlign", 10, [2]int{3, 3}, [2]int{1, 1}, "coordinate_transformation_mode:s mode:s output_height:i output_width:i sampling_ratio:i spatial_scale:f", lowerRoiAlign, nil},
	{"DeformConv", 19, [2]int{3, 5}, [2]int{1, 1}, "dilations:is group:i kernel_shape:is offset_group:i pads:is strides:is", lowerDeformConv, nil},

	// norm.go
	{"BatchNormalization", 1, [2]int{5, 5}, [2]int{1, 5}, "epsilon:f momentum:f spatial:i training_mode:i", lowerBatchNorm, normLayouts},
	{"InstanceNormalization", 1, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f", lowerInstanceNorm, normLayouts},
	{"LayerNormalization", 17, [2]int{2, 3}, [2]int{1, 3}, "axis:i epsilon:f stash_type:i", lowerLayerNorm, nil},
	{"GroupNormalization", 18, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f num_groups:i stash_type:i", lowerGroupNorm, normLayouts},
	{"RMSNormalization", 23, [2]int{2, 2}, [2]int{1, 1}, "axis:i epsilon:f stash_type:i", lowerRMSNorm, nil},

	// lp.go
	{"LpPool", 1, [2]int{1, 1}, [2]int{1, 1}, "auto_pad:s ceil_mode:i dilations:is kernel_shape:is p:i pads:is strides:is", lowerLpPool, nil},
	{"GlobalLpPool", 1, [2]int{1, 1}, [2]int{1, 1}, "p:i", lowerLpPool, nil},
	{"LpNormalization", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i p:i", lowerLpNormalization, nil},
	{"LRN", 1, [2]int{1, 1}, [2]int{1, 1}, "alpha:f beta:f bias:f size:i", lowerLRN, nil},
	{"MeanVarianceNormalization", 9, [2]int{1, 1}, [2]int{1, 1}, "axes:is", lowerMeanVariance, nil},

	// concat.go, slice.go, gather.go, transpose.go, reshape.go, expand.go
	{"Concat", 1, [2]int{1, many}, [2]int{1, 1}, "axis:i", lowerConcat, concatLayouts},
	{"Split", 1, [2]int{1, 2}, [2]int{1, many}, "axis:i num_outputs:i split:is", lowerSplit, splitLayouts},
	{"Slice", 1, [2]int{1, 5}, [2]int{1, 1}, "axes:is ends:is starts:is", lowerSlice, nil},
	{"Gather", 1, [2]int{2, 2}, [2]int{1, 1}, "axis:i", lowerGather, nil},
	{"GatherND", 11, [2]int{2, 2}, [2]int{1, 1}, "batch_dims:i", lowerGatherND, nil},
	{"GatherElements", 11, [2]int{2, 2}, [2]int{1, 1}, "axis:i", lowerGatherElements, nil},
	{"Transpose", 1, [2]int{1, 1}, [2]int{1, 1}, "perm:is", lowerTranspose, nil},
	{"Reshape", 1, [2]int{2, 2}, [2]int{1, 1}, "allowzero:i", lowerReshape, nil},
	{"Flatten", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerFlatten, nil},
	{"Squeeze", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is", lowerSqueeze, nil},
	{"Unsqueeze", 1, [2]int{1, 2}, [2]int{1, 1}, "axes:is", lowerUnsqueeze, nil},
	{"Identity", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerIdentity, followLayout},
	{"Dropout", 1, [2]int{1, 3}, [2]int{1, 2}, "ratio:f seed:i", lowerDropout, followLayout},
	{"Expand", 8, [2]int{2, 2}, [2]int{1, 1}, "", lowerExpand, nil},
	{"Tile", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerTile, nil},

	// blocks.go, scatter.go
	{"DepthToSpace", 1, [2]int{1, 1}, [2]int{1, 1}, "blocksize:i mode:s", lowerDepthToSpace, nil},
	{"SpaceToDepth", 1, [2]int{1, 1}, [2]int{1, 1}, "blocksize:i", lowerDepthToSpace, nil},
	{"ReverseSequence", 10, [2]int{2, 2}, [2]int{1, 1}, "batch_axis:i time_axis:i", lowerReverseSequence, nil},
	{"CenterCropPad", 18, [2]int{2, 2}, [2]int{1, 1}, "axes:is", lowerCenterCropPad, nil},
	{"Scatter", 9, [2]int{3, 3}, [2]int{1, 1}, "axis:i", lowerScatterElements, nil},
	{"ScatterElements", 11, [2]int{3, 3}, [2]int{1, 1}, "axis:i reduction:s", lowerScatterElements, nil},
	{"ScatterND", 11, [2]int{3, 3}, [2]int{1, 1}, "reduction:s", lowerScatterND, nil},
	{"TensorScatter", 24, [2]int{2, 3}, [2]int{1, 1}, "axis:i mode:s", lowerTensorScatter, nil},

	// shape.go
	{"Shape", 1, [2]int{1, 1}, [2]int{1, 1}, "end:i start:i", lowerShape, followLayout},
	{"Size", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerSize, followLayout},
	{"ConstantOfShape", 9, [2]int{1, 1}, [2]int{1, 1}, "value:t", lowerConstantOfShape, nil},
	{"Range", 11, [2]int{3, 3}, [2]int{1, 1}, "", lowerRange, nil},

	// control.go
	{"If", 1, [2]int{1, 1}, [2]int{1, many}, "else_branch:g then_branch:g", lowerControl, nil},
	{"Loop", 1, [2]int{2, many}, [2]int{1, many}, "body:g", lowerControl, nil},
	{"Scan", 8, [2]int{1, many}, [2]int{1, many}, "body:g directions:is num_scan_inputs:i scan_input_axes:is scan_input_directions:is scan_output_axes:is scan_output_directions:is", lowerControl, nil},
}

// fusedTable holds the operators of the Fused domain.
var fusedTable = []row{
	// gradslope.go, gradnorm.go, gradmove.go, gradpool.go: what derivatives are made of
	{"Slope", 1, [2]int{2, 2}, [2]int{1, 1}, "of:s alpha:f beta:f gamma:f approximate:s bias:f lambd:f", lowerSlope, slopeLayouts},
	{"ProductGrad", 1, [2]int{2, 2}, [2]int{1, 1}, "", lowerProductGrad, nil},
	{"NormGrad", 1, [2]int{2, 2}, [2]int{1, 1}, "axis:i groups:i epsilon:f rms:i", lowerNormGrad, normGradLayouts},
	{"Filter", 1, [2]int{1, 1}, [2]int{1, 1}, "axis:i size:i at:is weight:fs", lowerFilter, filterLayouts},
	{"MaxPoolGrad", 1, [2]int{2, 2}, [2]int{1, 1}, "auto_pad:s ceil_mode:i dilations:is kernel_shape:is pads:is storage_order:i strides:is", lowerMaxPoolGrad, nil},
	{"ScatterAdd", 1, [2]int{2, 2}, [2]int{1, 1}, "shape:is chunks:i", lowerScatterAdd, nil},

	{"Reorder", 1, [2]int{1, 1}, [2]int{1, 1}, "layout:i", lowerReorder, followLayout},
	{"SiLU", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	// x, w, bias?, add?: act((Conv(x, w, bias) + add)·out_scale), act one of none relu silu elu tanh gelu; float32 only.
	{"Conv", 1, [2]int{2, 4}, [2]int{1, 1}, "act:s auto_pad:s dilations:is group:i kernel_shape:is out_scale:f pads:is strides:is", lowerConv, convLayouts},
	// x [N,C,H,W], w [kh,kw] constant: zero insertion by up, pads (top, left, bottom, right; negative crops), Conv with w for every channel, every down'th kept.
	{"FIR", 1, [2]int{2, 2}, [2]int{1, 1}, "down:i pads:is up:i", lowerFIR, firLayouts},
	// q, k, v, mask?: see lowerTiledAttention.
	{"Attention", 1, [2]int{3, 4}, [2]int{1, 1}, "blind:i k:is mask:is q:is scale:f shape:is sizes:is v:is y:is", lowerTiledAttention, tiledAttentionLayouts},
	// a, b: see lowerProductOfViews.
	{"Product", 1, [2]int{2, 2}, [2]int{1, 1}, "a:is b:is c:is shape:is sizes:is", lowerProductOfViews, nil},
	// x, cos, sin: see lowerRotate.
	{"Rotary", 1, [2]int{3, 3}, [2]int{1, 1}, "cos:is interleaved:i shape:is sin:is sizes:is x:is", lowerRotate, nil},
	{"GroupNorm", 1, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f groups:i silu:i", lowerFusedGroupNorm, normLayouts},
	{"AddGroupNorm", 1, [2]int{4, 4}, [2]int{1, 1}, "epsilon:f groups:i silu:i", lowerAddGroupNorm, normLayouts},
	{"InstanceNormPlus", 1, [2]int{4, 4}, [2]int{1, 1}, "epsilon:f epsilon_means:f correction:f act:s", lowerInstanceNormPlus, normLayouts},
	// a, b constant, bias?, the operands of the steps: see lowerLinear.
	{"Linear", 1, [2]int{2, 7}, [2]int{1, 1}, "then:ss transB:i", lowerLinear, nil},
}

var byName, fusedByName map[string]*row

// The lower functions reach the table through Lower, so that it can only be
// indexed once the package is initialised.
func init() {
	index := func(t []row) map[string]*row {
		m := make(map[string]*row, len(t))
		for i := range t {
			m[t[i].op] = &t[i]
		}
		return m
	}
	byName, fusedByName = index(table), index(fusedTable)
}

var kindNames = map[string]onnx.AttrKind{
	"f": onnx.AttrFloat, "i": onnx.AttrInt, "s": onnx.AttrString, "t": onnx.AttrTensor,
	"fs": onnx.AttrFloats, "is": onnx.AttrInts, "g": onnx.AttrGraph, "ss": onnx.AttrStrings,
}

// find is the row of a node, once the node obeys it.
func find(n *onnx.Node) (*row, error) {
	var r *row
	switch n.Domain {
	case "", "ai.onnx":
		r = byName[n.Op]
		if r != nil && (n.Version < minOpset || n.Version > maxOpset) {
			return nil, unsupported(n, "opset %d is not supported, want %d to %d", n.Version, minOpset, maxOpset)
		}
	case Fused:
		r = fusedByName[n.Op]
	}
	if r == nil {
		return nil, unsupported(n, "no such operator here")
	}
	if n.Domain == "" && n.Version < r.since {
		return nil, invalid(n, "the operator exists from opset %d, the model imports %d", r.since, n.Version)
	}
	in := r.in
	if n.Op == "Reshape" && n.Version < 5 {
		in[0] = 1
	}
	if err := arity(n, "inputs", len(n.Inputs), in); err != nil {
		return nil, err
	}
	if err := arity(n, "outputs", len(n.Outputs), r.out); err != nil {
		return nil, err
	}
	for name, a := range n.Attrs {
		kind, ok := legacyAttr(n, name)
		if !ok {
			kind, ok = r.attr(name)
		}
		if !ok {
			return nil, unsupported(n, "attribute %q is not known", name)
		}
		if a.Kind != kind {
			return nil, invalid(n, "attribute %q has kind %d, want %d", name, a.Kind, kind)
		}
	}
	return r, nil
}

func arity(n *onnx.Node, what string, got int, want [2]int) error {
	switch {
	case got < want[0]:
		return invalid(n, "has %d %s, want at least %d", got, what, want[0])
	case want[1] != many && got > want[1]:
		return invalid(n, "has %d %s, want at most %d", got, what, want[1])
	}
	return nil
}

func (r *row) attr(name string) (onnx.AttrKind, bool) {
	for field := range strings.FieldsSeq(r.attrs) {
		if n, kind, _ := strings.Cut(field, ":"); n == name {
			return kindNames[kind], true
		}
	}
	return 0, false
}
