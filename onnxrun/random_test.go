package onnxrun_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sampleonnx/onnxrun"
	"sampleonnx/onnxrun/internal/onnx"
)

var (
	randomCount = flag.Int("configurations", 3000, "how many configurations TestRandomConfigurations draws")
	randomSeed  = flag.Uint64("seed", 1, "the seed of TestRandomConfigurations")
	randomOnly  = flag.Int("configuration", -1, "run this configuration of TestRandomConfigurations alone")
)

// randomFamilies draw configurations of an operator or of its kin. nil is one
// that the standard has no meaning for: another is drawn.
var randomFamilies = []struct {
	name string
	draw func(r *rand.Rand) *randomNode
}{
	{"Conv", randomConv},
	{"ConvTranspose", randomConvTranspose},
	{"MaxPool", randomMaxPool},
	{"AveragePool", randomAveragePool},
	{"LpPool", randomLpPool},
	{"GlobalPool", randomGlobalPool},
	{"BatchNormalization", randomBatchNorm},
	{"GroupNormalization", randomGroupNorm},
	{"LayerNormalization", randomLayerNorm},
	{"LRN", randomLRN},
	{"LpNormalization", randomLpNorm},
	{"MeanVarianceNormalization", randomMeanVariance},
	{"Resize", randomResize},
	{"Resize", randomResize},
	{"Pad", randomPad},
	{"Slice", randomSlice},
	{"Concat", randomConcat},
	{"Split", randomSplit},
	{"Transpose", randomTranspose},
	{"Gather", randomGather},
	{"Expand", randomExpand},
	{"DepthToSpace", randomDepthToSpace},
	{"Einsum", randomEinsum},
	{"MatMul", randomMatMul},
	{"Gemm", randomGemm},
	{"Attention", randomAttention},
	{"Reduce", randomReduce},
	{"ArgMax", randomArg},
	{"Softmax", randomSoftmax},
	{"CumSum", randomCumSum},
	{"Binary", randomBinary},
}

// TestRandomConfigurations draws operators with random shapes, attributes and
// opset versions, runs each as a model, alone or with neighbours that it may be
// laid out or joined with, and compares with what the text of the standard says,
// computed in float64.
func TestRandomConfigurations(t *testing.T) {
	seen := make([]int, len(randomFamilies))
	var mu sync.Mutex
	var failed atomic.Int32
	try := func(i int) {
		family := i % len(randomFamilies)
		r := rand.New(rand.NewPCG(*randomSeed, uint64(i)))
		var c *randomNode
		for c == nil {
			c = randomFamilies[family].draw(r)
		}
		g := surround(r, c)
		err := g.check()
		mu.Lock()
		defer mu.Unlock()
		seen[family]++
		if err != nil && failed.Add(1) <= 50 {
			t.Errorf("-seed %d -configuration %d: %s: %v", *randomSeed, i, g, err)
		}
	}
	if *randomOnly >= 0 {
		try(*randomOnly)
		return
	}
	count := *randomCount
	if testing.Short() || raceEnabled {
		count = min(count, 10*len(randomFamilies))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				try(i)
			}
		})
	}
	wg.Wait()
	for i, n := range seen {
		if n == 0 {
			t.Errorf("no configuration of %s was drawn: want at least %d in all", randomFamilies[i].name, len(randomFamilies))
		}
	}
	t.Logf("%d configurations, %d wrong", count, failed.Load())
}

// FuzzRandom is TestRandomConfigurations where the input decides: the first byte on the
// family, each one after it on the next draw.
func FuzzRandom(f *testing.F) {
	for i := range randomFamilies {
		f.Add([]byte{byte(i), byte(37 * i), byte(101 * i)})
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) == 0 {
			return
		}
		r := rand.New(&decided{choices[1:], rand.NewPCG(1, 1)})
		var c *randomNode
		for c == nil {
			c = randomFamilies[int(choices[0])%len(randomFamilies)].draw(r)
		}
		if g := surround(r, c); g.check() != nil {
			t.Errorf("%s: %v", g, g.check())
		}
	})
}

// decided draws as bytes say, and by itself when there are no more of them.
type decided struct {
	choices []byte
	rest    rand.Source
}

func (d *decided) Uint64() uint64 {
	x := d.rest.Uint64()
	if len(d.choices) > 0 { // the bits that count most
		x = x>>8 | uint64(d.choices[0])<<56
		d.choices = d.choices[1:]
	}
	return x
}

// A surrounded node is a configuration with what is computed before and after it.
type surrounded struct {
	*randomNode
	before, after string // "", "Conv", "Relu", "Sigmoid"
	weight        [2]*array
	open          bool // the model leaves the inputs' shapes open
	threads       int
}

// surround puts neighbours around a node where its types allow.
func surround(r *rand.Rand, c *randomNode) *surrounded {
	s := &surrounded{randomNode: c, open: one(r, 2), threads: 1 + r.IntN(3)}
	x := c.in[0]
	if isImage(x) && !c.noPre && !c.isFixed(0) {
		s.before = pick(r, "", "", "", "Conv", "Relu")
	}
	if x.dtype == onnx.Float {
		s.after = pick(r, "", "", "", "Conv", "Relu", "Sigmoid")
	}
	if s.before == "Conv" {
		s.weight[0] = mixing(r, x.shape)
	}
	return s
}

// isImage reports whether a convolution can follow.
func isImage(x *array) bool {
	return x.dtype == onnx.Float && len(x.shape) >= 3 && len(x.shape) <= 5 && slices.Min(x.shape[1:]) > 0
}

// mixing is the weight of a 1×1 convolution that keeps the number of channels.
func mixing(r *rand.Rand, shape []int) *array {
	w := []int{shape[1], shape[1]}
	for range shape[2:] {
		w = append(w, 1)
	}
	a := normals(r, onnx.Float, w...)
	for i := range a.data {
		a.data[i] = float64(float32(a.data[i] / math.Sqrt(float64(shape[1]))))
	}
	return a
}

func (s *surrounded) String() string {
	text := s.randomNode.String()
	if s.before != "" {
		text = s.before + ", " + text
	}
	if s.after != "" {
		text += ", " + s.after
	}
	if s.open {
		text += ", shapes open"
	}
	return fmt.Sprintf("%s, %d threads", text, s.threads)
}

// neighbour is what is computed before or after.
func neighbour(op string, x, w *array) *array {
	switch op {
	case "Conv":
		return convolve(x, w, nil, convolution{group: 1, strides: ones(len(x.shape) - 2), dilations: ones(len(x.shape) - 2),
			pads: make([]int, 2*(len(x.shape)-2))})
	case "Relu":
		return made(x.dtype, x.shape, func(idx []int) float64 { return max(0, x.at(idx)) })
	case "Sigmoid":
		return made(x.dtype, x.shape, func(idx []int) float64 { return 1 / (1 + math.Exp(-x.at(idx))) })
	}
	return x
}

func ones(n int) []int {
	return slices.Repeat([]int{1}, n)
}

// check runs the configuration.
func (s *surrounded) check() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	in := slices.Clone(s.in)
	in[0] = neighbour(s.before, in[0], s.weight[0])
	want := s.want(in)
	last := want[0]
	if s.after == "Conv" && !isImage(last) || last == nil || last.dtype != onnx.Float {
		s.after = ""
	}
	if s.after == "Conv" {
		s.weight[1] = mixing(rand.New(rand.NewPCG(1, 1)), last.shape)
	}
	want[0] = neighbour(s.after, last, s.weight[1])

	model, inputs := s.model(want)
	m, err := onnxrun.Config{Threads: s.threads}.Parse(context.Background(), model)
	if err != nil {
		return err
	}
	defer m.Close()
	got, err := m.Run(context.Background(), inputs...)
	if err != nil {
		return err
	}
	for i, w := range want {
		if w == nil {
			continue
		}
		if d := m.Outputs()[i].DType; d != w.dtype {
			return fmt.Errorf("output %d is declared %v, want %v", i, d, w.dtype)
		}
		if err := s.compare(got[i], w); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// model writes the graph and binds the inputs that are not part of it.
func (s *surrounded) model(want []*array) ([]byte, []onnxrun.Tensor) {
	var graph message
	var inputs []onnxrun.Tensor
	names := make([]string, len(s.in))
	for i, a := range s.in {
		if a == nil {
			continue
		}
		names[i] = fmt.Sprintf("x%d", i)
		if s.isFixed(i) {
			graph = graph.with(5, tensorProto(names[i], a))
			continue
		}
		shape := a.shape
		if s.open {
			shape = nil
		}
		graph = graph.with(11, valueInfo(names[i], a.dtype, shape))
		t := a.tensor()
		t.Name = names[i]
		inputs = append(inputs, t)
	}
	aside := func(op, from, to string, w *array) {
		in := []string{from}
		if w != nil {
			graph = graph.with(5, tensorProto("w_"+to, w))
			in = append(in, "w_"+to)
		}
		graph = graph.with(1, nodeProto(op, in, []string{to}, nil))
	}
	if s.before != "" {
		aside(s.before, names[0], "before", s.weight[0])
		names[0] = "before"
	}
	out := make([]string, len(want))
	for i := range want {
		out[i] = fmt.Sprintf("y%d", i)
	}
	results := slices.Clone(out)
	if s.after != "" {
		out[0] = "after"
	}
	graph = graph.with(1, nodeProto(s.op, names, out, s.attrs))
	if s.after != "" {
		aside(s.after, "after", results[0], s.weight[1])
	}
	for i, w := range want {
		if w != nil {
			graph = graph.with(12, valueInfo(results[i], w.dtype, nil))
		} else {
			graph = graph.with(12, message(nil).text(1, results[i]))
		}
	}
	return modelProto(s.opset, graph), inputs
}

// compare holds a result against the reference: integers and bools must be
// equal, floats within the tolerance.
func (s *surrounded) compare(got onnxrun.Tensor, want *array) error {
	if !slices.Equal(got.Shape, want.shape) {
		return fmt.Errorf("has shape %v, want %v", got.Shape, want.shape)
	}
	var data []float64
	tol := 0.0
	switch d := got.Data.(type) {
	case []float32:
		data, tol = asFloat64(d), 2e-5
		if s.tol != 0 {
			tol = s.tol
		}
	case []float64:
		data, tol = d, 1e-9
	case []int32:
		data = asFloat64(d)
	case []int64:
		data = asFloat64(d)
	case []int8:
		data = asFloat64(d)
	case []uint8:
		data = asFloat64(d)
	case []bool:
		data = make([]float64, len(d))
		for i, b := range d {
			if b {
				data[i] = 1
			}
		}
	default:
		return fmt.Errorf("is a %T", got.Data)
	}
	largest := 1.0
	for _, w := range want.data {
		if a := math.Abs(w); !math.IsInf(a, 0) && a > largest {
			largest = a
		}
	}
	for i, w := range want.data {
		g := data[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) || math.Abs(g-w) <= tol*largest {
			continue
		}
		return fmt.Errorf("element %d of %v is %v, want %v (largest %.3g)", i, want.shape, g, w, largest)
	}
	return nil
}

func asFloat64[T onnx.Number](d []T) []float64 {
	out := make([]float64, len(d))
	for i, x := range d {
		out[i] = float64(x)
	}
	return out
}
