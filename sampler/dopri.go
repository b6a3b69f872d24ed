package sampler

import (
	"fmt"
	"math"
)

// rhs is dy/dt of systems that lie side by side in y, each at its own time;
// id tells which of the original systems each one is.
type rhs func(dst, y []float64, t []float64, id []int) error

// dopri integrates independent systems dy/dt = f(t, y) by the embedded
// Runge–Kutta pair of Dormand and Prince (1980), order 5(4), with the step
// control of scipy's RK45 (Hairer, Nørsett & Wanner, Solving Ordinary
// Differential Equations I, section II.4), step for step.
//
// Every system has its own time, step and error norm; all of them are
// evaluated in one call of f, and a system that has arrived drops out. What
// comes out for a system is the same whatever its neighbours. One system of
// all samples is the published code's coupled batch.
type dopri struct {
	rtol, atol float64
	heun       bool // the pair of Heun and Euler in place of Dormand and Prince's

	// The systems still on their way, packed.
	id       []int
	t, h     []float64 // time; size of the next step, > 0
	step     []float64 // the step being tried, signed
	ts       []float64 // times of the stage
	rejected []bool    // the step before was rejected
	y, next  []float64
	k        [7][]float64

	active int
	size   int
}

// A pair is an embedded pair's tableau. The last stage is f at the new point,
// and the next step's first; e is the difference of the two orders, and root
// undoes the power of h it goes with.
type pair struct {
	c    []float64
	a    [][]float64
	e    []float64
	root func(float64) float64
}

var dormandPrince = pair{
	c: []float64{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1},
	a: [][]float64{
		1: {1. / 5},
		2: {3. / 40, 9. / 40},
		3: {44. / 45, -56. / 15, 32. / 9},
		4: {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
		5: {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
		6: {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
	},
	e:    []float64{-71. / 57600, 0, 71. / 16695, -71. / 1920, 17253. / 339200, -22. / 525, 1. / 40},
	root: fifthRoot,
}

// heunEuler is of order 2(1).
var heunEuler = pair{
	c:    []float64{0, 1, 1},
	a:    [][]float64{1: {1}, 2: {1. / 2, 1. / 2}},
	e:    []float64{-1. / 2, 1. / 2, 0},
	root: math.Sqrt,
}

func (d *dopri) pair() *pair {
	if d.heun {
		return &heunEuler
	}
	return &dormandPrince
}

// A stuckError is a system whose step has shrunk to nothing.
type stuckError struct {
	id int
	t  float64
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("sampler: system %d: the ODE solver's step became too small at t=%.6g", e.id, e.t)
}

// solve carries the systems in y, size values each, from t0 to t1. After every
// attempted step it calls after, which sees the solver's state.
func (d *dopri) solve(f rhs, y []float64, size int, t0, t1 float64, after func(attempts int) error) error {
	n := len(y) / size
	d.size, d.active = size, n
	d.id, d.rejected = grow(d.id, n), grow(d.rejected, n)
	d.t, d.h, d.step, d.ts = grow(d.t, n), grow(d.h, n), grow(d.step, n), grow(d.ts, n)
	d.y, d.next = grow(d.y, len(y)), grow(d.next, len(y))
	for j := range d.k {
		d.k[j] = grow(d.k[j], len(y))
	}
	copy(d.y, y)
	for i := range n {
		d.id[i], d.t[i], d.rejected[i] = i, t0, false
	}
	if t0 == t1 {
		return nil
	}
	if err := d.first(f, t0, t1); err != nil {
		return err
	}
	for attempts := 1; d.active > 0; attempts++ {
		if err := d.attempt(f, t1); err != nil {
			return err
		}
		d.judge(y, t1)
		if err := after(attempts); err != nil {
			return err
		}
	}
	return nil
}

// first chooses every system's first step from the size of f and of its
// change over a small trial step.
func (d *dopri) first(f rhs, t0, t1 float64) error {
	n, sign, span := d.active, math.Copysign(1, t1-t0), math.Abs(t1-t0)
	f0, f1 := d.k[0], d.k[1]
	if err := f(f0, d.y, d.t[:n], d.id[:n]); err != nil {
		return err
	}
	for i := range n {
		y, k := d.row(d.y, i), d.row(f0, i)
		d0, d1 := d.rms(y, y), d.rms(k, y)
		h0 := 1e-6
		if d0 >= 1e-5 && d1 >= 1e-5 {
			h0 = 0.01 * d0 / d1
		}
		h0 = min(h0, span)
		d.h[i] = h0
		d.ts[i] = t0 + float64(sign*h0)
		next := d.row(d.next, i)
		for j, v := range y {
			next[j] = v + float64(sign*h0*k[j])
		}
	}
	if err := f(f1, d.next, d.ts[:n], d.id[:n]); err != nil {
		return err
	}
	for i := range n {
		y, k0, k1 := d.row(d.y, i), d.row(f0, i), d.row(f1, i)
		h0, d1 := d.h[i], d.rms(k0, y)
		for j := range k1 {
			k1[j] -= k0[j]
		}
		d2 := d.rms(k1, y) / h0
		h1 := max(1e-6, h0*1e-3)
		if big := max(d1, d2); big > 1e-15 {
			h1 = d.pair().root(0.01 / big)
		}
		d.h[i] = min(100*h0, h1, span)
	}
	return nil
}

// attempt tries one step of every system: y(t+h) in next, the stages in k.
func (d *dopri) attempt(f rhs, t1 float64) error {
	n := d.active
	for i := range n {
		t, h := d.t[i], d.h[i]
		smallest := 10 * math.Abs(math.Nextafter(t, math.Copysign(math.Inf(1), t1-t))-t)
		if d.rejected[i] && h < smallest {
			return &stuckError{d.id[i], t}
		}
		h = max(h, smallest)
		if h >= math.Abs(t1-t) {
			d.step[i] = t1 - t
		} else {
			// What is added to t, after rounding.
			d.step[i] = t + math.Copysign(h, t1-t) - t
		}
		d.h[i] = math.Abs(d.step[i])
	}
	pair := d.pair()
	for s := 1; s < len(pair.c); s++ {
		for i := range n {
			d.ts[i] = d.t[i] + float64(pair.c[s]*d.step[i])
			d.advance(i, pair.a[s])
		}
		all := n * d.size
		if err := f(d.k[s][:all], d.next[:all], d.ts[:n], d.id[:n]); err != nil {
			return err
		}
	}
	return nil
}

// advance is next = y + h Σ a_j k_j for one system.
func (d *dopri) advance(i int, a []float64) {
	y, next, h := d.row(d.y, i), d.row(d.next, i), d.step[i]
	clear(next)
	for j, aj := range a {
		if aj == 0 {
			continue
		}
		for e, v := range d.row(d.k[j], i) {
			next[e] += float64(aj * v)
		}
	}
	for e, v := range y {
		next[e] = v + float64(h*next[e])
	}
}

// judge accepts or rejects every system's attempt, sets its next step, and
// packs the systems that are still on their way.
func (d *dopri) judge(out []float64, t1 float64) {
	kept, pair := 0, d.pair()
	for i := range d.active {
		size := d.norm(i)
		if size < 1 {
			grew := 10.0
			if size > 0 {
				grew = min(10, 0.9/pair.root(size))
			}
			if d.rejected[i] {
				grew = min(1, grew)
			}
			arrived := d.step[i] == t1-d.t[i]
			d.t[i] += d.step[i]
			d.h[i] *= grew
			d.rejected[i] = false
			if arrived {
				copy(out[d.id[i]*d.size:], d.row(d.next, i))
				continue
			}
			copy(d.row(d.y, i), d.row(d.next, i))
			copy(d.row(d.k[0], i), d.row(d.k[len(pair.c)-1], i))
		} else {
			shrank := 0.9 / pair.root(size)
			if !(shrank > 0.2) { // or not a number
				shrank = 0.2
			}
			d.h[i] *= shrank
			d.rejected[i] = true
		}
		if kept != i {
			d.id[kept], d.t[kept], d.h[kept], d.rejected[kept] = d.id[i], d.t[i], d.h[i], d.rejected[i]
			copy(d.row(d.y, kept), d.row(d.y, i))
			copy(d.row(d.k[0], kept), d.row(d.k[0], i))
		}
		kept++
	}
	d.active = kept
}

// norm is the size of the difference between the two orders, in units of
// what the tolerances allow.
func (d *dopri) norm(i int) float64 {
	y, next, h, pair := d.row(d.y, i), d.row(d.next, i), d.step[i], d.pair()
	sum := 0.0
	for e := range y {
		diff := 0.0
		for j, w := range pair.e {
			diff += float64(w * d.k[j][i*d.size+e])
		}
		v := diff * h / (d.atol + float64(max(math.Abs(y[e]), math.Abs(next[e]))*d.rtol))
		sum += float64(v * v)
	}
	return math.Sqrt(sum / float64(d.size))
}

// rms is the root mean square of v in units of the tolerances at y.
func (d *dopri) rms(v, y []float64) float64 {
	sum := 0.0
	for e, x := range v {
		x /= d.atol + float64(math.Abs(y[e])*d.rtol)
		sum += float64(x * x)
	}
	return math.Sqrt(sum / float64(len(v)))
}

func (d *dopri) row(v []float64, i int) []float64 { return v[i*d.size : (i+1)*d.size] }

// fifthRoot is x^{1/5} by Newton's iteration: unlike math.Pow, it has the same
// bits everywhere.
func fifthRoot(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || x != x {
		return x
	}
	m, e := math.Frexp(x)
	// x = m·2^e with e a multiple of 5 and m in [1/32, 1).
	for e%5 != 0 {
		m, e = m/2, e+1
	}
	r := 1.0
	for range 16 {
		r2 := float64(r * r)
		r -= (r - m/float64(r2*r2)) / 5
	}
	return math.Ldexp(r, e/5)
}
