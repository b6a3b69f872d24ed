package main

import (
	"context"
	"fmt"
	"image/png"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/picture"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

const lossHelp = `sampleonnx loss says how well a network knows the score of data, noise level by noise level.

  sampleonnx loss MODEL.onnx DATA.npy [flags]
  sampleonnx loss MODEL.onnx IMAGE.png … [flags]

The loss is that of denoising score matching, E‖σ s(x_t) + z‖²/d with x_t = α x_0 + σ z: 1 is what a network of zeros has, and more is worse than
nothing. Its mean over the levels with the weights σ², ½E‖σ s + z‖² (NCSN's objective), is printed below the table. A standard error counts data, not
draws. Bytes and images are put on the card's range; floats are taken as they are, on the scale of the samples that this command writes.

Flags:
%s`

// lossFlags is what the verb is asked.
type lossFlags struct {
	levels, most, draws, batch int
	seed                       uint64
	exact, output, progress    string
	sliced                     bool
	set                        []string
	classes                    classFlags
	config                     runConfig
}

// lossTable is its result.
type lossTable struct {
	Model     string      `json:"model"`
	Data      string      `json:"data"`
	Exact     string      `json:"exact,omitempty"`
	Class     string      `json:"class,omitempty"` // of the data, which take them in turn
	Guidance  *float64    `json:"guidance,omitempty"`
	Samples   int         `json:"samples"`
	Draws     int         `json:"draws"`
	Dim       int         `json:"dim"`
	Levels    []lossLevel `json:"levels"`
	Objective estimate    `json:"objective"` // mean over the levels of ½E‖σ s + z‖²
}

// lossLevel is a row of it.
type lossLevel struct {
	T      float64   `json:"t"`
	Alpha  float64   `json:"alpha"`
	Sigma  float64   `json:"sigma"`
	Loss   estimate  `json:"loss"`
	Fisher *estimate `json:"fisher,omitempty"` // E‖∇log p_t − s‖²
	Sliced *estimate `json:"sliced,omitempty"` // E[vᵀ(∂s/∂x)v + ½‖s‖²]
}

func loss(ctx context.Context, args []string, std streams) error {
	var l lossFlags
	f := flagSet("loss")
	f.StringVarP(&l.output, "output", "o", "", "`FILE.png` for a plot over sigma")
	asJSON := f.Bool("json", false, "print one JSON object")
	f.IntVar(&l.levels, "levels", 0, "measure at `N` levels, even in ln sigma (default: those the network was trained at, or 20)")
	l.classes.add(f, "the data")
	f.StringVar(&l.exact, "exact-score", "", "the true score `SCORE.onnx`, with a card of its own: adds Fisher's divergence E‖∇log p - s‖²")
	f.BoolVar(&l.sliced, "sliced", false, "add sliced score matching, E[v·(∂s/∂x)v + ½‖s‖²] with random signs v, by the network's derivative")
	f.IntVarP(&l.most, "data", "n", 1000, "use the first `N` data")
	f.IntVar(&l.draws, "draws", 0, "noise each datum `K` times (default: as often as makes 64 samples, at least once)")
	f.Uint64VarP(&l.seed, "seed", "s", 0, "`SEED` of the noise; datum i has the same noise at every level, whatever the batch")
	f.StringArrayVar(&l.set, "set", nil, "any key of the model card: `KEY=VALUE`; can be repeated")
	f.IntVarP(&l.batch, "batch", "b", 64, "samples the network sees at once: `B`")
	configFlags(f, &l.config)
	f.StringVar(&l.progress, "progress", "auto", "`HOW` to tell it on stderr: auto, bar, plain, none")
	if err := f.Parse(args); err != nil {
		return help(std.out, fmt.Sprintf(lossHelp, f.FlagUsagesWrapped(110)), flagError(err))
	}
	if f.NArg() < 2 {
		return usagef("want a model and data, have %d arguments%s (see --help)", f.NArg(), list(f.Args()))
	}
	for _, flag := range []struct {
		name  string
		value int
	}{{"levels", l.levels}, {"data", l.most}, {"draws", l.draws}, {"batch", l.batch}} {
		if flag.value < 0 || f.Changed(flag.name) && flag.value < 1 {
			return usagef("--%s %d: want 1 or more", flag.name, flag.value)
		}
	}
	if l.levels > maxLevels {
		return usagef("--levels %d: want at most %d", l.levels, maxLevels)
	}
	if err := oneOf("progress", l.progress, "auto", "bar", "plain", "none"); err != nil {
		return err
	}
	if l.output != "" && !strings.EqualFold(filepath.Ext(l.output), ".png") {
		return usagef("--output %s: the suffix must be .png", l.output)
	}
	settings, err := cardSettings(f, &l.classes, l.set)
	if err != nil {
		return err
	}
	if l.sliced && l.classes.classifier != "" {
		return usagef("--sliced: it needs the derivative of the score, which is not there with --classifier")
	}
	if l.output != "" {
		if err := checkWritable(l.output); err != nil {
			return err
		}
	}
	ctx, stop := l.config.begin(ctx)
	defer stop()
	r, err := l.run(ctx, f.Arg(0), f.Args()[1:], settings, std.err)
	if err != nil {
		return err
	}
	if l.output != "" {
		img := picture.Curves("SIGMA", r.curves())
		if err := writeWhole(l.output, std.out, func(w io.Writer) error { return png.Encode(w, img) }); err != nil {
			return err
		}
	}
	if *asJSON {
		return printJSON(std.out, r)
	}
	return r.print(std.out)
}

const maxLevels = 1 << 16

// run measures.
func (l lossFlags) run(ctx context.Context, path string, data []string, settings []setting, stderr io.Writer) (*lossTable, error) {
	m, c, err := openWithCard(ctx, path, settings, l.config)
	if m != nil {
		defer m.Close()
	}
	if err != nil {
		return nil, err
	}
	recipe, err := native(c)
	if err != nil {
		return nil, err
	}
	net, err := l.classes.open(ctx, m, c, recipe, l.config, l.sliced)
	defer net.close()
	if err != nil {
		return nil, err
	}
	x, n, err := readData(ctx, c, data, l.most, l.seed)
	if err != nil {
		return nil, err
	}
	if err := net.count(&l.classes, n, l.most); err != nil {
		return nil, err
	}
	me := measurement{path: recipe.path, rows: new(sampler.Batch), data: x, dim: elements(c.Shape), draws: l.draws, batch: l.batch, seed: l.seed}
	if me.draws == 0 {
		me.draws = max(1, (63+n)/n)
	}
	// The terms of a level are kept, up to four numbers for each datum and draw, and their sums.
	if err := bounded.Take(ctx, fmt.Sprintf("--draws %d: the losses of %d data", me.draws, n), 40, n, me.draws); err != nil {
		return nil, err
	}
	if err := holdBatch(ctx, min(me.batch, n), c.Shape); err != nil {
		return nil, err
	}
	if me.score, err = net.score(me.rows); err != nil {
		return nil, err
	}
	if l.sliced {
		me.pull = net.pullback(me.rows)
	}
	if l.exact != "" {
		other, err := l.trueScore(ctx, c, &me)
		if other != nil {
			defer other.Close()
		}
		if err != nil {
			return nil, err
		}
	}
	r := &lossTable{Model: filepath.Base(path), Data: filepath.Base(data[0]), Samples: n, Draws: me.draws, Dim: me.dim, Class: l.classes.class}
	if len(data) > 1 {
		r.Data += fmt.Sprintf(" and %d more", len(data)-1)
	}
	if l.exact != "" {
		r.Exact = filepath.Base(l.exact)
	}
	if l.classes.class != "" {
		r.Guidance = &l.classes.guidance
	}
	bar := newProgress(stderr, progressMode(l.progress, false, stderr), n)
	defer bar.done()
	return r, r.measure(ctx, me, levelsToMeasure(c, l.levels), bar)
}

// measure fills the table's rows, one for each time.
func (r *lossTable) measure(ctx context.Context, me measurement, times []float64, bar *progress) error {
	objective := make([]float64, r.Samples*me.draws)
	estimate := func(terms []float64) *estimate {
		if terms == nil {
			return nil
		}
		e := estimateOf(terms, r.Samples)
		return &e
	}
	for i, t := range times {
		terms, err := me.at(ctx, t)
		if err != nil {
			return err
		}
		row := lossLevel{T: t, Loss: estimateOf(terms.loss, r.Samples), Fisher: estimate(terms.fisher), Sliced: estimate(terms.sliced)}
		row.Alpha, row.Sigma = me.path.Marginal(t)
		if v := row.Loss.Value; v-v != 0 {
			return fmt.Errorf("%s, %s: the loss at sigma %.4g is %v: the score of the data is not finite there", r.Model, r.Data, row.Sigma, v)
		}
		r.Levels = append(r.Levels, row)
		for k, v := range terms.loss {
			objective[k] += v * float64(me.dim) / 2 / float64(len(times))
		}
		bar.step(float64(i+1)/float64(len(times)), sampler.Progress{Step: i + 1, Steps: len(times), Level: i, T: t, Sigma: row.Sigma}, 0)
	}
	r.Objective = estimateOf(objective, r.Samples)
	return nil
}

// trueScore opens the exact score, on the path of the network that is compared with it, of the same classes if it is told them.
func (l lossFlags) trueScore(ctx context.Context, c *card.Card, me *measurement) (*onnxrun.Model, error) {
	m, own, err := openWithCard(ctx, l.exact, nil, l.config)
	if err != nil {
		return m, err
	}
	r, err := native(own)
	if err != nil {
		return m, err
	}
	same := classFlags{guidance: 1}
	if own.Cond.Name != "" {
		same.class = l.classes.class
	}
	net, err := same.open(ctx, m, own, r, l.config, false)
	if err != nil {
		return m, fmt.Errorf("--exact-score %s: %w", l.exact, err)
	}
	if elements(own.Shape) != elements(c.Shape) {
		return m, usagef("--exact-score %s: its samples have shape %v, the network's %v", l.exact, own.Shape, c.Shape)
	}
	if len(own.Mean) > 0 || len(c.Mean) > 0 {
		return m, usagef("--exact-score %s: a card with a mean cannot be compared with another", l.exact)
	}
	score, err := net.score(me.rows)
	if err != nil {
		return m, err
	}
	me.exact = sampler.FromVE(sampler.InVE(score, pathOf(own)), me.path)
	return m, nil
}

// openWithCard opens a model and resolves its card; the model is to be closed even with an error, if there is one.
func openWithCard(ctx context.Context, path string, settings []setting, config runConfig) (*onnxrun.Model, *card.Card, error) {
	m, err := openModel(ctx, path, config)
	if err != nil {
		return nil, nil, err
	}
	c, err := resolveCard(ctx, m, path, asked{settings: settings})
	return m, c, err
}

func (r *lossTable) print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, %d data of %s%s, noised %d× each\n", r.Model, r.Samples, r.Data, ofClass(r.Class), r.Draws)
	head := "alpha\tsigma\tloss\t\t"
	first := r.Levels[0]
	if first.Fisher != nil {
		head += "fisher\t\tsigma²/d·fisher\t"
	}
	if first.Sliced != nil {
		head += "sliced\t\t1+2sigma²/d·sliced\t"
	}
	fmt.Fprintln(tab, head)
	for _, v := range r.Levels {
		line := fmt.Sprintf("%.4g\t%.4g\t%.4f\t± %.4f\t", v.Alpha, v.Sigma, v.Loss.Value, v.Loss.Error)
		relative := v.Sigma * v.Sigma / float64(r.Dim)
		if v.Fisher != nil {
			line += fmt.Sprintf("%.4g\t± %.2g\t%.3g\t", v.Fisher.Value, v.Fisher.Error, relative*v.Fisher.Value)
		}
		if v.Sliced != nil {
			line += fmt.Sprintf("%.4g\t± %.2g\t%.4f\t", v.Sliced.Value, v.Sliced.Error, 1+2*relative*v.Sliced.Value)
		}
		fmt.Fprintln(tab, line)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "mean over the levels of ½E‖σ s + z‖²: %.5g ± %.2g\n", r.Objective.Value, r.Objective.Error)
	return err
}

// curves are the columns of the table on one scale, that of the loss: Fisher's divergence by σ²/d is the part of the loss that a better network would
// not have, and 1+2σ²/d times the sliced objective is the loss again (Vincent 2011).
func (r *lossTable) curves() []picture.Curve {
	loss, fisher, sliced := picture.Curve{Name: "LOSS"}, picture.Curve{Name: "FISHER"}, picture.Curve{Name: "SLICED"}
	for _, v := range r.Levels {
		relative := v.Sigma * v.Sigma / float64(r.Dim)
		loss.Add(v.Sigma, v.Loss.Value, v.Loss.Error)
		if v.Fisher != nil {
			fisher.Add(v.Sigma, relative*v.Fisher.Value, relative*v.Fisher.Error)
		}
		if v.Sliced != nil {
			sliced.Add(v.Sigma, 1+2*relative*v.Sliced.Value, 2*relative*v.Sliced.Error)
		}
	}
	list := []picture.Curve{loss}
	for _, c := range []picture.Curve{fisher, sliced} {
		if len(c.X) > 0 {
			list = append(list, c)
		}
	}
	return list
}
