package onnxrun

import (
	"context"
	"math"
	"time"

	"sampleonnx/onnxrun/internal/plan"
)

// Stats is what is known of a model's plan for given inputs before it runs.
type Stats struct {
	Nodes  []NodeStats // in running order
	FLOPs  float64     // multiplications and additions of one run
	Memory int         // bytes that a run works in: everything but the weights
	Out    []int       // where each output comes from, as in NodeStats.From
}

// NodeStats is one operator of a plan. Operators that the plan has joined
// appear as one, under a name of this project.
type NodeStats struct {
	Name  string
	Op    string
	Algo  string // the algorithm chosen, where there is a choice
	Shape []int  // of the first output
	FLOPs float64
	From  []int         // where its inputs come from: a place in Stats.Nodes, or −1−k for input k; constants are left out
	Time  time.Duration // of the profiled run; 0 from Plan
}

// ISA names the instruction set that the kernels of this process use:
// "avx512", "avx2", "neon" or "generic".
func ISA() string { return plan.ISA() }

// Peak measures the arithmetic that one thread can do, in multiplications and
// additions of float32 a second: what the rates of [NodeStats] are shares of.
func Peak() float64 { return plan.Peak() }

// Plan compiles the model for inputs of these shapes and says what a run will
// do; of the data, only those that decide shapes are looked at.
func (m *Model) Plan(ctx context.Context, inputs ...Tensor) (*Stats, error) {
	bound, types, err := m.bind(inputs)
	if err != nil {
		return nil, err
	}
	pl, err := m.planFor(ctx, types, bound)
	if err != nil {
		return nil, err
	}
	w := pl.Wiring()
	s := &Stats{Memory: int(min(pl.Arena+pl.Tables, math.MaxInt)), Out: w.Out}
	for i, n := range pl.Nodes() {
		s.FLOPs += n.FLOPs
		s.Nodes = append(s.Nodes, NodeStats{Name: n.Name, Op: n.Op, Algo: n.Algo, Shape: n.Out.Shape, FLOPs: n.FLOPs, From: w.From[i]})
	}
	return s, nil
}

// Profile runs the model once and times every operator.
func (m *Model) Profile(ctx context.Context, inputs ...Tensor) (*Stats, error) {
	s, err := m.Plan(ctx, inputs...)
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, len(s.Nodes))
	if err := m.on(ctx, inputs, func(mc *plan.Machine) error { return mc.Profile(ctx, times) }); err != nil {
		return nil, err
	}
	for i := range times {
		s.Nodes[i].Time = times[i]
	}
	return s, nil
}
