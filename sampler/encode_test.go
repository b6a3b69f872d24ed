package sampler

import (
	"context"
	"math"
	"testing"

	"sampleonnx/schedules"
)

// There and back again on the exact score of a mixture, within what the
// tolerance leaves, alone and in a batch. (Between the modes, where the density
// is 10⁻⁵ of theirs, neighbouring codes of float32 are 10⁻³ apart as data.)
func TestEncodeAndBack(t *testing.T) {
	data := []float32{0.9, -0.4, 0.35, -0.75, 0.45, 0.8, 0.6, -0.3, 0.3, 1.2, -0.9, 0.1}
	const tol = 1e-7
	for name, sde := range map[string]schedules.SDE{
		"ve": schedules.VE{SigmaMin: 0.01, SigmaMax: 4}, "vp": schedules.VP{}, "sub-vp": schedules.SubVP{},
	} {
		for _, coupled := range []bool{false, true} {
			f := Flow{SDE: sde, RTol: tol, ATol: tol, Coupled: coupled}
			b := &Batch{X: append([]float32(nil), data...), Dim: testDim}
			done := 0.0
			b.Trace = func(p Progress) error {
				if p.Done < done {
					t.Errorf("%s: progress fell from %g to %g", name, done, p.Done)
				}
				done = p.Done
				return nil
			}
			if err := f.Encode(context.Background(), b, curved(sde)); err != nil {
				t.Fatal(err)
			}
			if done != 1 {
				t.Errorf("%s: ended at %g", name, done)
			}
			done = 0
			codes := append([]float32(nil), b.X...)
			far := math.Sqrt(squares(codes) / float64(len(codes)))
			if far < 0.3*sde.Prior() || far > 3*sde.Prior() {
				t.Errorf("%s: codes of size %.2g, want about the prior's %g", name, far, sde.Prior())
			}
			if err := f.Sample(context.Background(), b, curved(sde)); err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, v := range b.X {
				worst = max(worst, math.Abs(float64(v-data[i])))
			}
			t.Logf("%s, coupled %v: data come back within %.2g", name, coupled, worst)
			if worst > 10*tol {
				t.Errorf("%s: data come back off by %g", name, worst)
			}
			if coupled {
				continue
			}
			one := &Batch{X: append([]float32(nil), data[testDim:2*testDim]...), Dim: testDim}
			if err := f.Encode(context.Background(), one, curved(sde)); err != nil {
				t.Fatal(err)
			}
			if !same(one.X, codes[testDim:2*testDim]) {
				t.Errorf("%s: a datum's code depends on its batch", name)
			}
		}
	}
	if err := (Flow{}).Encode(context.Background(), &Batch{X: make([]float32, 3), Dim: 3}, curved(schedules.VP{})); err == nil {
		t.Error("zero Flow: no error")
	}
}

// On a Gaussian the code of x is c_T + √(w_T/w_ε)(x−c_ε).
func TestEncodeExactly(t *testing.T) {
	for _, p := range papers {
		cT, wT, _ := p.place(1)
		c0, w0, _ := p.place(p.eps)
		score := func(dst, x []float32, ts []float64) error {
			for i, v := range x {
				c, w, _ := p.place(ts[i])
				dst[i] = float32((c - float64(v)) / w)
			}
			return nil
		}
		data := []float32{-0.2, 0.4, 0.7, 1.3, 2}
		b := &Batch{X: append([]float32(nil), data...), Dim: 1}
		if err := (Flow{SDE: p.sde, Eps: p.eps, RTol: 1e-7, ATol: 1e-7}).Encode(context.Background(), b, score); err != nil {
			t.Fatal(err)
		}
		for i, z := range b.X {
			closeTo(t, p.name, float64(z), cT+math.Sqrt(wT/w0)*(float64(data[i])-c0), 2e-5)
		}
	}
}

func TestSlerp(t *testing.T) {
	const dim = 64
	var a, b, d [2 * dim]float32
	for k, v := range []*[2 * dim]float32{&a, &b} {
		if err := Philox(3).Normal(v[:], Draw{Index: uint64(k), Dim: dim}); err != nil {
			t.Fatal(err)
		}
		for s := range 2 { // to norms of 5 and 7
			row := v[s*dim : (s+1)*dim]
			scale(row, row, float64(5+2*s)/math.Sqrt(squares(row)))
		}
	}
	for _, part := range []float64{0, 0.125, 0.5, 0.9, 1} {
		Slerp(d[:], a[:], b[:], dim, part)
		for s := range 2 {
			row := d[s*dim : (s+1)*dim]
			closeTo(t, "norm", math.Sqrt(squares(row)), float64(5+2*s), 1e-6)
			// The angle from a is the part of the whole.
			angle := func(u, v []float32) float64 {
				dot := 0.0
				for i := range u {
					dot += float64(u[i]) * float64(v[i])
				}
				return math.Acos(min(1, dot/math.Sqrt(squares(u)*squares(v))))
			}
			from, to := a[s*dim:(s+1)*dim], b[s*dim:(s+1)*dim]
			if got, want := angle(from, row), part*angle(from, to); math.Abs(got-want) > 1e-3 {
				t.Errorf("part %g: at the angle %.5f, want %.5f", part, got, want)
			}
		}
		line := []float32{0}
		Slerp(line, []float32{-1}, []float32{3}, 1, part)
		closeTo(t, "one dimension", float64(line[0]), 4*part-1, 1e-6)
	}
	Slerp(d[:], a[:], a[:], dim, 0.3)
	for i, v := range d {
		closeTo(t, "from a to a", float64(v), float64(a[i]), 1e-6)
	}
}
