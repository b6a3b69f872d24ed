package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sampleonnx/onnxrun"
)

// limit is a field of onnxrun.Limits and its name in --limit NAME=VALUE.
type limit struct {
	name, field string
	bytes       bool // the value is a size
	set         func(l *onnxrun.Limits, v int64)
}

var limits = []limit{
	{"memory", "Memory", true, func(l *onnxrun.Limits, v int64) { l.Memory = v }},
	{"file-bytes", "FileBytes", true, func(l *onnxrun.Limits, v int64) { l.FileBytes = v }},
	{"elements", "TensorElems", false, func(l *onnxrun.Limits, v int64) { l.TensorElems = v }},
	{"rank", "Rank", false, func(l *onnxrun.Limits, v int64) { l.Rank = int(min(v, math.MaxInt)) }},
	{"nodes", "Nodes", false, func(l *onnxrun.Limits, v int64) { l.Nodes = int(min(v, math.MaxInt)) }},
	{"depth", "Depth", false, func(l *onnxrun.Limits, v int64) { l.Depth = int(min(v, math.MaxInt)) }},
	{"attributes", "NodeAttrs", false, func(l *onnxrun.Limits, v int64) { l.NodeAttrs = int(min(v, math.MaxInt)) }},
	{"fields", "Fields", false, func(l *onnxrun.Limits, v int64) { l.Fields = int(min(v, math.MaxInt)) }},
	{"name-bytes", "NameBytes", true, func(l *onnxrun.Limits, v int64) { l.NameBytes = v }},
	{"files", "Files", false, func(l *onnxrun.Limits, v int64) { l.Files = int(min(v, math.MaxInt)) }},
}

// limitFlag is the flag --limit, which can be given for each limit.
type limitFlag struct{ to *onnxrun.Limits }

const limitUsage = "what a model may ask for: `NAME=VALUE`, a number or a size (8GiB, 500MB); can be repeated;\n" +
	"memory (half the machine's), file-bytes, elements, rank, nodes, depth, attributes, fields, name-bytes, files"

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
			v, err := parseSize(value, l.bytes)
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

// parseSize reads 1000000, 1M, 1.5GiB. A count has no B at its end.
func parseSize(text string, bytes bool) (int64, error) {
	number, factor := text, 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.suffix); ok && (bytes || !strings.HasSuffix(u.suffix, "B")) {
			number, factor = n, u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v > 0) || v*factor < 1 || v*factor >= math.MaxInt64 || strings.ContainsAny(number, "xXpP_iInN") {
		kind := "a number above 0, as 1000 or 10k"
		if bytes {
			kind = "a size above 0, as 500MB or 8GiB"
		}
		return 0, fmt.Errorf("%q: want %s", text, kind)
	}
	return int64(v * factor), nil
}

// raise is how the limit that an error is about can be raised: " (…)", or "".
func raise(err error) string {
	over, ok := errors.AsType[*onnxrun.LimitError](err)
	if !ok {
		return ""
	}
	i := slices.IndexFunc(limits, func(l limit) bool { return l.field == over.Limit })
	if i < 0 {
		return ""
	}
	// More than was found: what comes after it counts too.
	if over.Got > math.MaxInt64/2 {
		return ""
	}
	need := max(over.Got+over.Got/4, 2*over.Max)
	value := strconv.FormatInt(need, 10)
	if limits[i].bytes {
		value = fmt.Sprintf("%dMiB", (need+1<<20-1)>>20)
	}
	return fmt.Sprintf(" (raise it with --limit %s=%s)", limits[i].name, value)
}
