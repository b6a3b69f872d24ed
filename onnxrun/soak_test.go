package onnxrun_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sampleonnx/onnxrun"
)

var soak = flag.Duration("soak", 2*time.Second, "how long TestSoak runs")

// TestSoak has 64 goroutines share the same few models for a while, each run at a
// batch size and on samples of its choice, some of them cancelled: every result
// is the bytes of a serial run, memory does not grow, and at the end no goroutine
// is left.
//
//	go test ./onnxrun -run TestSoak -v -timeout 1h -soak 10m
func TestSoak(t *testing.T) {
	const users = 64
	length := *soak
	if testing.Short() {
		length = min(length, 500*time.Millisecond)
	}
	goroutines := runtime.NumGoroutine()

	// A job is a model's field at a batch size, and what a serial run gave.
	type job struct {
		m     *onnxrun.Model
		field func(dst, x []float32, t []float64) error
		back  func(dst, v, x []float32, t []float64) error
		in    []onnxrun.Tensor
		x     []float32
		t     []float64
		want  []float32
		grad  []float32
	}
	var jobs []*job
	var open []*onnxrun.Model
	for _, net := range nets {
		m, err := onnxrun.Config{Threads: 2}.Open(context.Background(), models+"/"+net.name)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, m)
		field, err := m.Field(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		back, err := m.Pullback(net.shape...)
		if err != nil {
			t.Fatal(err)
		}
		dim := 1
		for _, d := range net.shape {
			dim *= d
		}
		for _, n := range []int{1, 2, 3} {
			j := &job{m: m, field: field, back: back, want: make([]float32, n*dim), grad: make([]float32, n*dim)}
			j.x, j.t = samples(n, dim, net.level)
			if err := field(j.want, j.x, j.t); err != nil {
				t.Fatal(err)
			}
			if err := back(j.grad, j.want, j.x, j.t); err != nil {
				t.Fatal(err)
			}
			for _, in := range m.Inputs() {
				x := onnxrun.Tensor{Name: in.Name, Shape: []int{n}}
				switch {
				case len(in.Dims) > 1:
					x.Shape, x.Data = append(x.Shape, net.shape...), j.x
				case in.DType.String() == "int64":
					times := make([]int64, n)
					for i := range times {
						times[i] = int64(j.t[i])
					}
					x.Data = times
				default:
					times := make([]float32, n)
					for i := range times {
						times[i] = float32(j.t[i])
					}
					x.Data = times
				}
				j.in = append(j.in, x)
			}
			jobs = append(jobs, j)
		}
	}

	var runs, cancelled atomic.Int64
	work := func(until time.Time) {
		var wg sync.WaitGroup
		for user := range users {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(user), uint64(until.UnixNano())))
				dst := make([]float32, 3*1024)
				for time.Now().Before(until) && !t.Failed() {
					j := jobs[r.IntN(len(jobs))]
					got := dst[:len(j.want)]
					want := j.want
					var err error
					switch kind := r.IntN(8); kind {
					case 0: // a run that may be cut short
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(20))*time.Millisecond)
						_, err = j.m.Run(ctx, j.in...)
						cancel()
						if errors.Is(err, context.DeadlineExceeded) {
							cancelled.Add(1)
							continue
						}
						got = want
					case 1:
						want = j.grad
						err = j.back(got, j.want, j.x, j.t)
					case 2:
						var out []onnxrun.Tensor
						if out, err = j.m.Run(context.Background(), j.in...); err == nil {
							got = out[0].Data.([]float32)
						}
					default:
						err = j.field(got, j.x, j.t)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if !slices.Equal(got, want) {
						t.Error("a result differs from that of a serial run")
						return
					}
					runs.Add(1)
				}
			})
		}
		wg.Wait()
	}
	// heap is what is live, in MB, after everything idle has been collected.
	heap := func() float64 {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	work(time.Now().Add(length / 4)) // as many machines as users are made
	before, rss := heap(), peakRSS()
	for range 3 {
		work(time.Now().Add(length / 4))
		t.Logf("%d runs, %d cancelled: live heap %.1f MB, peak memory %d MB", runs.Load(), cancelled.Load(), heap(), peakRSS()>>10)
	}
	after := heap()
	t.Logf("live heap %.1f → %.1f MB, peak memory %d → %d MB", before, after, rss>>10, peakRSS()>>10)
	if runs.Load() < int64(users) {
		t.Errorf("%d runs of %d users", runs.Load(), users)
	}
	// No more machines are made than may run at once.
	if after > 1.5*before+16 {
		t.Errorf("live heap grew from %.1f to %.1f MB", before, after)
	}
	for _, m := range open {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	for wait := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(wait) {
			stack := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left, %d were there before\n%s", runtime.NumGoroutine(), goroutines, stack[:runtime.Stack(stack, true)])
		}
		time.Sleep(time.Millisecond)
	}
}
