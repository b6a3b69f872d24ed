package ops

import (
	"maps"
	"math"
	"slices"
	"strconv"
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

// row is one operator: what the standard says of it, and the function that
// gives it meaning.
type row struct {
	op    string
	since int64 // the first opset version understood
	// How many inputs and outputs: "2", "1-3", or "1-*" for any number. What another
	// version has follows with its number: "1 11:1-3"; "-" is for an operator that is
	// no more.
	in, out string
	// "name:kind …", kinds f i s t g fs is ss. Behind a kind ! says that the attribute
	// is required, @9 that version 9 brought it, <11 that version 11 has it no more.
	attrs   string
	lower   func(*Call) (*Kernel, error)
	layouts func(*Call) []Layout // nil: every input Plain
}

// The table of every operator. A version that changed an operator's meaning is
// told apart by its lower function. Numbers and attributes are those of
// testdata/conformance/schemas.tsv, which a test compares.
var table = []row{
	// unary.go
	{"Abs", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Ceil", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Celu", 12, "1", "1", "alpha:f", lowerUnary, followLayout},
	{"Cos", 7, "1", "1", "", lowerUnary, followLayout},
	{"Elu", 1, "1", "1", "alpha:f consumed_inputs:is<6", lowerUnary, followLayout},
	{"Erf", 9, "1", "1", "", lowerUnary, followLayout},
	{"Exp", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Floor", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Gelu", 20, "1", "1", "approximate:s", lowerUnary, followLayout},
	{"HardSigmoid", 1, "1", "1", "alpha:f beta:f consumed_inputs:is<6", lowerUnary, followLayout},
	{"HardSwish", 14, "1", "1", "", lowerUnary, followLayout},
	{"LeakyRelu", 1, "1", "1", "alpha:f consumed_inputs:is<6", lowerUnary, followLayout},
	{"Log", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Mish", 18, "1", "1", "", lowerUnary, followLayout},
	{"Neg", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Reciprocal", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Relu", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Round", 11, "1", "1", "", lowerUnary, followLayout},
	{"Selu", 1, "1", "1", "alpha:f consumed_inputs:is<6 gamma:f", lowerUnary, followLayout},
	{"Sigmoid", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Sign", 9, "1", "1", "", lowerUnary, followLayout},
	{"Sin", 7, "1", "1", "", lowerUnary, followLayout},
	{"Softplus", 1, "1", "1", "", lowerUnary, followLayout},
	{"Softsign", 1, "1", "1", "", lowerUnary, followLayout},
	{"Sqrt", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Swish", 24, "1", "1", "alpha:f", lowerUnary, followLayout},
	{"Tanh", 1, "1", "1", "consumed_inputs:is<6", lowerUnary, followLayout},
	{"Acos", 7, "1", "1", "", lowerUnary, followLayout},
	{"Acosh", 9, "1", "1", "", lowerUnary, followLayout},
	{"Asin", 7, "1", "1", "", lowerUnary, followLayout},
	{"Asinh", 9, "1", "1", "", lowerUnary, followLayout},
	{"Atan", 7, "1", "1", "", lowerUnary, followLayout},
	{"Atanh", 9, "1", "1", "", lowerUnary, followLayout},
	{"Cosh", 9, "1", "1", "", lowerUnary, followLayout},
	{"Sinh", 9, "1", "1", "", lowerUnary, followLayout},
	{"Tan", 7, "1", "1", "", lowerUnary, followLayout},
	{"Shrink", 9, "1", "1", "bias:f lambd:f", lowerUnary, followLayout},
	{"ThresholdedRelu", 10, "1", "1", "alpha:f", lowerUnary, followLayout},
	{"Clip", 1, "1 11:1-3", "1", "consumed_inputs:is<6 max:f<11 min:f<11", lowerClip, followLayout},
	{"Not", 1, "1", "1", "", lowerNot, nil},
	{"Cast", 1, "1", "1", "round_mode:s@24 saturate:i@19 to:s!<6 to:i!@6", lowerCast, castLayouts},
	{"CastLike", 15, "2", "1", "round_mode:s@24 saturate:i@19", lowerCastLike, castLayouts},

	// binary.go
	{"Add", 1, "2", "1", "axis:i<7 broadcast:i<7 consumed_inputs:is<6", lowerBinary, broadcastLayouts},
	{"Sub", 1, "2", "1", "axis:i<7 broadcast:i<7 consumed_inputs:is<6", lowerBinary, broadcastLayouts},
	{"Mul", 1, "2", "1", "axis:i<7 broadcast:i<7 consumed_inputs:is<6", lowerBinary, broadcastLayouts},
	{"Div", 1, "2", "1", "axis:i<7 broadcast:i<7 consumed_inputs:is<6", lowerBinary, broadcastLayouts},
	{"Pow", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerBinary, broadcastLayouts},
	{"PRelu", 1, "2", "1", "consumed_inputs:is<6", lowerBinary, broadcastLayouts},
	{"Mod", 10, "2", "1", "fmod:i", lowerBinary, nil},
	{"Min", 1, "1-*", "1", "consumed_inputs:is<6", lowerVariadic, broadcastLayouts},
	{"Max", 1, "1-*", "1", "consumed_inputs:is<6", lowerVariadic, broadcastLayouts},
	{"Sum", 1, "1-*", "1", "consumed_inputs:is<6", lowerVariadic, broadcastLayouts},
	{"Mean", 1, "1-*", "1", "consumed_inputs:is<6", lowerVariadic, broadcastLayouts},
	{"Equal", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"Greater", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"GreaterOrEqual", 12, "2", "1", "", lowerCompare, nil},
	{"Less", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"LessOrEqual", 12, "2", "1", "", lowerCompare, nil},
	{"And", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"Or", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"Xor", 1, "2", "1", "axis:i<7 broadcast:i<7", lowerCompare, nil},
	{"Where", 9, "3", "1", "", lowerWhere, nil},

	// bits.go
	{"BitShift", 11, "2", "1", "direction:s!", lowerBitwise, nil},
	{"BitwiseAnd", 18, "2", "1", "", lowerBitwise, nil},
	{"BitwiseOr", 18, "2", "1", "", lowerBitwise, nil},
	{"BitwiseXor", 18, "2", "1", "", lowerBitwise, nil},
	{"BitwiseNot", 18, "1", "1", "", lowerBitwiseNot, nil},
	{"BitCast", 26, "1", "1", "to:i!", lowerBitCast, nil},
	{"IsNaN", 9, "1", "1", "", lowerIsNaN, nil},
	{"IsInf", 10, "1", "1", "detect_negative:i detect_positive:i", lowerIsInf, nil},

	// reduce.go, softmax.go
	{"ReduceMax", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceMean", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceMin", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceProd", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceSum", 1, "1 13:1-2", "1", "axes:is<13 keepdims:i noop_with_empty_axes:i@13", lowerReduce, reduceLayouts},
	{"ReduceL1", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceL2", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceSumSquare", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceLogSum", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"ReduceLogSumExp", 1, "1 18:1-2", "1", "axes:is<18 keepdims:i noop_with_empty_axes:i@18", lowerReduce, reduceLayouts},
	{"Softmax", 1, "1", "1", "axis:i", lowerSoftmax, nil},
	{"LogSoftmax", 1, "1", "1", "axis:i", lowerSoftmax, nil},

	// arg.go, cumulate.go, matrix.go
	{"ArgMax", 1, "1", "1", "axis:i keepdims:i select_last_index:i@12", lowerArg, nil},
	{"ArgMin", 1, "1", "1", "axis:i keepdims:i select_last_index:i@12", lowerArg, nil},
	{"Hardmax", 1, "1", "1", "axis:i", lowerHardmax, nil},
	{"TopK", 1, "1 10:2", "2", "axis:i k:i!<10 largest:i@11 sorted:i@11", lowerTopK, nil},
	{"CumSum", 11, "2", "1", "exclusive:i reverse:i", lowerCumulate, nil},
	{"CumProd", 26, "2", "1", "exclusive:i reverse:i", lowerCumulate, nil},
	{"Trilu", 14, "1-2", "1", "upper:i", lowerTrilu, nil},
	{"EyeLike", 9, "1", "1", "dtype:i k:i", lowerEyeLike, nil},
	{"OneHot", 9, "3", "1", "axis:i", lowerOneHot, nil},
	{"Det", 11, "1", "1", "", lowerDet, nil},

	// matmul.go, einsum.go, attention.go
	{"MatMul", 1, "2", "1", "", lowerMatMul, nil},
	{"Gemm", 1, "3 11:2-3", "1", "alpha:f beta:f broadcast:i<7 transA:i transB:i", lowerGemm, nil},
	{"Einsum", 12, "1-*", "1", "equation:s!", lowerEinsum, nil},
	{"Attention", 23, "3-6 24:3-7", "1-4", "is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f softmax_precision:i left_window_size:i right_window_size:i", lowerAttention, nil},
	{"RotaryEmbedding", 23, "3-4", "1", "interleaved:i num_heads:i rotary_embedding_dim:i", lowerRotary, nil},

	// quantize.go
	{"QuantizeLinear", 10, "2-3", "1", "axis:i@13 block_size:i@21 output_dtype:i@21 precision:i@23 saturate:i@19", lowerQuantizeLinear, nil},
	{"DequantizeLinear", 10, "2-3", "1", "axis:i@13 block_size:i@21 output_dtype:i@23", lowerDequantizeLinear, nil},
	{"DynamicQuantizeLinear", 11, "1", "3", "", lowerDynamicQuantizeLinear, nil},
	{"MatMulInteger", 10, "2-4", "1", "", lowerIntegerMatMul, nil},
	{"QLinearMatMul", 10, "8", "1", "", lowerIntegerMatMul, nil},
	{"ConvInteger", 10, "2-4", "1", "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerIntegerConv, nil},
	{"QLinearConv", 10, "8-9", "1", "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerIntegerConv, nil},

	// recurrent.go, fourier.go
	{"RNN", 1, "3-6", "0-2", "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i layout:i@14 output_sequence:i<7", lowerRecurrent, nil},
	{"GRU", 1, "3-6", "2 3:0-2", "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i layout:i@14 linear_before_reset:i@3 output_sequence:i<7", lowerRecurrent, nil},
	{"LSTM", 1, "3-8", "0-3", "activation_alpha:fs activation_beta:fs activations:ss clip:f direction:s hidden_size:i input_forget:i layout:i@14 output_sequence:i<7", lowerRecurrent, nil},
	{"DFT", 17, "1-2 20:1-3", "1", "axis:i<20 inverse:i onesided:i", lowerDFT, nil},
	{"STFT", 17, "2-4", "1", "onesided:i", lowerSTFT, nil},
	{"HannWindow", 17, "1", "1", "output_datatype:i periodic:i", lowerWindow, nil},
	{"HammingWindow", 17, "1", "1", "output_datatype:i periodic:i", lowerWindow, nil},
	{"BlackmanWindow", 17, "1", "1", "output_datatype:i periodic:i", lowerWindow, nil},
	{"MelWeightMatrix", 17, "5", "1", "output_datatype:i", lowerMelWeightMatrix, nil},

	// conv.go, pool.go, resize.go, pad.go
	{"Conv", 1, "2-3", "1", "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerConv, convLayouts},
	{"ConvTranspose", 1, "2-3", "1", "auto_pad:s dilations:is group:i kernel_shape:is output_padding:is output_shape:is pads:is strides:is", lowerConvTranspose, convTransposeLayouts},
	{"AveragePool", 1, "1", "1", "auto_pad:s ceil_mode:i@10 count_include_pad:i@7 dilations:is@19 kernel_shape:is! pads:is strides:is", lowerPool, poolLayouts},
	{"MaxPool", 1, "1", "1 8:1-2", "auto_pad:s ceil_mode:i@10 dilations:is@10 kernel_shape:is! pads:is storage_order:i@8 strides:is", lowerPool, poolLayouts},
	{"GlobalAveragePool", 1, "1", "1", "", lowerGlobalPool, nil},
	{"GlobalMaxPool", 1, "1", "1", "", lowerGlobalPool, nil},
	{"Resize", 10, "2 11:3-4 13:1-4", "1", "antialias:i@18 axes:is@18 coordinate_transformation_mode:s@11 cubic_coeff_a:f@11 exclude_outside:i@11 extrapolation_value:f@11 keep_aspect_ratio_policy:s@18 mode:s nearest_mode:s@11", lowerResize, resizeLayouts},
	{"Upsample", 1, "1 9:2 10:-", "1 10:-", "height_scale:f!<7 mode:s scales:fs!@7<9 width_scale:f!<7", lowerUpsample, resizeLayouts},
	{"Pad", 1, "1 11:2-3 18:2-4", "1", "mode:s paddings:is!<2 pads:is!@2<11 value:f<11", lowerPad, nil},
	{"GridSample", 16, "2", "1", "align_corners:i mode:s padding_mode:s", lowerGridSample, nil},
	{"AffineGrid", 20, "2", "1", "align_corners:i", lowerAffineGrid, nil},

	// unpool.go, roi.go
	{"MaxUnpool", 9, "2-3", "1", "kernel_shape:is! pads:is strides:is", lowerMaxUnpool, nil},
	{"Col2Im", 18, "3", "1", "dilations:is pads:is strides:is", lowerCol2Im, nil},
	{"RoiAlign", 10, "3", "1", "coordinate_transformation_mode:s@16 mode:s output_height:i output_width:i sampling_ratio:i spatial_scale:f", lowerRoiAlign, nil},
	{"DeformConv", 19, "3-5", "1", "dilations:is group:i kernel_shape:is offset_group:i pads:is strides:is", lowerDeformConv, nil},

	// norm.go
	{"BatchNormalization", 1, "5", "1-5 14:1-3", "consumed_inputs:is!<6 epsilon:f is_test:i<7 momentum:f spatial:i<9 training_mode:i@14", lowerBatchNorm, normLayouts},
	{"InstanceNormalization", 1, "3", "1", "consumed_inputs:is<6 epsilon:f", lowerInstanceNorm, normLayouts},
	{"LayerNormalization", 17, "2-3", "1-3", "axis:i epsilon:f stash_type:i", lowerLayerNorm, nil},
	{"GroupNormalization", 18, "3", "1", "epsilon:f num_groups:i! stash_type:i@21", lowerGroupNorm, normLayouts},
	{"RMSNormalization", 23, "2", "1", "axis:i epsilon:f stash_type:i", lowerRMSNorm, nil},

	// lp.go
	{"LpPool", 1, "1", "1", "auto_pad:s ceil_mode:i@18 dilations:is@18 kernel_shape:is<2 kernel_shape:is!@2 p:f<2 p:i@2 pads:is strides:is", lowerLpPool, nil},
	{"GlobalLpPool", 1, "1", "1", "p:f<2 p:i@2", lowerLpPool, nil},
	{"LpNormalization", 1, "1", "1", "axis:i p:i", lowerLpNormalization, nil},
	{"LRN", 1, "1", "1", "alpha:f beta:f bias:f size:i!", lowerLRN, nil},
	{"MeanVarianceNormalization", 9, "1", "1", "axes:is", lowerMeanVariance, nil},

	// concat.go, slice.go, gather.go, transpose.go, reshape.go, expand.go
	{"Concat", 1, "1-*", "1", "axis:i<4 axis:i!@4", lowerConcat, concatLayouts},
	{"Split", 1, "1-2 2:1 13:1-2", "1-*", "axis:i num_outputs:i@18 split:is<13", lowerSplit, splitLayouts},
	{"Slice", 1, "1 10:3-5", "1", "axes:is<10 ends:is!<10 starts:is!<10", lowerSlice, nil},
	{"Gather", 1, "2", "1", "axis:i", lowerGather, nil},
	{"GatherND", 11, "2", "1", "batch_dims:i@12", lowerGatherND, nil},
	{"GatherElements", 11, "2", "1", "axis:i", lowerGatherElements, nil},
	{"Transpose", 1, "1", "1", "perm:is", lowerTranspose, nil},
	{"Reshape", 1, "1 5:2", "1", "allowzero:i@14 consumed_inputs:is<5 shape:is<5", lowerReshape, nil},
	{"Flatten", 1, "1", "1", "axis:i", lowerFlatten, nil},
	{"Squeeze", 1, "1 13:1-2", "1", "axes:is<13", lowerSqueeze, nil},
	{"Unsqueeze", 1, "1 13:2", "1", "axes:is!<13", lowerUnsqueeze, nil},
	{"Identity", 1, "1", "1", "", lowerIdentity, followLayout},
	{"Dropout", 1, "1 12:1-3", "1-2", "consumed_inputs:is<6 is_test:i<7 ratio:f<12 seed:i@12", lowerDropout, followLayout},
	{"Expand", 8, "2", "1", "", lowerExpand, nil},
	{"Tile", 6, "2", "1", "", lowerTile, nil},

	// blocks.go, scatter.go
	{"DepthToSpace", 1, "1", "1", "blocksize:i! mode:s@11", lowerDepthToSpace, nil},
	{"SpaceToDepth", 1, "1", "1", "blocksize:i!", lowerDepthToSpace, nil},
	{"ReverseSequence", 10, "2", "1", "batch_axis:i time_axis:i", lowerReverseSequence, nil},
	{"CenterCropPad", 18, "2", "1", "axes:is", lowerCenterCropPad, nil},
	{"Scatter", 9, "3 11:-", "1 11:-", "axis:i", lowerScatterElements, nil},
	{"ScatterElements", 11, "3", "1", "axis:i reduction:s@16", lowerScatterElements, nil},
	{"ScatterND", 11, "3", "1", "reduction:s@16", lowerScatterND, nil},
	{"TensorScatter", 24, "2-3", "1", "axis:i mode:s", lowerTensorScatter, nil},

	// shape.go
	{"Shape", 1, "1", "1", "end:i@15 start:i@15", lowerShape, followLayout},
	{"Size", 1, "1", "1", "", lowerSize, followLayout},
	{"ConstantOfShape", 9, "1", "1", "value:t", lowerConstantOfShape, nil},
	{"Range", 11, "3", "1", "", lowerRange, nil},

	// control.go
	{"If", 1, "1", "1-*", "else_branch:g! then_branch:g!", lowerControl, nil},
	{"Loop", 1, "3-* 11:2-*", "1-*", "body:g!", lowerControl, nil},
	{"Scan", 8, "2-* 9:1-*", "1-*", "body:g! directions:is<9 num_scan_inputs:i! scan_input_axes:is@9 scan_input_directions:is@9 scan_output_axes:is@9 scan_output_directions:is@9", lowerControl, nil},
}

// fusedTable holds the operators of the Fused domain.
var fusedTable = []row{
	// gradslope.go, gradnorm.go, gradmove.go, gradpool.go: what derivatives are made of
	{"Slope", 1, "2", "1", "of:s alpha:f beta:f gamma:f approximate:s bias:f lambd:f", lowerSlope, slopeLayouts},
	{"ProductGrad", 1, "2", "1", "", lowerProductGrad, nil},
	{"NormGrad", 1, "2", "1", "axis:i groups:i epsilon:f rms:i", lowerNormGrad, normGradLayouts},
	{"Filter", 1, "1", "1", "axis:i size:i at:is weight:fs", lowerFilter, filterLayouts},
	{"MaxPoolGrad", 1, "2", "1", "auto_pad:s ceil_mode:i dilations:is kernel_shape:is pads:is storage_order:i strides:is", lowerMaxPoolGrad, nil},
	{"ScatterAdd", 1, "2", "1", "shape:is chunks:i", lowerScatterAdd, nil},

	{"Reorder", 1, "1", "1", "layout:i", lowerReorder, followLayout},
	{"SiLU", 1, "1", "1", "", lowerUnary, followLayout},
	// x, w, bias?, add?: act((Conv(x, w, bias) + add)·out_scale), act one of none relu silu elu tanh gelu; float32 only.
	{"Conv", 1, "2-4", "1", "act:s auto_pad:s dilations:is group:i kernel_shape:is out_scale:f pads:is strides:is", lowerConv, convLayouts},
	// x [N,C,H,W], w [kh,kw] constant: zero insertion by up, pads (top, left, bottom, right; negative crops), Conv with w for every channel, every down'th kept.
	{"FIR", 1, "2", "1", "down:i pads:is up:i", lowerFIR, firLayouts},
	// q, k, v, mask?: see lowerTiledAttention.
	{"Attention", 1, "3-4", "1", "blind:i k:is mask:is q:is scale:f shape:is sizes:is v:is y:is", lowerTiledAttention, tiledAttentionLayouts},
	// a, b: see lowerProductOfViews.
	{"Product", 1, "2", "1", "a:is b:is c:is shape:is sizes:is", lowerProductOfViews, nil},
	// x, cos, sin: see lowerRotate.
	{"Rotary", 1, "3", "1", "cos:is interleaved:i shape:is sin:is sizes:is x:is", lowerRotate, nil},
	{"GroupNorm", 1, "3", "1", "epsilon:f groups:i silu:i", lowerFusedGroupNorm, normLayouts},
	{"AddGroupNorm", 1, "4", "1", "epsilon:f groups:i silu:i", lowerAddGroupNorm, normLayouts},
	{"InstanceNormPlus", 1, "4", "1", "epsilon:f epsilon_means:f correction:f act:s", lowerInstanceNormPlus, normLayouts},
	// a, b constant, bias?, the operands of the steps: see lowerLinear.
	{"Linear", 1, "2-7", "1", "then:ss transB:i", lowerLinear, nil},
}

// An operator is a row, read.
type operator struct {
	*row
	required int       // the first inputs, which no version lets be left out
	versions []version // ascending
}

// version is what a row says of one version and those after it.
type version struct {
	since   int64
	in, out [2]int // the least and the most
	attrs   map[string]attrRule
	needed  []string // the required attributes
	gone    bool
}

type attrRule struct {
	kind     onnx.AttrKind
	required bool
}

var byName, fusedByName map[string]*operator

// The lower functions reach the table through Lower, so that it can only be
// indexed once the package is initialised.
func init() {
	index := func(t []row) map[string]*operator {
		m := make(map[string]*operator, len(t))
		for i := range t {
			m[t[i].op] = t[i].read()
		}
		return m
	}
	byName, fusedByName = index(table), index(fusedTable)
}

var kindNames = map[string]onnx.AttrKind{
	"f": onnx.AttrFloat, "i": onnx.AttrInt, "s": onnx.AttrString, "t": onnx.AttrTensor,
	"fs": onnx.AttrFloats, "is": onnx.AttrInts, "g": onnx.AttrGraph, "ss": onnx.AttrStrings,
}

// read takes a row's texts apart, version by version.
func (r *row) read() *operator {
	o := &operator{row: r, required: math.MaxInt}
	changes := []int64{r.since}
	in, out := r.ranges(r.in, &changes), r.ranges(r.out, &changes)
	type attr struct {
		name        string
		rule        attrRule
		from, until int64
	}
	var attrs []attr
	for field := range strings.FieldsSeq(r.attrs) {
		a := attr{from: r.since, until: math.MaxInt64}
		field, a.until = r.mark(field, "<", a.until, &changes)
		field, a.from = r.mark(field, "@", a.from, &changes)
		field, a.rule.required = strings.CutSuffix(field, "!")
		name, kind, _ := strings.Cut(field, ":")
		a.name, a.rule.kind = name, kindNames[kind]
		attrs = append(attrs, a)
	}
	slices.Sort(changes)
	for _, since := range slices.Compact(changes) {
		v := version{since: since, in: in(since), out: out(since), attrs: map[string]attrRule{}}
		if v.gone = v.in[0] < 0; !v.gone {
			o.required = min(o.required, v.in[0])
			for _, a := range attrs {
				if a.from <= since && since < a.until {
					v.attrs[a.name] = a.rule
					if a.rule.required {
						v.needed = append(v.needed, a.name)
					}
				}
			}
		}
		o.versions = append(o.versions, v)
	}
	return o
}

// mark cuts a version number behind a mark off a field.
func (r *row) mark(field, mark string, none int64, changes *[]int64) (string, int64) {
	field, number, ok := strings.Cut(field, mark)
	if !ok {
		return field, none
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		panic("ops: the row of " + r.op + ": " + err.Error())
	}
	*changes = append(*changes, v)
	return field, v
}

// ranges reads numbers of inputs or outputs, by version.
func (r *row) ranges(text string, changes *[]int64) func(version int64) [2]int {
	type change struct {
		since int64
		of    [2]int
	}
	var list []change
	for field := range strings.FieldsSeq(text) {
		c := change{since: r.since, of: [2]int{-1, -1}}
		if number, rest, ok := strings.Cut(field, ":"); ok {
			_, c.since = r.mark(":"+number, ":", 0, changes)
			field = rest
		}
		if field != "-" {
			low, high, ok := strings.Cut(field, "-")
			if !ok {
				high = low
			}
			c.of[0], _ = strconv.Atoi(low)
			if c.of[1], _ = strconv.Atoi(high); high == "*" {
				c.of[1] = math.MaxInt
			}
		}
		list = append(list, c)
	}
	return func(version int64) (of [2]int) {
		for _, c := range list {
			if c.since <= version {
				of = c.of
			}
		}
		return of
	}
}

// at is what holds for an opset version; nil for one before the first.
func (o *operator) at(opset int64) (v *version) {
	for i := range o.versions {
		if o.versions[i].since <= opset {
			v = &o.versions[i]
		}
	}
	return v
}

// find is the operator of a node, once the node obeys it.
func find(n *onnx.Node) (*operator, error) {
	var o *operator
	switch n.Domain {
	case "", "ai.onnx":
		o = byName[n.Op]
		if o != nil && (n.Version < minOpset || n.Version > maxOpset) {
			return nil, unsupported(n, "opset %d is not supported, want %d to %d", n.Version, minOpset, maxOpset)
		}
	case Fused:
		o = fusedByName[n.Op]
	}
	if o == nil {
		return nil, unsupported(n, "no such operator here")
	}
	v := o.at(n.Version)
	switch {
	case v == nil:
		return nil, invalid(n, "the operator exists from opset %d, the model imports %d", o.since, n.Version)
	case v.gone:
		return nil, invalid(n, "the operator ended with opset %d, the model imports %d", v.since-1, n.Version)
	}
	if err := arity(n, "inputs", len(n.Inputs), v.in); err != nil {
		return nil, err
	}
	if err := arity(n, "outputs", len(n.Outputs), v.out); err != nil {
		return nil, err
	}
	for i, in := range n.Inputs[:min(o.required, len(n.Inputs))] {
		if in < 0 && !Controls(n) { // which have optional ones in front
			return nil, invalid(n, "input %d is left out, but is required", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		a := n.Attrs[name]
		rule, ok := v.attrs[name]
		switch {
		case !ok && o.has(name):
			return nil, invalid(n, "attribute %q does not exist in opset %d", name, n.Version)
		case !ok:
			return nil, unsupported(n, "attribute %q is not known", name)
		case a.Kind != rule.kind:
			return nil, invalid(n, "attribute %q has kind %v, want %v", name, a.Kind, rule.kind)
		}
	}
	for _, name := range v.needed {
		if _, ok := n.Attrs[name]; !ok {
			return nil, invalid(n, "attribute %q is missing", name)
		}
	}
	return o, nil
}

func arity(n *onnx.Node, what string, got int, want [2]int) error {
	switch {
	case got < want[0]:
		return invalid(n, "has %d %s, want at least %d", got, what, want[0])
	case got > want[1]:
		return invalid(n, "has %d %s, want at most %d", got, what, want[1])
	}
	return nil
}

// has reports whether some version has an attribute.
func (o *operator) has(name string) bool {
	return slices.ContainsFunc(o.versions, func(v version) bool { _, ok := v.attrs[name]; return ok })
}
