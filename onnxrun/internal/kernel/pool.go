package kernel

import (
	"math/bits"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Pool is a set of persistent workers that any number of goroutines share.
//
// A caller of Run always works itself, and workers that have nothing else to do
// join it; nobody ever waits for a worker that is busy elsewhere. A worker with
// nothing to do spins for a moment, because the next kernel of a network follows
// within microseconds and waking a sleeper costs more, and then sleeps.
type Pool struct {
	threads int
	free    atomic.Uint64 // a bit for each slot nobody uses
	active  atomic.Uint64 // a bit for each slot with parts left to claim
	asleep  atomic.Int32  // workers a waker may still claim
	closed  atomic.Bool
	wake    chan struct{} // one token for each claimed sleeper
	slots   [64]slot
}

// slot holds one Run in progress.
//
// A worker joins by adding itself to helpers and only then looking at open; the
// owner leaves by clearing open and only then looking at helpers. So either the
// worker sees that it came too late, or the owner sees that it must wait.
type slot struct {
	f       func(part, worker int)
	parts   int64
	next    atomic.Int64 // the next part to claim
	helpers atomic.Int32
	open    atomic.Bool
	waiting atomic.Bool   // the owner sleeps until helpers is 0
	signal  chan struct{} // wakes it
	failed  atomic.Pointer[failure]
	_       [64]byte // keeps neighbours off each other's cache lines
}

// failure is a panic that a worker caught.
type failure struct{ value any }

const (
	workerSpin = 40 * time.Microsecond // before a worker sleeps
	ownerSpin  = 20 * time.Microsecond // before a caller sleeps for its last helpers
)

// NewPool returns a pool for threads-1 workers and the caller. Close it.
func NewPool(threads int) *Pool {
	if threads < 1 {
		panic("kernel: NewPool: threads must be at least 1")
	}
	p := &Pool{threads: threads, wake: make(chan struct{}, threads)}
	p.free.Store(^uint64(0))
	for i := range p.slots {
		p.slots[i].signal = make(chan struct{}, 1)
	}
	for w := 1; w < threads; w++ {
		go p.work(w)
	}
	return p
}

// Threads returns the number of threads, the caller of Run included.
func (p *Pool) Threads() int { return p.threads }

// Close lets the workers end. A Run after Close does its parts alone.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.rouse(p.threads)
}

// Run calls f once for each part in [0,parts), and returns when all calls have
// returned. Calls run at the same time on up to Threads() goroutines, the
// caller's among them; worker, in [0,Threads()), tells apart the calls of one
// Run that run at the same time. Which worker gets which part is not
// determined: results must not depend on it. f may call Run. Run allocates
// nothing, but f is kept in the heap: make it once, not at every Run.
//
// If f panics, the parts not yet begun are dropped and Run panics with the same
// value.
func (p *Pool) Run(parts int, f func(part, worker int)) {
	if parts <= 0 {
		return
	}
	if parts == 1 || p.threads == 1 || p.closed.Load() {
		for i := 0; i < parts; i++ {
			f(i, 0)
		}
		return
	}
	i := p.claim()
	if i < 0 {
		// As many Runs as slots: the workers have plenty to do.
		for i := 0; i < parts; i++ {
			f(i, 0)
		}
		return
	}
	s := &p.slots[i]
	s.f, s.parts = f, int64(parts)
	s.next.Store(0)
	s.open.Store(true)
	p.active.Or(1 << i)
	p.rouse(parts - 1)
	defer p.release(i)
	s.drain(p, i, 0)
}

// claim takes a free slot, or returns -1.
func (p *Pool) claim() int {
	for {
		free := p.free.Load()
		if free == 0 {
			return -1
		}
		i := bits.TrailingZeros64(free)
		if p.free.CompareAndSwap(free, free&^(1<<i)) {
			return i
		}
	}
}

// drain does parts until none is left to claim.
func (s *slot) drain(p *Pool, i, worker int) {
	for {
		part := s.next.Add(1) - 1
		if part >= s.parts {
			p.active.And(^(uint64(1) << i))
			return
		}
		s.f(int(part), worker)
	}
}

// release ends a Run, also when its f panics: the caller must not return while a
// worker may still be in f.
func (p *Pool) release(i int) {
	s := &p.slots[i]
	s.next.Store(s.parts) // drops what a panic left over
	p.active.And(^(uint64(1) << i))
	s.open.Store(false)
	var start time.Time
	for n := 0; s.helpers.Load() != 0; n++ {
		pause()
		if n%64 != 63 {
			continue
		}
		runtime.Gosched()
		if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > ownerSpin {
			s.waiting.Store(true)
			if s.helpers.Load() != 0 || !s.waiting.CompareAndSwap(true, false) {
				<-s.signal
			}
		}
	}
	bad := s.failed.Swap(nil)
	s.f = nil
	p.free.Or(1 << i)
	if bad != nil {
		panic(bad.value)
	}
}

// rouse wakes up to n sleeping workers.
func (p *Pool) rouse(n int) {
	for ; n > 0; n-- {
		if !p.unsleep() {
			return
		}
		p.wake <- struct{}{}
	}
}

// unsleep claims one sleeper; the claimer owes it a token, unless it is itself.
func (p *Pool) unsleep() bool {
	for {
		n := p.asleep.Load()
		if n == 0 {
			return false
		}
		if p.asleep.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// work is a worker's life. What a part reads may lie in a mapped file, and a fault
// there is a panic like any other, for the owner to deal with.
func (p *Pool) work(worker int) {
	debug.SetPanicOnFault(true)
	for !p.closed.Load() {
		if !p.await() {
			continue
		}
		// Different workers start their search at different slots, so that
		// several Runs at once share them.
		active := p.active.Load()
		for active != 0 {
			i := bits.TrailingZeros64(bits.RotateLeft64(active, -worker*7)) + worker*7
			i &= 63
			if !p.help(i, worker) {
				return
			}
			active &^= 1 << i
		}
	}
}

// help joins the Run in slot i. It returns false if f ended the goroutine's
// work by runtime.Goexit, which it can only do from a deferred call: another
// goroutine takes the worker's place.
func (p *Pool) help(i, worker int) (ok bool) {
	s := &p.slots[i]
	s.helpers.Add(1)
	defer func() {
		if !ok {
			if v := recover(); v != nil {
				s.failed.CompareAndSwap(nil, &failure{v})
				ok = true
			} else {
				go p.work(worker)
			}
			s.next.Store(s.parts)
		}
		if s.helpers.Add(-1) == 0 && s.waiting.CompareAndSwap(true, false) {
			s.signal <- struct{}{}
		}
	}()
	if s.open.Load() {
		s.drain(p, i, worker)
	}
	return true
}

// await returns true when there is something to do, perhaps; it sleeps when
// there has been nothing for a while.
func (p *Pool) await() bool {
	var start time.Time
	for n := 0; ; n++ {
		if p.active.Load() != 0 {
			return true
		}
		if p.closed.Load() {
			return false
		}
		pause()
		if n%32 != 31 {
			continue
		}
		// With fewer processors than goroutines the work being waited for
		// may need this one.
		runtime.Gosched()
		if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > workerSpin {
			break
		}
	}
	p.asleep.Add(1)
	// Work published before the line above woke nobody: look again.
	if (p.active.Load() != 0 || p.closed.Load()) && p.unsleep() {
		return true
	}
	<-p.wake
	return true
}
