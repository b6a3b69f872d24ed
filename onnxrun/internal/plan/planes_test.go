package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// Convolutions over three axes become convolutions over two, and keep their value
// and their derivative.
func TestSolidsBecomePlanes(t *testing.T) {
	for _, c := range []struct {
		written
		want string
	}{
		{written{"planes", []int{3, 8, 4, 6, 7}, nil, "y = Conv(x ~12,8,1,3,3 ~12) pads=@0,1,1,0,1,1"}, "Transpose Conv Transpose"},
		{written{"planes, few channels in and out", []int{3, 3, 4, 6, 7}, nil, "y = Conv(x ~2,3,1,3,3) pads=@0,1,1,0,1,1"}, "Transpose Conv Transpose"},
		{written{"planes, every second", []int{3, 8, 5, 6, 7}, nil, "y = Conv(x ~12,8,1,4,4 ~12) pads=@0,1,1,0,1,1 strides=@2,2,2"}, "Transpose Slice Conv Transpose"},
		{written{"planes, further ones around", []int{3, 8, 4, 6, 7}, nil, "y = Conv(x ~12,8,1,3,3 ~12) pads=@1,0,0,2,0,0"}, "Transpose Pad Conv Transpose"},
		{written{"along the first axis", []int{3, 8, 6, 4, 5}, nil, "y = Conv(x ~12,8,3,1,1 ~12) pads=@1,0,0,1,0,0"}, "Conv"},
		{written{"along the first axis, dilated", []int{3, 8, 9, 4, 5}, nil, "y = Conv(x ~12,8,3,1,1) pads=@2,0,0,1,0,0 dilations=@2,1,1 strides=@2,1,1"}, "Conv"},
		{written{"along the last axis", []int{3, 8, 3, 4, 9}, nil, "y = Conv(x ~12,8,1,1,5 ~12) pads=@0,0,2,0,0,1"}, "Conv"},
		{written{"along the second axis", []int{3, 8, 3, 9, 4}, nil, "y = Conv(x ~12,8,1,3,1 ~12)"}, "Transpose Conv Transpose"},
		{written{"cubes", []int{3, 8, 4, 6, 7}, nil, "y = Conv(x ~12,8,3,3,3 ~12) pads=@1,1,1,1,1,1"},
			"Transpose Pad Slice Slice Slice Concat Conv Transpose"},
		{written{"cubes, strided, dilated, lopsided", []int{3, 8, 9, 8, 7}, nil,
			"y = Conv(x ~12,8,2,3,2) pads=@2,0,1,1,2,0 strides=@2,1,3 dilations=@3,2,1 kernel_shape=@2,3,2"}, "Transpose Pad Slice Slice Concat Conv Transpose"},
		{written{"a residual and an activation", []int{3, 8, 4, 6, 7}, nil, "c = Conv(x ~8,8,3,3,3 ~8) pads=@1,1,1,1,1,1\na = Add(c x)\ny = Relu(a)"},
			"Transpose Pad Slice Slice Slice Concat Conv Transpose Add Relu"},
		{written{"transposed planes", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,1,4,4 ~12) pads=@0,1,1,0,1,1 strides=@1,2,2"}, "Transpose ConvTranspose Transpose"},
		{written{"transposed cubes", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,2,2,2 ~12) strides=@2,2,2"}, "Transpose ConvTranspose Transpose"},
		{written{"transposed slabs with more around", []int{3, 8, 4, 3, 5}, nil,
			"y = ConvTranspose(x ~8,12,3,3,2) strides=@3,2,1 dilations=@1,2,1 pads=@0,1,0,0,0,1 output_padding=@0,1,0"}, "Transpose ConvTranspose Transpose"},
	} {
		plain, rewritten, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(rewritten, plain); !(d <= 3e-6) {
			t.Errorf("%s: rewriting changes the output by %.2g of its maximum", c.name, d)
		}
		plain, rewritten = c.gradients(t)
		if d := distance(rewritten, plain); !(d <= 3e-6) {
			t.Errorf("%s: rewriting changes the derivative by %.2g of its maximum", c.name, d)
		}
	}
}

// gradients is the derivative by x along a random v, of the network as it is written
// and as it is compiled.
func (w written) gradients(t *testing.T) (plain, rewritten []float32) {
	t.Helper()
	p, data := w.build(t)
	types := []ops.Type{data[0].Type}
	g, err := p.specialise(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, rng := ops.New(g.out[0].Type), rand.New(rand.NewPCG(1, 7))
	for i := range ops.Data[float32](v) {
		ops.Data[float32](v)[i] = float32(rng.NormFloat64())
	}
	if err := g.pullback(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := g.layOut(); err != nil {
		t.Fatal(err)
	}
	written, err := p.place(g, append(types, v.Type))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := p.Pullback(t.Context(), types, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var of [2][]float32
	for i, pl := range []*Plan{written, compiled} {
		m, err := pl.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		copy(m.In[0].Mem(), data[0].Mem())
		copy(m.In[1].Mem(), v.Mem())
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		of[i] = slices.Clone(ops.Data[float32](m.Out[1]))
		pl.Release(m)
	}
	return of[0], of[1]
}

// What cannot be rewritten, or would gain nothing, keeps its operators.
func TestOtherSolidsAreLeft(t *testing.T) {
	for _, c := range []struct {
		written
		want string
	}{
		{written{"points", []int{3, 8, 4, 6, 7}, nil, "y = Conv(x ~12,8,1,1,1 ~12)"}, "Conv"},
		{written{"groups", []int{3, 8, 4, 6, 7}, nil, "y = Conv(x ~12,4,3,3,3) group=2"}, "Conv"},
		{written{"weights that are computed", []int{3, 8, 4, 6, 7}, map[string][]int{"w": {12, 8, 1, 3, 3}}, "y = Conv(x w)"}, "Conv"},
		{written{"two axes", []int{3, 8, 6, 7}, nil, "y = Conv(x ~12,8,3,3)"}, "Conv"},
		{written{"transposed, overlapping", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,3,3,3) strides=@2,2,2"}, "ConvTranspose"},
		{written{"transposed, cropped", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,2,2,2) strides=@2,2,2 pads=@1,0,0,0,0,0"}, "ConvTranspose"},
		{written{"transposed, with a gap", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,2,2,2) strides=@2,2,2 dilations=@2,1,1"}, "ConvTranspose"},
		{written{"transposed, extended", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,2,2,2) strides=@2,2,2 output_padding=@1,0,0"}, "ConvTranspose"},
		{written{"transposed to a shape", []int{3, 8, 4, 3, 5}, nil, "y = ConvTranspose(x ~8,12,2,2,2) strides=@2,2,2 output_shape=@8,6,10"}, "ConvTranspose"},
		{written{"transposed, its bias computed", []int{3, 8, 4, 3, 5}, map[string][]int{"b": {12}}, "y = ConvTranspose(x ~8,12,2,2,2 b) strides=@2,2,2"}, "ConvTranspose"},
	} {
		plain, compiled, operators := c.both(t)
		if got := strings.Join(operators, " "); got != c.want {
			t.Errorf("%s runs as %s, want %s", c.name, got, c.want)
		}
		if d := distance(compiled, plain); !(d <= 3e-6) {
			t.Errorf("%s: compiling changes the output by %.2g of its maximum", c.name, d)
		}
	}
}

// The volumes of a batch do not mix: each has the bytes that it has alone.
func TestPlanesOfABatchAreApart(t *testing.T) {
	w := written{"cubes", []int{3, 8, 4, 6, 7}, nil, "c = Conv(x ~12,8,3,3,3 ~12) pads=@1,1,1,1,1,1\ny = ConvTranspose(c ~12,8,2,2,2 ~8) strides=@2,2,2"}
	p, data := w.build(t)
	all, err := p.Compile(t.Context(), []ops.Type{data[0].Type}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, all, data)
	x := ops.New(ops.Type{DType: onnx.Float, Shape: []int{1, 8, 4, 6, 7}})
	one, err := p.Compile(t.Context(), []ops.Type{x.Type}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		copy(x.Mem(), data[0].Mem()[i*x.Bytes():])
		if got, n := run(t, one, []*ops.Tensor{x}), len(want)/3; !slices.Equal(got, want[i*n:(i+1)*n]) {
			t.Errorf("volume %d has other bytes alone than in a batch", i)
		}
	}
}
