package plan

import (
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/ops"
)

// rowwise reports whether row i of every output depends on row i of the inputs
// alone, and the number of rows: those of the first input that has any. Inputs of one
// row, or of none, belong to all. It says no when in doubt, and is asked before
// patterns are joined.
func (g *graph) rowwise() (rows int, ok bool) {
	carries := map[*value]bool{} // row i of the value belongs to row i of the inputs
	for _, v := range g.in {
		switch {
		case v.shared:
		case len(v.Shape) == 0 || v.Shape[0] == 1:
			v.shared = true
		case rows == 0:
			rows = v.Shape[0]
			fallthrough
		default:
			if v.Shape[0] != rows {
				return 0, false
			}
			carries[v] = true
		}
	}
	for _, n := range g.nodes {
		// Nothing that it reads belongs to a row, and it does not give each row the same.
		common := n.src.Op != "Expand" || !rowExpand(rowCase{n, carries})
		for _, v := range n.in {
			common = common && !carries[v]
		}
		if !common && !n.byRow(carries) {
			return 0, false
		}
		for _, v := range n.out {
			switch {
			case v == nil:
			case common || len(v.Shape) > 0 && v.Shape[0] == 1 && n.src.Op == "Expand":
				v.shared = true
			case len(v.Shape) == 0 || v.Shape[0] != rows:
				return 0, false
			default:
				carries[v] = true
			}
		}
	}
	for _, v := range g.out {
		if !carries[v] {
			return 0, false
		}
	}
	return rows, rows > 1
}

// byRow reports whether row i of a node's outputs depends on row i of those of
// its inputs that carry rows; the others are constants, or belong to all rows.
func (n *node) byRow(carries map[*value]bool) bool {
	for _, v := range n.in {
		if v != nil && v.konst == nil && !carries[v] && !v.shared {
			return false
		}
	}
	if n.src.Domain != "" {
		return false
	}
	rule := rowRules[n.src.Op]
	return rule != nil && rule(rowCase{n, carries})
}

// rowCase is the question to a rule.
type rowCase struct {
	*node
	carries map[*value]bool
}

// carried reports whether input i carries rows.
func (r rowCase) carried(i int) bool { return i < len(r.in) && r.carries[r.in[i]] }

// only reports whether input i carries rows and no other does.
func (r rowCase) only(i int) bool {
	for j := range r.in {
		if r.carried(j) != (j == i) {
			return false
		}
	}
	return true
}

// among reports whether axis 0 of an input of that rank is one of the axes; yes when
// they are not known.
func (r rowCase) among(axes []int, rank int) bool {
	return axes == nil || slices.Contains(axes, 0) || slices.Contains(axes, -rank)
}

// ints is an attribute, or the constant input i when there is no such attribute; nil
// when it is not known.
func (r rowCase) ints(name string, i int) []int {
	if hasAttr(r.node, name) {
		return append([]int{}, intsAttr(r.node, name)...)
	}
	if i >= 0 && i < len(r.in) && r.in[i] != nil && r.in[i].konst != nil {
		return r.in[i].konst.Clamped()
	}
	return nil
}

// axis is the attribute "axis" of an operator on an input of that rank.
func (r rowCase) axis(rank, by int) int {
	a := by
	if attr, ok := r.src.Attrs["axis"]; ok {
		a = ops.ClampInt(attr.Int)
	}
	if a < 0 {
		a += rank
	}
	return a
}

// rowRules tell of the operators for which something can be said; the graph checks
// that the outputs have as many rows. No rule: no.
var rowRules = func() map[string]func(rowCase) bool {
	rules := map[string]func(rowCase) bool{}
	for _, r := range []struct {
		operators string
		rule      func(rowCase) bool
	}{
		{"Abs Cast Ceil Celu Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not", rowEach},
		{"Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Swish Tanh ThresholdedRelu", rowEach},
		{"Add Sub Mul Div Pow Min Max Mean Sum Mod Where PRelu And Or Xor Equal Less Greater LessOrEqual GreaterOrEqual", rowEach},
		{"Conv ConvTranspose InstanceNormalization GroupNormalization BatchNormalization LRN Dropout", rowOnly},
		{"AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool DepthToSpace SpaceToDepth", rowOnly},
		{"Reshape Flatten Squeeze Unsqueeze", rowOnly}, // as many rows, in the same order in memory
		{"LayerNormalization RMSNormalization Softmax LogSoftmax Hardmax", rowNorm},
		{"ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare", rowReduce},
		{"Gemm", rowGemm},
		{"MatMul", rowMatMul},
		{"Einsum", rowEinsum},
		{"Attention", rowAttention},
		{"Concat", rowConcat},
		{"Split", rowSplit},
		{"Slice", rowSlice},
		{"Pad", rowPad},
		{"Transpose", rowTranspose},
		{"Expand", rowExpand},
		{"Tile", rowTile},
		{"Gather", rowGather},
		{"GatherND", rowGatherND},
		{"Resize Upsample", rowResize},
	} {
		for op := range strings.FieldsSeq(r.operators) {
			rules[op] = r.rule
		}
	}
	return rules
}()

func rowOnly(r rowCase) bool { return r.only(0) }

// rowEach: the operands of an operation element by element go row with row.
func rowEach(r rowCase) bool {
	rank := len(r.out[0].Shape)
	for _, v := range r.in {
		switch {
		case v == nil:
		case r.carries[v] && len(v.Shape) != rank:
			return false // its rows lie along another axis of the output
		case !r.carries[v] && len(v.Shape) == rank && v.Shape[0] != 1 && !v.uniform():
			return false // a constant with a row for each row
		case r.src.Version < 7 && len(v.Shape) != rank && v.Elems() != 1:
			return false // operands were aligned by an attribute
		}
	}
	return true
}

// uniform reports whether v is a constant of which all elements are the same, as
// networks have them that add to zeros.
func (v *value) uniform() bool {
	if v.konst == nil || !ops.IsFloat32(v.DType) {
		return false
	}
	x := ops.Data[float32](v.konst)
	return len(x) > 0 && all(v, x[0])
}

func rowNorm(r rowCase) bool {
	by := -1
	if r.src.Version < 13 && strings.HasSuffix(strings.ToLower(r.src.Op), "max") {
		by = 1 // and all axes that follow
	}
	return r.only(0) && r.axis(len(r.in[0].Shape), by) > 0
}

func rowGemm(r rowCase) bool {
	if r.src.Attrs["transA"].Int != 0 || !r.carried(0) || r.carried(1) {
		return false
	}
	if len(r.in) < 3 || r.in[2] == nil || r.carried(2) {
		return len(r.in) < 3 || r.in[2] == nil || len(r.in[2].Shape) == 2
	}
	return len(r.in[2].Shape) < 2 || r.in[2].Shape[0] == 1
}

// rowMatMul: rows of A by one B, or a batch of products, one or more for each row.
func rowMatMul(r rowCase) bool {
	a, b, rank := r.in[0], r.in[1], len(r.out[0].Shape)
	if r.carried(0) && !r.carried(1) && len(a.Shape) >= 2 && len(b.Shape) == 2 {
		return true
	}
	return rank >= 3 && (len(a.Shape) >= 3 || !r.carried(0)) && (len(b.Shape) >= 3 || !r.carried(1)) && rowEach(r)
}

// rowEinsum: the rows are the first axis of whatever carries them and of the output,
// and no other axis is named like them.
func rowEinsum(r rowCase) bool {
	in, out, ok := strings.Cut(strings.ReplaceAll(r.src.Attrs["equation"].String, " ", ""), "->")
	terms := strings.Split(in, ",")
	if !ok || len(terms) != len(r.in) || out == "" || strings.Contains(r.src.Attrs["equation"].String, ".") {
		return false
	}
	label := out[:1]
	if strings.Count(out, label) != 1 {
		return false
	}
	for i, t := range terms {
		if n := strings.Count(t, label); r.carried(i) && (n != 1 || t[:1] != label) || !r.carried(i) && n > 0 {
			return false
		}
	}
	return true
}

// rowAttention: queries, keys and values of a row; what is the same for all rows has no
// axis for them, or one of length 1.
func rowAttention(r rowCase) bool {
	for i, v := range r.in {
		if v != nil && !r.carried(i) && (i < 3 || len(v.Shape) > 3 && v.Shape[0] != 1 || i > 3) {
			return false
		}
	}
	return true
}

func rowConcat(r rowCase) bool {
	for i := range r.in {
		if !r.carried(i) {
			return false
		}
	}
	return hasAttr(r.node, "axis") && r.axis(len(r.in[0].Shape), 0) > 0
}

func rowSplit(r rowCase) bool {
	return r.only(0) && r.axis(len(r.in[0].Shape), 0) > 0
}

func rowSlice(r rowCase) bool {
	return r.only(0) && !r.among(r.ints("axes", 3), len(r.in[0].Shape))
}

func rowPad(r rowCase) bool {
	rank := len(r.in[0].Shape)
	pads := r.ints("pads", 1)
	if hasAttr(r.node, "paddings") {
		return false
	}
	if len(r.in) > 3 && r.in[3] != nil {
		return r.only(0) && !r.among(r.ints("axes", 3), rank)
	}
	return r.only(0) && len(pads) == 2*rank && pads[0] == 0 && pads[rank] == 0
}

func rowTranspose(r rowCase) bool {
	perm := r.ints("perm", -1)
	return len(perm) > 0 && perm[0] == 0
}

func rowExpand(r rowCase) bool {
	v := r.in[0]
	return len(v.Shape) > 0 && !r.carried(1) && len(v.Shape) == len(r.out[0].Shape) && (r.carried(0) || v.Shape[0] == 1)
}

func rowTile(r rowCase) bool {
	repeats := r.ints("", 1)
	return r.only(0) && len(repeats) > 0 && repeats[0] == 1
}

// rowGather: rows of a table, or places along another axis.
func rowGather(r rowCase) bool {
	axis := r.axis(len(r.in[0].Shape), 0)
	return r.only(1) && axis == 0 || r.only(0) && axis > 0
}

func rowGatherND(r rowCase) bool {
	return r.only(1) && len(r.in[1].Shape) > 1 && r.src.Attrs["batch_dims"].Int == 0
}

func rowResize(r rowCase) bool {
	in, out := r.in[0].Shape, r.out[0].Shape
	if !r.only(0) || in[0] != out[0] || r.src.Attrs["coordinate_transformation_mode"].String == "tf_crop_and_resize" {
		return false
	}
	if axes := r.ints("axes", -1); axes != nil {
		return !r.among(axes, len(in))
	}
	scales := 2
	if r.src.Op == "Upsample" || r.src.Version < 11 {
		scales = 1
	}
	switch {
	case hasAttr(r.node, "scales"): // Upsample-7
		list := r.src.Attrs["scales"].Floats
		return len(list) > 0 && list[0] == 1
	case scales < len(r.in) && r.in[scales] != nil && r.in[scales].Elems() > 0:
		k := r.in[scales].konst
		return k != nil && ops.IsFloat32(k.DType) && ops.Data[float32](k)[0] == 1
	}
	return true // by sizes
}

func rowReduce(r rowCase) bool {
	rank := len(r.in[0].Shape)
	axes := r.ints("axes", 1)
	return r.only(0) && len(axes) > 0 && !r.among(axes, rank)
}
