package sampler

// The vector arithmetic of the samplers, the only code that knows how wide a
// state's numbers are. Coefficients and sums are float64 always, and a result
// is rounded once.

type float interface{ float32 | float64 }

// wide is a batch's state in float64. The tests set it: in float32, rounding
// would hide a wrong coefficient from the tenth digit on.
type wide struct {
	x, mean, score, z []float64
	past              [pasts][]float64
	field             func(dst, x, t []float64) error
	pull              func(dst, v, x, t []float64) error
}

// A slot names one of a batch's arrays, in either width.
type slot int

const (
	atX slot = iota
	atMean
	atScore
	atNoise
	atPast // the newest of the past evaluations; older ones follow

	pasts = 5
)

func (b *Batch) array(s slot) []float32 {
	switch s {
	case atX:
		return b.X
	case atMean:
		return b.Mean
	case atScore:
		return b.score
	case atNoise:
		return b.z
	}
	return b.past[s-atPast]
}

func (w *wide) array(s slot) []float64 {
	switch s {
	case atX:
		return w.x
	case atMean:
		return w.mean
	case atScore:
		return w.score
	case atNoise:
		return w.z
	}
	return w.past[s-atPast]
}

// keep makes room for n past evaluations.
func (b *Batch) keep(n int) {
	for k := range n {
		if w := b.wide; w != nil {
			w.past[k] = grow(w.past[k], len(w.x))
		} else {
			b.past[k] = grow(b.past[k], len(b.X))
		}
	}
}

// age makes each of n past evaluations one older; the oldest's array is free
// to become the newest.
func (b *Batch) age(n int) {
	if w := b.wide; w != nil {
		rotate(w.past[:n])
	} else {
		rotate(b.past[:n])
	}
}

func rotate[F float](past [][]F) {
	last := past[len(past)-1]
	copy(past[1:], past)
	past[0] = last
}

// A term is one array and its coefficient in a sum.
type term struct {
	c  float64
	of slot
}

// set is dst = Σ c_k v_k.
func (b *Batch) set(dst slot, terms ...term) {
	if w := b.wide; w != nil {
		var rows [maxTerms]row[float64]
		for k, t := range terms {
			rows[k] = row[float64]{t.c, w.array(t.of)}
		}
		combine(w.array(dst), nil, rows[:len(terms)])
		return
	}
	var rows [maxTerms]row[float32]
	for k, t := range terms {
		rows[k] = row[float32]{t.c, b.array(t.of)}
	}
	combine(b.array(dst), nil, rows[:len(terms)])
}

// arrive is x̄ = Σ c_k v_k, x = x̄ + r·z: the last line of every step. The
// noise must have been drawn unless r is 0.
func (b *Batch) arrive(r float64, terms ...term) {
	if w := b.wide; w != nil {
		var rows [maxTerms]row[float64]
		for k, t := range terms {
			rows[k] = row[float64]{t.c, w.array(t.of)}
		}
		rows[len(terms)] = row[float64]{r, w.z}
		combine(w.x, w.mean, rows[:len(terms)+1])
		return
	}
	var rows [maxTerms]row[float32]
	for k, t := range terms {
		rows[k] = row[float32]{t.c, b.array(t.of)}
	}
	rows[len(terms)] = row[float32]{r, b.z}
	combine(b.X, b.Mean, rows[:len(terms)+1])
}

// clip bounds an array's values.
func (b *Batch) clip(s slot, bound float64) {
	if w := b.wide; w != nil {
		clamp(w.array(s), bound)
	} else {
		clamp(b.array(s), bound)
	}
}

func clamp[F float](x []F, bound float64) {
	for i, v := range x {
		x[i] = max(min(v, F(bound)), F(-bound))
	}
}

const maxTerms = 8

type row[F float] struct {
	c float64
	v []F
}

// combine is dst = Σ c_k v_k, summed in order in float64 and rounded once. If
// there is a mean, the last row is noise: mean is the sum without it, and a
// coefficient of 0 leaves it out. dst and mean may be among the rows.
func combine[F float](dst, mean []F, rows []row[F]) {
	var noise row[F]
	if mean != nil {
		noise, rows = rows[len(rows)-1], rows[:len(rows)-1]
	}
	var part [256]float64 // stays in the first cache
	for from := 0; from < len(dst); from += len(part) {
		to := min(from+len(part), len(dst))
		sum := part[:to-from]
		for k, r := range rows {
			c, v := r.c, r.v[from:to]
			v = v[:len(sum)]
			if k == 0 {
				for i := range sum {
					sum[i] = float64(c * float64(v[i]))
				}
				continue
			}
			for i := range sum {
				sum[i] += float64(c * float64(v[i]))
			}
		}
		out := dst[from:to]
		out = out[:len(sum)]
		if mean == nil {
			for i, s := range sum {
				out[i] = F(s)
			}
			continue
		}
		m := mean[from:to]
		m = m[:len(sum)]
		if noise.c == 0 {
			for i, s := range sum {
				m[i], out[i] = F(s), F(s)
			}
			continue
		}
		z := noise.v[from:to]
		z = z[:len(sum)]
		for i, s := range sum {
			m[i] = F(s)
			out[i] = F(s + float64(noise.c*float64(z[i])))
		}
	}
}

// affine is mean = a·x + c·s, x = mean + r·z.
func affine[F float](mean, x, s, z []F, a, c, r float64) {
	mean, s, z = mean[:len(x)], s[:len(x)], z[:len(x)]
	for i, v := range x {
		m := float64(a*float64(v)) + float64(c*float64(s[i]))
		mean[i] = F(m)
		x[i] = F(m + float64(r*float64(z[i])))
	}
}

func scale[F, G float](dst []F, src []G, by float64) {
	for i, v := range src {
		dst[i] = F(by * float64(v))
	}
}

// squares is ‖x‖², summed in order.
func squares[F float](x []F) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	return sum
}

// nonFinite returns the index of the first NaN or infinity, or −1.
func nonFinite[F float](x []F) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
