package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEachPartOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := NewPool(threads)
		for _, parts := range []int{0, 1, 2, 3, 7, 100, 1000} {
			count := make([]int32, parts)
			inUse := make([]int32, threads)
			p.Run(parts, func(part, worker int) {
				if !atomic.CompareAndSwapInt32(&inUse[worker], 0, 1) {
					t.Errorf("worker %d is in two calls at once", worker)
				}
				atomic.AddInt32(&count[part], 1)
				atomic.StoreInt32(&inUse[worker], 0)
			})
			for i, n := range count {
				if n != 1 {
					t.Fatalf("threads %d, parts %d: part %d ran %d times", threads, parts, i, n)
				}
			}
		}
		p.Close()
	}
}

func TestPoolManyCallers(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	var wg sync.WaitGroup
	for c := 0; c < 100; c++ { // more than there are slots
		wg.Add(1)
		go func() {
			defer wg.Done()
			sums := make([]int64, 4)
			for round := 0; round < 100; round++ {
				clear(sums)
				parts := 1 + (round*7+c)%13
				p.Run(parts, func(part, worker int) { sums[worker] += int64(part) + 1 })
				var s int64
				for _, v := range sums {
					s += v
				}
				if want := int64(parts * (parts + 1) / 2); s != want {
					t.Errorf("sum is %d, want %d", s, want)
				}
				if round%10 == 0 {
					time.Sleep(50 * time.Microsecond) // lets workers fall asleep
				}
			}
		}()
	}
	wg.Wait()
}

func TestPoolNested(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var n atomic.Int64
	p.Run(5, func(int, int) {
		p.Run(6, func(int, int) {
			p.Run(3, func(int, int) { n.Add(1) })
		})
	})
	if n.Load() != 90 {
		t.Fatalf("%d calls, want 90", n.Load())
	}
}

func TestPoolCallerDoesNotWaitForBusyWorkers(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	hold := make(chan struct{})
	busy := make(chan struct{}, 2)
	ended := make(chan struct{})
	go func() {
		p.Run(2, func(int, int) { busy <- struct{}{}; <-hold })
		close(ended)
	}()
	<-busy
	<-busy // caller and worker are both held
	var n atomic.Int64
	p.Run(10, func(int, int) { n.Add(1) })
	if n.Load() != 10 {
		t.Fatal("parts were lost")
	}
	close(hold)
	<-ended
}

func TestPoolPanic(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	for round := 0; round < 200; round++ {
		bad := round % 16
		func() {
			defer func() {
				if v := recover(); v != fmt.Sprint("part ", bad) {
					t.Fatalf("recovered %v", v)
				}
			}()
			p.Run(16, func(part, worker int) {
				if part == bad {
					panic(fmt.Sprint("part ", part))
				}
				time.Sleep(time.Microsecond)
			})
			t.Fatal("no panic")
		}()
		var n atomic.Int64
		p.Run(16, func(int, int) { n.Add(1) })
		if n.Load() != 16 {
			t.Fatal("the pool lost parts after a panic")
		}
	}
}

func TestPoolGoexitOfWorker(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for round := 0; round < 20; round++ {
		var once atomic.Bool
		var both sync.WaitGroup
		both.Add(2)
		p.Run(2, func(part, worker int) {
			both.Done()
			both.Wait() // both goroutines hold a part: the worker exists
			if worker == 1 && once.CompareAndSwap(false, true) {
				runtime.Goexit()
			}
		})
	}
}

func TestPoolOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := NewPool(4)
	defer p.Close()
	var n atomic.Int64
	for i := 0; i < 1000; i++ {
		p.Run(8, func(int, int) { n.Add(1) })
	}
	if n.Load() != 8000 {
		t.Fatal("parts were lost")
	}
}

func TestPoolAfterClose(t *testing.T) {
	p := NewPool(4)
	p.Close()
	n := 0
	p.Run(5, func(part, worker int) { n++ })
	if n != 5 {
		t.Fatal("Run after Close lost parts")
	}
}

func TestPoolAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := NewPool(2)
	defer p.Close()
	var n atomic.Int64
	f := func(part, worker int) { n.Add(1) }
	if a := testing.AllocsPerRun(1000, func() { p.Run(4, f) }); a != 0 {
		t.Fatalf("%v allocations a Run", a)
	}
}

func BenchmarkPoolRoundTrip(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	f := func(part, worker int) {}
	for b.Loop() {
		p.Run(2, f)
	}
}
