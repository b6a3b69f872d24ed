package plan

import (
	"cmp"
	"math/rand/v2"
	"slices"
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
		packed, err := pack(t.Context(), regions)
		if err != nil {
			t.Fatal(err)
		}
		total := int(packed)
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

// packOneByOne is pack as it is said: every region against all that are placed.
func packOneByOne(regions []*region) {
	slices.SortStableFunc(regions, func(a, b *region) int { return cmp.Compare(b.size, a.size) })
	var placed []*region
	for _, r := range regions {
		r.offset = 0
		for again := true; again; {
			again = false
			for _, p := range placed {
				if p.first <= r.last && r.first <= p.last && p.offset < r.offset+r.size && r.offset < p.offset+p.size {
					r.offset, again = p.offset+p.size, true
				}
			}
		}
		placed = append(placed, r)
	}
}

// Regions lie where a search through all that are placed puts them.
func TestPackIsFirstFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for try := range 300 {
		steps, sizes := 1+rng.IntN(200), 1+rng.IntN(20)
		var regions, same []*region
		for range 1 + rng.IntN(200) {
			first := rng.IntN(steps+1) - 1
			r := region{size: 64 * rng.IntN(sizes+1), first: first, last: first + rng.IntN(1+rng.IntN(steps))}
			if rng.IntN(5) == 0 {
				r.last = forever
			}
			regions, same = append(regions, &r), append(same, &region{size: r.size, first: r.first, last: r.last})
		}
		if _, err := pack(t.Context(), regions); err != nil {
			t.Fatal(err)
		}
		packOneByOne(same)
		for i, r := range regions {
			if r.offset != same[i].offset {
				t.Fatalf("instance %d: region %+v, want it at %d", try, r, same[i].offset)
			}
		}
	}
}
