package onnxrun_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sampleonnx/onnxrun"
)

var (
	mutants     = flag.Int("mutants", 1000, "damaged models that TestMutants loads, compiles and runs")
	mutantsFrom = flag.Int("mutants-from", 0, "number of the first one")
	mutantsKeep = flag.String("mutants-keep", "", "folder for the models of mutants in trouble")
	mutantsJobs = flag.Int("mutants-jobs", runtime.NumCPU(), "processes that do so")
)

// What a mutant may take.
const (
	mutantDeadline = 250 * time.Millisecond
	mutantGrace    = time.Second // for one node, and for a machine that does other things too
	mutantHang     = 60 * time.Second
	mutantMemory   = 128 << 20 // Limits.Memory
	mutantAlloc    = 4 * mutantMemory
)

// A seedModel is what mutants are made of.
type seedModel struct {
	name   string
	data   []byte
	tree   *protoTree
	inputs []onnxrun.Tensor // nil: random ones
}

// outcomes is what became of mutants.
type outcomes struct {
	Mutants  int
	Ended    map[string]int // how many ended how
	Trouble  []string       // panics, deaths and whatever else must not be
	Over     int            // of them, over their deadline
	Slowest  time.Duration
	Largest  uint64 // bytes allocated for one
	PeakRSS  int    // kB
	How      map[string]int
	Duration time.Duration
}

func (o *outcomes) add(p *outcomes) {
	o.Mutants += p.Mutants
	for k, n := range p.Ended {
		o.Ended[k] += n
	}
	for k, n := range p.How {
		o.How[k] += n
	}
	o.Trouble = append(o.Trouble, p.Trouble...)
	o.Over += p.Over
	o.Slowest = max(o.Slowest, p.Slowest)
	o.Largest = max(o.Largest, p.Largest)
	o.PeakRSS = max(o.PeakRSS, p.PeakRSS)
}

// TestMutants takes damaged models through load, compile and run, each within a
// deadline and a memory limit, in processes of their own. Whatever the damage,
// the end is a result or one of the typed errors. With SAMPLEONNX_ONNX_CASES
// (see testdata/conformance) the seeds are the ONNX project's test models too:
//
//	SAMPLEONNX_ONNX_CASES=$(testdata/conformance/fetch.sh) go test ./onnxrun -run TestMutants -v -timeout 2h -mutants 100000
func TestMutants(t *testing.T) {
	if job := os.Getenv("SAMPLEONNX_MUTANTS_JOB"); job != "" {
		mutantsJob(t, job)
		return
	}
	count := *mutants
	if testing.Short() {
		count = min(count, 300)
	}
	seeds := mutantSeeds(t)
	dir := t.TempDir()
	start := time.Now()
	const chunk = 2000
	next := make(chan int)
	total := outcomes{Ended: map[string]int{}, How: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range *mutantsJobs {
		wg.Go(func() {
			for first := range next {
				n := min(chunk, *mutantsFrom+count-first)
				for part := range runMutants(t, filepath.Join(dir, strconv.Itoa(worker)), first, n) {
					mu.Lock()
					total.add(part)
					mu.Unlock()
				}
			}
		})
	}
	for first := *mutantsFrom; first < *mutantsFrom+count; first += chunk {
		next <- first
	}
	close(next)
	wg.Wait()

	t.Logf("%d mutants of %d models in %v: %d in trouble, %d of them over their deadline of %v", total.Mutants, len(seeds),
		time.Since(start).Round(time.Second), len(total.Trouble), total.Over, mutantDeadline)
	for _, k := range slices.Sorted(maps.Keys(total.Ended)) {
		t.Logf("%8d %s", total.Ended[k], k)
	}
	t.Logf("slowest %v, most allocated %d MB, peak memory of a process %d MB", total.Slowest.Round(time.Millisecond), total.Largest>>20, total.PeakRSS>>10)
	t.Logf("mutations: %v", total.How)
	for i, s := range total.Trouble {
		if i == 300 {
			t.Errorf("and %d more", len(total.Trouble)-i)
			break
		}
		t.Error(s)
	}
	if total.Mutants != count {
		t.Errorf("%d mutants ran, want %d", total.Mutants, count)
	}
	if total.Ended["a result"] == 0 || total.Ended["*onnx.FormatError"] == 0 {
		t.Error("no mutant ran to a result, or none was refused")
	}
}

// runMutants runs mutants first … first+n-1 in a process, and in another one the
// rest when it dies.
func runMutants(t *testing.T, file string, first, n int) func(yield func(*outcomes) bool) {
	return func(yield func(*outcomes) bool) {
		for end := first + n; first < end; {
			os.Remove(file)
			cmd := exec.Command(os.Args[0], "-test.run=^TestMutants$", "-test.timeout=0", "-mutants-keep="+*mutantsKeep)
			if runtime.GOOS == "linux" { // what eats all memory dies, and not its neighbours
				cmd = exec.Command("sh", append([]string{"-c", `ulimit -v 8000000; exec "$0" "$@"`}, cmd.Args...)...)
			}
			cmd.Env = append(os.Environ(), fmt.Sprintf("SAMPLEONNX_MUTANTS_JOB=%s:%d:%d", file, first, end-first), "GOTRACEBACK=all")
			output, err := cmd.CombinedOutput()
			var part outcomes
			data, _ := os.ReadFile(file)
			if json.Unmarshal(data, &part) != nil {
				part = outcomes{Trouble: []string{fmt.Sprintf("the process for mutants from %d on did not start: %v\n%s", first, err, tail(output))}}
				yield(&part)
				return
			}
			if part.Mutants < end-first { // it died; what it last saved may be a few mutants ago
				what, _ := os.ReadFile(file + ".now")
				id := first + part.Mutants
				fmt.Sscan(string(what), &id)
				part.Trouble = append(part.Trouble, fmt.Sprintf("death at mutant %s: %v\n%s", what, err, tail(output)))
				part.Ended["lost with the process"] += id - first - part.Mutants
				part.Mutants = id + 1 - first
			}
			first += part.Mutants
			if !yield(&part) {
				return
			}
		}
	}
}

func tail(b []byte) string {
	s := string(b)
	if len(s) > 6000 {
		s = s[:3000] + "\n…\n" + s[len(s)-3000:]
	}
	return s
}

// mutantsJob is the process: it writes the outcomes so far into a file.
func mutantsJob(t *testing.T, job string) {
	parts := strings.Split(job, ":")
	file := strings.Join(parts[:len(parts)-2], ":")
	first, _ := strconv.Atoi(parts[len(parts)-2])
	n, _ := strconv.Atoi(parts[len(parts)-1])
	debug.SetGCPercent(50)
	seeds := mutantSeeds(t)
	var names []string
	for _, s := range seeds {
		for _, node := range s.tree.all("Node") {
			names = append(names, node.text(4))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)

	o := outcomes{Ended: map[string]int{}, How: map[string]int{}}
	save := func() {
		o.PeakRSS = peakRSS()
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(file+".new", data, 0o666)
		os.Rename(file+".new", file)
	}
	save()
	var mu sync.Mutex
	var started time.Time // zero while no mutant is at work
	go func() {
		for range time.Tick(time.Second) {
			mu.Lock()
			if !started.IsZero() && time.Since(started) > mutantHang {
				save()
				panic("a mutant hangs")
			}
			mu.Unlock()
		}
	}()
	for id := first; id < first+n; id++ {
		os.WriteFile(file+".now", []byte(strconv.Itoa(id)), 0o666)
		r := rand.New(rand.NewPCG(uint64(id), 2))
		s := seeds[r.IntN(len(seeds))]
		data, how := mutate(r, s.tree, s.data, names)
		what := fmt.Sprintf("%d of %s (%s)", id, s.name, how)
		os.WriteFile(file+".now", []byte(what), 0o666)
		mu.Lock()
		started = time.Now()
		mu.Unlock()
		var end, trouble string
		var most uint64
		took := shortest(mutantDeadline+mutantGrace, func() {
			before := allocated()
			end, trouble = runMutant(r, s, data)
			most = allocated() - before
		})
		mu.Lock()
		started = time.Time{}
		mu.Unlock()
		switch {
		case trouble != "":
		case took > mutantDeadline+mutantGrace:
			trouble = fmt.Sprintf("took %v", took)
			o.Over++
		case most > mutantAlloc+uint64(8*len(data)):
			trouble = fmt.Sprintf("allocated %d MB", most>>20)
		}
		if trouble != "" {
			if *mutantsKeep != "" {
				os.WriteFile(filepath.Join(*mutantsKeep, fmt.Sprintf("%d.onnx", id)), data, 0o666)
			}
			o.Trouble = append(o.Trouble, fmt.Sprintf("mutant %s: %s", what, trouble))
			end = "trouble"
		}
		mu.Lock()
		o.Mutants++
		o.Ended[end]++
		for _, h := range strings.Split(strings.TrimSuffix(how, "; "), "; ") {
			o.How[h]++
		}
		o.Slowest = max(o.Slowest, took)
		o.Largest = max(o.Largest, most)
		if trouble != "" || o.Mutants%100 == 0 || id == first+n-1 {
			save()
		}
		mu.Unlock()
	}
}

// shortest is the time that run takes; when that is over the limit, the shortest
// of three: what a hostile file costs is there each time, what a busy machine
// costs is not.
func shortest(limit time.Duration, run func()) time.Duration {
	took := time.Duration(math.MaxInt64)
	for try := 0; try < 3 && took > limit; try++ {
		start := time.Now()
		run()
		took = min(took, time.Since(start))
	}
	return took
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// peakRSS is the most memory this process has had, in kB; 0 where nobody tells.
func peakRSS() int {
	data, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	n := 0
	fmt.Sscan(rest, &n)
	return n
}

// runMutant takes a model through load, compile and run; trouble says what must
// not be.
func runMutant(r *rand.Rand, s *seedModel, data []byte) (end, trouble string) {
	defer func() {
		if p := recover(); p != nil {
			trouble = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), mutantDeadline)
	defer cancel()
	fail := func(stage string, err error) (string, string) { return failure(stage, err) }
	m, err := parseMutant(ctx, data)
	if err != nil {
		return fail("load", err)
	}
	defer m.Close()
	inputs := s.inputs
	if inputs == nil || r.IntN(4) == 0 {
		inputs = inputsFor(r, m.Inputs())
	}
	out, err := m.Run(ctx, inputs...)
	if err != nil {
		return fail("run", err)
	}
	for _, o := range out {
		n := 1
		for _, d := range o.Shape {
			n *= d
		}
		if n < 0 || n != lengthOf(o.Data) {
			return "", fmt.Sprintf("output of shape %v has %d elements", o.Shape, lengthOf(o.Data))
		}
	}
	return "a result", ""
}

// failure names a typed error; anything else is trouble.
func failure(stage string, err error) (end, trouble string) {
	var format *onnxrun.FormatError
	var unsupported *onnxrun.UnsupportedError
	var limit *onnxrun.LimitError
	var internal *onnxrun.InternalError
	var index *onnxrun.IndexError
	switch {
	case errors.As(err, &internal):
		return "", fmt.Sprintf("%s: %v\n%s", stage, err, internal.Stack)
	case errors.As(err, &format), errors.As(err, &unsupported), errors.As(err, &limit):
		return fmt.Sprintf("%T", cmp.Or[error](nilless(format), nilless(unsupported), limit)), ""
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline in " + stage, ""
	case errors.As(err, &index):
		return "*ops.IndexError", ""
	}
	return "", fmt.Sprintf("%s: error of type %T: %v", stage, err, err)
}

// nilless is the error, or a nil interface for a nil pointer.
func nilless[T any, P interface {
	*T
	error
}](p P) error {
	if p == nil {
		return nil
	}
	return p
}

func parseMutant(ctx context.Context, data []byte) (*onnxrun.Model, error) {
	return onnxrun.Config{Threads: 2, Limits: onnxrun.Limits{Memory: mutantMemory}}.Parse(ctx, data)
}

// mutantSeeds are the small models of testdata and, where they are there, the
// ONNX project's test models with their inputs.
func mutantSeeds(t *testing.T) (seeds []*seedModel) {
	add := func(file string, inputs []onnxrun.Tensor) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if tree := readMessage("Model", data); tree != nil {
			seeds = append(seeds, &seedModel{file, data, tree, inputs})
		}
	}
	files, _ := filepath.Glob(filepath.Join(models, "*.onnx"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Size() < 256<<10 {
			add(f, nil)
		}
	}
	dir := os.Getenv("SAMPLEONNX_ONNX_CASES")
	if dir == "" {
		return seeds
	}
	cases, _ := filepath.Glob(filepath.Join(dir, "1.21.0", "*", "*", "model.onnx"))
	for _, f := range cases {
		info, err := os.Stat(f)
		if err != nil || info.Size() > 64<<10 {
			continue
		}
		in, err := readTensors(filepath.Join(filepath.Dir(f), "test_data_set_0", "input_%d.pb"))
		if err != nil {
			continue // of types that no input here has
		}
		inputs := make([]onnxrun.Tensor, len(in))
		for i, x := range in {
			if inputs[i].Data, err = goData(x); err != nil {
				break
			}
			inputs[i].Shape = x.Shape
		}
		if err == nil {
			add(f, inputs)
		}
	}
	return seeds
}

// inputsFor makes inputs as a model declares them.
func inputsFor(r *rand.Rand, infos []onnxrun.Info) []onnxrun.Tensor {
	list := make([]onnxrun.Tensor, 0, len(infos))
	for _, in := range infos {
		x := onnxrun.Tensor{Name: in.Name, Shape: []int{}}
		n := 1
		for _, d := range in.Dims {
			size := d.Size
			if size < 0 {
				size = 1 + r.IntN(3)
			}
			if size > 0 && n > (1<<20)/size {
				size = 1 // refused: not what the model wants
			}
			x.Shape = append(x.Shape, size)
			n *= size
		}
		x.Data = randomData(r, in.DType.String(), n)
		list = append(list, x)
	}
	return list
}

func randomData(r *rand.Rand, dtype string, n int) any {
	switch dtype {
	case "float64":
		return fillWith(n, func() float64 { return r.NormFloat64() })
	case "int8":
		return fillWith(n, func() int8 { return int8(r.IntN(5) - 1) })
	case "int16":
		return fillWith(n, func() int16 { return int16(r.IntN(5) - 1) })
	case "int32":
		return fillWith(n, func() int32 { return int32(r.IntN(5) - 1) })
	case "int64":
		return fillWith(n, func() int64 {
			if r.IntN(16) == 0 {
				return anyOf(r, extremes)
			}
			return int64(r.IntN(5) - 1)
		})
	case "uint8":
		return fillWith(n, func() uint8 { return uint8(r.IntN(5)) })
	case "uint16":
		return fillWith(n, func() uint16 { return uint16(r.IntN(5)) })
	case "uint32":
		return fillWith(n, func() uint32 { return uint32(r.IntN(5)) })
	case "uint64":
		return fillWith(n, func() uint64 { return uint64(r.IntN(5)) })
	case "bool":
		return fillWith(n, func() bool { return r.IntN(2) == 0 })
	}
	return fillWith(n, func() float32 {
		if r.IntN(64) == 0 {
			return float32(math.Inf(1 - 2*r.IntN(2)))
		}
		return float32(r.NormFloat64())
	})
}

func fillWith[T any](n int, f func() T) []T {
	d := make([]T, n)
	for i := range d {
		d[i] = f()
	}
	return d
}

func lengthOf(data any) int {
	switch d := data.(type) {
	case []float32:
		return len(d)
	case []float64:
		return len(d)
	case []int8:
		return len(d)
	case []int16:
		return len(d)
	case []int32:
		return len(d)
	case []int64:
		return len(d)
	case []uint8:
		return len(d)
	case []uint16:
		return len(d)
	case []uint32:
		return len(d)
	case []uint64:
		return len(d)
	case []bool:
		return len(d)
	}
	return -1
}
