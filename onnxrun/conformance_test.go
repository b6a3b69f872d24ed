package onnxrun_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sampleonnx/onnxrun"
	"sampleonnx/onnxrun/internal/onnx"
)

const conformanceDir = "../testdata/conformance"

// A testCase is a line of cases.tsv: one case of the ONNX backend tests at one
// opset. Wheels that ship it may ship different models under the name.
type testCase struct {
	suite, name, opset string
	scope              string // "in", or the class that it is out of scope for
	core               bool   // made of the core operators alone
	wheels             []string
}

func (c *testCase) key() string { return c.suite + "\t" + c.name + "\t" + c.opset }

// held: cases whose failures must be in the manifest. Control flow is not in
// scope as a whole, yet much of it runs.
func (c *testCase) held() bool { return c.scope == "in" || c.scope == "control flow" }

// TestConformance runs the backend tests of the ONNX project that fetch.sh puts
// into the folder named by SAMPLEONNX_ONNX_CASES. What fails must be listed in
// failures.tsv with its reason, and nothing else may be.
func TestConformance(t *testing.T) {
	dir := os.Getenv("SAMPLEONNX_ONNX_CASES")
	if dir == "" {
		t.Skip("set SAMPLEONNX_ONNX_CASES to the folder that testdata/conformance/fetch.sh prints")
	}
	cases := readCases(t)
	listed := readFailures(t)

	results := make([]map[string]error, len(cases))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				results[i] = map[string]error{}
				for _, wheel := range cases[i].wheels {
					path := filepath.Join(dir, wheel, cases[i].suite, cases[i].name)
					if _, err := os.Stat(filepath.Dir(path)); err == nil {
						results[i][wheel] = runCase(path)
					}
				}
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	wg.Wait()

	if !slices.ContainsFunc(results, func(r map[string]error) bool { return len(r) > 0 }) {
		t.Fatalf("no cases in %s", dir)
	}
	type count struct{ pass, all int }
	counts := map[string]*count{}
	tally := func(class string, err error) {
		c := counts[class]
		if c == nil {
			c = &count{}
			counts[class] = c
		}
		c.all++
		if err == nil {
			c.pass++
		}
	}
	for i, c := range cases {
		if len(results[i]) == 0 {
			continue
		}
		var failed error
		for _, wheel := range c.wheels {
			err, ran := results[i][wheel]
			if !ran {
				continue
			}
			tally(fmt.Sprintf("%s, %s, %s", wheel, c.suite, c.scope), err)
			if c.core && c.scope == "in" {
				tally(fmt.Sprintf("%s, %s, in, core operators", wheel, c.suite), err)
			}
			failed = cmp.Or(failed, err)
			key := wheel + "\t" + c.key()
			reason, ok := listed[key]
			delete(listed, key)
			switch {
			case err == nil && ok:
				t.Errorf("onnx %s: %s/%s (opset %s) passes: take it out of failures.tsv (%s)", wheel, c.suite, c.name, c.opset, reason)
			case err != nil && c.held() && !ok:
				t.Errorf("onnx %s: %s/%s (opset %s): %v", wheel, c.suite, c.name, c.opset, err)
			}
		}
		tally(fmt.Sprintf("union, %s, %s", c.suite, c.scope), failed)
	}
	for _, key := range slices.Sorted(maps.Keys(listed)) {
		t.Errorf("failures.tsv lists what is not in cases.tsv or was not run: %s", strings.ReplaceAll(key, "\t", " "))
	}
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%5d of %5d pass: %s", counts[class].pass, counts[class].all, class)
	}
}

func readTSV(t *testing.T, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(conformanceDir, name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			t.Fatalf("%s: %q has %d columns, want %d", name, line, len(row), columns)
		}
		rows = append(rows, row)
	}
	return rows[1:]
}

func readCases(t *testing.T) []testCase {
	var cases []testCase
	for _, r := range readTSV(t, "cases.tsv", 6) {
		cases = append(cases, testCase{r[0], r[1], r[2], r[3], r[4] == "core", strings.Split(r[5], ",")})
	}
	return cases
}

// readFailures is the manifest: the reason by wheel and case.
func readFailures(t *testing.T) map[string]string {
	reasons := map[string]string{}
	for _, r := range readTSV(t, "failures.tsv", 5) {
		for wheel := range strings.SplitSeq(r[3], ",") {
			reasons[wheel+"\t"+strings.Join(r[:3], "\t")] = r[4]
		}
	}
	return reasons
}

// runCase runs the model in dir on each of its data sets.
func runCase(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	m, err := onnxrun.Config{Threads: 2}.Open(context.Background(), filepath.Join(dir, "model.onnx"))
	if err != nil {
		return err
	}
	defer m.Close()
	sets, _ := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if len(sets) == 0 {
		return errors.New("no data")
	}
	for _, set := range sets {
		in, err := readTensors(filepath.Join(set, "input_%d.pb"))
		if err != nil {
			return err
		}
		want, err := readTensors(filepath.Join(set, "output_%d.pb"))
		if err != nil {
			return err
		}
		if err := runOnce(m, in, want); err != nil {
			return err
		}
	}
	return nil
}

func runOnce(m *onnxrun.Model, in, want []*onnx.Tensor) error {
	inputs := make([]onnxrun.Tensor, len(in))
	for i, t := range in {
		data, err := goData(t)
		if err != nil {
			return err
		}
		inputs[i] = onnxrun.Tensor{Shape: t.Shape, Data: data}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := m.Run(ctx, inputs...)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, want %d", len(got), len(want))
	}
	for i, w := range want {
		if d := m.Outputs()[i].DType; d != w.DType {
			return fmt.Errorf("output %d is declared %v, want %v", i, d, w.DType)
		}
		if err := agree(got[i], w); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// agree compares a result with what a case wants: type, shape and every
// element, within 1e-3 of its size and 1e-5 of the largest (at least 1).
func agree(got onnxrun.Tensor, want *onnx.Tensor) error {
	data, err := goData(want)
	if err != nil {
		return err
	}
	if g, w := fmt.Sprintf("%T", got.Data), fmt.Sprintf("%T", data); g != w {
		return fmt.Errorf("is %s, want %s", g, w)
	}
	if !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("has shape %v, want %v", got.Shape, want.Shape)
	}
	switch w := data.(type) {
	case []float32:
		return closeTo(got.Data.([]float32), w)
	case []float64:
		return closeTo(got.Data.([]float64), w)
	case []int8:
		return equal(got.Data.([]int8), w)
	case []int16:
		return equal(got.Data.([]int16), w)
	case []int32:
		return equal(got.Data.([]int32), w)
	case []int64:
		return equal(got.Data.([]int64), w)
	case []uint8:
		return equal(got.Data.([]uint8), w)
	case []uint16:
		return equal(got.Data.([]uint16), w)
	case []uint32:
		return equal(got.Data.([]uint32), w)
	case []uint64:
		return equal(got.Data.([]uint64), w)
	}
	return equal(got.Data.([]bool), data.([]bool))
}

func equal[T comparable](got, want []T) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

func closeTo[T float32 | float64](got, want []T) error {
	largest := 1.0
	for _, w := range want {
		if a := math.Abs(float64(w)); !math.IsInf(a, 0) && a > largest {
			largest = a
		}
	}
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if math.IsInf(w, 0) || !(math.Abs(g-w) <= 1e-5*largest+1e-3*math.Abs(w)) {
			return fmt.Errorf("element %d is %v, want %v", i, g, w)
		}
	}
	return nil
}

// readTensors reads the TensorProto files that a pattern numbers from 0.
func readTensors(pattern string) ([]*onnx.Tensor, error) {
	var list []*onnx.Tensor
	for {
		data, err := os.ReadFile(fmt.Sprintf(pattern, len(list)))
		if errors.Is(err, os.ErrNotExist) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		t, err := readTensor(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fmt.Sprintf(pattern, len(list)), err)
		}
		list = append(list, t)
	}
}

// readTensor reads a TensorProto whose elements are numbers.
func readTensor(msg []byte) (*onnx.Tensor, error) {
	t := &onnx.Tensor{Shape: []int{}}
	var raw []byte
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, typ, msg[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		value := msg[n : n+size]
		msg = msg[n+size:]
		body := value
		if typ == protowire.BytesType {
			body, _ = protowire.ConsumeBytes(value)
		}
		switch num {
		case 1: // dims
			for len(body) > 0 {
				v, n := protowire.ConsumeVarint(body)
				t.Shape, body = append(t.Shape, int(v)), body[n:]
			}
		case 2: // data_type
			v, _ := protowire.ConsumeVarint(body)
			t.DType = onnx.DType(v)
		case 4, 9, 10: // float_data, raw_data, double_data
			raw = append(raw, body...)
		case 5, 7, 11: // int32_data, int64_data, uint64_data
			for len(body) > 0 {
				v, n := protowire.ConsumeVarint(body)
				raw, body = binary.LittleEndian.AppendUint64(raw, v)[:len(raw)+t.DType.Size()], body[n:]
			}
		}
	}
	if size := t.DType.Size(); size == 0 || t.Elems()*size != len(raw) {
		return nil, fmt.Errorf("not a tensor of numbers: %v%v in %d bytes", t.DType, t.Shape, len(raw))
	}
	t.Raw = raw
	return t, nil
}

// goData is a tensor's elements as a Tensor of onnxrun holds them.
func goData(t *onnx.Tensor) (any, error) {
	switch t.DType {
	case onnx.Float, onnx.Float16, onnx.BFloat16:
		return decode[float32](t)
	case onnx.Double:
		return decode[float64](t)
	case onnx.Int8:
		return decode[int8](t)
	case onnx.Int16:
		return decode[int16](t)
	case onnx.Int32:
		return decode[int32](t)
	case onnx.Int64:
		return decode[int64](t)
	case onnx.Uint8:
		return decode[uint8](t)
	case onnx.Uint16:
		return decode[uint16](t)
	case onnx.Uint32:
		return decode[uint32](t)
	case onnx.Uint64:
		return decode[uint64](t)
	case onnx.Bool:
		d := make([]bool, t.Elems())
		return d, t.Bools(d)
	}
	return nil, fmt.Errorf("elements of %v", t.DType)
}

func decode[T onnx.Number](t *onnx.Tensor) ([]T, error) {
	d := make([]T, t.Elems())
	return d, onnx.Decode(d, t)
}
