package main

import (
	"context"
	"math"
	"strings"

	"github.com/spf13/pflag"

	"sampleonnx/sampler"
)

// conditionFlags say what samples are to be: of which class, and what is known of them.
type conditionFlags struct {
	classFlags

	inpaint, mask, colorize       string
	inverse, measurement, measure string
	method                        string
	strength                      float64
	held                          bool
}

// methods solve inverse problems; project is Song et al.'s way to impose what is known, in the form that suits the sampler.
var methods = []string{"project", "dps", "pigdm", "reddiff"}

func (s *conditionFlags) flags() *pflag.FlagSet {
	f := flagSet("")
	s.add(f, "the samples")
	f.StringVar(&s.inpaint, "inpaint", "", "`IMAGE` .png, .npy or FILE.npz:NAME of which --mask is known: draw the rest")
	f.StringVar(&s.mask, "mask", "", "`MASK` .png or .npy, where it is white or not 0 the image is known; or left, right, top, bottom")
	f.StringVar(&s.colorize, "colorize", "", "grey `IMAGE` .png or .npy to be coloured")
	f.StringVar(&s.inverse, "inverse", "", "what was measured of the samples: `OP` mask (--mask), average:K (means of K×K pixels), blur:S (Gaussian of S pixels), matrix:A.npy")
	f.StringVar(&s.measurement, "measurement", "", "the measurement `Y` .npy or .png, one or several that samples take in turn")
	f.StringVar(&s.measure, "measure", "", "`IMAGE` to measure, in place of --measurement")
	f.StringVar(&s.method, "method", "project", "how a measurement is used: `NAME` "+strings.Join(methods, ", ")+" (all but project with the levels of ddim)")
	f.Float64Var(&s.strength, "strength", 0, "`X` of the method: project's part of the way (default 1), the step of dps (1) and pigdm (1), the network's weight in reddiff (0.25)")
	f.BoolVar(&s.held, "hold-noise", false, "draw the noise of what is known once a level, as NCSN does, not at every step; with project of ald and pc")
	return f
}

// measured reports whether anything is known of the samples.
func (s *conditionFlags) measured() bool {
	return s.inpaint != "" || s.colorize != "" || s.inverse != ""
}

// settings is what the conditions ask of the card.
func (s *conditionFlags) settings(f *pflag.FlagSet) ([]setting, error) {
	list, err := s.classFlags.settings(f)
	if err != nil {
		return nil, err
	}
	if err := s.check(f); err != nil {
		return nil, err
	}
	if s.method == "project" {
		return list, nil
	}
	if name := f.Lookup("sampler"); !name.Changed {
		list = append(list, setting{"sampler.name", "ddim", "--method " + s.method})
	} else if name.Value.String() != "ddim" {
		return nil, usagef("--method %s: it has a sampler of its own, with the levels of ddim, not of --sampler %s", s.method, name.Value)
	}
	for _, name := range []string{"eta", "denoise"} {
		if s.method == "reddiff" && f.Changed(name) {
			return nil, usagef("--%s is of no use to --method reddiff", name)
		}
	}
	if s.method != "reddiff" && !f.Changed("eta") {
		list = append(list, setting{"sampler.eta", "1", "--method " + s.method})
	}
	return list, nil
}

// meta is what the .npz output remembers of the conditions; nil for none.
func (s *conditionFlags) meta() map[string]any {
	all := s.classFlags.meta()
	for name, value := range map[string]string{
		"inpaint": s.inpaint, "mask": s.mask, "colorize": s.colorize, "inverse": s.inverse, "measurement": s.measurement, "measure": s.measure,
	} {
		if value != "" {
			all[name] = value
		}
	}
	if s.measured() {
		all["method"], all["strength"] = s.method, s.strength
		if s.held {
			all["hold_noise"] = true
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// check refuses flags that do not go together.
func (s *conditionFlags) check(f *pflag.FlagSet) error {
	alone := func(flag, value, needs string, there bool) error {
		if value != "" && !there {
			return usagef("--%s %s is of no use without %s", flag, value, needs)
		}
		return nil
	}
	one := 0
	for _, given := range []string{s.inpaint, s.colorize, s.inverse} {
		if given != "" {
			one++
		}
	}
	byMask := s.inpaint != "" || s.inverse == "mask"
	switch {
	case one > 1:
		return usagef("--inpaint, --colorize and --inverse: want one of them")
	case byMask && s.mask == "":
		return usagef("--mask is missing: which part of the image is known?")
	case s.inverse != "" && (s.measurement == "") == (s.measure == ""):
		return usagef("--inverse %s: give what was measured with --measurement, or an image with --measure", s.inverse)
	case f.Changed("strength") && !(s.strength > 0 && !math.IsInf(s.strength, 1)):
		return usagef("--strength %v: want more than 0", s.strength)
	case f.Changed("strength") && s.method == "project" && s.strength > 1:
		return usagef("--strength %v: --method project goes a part of the way to the measurement, at most 1", s.strength)
	case (f.Changed("method") || f.Changed("strength")) && !s.measured():
		return usagef("--method and --strength are of no use without --inpaint, --colorize or --inverse")
	case s.held && !s.measured():
		return usagef("--hold-noise is of no use without --inpaint, --colorize or --inverse")
	case s.held && s.method != "project":
		return usagef("--hold-noise is of no use to --method %s, only to project", s.method)
	case s.classifier != "" && s.differentiates():
		return usagef("--method %s: it needs the derivative of the score, which is not there with --classifier: try project", s.method)
	}
	for _, err := range []error{
		oneOf("method", s.method, methods...),
		alone("mask", s.mask, "--inpaint or --inverse mask", byMask),
		alone("measurement", s.measurement, "--inverse", s.inverse != ""),
		alone("measure", s.measure, "--inverse", s.inverse != ""),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// condition is what samples are to be, ready for use.
type condition struct {
	*guided
	known *known
}

// newCondition reads what the flags name, and checks it against the model.
func (j *job) newCondition(ctx context.Context) (condition, error) {
	s := &j.flags.condition
	g, err := s.open(ctx, j.model, j.card, j.recipe, j.flags.config, s.differentiates())
	c := condition{guided: g}
	if err == nil && s.measured() {
		c.known, err = j.newKnown(ctx, g)
	}
	return c, err
}

// score is the conditional score for a batch.
func (c condition) score(b *sampler.Batch) (sampler.Field, error) {
	score, err := c.guided.score(b)
	if err != nil || c.known == nil || !c.known.inScore {
		return score, err
	}
	return c.known.Score(b, score, c.recipe.samplers(), c.known.lambda)
}

// differentiates reports whether the method goes by the derivative of the score.
func (s *conditionFlags) differentiates() bool {
	return s.measured() && (s.method == "dps" || s.method == "pigdm")
}

// about says what the samples are to be.
func (j *job) about() string {
	about := j.flags.condition.about()
	switch known := j.condition.known; {
	case known == nil:
		return about
	case about == "":
		return known.about
	default:
		return about + "; " + known.about
	}
}
