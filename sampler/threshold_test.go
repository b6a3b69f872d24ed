package sampler

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// quantile against sorting, with ties, order and infinities.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 2000 {
		v := make([]float32, 1+r.IntN(60))
		for i := range v {
			switch trial % 4 {
			case 0:
				v[i] = r.Float32()
			case 1:
				v[i] = float32(r.IntN(4))
			case 2:
				v[i] = float32(i)
			case 3:
				v[i] = float32(-i)
				if r.IntN(9) == 0 {
					v[i] = float32(math.Inf(1))
				}
			}
		}
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		for _, q := range []float64{0, 0.25, 0.5, 0.995, 1, r.Float64()} {
			at := q * float64(len(v)-1)
			k := int(at)
			want := float64(sorted[k])
			if part := at - float64(k); part > 0 {
				want += part * (float64(sorted[k+1]) - want)
			}
			if got := quantile(slices.Clone(v), q); got != want && !(got != got && want != want) && math.Abs(got-want) > 1e-15*math.Abs(want) {
				t.Fatalf("quantile %g of %v is %v, want %v", q, sorted, got, want)
			}
		}
	}
}

// What the paper says, on one sample: clipped to the quantile and divided by
// it; below 1 nothing but clipping; above Most no more than that.
func TestThreshold(t *testing.T) {
	for _, row := range []struct {
		h       Threshold
		x, want []float32
	}{
		{Threshold{0.5, 10}, []float32{-4, 2, 1, 0.5, 3}, []float32{-1, 1, 0.5, 0.25, 1}},
		{Threshold{0.25, 10}, []float32{-4, 0.2, 0.1, 0.5, 3}, []float32{-1, 0.2, 0.1, 0.5, 1}},
		{Threshold{1, 2}, []float32{-4, 1}, []float32{-1, 0.5}},
		{Threshold{Ratio: 1}, []float32{-4, 0.5}, []float32{-1, 0.5}},
	} {
		got := slices.Clone(row.x)
		row.h.apply(got, nil)
		if !slices.Equal(got, row.want) {
			t.Errorf("%+v of %v is %v, want %v", row.h, row.x, got, row.want)
		}
	}
	nan := []float32{float32(math.NaN()), 5}
	if (Threshold{Ratio: 1}).apply(nan, nil); nan[0] == nan[0] || nan[1] != 5 {
		t.Errorf("a sample that is not finite became %v", nan)
	}
	if s := (Threshold{}).Of(DEIS{Order: 3}); s.(DEIS).Order != 3 {
		t.Error("the zero threshold is not none")
	}
}
