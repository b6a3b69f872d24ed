package ops

import (
	"cmp"
	"slices"
)

// sortWhole is the length of the rows that are sorted at one go: some ten milliseconds.
const sortWhole = 1 << 18

// A ranking sorts the places of a row by the numbers there, which lie step apart:
// the largest or the smallest first, of equal ones the first one first.
type ranking[T number] struct {
	row     []T
	step    int
	largest bool
}

func (r *ranking[T]) compare(a, b int32) int {
	d := cmp.Compare(r.row[int(a)*r.step], r.row[int(b)*r.step])
	if r.largest {
		d = -d
	}
	if d == 0 {
		d = cmp.Compare(a, b)
	}
	return d
}

// first puts the first count places of the row in order into order[:count]; order
// has one element for each place. It is false when p was over before.
func (r *ranking[T]) first(order []int32, count int, p *pace) bool {
	if len(order) <= sortWhole {
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortFunc(order, r.compare)
		return true
	}
	// The count best so far are a heap with the worst of them on top.
	heap := order[:count]
	for i := range heap {
		heap[i] = int32(i)
	}
	for i := count/2 - 1; i >= 0; i-- {
		if p.over(64) {
			return false
		}
		r.sift(heap, i)
	}
	for i := count; i < len(order); i++ {
		if p.over(8) {
			return false
		}
		if r.compare(int32(i), heap[0]) < 0 {
			p.over(128)
			heap[0] = int32(i)
			r.sift(heap, 0)
		}
	}
	for n := count - 1; n > 0; n-- {
		if p.over(256) {
			return false
		}
		heap[0], heap[n] = heap[n], heap[0]
		r.sift(heap[:n], 0)
	}
	return true
}

// sift moves element i of a heap down to where it belongs.
func (r *ranking[T]) sift(heap []int32, i int) {
	for {
		child := 2*i + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && r.compare(heap[child], heap[child+1]) < 0 {
			child++
		}
		if r.compare(heap[i], heap[child]) >= 0 {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}
