package plan

import (
	"math/rand/v2"
	"testing"
)

// Regions in use at the same time never overlap, and the arena is no larger
// than keeping everything apart would make it, nor smaller than the busiest step.
func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var regions []*region
		n := 1 + rng.IntN(60)
		sum := 0
		for range n {
			first := rng.IntN(50)
			r := &region{size: 64 * rng.IntN(20), first: first, last: first + rng.IntN(20)}
			if rng.IntN(10) == 0 {
				r.last = forever
			}
			regions = append(regions, r)
			sum += r.size
		}
		total, err := pack(t.Context(), regions)
		if err != nil {
			t.Fatal(err)
		}
		if total > sum {
			t.Fatalf("arena of %d bytes for values of %d", total, sum)
		}
		for i, a := range regions {
			if a.offset < 0 || a.offset+a.size > total || a.offset%64 != 0 {
				t.Fatalf("region at %d of %d bytes in an arena of %d", a.offset, a.size, total)
			}
			for _, b := range regions[:i] {
				together := a.first <= b.last && b.first <= a.last
				overlap := a.offset < b.offset+b.size && b.offset < a.offset+a.size
				if together && overlap {
					t.Fatalf("regions %+v and %+v share memory while both are in use", a, b)
				}
			}
		}
		for step := range 70 {
			live := 0
			for _, r := range regions {
				if r.first <= step && step <= r.last {
					live += r.size
				}
			}
			if live > total {
				t.Fatalf("step %d needs %d bytes, the arena has %d", step, live, total)
			}
		}
	}
}
