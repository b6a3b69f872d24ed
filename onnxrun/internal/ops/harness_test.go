package ops

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// latest is the opset of the calls that do not say which.
const latest = 23

// A testCall is one node as a test writes it: operator, opset, attributes,
// inputs. The harness lowers it and runs it as a plan would.
type testCall struct {
	op      string
	domain  string
	version int64 // 0: latest
	attrs   map[string]onnx.Attr
	in      []*Tensor // nil: left out
	outs    int       // number of outputs; 0 means 1
	runtime []bool    // inputs that are not known at compile time; nil: those that follow data
	allVar  bool      // no input is known at compile time
	workers int       // 0: 1

	onlyFirst bool // checkGrad: outputs after the first have no gradient
}

func ints(v ...int) onnx.Attr {
	a := onnx.Attr{Kind: onnx.AttrInts}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

func attrInt(v int) onnx.Attr       { return onnx.Attr{Kind: onnx.AttrInt, Int: int64(v)} }
func attrFloat(v float32) onnx.Attr { return onnx.Attr{Kind: onnx.AttrFloat, Float: v} }
func attrStr(v string) onnx.Attr    { return onnx.Attr{Kind: onnx.AttrString, String: v} }
func attrFloats(v ...float32) onnx.Attr {
	return onnx.Attr{Kind: onnx.AttrFloats, Floats: v}
}

// call makes the Call; an input is a compile-time constant unless runtime or
// allVar says otherwise.
func (tc testCall) call() *Call {
	n := &onnx.Node{Name: "n", Op: tc.op, Domain: tc.domain, Version: tc.version, Attrs: tc.attrs}
	if n.Version == 0 {
		n.Version = latest
		if tc.domain == Fused {
			n.Version = 1
		}
	}
	c := &Call{Node: n, Packs: &Packs{}}
	for i, t := range tc.in {
		if t == nil {
			n.Inputs = append(n.Inputs, -1)
			c.In = append(c.In, Arg{Absent: true})
			continue
		}
		n.Inputs = append(n.Inputs, i)
		a := Arg{Type: t.Type, Const: t}
		if tc.allVar || i < len(tc.runtime) && tc.runtime[i] {
			a.Const = nil
		}
		c.In = append(c.In, a)
	}
	for i := range max(tc.outs, 1) {
		n.Outputs = append(n.Outputs, 100+i)
	}
	return c
}

// run lowers the call and computes it once.
func (tc testCall) run() ([]*Tensor, error) {
	k, err := Lower(tc.call())
	if err != nil {
		return nil, err
	}
	return runKernel(k, tc.in, max(tc.workers, 1), nil), nil
}

// runKernel runs a lowered kernel on in. order gives the order of a task's
// parts; nil is 0, 1, 2…. The outputs start as garbage, so that a kernel that
// leaves an element alone is seen.
func runKernel(k *Kernel, in []*Tensor, workers int, order func(parts int) []int) []*Tensor {
	switch {
	case k.Const != nil:
		return k.Const
	case k.View:
		out := []*Tensor{in[0].As(k.Out[0])}
		for range k.Out[1:] {
			out = append(out, nil)
		}
		return out
	}
	out := make([]*Tensor, len(k.Out))
	for i, t := range k.Out {
		out[i] = New(t)
		for j := range out[i].mem {
			out[i].mem[j] = 0xA5
		}
	}
	runInto(k, in, out, workers, order)
	return out
}

func runInto(k *Kernel, in, out []*Tensor, workers int, order func(parts int) []int) {
	scratch := AlignedBytes(ScratchBytes(k, workers))
	for i := range scratch {
		scratch[i] = 0x5A
	}
	for _, t := range k.Bind(NewMemory(k, in, out, scratch, workers)) {
		if order == nil {
			for p := range t.Parts {
				t.Run(p, p%workers)
			}
			continue
		}
		for i, p := range order(t.Parts) {
			t.Run(p, i%workers)
		}
	}
}

func shuffled(r *rand.Rand) func(int) []int {
	return func(n int) []int { return r.Perm(n) }
}

// mustRun runs the call every way a plan may and checks that all agree bit for
// bit: in order, in shuffled order with three workers, and in place on every
// input that the kernel offers. It also checks that spare lanes are zero and
// that tasks do not allocate.
func (tc testCall) mustRun(t *testing.T) []*Tensor {
	t.Helper()
	c := tc.call()
	k, err := Lower(c)
	if err != nil {
		t.Fatalf("%s: %v", tc, err)
	}
	if len(k.Out) != len(c.Node.Outputs) {
		t.Fatalf("%s: %d output types for %d outputs", tc, len(k.Out), len(c.Node.Outputs))
	}
	out := runKernel(k, tc.in, 1, nil)
	for i := range out {
		if out[i] != nil && (!slices.Equal(out[i].Shape, k.Out[i].Shape) || out[i].DType != k.Out[i].DType || out[i].Layout != k.Out[i].Layout) {
			t.Fatalf("%s: output %d is %v, announced %v", tc, i, out[i].Type, k.Out[i])
		}
		checkSpareLanes(t, tc, out[i])
	}
	if k.Const != nil || k.View {
		return out
	}
	r := rand.New(rand.NewPCG(1, 2))
	same := func(how string, got []*Tensor) {
		t.Helper()
		for i := range out {
			if !slices.Equal(out[i].mem, got[i].mem) {
				t.Fatalf("%s: output %d differs when run %s", tc, i, how)
			}
		}
	}
	same("shuffled with 3 workers", runKernel(k, tc.in, 3, shuffled(r)))
	grain, pieceNanos = 4*Block, 1
	if fine, err := Lower(c); err != nil {
		t.Fatalf("%s: %v", tc, err)
	} else {
		same("in smaller parts", runKernel(fine, tc.in, 1, nil))
	}
	grain, pieceNanos = 1<<14, longRow
	for _, i := range k.InPlace {
		in := slices.Clone(tc.in)
		in[i] = &Tensor{tc.in[i].Type, cloneMem(tc.in[i].mem)}
		if len(in[i].mem) != k.Out[0].Bytes() {
			t.Fatalf("%s: input %d (%d bytes) offered for output 0 (%d bytes)", tc, i, len(in[i].mem), k.Out[0].Bytes())
		}
		alias := []*Tensor{in[i].As(k.Out[0])}
		for _, typ := range k.Out[1:] {
			alias = append(alias, New(typ))
		}
		runInto(k, in, alias, 1, nil)
		same(fmt.Sprintf("in place of input %d", i), alias)
	}
	again := make([]*Tensor, len(out)) // a task that works in place changes what it wrote
	for i := range out {
		again[i] = New(k.Out[i])
	}
	for _, task := range tc.bound(t, k, again) {
		if task.Parts == 0 {
			continue
		}
		// The count is of the whole process: what the runtime allocates while a
		// slow task runs is not there a second time.
		allocs := func() float64 { return testing.AllocsPerRun(1, func() { task.Run(task.Parts-1, 0) }) }
		if a := allocs(); a != 0 && allocs() != 0 {
			t.Fatalf("%s: a task allocates %v times", tc, a)
		}
	}
	return out
}

// bound is what Bind makes of a kernel whose weights have been packed. It checks that
// this takes no more memory than was declared.
func (tc testCall) bound(t *testing.T, k *Kernel, out []*Tensor) []Task {
	t.Helper()
	m := NewMemory(k, tc.in, out, AlignedBytes(ScratchBytes(k, 1)), 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tasks := k.Bind(m)
	runtime.ReadMemStats(&after)
	const closures = 16 << 10 // with what the sizes of which do not depend on shapes
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(k.Tables)+closures {
		t.Errorf("%s: binding takes %d bytes, declared are %d", tc, took, k.Tables)
	}
	return tasks
}

// mustFail checks that the call is refused, with an error of the right type:
// a *onnx.FormatError when invalid, else a *onnx.UnsupportedError.
func (tc testCall) mustFail(t *testing.T, invalid bool) {
	t.Helper()
	_, err := Lower(tc.call())
	var f *onnx.FormatError
	var u *onnx.UnsupportedError
	switch {
	case err == nil:
		t.Errorf("%s: no error", tc)
	case invalid && !errors.As(err, &f):
		t.Errorf("%s: %v, want a FormatError", tc, err)
	case !invalid && !errors.As(err, &u):
		t.Errorf("%s: %v, want an UnsupportedError", tc, err)
	}
}

func (tc testCall) String() string {
	s := fmt.Sprintf("%s-%d(", tc.op, tc.version)
	for i, t := range tc.in {
		if i > 0 {
			s += ", "
		}
		if t == nil {
			s += "-"
			continue
		}
		s += t.Type.String()
		if t.Elems() <= 8 && t.DType == onnx.Int64 {
			s += fmt.Sprint(Data[int64](t))
		}
	}
	s += ")"
	for name, a := range tc.attrs {
		switch a.Kind {
		case onnx.AttrInt:
			s += fmt.Sprintf(" %s=%d", name, a.Int)
		case onnx.AttrInts:
			s += fmt.Sprintf(" %s=%v", name, a.Ints)
		case onnx.AttrFloat:
			s += fmt.Sprintf(" %s=%v", name, a.Float)
		case onnx.AttrString:
			s += fmt.Sprintf(" %s=%q", name, a.String)
		}
	}
	return s
}

func cloneMem(b []byte) []byte {
	c := AlignedBytes(len(b))
	copy(c, b)
	return c
}

func checkSpareLanes(t *testing.T, tc testCall, x *Tensor) {
	t.Helper()
	if x == nil || x.Layout != Blocked || x.Shape[1]%Block == 0 || x.Elems() == 0 {
		return
	}
	p := x.Physical()
	inner := elems(p[2:])
	d := Data[float32](x)
	for n := range p[0] {
		last := d[((n+1)*p[1]-1)*inner:][:inner]
		for i, v := range last {
			if i%Block >= x.Shape[1]%Block && math.Float32bits(v) != 0 {
				t.Fatalf("%s: spare lane %d of image %d holds %v, want 0", tc, i%Block, n, v)
			}
		}
	}
}

// blocked is x in the Blocked layout, by a naive loop.
func blocked(x *Tensor) *Tensor {
	typ := x.Type
	typ.Layout = Blocked
	out := New(typ)
	if x.Elems() == 0 {
		return out
	}
	n, c, sp := x.Shape[0], x.Shape[1], elems(x.Shape[2:])
	cb := (c + Block - 1) / Block
	src, dst := Data[float32](x), Data[float32](out)
	for i := range n {
		for j := range c {
			for s := range sp {
				dst[((i*cb+j/Block)*sp+s)*Block+j%Block] = src[(i*c+j)*sp+s]
			}
		}
	}
	return out
}

// plain is x in the Plain layout, by a naive loop.
func plain(x *Tensor) *Tensor {
	if x.Layout == Plain {
		return x
	}
	out := New(x.Type.Plain())
	if x.Elems() == 0 {
		return out
	}
	n, c, sp := x.Shape[0], x.Shape[1], elems(x.Shape[2:])
	cb := (c + Block - 1) / Block
	src, dst := Data[float32](x), Data[float32](out)
	for i := range n {
		for j := range c {
			for s := range sp {
				dst[(i*c+j)*sp+s] = src[((i*cb+j/Block)*sp+s)*Block+j%Block]
			}
		}
	}
	return out
}

// randn is a float32 tensor of normal draws.
func randn(r *rand.Rand, shape ...int) *Tensor {
	t := New(Type{DType: onnx.Float, Shape: shape})
	for i := range Data[float32](t) {
		Data[float32](t)[i] = float32(r.NormFloat64())
	}
	return t
}

// randShape is a shape of the given rank with extents in [lo, hi].
func randShape(r *rand.Rand, rank, lo, hi int) []int {
	s := make([]int, rank)
	for i := range s {
		s[i] = lo + r.IntN(hi-lo+1)
	}
	return s
}

func int64s(v ...int) *Tensor {
	d := make([]int64, len(v))
	for i, x := range v {
		d[i] = int64(x)
	}
	return Of([]int{len(v)}, d)
}

// near compares a float32 result with a float64 reference: |difference| ≤ tol
// times the larger of 1 and |want|, infinities and NaNs equal.
func near(t *testing.T, what any, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%v: %d elements, want %d", what, len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if math.IsNaN(w) && math.IsNaN(float64(g)) || float64(g) == w || float64(g) == float64(float32(w)) {
			continue
		}
		if d := math.Abs(float64(g) - w); !(d <= tol*max(1, math.Abs(w))) {
			t.Fatalf("%v: element %d is %v, want %v", what, i, g, w)
		}
	}
}
