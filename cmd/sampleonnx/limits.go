package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/onnxrun"
)

// runConfig is how a verb runs: the network, and what the command itself may take.
type runConfig struct {
	onnxrun.Config
	Data int64         // bytes of the files that are read, of samples and of what is made of both; 0: half of Limits.Memory
	Time time.Duration // from the start of the run to its end; 0: any
}

// begin starts the time of a run and the count of what it holds.
func (c *runConfig) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	data := c.Data
	if data == 0 {
		data = cmp.Or(c.Limits.Memory, onnxrun.DefaultMemory()) / 2
	}
	ctx = bounded.With(ctx, data)
	if c.Time == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.Time)
}

// holdSamples counts n samples of a shape that are kept to the end of a run: as they are, and once more to be written.
func holdSamples(ctx context.Context, n int, shape []int) error {
	return bounded.Take(ctx, fmt.Sprintf("%d samples of shape %v", n, shape), 8, n, elements(shape))
}

// holdBatch counts what is made of a batch on the way: noise, scores, states of earlier steps.
func holdBatch(ctx context.Context, n int, shape []int) error {
	return bounded.Take(ctx, fmt.Sprintf("a batch of %d samples of shape %v", n, shape), 32, n, elements(shape))
}

// limit is a field of onnxrun.Limits, or of runConfig, and its name in --limit NAME=VALUE.
type limit struct {
	name, field string
	kind        limitKind
	set         func(c *runConfig, v int64)
}

// limitKind is what the value of a limit is.
type limitKind int

const (
	ofCount limitKind = iota
	ofSize            // bytes
	ofTime            // nanoseconds
)

var limits = []limit{
	{"memory", "Memory", ofSize, func(c *runConfig, v int64) { c.Limits.Memory = v }},
	{"data", "Data", ofSize, func(c *runConfig, v int64) { c.Data = v }},
	{"time", "Time", ofTime, func(c *runConfig, v int64) { c.Time = time.Duration(v) }},
	{"file-bytes", "FileBytes", ofSize, func(c *runConfig, v int64) { c.Limits.FileBytes = v }},
	{"elements", "TensorElems", ofCount, func(c *runConfig, v int64) { c.Limits.TensorElems = v }},
	{"rank", "Rank", ofCount, func(c *runConfig, v int64) { c.Limits.Rank = int(min(v, math.MaxInt)) }},
	{"nodes", "Nodes", ofCount, func(c *runConfig, v int64) { c.Limits.Nodes = int(min(v, math.MaxInt)) }},
	{"depth", "Depth", ofCount, func(c *runConfig, v int64) { c.Limits.Depth = int(min(v, math.MaxInt)) }},
	{"attributes", "NodeAttrs", ofCount, func(c *runConfig, v int64) { c.Limits.NodeAttrs = int(min(v, math.MaxInt)) }},
	{"fields", "Fields", ofCount, func(c *runConfig, v int64) { c.Limits.Fields = int(min(v, math.MaxInt)) }},
	{"name-bytes", "NameBytes", ofSize, func(c *runConfig, v int64) { c.Limits.NameBytes = v }},
	{"files", "Files", ofCount, func(c *runConfig, v int64) { c.Limits.Files = int(min(v, math.MaxInt)) }},
}

// limitFlag is the flag --limit, which can be given for each limit.
type limitFlag struct{ to *runConfig }

const limitUsage = "what the run may take: `NAME=VALUE`, a number, a size (8GiB, 500MB) or a time (30s); can be repeated;\n" +
	"time; memory of the model (half the machine's); data, the memory of files, samples and what is made of them (half as much);\n" +
	"of the model also file-bytes (16GiB), elements of a tensor (2147483647), rank (32), nodes (100k), depth of bodies and calls (32), attributes of a\n" +
	"node (256), fields (2M), name-bytes (64MiB) and files of external data (4096)"

func (f limitFlag) Type() string   { return "NAME=VALUE" }
func (f limitFlag) String() string { return "" }

func (f limitFlag) Set(arg string) error {
	name, value, ok := strings.Cut(arg, "=")
	if !ok {
		return errors.New("want NAME=VALUE")
	}
	var names []string
	for _, l := range limits {
		if l.name == name {
			v, err := l.kind.parse(value)
			if err != nil {
				return err
			}
			l.set(f.to, v)
			return nil
		}
		names = append(names, l.name)
	}
	return fmt.Errorf("no limit %q: want one of %s", name, strings.Join(names, ", "))
}

// units are the endings of numbers, the longer ones first; B makes no difference.
var units = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
	{"B", 1},
}

// parse reads 1000000, 1M, 1.5GiB, 30s. A count has no B at its end.
func (k limitKind) parse(text string) (int64, error) {
	if k == ofTime {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, fmt.Errorf("%q: want a time above 0, as 500ms or 2m30s", text)
		}
		return int64(d), nil
	}
	number, factor := text, 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.suffix); ok && (k == ofSize || !strings.HasSuffix(u.suffix, "B")) {
			number, factor = n, u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v > 0) || v*factor < 1 || v*factor >= math.MaxInt64 || strings.ContainsAny(number, "xXpP_iInN") {
		kind := "a number above 0, as 1000 or 10k"
		if k == ofSize {
			kind = "a size above 0, as 500MB or 8GiB"
		}
		return 0, fmt.Errorf("%q: want %s", text, kind)
	}
	return int64(v * factor), nil
}

// raise is how the limit that an error is about can be raised: " (…)", or "".
func raise(err error) string {
	var field string
	var got, most int64
	if over, ok := errors.AsType[*onnxrun.LimitError](err); ok {
		field, got, most = over.Limit, over.Got, over.Max
	} else if over, ok := errors.AsType[*bounded.LimitError](err); ok {
		field, got, most = "Data", over.Got, over.Max
	}
	i := slices.IndexFunc(limits, func(l limit) bool { return l.field == field })
	// More than was found: what comes after it counts too. What is as much as that cannot be allowed.
	if i < 0 || max(got, most) > math.MaxInt64/4 {
		return ""
	}
	need := max(got+got/4, 2*most)
	value := strconv.FormatInt(need, 10)
	if limits[i].kind == ofSize {
		value = fmt.Sprintf("%dMiB", (need+1<<20-1)>>20)
	}
	return fmt.Sprintf(" (raise it with --limit %s=%s)", limits[i].name, value)
}
