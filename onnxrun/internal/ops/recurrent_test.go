package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

// TestRecurrentByHand: one unit, one step, numbers worked out.
func TestRecurrentByHand(t *testing.T) {
	x := Of([]int{1, 1, 1}, []float32{2})
	col := func(v ...float32) *Tensor { return Of([]int{1, len(v), 1}, v) }
	row := func(v ...float32) *Tensor { return Of([]int{1, len(v)}, v) }
	state := func(v float32) *Tensor { return Of([]int{1, 1, 1}, []float32{v}) }
	s := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

	rnn := testCall{op: "RNN", in: []*Tensor{x, col(0.5), col(0.25), row(0.1, 0.2), nil, state(2)}, outs: 2}.mustRun(t)
	near(t, "RNN", Data[float32](rnn[1]), []float64{math.Tanh(1 + 0.5 + 0.3)}, 1e-6)

	w, r, b := col(0.1, 0.2, 0.3), col(0.4, 0.5, 0.6), row(1, 2, 3, 4, 5, 6)
	z, q := s(0.2+0.8+5), s(0.4+1+7)
	for linear, h := range map[int]float64{0: math.Tanh(0.6 + q*2*0.6 + 6 + 3), 1: math.Tanh(0.6 + q*(2*0.6+6) + 3)} {
		gru := testCall{op: "GRU", in: []*Tensor{x, w, r, b, nil, state(2)}, attrs: map[string]onnx.Attr{"linear_before_reset": attrInt(linear)}}.mustRun(t)
		near(t, "GRU", Data[float32](gru[0]), []float64{(1-z)*h + z*2}, 1e-6)
	}

	w, r, b = col(0.1, 0.2, 0.3, 0.4), col(0.5, 0.6, 0.7, 0.8), row(0, 0, 0, 0, 0, 0, 0, 0)
	i, f := s(0.2+1+0.3*3), s(0.6+1.4+0.5*3)
	c := f*3 + i*math.Tanh(0.8+1.6)
	o := s(0.4 + 1.2 + 0.4*c)
	lstm := testCall{op: "LSTM", in: []*Tensor{x, w, r, b, nil, state(2), state(3), row(0.3, 0.4, 0.5)}, outs: 3}.mustRun(t)
	near(t, "LSTM", Data[float32](lstm[2]), []float64{c}, 1e-6)
	near(t, "LSTM", Data[float32](lstm[1]), []float64{o * math.Tanh(c)}, 1e-6)
}

// TestRecurrentDirections: backwards is forwards on the reversed sequence, and
// both at once are the two side by side; sequences end where they are said to.
func TestRecurrentDirections(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 15))
	const steps, batch, in, hidden = 4, 2, 3, 2
	lens := Of([]int{batch}, []int32{4, 2})
	x := randn(r, steps, batch, in)
	back := New(x.Type)
	for b, n := range Data[int32](lens) {
		for s := range steps {
			from := s
			if s < int(n) {
				from = int(n) - 1 - s
			}
			copy(Data[float32](back)[(s*batch+b)*in:][:in], Data[float32](x)[(from*batch+b)*in:])
		}
	}
	for _, op := range []string{"RNN", "GRU", "LSTM"} {
		g := recurrentGates[op] * hidden
		w, rec := randn(r, 2, g, in), randn(r, 2, g, hidden)
		half := func(x *Tensor, i int) *Tensor {
			n := x.Elems() / 2
			return Of([]int{1, x.Shape[1], x.Shape[2]}, Data[float32](x)[i*n:(i+1)*n])
		}
		dir := func(d string) map[string]onnx.Attr { return map[string]onnx.Attr{"direction": attrStr(d)} }
		both := testCall{op: op, in: []*Tensor{x, w, rec, nil, lens}, attrs: dir("bidirectional"), outs: 2}.mustRun(t)
		first := testCall{op: op, in: []*Tensor{x, half(w, 0), half(rec, 0), nil, lens}, outs: 2}.mustRun(t)
		second := testCall{op: op, in: []*Tensor{x, half(w, 1), half(rec, 1), nil, lens}, attrs: dir("reverse"), outs: 2}.mustRun(t)
		turned := testCall{op: op, in: []*Tensor{back, half(w, 1), half(rec, 1), nil, lens}, outs: 2}.mustRun(t)
		get := func(y *Tensor, s, d, b, j int) float32 {
			return Data[float32](y)[((s*y.Shape[1]+d)*batch+b)*hidden+j]
		}
		for b, n := range Data[int32](lens) {
			for s := range steps {
				for j := range hidden {
					f, g := get(both[0], s, 0, b, j), get(both[0], s, 1, b, j)
					if f != get(first[0], s, 0, b, j) || g != get(second[0], s, 0, b, j) {
						t.Fatalf("%s: both directions differ from each", op)
					}
					if s >= int(n) && (f != 0 || g != 0) {
						t.Fatalf("%s: step %d of a sequence of %d is %v", op, s, n, f)
					}
					if s < int(n) && g != get(turned[0], int(n)-1-s, 0, b, j) {
						t.Fatalf("%s: backwards differs from the reversed sequence", op)
					}
					if s == int(n)-1 && f != Data[float32](first[1])[b*hidden+j] {
						t.Fatalf("%s: the last state is not that of the last step", op)
					}
				}
			}
		}
	}
	testCall{op: "RNN", in: []*Tensor{x, randn(r, 1, 2, 3), randn(r, 1, 2, 3)}}.mustFail(t, true)
	testCall{op: "RNN", in: []*Tensor{x, randn(r, 1, 2, 3), randn(r, 1, 2, 2)}, attrs: map[string]onnx.Attr{
		"activations": {Kind: onnx.AttrStrings, Strings: []string{"Softmax"}}}}.mustFail(t, false)
}
