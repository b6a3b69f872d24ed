package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

const encodeHelp = `sampleonnx encode carries data to their codes, by the probability-flow ODE from the data to the noise.

  sampleonnx encode MODEL.onnx DATA.npy [flags]

Data have one code each, and decode with the same conditions brings them back. Codes of data like the model's are normal, of the prior's size.

Flags:
%s`

const decodeHelp = `sampleonnx decode carries codes to data, by the probability-flow ODE from the noise to the data.

  sampleonnx decode MODEL.onnx Z.npy [flags]

Flags:
%s`

const interpolateHelp = `sampleonnx interpolate draws what lies between data: it encodes them, goes from code to code on a great circle, and decodes.

  sampleonnx interpolate MODEL.onnx DATA.npy [flags]   between the data 0 and 1, 2 and 3, ...
  sampleonnx interpolate MODEL.onnx [flags]            between codes drawn at random

The first and the last of a row are the data themselves, decoded from their codes. A row is of one class, and so are the data at its ends. Between
samples of a sampler that uses noise there is sampleonnx MODEL.onnx --between N.

Flags:
%s`

// passage is a way along the probability-flow ODE, as the verbs encode, decode and interpolate are asked for it.
type passage struct {
	flags   *pflag.FlagSet
	set     *[]string
	classes classFlags
	quiet   bool
	batch   int
	output  string
	config  runConfig

	model  *onnxrun.Model
	card   *card.Card
	recipe *recipe
	ode    sampler.Flow
	net    *guided
	calls  int
	err    io.Writer
}

func newPassage(verb, output, of string) *passage {
	p := &passage{flags: flagSet(verb)}
	f := p.flags
	f.StringVarP(&p.output, "output", "o", "", "`FILE` .png, .npy, .npz or .csv, or - for npy on stdout (default "+output+")")
	p.classes.add(f, of)
	solverFlags(f)
	f.IntVarP(&p.batch, "batch", "b", 0, "data the network sees at once: `B` (default: by the size of a datum)")
	p.set = f.StringArray("set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")
	configFlags(f, &p.config)
	f.BoolVarP(&p.quiet, "quiet", "q", false, "say nothing but errors")
	return p
}

// solverFlags are the flags of the ODE's solver.
func solverFlags(f *pflag.FlagSet) {
	f.String("rtol", "", "relative tolerance `X` of the solver (default 1e-5)")
	f.String("atol", "", "absolute tolerance `X` of the solver (default 1e-5)")
	f.Bool("coupled", false, "one step and one error norm for all data of a batch, as published")
}

// solverSettings is what they ask of the card.
func solverSettings(f *pflag.FlagSet) []setting {
	list := []setting{{"sampler.name", "ode", "the ODE"}}
	for _, name := range []string{"rtol", "atol", "coupled"} {
		if flag := f.Lookup(name); flag.Changed {
			list = append(list, setting{"sampler." + name, flag.Value.String(), "--" + name})
		}
	}
	return list
}

// open opens the model and makes its score.
func (p *passage) open(ctx context.Context, name string, std streams) error {
	if p.batch < 0 {
		return usagef("--batch %d: want 1 or more", p.batch)
	}
	settings, err := cardSettings(p.flags, &p.classes, *p.set)
	if err != nil {
		return err
	}
	// A last step that no code has an answer to would keep data from coming back; --set asks for it.
	settings = append([]setting{{"sampler.denoise", "false", "the ODE"}}, settings...)
	settings = append(settings, solverSettings(p.flags)...)
	p.err = std.err
	if p.model, err = openModel(ctx, name, p.config); err != nil {
		return err
	}
	if p.card, p.recipe, err = resolve(ctx, p.model, name, asked{settings: settings, by: p.flags.Name()}); err != nil {
		return err
	}
	tellWarnings(std.err, p.recipe.warnings, p.quiet)
	p.ode = p.recipe.sampler.(sampler.Flow)
	p.net, err = p.classes.open(ctx, p.model, p.card, p.recipe, p.config, false)
	return err
}

func (p *passage) close() {
	p.net.close()
	if p.model != nil {
		p.model.Close()
	}
}

// read reads data, or codes, of the model's shape.
func (p *passage) read(ctx context.Context, name string, data bool) ([]float32, error) {
	if data {
		x, _, err := readSamples(ctx, p.card, []string{name}, math.MaxInt, 0)
		return x, err
	}
	a, err := readArray(ctx, name, elements(p.card.Shape))
	if err != nil {
		return nil, err
	}
	return floatSamples(name, a, p.card.Shape, math.MaxInt)
}

// along carries x along the ODE of a score, batch after batch: with encode to the codes, otherwise to the data.
func (p *passage) along(ctx context.Context, net *guided, x []float32, encode bool) error {
	dim := elements(p.card.Shape)
	n := len(x) / dim
	batch := p.batch
	if batch == 0 {
		if batch = min(4096, max(1, 1<<16/dim)); p.recipe.coupled {
			batch = n
		}
	}
	if err := holdBatch(ctx, min(batch, n), p.card.Shape); err != nil {
		return err
	}
	if encode {
		addMean(x, p.recipe.mean, -1)
	}
	bar := newProgress(p.err, progressMode("auto", p.quiet, p.err), n)
	defer bar.done()
	for first := 0; first < n; first += batch {
		k := min(batch, n-first)
		b := &sampler.Batch{X: x[first*dim : (first+k)*dim], Dim: dim, First: uint64(first)}
		b.Trace = func(q sampler.Progress) error {
			bar.step((float64(first)+float64(k)*q.Done)/float64(n), q, first)
			return nil
		}
		run := p.ode.Sample
		if encode {
			run = p.ode.Encode
		}
		score, err := net.score(b)
		if err != nil {
			return err
		}
		if err := run(ctx, b, score); err != nil {
			return err
		}
		p.calls += b.Calls
	}
	if !encode {
		addMean(x, p.recipe.mean, 1)
	}
	return nil
}

// tell says what was written.
func (p *passage) tell(n int, what string, began time.Time) {
	if !p.quiet && p.output != "-" {
		fmt.Fprintf(p.err, "wrote %s: %d %s in %s, %d network calls\n", p.output, n, what, brief(time.Since(began)), p.calls)
	}
}

// passed is the verb encode, and decode.
func passed(ctx context.Context, args []string, std streams, encode bool) error {
	verb, usual, text, what := "decode", "samples.png, or samples.npy where there is no picture", decodeHelp, "data"
	if encode {
		verb, usual, text, what = "encode", "z.npy", encodeHelp, "codes"
	}
	p := newPassage(verb, usual, "the "+what)
	if err := parse(p.flags, args, "a model", map[bool]string{true: "data", false: "codes"}[encode]); err != nil {
		return help(std.out, fmt.Sprintf(text, p.flags.FlagUsagesWrapped(110)), err)
	}
	ctx, stop := p.config.begin(ctx)
	defer stop()
	began := time.Now()
	defer p.close()
	if err := p.open(ctx, p.flags.Arg(0), std); err != nil {
		return err
	}
	if p.output == "" {
		p.output = "z.npy"
		if !encode {
			p.output = usualOutput(p.card.Shape)
		}
	}
	format, err := outputFormat(p.output, p.card.Shape, std.out)
	if err != nil {
		return err
	}
	if err := checkWritable(p.output); err != nil {
		return err
	}
	x, err := p.read(ctx, p.flags.Arg(1), encode)
	if err != nil {
		return err
	}
	n := len(x) / elements(p.card.Shape)
	if err := p.net.count(&p.classes, n, 0); err != nil {
		return err
	}
	if err := p.along(ctx, p.net, x, encode); err != nil {
		return err
	}
	d := drawn{x: x, n: n, shape: p.card.Shape, view: displayOf(p.card), meta: p.meta()}
	if encode {
		d.view = display{} // codes have no brightness of their own
	}
	if err := save(p.output, format, std.out, d); err != nil {
		return err
	}
	p.tell(d.n, what, began)
	return nil
}

// meta is what the .npz output remembers of the classes.
func (p *passage) meta() string {
	all := map[string]any{}
	if c := p.classes.meta(); len(c) > 0 {
		all["condition"] = c
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "{}"
	}
	return string(text)
}

// usualOutput is where samples go if nobody says.
func usualOutput(shape []int) string {
	if drawable(shape) {
		return "samples.png"
	}
	return "samples.npy"
}

func interpolate(ctx context.Context, args []string, std streams) error {
	p := newPassage("interpolate", "interpolation.png, or interpolation.npy where there is no picture", "the rows, each of one")
	n := p.flags.IntP("samples", "n", 8, "how many in a row, both ends among them: `N`")
	rows := p.flags.Int("rows", 8, "at most so many rows: `R`")
	seed := p.flags.Uint64P("seed", "s", 0, "`SEED` of random codes")
	if err := flagError(p.flags.Parse(args)); err != nil {
		return help(std.out, fmt.Sprintf(interpolateHelp, p.flags.FlagUsagesWrapped(110)), err)
	}
	if p.flags.NArg() < 1 || p.flags.NArg() > 2 {
		return usagef("want a model and perhaps data, have %d arguments%s (see --help)", p.flags.NArg(), list(p.flags.Args()))
	}
	if *n < 2 || *rows < 1 || *n > maxRow || *rows > maxRow {
		return usagef("--samples %d and --rows %d: want 2 and 1 or more, and at most %d", *n, *rows, maxRow)
	}
	if p.flags.NArg() == 2 && p.flags.Changed("seed") {
		return usagef("--seed is of no use between data, only between codes drawn at random")
	}
	ctx, stop := p.config.begin(ctx)
	defer stop()
	began := time.Now()
	defer p.close()
	if err := p.open(ctx, p.flags.Arg(0), std); err != nil {
		return err
	}
	shape := p.card.Shape
	if err := holdSamples(ctx, (*n+2)**rows, shape); err != nil { // with the codes at the ends
		return err
	}
	if p.output == "" {
		p.output = "interpolation" + filepath.Ext(usualOutput(shape))
	}
	format, err := outputFormat(p.output, shape, std.out)
	if err != nil {
		return err
	}
	if err := checkWritable(p.output); err != nil {
		return err
	}
	codes, err := p.codes(ctx, *rows, *seed)
	if err != nil {
		return err
	}
	dim := elements(shape)
	pairs := len(codes) / (2 * dim)
	x := make([]float32, pairs**n*dim)
	for i := range pairs {
		for k := range *n {
			at := (i**n + k) * dim
			sampler.Slerp(x[at:at+dim], codes[2*i*dim:], codes[(2*i+1)*dim:], dim, float64(k)/float64(*n-1))
		}
	}
	if err := p.along(ctx, p.net.rows(pairs, *n), x, false); err != nil {
		return err
	}
	d := drawn{x: x, n: pairs * *n, shape: shape, view: displayOf(p.card), meta: p.meta(), columns: *n}
	if err := save(p.output, format, std.out, d); err != nil {
		return err
	}
	p.tell(d.n, "samples", began)
	return nil
}

const maxRow = 1 << 12

// codes are those of the data's pairs, or random ones.
func (p *passage) codes(ctx context.Context, rows int, seed uint64) ([]float32, error) {
	dim := elements(p.card.Shape)
	if p.flags.NArg() == 1 {
		if err := p.net.count(&p.classes, rows, 0); err != nil {
			return nil, err
		}
		b := &sampler.Batch{X: make([]float32, 2*rows*dim), Dim: dim, Noise: sampler.Philox(seed)}
		return b.X, p.recipe.start(b)
	}
	x, err := p.read(ctx, p.flags.Arg(1), true)
	if err != nil {
		return nil, err
	}
	if len(x) < 2*dim {
		return nil, usagef("%s holds one datum: want two or more to go between", p.flags.Arg(1))
	}
	pairs := min(rows, len(x)/(2*dim))
	if err := p.net.count(&p.classes, pairs, rows); err != nil {
		return nil, err
	}
	x = x[:pairs*2*dim]
	return x, p.along(ctx, p.net.rows(pairs, 2), x, true)
}
