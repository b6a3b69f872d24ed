package plan

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
	"sampleonnx/onnxrun/internal/ops"
)

// network is a program of a shared test model, its input types and a plan.
func network(t *testing.T) (*Program, []ops.Type, *Plan) {
	p := open(t, "digits_ncsnv2.onnx", 2)
	types, _ := inputs(p, 2)
	pl, err := p.Compile(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, types, pl
}

func randomRun(t *testing.T, m *Machine) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, in := range m.In {
		if ops.IsFloat32(in.DType) {
			d := ops.Data[float32](in)
			for i := range d {
				d[i] = float32(r.NormFloat64())
			}
		}
	}
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), m.Out[0].Mem()...)
}

// A panic in a kernel, on the caller's goroutine or on a worker's, is an error
// that names the node; the machine is not used again, and everything else is as
// it was.
func TestPanicInAKernel(t *testing.T) {
	_, _, pl := network(t)
	good, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := randomRun(t, good)
	pl.Release(good)
	for _, parts := range []int{1, 200} {
		for _, bad := range []int{0, parts / 2, parts - 1} {
			m, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at := len(m.tasks) / 2
			m.tasks[at] = task{parts, func(part, _ int) {
				if part == bad {
					var list []int
					_ = list[part]
				}
			}, m.tasks[at].step}
			err = m.Run(t.Context())
			internal, ok := errors.AsType[*onnx.InternalError](err)
			if !ok || internal.Node != m.src(at).Where() || !strings.Contains(err.Error(), "index out of range") || len(internal.Stack) == 0 {
				t.Fatalf("part %d of %d panics: %v (%T)", bad, parts, err, err)
			}
			pl.Release(m)
			again, err := pl.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if again == m {
				t.Fatal("a machine that panicked is used again")
			}
			if got := randomRun(t, again); string(got) != string(want) {
				t.Error("another result after a panic")
			}
			pl.Release(again)
		}
	}
}

// A panic while a plan is made is an error too, and so is one while weights are
// packed; then the next machine packs them anew.
func TestPanicWhileCompiling(t *testing.T) {
	p, types, _ := network(t)
	forget := p.packs.Forget
	p.packs = ops.Packs{}
	p.packs.Forget = func([]byte) { panic("packing") }
	pl, err := p.Compile(t.Context(), types, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Acquire(t.Context()); !isInternal(err, "packing") {
		t.Errorf("got %v", err)
	}
	p.packs.Forget = forget
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	randomRun(t, m)

	if _, err := p.Compile(t.Context(), types[:0], nil); !isInternal(err, "index out of range") {
		t.Errorf("got %v", err)
	}
	if _, err := p.Pullback(t.Context(), types, nil, 99, 0); !isInternal(err, "index out of range") {
		t.Errorf("got %v", err)
	}
}

func isInternal(err error, what string) bool {
	internal, ok := errors.AsType[*onnx.InternalError](err)
	return ok && strings.Contains(internal.Error(), what)
}

// Binding a kernel to memory stops when the context of the call is done, and the
// machine is not there then.
func TestBindingStops(t *testing.T) {
	_, _, pl := network(t)
	at := len(pl.steps) / 2
	k := pl.steps[at].op.kernel
	bind := k.Bind
	defer func() { k.Bind = bind }()
	ctx, cancel := context.WithCancel(t.Context())
	k.Bind = func(m ops.Memory) []ops.Task {
		if m.Stopped() {
			t.Error("stopped before it was")
		}
		cancel()
		if !m.Stopped() {
			t.Error("not told that nobody waits")
		}
		return nil
	}
	if m, err := pl.Acquire(ctx); m != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", m, err)
	}
	k.Bind = bind
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	randomRun(t, m)
}

// A run that is cancelled stops before the next operator, and in the middle of
// one before any part that has not begun. The machine stays good.
func TestRunStopsWithinAPart(t *testing.T) {
	_, _, pl := network(t)
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := randomRun(t, m)

	at := len(m.tasks) / 2
	kept := m.tasks[at]
	for _, parts := range []int{1, 1000, math.MaxInt32} {
		ctx, cancel := context.WithCancel(t.Context())
		var begun, after atomic.Int32
		m.tasks[at] = m.untilDone(ops.Task{Parts: parts, Run: func(int, int) {
			switch n, last := begun.Add(1), int32(min(parts, 10)); {
			case n == last:
				cancel()
			case n > last: // begun by another worker while the tenth cancelled
				<-ctx.Done()
			}
		}}, kept.step)
		if m.tasks[at].parts > mostParts {
			t.Errorf("%d parts to leave out one by one", m.tasks[at].parts)
		}
		next := m.tasks[at+1]
		m.tasks[at+1] = task{1, func(int, int) { after.Add(1) }, next.step}
		if err := m.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := begun.Load(); int(n) > min(parts, 10)+m.pool.Threads() || after.Load() > 0 {
			t.Errorf("%d of %d parts begun after the tenth cancelled, and %d operators", n, parts, after.Load())
		}
		m.tasks[at], m.tasks[at+1] = kept, next
		cancel()
	}
	if m.broken {
		t.Error("a machine that was stopped counts as broken")
	}
	if got := randomRun(t, m); string(got) != string(want) {
		t.Error("another result after a cancelled run")
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pl.fresh(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Parts that are shared out together are all done, each once.
func TestPartsTogether(t *testing.T) {
	for _, parts := range []int{1, mostParts, mostParts + 1, 3*mostParts - 1} {
		done := make([]int, parts)
		task := new(Machine).untilDone(ops.Task{Parts: parts, Run: func(part, worker int) { done[part] += worker }}, 0)
		for part := range task.parts {
			task.run(part, 1)
		}
		if i := slices.IndexFunc(done, func(n int) bool { return n != 1 }); i >= 0 {
			t.Errorf("of %d parts number %d is done %d times", parts, i, done[i])
		}
	}
}

// A countdown is a context that is done from its nth question on; it counts those
// that come after.
type countdown struct {
	context.Context
	left atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// Compiling asks its context before every node in every pass, and stops at once.
func TestCompileStopsWithinANode(t *testing.T) {
	p, types, _ := network(t)
	for name, compile := range map[string]func(ctx context.Context) error{
		"compile":  func(ctx context.Context) error { _, err := p.Compile(ctx, types, nil); return err },
		"pullback": func(ctx context.Context) error { _, err := p.Pullback(ctx, types, nil, 0, 0); return err },
		"new": func(ctx context.Context) error {
			_, err := New(ctx, &onnx.Model{Graph: p.graph}, Options{Threads: 1})
			return err
		},
	} {
		whole := &countdown{Context: t.Context()}
		whole.left.Store(1 << 40)
		if err := compile(whole); err != nil {
			t.Fatal(name, err)
		}
		questions := 1<<40 - whole.left.Load()
		// specialising passes every node of the file, laying out, placing and
		// expressing those that are left
		least := int64(2 * len(p.nodes))
		if name == "new" {
			least = int64(len(p.weights))
		}
		if questions < least {
			t.Errorf("%s: the context was asked %d times, want %d at least", name, questions, least)
		}
		for k := int64(0); k < questions; k += 1 + questions/20 {
			ctx := &countdown{Context: t.Context()}
			ctx.left.Store(k)
			if err := compile(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: done at question %d of %d: %v", name, k, questions, err)
			}
			if more := -1 - ctx.left.Load(); more > 2 {
				t.Errorf("%s: asked %d times more after the answer", name, more)
			}
		}
	}
}

// The bound on memory counts constants, their packed forms and the machine, and
// is checked before each is made.
func TestMemoryIsBounded(t *testing.T) {
	p, types, pl := network(t)
	m, err := pl.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	randomRun(t, m)
	constants := p.memory.taken.Load()
	if constants <= 0 || p.memory.arena.Load() < int64(pl.Arena) {
		t.Fatalf("counted %d bytes of constants, %d of memory for a run that takes %d", constants, p.memory.arena.Load(), pl.Arena)
	}
	all := constants + p.memory.arena.Load()
	for _, most := range []int64{1, constants / 3, constants, all - 1, all} {
		err := func() error {
			p, err := New(t.Context(), &onnx.Model{Graph: p.graph}, Options{Threads: 2, Memory: most})
			if err != nil {
				return err
			}
			defer p.Close()
			pl, err := p.Compile(t.Context(), types, nil)
			if err != nil {
				return err
			}
			m, err := pl.Acquire(t.Context())
			if err == nil {
				randomRun(t, m)
			}
			if taken := p.memory.taken.Load(); taken > most {
				t.Errorf("took %d bytes of %d", taken, most)
			}
			return err
		}()
		limit, refused := errors.AsType[*onnx.LimitError](err)
		if refused != (most < all) || refused && (limit.Limit != "Memory" || limit.Max != most || limit.Got <= most) {
			t.Errorf("%d bytes of %d: %v", most, all, err)
		}
	}
	if _, err := New(t.Context(), &onnx.Model{Graph: p.graph}, Options{Threads: 1, Elems: 1000}); err != nil {
		t.Error(err)
	}
	small, err := New(t.Context(), &onnx.Model{Graph: p.graph}, Options{Threads: 1, Elems: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, err := small.Compile(t.Context(), types, nil); err == nil || !strings.Contains(err.Error(), "Limits.TensorElems") {
		t.Errorf("got %v", err)
	}
}
