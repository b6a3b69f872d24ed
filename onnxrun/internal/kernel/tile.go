package kernel

import "unsafe"

// tile describes one call of the microkernel, the one inner loop behind the
// matrix product and every convolution. With R rows (of a matrix, or pixels of
// an image row) and C ≤ 2 vectors of Block outputs, it equals
//
//	for r := 0; r < R; r++ {
//		for j := 0; j < C*Block; j++ {
//			v, l := j/Block, j%Block
//			var s float32
//			if t.acc != 0  { s = t.c[r*t.crow+v*t.cvec+l] }
//			if t.bias != nil { s += t.bias[j] }
//			i := 0
//			for _, o := range t.off {
//				for k := 0; k < t.kseg; k++ {
//					s = fma(t.a[o+r*t.astep+k], t.b[i*PanelCols+j], s)
//					i++
//				}
//			}
//			if t.add != nil { s += t.add[r*t.addrow+v*t.addvec+l] }
//			if t.relu != 0 { s = max(s, 0) } // NaN stays
//			t.c[r*t.crow+v*t.cvec+l] = s
//		}
//	}
//
// Every output is one chain of multiply-adds in the order of the segments and
// of k, whatever R and C are: that is what keeps results independent of how
// callers cut their work. (The generic twin rounds the product; the assembly
// does not.)
//
// The assembly reads the fields by offset: keep the order.
type tile struct {
	a              []float32
	off            []int32 // start of each segment in a
	b              []float32
	c              []float32
	bias           []float32
	add            []float32
	kseg           int // steps of k in a segment
	astep          int // from row to row of a
	crow, cvec     int // from row to row, from vector to vector of c
	addrow, addvec int
	acc, relu      int
	bpanel         int // from panel to panel of b, in a wide tile

	ahead uintptr // see fetch
	pace  int
}

// tileRows returns the largest R the microkernel takes for C vectors.
func tileRows() int { return tileRowsAt[isa] }

var tileRowsAt = [...]int{generic: 8, avx2: 6, avx512: 14, neon: 5}

// fetch has the tiles that are run next, of n rows in all and so many steps of k each,
// bring elements [at, at+floats) of x into the second-level cache, as far as x has them,
// for when they are done. The weights of a network come from memory, or a cache that is
// shared: read only when they are needed, they are waited for. It is a hint, and what it
// holds an address, not a pointer: tiles advance it, beyond the end at last.
func (t *tile) fetch(x []float32, at, floats, n, steps int) {
	const most = 64 // bytes a step: a line
	t.ahead, t.pace = 0, 0
	if floats = min(floats, len(x)-at); floats > 0 && n > 0 && steps > 0 {
		t.ahead, t.pace = uintptr(unsafe.Pointer(&x[at])), min(most, ceil(4*floats, ceil(n, tileRows())*steps))
	}
}

// run computes a tile of rows×cols outputs; cols is Block or 2·Block.
func (t *tile) run(rows, cols int) {
	if tileSIMD(t, rows, cols) {
		return
	}
	for j := 0; j < cols; j += 8 {
		for r := 0; r < rows; r++ {
			t.generic(r, j)
		}
	}
}

// lanes computes rows pixels of Block lanes, group lanes by group lanes, with
// weights for each segment, lane of the group it reads and lane: tile's loop with
//
//	for j := 0; j < group; j++ {
//		s = fma(t.a[o+r*t.astep+l/group*group+j], t.b[(i*group+j)*Block+l], s)
//	}
//
// for the l'th lane in the i'th segment. group is 1, 2 or 4.
func (t *tile) lanes(rows, group int) {
	if group == 1 && lanesSIMD(t, rows) || group > 1 && groupsSIMD(t, rows, group) {
		return
	}
	for r := 0; r < rows; r++ {
		c := (*[Block]float32)(t.c[r*t.crow:])
		var s [Block]float32
		if t.acc != 0 {
			s = *c
		}
		if t.bias != nil {
			for l, b := range (*[Block]float32)(t.bias) {
				s[l] += b
			}
		}
		for i, o := range t.off {
			a := (*[Block]float32)(t.a[int(o)+r*t.astep:])
			for j := range group {
				b := (*[Block]float32)(t.b[(i*group+j)*Block:])
				if group == 1 {
					for l := range s {
						s[l] += float32(a[l] * b[l])
					}
					continue
				}
				for l := range s {
					s[l] += float32(a[(l&^(group-1)+j)%Block] * b[l])
				}
			}
		}
		if t.add != nil {
			for l, a := range (*[Block]float32)(t.add[r*t.addrow:]) {
				s[l] += a
			}
		}
		if t.relu != 0 {
			for l := range s {
				s[l] = max(s[l], 0)
			}
		}
		*c = s
	}
}

// generic computes outputs j to j+7 of row r.
func (t *tile) generic(r, j int) {
	var s [8]float32
	v, l := j/Block, j%Block
	c := (*[8]float32)(t.c[r*t.crow+v*t.cvec+l:])
	if t.acc != 0 {
		s = *c
	}
	if t.bias != nil {
		for i, b := range (*[8]float32)(t.bias[j:]) {
			s[i] += b
		}
	}
	n := t.kseg
	at := j
	for _, o := range t.off {
		chain8(&s, t.a[int(o)+r*t.astep:][:n], t.b[at:])
		at += n * PanelCols
	}
	if t.add != nil {
		for i, a := range (*[8]float32)(t.add[r*t.addrow+v*t.addvec+l:]) {
			s[i] += a
		}
	}
	if t.relu != 0 {
		for i := range s {
			s[i] = max(s[i], 0)
		}
	}
	*c = s
}

// chain8 adds x[k]·b[k*PanelCols+i] to s[i] in turn, in a function of its own
// so that nothing else competes for registers. The compiler moves all products
// of a basic block ahead of the sums; the bounds check in the middle cuts the
// block in two, else sixteen registers would not do and sums would live in
// memory.
func chain8(s *[8]float32, x, b []float32) {
	if len(x) == 0 {
		return
	}
	_ = b[(len(x)-1)*PanelCols+7]
	base := unsafe.Pointer(unsafe.SliceData(b))
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for k, p := range x {
		w := (*[8]float32)(unsafe.Add(base, k*PanelCols*4))
		s0 += float32(p * w[0])
		s1 += float32(p * w[1])
		s2 += float32(p * w[2])
		s3 += float32(p * w[3])
		_ = b[k*PanelCols+7]
		s4 += float32(p * w[4])
		s5 += float32(p * w[5])
		s6 += float32(p * w[6])
		s7 += float32(p * w[7])
	}
	s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7] = s0, s1, s2, s3, s4, s5, s6, s7
}
