package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/kernel"
	"sampleonnx/onnxrun/internal/onnx"
)

// reference is float64 data with a shape: what tests compute by definition.
type reference struct {
	shape []int
	data  []float64
}

func refOf(t *Tensor) reference {
	t = plain(t)
	r := reference{t.Shape, make([]float64, t.Elems())}
	if t.DType == onnx.Double {
		copy(r.data, Data[float64](t))
		return r
	}
	for i, v := range Data[float32](t) {
		r.data[i] = float64(v)
	}
	return r
}

func zeros(shape ...int) reference { return reference{shape, make([]float64, elems(shape))} }

// at is the element at the given place, 0 outside.
func (r reference) at(idx ...int) float64 {
	off := 0
	for d, i := range idx {
		if i < 0 || i >= r.shape[d] {
			return 0
		}
		off = off*r.shape[d] + i
	}
	return r.data[off]
}

// everywhere calls f for every place of a shape, in memory order.
func everywhere(shape []int, f func(idx []int)) {
	if elems(shape) == 0 {
		return
	}
	idx := make([]int, len(shape))
	for {
		f(idx)
		d := len(shape) - 1
		for ; d >= 0; d-- {
			if idx[d]++; idx[d] < shape[d] {
				break
			}
			idx[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// double is a float64 copy of a float32 tensor.
func double(t *Tensor) *Tensor {
	out := New(Type{DType: onnx.Double, Shape: t.Shape})
	for i, v := range Data[float32](t) {
		Data[float64](out)[i] = float64(v)
	}
	return out
}

// agree compares a result of either float type with the reference.
func agree(t *testing.T, what any, got *Tensor, want reference, tol float64) {
	t.Helper()
	if !slices.Equal(got.Shape, want.shape) {
		t.Fatalf("%v: shape %v, want %v", what, got.Shape, want.shape)
	}
	if got.DType == onnx.Double {
		for i, g := range Data[float64](got) {
			if d := g - want.data[i]; g != want.data[i] && !(d <= 1e-9*(1+abs(g)) && d >= -1e-9*(1+abs(g))) && g == g {
				t.Fatalf("%v: element %d is %v, want %v", what, i, g, want.data[i])
			}
		}
		return
	}
	near(t, what, Data[float32](plain(got)), want.data, tol)
}

func abs(x float64) float64 { return max(x, -x) }

// convCase is a random convolution: every attribute, one to three axes.
type convCase struct {
	x, w, b                      *Tensor
	group                        int
	strides, dilations, pads     []int
	outputPadding, outputShape   []int
	auto                         string
	transposed, outputPaddingSet bool
}

func randConv(r *rand.Rand, transposed bool) convCase {
	n := 1 + r.IntN(3)
	c := convCase{group: 1, transposed: transposed, auto: "NOTSET"}
	icg, ocg := 1+r.IntN(20), 1+r.IntN([]int{12, 40}[r.IntN(2)])
	switch r.IntN(4) {
	case 0:
		c.group = 1 + r.IntN(4)
	case 1:
		c.group, icg, ocg = 1+r.IntN(36), 1, 1+r.IntN(2)
		if r.IntN(4) == 0 { // groups within a block, as wide as they were
			icg = 2 << r.IntN(2)
			ocg = icg
		}
	case 2:
		if r.IntN(2) == 0 { // groups of whole blocks
			c.group, icg, ocg = 2+r.IntN(2), Block*(1+r.IntN(2)), Block*(1+r.IntN(2))
		}
	}
	least, most := 5, []int{30, 9, 6}[n-1]
	if transposed { // outputs are up to three times as long
		least, most = 4, []int{20, 6, 4}[n-1]
	}
	c.x = randn(r, append([]int{r.IntN(3), c.group * icg}, randShape(r, n, least, most)...)...)
	if r.IntN(4) > 0 {
		c.x = randn(r, append([]int{1 + r.IntN(2), c.group * icg}, randShape(r, n, least, most)...)...)
	}
	kernel := randShape(r, n, 1, 4)
	if r.IntN(5) == 0 {
		kernel = randShape(r, n, 1, 1)
	}
	c.strides, c.dilations = randShape(r, n, 1, 3), randShape(r, n, 1, 2)
	if r.IntN(2) == 0 {
		c.strides = randShape(r, n, 1, 1)
	}
	if transposed {
		c.w = randn(r, append([]int{c.group * icg, ocg}, kernel...)...)
	} else {
		c.w = randn(r, append([]int{c.group * ocg, icg}, kernel...)...)
	}
	if r.IntN(2) == 0 {
		c.b = randn(r, c.group*ocg)
	}
	switch r.IntN(6) {
	case 0:
		c.auto = "SAME_UPPER"
	case 1:
		c.auto = "SAME_LOWER"
	case 2:
		c.auto = "VALID"
	case 3:
		c.pads = make([]int, 2*n)
	default:
		c.pads = randShape(r, 2*n, 0, 3)
	}
	// Windows that fit.
	for i := range n {
		pad := 0
		if c.pads != nil {
			pad = c.pads[i] + c.pads[n+i]
		}
		for (kernel[i]-1)*c.dilations[i]+1 > c.x.Shape[2+i]+pad {
			c.dilations[i]--
		}
	}
	if transposed {
		if r.IntN(2) == 0 {
			c.outputPadding = randShape(r, n, 0, 2)
		}
		if c.pads != nil {
			for i := range n { // an output that is there
				for c.strides[i]*(c.x.Shape[2+i]-1)+(kernel[i]-1)*c.dilations[i]+1-c.pads[i]-c.pads[n+i] < 1 {
					c.pads[i], c.pads[n+i] = 0, 0
				}
			}
		}
		if r.IntN(4) == 0 {
			for i := range n {
				c.outputShape = append(c.outputShape, max(1, c.strides[i]*c.x.Shape[2+i]+r.IntN(3)-1))
			}
		}
	}
	return c
}

func (c convCase) call() testCall {
	attrs := map[string]onnx.Attr{"strides": ints(c.strides...), "dilations": ints(c.dilations...), "group": attrInt(c.group), "auto_pad": attrStr(c.auto)}
	if c.pads != nil {
		attrs["pads"] = ints(c.pads...)
	}
	if c.outputPadding != nil {
		attrs["output_padding"] = ints(c.outputPadding...)
	}
	if c.outputShape != nil {
		attrs["output_shape"] = ints(c.outputShape...)
	}
	in := []*Tensor{c.x, c.w}
	if c.b != nil {
		in = append(in, c.b)
	}
	op := "Conv"
	if c.transposed {
		op = "ConvTranspose"
	}
	return testCall{op: op, attrs: attrs, in: in, runtime: []bool{true}}
}

// want scatters each input element times each weight, for both operators: what
// differs is which side the output is.
func (c convCase) want(out []int) reference {
	n := len(c.x.Shape) - 2
	kernel := c.w.Shape[2:]
	begin := make([]int, n)
	for i := range n {
		extent := (kernel[i]-1)*c.dilations[i] + 1
		total := (out[2+i]-1)*c.strides[i] + extent - c.x.Shape[2+i]
		if c.transposed {
			total = (c.x.Shape[2+i]-1)*c.strides[i] + extent - out[2+i]
			if c.outputPadding != nil {
				total += c.outputPadding[i]
			}
		}
		total = max(total, 0)
		switch {
		case c.auto == "SAME_UPPER":
			begin[i] = total / 2
		case c.auto == "SAME_LOWER", c.outputShape != nil:
			begin[i] = total - total/2
		case c.pads != nil:
			begin[i] = c.pads[i]
		}
	}
	x, w, y := refOf(c.x), refOf(c.w), zeros(out...)
	ocg := out[1] / c.group
	icg := c.x.Shape[1] / c.group
	everywhere(out, func(o []int) {
		sum := 0.0
		if c.b != nil {
			sum = float64(Data[float32](c.b)[o[1]])
		}
		group := o[1] / ocg
		at, wat := make([]int, 2+n), make([]int, 2+n)
		everywhere(kernel, func(k []int) {
			for d := range n {
				p := o[2+d]*c.strides[d] - begin[d] + k[d]*c.dilations[d]
				if c.transposed {
					q := o[2+d] + begin[d] - k[d]*c.dilations[d]
					p = q / c.strides[d]
					if q%c.strides[d] != 0 {
						return
					}
				}
				if p < 0 || p >= c.x.Shape[2+d] {
					return
				}
				at[2+d] = p
			}
			copy(wat[2:], k)
			for i := range icg {
				at[0], at[1] = o[0], group*icg+i
				wat[0], wat[1] = o[1], i
				if c.transposed {
					wat[0], wat[1] = group*icg+i, o[1]%ocg
				}
				sum += x.at(at...) * w.at(wat...)
			}
		})
		off := 0
		for d, i := range o {
			off = off*out[d] + i
		}
		y.data[off] = sum
	})
	return y
}

func TestConv(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	algos := map[string]int{}
	for range 300 {
		c := randConv(r, false)
		tc := c.call()
		out := tc.mustRun(t)[0]
		k, _ := Lower(tc.call())
		algos[k.Algo]++
		want := c.want(out.Shape)
		agree(t, tc, out, want, 1e-4)

		// The same from a blocked input where the layouts say so.
		bc := tc
		bc.in = slices.Clone(tc.in)
		bc.in[0] = blocked(c.x)
		if l := Layouts(bc.call()); l[0] == Blocked {
			agree(t, fmt.Sprint("blocked ", bc), bc.mustRun(t)[0], want, 1e-4)
			k, _ := Lower(bc.call())
			algos["blocked "+k.Algo]++
			switch {
			case k.Algo == "lanewise" && c.group < c.x.Shape[1]:
				algos["grouped lanewise"]++
			case c.group > 1 && c.group < c.x.Shape[1] && c.x.Shape[1]/c.group%Block != 0:
				algos["parts of blocks "+k.Algo]++
			case c.group > 1:
				algos["grouped "+k.Algo]++
			}
			algos[fmt.Sprint(len(c.x.Shape)-2, "-D ", k.Algo)]++
		}
		// With weights known only at run time.
		tc.allVar = true
		agree(t, fmt.Sprint("variable ", tc), tc.mustRun(t)[0], want, 1e-4)
		if k, err := Lower(tc.call()); err == nil {
			algos[k.Algo]++
		}
		// In float64.
		for i, x := range tc.in {
			bc.in[i] = double(x)
		}
		agree(t, fmt.Sprint("double ", tc), bc.mustRun(t)[0], want, 1e-9)
	}
	wanted := []string{"direct", "blocked direct", "direct, few outputs", "blocked direct, few outputs", "gemm", "depthwise", "lanewise", "blocked lanewise", "grouped direct",
		"parts of blocks direct", "1-D direct", "3-D direct", "3-D lanewise"}
	if kernel.Grouped(4) {
		wanted = append(wanted, "grouped lanewise")
	}
	for _, a := range wanted {
		if algos[a] < 5 {
			t.Errorf("%s was tried %d times: %v", a, algos[a], algos)
		}
	}
}

// The output's own shape rules, against numbers worked out by hand.
func TestConvShapes(t *testing.T) {
	x, w := New(Type{DType: onnx.Float, Shape: []int{1, 1, 7}}), New(Type{DType: onnx.Float, Shape: []int{1, 1, 3}})
	for _, c := range []struct {
		op    string
		attrs map[string]onnx.Attr
		want  int
	}{
		{"Conv", nil, 5},
		{"Conv", map[string]onnx.Attr{"pads": ints(1, 2)}, 8},
		{"Conv", map[string]onnx.Attr{"strides": ints(2)}, 3},
		{"Conv", map[string]onnx.Attr{"strides": ints(2), "auto_pad": attrStr("SAME_UPPER")}, 4},
		{"Conv", map[string]onnx.Attr{"dilations": ints(3)}, 1},
		{"ConvTranspose", nil, 9},
		{"ConvTranspose", map[string]onnx.Attr{"strides": ints(2)}, 15},
		{"ConvTranspose", map[string]onnx.Attr{"strides": ints(2), "output_padding": ints(1), "pads": ints(1, 0)}, 15},
		{"ConvTranspose", map[string]onnx.Attr{"strides": ints(2), "auto_pad": attrStr("SAME_LOWER")}, 14},
		{"ConvTranspose", map[string]onnx.Attr{"output_shape": ints(1, 1, 8)}, 8},
	} {
		tc := testCall{op: c.op, attrs: c.attrs, in: []*Tensor{x, w}}
		if out := tc.mustRun(t)[0]; out.Shape[2] != c.want {
			t.Errorf("%v: %d outputs, want %d", tc, out.Shape[2], c.want)
		}
	}
}

func TestConvTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	phases := map[string]int{}
	for range 400 {
		c := randConv(r, true)
		tc := c.call()
		out := tc.mustRun(t)[0]
		want := c.want(out.Shape)
		agree(t, tc, out, want, 1e-4)
		if k, err := Lower(tc.call()); err == nil && k.Algo == "direct, phases" {
			phases["plain"]++
			if c.group > 1 {
				phases["grouped"]++
			}
			phases[fmt.Sprint(len(c.x.Shape)-2, "-D")]++
			if b := tc; Layouts(b.call())[0] == Blocked || r.IntN(2) == 0 {
				b.in = slices.Clone(tc.in)
				b.in[0] = blocked(tc.in[0])
				agree(t, fmt.Sprint("blocked ", tc), b.mustRun(t)[0], want, 1e-4)
				phases["blocked"]++
			}
		}
		tc.allVar = true
		agree(t, tc, tc.mustRun(t)[0], want, 1e-4)
		for i, x := range tc.in {
			tc.in[i] = double(x)
		}
		agree(t, tc, tc.mustRun(t)[0], want, 1e-9)
	}
	for _, p := range []string{"plain", "blocked", "grouped", "1-D", "2-D", "3-D"} {
		if phases[p] < 10 {
			t.Errorf("by phases: %v", phases)
		}
	}
}

// A sample's result is the same bits whatever else is in the batch.
func TestConvBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	for i := range 60 {
		c := randConv(r, i%3 == 0)
		if c.x.Shape[0] < 1 {
			continue
		}
		batchInvariant(t, c.call())
	}
}

// batchInvariant runs a call whose first input and output have the batch as
// their first axis: in a batch of five copies of sample 0 and once alone.
func batchInvariant(t *testing.T, tc testCall) {
	t.Helper()
	one := slices.Clone(tc.in)
	x := tc.in[0]
	typ := x.Type
	typ.Shape = append([]int{1}, x.Shape[1:]...)
	one[0] = View(typ, x.mem[:typ.Bytes()])
	typ.Shape = append([]int{5}, x.Shape[1:]...)
	many := slices.Clone(tc.in)
	many[0] = New(typ)
	for i := range 5 {
		copy(many[0].mem[i*len(one[0].mem):], one[0].mem)
	}
	tc.in = one
	single := tc.mustRun(t)[0]
	tc.in = many
	all := tc.mustRun(t)[0]
	for i := range 5 {
		if !slices.Equal(all.mem[i*len(single.mem):][:len(single.mem)], single.mem) {
			t.Fatalf("%v: sample %d of a batch differs from the sample alone", tc, i)
		}
	}
}

func TestConvErrors(t *testing.T) {
	x := New(Type{DType: onnx.Float, Shape: []int{1, 4, 5, 5}})
	w := New(Type{DType: onnx.Float, Shape: []int{6, 4, 3, 3}})
	bad := func(op string, attrs map[string]onnx.Attr, in ...*Tensor) {
		t.Helper()
		testCall{op: op, attrs: attrs, in: in}.mustFail(t, true)
	}
	bad("Conv", nil, x, New(Type{DType: onnx.Float, Shape: []int{6, 3, 3, 3}}))
	bad("Conv", nil, x, New(Type{DType: onnx.Float, Shape: []int{6, 4, 3}}))
	bad("Conv", nil, x, New(Type{DType: onnx.Double, Shape: []int{6, 4, 3, 3}}))
	bad("Conv", nil, x, w, New(Type{DType: onnx.Float, Shape: []int{5}}))
	bad("Conv", nil, x, New(Type{DType: onnx.Float, Shape: []int{6, 4, 6, 3}}))
	for name, v := range map[string]onnx.Attr{
		"group": attrInt(2), "strides": ints(0, 1), "dilations": ints(1), "pads": ints(1, 1),
		"kernel_shape": ints(3, 2), "auto_pad": attrStr("SOME"),
	} {
		bad("Conv", map[string]onnx.Attr{name: v}, x, w)
	}
	bad("Conv", map[string]onnx.Attr{"pads": ints(-1, 0, 0, 0)}, x, w)
	bad("ConvTranspose", nil, x, w)
	v := New(Type{DType: onnx.Float, Shape: []int{4, 6, 3, 3}})
	bad("ConvTranspose", map[string]onnx.Attr{"pads": ints(4, 4, 4, 4)}, x, v)
	bad("ConvTranspose", map[string]onnx.Attr{"output_padding": ints(1)}, x, v)
	bad("ConvTranspose", map[string]onnx.Attr{"output_shape": ints(1)}, x, v)
}
