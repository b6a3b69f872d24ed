package ops

import (
	"math"
	"slices"

	"sampleonnx/onnxrun/internal/onnx"
)

// lowerGridSample reads an image [N, C, spatial…] at the places that a grid
// [N, out spatial…, coordinates] names: -1 to 1 across the image, the last axis
// first.
func lowerGridSample(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	if err := c.want(1, isFloat, "a float type"); err != nil {
		return nil, err
	}
	x, g := c.In[0].Type, c.In[1].Type
	n := len(x.Shape) - 2
	if n < 1 || len(g.Shape) != n+2 || g.Shape[n+1] != n || g.Shape[0] != x.Shape[0] {
		return nil, c.Invalid("samples %v at %v, want [N, C, D1…Dn] and [N, …, n]", x, g)
	}
	if (g.DType == onnx.Double) != (x.DType == onnx.Double) {
		return nil, c.Unsupported("samples %v at %v", x, g)
	}
	for _, d := range x.Shape[2:] {
		if d == 0 {
			return nil, c.Invalid("samples %v, which is empty, want an image", x)
		}
	}
	s := &gridSampler{in: x.Shape[2:], align: c.Int("align_corners", 0) != 0}
	switch mode := c.Str("mode", "linear"); mode {
	case "linear", "bilinear":
		s.taps = 2
	case "nearest":
		s.taps = 1
	case "cubic", "bicubic":
		s.taps = 4
	default:
		return nil, c.Invalid("mode is %q, want linear, nearest or cubic", mode)
	}
	switch s.padding = c.Str("padding_mode", "zeros"); s.padding {
	case "zeros", "border", "reflection":
	default:
		return nil, c.Invalid("padding_mode is %q, want zeros, border or reflection", s.padding)
	}
	if n > maxGridAxes {
		return nil, c.Unsupported("samples %d spatial axes, want at most %d", n, maxGridAxes)
	}
	out := Type{DType: x.DType, Shape: slices.Concat(x.Shape[:2], g.Shape[1:n+1])}
	taps := 1
	for range n {
		taps *= s.taps
	}
	return &Kernel{Out: []Type{out}, FLOPs: float64(out.Elems()) * float64(2*taps), Bind: func(m Memory) []Task {
		if x.DType == onnx.Double {
			return gridSample[float64](m, s)
		}
		return gridSample[float32](m, s)
	}}, nil
}

const maxGridAxes = 4

type gridSampler struct {
	in      []int
	align   bool
	padding string
	taps    int // along an axis
}

// A gridTap is the places along one axis that a sample reads, -1 for outside,
// with their weights.
type gridTap struct {
	at     [4]int
	weight [4]float64
}

// tap finds the places for a coordinate on an axis. Cubic interpolation looks
// outside before the coordinate is brought back, the others after.
func (s *gridSampler) tap(v float64, axis int) (t gridTap) {
	size := float64(s.in[axis])
	lo, hi := -0.5, size-0.5
	if s.align {
		lo, hi = 0, size-1
		v = (v + 1) / 2 * (size - 1)
	} else {
		v = ((v+1)*size - 1) / 2
	}
	if s.taps == 1 {
		v = math.RoundToEven(v)
	}
	if v != v || math.IsInf(v, 0) {
		v = -100
	}
	if v < lo || v > hi {
		switch s.padding {
		case "border":
			v = min(max(v, 0), size-1)
		case "reflection":
			v = reflect(v, lo, hi)
		}
	}
	first := math.Floor(v)
	f := v - first
	switch s.taps {
	case 1:
		first = v
		if s.padding == "reflection" {
			first = math.RoundToEven(v)
		}
		t.weight[0] = 1
	case 2:
		t.weight[0], t.weight[1] = 1-f, f
	case 4:
		first--
		const a = -0.75
		t.weight[0] = ((a*(f+1)-5*a)*(f+1)+8*a)*(f+1) - 4*a
		t.weight[1] = ((a+2)*f-(a+3))*f*f + 1
		t.weight[2] = ((a+2)*(1-f)-(a+3))*(1-f)*(1-f) + 1
		t.weight[3] = ((a*(2-f)-5*a)*(2-f)+8*a)*(2-f) - 4*a
	}
	for k := range s.taps {
		p := first + float64(k)
		if p < 0 || p > size-1 {
			switch s.padding {
			case "border":
				p = min(max(p, 0), size-1)
			case "reflection":
				p = min(max(reflect(p, lo, hi), 0), size-1)
			default:
				p = -1
			}
		}
		t.at[k] = int(p)
	}
	return t
}

// reflect folds v back into [lo, hi].
func reflect(v, lo, hi float64) float64 {
	span := hi - lo
	if span <= 0 {
		return 0
	}
	away := v - hi
	if v < lo {
		away = lo - v
	}
	if away <= 0 {
		return v
	}
	turns := math.Floor(away / span)
	rest := away - turns*span
	if (math.Mod(turns, 2) == 0) == (v < lo) {
		return lo + rest
	}
	return hi - rest
}

func gridSample[T float](m Memory, s *gridSampler) []Task {
	dst, src, grid := Data[T](m.Out[0]), Data[T](m.In[0]), Data[T](m.In[1])
	n := len(s.in)
	channels, inPlane := m.In[0].Shape[1], elems(s.in)
	points := elems(m.Out[0].Shape[2:])
	step := strides(s.in)
	taps := 1
	for range n {
		taps *= s.taps
	}
	return eachRow(m.Out[0].Shape[0]*points, channels*taps*4, func(r, _ int) {
		image, p := r/points, r%points
		var axes [maxGridAxes]gridTap
		for i := range n {
			axes[i] = s.tap(float64(grid[r*n+n-1-i]), i)
		}
		pace := m.pace()
		for ch := range channels {
			if pace.over(8 * taps) {
				return
			}
			plane := src[(image*channels+ch)*inPlane:][:inPlane]
			sum := 0.0
			for t := range taps {
				w, off, rest := 1.0, 0, t
				for i := n - 1; i >= 0; i-- {
					k := rest % s.taps
					rest /= s.taps
					if axes[i].at[k] < 0 {
						w = 0
						break
					}
					w *= axes[i].weight[k]
					off += axes[i].at[k] * step[i]
				}
				if w != 0 {
					sum += w * float64(plane[off])
				}
			}
			dst[(image*channels+ch)*points+p] = T(sum)
		}
	})
}

// lowerAffineGrid is the grid of an affine map: theta [N, n, n+1] applied to the
// places of an image's pixels.
func lowerAffineGrid(c *Call) (*Kernel, error) {
	if err := c.want(0, isFloat, "a float type"); err != nil {
		return nil, err
	}
	size, err := c.ConstInts(1)
	if err != nil {
		return nil, err
	}
	t := c.In[0].Type
	n := len(size) - 2
	if n != 2 && n != 3 || len(t.Shape) != 3 || t.Shape[0] != size[0] || t.Shape[1] != n || t.Shape[2] != n+1 {
		return nil, c.Invalid("maps %v to size %v, want N×2×3 matrices and 4 numbers, or N×3×4 and 5", t, size)
	}
	for _, d := range size {
		if d < 0 || d > maxElems {
			return nil, c.Invalid("size is %v, want numbers from 0 to %d", size, maxElems)
		}
	}
	out := Type{DType: t.DType, Shape: append(append([]int{size[0]}, size[2:]...), n)}
	if err := c.checkSize(out); err != nil {
		return nil, err
	}
	align := c.Int("align_corners", 0) != 0
	return &Kernel{Out: []Type{out}, FLOPs: 6 * float64(out.Elems()), Bind: func(m Memory) []Task {
		if t.DType == onnx.Double {
			return affineGrid[float64](m, size[2:], align)
		}
		return affineGrid[float32](m, size[2:], align)
	}}, nil
}

func affineGrid[T float](m Memory, size []int, align bool) []Task {
	dst, theta := Data[T](m.Out[0]), Data[T](m.In[0])
	n, points := len(size), elems(size)
	if points == 0 {
		return nil
	}
	return eachRow(len(dst)/n, n, func(r, _ int) {
		var at [4]float64 // the last axis first, then 1
		at[n] = 1
		for i, rest := n-1, r%points; i >= 0; i-- {
			p, d := float64(rest%size[i]), float64(size[i])
			rest /= size[i]
			switch {
			case align && d == 1:
				p = -1
			case align:
				p = 2*p/(d-1) - 1
			default:
				p = (2*p+1)/d - 1
			}
			at[n-1-i] = p
		}
		a := theta[r/points*n*(n+1):]
		for i := range n {
			sum := 0.0
			for j := range n + 1 {
				sum += float64(a[i*(n+1)+j]) * at[j]
			}
			dst[r*n+i] = T(sum)
		}
	})
}
