package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/picture"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// sampleFlags are the flags of the main verb.
type sampleFlags struct {
	n, batch, steps       int
	config                runConfig
	seed                  uint64
	output, trajectory    string
	noise, rng            string
	progress              string
	quiet, verbose, print bool
	set                   []string
	condition             conditionFlags
}

// cardFlags maps the flags that stand for a key of the card.
func cardFlags() map[string]string {
	return map[string]string{
		"sampler": "sampler.name", "sde": "sde", "steps-per-level": "sampler.steps", "eps": "sampler.eps", "snr": "sampler.snr",
		"sigma-min": "sigma_min", "sigma-max": "sigma_max", "sigmas": "sigmas", "denoise": "sampler.denoise",
		"schedule": "sampler.schedule", "eta": "sampler.eta", "predictor": "sampler.predictor", "corrector": "sampler.corrector", "corrector-norm": "sampler.corrector_norm",
	}
}

// groups returns the flags in the groups in which the help shows them.
func (s *sampleFlags) groups() []group {
	drawing, method, output, running := flagSet(""), flagSet(""), flagSet(""), flagSet("")

	drawing.IntVarP(&s.n, "samples", "n", 16, "how many samples to draw: `N`")
	drawing.Uint64VarP(&s.seed, "seed", "s", 0, "`SEED`; sample i depends on the model, the settings, this and i alone")
	drawing.StringVar(&s.rng, "rng", "philox", "random numbers: `NAME` philox, torch (those of torch.manual_seed on a CPU: a sample depends on the batch), or jax (those of jax.random.PRNGKey, split for every draw)")
	drawing.StringVar(&s.noise, "noise", "", "take all random numbers from `FILE.npz`: noise[k,n,...], and perhaps x_init")

	method.String("sampler", "", "algorithm `NAME`: "+strings.Join(card.Samplers(), ", "))
	method.String("sde", "", "`NAME` of the process: "+strings.Join(card.SDEs(), ", "))
	method.IntVar(&s.steps, "steps", 0, "steps of pc, langevin and the samplers on a ladder, noise levels of ald: `N`")
	method.String("schedule", "", "ladder `NAME` of the samplers from cas on: "+strings.Join(card.Schedules(), ", ")+" (default karras, rho 7)")
	method.String("eta", "", "ancestral noise `ETA` of "+strings.Join(descentsWith("sampler.eta"), ", "))
	method.String("steps-per-level", "", "steps a level of ald: `T`")
	method.String("eps", "", "step size of ald, langevin and cas, as in NCSNv2's code: alpha = `EPS` (sigma/sigma_L)²")
	method.String("snr", "", "signal-to-noise ratio `R` of the correctors")
	method.String("sigma-min", "", "smallest noise `S`")
	method.String("sigma-max", "", "largest noise `S`")
	method.String("sigmas", "", "the whole ladder `S1,S2,...`, falling")
	method.Bool("denoise", false, "end with the mean, without the last step's noise (--denoise=false: with it)")
	method.String("predictor", "", "predictor `NAME` of pc: "+strings.Join(card.Predictors(), ", "))
	method.String("corrector", "", "corrector `NAME` of pc: "+strings.Join(card.Correctors(), ", "))
	method.String("corrector-norm", "", "`RULE` for the Langevin corrector's step: sample (norms of each), dim (√d for the noise's), batch (means over the batch, as published)")
	method.StringArrayVar(&s.set, "set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")

	output.StringVarP(&s.output, "output", "o", "", "`FILE` .png, .npy, .npz or .csv, or - for npy on stdout (default samples.png, or samples.npy where there is no picture)")
	output.StringVar(&s.trajectory, "trajectory", "", "`FILE` .npz, .npy or .png for the states on the way, at most 64 of them")
	output.BoolVar(&s.print, "print-config", false, "print the resolved model card as JSON, and stop")

	running.IntVarP(&s.batch, "batch", "b", 0, "samples the network sees at once: `B` (default: by the size of a sample)")
	configFlags(running, &s.config)
	running.BoolVarP(&s.quiet, "quiet", "q", false, "say nothing but errors")
	running.BoolVarP(&s.verbose, "verbose", "v", false, "say what is done")
	running.StringVar(&s.progress, "progress", "auto", "`HOW` to tell it on stderr: auto, bar, plain, none")
	running.Bool("version", false, "print the version")
	running.Bool("help", false, "print this")

	return []group{{"What to draw", drawing}, {"Of what class, and what is known of it", s.condition.flags()}, {"How (default: as the model card says)", method}, {"Where to", output}, {"Running", running}}
}

type group struct {
	title string
	flags *pflag.FlagSet
}

const sampleHelp = `sampleonnx draws samples from a score network in an ONNX file.

  sampleonnx MODEL.onnx [flags]               draw samples
  sampleonnx run MODEL.onnx -i x=x.npy …      evaluate the network once
  sampleonnx inspect MODEL.onnx               inputs, operators, cost, model card
  sampleonnx bench MODEL.onnx                 time the network
  sampleonnx verify MODEL.onnx GOLDEN         compare with recorded results
  sampleonnx likelihood MODEL.onnx DATA.npy   log p and bits per dimension of data
  sampleonnx encode MODEL.onnx DATA.npy       codes of data, by the probability-flow ODE
  sampleonnx decode MODEL.onnx Z.npy          data from their codes
  sampleonnx interpolate MODEL.onnx DATA.npy  what lies between data
  sampleonnx loss MODEL.onnx DATA.npy         how well it knows the score of data, by noise level
  sampleonnx compare A.npy B.npy              test whether samples have one law

What the network expects and how it wants to be sampled is its model card: MODEL.score.json beside it, or score.* in its metadata; flags win.

Examples:
  sampleonnx digits.onnx -n 64 -o digits.png
  sampleonnx swissroll.onnx -n 20000 --sampler ode -o roll.png
  sampleonnx digits.onnx --classifier judge.onnx --class 0-9 -n 100 --guidance 8 -o classes.png
  sampleonnx digits.onnx --inpaint images.npy --mask left -o completed.png
  sampleonnx faces.onnx --inverse average:4 --measurement small.png --method pigdm -o large.png
  sampleonnx net.onnx --sde ve --sigma-min 0.01 --sigma-max 50 --set output=score --set time_kind=sigma -o x.npz
`

const sampleFooter = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 model invalid or unsupported, 4 a limit reached, 130 interrupted.
`

func (s *sampleFlags) help(groups []group) string {
	var b strings.Builder
	b.WriteString(sampleHelp)
	for _, g := range groups {
		b.WriteString("\n" + g.title + ":\n" + g.flags.FlagUsagesWrapped(110))
	}
	b.WriteString(sampleFooter)
	return b.String()
}

// job is a run of the main verb after everything has been checked.
type job struct {
	flags  sampleFlags
	card   *card.Card
	model  *onnxrun.Model
	recipe *recipe
	noise  recorded
	format string // of the output
	log    func(format string, args ...any)

	condition condition
}

func sample(ctx context.Context, args []string, std streams) error {
	var s sampleFlags
	groups := s.groups()
	f := flagSet("sampleonnx")
	for _, g := range groups {
		f.AddFlagSet(g.flags)
	}
	err := f.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp), err == nil && f.Changed("help"):
		_, err := io.WriteString(std.out, s.help(groups))
		return err
	case err != nil:
		return flagError(err)
	case f.Changed("version"):
		_, err := fmt.Fprintln(std.out, version())
		return err
	case f.NArg() != 1:
		return usagef("want one model, have %d arguments%s (see --help)", f.NArg(), list(f.Args()))
	}
	asked, err := s.asked(f)
	if err != nil {
		return err
	}
	j := &job{flags: s, log: func(string, ...any) {}}
	if s.verbose {
		j.log = func(format string, args ...any) { fmt.Fprintf(std.err, format+"\n", args...) }
	}
	ctx, stop := s.config.begin(ctx)
	defer stop()
	return j.run(ctx, f.Arg(0), asked, std)
}

// asked collects what the flags say about the card.
func (s *sampleFlags) asked(f *pflag.FlagSet) (asked, error) {
	a := asked{steps: s.steps}
	if s.n < 1 {
		return a, usagef("--samples %d: want 1 or more", s.n)
	}
	if s.batch < 0 {
		return a, usagef("--batch %d: want 1 or more", s.batch)
	}
	if f.Changed("steps") && s.steps < 1 {
		return a, usagef("--steps %d: want 1 or more", s.steps)
	}
	if err := oneOf("progress", s.progress, "auto", "bar", "plain", "none"); err != nil {
		return a, err
	}
	if err := oneOf("rng", s.rng, "philox", "torch", "jax"); err != nil {
		return a, err
	}
	if s.rng != "philox" && s.noise != "" {
		return a, usagef("--rng %s is of no use with --noise", s.rng)
	}
	keys := cardFlags()
	f.Visit(func(flag *pflag.Flag) {
		if key, ok := keys[flag.Name]; ok {
			a.settings = append(a.settings, setting{key, flag.Value.String(), "--" + flag.Name})
		}
	})
	set, err := parseSettings(s.set)
	if err != nil {
		return a, err
	}
	conditions, err := s.condition.settings(f)
	a.settings = append(append(a.settings, set...), conditions...)
	return a, err
}

// parseSettings reads the arguments of --set.
func parseSettings(args []string) ([]setting, error) {
	var list []setting
	for _, kv := range args {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usagef("--set %s: want KEY=VALUE", kv)
		}
		list = append(list, setting{key, value, "--set " + key})
	}
	return list, nil
}

func (j *job) run(ctx context.Context, path string, flags asked, std streams) error {
	began := time.Now()
	m, err := openModel(ctx, path, j.flags.config)
	if err != nil {
		return err
	}
	defer m.Close()
	j.model = m
	if j.card, err = resolveCard(ctx, m, path, flags); err != nil {
		return err
	}
	if j.flags.print {
		_, err := std.out.Write(j.card.JSON())
		return err
	}
	if j.recipe, err = newRecipe(j.card, noiseKind(j.flags.rng != "philox" || j.flags.noise != "")); err != nil {
		return err
	}
	j.condition, err = j.newCondition(ctx)
	defer j.condition.close()
	if err != nil {
		return err
	}
	if err := j.check(ctx, std); err != nil {
		return err
	}
	j.log("%s: opened in %s; %s, %d threads", filepath.Base(path), brief(time.Since(began)), onnxrun.ISA(), m.Threads())
	j.log("%s", j.recipe.about)
	if about := j.about(); about != "" {
		j.log("%s", about)
	}
	if err := j.warn(std.err); err != nil {
		return err
	}
	d, err := j.draw(ctx, std)
	if err != nil {
		return err
	}
	d.meta = j.meta(path)
	if err := save(j.flags.output, j.format, std.out, d); err != nil {
		return err
	}
	if !j.flags.quiet && j.flags.output != "-" {
		fmt.Fprintf(std.err, "wrote %s: %d samples in %s\n", j.flags.output, d.n, brief(time.Since(began)))
	}
	return nil
}

// warn looks for a card that does not fit the network.
func (j *job) warn(w io.Writer) error {
	score, err := j.condition.unguided().score(nil)
	if err != nil {
		return err
	}
	k, err := j.recipe.probe(score, elements(j.card.Shape))
	if err != nil {
		return err
	}
	j.log("probe at the largest noise: %.3g (1 is right)", k)
	if !(k > 0.4 && k < 2.5) && !j.flags.quiet {
		fmt.Fprintf(w, "warning: at the largest noise the score is %.3g times what it should be about; is output=%s right, and the noise range? (sampleonnx inspect)\n", k, j.card.Output)
	}
	return nil
}

// check refuses before the work what would fail after it.
func (j *job) check(ctx context.Context, std streams) error {
	s := &j.flags
	shape := j.card.Shape
	if s.output == "" {
		s.output = "samples.npy"
		if drawable(shape) {
			s.output = "samples.png"
		}
	}
	var err error
	if j.format, err = outputFormat(s.output, shape, std.out); err != nil {
		return err
	}
	if j.format == ".png" && len(shape) == 3 {
		if err := picture.Check(s.n, shape); err != nil {
			return usagef("-o %s: %v: use .npy, .npz or .csv", s.output, err)
		}
	}
	if err := checkWritable(s.output); err != nil {
		return err
	}
	if err := holdSamples(ctx, s.n, shape); err != nil {
		return fmt.Errorf("%w; or draw them in parts, with other seeds", err)
	}
	if s.noise != "" {
		if j.noise, err = readNoise(ctx, s.noise, s.n, shape); err != nil {
			return err
		}
	}
	if s.batch == 0 {
		s.batch = j.defaultBatch(elements(shape))
	}
	if err := holdBatch(ctx, min(s.batch, s.n), shape); err != nil {
		return err
	}
	if s.rng == "torch" && s.batch < s.n {
		return usagef("--batch %d: with --rng torch all %d samples are one batch, as their noise is one sequence", s.batch, s.n)
	}
	if s.trajectory != "" {
		return j.checkTrajectory(ctx, shape)
	}
	return nil
}

// defaultBatch keeps a batch small enough for its activations to stay near the processor, and large enough to share what a call costs.
func (j *job) defaultBatch(dim int) int {
	if j.recipe.coupled || j.flags.rng == "torch" {
		return j.flags.n // the reference's rule is about the whole run
	}
	return min(j.flags.n, 4096, max(1, 1<<16/dim))
}

// draw draws the samples, and writes the trajectory.
func (j *job) draw(ctx context.Context, std streams) (drawn, error) {
	n, dim := j.flags.n, elements(j.card.Shape)
	d := drawn{x: make([]float32, n*dim), n: n, shape: j.card.Shape, view: displayOf(j.card)}
	bar := newProgress(std.err, progressMode(j.flags.progress, j.flags.quiet, std.err), n)
	defer bar.done()
	film := newFilm(j.flags.trajectory, n, dim, j.recipe.mean)
	calls, err := j.batches(ctx, d.x, func(b *sampler.Batch, part float64, p sampler.Progress) error {
		bar.step(part, p, int(b.First))
		return film.record(b.X, int(b.First), p)
	})
	if err != nil {
		return d, err
	}
	bar.done()
	j.log("%d network calls, %d samples at once", calls, min(n, j.flags.batch))
	return d, film.save(j.flags.trajectory, std.out, d)
}

// batches runs the sampler batch after batch into x. After each step it tells trace, with the part of the whole that is over.
func (j *job) batches(ctx context.Context, x []float32, trace func(b *sampler.Batch, part float64, p sampler.Progress) error) (calls int, err error) {
	n, dim := j.flags.n, elements(j.card.Shape)
	for first := 0; first < n; first += j.flags.batch {
		k := min(j.flags.batch, n-first)
		b := &sampler.Batch{X: x[first*dim : (first+k)*dim], Dim: dim, First: uint64(first), Noise: sampler.Philox(j.flags.seed)}
		switch j.flags.rng {
		case "torch":
			b.Noise = &sampler.Torch{Seed: j.flags.seed}
		case "jax":
			b.Noise = sampler.Jax(j.flags.seed)
		}
		b.Trace = func(p sampler.Progress) error {
			return trace(b, (float64(first)+float64(k)*p.Done)/float64(n), p)
		}
		if err := j.start(b); err != nil {
			return calls, err
		}
		if err := j.condition.known.started(b); err != nil {
			return calls, err
		}
		score, err := j.condition.score(b)
		if err != nil {
			return calls, err
		}
		if err := j.sampler(b).Sample(ctx, b, score); err != nil {
			return calls, err
		}
		if err := j.condition.known.ended(b); err != nil {
			return calls, err
		}
		addMean(b.X, j.recipe.mean, 1)
		calls += b.Calls
	}
	return calls, nil
}

// start puts a batch at its beginning: drawn, or recorded.
func (j *job) start(b *sampler.Batch) error {
	if j.flags.noise == "" {
		return j.recipe.start(b)
	}
	b.Noise = j.noise.replay
	if j.noise.start == nil {
		return j.recipe.start(b)
	}
	copy(b.X, j.noise.start[int(b.First)*b.Dim:])
	return nil
}

// recorded is noise from a file.
type recorded struct {
	replay sampler.Replay
	start  []float32 // nil: the first draw is the start
}

// readNoise reads noise[k,n,…] and x_init or x_T of at least n samples.
func readNoise(ctx context.Context, name string, n int, shape []int) (recorded, error) {
	file, err := npy.ReadZipFile(ctx, name)
	if err != nil {
		return recorded{}, err
	}
	return takeNoise(name, file, n, shape)
}

func takeNoise(name string, file map[string]npy.Array, n int, shape []int) (recorded, error) {
	var r recorded
	var err error
	noise, hasNoise := file["noise"]
	for _, key := range []string{"x_init", "x_T"} {
		if a, ok := file[key]; ok {
			if err := fits(name+":"+key, a.Shape, n, shape); err != nil {
				return r, err
			}
			if r.start, err = a.Float32s(); err != nil {
				return r, fmt.Errorf("%s:%s: %w", name, key, err)
			}
		}
	}
	if !hasNoise {
		if r.start == nil {
			return r, usagef("%s has neither noise nor x_init nor x_T", name)
		}
		return r, nil
	}
	if len(noise.Shape) < 2 {
		return r, usagef("%s:noise has shape %v, want [draws samples …]", name, noise.Shape)
	}
	if err := fits(name+":noise", noise.Shape[1:], n, shape); err != nil {
		return r, err
	}
	values, err := noise.Float32s()
	if err != nil {
		return r, fmt.Errorf("%s:noise: %w", name, err)
	}
	r.replay = sampler.Replay{Values: values, Samples: noise.Shape[1], Dim: elements(shape)}
	return r, nil
}

func fits(what string, have []int, n int, shape []int) error {
	if len(have) < 1 || elements(have[1:]) != elements(shape) {
		return usagef("%s has shape %v, samples have %v", what, have, shape)
	}
	if have[0] < n {
		return usagef("%s holds %d samples, -n asks for %d", what, have[0], n)
	}
	return nil
}

func displayOf(c *card.Card) display {
	v := display{alpha: c.LogitAlpha}
	if len(c.Range) == 2 {
		v.lo, v.hi, v.known = c.Range[0], c.Range[1], true
	}
	return v
}

// meta is what the .npz output remembers of how it was made.
func (j *job) meta(path string) string {
	m := map[string]any{
		"model": filepath.Base(path), "samples": j.flags.n, "seed": j.flags.seed, "rng": j.flags.rng, "batch": j.flags.batch, "noise": filepath.Base(j.flags.noise),
		"card": json.RawMessage(j.card.JSON()), "version": version(),
	}
	if c := j.flags.condition.meta(); c != nil {
		m["condition"] = c
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "{}"
	}
	return string(text)
}
