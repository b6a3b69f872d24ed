package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/onnxrun"
	"sampleonnx/sampler"
)

// Whether a card fits its network shows in two numbers. On pure noise at the largest level the score is −z/σ, whatever the data. And at every
// level the denoising loss of a score that is worth anything is below 1. Where one fails, the conventions that the card might have meant are
// tried in its place.

// finding is the result of one of the two checks.
type finding struct {
	Check string   `json:"check"` // noise or loss
	OK    bool     `json:"ok"`
	Text  string   `json:"text"`
	Fits  []string `json:"fits,omitempty"` // conventions that fit in place of the card's
}

// prober is a network whose card is in doubt.
type prober struct {
	model *onnxrun.Model
	card  *card.Card
	data  []float32 // on the card's scale, or nil
	n     int
	seed  uint64
}

func (p *prober) asGiven() guess { return guess{card: p.card, sign: 1, scale: 1} }

// check runs both checks; that by the loss needs data.
func (p *prober) check(ctx context.Context) ([]finding, error) {
	noise, err := p.noise(ctx)
	if err != nil || p.data == nil {
		return []finding{noise}, err
	}
	loss, err := p.loss(ctx)
	return []finding{noise, loss}, err
}

// response is what a network answers to pure noise z at the top of its noise: the slope ⟨out, z⟩/‖z‖² and the correlation.
func (p *prober) response(ctx context.Context, g guess) (slope, correlation, sigma float64, err error) {
	c := g.card
	hi, _ := ends(c)
	r := &recipe{path: pathOf(c)}
	r.relabel(c)
	raw, err := network(ctx, p.model, c)
	if err != nil {
		return 0, 0, 0, err
	}
	t := pathOf(c).Time(hi)
	_, sigma = r.path.Marginal(t)
	in, label := 1.0, 0.0
	if r.label != nil {
		label = r.label(t)
	}
	if precond, ok := precond(c, r.labelAt); ok {
		_, _, in, label = precond(hi)
	}
	dim := elements(c.Shape)
	n := min(8, max(1, 1<<16/dim))
	z, x, out := make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim)
	if err := sampler.Philox(p.seed).Normal(z, sampler.Draw{Purpose: purposeNoising, Dim: dim}); err != nil {
		return 0, 0, 0, err
	}
	for i, v := range z {
		x[i] = float32(in * sigma * float64(v))
	}
	if err := raw(out, x, slices.Repeat([]float64{label}, n)); err != nil {
		return 0, 0, 0, err
	}
	var oz, oo, zz float64
	for i, v := range out {
		oz += float64(v) * float64(z[i])
		oo += float64(v) * float64(v)
		zz += float64(z[i]) * float64(z[i])
	}
	return oz / zz, oz / math.Sqrt(oo*zz), sigma, nil
}

// answers are the outputs that a response to noise allows: −1/σ is a score's, −1 that of σ times it, 1 the noise's and the flow's; what predicts the
// datum hardly depends on the noise, but for data as wide as σ.
func answers(c *card.Card, slope, correlation, sigma float64) []string {
	near := func(v float64) bool { return v > 0.5 && v < 2 }
	var list []string
	for _, output := range card.Outputs() {
		fits := false
		switch output {
		case "score":
			fits = correlation < -0.8 && near(-sigma*slope)
		case "score_sigma":
			fits = correlation < -0.8 && near(-slope)
		case "eps":
			fits = correlation > 0.8 && near(slope)
		case "flow":
			fits = c.SDE == "flow" && correlation > 0.8 && near(slope)
		default:
			fits = slope > -0.5 && slope < 1.2 && !(correlation < -0.8 && near(-sigma*slope))
		}
		if fits {
			list = append(list, output)
		}
	}
	return list
}

// noise is the first check.
func (p *prober) noise(ctx context.Context) (finding, error) {
	f := finding{Check: "noise"}
	given := p.asGiven()
	slope, correlation, sigma, err := p.response(ctx, given)
	if err != nil {
		return f, err
	}
	fits := answers(p.card, slope, correlation, sigma)
	f.Text = fmt.Sprintf("to noise z at sigma %.4g the network answers %.3g z (correlation %.2f)", sigma, slope, correlation)
	if slices.Contains(fits, p.card.Output) {
		f.OK = true
		f.Text += ", as output=" + p.card.Output + " does"
		return f, nil
	}
	for _, output := range fits {
		if _, ok := given.with("output=" + output); ok {
			f.Fits = append(f.Fits, "output="+output)
		}
	}
	if slices.Contains(answers(p.card, -slope, -correlation, sigma), p.card.Output) {
		f.Fits = append(f.Fits, "the opposite sign")
	}
	for _, g := range given.times() {
		slope, correlation, sigma, err := p.response(ctx, g)
		if err == nil && correlation-correlation == 0 && slices.Contains(answers(g.card, slope, correlation, sigma), p.card.Output) {
			f.Fits = append(f.Fits, g.name)
		}
	}
	f.Text += ", unlike output=" + p.card.Output
	return f, nil
}

// trial is how a guess does: its loss at a few levels.
type trial struct {
	guess
	mean, most float64 // of the loss
	at         float64 // σ of the largest
	passed     bool
	gains      []float64 // means over the levels, for the data and draws that every guess has
}

const (
	probeLevels = 8
	probeData   = 64   // where samples are large, and up to 16 times as many where they are small
	slack       = 0.05 // by which an imperfect network's loss may exceed 1
	better      = 0.03 // by which part of its loss another convention may do better by the chance of training
)

// try measures a guess, and gives up where it is hopeless, unless all levels are asked for.
func (p *prober) try(ctx context.Context, g guess, all bool) (trial, error) {
	t := trial{guess: g, passed: true}
	r, err := native(g.card)
	if err != nil {
		return t, err
	}
	score, err := r.score(ctx, p.model, g.card)
	if err != nil {
		return t, err
	}
	if g.sign < 0 {
		score = negated(score)
	}
	x := make([]float32, len(p.data))
	for i, v := range p.data {
		x[i] = float32(g.scale*float64(v) + g.shift)
	}
	me := measurement{score: score, path: r.path, data: x, dim: elements(p.card.Shape), draws: max(1, probeSamples(elements(p.card.Shape))/p.n), batch: 64, seed: p.seed}
	times := levelsToMeasure(g.card, probeLevels)
	t.gains = make([]float64, p.n*me.draws)
	for _, at := range times {
		terms, err := me.at(ctx, at)
		if err != nil {
			return t, err
		}
		for k, v := range terms.gain {
			t.gains[k] += v / float64(len(times))
		}
		gain := estimateOf(terms.gain, p.n)
		loss := 1 + gain.Value
		t.mean += loss / float64(len(times))
		if !(loss <= t.most) { // NaN is the worst
			_, t.at = r.path.Marginal(at)
			t.most = loss
		}
		if !(gain.Value <= slack+3*gain.Error && loss < 2) {
			t.passed = false
			if !all {
				break
			}
		}
	}
	if t.mean-t.mean != 0 {
		t.passed, t.mean, t.most = false, math.MaxFloat64, math.MaxFloat64
	}
	return t, nil
}

func probeSamples(dim int) int { return min(max(probeData, 1<<13/dim), 16*probeData) }

func negated(f sampler.Field) sampler.Field {
	return func(dst, x []float32, t []float64) error {
		if err := f(dst, x, t); err != nil {
			return err
		}
		for i := range dst {
			dst[i] = -dst[i]
		}
		return nil
	}
}

// loss is the second check. A card is wrong whose loss is above that of zeros at some level, or clearly above another's: the best of those that differ in
// one convention, or else in output and time.
func (p *prober) loss(ctx context.Context) (finding, error) {
	f := finding{Check: "loss"}
	given := p.asGiven()
	own, err := p.try(ctx, given, true)
	if err != nil {
		return f, err
	}
	f.OK = own.passed
	f.Text = fmt.Sprintf("loss on the data %.3g at most (at sigma %.4g), %.3g in the mean", own.most, own.at, own.mean)
	list := append(given.outputs(), given.times()...)
	if !own.passed {
		list = append(list, given.processes()...)
	}
	best, err := p.best(ctx, list)
	if err != nil {
		return f, err
	}
	// Smaller data have a smaller loss, so another range must be the only thing that helps.
	if len(best) == 0 && !own.passed {
		if best, err = p.best(ctx, given.rescaled()); err != nil {
			return f, err
		}
	}
	if len(best) == 0 && !own.passed {
		var pairs []guess
		for _, g := range given.times() {
			pairs = append(append(pairs, g.outputs()...), g.processes()...)
		}
		for _, g := range given.outputs() {
			pairs = append(pairs, g.processes()...)
		}
		if best, err = p.best(ctx, pairs); err != nil {
			return f, err
		}
	}
	switch {
	case len(best) == 0:
		if !own.passed {
			f.Text += p.misplaced()
		}
	case !own.passed, p.worse(own, best[0]):
		f.OK = false
		for _, t := range best {
			f.Fits = append(f.Fits, t.name)
		}
		f.Text += fmt.Sprintf("; with %s it is %.3g at most, %.3g in the mean", strings.Join(f.Fits, " or "), best[0].most, best[0].mean)
	}
	return f, nil
}

// worse reports whether a trial's loss is above another's by more than chance, of training or data.
func (p *prober) worse(t, other trial) bool {
	apart := make([]float64, len(t.gains))
	for k, v := range t.gains {
		apart[k] = v - other.gains[k]
	}
	d := estimateOf(apart, p.n)
	return d.Value > better*t.mean+4*d.Error
}

// misplaced says of data that they are not on the card's range, or "": floats are taken as they are.
func (p *prober) misplaced() string {
	if len(p.card.Range) != 2 {
		return ""
	}
	lo, hi := p.card.Range[0], p.card.Range[1]
	least, most := float64(slices.Min(p.data)), float64(slices.Max(p.data))
	if margin := (hi - lo) / 4; least > lo-margin && most < hi+margin {
		return ""
	}
	return fmt.Sprintf("; but the data are on [%.4g, %.4g], and the card's range is [%g, %g]", least, most, lo, hi)
}

// best is the guesses that are better than zeros at every level, those with the lowest loss: more than one where the data cannot tell them apart.
func (p *prober) best(ctx context.Context, list []guess) ([]trial, error) {
	var passed []trial
	for _, g := range list {
		t, err := p.try(ctx, g, false)
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case err != nil: // the network cannot even be asked that way
			continue
		}
		if t.passed {
			passed = append(passed, t)
		}
	}
	slices.SortStableFunc(passed, func(a, b trial) int { return cmp.Compare(a.mean, b.mean) })
	return slices.DeleteFunc(passed, func(t trial) bool { return t.mean > 1.01*passed[0].mean }), nil
}

// probeCard runs the checks for inspect.
func probeCard(ctx context.Context, m *onnxrun.Model, c *card.Card, data []string) ([]finding, error) {
	if err := supported(c); err != nil {
		return nil, err
	}
	p := &prober{model: m, card: c}
	if len(data) > 0 {
		var err error
		if p.data, p.n, err = readData(ctx, c, data, probeSamples(elements(c.Shape)), 0); err != nil {
			return nil, err
		}
	}
	return p.check(ctx)
}

// wrongCard is the error that ends an inspection whose card was found wrong.
func wrongCard(model string, findings []finding) error {
	wrong := false
	var fits []string
	for _, f := range findings {
		if f.OK {
			continue
		}
		wrong = true
		if f.Check == "loss" && len(f.Fits) > 0 { // which knows more
			fits = nil
		}
		for _, name := range f.Fits {
			if !slices.Contains(fits, name) {
				fits = append(fits, name)
			}
		}
	}
	switch {
	case !wrong:
		return nil
	case len(fits) == 0:
		return fmt.Errorf("%s: the card does not fit the network, and nothing that was tried in its place does", model)
	}
	return fmt.Errorf("%s: the card does not fit the network; what would: %s", model, strings.Join(fits, " or "))
}
