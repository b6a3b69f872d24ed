package card

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// field is one row of the table of keys: where it lives, and which words it allows.
type field struct {
	key   string
	at    func(*Card) any // *string, *int, *float64, *bool, *[]int or *[]float64
	words []string
	null  bool     // JSON null is the same as ""
	in    interval // of a number
}

// MaxCount bounds what a card counts: levels, steps, classes. Published networks have some thousands of each; beyond, a number in a file would
// take memory and time at its pleasure.
const MaxCount = 1_000_000

// interval is what a number must be in; the zero value is any.
type interval struct{ least, most float64 }

var (
	positive = interval{math.SmallestNonzeroFloat64, math.MaxFloat64}
	atLeast0 = interval{0, math.MaxFloat64}
	counts   = interval{1, MaxCount}
	indices  = interval{0, MaxCount}
)

// fields lists every key, in the order in which a card is printed.
func fields() []field {
	return []field{
		{key: "score", at: func(c *Card) any { return &c.Score }},
		{key: "output", at: func(c *Card) any { return &c.Output }, words: Outputs()},
		{key: "x", at: func(c *Card) any { return &c.X }},
		{key: "time", at: func(c *Card) any { return &c.Time }, null: true},
		{key: "out", at: func(c *Card) any { return &c.Out }},
		{key: "cond.name", at: func(c *Card) any { return &c.Cond.Name }},
		{key: "cond.kind", at: func(c *Card) any { return &c.Cond.Kind }, words: []string{"int", "float"}},
		{key: "cond.n", at: func(c *Card) any { return &c.Cond.N }, in: counts},
		{key: "cond.null", at: func(c *Card) any { return &c.Cond.Null }, in: indices},
		{key: "time_kind", at: func(c *Card) any { return &c.TimeKind }, words: TimeKinds()},
		{key: "time_scale", at: func(c *Card) any { return &c.TimeScale }, in: positive},
		{key: "time_dtype", at: func(c *Card) any { return &c.TimeDType }, words: []string{"float32", "float64", "int32", "int64", "float16", "bfloat16"}},
		{key: "time_shape", at: func(c *Card) any { return &c.TimeShape }, words: []string{"B", "1", "scalar", "B1", "B111"}},
		{key: "sde", at: func(c *Card) any { return &c.SDE }, words: SDEs()},
		{key: "sigma_min", at: func(c *Card) any { return &c.SigmaMin }, in: positive},
		{key: "sigma_max", at: func(c *Card) any { return &c.SigmaMax }, in: positive},
		{key: "levels", at: func(c *Card) any { return &c.Levels }, in: counts},
		{key: "sigmas", at: func(c *Card) any { return &c.Sigmas }},
		{key: "beta_min", at: func(c *Card) any { return &c.BetaMin }},
		{key: "beta_max", at: func(c *Card) any { return &c.BetaMax }, in: positive},
		{key: "beta_schedule", at: func(c *Card) any { return &c.BetaSchedule }, words: []string{"linear", "scaled_linear", "squaredcos_cap_v2"}},
		{key: "betas", at: func(c *Card) any { return &c.Betas }},
		{key: "zero_snr", at: func(c *Card) any { return &c.ZeroSNR }},
		{key: "sigma_data", at: func(c *Card) any { return &c.SigmaData }, in: positive},
		{key: "shift", at: func(c *Card) any { return &c.Shift }, in: positive},
		{key: "t_eps", at: func(c *Card) any { return &c.TEps }},
		{key: "c_in", at: func(c *Card) any { return &c.CIn }, words: []string{"none", "vp", "edm"}},
		{key: "shape", at: func(c *Card) any { return &c.Shape }},
		{key: "range", at: func(c *Card) any { return &c.Range }},
		{key: "logit_alpha", at: func(c *Card) any { return &c.LogitAlpha }},
		{key: "mean", at: func(c *Card) any { return &c.Mean }, null: true},
		{key: "dequant", at: func(c *Card) any { return &c.Dequant }, words: []string{"none", "uniform"}},
		{key: "prior", at: func(c *Card) any { return &c.Prior }, words: []string{"gaussian", "uniform"}},
		{key: "sampler.name", at: func(c *Card) any { return &c.Sampler.Name }, words: Samplers()},
		{key: "sampler.predictor", at: func(c *Card) any { return &c.Sampler.Predictor }, words: Predictors()},
		{key: "sampler.corrector", at: func(c *Card) any { return &c.Sampler.Corrector }, words: Correctors()},
		{key: "sampler.corrector_norm", at: func(c *Card) any { return &c.Sampler.CorrectorNorm }, words: CorrectorNorms()},
		{key: "sampler.corrector_steps", at: func(c *Card) any { return &c.Sampler.CorrectorSteps }, in: counts},
		{key: "sampler.n", at: func(c *Card) any { return &c.Sampler.N }, in: counts},
		{key: "sampler.steps", at: func(c *Card) any { return &c.Sampler.Steps }, in: counts},
		{key: "sampler.eps", at: func(c *Card) any { return &c.Sampler.Eps }, in: positive},
		{key: "sampler.snr", at: func(c *Card) any { return &c.Sampler.SNR }, in: positive},
		{key: "sampler.rtol", at: func(c *Card) any { return &c.Sampler.RTol }, in: positive},
		{key: "sampler.atol", at: func(c *Card) any { return &c.Sampler.ATol }, in: positive},
		{key: "sampler.temperature", at: func(c *Card) any { return &c.Sampler.Temperature }, in: positive},
		{key: "sampler.sigmas", at: func(c *Card) any { return &c.Sampler.Sigmas }},
		{key: "sampler.schedule", at: func(c *Card) any { return &c.Sampler.Schedule }, words: Schedules()},
		{key: "sampler.spacing", at: func(c *Card) any { return &c.Sampler.Spacing }, words: Spacings()},
		{key: "sampler.offset", at: func(c *Card) any { return &c.Sampler.Offset }, in: indices},
		{key: "sampler.rho", at: func(c *Card) any { return &c.Sampler.Rho }, in: positive},
		{key: "sampler.order", at: func(c *Card) any { return &c.Sampler.Order }, in: counts},
		{key: "sampler.eta", at: func(c *Card) any { return &c.Sampler.Eta }, in: atLeast0},
		{key: "sampler.variance", at: func(c *Card) any { return &c.Sampler.Variance }, words: Variances()},
		{key: "sampler.s_churn", at: func(c *Card) any { return &c.Sampler.SChurn }, in: atLeast0},
		{key: "sampler.s_min", at: func(c *Card) any { return &c.Sampler.SMin }, in: atLeast0},
		{key: "sampler.s_max", at: func(c *Card) any { return &c.Sampler.SMax }, in: positive},
		{key: "sampler.s_noise", at: func(c *Card) any { return &c.Sampler.SNoise }, in: positive},
		{key: "sampler.independent", at: func(c *Card) any { return &c.Sampler.Independent }},
		{key: "sampler.clip", at: func(c *Card) any { return &c.Sampler.Clip }, in: positive},
		{key: "sampler.threshold", at: func(c *Card) any { return &c.Sampler.Threshold }},
		{key: "sampler.threshold_max", at: func(c *Card) any { return &c.Sampler.ThresholdMax }},
		{key: "sampler.solver", at: func(c *Card) any { return &c.Sampler.Solver }, words: Solvers()},
		{key: "sampler.lower", at: func(c *Card) any { return &c.Sampler.Lower }},
		{key: "sampler.euler_last", at: func(c *Card) any { return &c.Sampler.EulerLast }},
		{key: "sampler.probability_flow", at: func(c *Card) any { return &c.Sampler.ProbabilityFlow }},
		{key: "sampler.coupled", at: func(c *Card) any { return &c.Sampler.Coupled }},
		{key: "sampler.denoise", at: func(c *Card) any { return &c.Sampler.Denoise }},
	}
}

// Outputs are the kinds of output.
func Outputs() []string {
	return []string{"score", "score_sigma", "eps", "x0", "v", "flow", "edm_F", "D"}
}

// TimeKinds are the things that a network may want as its time. index counts from the largest noise (0) down the ladder, as NCSN does;
// index_desc counts from the smallest. log_sigma_4 is ln(σ)/4, log_half_sigma ln(σ/2), which EDM's code tells the networks of Song et al.'s VE.
func TimeKinds() []string {
	return []string{"sigma", "log_sigma", "log_sigma_4", "log_half_sigma", "t", "t_scaled", "index", "index_desc", "atan", "none"}
}

// TimesOfInput names, for a message, those that a network with a time input may want.
func TimesOfInput() string {
	return strings.Join(slices.DeleteFunc(TimeKinds(), func(kind string) bool { return kind == "none" }), "|")
}

// SDEs are the forward processes.
func SDEs() []string { return []string{"ve", "vp", "subvp", "ddpm", "edm", "flow"} }

// Samplers are the algorithms.
func Samplers() []string {
	return append([]string{"ald", "langevin", "pc", "ode", "ode_heun", "adaptive", "dpm_adaptive", "flow_euler", "flow_heun"}, Descents()...)
}

// Descents are the samplers that go down a ladder of noise levels, in VE coordinates.
func Descents() []string {
	return []string{"cas", "euler", "euler_a", "heun", "dpm2", "dpm2_a", "dpm3", "dpm_fast", "lms", "dpmpp_2s_a", "dpmpp_2m", "dpmpp_3m", "dpmpp_sde", "dpmpp_2m_sde",
		"dpmpp_3m_sde", "unipc", "deis", "plms", "pndm", "ipndm", "ddim", "ddpm"}
}

// Schedules are the ladders of noise levels: even in σ^{1/ρ}, in ln σ (two names), in (ln σ)^{1/ρ}, in σ, at the quantiles of a beta distribution, even in the time of
// the VP process, in that of the network's own, and steps that the network was trained at.
func Schedules() []string {
	return []string{"karras", "geometric", "exponential", "polyexponential", "linear", "beta", "vp", "time", "index"}
}

// Spacings choose the steps of the schedule index, as diffusers does; fractions is linspace without rounding to whole steps, where the network's time is no integer.
func Spacings() []string { return []string{"linspace", "leading", "trailing", "fractions"} }

// SpacedLadders are the samplers whose other ladders run, in diffusers, from the first to the last step of its spacing; those of the rest run over all levels.
func SpacedLadders() []string { return []string{"euler", "heun", "dpm2", "dpm2_a", "lms", "dpmpp_sde"} }

// Solvers are the second order of dpmpp_2m and dpmpp_2m_sde, and the B(h) of unipc.
func Solvers() []string { return []string{"midpoint", "heun", "bh1", "bh2"} }

// Variances are those of ddpm's steps, the smaller and the larger of Ho et al.'s two.
func Variances() []string { return []string{"fixed_small", "fixed_large"} }

// Predictors are those of the predictor–corrector sampler.
func Predictors() []string {
	return []string{"euler_maruyama", "reverse_diffusion", "ancestral_sampling", "none"}
}

// Correctors are those of the predictor–corrector sampler.
func Correctors() []string { return []string{"none", "langevin", "ald"} }

// CorrectorNorms are the norms in the Langevin corrector's step: of each sample, √d in place of the noise's, or the batch's mean as published.
func CorrectorNorms() []string { return []string{"sample", "dim", "batch"} }

func (c *Card) set(key string, value any, from Source) error {
	bad := func(format string, args ...any) error {
		return &Error{from, fmt.Sprintf("key %q: ", key) + fmt.Sprintf(format, args...)}
	}
	rows := fields()
	i := slices.IndexFunc(rows, func(f field) bool { return f.key == key })
	if i < 0 {
		if len(key) > longestKey {
			return &Error{from, fmt.Sprintf("unknown key %.*q", longestKey, key)}
		}
		return &Error{from, fmt.Sprintf("unknown key %q (did you mean %q?)", key, nearest(key, rows))}
	}
	if c.Rank(key) > from.Rank {
		return nil
	}
	f := rows[i]
	if value == nil || value == plain("null") {
		if !f.null {
			return bad("null is not allowed")
		}
		value = plain("")
		if key == "mean" {
			return nil
		}
	}
	if err := assign(f.at(c), value); err != nil {
		return bad("%v", err)
	}
	if s, ok := f.at(c).(*string); ok && f.words != nil && !slices.Contains(f.words, *s) {
		return bad("%q is not one of %s", *s, strings.Join(f.words, ", "))
	}
	if c.From == nil {
		c.From = make(map[string]Source)
	}
	c.From[key] = from
	if err := cmp.Or(f.check(c), c.bounds(key)); err != nil {
		return bad("%v", err)
	}
	return nil
}

// assign stores a JSON value, or plain text, through a typed pointer.
func assign(at, value any) error {
	text, isText := value.(plain)
	switch at := at.(type) {
	case *string:
		s, ok := value.(string)
		if isText {
			s, ok = string(text), true
		}
		if !ok {
			return fmt.Errorf("want a string, have %s", show(value))
		}
		*at = s
	case *bool:
		b, ok := value.(bool)
		if isText {
			v, err := strconv.ParseBool(string(text))
			b, ok = v, err == nil
		}
		if !ok {
			return fmt.Errorf("want true or false, have %s", show(value))
		}
		*at = b
	case *int:
		n, err := integer(value)
		if err != nil {
			return err
		}
		*at = n
	case *float64:
		v, err := number(value)
		if err != nil {
			return err
		}
		*at = v
	case *[]int:
		v, err := list(value, integer)
		if err != nil {
			return err
		}
		*at = v
	case *[]float64:
		v, err := list(value, number)
		if err != nil {
			return err
		}
		*at = v
	}
	return nil
}

func number(value any) (float64, error) {
	var text string
	switch v := value.(type) {
	case json.Number:
		text = string(v)
	case plain:
		text = strings.TrimSpace(string(v))
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("want a number, have %s", show(value))
	}
	return f, nil
}

func integer(value any) (int, error) {
	f, err := number(value)
	if err != nil || f != math.Trunc(f) {
		return 0, fmt.Errorf("want an integer, have %s", show(value))
	}
	if math.Abs(f) > 1<<30 {
		return 0, fmt.Errorf("%s is too large", show(value))
	}
	return int(f), nil
}

func list[T any](value any, one func(any) (T, error)) ([]T, error) {
	var items []any
	switch v := value.(type) {
	case []any:
		items = v
	case plain:
		for item := range strings.SplitSeq(strings.Trim(strings.TrimSpace(string(v)), "[]()"), ",") {
			items = append(items, plain(item))
		}
	default:
		return nil, fmt.Errorf("want a list, have %s", show(value))
	}
	out := make([]T, len(items))
	for i, item := range items {
		v, err := one(item)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func show(value any) string {
	if s, ok := value.(plain); ok {
		return strconv.Quote(string(s))
	}
	b, err := json.Marshal(value)
	if err != nil || len(b) > 40 {
		return fmt.Sprintf("%.40q", b)
	}
	return string(b)
}

// bounds checks the one field that was just set.
func (c *Card) bounds(key string) error {
	switch key {
	case "score":
		if c.Score != 1 {
			return fmt.Errorf("version %d of the card is not known, want 1", c.Score)
		}
	case "range":
		if len(c.Range) != 2 || !(c.Range[0] < c.Range[1]) {
			return fmt.Errorf("want two numbers, the smaller first, have %v", c.Range)
		}
	case "shape":
		n := 1
		for _, d := range c.Shape {
			if d < 1 || n > math.MaxInt32/d {
				return fmt.Errorf("%.200s is not the shape of a sample", fmt.Sprint(c.Shape))
			}
			n *= d
		}
		if len(c.Shape) < 1 || len(c.Shape) > 32 {
			return fmt.Errorf("want at least one dimension, and at most 32")
		}
	case "sigmas":
		return falling(c.Sigmas)
	case "sampler.sigmas":
		return falling(c.Sampler.Sigmas)
	case "betas":
		for i, b := range c.Betas {
			if !(b > 0 && b < 1) && !(b == 1 && i == len(c.Betas)-1) {
				return fmt.Errorf("want numbers between 0 and 1; element %d is %v", i, b)
			}
		}
		if len(c.Betas) == 0 {
			return fmt.Errorf("want at least one number")
		}
	case "logit_alpha":
		if c.LogitAlpha < 0 || c.LogitAlpha >= 0.5 {
			return fmt.Errorf("want a number from 0 to below 0.5, have %v", c.LogitAlpha)
		}
	case "sampler.lower":
		if n := c.Sampler.Lower; n != -1 && n <= 0 {
			return fmt.Errorf("want more than 0, or -1, have %d", n)
		} else if n > MaxCount {
			return fmt.Errorf("want at most %d, have %d", MaxCount, n)
		}
	case "sampler.threshold":
		if !(c.Sampler.Threshold > 0 && c.Sampler.Threshold <= 1) {
			return fmt.Errorf("want a number above 0, at most 1, have %v", c.Sampler.Threshold)
		}
	case "sampler.threshold_max":
		if c.Sampler.ThresholdMax < 1 {
			return fmt.Errorf("want 1 or more, have %v", c.Sampler.ThresholdMax)
		}
	case "t_eps":
		if c.TEps <= 0 || c.TEps >= 1 {
			return fmt.Errorf("want a number between 0 and 1, have %v", c.TEps)
		}
	}
	return nil
}

// falling refuses what is no ladder.
func falling(sigmas []float64) error {
	for i, s := range sigmas {
		if s <= 0 || i > 0 && s >= sigmas[i-1] {
			return fmt.Errorf("want positive numbers, falling; element %d is %v", i, s)
		}
	}
	if len(sigmas) == 0 {
		return fmt.Errorf("want at least one number")
	}
	return nil
}

// check compares a number with what it must be in.
func (f field) check(c *Card) error {
	var v float64
	switch p := f.at(c).(type) {
	case *int:
		v = float64(*p)
	case *float64:
		v = *p
	}
	switch {
	case f.in == interval{}:
		return nil
	case v < f.in.least && f.in.least > 0:
		return fmt.Errorf("want more than 0, have %v", v)
	case v < f.in.least:
		return fmt.Errorf("want 0 or more, have %v", v)
	case v > f.in.most:
		return fmt.Errorf("want at most %d, have %.0f", MaxCount, v)
	}
	return nil
}

const longestKey = 40 // that could be another one with a mistake

// nearest is the known key with the fewest edits.
func nearest(key string, rows []field) string {
	best, least := "", math.MaxInt
	for _, f := range rows {
		if d := Edits(key, f.key); d < least {
			best, least = f.key, d
		}
		if _, last, ok := strings.Cut(f.key, "."); ok {
			if d := Edits(key, last); d < least {
				best, least = f.key, d
			}
		}
	}
	return best
}

// Edits is the Levenshtein distance.
func Edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
