package onnxrun_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sampleonnx/onnxrun"
)

// A countdown is a context that is done from its nth question on: where in a
// piece of work it is cancelled does not depend on the clock.
type countdown struct {
	context.Context
	left atomic.Int64
	done chan struct{}
	once sync.Once
}

func countDown(t testing.TB, n int64) *countdown {
	c := &countdown{Context: t.Context(), done: make(chan struct{})}
	c.left.Store(n)
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		c.once.Do(func() { close(c.done) })
		return context.Canceled
	}
	return nil
}

func (c *countdown) Done() <-chan struct{} { return c.done }

const forever = 1 << 40

// longChain is a model of n nodes whose weights are stored element by element,
// which takes longest to read.
func longChain(n, weights int) []byte {
	g := message(nil).with(11, valueInfo("v0", 1, []int{4}))
	w := message(nil).text(8, "w").number(2, 1).number(1, weights)
	for i := range weights {
		w = append(w, 4<<3|5, byte(i), 0, 0, 0x3f)
	}
	g = g.with(5, w)
	for i := range n {
		g = g.with(1, nodeProto("Sin", []string{fmt.Sprint("v", i)}, []string{fmt.Sprint("v", i+1)}, nil))
	}
	g = g.with(12, valueInfo(fmt.Sprint("v", n), 1, []int{4}))
	return modelProto(17, g)
}

// Opening a model asks its context at every node, and every so many elements,
// and stops at once, whatever it is doing.
func TestOpenStops(t *testing.T) {
	const nodes, weights = 500, 200_000
	data := longChain(nodes, weights)
	path := filepath.Join(t.TempDir(), "chain.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	config := onnxrun.Config{Threads: 2}
	for name, open := range map[string]func(ctx context.Context) (*onnxrun.Model, error){
		"Open": func(ctx context.Context) (*onnxrun.Model, error) { return config.Open(ctx, path) },
		"Load": func(ctx context.Context) (*onnxrun.Model, error) {
			return config.Load(ctx, os.DirFS(filepath.Dir(path)), "chain.onnx")
		},
		"Parse": func(ctx context.Context) (*onnxrun.Model, error) { return config.Parse(ctx, data) },
	} {
		whole := countDown(t, forever)
		m, err := open(whole)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		questions := forever - whole.left.Load()
		// reading, onnx-go's decoding, checking, and three passes of compiling; and
		// once every 1024 elements
		if least := int64(5*nodes + weights/1024); questions < least {
			t.Errorf("%s: the context was asked %d times, want %d at least", name, questions, least)
		}
		for k := int64(0); k < questions; k += 1 + questions/25 {
			ctx := countDown(t, k)
			_, err := open(ctx)
			if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "onnxrun: ") {
				t.Errorf("%s: done at question %d of %d: %v", name, k, questions, err)
			}
			if more := -1 - ctx.left.Load(); more > 4 {
				t.Errorf("%s: asked %d times more after the answer", name, more)
			}
		}
	}
}

// A run that is cancelled while its plan is made leaves nothing behind: the next
// one makes it, also when it waited for the first.
func TestCancelledPlanIsMadeAgain(t *testing.T) {
	m := open(t, "digits_ncsnv2.onnx", 2)
	inputs := func(batch int) []onnxrun.Tensor {
		return []onnxrun.Tensor{{Name: m.Inputs()[0].Name, Shape: []int{batch, 1, 28, 28}, Data: make([]float32, batch*784)},
			{Name: m.Inputs()[1].Name, Shape: []int{batch}, Data: make([]int64, batch)}}
	}
	whole := countDown(t, forever)
	if _, err := m.Run(whole, inputs(2)...); err != nil {
		t.Fatal(err)
	}
	questions := forever - whole.left.Load()
	for i, k := range []int64{0, questions / 3, questions - 1} {
		batch := 3 + i
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := m.Run(context.Background(), inputs(batch)...); err != nil {
					t.Error(err)
				}
			})
		}
		if _, err := m.Run(countDown(t, k), inputs(batch)...); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wg.Wait()
		if _, err := m.Run(countDown(t, k/8), inputs(10+batch)...); !errors.Is(err, context.Canceled) {
			t.Errorf("done at question %d: %v", k/8, err)
		}
		if _, err := m.Run(context.Background(), inputs(10+batch)...); err != nil {
			t.Errorf("the run after a cancelled one: %v", err)
		}
		if _, err := m.Plan(countDown(t, 0), inputs(30+batch)...); !errors.Is(err, context.Canceled) {
			t.Errorf("Plan: %v", err)
		}
		if _, err := m.Profile(countDown(t, 0), inputs(30+batch)...); !errors.Is(err, context.Canceled) {
			t.Errorf("Profile: %v", err)
		}
	}
}

// A field, and a derivative, ends with the context it was made with, in the plan
// it makes and in the run.
func TestFieldStops(t *testing.T) {
	m := open(t, "digits_ncsnv2.onnx", 2)
	spec := onnxrun.FieldSpec{Shape: []int{1, 28, 28}}
	if _, err := m.PullbackOf(countDown(t, 0), spec); !errors.Is(err, context.Canceled) {
		t.Errorf("made too late: %v", err)
	}
	x, times := make([]float32, 2*784), make([]float64, 2)
	ctx, cancel := context.WithCancel(t.Context())
	field, err := m.FieldOf(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	pull, err := m.PullbackOf(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(field(x, x, times), pull(nil, x, x, x, times)); err != nil {
		t.Fatal(err)
	}
	cancel()
	for _, n := range []int{2, 1} { // known and new to the derivative
		if err := field(x[:784*n], x[:784*n], times[:n]); !errors.Is(err, context.Canceled) {
			t.Errorf("batch %d: %v", n, err)
		}
		if err := pull(nil, x[:784*n], x[:784*n], x[:784*n], times[:n]); !errors.Is(err, context.Canceled) {
			t.Errorf("derivative, batch %d: %v", n, err)
		}
	}
	again, err := m.FieldOf(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := again(x, x, times); err != nil {
		t.Errorf("another field of the model: %v", err)
	}
}
