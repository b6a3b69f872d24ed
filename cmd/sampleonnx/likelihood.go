package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
	"sampleonnx/sampler/stats"
)

const likelihoodHelp = `sampleonnx likelihood computes log p of data under a model, by the probability-flow ODE.

  sampleonnx likelihood MODEL.onnx DATA.npy [flags]

Bits per dimension are those of 8-bit data. Bytes and images are dequantised, v = (b+u)/256 with u uniform on [0,1), and put on the card's
range, or its logits, as x; --set dequant=none leaves them at v = b/255. Floats are x already, and dequantised if they are to be. The bits are
-log2 p(v)/d + 8, where p(v) = p(x) dx/dv: on a range -log2 p(x)/d + log2(256/(hi-lo)). Without a range the last term is left out. log p is
that of x.

With --guidance other than 1 the density is the one to which the guided score's ODE carries the prior: that of what
--sampler ode draws with the same flags. It is neither the model's p(x|class) nor a reweighted one.
With --classifier the trace is by central differences.

Flags:
%s`

// likelihoodRun is what the verb is asked.
type likelihoodRun struct {
	trace, probe, output string
	classes              classFlags
	batch                int
	seed                 uint64
	seeded               bool      // by the flag
	given                []float32 // probes
	config               runConfig
}

// likelihoods is its result.
type likelihoods struct {
	Model    string    `json:"model"`
	Data     string    `json:"data"`
	Class    string    `json:"class,omitempty"` // of the data, which take them in turn
	Guidance *float64  `json:"guidance,omitempty"`
	Trace    string    `json:"trace"`
	Calls    int       `json:"network_calls"`
	LogP     []float64 `json:"log_p"` // nats
	Bits     []float64 `json:"bits_per_dim"`
	Dequant  bool      `json:"dequantised,omitempty"` // here; what was dequantised before is not known
	Mean     float64   `json:"mean_bits_per_dim"`
	Error    *float64  `json:"standard_error,omitempty"` // of two data and more
	Warnings []string  `json:"warnings,omitempty"`
	z        []float32
	shape    []int
}

func likelihood(ctx context.Context, args []string, std streams) error {
	var l likelihoodRun
	f := flagSet("likelihood")
	f.StringVarP(&l.output, "output", "o", "", "`FILE.npz` for log_p, bits_per_dim and z, where the data came to")
	asJSON := f.Bool("json", false, "print one JSON object")
	l.classes.add(f, "the data")
	f.StringVar(&l.trace, "trace", "", "`HOW`: hutchinson (one probe), exact (a derivative a dimension; the default up to 16), central (a probe by central differences)")
	f.StringVar(&l.probe, "probe", "", "probes are `NAME` rademacher or gaussian (default rademacher)")
	solverFlags(f)
	f.IntVarP(&l.batch, "batch", "b", 64, "data the network sees at once: `B`")
	f.Uint64VarP(&l.seed, "seed", "s", 0, "`SEED` of the probes, and of what dequantises bytes")
	set := f.StringArray("set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")
	configFlags(f, &l.config)
	if err := parse(f, args, "a model", "data"); err != nil {
		return help(std.out, fmt.Sprintf(likelihoodHelp, f.FlagUsagesWrapped(110)), err)
	}
	l.seeded = f.Changed("seed")
	if l.batch < 1 {
		return usagef("--batch %d: want 1 or more", l.batch)
	}
	if err := oneOf("probe", l.probe, "", "rademacher", "gaussian"); err != nil {
		return err
	}
	if err := oneOf("trace", l.trace, "", "hutchinson", "exact", "central"); err != nil {
		return err
	}
	if l.output != "" && !strings.EqualFold(filepath.Ext(l.output), ".npz") {
		return usagef("--output %s: the suffix must be .npz", l.output)
	}
	settings, err := cardSettings(f, &l.classes, *set)
	if err != nil {
		return err
	}
	settings = append(settings, solverSettings(f)...)
	if l.classes.classifier != "" {
		if l.trace != "" && l.trace != "central" {
			return usagef("--trace %s: it needs the derivative of the score, which is not there with --classifier: want central", l.trace)
		}
		l.trace = "central"
	}
	if l.output != "" {
		if err := checkWritable(l.output); err != nil {
			return err
		}
	}
	ctx, stop := l.config.begin(ctx)
	defer stop()
	m, err := openModel(ctx, f.Arg(0), l.config)
	if err != nil {
		return err
	}
	defer m.Close()
	r, err := l.run(ctx, m, f.Arg(0), settings, func(c *card.Card) ([]float32, bool, error) {
		k := *c
		if !c.Has("dequant") {
			k.Dequant = "uniform"
		}
		x, bytes, err := readSamples(ctx, &k, f.Args()[1:], math.MaxInt, l.seed)
		return x, bytes && k.Dequant == "uniform", err
	})
	if err != nil {
		return err
	}
	tellWarnings(std.err, r.Warnings, false)
	r.Model, r.Data = filepath.Base(f.Arg(0)), filepath.Base(f.Arg(1))
	if l.output != "" {
		n := []int{len(r.LogP)}
		members := []npy.Named{{Name: "log_p", Array: npy.Array{Shape: n, Data: r.LogP}}, {Name: "bits_per_dim", Array: npy.Array{Shape: n, Data: r.Bits}},
			{Name: "z", Array: npy.Array{Shape: append(n, r.shape...), Data: r.z}}}
		if err := writeWhole(l.output, std.out, func(w io.Writer) error { return npy.WriteZip(w, members) }); err != nil {
			return err
		}
	}
	if *asJSON {
		return printJSON(std.out, r)
	}
	mean := 0.0
	for _, p := range r.LogP {
		mean += p / float64(len(r.LogP))
	}
	spread, how := "", ""
	if r.Error != nil {
		spread = fmt.Sprintf(" ± %.4f", *r.Error)
	}
	if r.Dequant {
		how = "dequantised, "
	}
	_, err = fmt.Fprintf(std.out, "%s, %d data of %s%s: log p %.5g nats, %.4f%s bits/dim (%s%s trace, %d network calls)\n",
		r.Model, len(r.LogP), r.Data, ofClass(r.Class), mean, r.Mean, spread, how, r.Trace, r.Calls)
	return err
}

// run computes the likelihoods of data that have the card's shape and scale, and may be dequantised.
func (l likelihoodRun) run(ctx context.Context, m *onnxrun.Model, path string, settings []setting, data func(*card.Card) ([]float32, bool, error)) (*likelihoods, error) {
	c, recipe, err := resolve(ctx, m, path, asked{settings: settings, by: "likelihood"})
	if err != nil {
		return nil, err
	}
	dim := elements(c.Shape)
	x, dequantised, err := data(c)
	if err != nil {
		return nil, err
	}
	n := len(x) / dim
	if err := holdBatch(ctx, min(l.batch, n), c.Shape); err != nil {
		return nil, err
	}
	if l.trace == "" {
		if l.trace = "hutchinson"; dim <= 16 {
			l.trace = "exact"
		}
	}
	switch {
	case l.trace == "exact" && l.probe != "":
		return nil, usagef("--probe is of no use to the exact trace; see --trace")
	case l.trace == "exact" && l.seeded && !dequantised:
		return nil, usagef("--seed is of no use to the exact trace of data that are not dequantised; see --trace")
	}
	central := l.trace == "central"
	net, err := l.classes.open(ctx, m, c, recipe, l.config, !central)
	defer net.close()
	if err != nil {
		return nil, err
	}
	if err := net.count(&l.classes, n, 0); err != nil {
		return nil, err
	}
	r := &likelihoods{Class: l.classes.class, Trace: l.trace, Dequant: dequantised, Warnings: recipe.warnings, z: append([]float32(nil), x...), shape: c.Shape}
	if r.Class != "" {
		r.Guidance = &l.classes.guidance
	}
	addMean(r.z, recipe.mean, -1)
	for first := 0; first < n; first += l.batch {
		k := min(l.batch, n-first)
		b := &sampler.Batch{X: r.z[first*dim : (first+k)*dim], Dim: dim, First: uint64(first), Noise: sampler.Philox(l.seed)}
		algorithm := sampler.Likelihood{SDE: process(c), Eps: c.TEps, RTol: recipe.sampler.(sampler.Flow).RTol, ATol: c.Sampler.ATol, Coupled: c.Sampler.Coupled, Exact: l.trace == "exact", Gaussian: l.probe == "gaussian"}
		if l.given != nil {
			algorithm.Probe = l.given[first*dim : (first+k)*dim]
		}
		score, err := net.score(b)
		if err != nil {
			return nil, err
		}
		pull := sampler.CentralDifference(score, process(c), 0.02)
		if !central {
			pull = net.pullback(b)
		}
		p, err := algorithm.LogP(ctx, b, score, pull)
		if err != nil {
			return nil, err
		}
		r.LogP = append(r.LogP, p...)
		r.Calls += b.Calls
	}
	for i, p := range r.LogP {
		r.Bits = append(r.Bits, (logBins(c, x[i*dim:(i+1)*dim])-p)/(float64(dim)*math.Ln2))
	}
	moments := stats.MomentsOf(r.Bits, 1)
	if r.Mean = moments.Mean[0]; n > 1 {
		e := math.Sqrt(moments.Variance[0] / float64(n))
		r.Error = &e
	}
	return r, nil
}

// logBins is Σ ln |256 dv/dx| for a datum x as the network has it, v being 8-bit data on [0,1]: what −ln p(x) lacks to the code length of the bytes.
// With x = ln(y/(1−y)), y = α+(1−2α)v, it is dv/dx = y(1−y)/(1−2α).
func logBins(c *card.Card, x []float32) float64 {
	n := float64(len(x))
	switch a := c.LogitAlpha; {
	case a != 0:
		sum := n * math.Log(256/(1-2*a))
		for _, v := range x {
			l := math.Abs(float64(v))
			sum -= l + 2*math.Log1p(math.Exp(-l)) // −ln y(1−y)
		}
		return sum
	case len(c.Range) == 2:
		return n * math.Log(256/(c.Range[1]-c.Range[0]))
	}
	return 0
}

// likelihood compares bits per dimension and the ODE's ends with those recorded, of the same probes.
func (c *comparison) likelihood(ctx context.Context, file map[string]npy.Array) ([]figure, error) {
	text, err := file["meta"].Text()
	if err != nil {
		return nil, fmt.Errorf("%s:meta: %w", c.golden, err)
	}
	var meta goldenMeta
	if err := json.Unmarshal([]byte(text), &meta); err != nil {
		return nil, &npy.FormatError{File: c.golden + ":meta", Reason: err.Error()}
	}
	if meta.Model != "" && meta.Model != filepath.Base(c.path) {
		return nil, usagef("%s was recorded with %s, not with %s", c.golden, meta.Model, filepath.Base(c.path))
	}
	bits, err := file["bpd"].Float64s()
	if err != nil {
		return nil, fmt.Errorf("%s:bpd: %w", c.golden, err)
	}
	probes, err := file["epsilon"].Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s:epsilon: %w", c.golden, err)
	}
	data := file["data"]
	l := likelihoodRun{classes: classFlags{guidance: 1}, trace: "hutchinson", batch: max(len(bits), 1), given: probes}
	meta.Sampler = "ode"
	if len(bits) == 0 || len(data.Shape) < 1 || data.Shape[0] != len(bits) || len(probes) != elements(data.Shape) || !(meta.RTol > 0 && meta.ATol > 0) {
		return nil, &npy.FormatError{File: c.golden, Reason: "data, epsilon, bpd and the tolerances do not fit each other"}
	}
	r, err := l.run(ctx, c.model, c.path, meta.settings(c.golden), func(k *card.Card) ([]float32, bool, error) {
		x, err := floatSamples(c.golden+":data", data, k.Shape, len(bits))
		return x, false, err
	})
	if err != nil {
		return nil, err
	}
	var figures []figure
	for i, want := range bits {
		what := fmt.Sprintf("datum %d: %.4f bits/dim, recorded %.4f: difference", i, r.Bits[i], want)
		figures = append(figures, atMost(what, math.Abs(r.Bits[i]-want), c.tolerance(1e-2)))
	}
	if want, err := file["z"].Float32s(); err == nil && len(want) == len(r.z) {
		// Runs at the tolerance 10⁻⁴ end 0.7 % from the ODE's own end on digits, each in its own direction.
		figures = append(figures, atMost("codes: relative RMS", relativeRMS(r.z, want), c.tolerance(1.5e-2)))
	}
	if meta.NFE > 0 {
		// Rounding enters the step control: with another runtime's, a network's ODE takes other steps.
		what := fmt.Sprintf("evaluations: %d, recorded %d: difference", r.Calls, meta.NFE)
		figures = append(figures, atMost(what, math.Abs(float64(r.Calls-meta.NFE)), math.Floor(0.15*float64(meta.NFE))))
	}
	return figures, nil
}
