package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
)

const verifyHelp = `sampleonnx verify compares a model and its sampling with recorded results.

  sampleonnx verify MODEL.onnx TRACE.npz    replay a recorded run, draw for draw
  sampleonnx verify MODEL.onnx BPD.npz      compute recorded likelihoods again, with the same probes
  sampleonnx verify MODEL.onnx PAIRS.npz    evaluate in_* and compare with out_*
  sampleonnx verify MODEL.onnx SAMPLES.npy  draw samples as these were drawn, with our seeds, and make all the tests of compare
  sampleonnx verify MODEL.onnx STATS.json   draw samples with our seeds and test their statistics
  sampleonnx verify MODEL.onnx STATS.json --record SAMPLES.npy|drawn [--replace]   record statistics

How samples were drawn is what their own meta says (an .npz that this command wrote has one), or NAME_stats.json, stats.json or the recorded run
NAME.npz beside NAME_samples.npy or .npz. Bytes are pictures.

Flags:
%s
Every figure is printed with its tolerance; the exit code is 1 if one is over. Where a replayed ODE is, what a rounding of its start does to the
end is measured and printed beside it: step control can make an ODE chaotic, and then no other machine's arithmetic can follow it. It has failed
all the same.
`

// errDiffers ends a comparison whose figures have been printed.
var errDiffers = errors.New("did not verify")

// report is the result of a comparison.
type report struct {
	Model   string   `json:"model"`
	Golden  string   `json:"golden"`
	Kind    string   `json:"kind"`
	OK      bool     `json:"ok"`
	Figures []figure `json:"figures,omitempty"`

	Compared *comparedSamples `json:"compared,omitempty"`
}

// figure is one number and what it must not exceed (or, for a probability, fall below).
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Least bool    `json:"at_least,omitempty"` // Limit is a lower bound
	OK    bool    `json:"ok"`

	// Rounding is how far a rounding error of the start moves the value; measured where a replayed ODE fails.
	Rounding float64 `json:"rounding,omitempty"`
}

func atMost(what string, value, limit float64) figure {
	return figure{What: what, Value: value, Limit: limit, OK: value <= limit} // NaN is not
}

func atLeast(what string, value, limit float64) figure {
	return figure{What: what, Value: value, Limit: limit, Least: true, OK: value >= limit}
}

// comparison is a run of verify.
type comparison struct {
	path, golden string
	model        *onnxrun.Model
	tol, alpha   float64
	n, batch     int
	seed         uint64
	given        func(flag string) bool
	bar          func(n int) *progress
}

func verify(ctx context.Context, args []string, std streams) error {
	var c comparison
	f := flagSet("verify")
	f.Float64Var(&c.tol, "tol", 0, "tolerance `X` (default: 1e-5, runs of k-diffusion and diffusers 2e-5, of networks of images and ODEs 1e-4, bits/dim 0.01, codes 0.015)")
	f.Float64Var(&c.alpha, "alpha", 1e-4, "statistics: probability `P` of failing by chance, of all tests together")
	f.IntVarP(&c.n, "samples", "n", 0, "statistics: draw `N` samples (default: as many as the reference)")
	f.IntVarP(&c.batch, "batch", "b", 0, "samples the network sees at once: `B`")
	f.Uint64VarP(&c.seed, "seed", "s", 1, "statistics: our `SEED`")
	var config runConfig
	configFlags(f, &config)
	asJSON := f.Bool("json", false, "print one JSON object")
	samples := f.String("record", "", "put the statistics of `SAMPLES` .npy or .npz, or of samples that are drawn here, as the file's meta says, into STATS.json, and verify nothing")
	replace := f.Bool("replace", false, "--record: in place of those that are there")
	entry := f.String("entry", "", "--record: the `NAME` of the statistics in a file with several of this model")
	mode := f.String("progress", "auto", "`HOW` to tell it on stderr: auto, bar, plain, none")
	if err := parse(f, args, "a model", "a golden file"); err != nil {
		return help(std.out, fmt.Sprintf(verifyHelp, f.FlagUsagesWrapped(110)), err)
	}
	if err := oneOf("progress", *mode, "auto", "bar", "plain", "none"); err != nil {
		return err
	}
	if c.n < 0 || c.n == 1 || c.batch < 0 || c.tol < 0 || !(c.alpha > 0 && c.alpha < 1) {
		return usagef("--samples must be 2 or more, --tol more than 0, --alpha between 0 and 1")
	}
	c.path, c.golden, c.given = f.Arg(0), f.Arg(1), f.Changed
	c.bar = func(n int) *progress { return newProgress(std.err, progressMode(*mode, false, std.err), n) }
	ctx, stop := config.begin(ctx)
	defer stop()
	var err error
	if c.model, err = openModel(ctx, c.path, config); err != nil {
		return err
	}
	defer c.model.Close()
	if *samples != "" {
		for _, name := range []string{"tol", "alpha", "json"} {
			if f.Changed(name) {
				return usagef("--%s is of no use to --record", name)
			}
		}
		return c.record(ctx, *samples, *entry, *replace, std.out)
	}
	if *entry != "" || *replace {
		return usagef("--entry and --replace are of use to --record alone")
	}
	r := report{Model: filepath.Base(c.path), Golden: filepath.Base(c.golden), OK: true}
	if err := c.run(ctx, &r); err != nil {
		return err
	}
	for _, g := range r.Figures {
		r.OK = r.OK && g.OK
	}
	if r.Compared != nil {
		r.OK = r.Compared.OK
	}
	return r.print(std.out, *asJSON)
}

// run tells the kinds of golden files apart.
func (c *comparison) run(ctx context.Context, r *report) (err error) {
	file := make(map[string]npy.Array)
	switch strings.ToLower(filepath.Ext(c.golden)) {
	case ".json":
		r.Kind = "statistics"
	case ".npy":
		file["x"], err = npy.ReadFile(ctx, c.golden)
	case ".npz":
		file, err = npy.ReadZipFile(ctx, c.golden)
	default:
		err = usagef("%s: want a recorded run or pairs (.npz), samples (.npy, .npz) or statistics (.json)", c.golden)
	}
	if err != nil {
		return err
	}
	has := func(name string) bool { _, ok := file[name]; return ok }
	vain := []string{"alpha", "samples", "seed", "batch"}
	switch {
	case r.Kind == "statistics":
		vain = []string{"tol"}
	case has("bpd"):
		r.Kind = "likelihood"
	case has("x"):
		r.Kind, vain = "samples", []string{"tol"}
	case has("meta"):
		r.Kind = "replay"
	default:
		r.Kind = "pairs"
	}
	for _, name := range vain {
		if c.given(name) {
			return usagef("--%s is of no use to %s: %s", name, c.golden, r.Kind)
		}
	}
	switch r.Kind {
	case "statistics":
		r.Figures, err = c.statistics(ctx)
	case "likelihood":
		r.Figures, err = c.likelihood(ctx, file)
	case "samples":
		r.Compared, err = c.samples(ctx, file)
	case "replay":
		r.Figures, err = c.replay(ctx, file)
	case "pairs":
		r.Figures, err = c.pairs(ctx, file)
	}
	return err
}

// pairs evaluates the network on in_* and compares with out_*.
func (c *comparison) pairs(ctx context.Context, file map[string]npy.Array) ([]figure, error) {
	inputs := make(map[string]npy.Array)
	for name, a := range file {
		if in, ok := strings.CutPrefix(name, "in_"); ok {
			inputs[in] = a
		}
	}
	if len(inputs) == 0 {
		return nil, usagef("%s has neither meta (a recorded run) nor in_* and out_* (pairs)", c.golden)
	}
	given, err := bindInputs(c.model, inputs)
	if err != nil {
		return nil, err
	}
	out, err := c.model.Run(ctx, given...)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, t := range out {
		want, ok := file["out_"+t.Name]
		if !ok {
			continue
		}
		g, err := c.pair(t, want)
		if err != nil {
			return nil, err
		}
		figures = append(figures, g)
	}
	if len(figures) == 0 {
		return nil, usagef("%s: no out_* is an output of the model", c.golden)
	}
	return figures, nil
}

func (c *comparison) pair(t onnxrun.Tensor, want npy.Array) (figure, error) {
	if !slices.Equal(t.Shape, want.Shape) {
		return figure{}, fmt.Errorf("output %s has shape %v, recorded is %v", t.Name, t.Shape, want.Shape)
	}
	got, err := npy.Array{Data: t.Data}.Float64s()
	if err != nil {
		return figure{}, fmt.Errorf("output %s: %w", t.Name, err)
	}
	expected, err := want.Float64s()
	if err != nil {
		return figure{}, fmt.Errorf("%s:out_%s: %w", c.golden, t.Name, err)
	}
	var diff, size float64
	for i, w := range expected {
		d := math.Abs(got[i] - w)
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		diff, size = max(diff, d), max(size, math.Abs(w))
	}
	if size == 0 {
		size = 1
	}
	return atMost(t.Name+": max|difference| / max|output|", diff/size, c.tolerance(1e-5)), nil
}

func (c *comparison) tolerance(standard float64) float64 {
	if c.tol > 0 {
		return c.tol
	}
	return standard
}

func (r report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		for i, g := range r.Figures {
			if math.IsNaN(g.Value) || math.IsInf(g.Value, 0) { // JSON has neither
				r.Figures[i].Value = math.MaxFloat64
			}
		}
		if err := printJSON(w, r); err != nil {
			return err
		}
	} else if err := r.text(w); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("%s %w against %s", r.Model, errDiffers, r.Golden)
	}
	return nil
}

func (r report) text(w io.Writer) error {
	var b strings.Builder
	printf(&b, "%s, %s of %s\n", r.Golden, r.Kind, r.Model)
	for _, g := range r.Figures {
		sign, verdict := "<=", "ok"
		if g.Least {
			sign = ">="
		}
		if !g.OK {
			verdict = "FAILED"
		}
		printf(&b, "  %-52s %11.4g  %s %-9.4g %s\n", g.What, g.Value, sign, g.Limit, verdict)
	}
	if _, err := io.WriteString(w, b.String()); err != nil || r.Compared == nil {
		return err
	}
	return r.Compared.text(w)
}
