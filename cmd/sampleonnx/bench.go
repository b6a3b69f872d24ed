package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
)

const benchHelp = `sampleonnx bench times a network on random inputs.

  sampleonnx bench MODEL.onnx [--batch B] [--threads T] [--min-time 1s] [--json]

Flags:
%s
Winograd's convolutions do fewer operations than are counted here, which is by the definition: their rate can be above the peak.
Inputs are uniform on 0.05…0.95 where they are floats of rank 1 (times), integers 0…9, and standard normal otherwise.
`

// timing is what bench measures; its JSON is one line.
type timing struct {
	Model    string  `json:"model"`
	Batch    int     `json:"batch"`
	Threads  int     `json:"threads"`
	Runs     int     `json:"runs"`
	MedianMS float64 `json:"median_ms"`
	MinMS    float64 `json:"min_ms"`
	LoadMS   float64 `json:"load_ms"`
	RSSMB    float64 `json:"rss_mb"`
	GFLOP    float64 `json:"gflop"`
	GFLOPS   float64 `json:"gflops"`
}

func bench(ctx context.Context, args []string, std streams) error {
	f := flagSet("bench")
	batch := f.IntP("batch", "b", 1, "`B`, what a dimension that the model leaves open becomes")
	var config runConfig
	configFlags(f, &config)
	minTime := f.Duration("min-time", time.Second, "measure for `TIME` at least")
	shapes := f.StringArray("shape", nil, "shape of an input: `NAME=1,3,32,32`; can be repeated")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args, "a model"); err != nil {
		return help(std.out, fmt.Sprintf(benchHelp, f.FlagUsagesWrapped(110)), err)
	}
	if *batch < 1 {
		return usagef("--batch %d: want 1 or more", *batch)
	}
	ctx, stop := config.begin(ctx)
	defer stop()
	began := time.Now()
	m, err := openModel(ctx, f.Arg(0), config)
	if err != nil {
		return err
	}
	defer m.Close()
	t := timing{Model: filepath.Base(f.Arg(0)), Batch: *batch, Threads: m.Threads(), LoadMS: ms(time.Since(began))}
	inputs, _, err := randomInputs(ctx, m, new(card.Card), *batch, *shapes, true)
	if err != nil {
		return err
	}
	times, err := measure(ctx, m, inputs, *minTime)
	if err != nil {
		return err
	}
	slices.Sort(times)
	t.Runs, t.MedianMS, t.MinMS = len(times), ms(median(times)), ms(times[0])
	t.RSSMB = peakMemory() / (1 << 20)
	stats, err := m.Profile(ctx, inputs...)
	if err != nil {
		return err
	}
	t.GFLOP = stats.FLOPs / 1e9
	t.GFLOPS = t.GFLOP / t.MedianMS * 1e3
	if *asJSON {
		return printJSON(std.out, t)
	}
	return t.print(std.out, stats)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of a sorted list.
func median(v []time.Duration) time.Duration { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

// measure runs twice to warm up, then for the given time and three times at least.
func measure(ctx context.Context, m *onnxrun.Model, inputs []onnxrun.Tensor, least time.Duration) ([]time.Duration, error) {
	var times []time.Duration
	var end time.Time
	for i := 0; ; i++ {
		if i == 2 {
			end = time.Now().Add(least)
		}
		start := time.Now()
		if _, err := m.Run(ctx, inputs...); err != nil {
			return nil, err
		}
		if i < 2 {
			continue
		}
		times = append(times, time.Since(start))
		if len(times) >= 3 && time.Now().After(end) {
			return times, nil
		}
	}
}

func (t timing) print(w io.Writer, stats *onnxrun.Stats) error {
	fmt.Fprintf(w, "%s, batch %d, %d threads, %s\n", t.Model, t.Batch, t.Threads, onnxrun.ISA())
	peak := onnxrun.Peak() * float64(t.Threads) / 1e9
	fmt.Fprintf(w, "median %.4g ms, min %.4g ms of %d runs; %.4g GFLOP, %.4g GFLOP/s, %.0f %% of the %.4g that %d threads can do\n",
		t.MedianMS, t.MinMS, t.Runs, t.GFLOP, t.GFLOPS, 100*t.GFLOPS/peak, peak, t.Threads)
	fmt.Fprintf(w, "load %.4g ms, peak memory %.4g MB, of which %.4g MB for what lies between the operators\n\n",
		t.LoadMS, t.RSSMB, float64(stats.Memory)/(1<<20))
	type row struct {
		name  string
		count int
		time  time.Duration
		flops float64
	}
	byOp := make(map[string]*row)
	var total time.Duration
	for _, n := range stats.Nodes {
		name := n.Op
		if n.Algo != "" {
			name += " (" + n.Algo + ")"
		}
		if byOp[name] == nil {
			byOp[name] = &row{name: name}
		}
		r := byOp[name]
		r.count, r.time, r.flops, total = r.count+1, r.time+n.Time, r.flops+n.FLOPs, total+n.Time
	}
	rows := slices.SortedFunc(maps.Values(byOp), func(a, b *row) int {
		return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.name, b.name))
	})
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "operator\tcount\tms\t%\tGFLOP/s\t% of peak\t")
	for _, r := range rows {
		speed, share := "", ""
		if r.flops > 0 && r.time > 0 {
			rate := r.flops / float64(r.time)
			speed, share = fmt.Sprintf("%.1f", rate), fmt.Sprintf("%.0f", 100*rate/peak)
		}
		fmt.Fprintf(tab, "%s\t%d\t%.3f\t%.1f\t%s\t%s\t\n", r.name, r.count, ms(r.time), 100*float64(r.time)/float64(max(total, 1)), speed, share)
	}
	return tab.Flush()
}
