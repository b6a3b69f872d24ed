package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// stopped is the error of a context that is done, asked for before every node and
// every part of one.
func stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("onnxrun: stopped: %w", err)
	}
	return nil
}

// guard makes err of a panic in the function that defers what it returns, and
// makes faults in a mapped file panics until then:
//
//	defer p.guard(node, &err)()
//
// n is the node that is worked on; nil when it is none in particular.
func (p *Program) guard(n *onnx.Node, err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = p.panicked(n, r)
		}
	}
}

// panicked is the error for what was recovered while a node was worked on.
// Kernels panic with an error of this project where the data of a run break a
// rule; everything else is a mistake here, or in a file that changed.
func (p *Program) panicked(n *onnx.Node, r any) error {
	where := ""
	if n != nil {
		where = n.Where()
	}
	if p.changed != nil && p.changed(r) {
		return onnx.ChangedError(where)
	}
	if err, ok := r.(error); ok {
		var index *ops.IndexError
		var format *onnx.FormatError
		var limit *onnx.LimitError
		if errors.As(err, &index) || errors.As(err, &format) || errors.As(err, &limit) {
			return err
		}
	}
	return &onnx.InternalError{Node: where, Value: r, Stack: debug.Stack()}
}

// memory is the account of what a program takes, in bytes.
type memory struct {
	most  int64        // 0 is no bound
	taken atomic.Int64 // by constants and what is made of them, as long as the program lives
	arena atomic.Int64 // by the largest machine of any plan
	plans atomic.Int64 // by plans for another time: their own constants and idle machines
}

// take is asked before memory is allocated for good, and some to work in for a while.
func (m *memory) take(kept, working int64) error {
	err := m.check(m.taken.Add(kept) + m.arena.Load() + working)
	if err != nil {
		m.taken.Add(-kept)
	}
	return err
}

// keep is take where an error can only be thrown.
func (m *memory) keep(bytes int) {
	if err := m.take(int64(bytes), 0); err != nil {
		panic(err)
	}
}

// fits is asked before a plan is made that takes this much beside the constants.
func (m *memory) fits(machine int64) error {
	for {
		old := m.arena.Load()
		if machine <= old {
			return nil
		}
		if err := m.check(sum(m.taken.Load(), machine)); err != nil {
			return err
		}
		if m.arena.CompareAndSwap(old, machine) {
			return nil
		}
	}
}

// sum adds sizes; it does not wrap around.
func sum(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

func (m *memory) check(bytes int64) error {
	if m.most > 0 && bytes > m.most {
		return onnx.Over("bytes of constants and of memory for one run", "Memory", bytes, m.most)
	}
	return nil
}
