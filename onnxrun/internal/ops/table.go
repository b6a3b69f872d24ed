package ops

import (
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// Fused is the domain of the operators that plans make by joining nodes; no
// file may use it.
const Fused = "sampleonnx"

// The opset versions whose operators this project knows.
const (
	minOpset = 7
	maxOpset = 25
)

const many = -1 // no upper bound on the number of inputs or outputs

// row is one operator: what the standard says of it, and the function that
// gives it meaning.
type row struct {
	op      string
	since   int64 // the first opset version understood
	in, out [2]int
	attrs   string // "name:kind …"; kinds f i s t fs is
	lower   func(*Call) (*Kernel, error)
	layouts func(*Call) []Layout // nil: every input Plain
}

func (r *row) required() int { return r.in[0] }

// The table of every operator. A version that changed an operator's meaning is
// told apart by its lower function.
var table = []row{
	// unary.go
	{"Abs", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Ceil", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Celu", 12, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Cos", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Elu", 7, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Erf", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Exp", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Floor", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Gelu", 20, [2]int{1, 1}, [2]int{1, 1}, "approximate:s", lowerUnary, followLayout},
	{"HardSigmoid", 7, [2]int{1, 1}, [2]int{1, 1}, "alpha:f beta:f", lowerUnary, followLayout},
	{"HardSwish", 14, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"LeakyRelu", 7, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Log", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Mish", 18, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Neg", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Reciprocal", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Relu", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Round", 11, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Selu", 7, [2]int{1, 1}, [2]int{1, 1}, "alpha:f gamma:f", lowerUnary, followLayout},
	{"Sigmoid", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sign", 9, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sin", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Softplus", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Softsign", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Sqrt", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Swish", 24, [2]int{1, 1}, [2]int{1, 1}, "alpha:f", lowerUnary, followLayout},
	{"Tanh", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"Clip", 7, [2]int{1, 3}, [2]int{1, 1}, "min:f max:f", lowerClip, followLayout},
	{"Not", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerNot, nil},
	{"Cast", 7, [2]int{1, 1}, [2]int{1, 1}, "to:i saturate:i round_mode:s", lowerCast, castLayouts},
	{"CastLike", 15, [2]int{2, 2}, [2]int{1, 1}, "saturate:i round_mode:s", lowerCastLike, castLayouts},

	// binary.go
	{"Add", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Sub", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Mul", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Div", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Pow", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"PRelu", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerBinary, broadcastLayouts},
	{"Mod", 10, [2]int{2, 2}, [2]int{1, 1}, "fmod:i", lowerBinary, nil},
	{"Min", 8, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Max", 8, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Sum", 8, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Mean", 8, [2]int{1, many}, [2]int{1, 1}, "", lowerVariadic, broadcastLayouts},
	{"Equal", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Greater", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"GreaterOrEqual", 12, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Less", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"LessOrEqual", 12, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"And", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Or", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Xor", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerCompare, nil},
	{"Where", 9, [2]int{3, 3}, [2]int{1, 1}, "", lowerWhere, nil},

	// reduce.go, softmax.go
	{"ReduceMax", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceMean", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceMin", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceProd", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceSum", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceL1", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceL2", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"ReduceSumSquare", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is keepdims:i noop_with_empty_axes:i", lowerReduce, reduceLayouts},
	{"Softmax", 7, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerSoftmax, nil},
	{"LogSoftmax", 7, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerSoftmax, nil},

	// matmul.go, einsum.go, attention.go
	{"MatMul", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerMatMul, nil},
	{"Gemm", 7, [2]int{2, 3}, [2]int{1, 1}, "alpha:f beta:f transA:i transB:i", lowerGemm, nil},
	{"Einsum", 12, [2]int{1, many}, [2]int{1, 1}, "equation:s", lowerEinsum, nil},
	{"Attention", 23, [2]int{3, 7}, [2]int{1, 4}, "is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f softmax_precision:i left_window_size:i right_window_size:i", lowerAttention, nil},
	{"RotaryEmbedding", 23, [2]int{3, 4}, [2]int{1, 1}, "interleaved:i num_heads:i rotary_embedding_dim:i", lowerRotary, nil},

	// conv.go, pool.go, resize.go, pad.go
	{"Conv", 7, [2]int{2, 3}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is pads:is strides:is", lowerConv, convLayouts},
	{"ConvTranspose", 7, [2]int{2, 3}, [2]int{1, 1}, "auto_pad:s dilations:is group:i kernel_shape:is output_padding:is output_shape:is pads:is strides:is", lowerConvTranspose, nil},
	{"AveragePool", 7, [2]int{1, 1}, [2]int{1, 1}, "auto_pad:s ceil_mode:i count_include_pad:i dilations:is kernel_shape:is pads:is strides:is", lowerPool, poolLayouts},
	{"MaxPool", 7, [2]int{1, 1}, [2]int{1, 2}, "auto_pad:s ceil_mode:i dilations:is kernel_shape:is pads:is storage_order:i strides:is", lowerPool, poolLayouts},
	{"GlobalAveragePool", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerGlobalPool, nil},
	{"GlobalMaxPool", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerGlobalPool, nil},
	{"Resize", 10, [2]int{1, 4}, [2]int{1, 1}, "antialias:i axes:is coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f keep_aspect_ratio_policy:s mode:s nearest_mode:s", lowerResize, resizeLayouts},
	{"Upsample", 7, [2]int{1, 2}, [2]int{1, 1}, "mode:s scales:fs", lowerUpsample, resizeLayouts},
	{"Pad", 7, [2]int{1, 4}, [2]int{1, 1}, "mode:s pads:is value:f", lowerPad, nil},

	// norm.go
	{"BatchNormalization", 7, [2]int{5, 5}, [2]int{1, 5}, "epsilon:f momentum:f spatial:i training_mode:i", lowerBatchNorm, normLayouts},
	{"InstanceNormalization", 7, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f", lowerInstanceNorm, normLayouts},
	{"LayerNormalization", 17, [2]int{2, 3}, [2]int{1, 3}, "axis:i epsilon:f stash_type:i", lowerLayerNorm, nil},
	{"GroupNormalization", 18, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f num_groups:i stash_type:i", lowerGroupNorm, normLayouts},
	{"RMSNormalization", 23, [2]int{2, 2}, [2]int{1, 1}, "axis:i epsilon:f stash_type:i", lowerRMSNorm, nil},

	// concat.go, slice.go, gather.go, transpose.go, reshape.go, expand.go
	{"Concat", 7, [2]int{1, many}, [2]int{1, 1}, "axis:i", lowerConcat, concatLayouts},
	{"Split", 7, [2]int{1, 2}, [2]int{1, many}, "axis:i num_outputs:i split:is", lowerSplit, splitLayouts},
	{"Slice", 7, [2]int{1, 5}, [2]int{1, 1}, "axes:is ends:is starts:is", lowerSlice, nil},
	{"Gather", 7, [2]int{2, 2}, [2]int{1, 1}, "axis:i", lowerGather, nil},
	{"GatherND", 11, [2]int{2, 2}, [2]int{1, 1}, "batch_dims:i", lowerGatherND, nil},
	{"GatherElements", 11, [2]int{2, 2}, [2]int{1, 1}, "axis:i", lowerGatherElements, nil},
	{"Transpose", 7, [2]int{1, 1}, [2]int{1, 1}, "perm:is", lowerTranspose, nil},
	{"Reshape", 7, [2]int{2, 2}, [2]int{1, 1}, "allowzero:i", lowerReshape, nil},
	{"Flatten", 7, [2]int{1, 1}, [2]int{1, 1}, "axis:i", lowerFlatten, nil},
	{"Squeeze", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is", lowerSqueeze, nil},
	{"Unsqueeze", 7, [2]int{1, 2}, [2]int{1, 1}, "axes:is", lowerUnsqueeze, nil},
	{"Identity", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerIdentity, followLayout},
	{"Dropout", 7, [2]int{1, 3}, [2]int{1, 2}, "ratio:f seed:i", lowerDropout, followLayout},
	{"Expand", 8, [2]int{2, 2}, [2]int{1, 1}, "", lowerExpand, nil},
	{"Tile", 7, [2]int{2, 2}, [2]int{1, 1}, "", lowerTile, nil},

	// shape.go
	{"Shape", 7, [2]int{1, 1}, [2]int{1, 1}, "end:i start:i", lowerShape, followLayout},
	{"Size", 7, [2]int{1, 1}, [2]int{1, 1}, "", lowerSize, followLayout},
	{"ConstantOfShape", 9, [2]int{1, 1}, [2]int{1, 1}, "value:t", lowerConstantOfShape, nil},
	{"Range", 11, [2]int{3, 3}, [2]int{1, 1}, "", lowerRange, nil},
}

// fusedTable holds the operators of the Fused domain.
var fusedTable = []row{
	{"Reorder", 1, [2]int{1, 1}, [2]int{1, 1}, "layout:i", lowerReorder, followLayout},
	{"SiLU", 1, [2]int{1, 1}, [2]int{1, 1}, "", lowerUnary, followLayout},
	{"GroupNorm", 1, [2]int{3, 3}, [2]int{1, 1}, "epsilon:f groups:i silu:i", lowerFusedGroupNorm, normLayouts},
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

// Known lists the operators of the standard that can run, in table order.
func Known() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].op
	}
	return names
}

var kindNames = map[string]onnx.AttrKind{
	"f": onnx.AttrFloat, "i": onnx.AttrInt, "s": onnx.AttrString, "t": onnx.AttrTensor,
	"fs": onnx.AttrFloats, "is": onnx.AttrInts,
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
	if err := arity(n, "inputs", len(n.Inputs), r.in); err != nil {
		return nil, err
	}
	if err := arity(n, "outputs", len(n.Outputs), r.out); err != nil {
		return nil, err
	}
	for name, a := range n.Attrs {
		kind, ok := r.attr(name)
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
