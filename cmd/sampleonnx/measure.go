package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sampleonnx/sampler"
	"sampleonnx/schedules"
)

// known is what is known of the samples, and how it comes into the run.
type known struct {
	sampler.Measurement
	lambda  float64                                // how much of the way project goes
	inScore bool                                   // project works through the score
	begin   schedules.SDE                          // the known values are there from the start, with this one's noise; nil: they are not
	end     bool                                   // and exactly there in the end
	empty   bool                                   // the run starts at A⁺y
	sampler func(b *sampler.Batch) sampler.Sampler // that goes by the derivative of the score, which has classes; nil: the recipe's
	about   string
}

// newKnown reads the measurement and fits the recipe's sampler to the method.
func (j *job) newKnown(ctx context.Context, g *guided) (*known, error) {
	s := &j.flags.condition
	m := &known{lambda: 1}
	var err error
	if m.A, err = j.operator(ctx); err != nil {
		return nil, err
	}
	if m.Y, err = j.measurement(ctx, m.A); err != nil {
		return nil, err
	}
	m.Held = s.held
	rows, cols := m.A.Size()
	m.about = fmt.Sprintf("%d of %d values measured, %s", rows, cols, s.method)
	if s.method == "project" {
		return m, j.project(m)
	}
	if j.flags.noise != "" {
		return nil, usagef("--noise: there is no recorded noise of --method %s", s.method)
	}
	ddim, ok := j.recipe.sampler.(sampler.DDIM)
	if !ok {
		return nil, usagef("--method %s: it goes down the levels of ddim, not %s", s.method, j.card.Sampler.Name)
	}
	if ddim.Clip != 0 {
		return nil, usagef("--set sampler.clip: --method %s does not clip", s.method)
	}
	if ddim.Threshold != (sampler.Threshold{}) {
		return nil, usagef("--set sampler.threshold: --method %s does not threshold", s.method)
	}
	if s.method == "reddiff" {
		sigmas := ddim.Sigmas
		if sigmas[len(sigmas)-1] == 0 {
			sigmas = sigmas[:len(sigmas)-1]
		}
		m.empty = true
		j.recipe.sampler = sampler.REDdiff{Measurement: m.Measurement, Sigmas: sigmas, Weight: s.strength}
		return m, nil
	}
	m.sampler = func(b *sampler.Batch) sampler.Sampler {
		pull := g.pullback(b)
		if s.method == "dps" {
			return sampler.DPS{Measurement: m.Measurement, Pull: pull, Sigmas: ddim.Sigmas, Eta: ddim.Eta, Zeta: s.strength}
		}
		return sampler.PiGDM{Measurement: m.Measurement, Pull: pull, Sigmas: ddim.Sigmas, Eta: ddim.Eta, Weight: s.strength}
	}
	return m, nil
}

// sampler is what draws a batch.
func (j *job) sampler(b *sampler.Batch) sampler.Sampler {
	if m := j.condition.known; m != nil && m.sampler != nil {
		return m.sampler(b)
	}
	return j.recipe.sampler
}

// project imposes the measurement: on the state of pc and ald, after or, where it is only a part of the way, before every step; through the
// score with every other sampler.
func (j *job) project(m *known) error {
	if x := j.flags.condition.strength; x != 0 {
		m.lambda = x
	}
	m.end = m.lambda == 1
	switch s := j.recipe.sampler.(type) {
	case sampler.PC:
		wrap := m.After
		if m.lambda < 1 {
			wrap = func(inner sampler.Step) sampler.Step { return m.Before(inner, m.lambda) }
		} else {
			m.begin = s.SDE
		}
		if s.Predictor != nil {
			s.Predictor = wrap(s.Predictor)
		}
		if s.Corrector != nil {
			s.Corrector = wrap(s.Corrector)
		}
		j.recipe.sampler = s
	case sampler.Annealed:
		s.Before = func(b *sampler.Batch, sigma float64) error { return m.Impose(b, 1, sigma, m.lambda) }
		j.recipe.sampler = s
	default:
		if j.recipe.velocity {
			return usagef("--sampler %s follows a velocity, which takes no measurement: try pc or ode", j.card.Sampler.Name)
		}
		if m.Held {
			return usagef("--hold-noise is of no use to --sampler %s, only to ald, pc: through the score no noise of what is known is drawn", j.card.Sampler.Name)
		}
		m.inScore = true
	}
	return nil
}

// samplers is the path of the state that the sampler sees.
func (r *recipe) samplers() schedules.Path {
	switch {
	case r.inner != nil:
		return r.inner
	case r.outer != nil:
		return schedules.Sigma{}
	}
	return r.path
}

// started puts what is known into a batch that is at its beginning.
func (m *known) started(b *sampler.Batch) error {
	switch {
	case m == nil:
		return nil
	case m.empty:
		clear(b.X)
		return m.Impose(b, 1, 0, 1)
	case m.begin != nil:
		switch b.Noise.(type) {
		case sampler.Replay, *sampler.Torch, sampler.Jax:
			return m.Impose(b, 1, 0, 1) // as the published code begins, whose order of draws these have
		}
		alpha, sigma := m.begin.Marginal(m.begin.T())
		return m.Impose(b, alpha, sigma, 1)
	}
	return nil
}

// ended makes what is measured of the samples what it was.
func (m *known) ended(b *sampler.Batch) error {
	if m == nil || !m.end {
		return nil
	}
	return m.Impose(b, 1, 0, 1)
}

// operator is what was measured.
func (j *job) operator(ctx context.Context) (sampler.Operator, error) {
	s, shape := &j.flags.condition, j.card.Shape
	op, arg, _ := strings.Cut(s.inverse, ":")
	switch {
	case s.inpaint != "":
		op = "mask"
	case s.colorize != "":
		op = "gray"
	}
	if op != "matrix" && op != "mask" && len(shape) != 3 {
		return nil, usagef("%s: a sample's shape is %v, which is no image", j.knownFlag(), shape)
	}
	if op != "mask" && j.card.LogitAlpha != 0 {
		return nil, usagef("%s: the network's data are logits of images (logit_alpha), of which only a mask is a linear measurement", j.knownFlag())
	}
	var a sampler.Operator
	var err error
	switch op {
	case "mask":
		var known []bool
		if known, err = readMask(ctx, s.mask, shape); err != nil {
			return nil, err
		}
		a, err = sampler.Mask(known)
	case "gray":
		if shape[0] != 3 {
			return nil, usagef("--colorize: the samples have %d channels, not 3", shape[0])
		}
		a, err = sampler.Gray(shape[0], shape[1]*shape[2])
	case "average":
		k, bad := strconv.Atoi(arg)
		if bad != nil {
			return nil, usagef("--inverse %s: want average:K, K×K pixels", s.inverse)
		}
		a, err = sampler.Average(shape[0], shape[1], shape[2], k)
	case "blur":
		width, bad := strconv.ParseFloat(arg, 64)
		if bad != nil {
			return nil, usagef("--inverse %s: want blur:S, S pixels", s.inverse)
		}
		a, err = sampler.Blur(shape[0], shape[1], shape[2], width, 0)
	case "matrix":
		return readMatrix(ctx, arg, elements(shape))
	default:
		return nil, usagef("--inverse %q: want mask, average:K, blur:S or matrix:A.npy", s.inverse)
	}
	if err != nil {
		return nil, usagef("%s: %s", j.knownFlag(), strings.TrimPrefix(err.Error(), "sampler: "))
	}
	return a, nil
}

// knownFlag names the flag that asked for the measurement, with its value.
func (j *job) knownFlag() string {
	s := &j.flags.condition
	switch {
	case s.inpaint != "":
		return "--inpaint with --mask " + s.mask
	case s.colorize != "":
		return "--colorize " + s.colorize
	}
	return "--inverse " + s.inverse
}

// measurement is y, of the network's data: those of the file less the mean.
func (j *job) measurement(ctx context.Context, a sampler.Operator) ([]float64, error) {
	s, shape := &j.flags.condition, j.card.Shape
	rows, cols := a.Size()
	mean := make([]float64, cols)
	for i, v := range j.recipe.mean {
		mean[i] = float64(v)
	}
	if s.measurement != "" {
		y, err := j.readValues(ctx, "measurement", s.measurement, rows, s.measuredShape(shape))
		if err != nil {
			return nil, err
		}
		lack := make([]float64, rows)
		a.Apply(lack, mean)
		for i := range y {
			y[i] -= lack[i%rows]
		}
		return y, nil
	}
	flag, name := "measure", s.measure
	var x []float64
	var err error
	switch {
	case s.colorize != "":
		flag = "colorize"
		grey := []int{1, shape[1], shape[2]}
		var g []float64
		if g, err = j.readValues(ctx, flag, s.colorize, elements(grey), grey); err != nil {
			return nil, err
		}
		for i := 0; i < len(g); i += cols / 3 {
			for range 3 {
				x = append(x, g[i:i+cols/3]...)
			}
		}
	case s.inpaint != "":
		flag, name = "inpaint", s.inpaint
		fallthrough
	default:
		if x, err = j.readValues(ctx, flag, name, cols, shape); err != nil {
			return nil, err
		}
	}
	y := make([]float64, len(x)/cols*rows)
	for k := range len(x) / cols {
		one := x[k*cols : (k+1)*cols]
		for i := range one {
			one[i] -= mean[i]
		}
		a.Apply(y[k*rows:(k+1)*rows], one)
	}
	return y, nil
}

// measuredShape is the shape of a measurement that is itself an image, or nil.
func (s *conditionFlags) measuredShape(shape []int) []int {
	op, arg, _ := strings.Cut(s.inverse, ":")
	switch op {
	case "blur":
		return shape
	case "average":
		if k, err := strconv.Atoi(arg); err == nil && k > 0 {
			return []int{shape[0], shape[1] / k, shape[2] / k}
		}
	}
	return nil
}
