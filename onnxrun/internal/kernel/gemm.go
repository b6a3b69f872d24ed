package kernel

import "sync"

// PanelCols is the width of a packed panel: two blocks, the widest output the
// microkernel holds in registers.
const PanelCols = 2 * Block

// Panels returns the number of packed panels that hold n columns.
func Panels(n int) int { return (n + PanelCols - 1) / PanelCols }

// PackedLen returns the length of the packed form of a k×n matrix.
func PackedLen(k, n int) int { return k * Panels(n) * PanelCols }

// PackB packs the row-major k×n matrix b, rows ldb apart, into panels of
// PanelCols columns, each panel one row after the other, zero past column n:
//
//	for p := 0; p < Panels(n); p++ {
//		for i := 0; i < k; i++ {
//			for j := 0; j < PanelCols; j++ {
//				dst[(p*k+i)*PanelCols+j] = b[i*ldb+p*PanelCols+j] // or 0
//			}
//		}
//	}
func PackB(dst, b []float32, k, n, ldb int) { PackBPanels(dst, b, k, n, ldb, 0, Panels(n)) }

// PackBPanels is PackB for panels [panel0,panel1).
func PackBPanels(dst, b []float32, k, n, ldb, panel0, panel1 int) {
	checkPanels("PackB", k, n, panel0, panel1)
	if k == 0 || panel0 == panel1 {
		return
	}
	if ldb < n {
		panic("kernel: PackB: ldb is less than n")
	}
	need("PackB dst", len(dst), panel1*k*PanelCols)
	need("PackB b", len(b), (k-1)*ldb+min(n, panel1*PanelCols))
	for p := panel0; p < panel1; p++ {
		j := p * PanelCols
		w := min(PanelCols, n-j)
		out := dst[p*k*PanelCols : (p+1)*k*PanelCols]
		for i := 0; i < k; i++ {
			row := (*[PanelCols]float32)(out[i*PanelCols:])
			if w == PanelCols {
				*row = [PanelCols]float32(b[i*ldb+j:])
			} else {
				copy(row[:w], b[i*ldb+j:])
				clear(row[w:])
			}
		}
	}
}

// PackBT packs the transpose of the row-major n×k matrix b, rows ldb apart, as
// PackB packs b itself:
//
//	dst[(p*k+i)*PanelCols+j] = b[(p*PanelCols+j)*ldb+i] // or 0
func PackBT(dst, b []float32, k, n, ldb int) { PackBTPanels(dst, b, k, n, ldb, 0, Panels(n)) }

// PackBTPanels is PackBT for panels [panel0,panel1).
func PackBTPanels(dst, b []float32, k, n, ldb, panel0, panel1 int) {
	checkPanels("PackBT", k, n, panel0, panel1)
	if k == 0 || panel0 == panel1 {
		return
	}
	if ldb < k {
		panic("kernel: PackBT: ldb is less than k")
	}
	need("PackBT dst", len(dst), panel1*k*PanelCols)
	need("PackBT b", len(b), (min(n, panel1*PanelCols)-1)*ldb+k)
	for p := panel0; p < panel1; p++ {
		j := p * PanelCols
		w := min(PanelCols, n-j)
		out := dst[p*k*PanelCols : (p+1)*k*PanelCols]
		transpose(out, b[j*ldb:], w, k, PanelCols, ldb)
		if w < PanelCols {
			for i := 0; i < k; i++ {
				clear(out[i*PanelCols+w : (i+1)*PanelCols])
			}
		}
	}
}

func checkPanels(what string, k, n, p0, p1 int) {
	if k < 0 || n < 0 || p0 < 0 || p1 < p0 || p1 > Panels(n) {
		panic("kernel: " + what + ": panels out of range")
	}
}

// Gemm multiplies the row-major m×k matrix a, rows lda apart, by the k×n matrix
// packed (see PackB) into c, rows ldc apart:
//
//	for i := 0; i < m; i++ {
//		for j := 0; j < n; j++ {
//			s := 0                    // c[i*ldc+j] if acc
//			s += bias[j]              // unless bias is nil
//			for l := 0; l < k; l++ {
//				s = fma(a[i*lda+l], b[l][j], s)
//			}
//			c[i*ldc+j] = s
//		}
//	}
//
// but that gemmK steps at a time are summed up from 0 and then added to what is there,
// which makes the error of a long sum smaller.
//
// A value of c depends on its row of a and its column of b alone, to the bit:
// not on m, n, or how the work is split. c must not overlap the others.
func Gemm(c []float32, ldc int, a []float32, lda int, packed []float32, m, n, k int, bias []float32, acc bool) {
	GemmPanels(c, ldc, a, lda, packed, m, n, k, 0, Panels(n), bias, acc)
}

// A block of gemmK rows of a panel (24 KiB) stays in the first-level cache
// while gemmM rows of a, that much of k wide, are read from the second level.
const (
	gemmK = 256
	gemmM = 448
)

var zeroOff = []int32{0}

// Rows whose distance is a multiple of gemmStride float32 (4 KiB) fall into the
// same set of the first-level cache, which has fewer ways than a tile has rows.
// They are copied, gemmCopyM rows at a time, to rows gemmCopyLd apart.
const (
	gemmStride = 1024
	gemmCopyM  = 126
	gemmCopyLd = gemmK + Block
)

var gemmCopies = sync.Pool{New: func() any { return new([gemmCopyM * gemmCopyLd]float32) }}

// GemmPanels is Gemm for the columns of panels [panel0,panel1): columns
// panel0*PanelCols to min(n, panel1*PanelCols). c, packed and bias are still
// the whole ones.
func GemmPanels(c []float32, ldc int, a []float32, lda int, packed []float32, m, n, k int, panel0, panel1 int, bias []float32, acc bool) {
	checkPanels("Gemm", k, n, panel0, panel1)
	if m <= 0 || panel0 == panel1 {
		if m < 0 {
			panic("kernel: Gemm: m is negative")
		}
		return
	}
	if ldc < n || lda < k {
		panic("kernel: Gemm: leading dimension is too small")
	}
	j1 := min(n, panel1*PanelCols)
	need("Gemm a", len(a), (m-1)*lda+k)
	need("Gemm c", len(c), (m-1)*ldc+j1)
	need("Gemm packed", len(packed), panel1*k*PanelCols)
	if bias != nil {
		need("Gemm bias", len(bias), j1)
	}
	if k == 0 {
		gemmEmpty(c, ldc, m, panel0*PanelCols, j1, bias, acc)
		return
	}
	if k <= shallowSteps && !acc {
		if panel0 = shallow(c, ldc, a, lda, packed, m, n, k, panel0, panel1, bias); panel0 == panel1 {
			return
		}
	}
	rmax := tileRows()
	var (
		t       tile
		edge    [16 * PanelCols]float32
		ebias   [PanelCols]float32
		tailBuf = edge[:rmax*PanelCols]
	)
	t.off = zeroOff
	t.bpanel = k * PanelCols
	wide := widePanels(m)
	height := gemmM
	var copied *[gemmCopyM * gemmCopyLd]float32
	if lda%gemmStride == 0 && m > 4 && panel1-panel0 > 2 {
		copied = gemmCopies.Get().(*[gemmCopyM * gemmCopyLd]float32)
		defer gemmCopies.Put(copied)
		height = gemmCopyM
	}
	for i0 := 0; i0 < m; i0 += height {
		i1 := min(m, i0+height)
		for k0 := 0; k0 < k; k0 += gemmK {
			t.kseg = min(gemmK, k-k0)
			// rows holds rows i0 to i1 of a from column k0 on.
			rows := a[i0*lda+k0:]
			t.astep = lda
			if copied != nil {
				t.astep = gemmCopyLd
				for i := i0; i < i1; i++ {
					copy(copied[(i-i0)*gemmCopyLd:][:t.kseg], a[i*lda+k0:])
				}
				rows = copied[:]
			}
			more := k0 > 0
			t.acc, t.add = 0, nil
			if acc && !more {
				t.acc = 1
			}
			p := panel0
			if wide > 0 {
				// Few rows: several panels at once, all of them full.
				for ; p+wide <= panel1 && (p+wide)*PanelCols <= n; p += wide {
					j := p * PanelCols
					t.b = packed[(p*k+k0)*PanelCols : ((p+wide-1)*k+k0+t.kseg)*PanelCols]
					t.a, t.c, t.crow, t.bias = rows, c[j:], ldc, nil
					t.addTo(more)
					if bias != nil && k0 == 0 {
						t.bias = bias[j : j+wide*PanelCols]
					}
					t.wide(m)
				}
			}
			for ; p < panel1; p++ {
				j := p * PanelCols
				w := min(PanelCols, n-j)
				t.b = packed[(p*k+k0)*PanelCols : (p*k+k0+t.kseg)*PanelCols]
				cols := PanelCols
				if w <= Block {
					cols = Block
				}
				t.bias = nil
				if bias != nil && k0 == 0 {
					if w == cols {
						t.bias = bias[j : j+w]
					} else {
						copy(ebias[:], bias[j:j+w])
						t.bias = ebias[:]
					}
				}
				t.fetch(packed, ((p+1)*k+k0)*PanelCols, t.kseg*PanelCols, i1-i0, t.kseg)
				for i := i0; i < i1; {
					h := evenly(i1-i, rmax)
					t.a = rows[(i-i0)*t.astep:]
					if w == cols {
						t.c, t.crow, t.cvec = c[i*ldc+j:], ldc, Block
						t.addTo(more)
						t.run(h, cols)
					} else {
						// A tile's width is fixed: the last columns go
						// through a buffer of that width.
						t.c, t.crow, t.cvec = tailBuf, PanelCols, Block
						t.addTo(more)
						if more || acc {
							for r := 0; r < h; r++ {
								copy(tailBuf[r*PanelCols:][:w], c[(i+r)*ldc+j:])
							}
						}
						t.run(h, cols)
						for r := 0; r < h; r++ {
							copy(c[(i+r)*ldc+j:][:w], tailBuf[r*PanelCols:])
						}
					}
					i += h
				}
			}
		}
	}
}

// addTo makes the tile add its sums to what is in c, when it holds some already.
func (t *tile) addTo(more bool) {
	if more {
		t.add, t.addrow, t.addvec = t.c, t.crow, t.cvec
	}
}

// evenly returns the height of the next tile when n rows remain: as few tiles
// as rmax allows, none much smaller than the others.
func evenly(n, rmax int) int {
	tiles := (n + rmax - 1) / rmax
	return (n + tiles - 1) / tiles
}

func gemmEmpty(c []float32, ldc, m, j0, j1 int, bias []float32, acc bool) {
	for i := 0; i < m; i++ {
		row := c[i*ldc+j0 : i*ldc+j1]
		if !acc {
			clear(row)
		}
		if bias != nil {
			for j := range row {
				row[j] += bias[j0+j]
			}
		}
	}
}
