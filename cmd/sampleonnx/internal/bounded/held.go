package bounded

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// LimitError says that a run would hold more than it may.
type LimitError struct {
	What     string // is to be held: a file, or what is made of it
	Got, Max int64  // bytes, with what is held already
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d bytes of data, with those that are held already, are over the limit of %d", e.What, e.Got, e.Max)
}

// standard is the limit of a context without one.
const standard = 4 << 30

// held counts the bytes of a run.
type held struct {
	mu       sync.Mutex
	got, max int64
}

type key struct{}

// With is a context whose run may hold so many bytes in all. They travel with the deadline, which bounds the same work: both are of one run and of
// whatever it calls.
func With(ctx context.Context, most int64) context.Context {
	return context.WithValue(ctx, key{}, &held{max: most})
}

// Take counts the product of sizes as bytes that are held from now on. What would be too much is a *LimitError, and not counted.
func Take(ctx context.Context, what string, sizes ...int) error {
	h, ok := ctx.Value(key{}).(*held)
	if !ok {
		h = &held{max: standard}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	got := int64(1)
	for _, n := range sizes {
		if n <= 0 {
			return nil
		}
		if got > math.MaxInt64/int64(n) {
			got = math.MaxInt64
		} else {
			got *= int64(n)
		}
	}
	got += min(h.got, math.MaxInt64-got)
	if got > min(h.max, math.MaxInt) {
		return &LimitError{what, got, h.max}
	}
	h.got = got
	return nil
}
