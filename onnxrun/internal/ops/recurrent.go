package ops

import (
	"math"
	"slices"
	"strings"

	"sampleonnx/onnxrun/internal/onnx"
)

// A recurrent is RNN, GRU or LSTM: for every direction and every sequence of the
// batch, one step after the other. All of it is computed in float64.
type recurrent struct {
	op                       string
	gates                    int
	steps, batch, in, hidden int
	directions               int
	reverse                  bool // the first direction runs backwards
	batchFirst               bool // layout 1
	linear                   bool // linear_before_reset
	coupled                  bool // input_forget
	clip                     float64
	acts                     []func(float64) float64 // for each direction
}

var recurrentGates = map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}

// The inputs, in their order; the last two are those of LSTM.
const (
	recX = iota
	recW
	recR
	recB
	recLens
	recH
	recC
	recP
)

func lowerRecurrent(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x := c.In[recX].Type
	for i := range c.In {
		if i != recLens && c.Has(i) && c.In[i].DType != x.DType {
			return nil, c.Invalid("input %d has elements of %v, want %v", i, c.In[i].DType, x.DType)
		}
	}
	r := &recurrent{op: c.Node.Op, gates: recurrentGates[c.Node.Op], directions: 1}
	if len(x.Shape) != 3 || len(c.In[recR].Shape) != 3 {
		return nil, c.Invalid("the inputs are %v and %v, want 3 axes", x, c.In[recR].Type)
	}
	r.batchFirst = c.Int("layout", 0) != 0
	r.steps, r.batch, r.in = x.Shape[0], x.Shape[1], x.Shape[2]
	if r.batchFirst {
		r.steps, r.batch = r.batch, r.steps
	}
	switch d := c.Str("direction", "forward"); d {
	case "forward":
	case "reverse":
		r.reverse = true
	case "bidirectional":
		r.directions = 2
	default:
		return nil, c.Invalid("direction is %q, want forward, reverse or bidirectional", d)
	}
	r.hidden = c.In[recR].Shape[2]
	if n := c.Int("hidden_size", r.hidden); n != r.hidden {
		return nil, c.Invalid("hidden_size is %d, want the %d of the weights", n, r.hidden)
	}
	state := []int{r.directions, r.batch, r.hidden}
	if r.batchFirst {
		state = []int{r.batch, r.directions, r.hidden}
	}
	for i, want := range map[int][]int{
		recW:    {r.directions, r.gates * r.hidden, r.in},
		recR:    {r.directions, r.gates * r.hidden, r.hidden},
		recB:    {r.directions, 2 * r.gates * r.hidden},
		recLens: {r.batch},
		recH:    state,
		recC:    state,
		recP:    {r.directions, 3 * r.hidden},
	} {
		if c.Has(i) && !slices.Equal(c.In[i].Shape, want) {
			return nil, c.Invalid("input %d has shape %v, want %v", i, c.In[i].Shape, want)
		}
	}
	if c.Has(recLens) && c.In[recLens].DType != onnx.Int32 {
		return nil, c.Invalid("the lengths are %v, want int32", c.In[recLens].Type)
	}
	r.linear, r.coupled = c.Int("linear_before_reset", 0) != 0, c.Int("input_forget", 0) != 0
	if r.clip = float64(c.Float("clip", 0)); r.clip < 0 {
		return nil, c.Invalid("clip is %v, want 0 or more", r.clip)
	}
	var err error
	if r.acts, err = r.activations(c); err != nil {
		return nil, err
	}
	y := Type{DType: x.DType, Shape: []int{r.steps, r.directions, r.batch, r.hidden}}
	if r.batchFirst {
		y.Shape = []int{r.batch, r.steps, r.directions, r.hidden}
	}
	last := Type{DType: x.DType, Shape: state}
	k := &Kernel{
		Out:           []Type{y, last, last}[:len(c.Node.Outputs)],
		WorkerScratch: room(8, r.hidden, 2*r.gates+3),
		FLOPs:         2 * float64(r.steps*r.batch*r.directions) * float64(r.gates*r.hidden) * float64(r.in+r.hidden),
	}
	if err := c.checkSize(Type{Shape: []int{r.hidden, 2*r.gates + 3, 8}}); err != nil {
		return nil, err
	}
	where := c.Node.Where()
	k.Bind = func(m Memory) []Task {
		if x.DType == onnx.Double {
			return recur[float64](m, r, where)
		}
		return recur[float32](m, r, where)
	}
	return k, nil
}

// activations reads the names, with alphas and betas for those that take any.
func (r *recurrent) activations(c *Call) ([]func(float64) float64, error) {
	each := map[string][]string{"RNN": {"Tanh"}, "GRU": {"Sigmoid", "Tanh"}, "LSTM": {"Sigmoid", "Tanh", "Tanh"}}[r.op]
	names := c.Node.Attrs["activations"].Strings
	if len(names) == 0 {
		for range r.directions {
			names = append(names, each...)
		}
	}
	if len(names) != len(each)*r.directions {
		return nil, c.Invalid("has %d activations, want %d", len(names), len(each)*r.directions)
	}
	alphas, betas := c.Node.Attrs["activation_alpha"].Floats, c.Node.Attrs["activation_beta"].Floats
	next := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	var fs []func(float64) float64
	for _, name := range names {
		var f func(float64) float64
		switch strings.ToLower(name) {
		case "tanh":
			f = math.Tanh
		case "sigmoid":
			f = sigmoid
		case "relu":
			f = relu
		case "softsign":
			f = softsign
		case "softplus":
			f = softplus
		case "affine":
			a, b := next(&alphas, 1), next(&betas, 0)
			f = func(x float64) float64 { return a*x + b }
		case "leakyrelu":
			a := next(&alphas, 0.01)
			f = func(x float64) float64 {
				if x < 0 {
					return a * x
				}
				return x
			}
		case "thresholdedrelu":
			a := next(&alphas, 1)
			f = func(x float64) float64 {
				if x > a {
					return x
				}
				return 0
			}
		case "scaledtanh":
			a, b := next(&alphas, 1), next(&betas, 1)
			f = func(x float64) float64 { return a * math.Tanh(b*x) }
		case "hardsigmoid":
			a, b := next(&alphas, 0.2), next(&betas, 0.5)
			f = func(x float64) float64 { return max(0, min(1, a*x+b)) }
		case "elu":
			a := next(&alphas, 1)
			f = func(x float64) float64 { return elu(x, a) }
		default:
			return nil, c.Unsupported("activation %q is not known", name)
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func recur[T float](m Memory, r *recurrent, where string) []Task {
	in := func(i int) []T {
		if i < len(m.In) && m.In[i] != nil {
			return Data[T](m.In[i])
		}
		return nil
	}
	out := func(i int) []T {
		if i < len(m.Out) && m.Out[i] != nil {
			return Data[T](m.Out[i])
		}
		return nil
	}
	x, w, rec, bias, h0, c0, peep := in(recX), in(recW), in(recR), in(recB), in(recH), in(recC), in(recP)
	y, yh, yc := out(0), out(1), out(2)
	var lens []int32
	if len(m.In) > recLens && m.In[recLens] != nil {
		lens = Data[int32](m.In[recLens])
	}
	n, g := r.hidden, r.gates
	return []Task{{r.directions * r.batch, func(part, worker int) {
		d, b := part/r.batch, part%r.batch
		mem := scratchOf[float64](m.Worker(worker), n*(2*g+3))
		h, cell, tmp := mem[:n], mem[n:2*n], mem[2*n:3*n]
		gate, gateR := mem[3*n:][:g*n], mem[(3+g)*n:][:g*n]
		at := part * n // of a state
		if r.batchFirst {
			at = (b*r.directions + d) * n
		}
		for j := range n {
			h[j], cell[j] = 0, 0
			if h0 != nil {
				h[j] = float64(h0[at+j])
			}
			if c0 != nil {
				cell[j] = float64(c0[at+j])
			}
		}
		acts := r.acts[d*len(r.acts)/r.directions:]
		steps := r.steps
		if lens != nil {
			if steps = int(lens[b]); steps < 0 || steps > r.steps {
				panic(&IndexError{where, int64(steps), r.steps})
			}
		}
		clip := func(v float64) float64 {
			if r.clip > 0 {
				return max(-r.clip, min(r.clip, v))
			}
			return v
		}
		p := m.pace()
		wd, rd := w[d*g*n*r.in:], rec[d*g*n*n:]
		for s := range r.steps {
			t := s
			if s < steps && (r.reverse || d == 1) {
				t = steps - 1 - s
			}
			xt, yt := (t*r.batch+b)*r.in, ((t*r.directions+d)*r.batch+b)*n
			if r.batchFirst {
				xt, yt = (b*r.steps+t)*r.in, ((b*r.steps+t)*r.directions+d)*n
			}
			if s >= steps { // after the end of this sequence
				if y != nil {
					clear(y[yt : yt+n])
				}
				continue
			}
			for j := range g * n {
				if p.over(16 + r.in + n) {
					return
				}
				gate[j], gateR[j] = 0, 0
				if bias != nil {
					gate[j] = float64(bias[d*2*g*n+j])
					gateR[j] = float64(bias[(d*2+1)*g*n+j])
				}
				gate[j] += dot(x[xt:xt+r.in], wd[j*r.in:])
				for i, v := range h {
					gateR[j] += v * float64(rd[j*n+i])
				}
			}
			switch r.op {
			case "RNN":
				for j := range h {
					h[j] = acts[0](clip(gate[j] + gateR[j]))
				}
			case "GRU": // z, r, h
				for j := range 2 * n {
					gate[j] = acts[0](clip(gate[j] + gateR[j]))
				}
				for j := range n {
					tmp[j] = gate[n+j] * gateR[2*n+j]
				}
				if !r.linear {
					for j := range n {
						if p.over(16 + n) {
							return
						}
						tmp[j] = 0
						if bias != nil {
							tmp[j] = float64(bias[(d*2+1)*g*n+2*n+j])
						}
						for i, v := range h {
							tmp[j] += gate[n+i] * v * float64(rd[(2*n+j)*n+i])
						}
					}
				}
				for j := range h {
					h[j] = (1-gate[j])*acts[1](clip(gate[2*n+j]+tmp[j])) + gate[j]*h[j]
				}
			case "LSTM": // i, o, f, c
				for j := range h {
					var p [3]float64
					if peep != nil {
						for q := range p {
							p[q] = float64(peep[(d*3+q)*n+j])
						}
					}
					i := acts[0](clip(gate[j] + gateR[j] + p[0]*cell[j]))
					f := acts[0](clip(gate[2*n+j] + gateR[2*n+j] + p[2]*cell[j]))
					if r.coupled {
						f = 1 - i
					}
					cell[j] = f*cell[j] + i*acts[1](clip(gate[3*n+j]+gateR[3*n+j]))
					tmp[j] = acts[0](clip(gate[n+j]+gateR[n+j]+p[1]*cell[j])) * acts[2](cell[j])
				}
				copy(h, tmp)
			}
			if y != nil {
				for j, v := range h {
					y[yt+j] = T(v)
				}
			}
		}
		for j := range n {
			if yh != nil {
				yh[at+j] = T(h[j])
			}
			if yc != nil {
				yc[at+j] = T(cell[j])
			}
		}
	}}}
}

func dot[T float](a, b []T) (sum float64) {
	b = b[:len(a)]
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
