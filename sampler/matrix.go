package sampler

import (
	"fmt"
	"math"
)

// Matrix measures y = A x for a matrix in rows of cols values. Its
// pseudo-inverse is found once, by Jacobi's one-sided rotations (Hestenes 1958),
// and takes singular values below 1e-9 of the largest for 0. A matrix is finite, not
// all 0, and has at most 1024 rows or at most as many columns.
func Matrix(a []float64, cols int) (Operator, error) {
	if cols < 1 || len(a) == 0 || len(a)%cols != 0 {
		return nil, fmt.Errorf("sampler: %d values are no matrix of %d columns", len(a), cols)
	}
	rows := len(a) / cols
	if min(rows, cols) > maxMatrix {
		return nil, fmt.Errorf("sampler: a matrix of %d×%d: one side is at most %d", rows, cols, maxMatrix)
	}
	if i := nonFinite(a); i >= 0 {
		return nil, fmt.Errorf("sampler: a matrix's element at row %d, column %d is %g", i/cols, i%cols, a[i])
	}
	m := &matrix{a: append([]float64(nil), a...), rows: rows, cols: cols}
	if !m.decompose() {
		return nil, fmt.Errorf("sampler: a matrix of %d×%d has no value but 0", rows, cols)
	}
	return m, nil
}

const maxMatrix = 1024

// matrix is A = Σ_k u_k v_kᵀ with orthogonal u_k and v_k, one of length 1 and the
// other of the singular value σ_k, so that A⁺ = Σ_k v_k u_kᵀ/σ_k².
type matrix struct {
	a          []float64
	rows, cols int
	u, v       [][]float64
	value2     []float64 // σ_k²
}

func (m *matrix) Size() (rows, cols int) { return m.rows, m.cols }

func (m *matrix) Apply(y, x []float64) {
	for i := range y {
		y[i] = dot(m.a[i*m.cols:(i+1)*m.cols], x)
	}
}

func (m *matrix) Adjoint(x, y []float64) {
	clear(x)
	for i, v := range y {
		axpy(x, v, m.a[i*m.cols:(i+1)*m.cols])
	}
}

func (m *matrix) Inverse(x, y []float64) {
	clear(x)
	for k, u := range m.u {
		axpy(x, dot(u, y)/m.value2[k], m.v[k])
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v * b[i])
	}
	return sum
}

func axpy(dst []float64, c float64, v []float64) {
	for i, w := range v {
		dst[i] += float64(c * w)
	}
}

// decompose rotates the shorter side's vectors, rows or columns, against each
// other until they are orthogonal: W = Q·A or A·Q with an orthogonal Q. It
// reports whether there is any that is not 0.
func (m *matrix) decompose() bool {
	byRows := m.rows <= m.cols
	n, long := m.cols, m.rows
	if byRows {
		n, long = m.rows, m.cols
	}
	w, q := make([][]float64, n), make([][]float64, n)
	for k := range n {
		w[k], q[k] = make([]float64, long), make([]float64, n)
		q[k][k] = 1
		for i := range long {
			if byRows {
				w[k][i] = m.a[k*m.cols+i]
			} else {
				w[k][i] = m.a[i*m.cols+k]
			}
		}
	}
	for range 40 { // sweeps; it takes about ten
		if !orthogonalise(w, q) {
			break
		}
	}
	most := 0.0
	for _, v := range w {
		most = max(most, dot(v, v))
	}
	for k, v := range w {
		s2 := dot(v, v)
		if !(s2 > 1e-18*most) {
			continue
		}
		m.value2 = append(m.value2, s2)
		if byRows { // A = Qᵀ W: A⁺ = Wᵀ diag(1/σ²) Q
			m.u, m.v = append(m.u, q[k]), append(m.v, v)
		} else { // A = W Qᵀ: A⁺ = Q diag(1/σ²) Wᵀ
			m.u, m.v = append(m.u, v), append(m.v, q[k])
		}
	}
	return len(m.u) > 0
}

// orthogonalise is a sweep over all pairs; it reports whether it had to turn any.
func orthogonalise(w, q [][]float64) (turned bool) {
	for i := range w {
		for j := range i {
			a, b, c := dot(w[i], w[i]), dot(w[j], w[j]), dot(w[i], w[j])
			if math.Abs(c) <= 1e-14*math.Sqrt(a*b) {
				continue
			}
			turned = true
			zeta := (b - a) / (2 * c)
			t := 1 / (math.Abs(zeta) + math.Sqrt(1+float64(zeta*zeta)))
			if zeta < 0 {
				t = -t
			}
			cos := 1 / math.Sqrt(1+float64(t*t))
			rotate2(w[i], w[j], cos, cos*t)
			rotate2(q[i], q[j], cos, cos*t)
		}
	}
	return turned
}

// rotate2 turns a pair of vectors: a ← c·a − s·b, b ← s·a + c·b.
func rotate2(a, b []float64, c, s float64) {
	for i, v := range a {
		a[i], b[i] = float64(c*v)-float64(s*b[i]), float64(s*v)+float64(c*b[i])
	}
}
