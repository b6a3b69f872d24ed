package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"sampleonnx/schedules"
)

const planHelp = `sampleonnx plan chooses the noise levels and the step size of annealed Langevin dynamics, by the techniques of NCSNv2 (Song & Ermon 2020).

  sampleonnx plan --sigma-max S --dim D [flags]
  sampleonnx plan DATA.npy [flags]

1: the largest noise is the largest distance between two data, which DATA tells. 2: neighbouring levels overlap by half in D dimensions, which gives
their ratio gamma, and the number of levels. 3: a network that is told no level is divided by sigma (output=score_sigma). 4: of as many steps a level
as can be afforded, the eps whose variance after a level is nearest to the level's, proposition 3's ratio to 1.

Flags:
%s`

// ladderPlan is the result of the verb.
type ladderPlan struct {
	SigmaMax float64    `json:"sigma_max"`
	SigmaMin float64    `json:"sigma_min"`
	Data     int        `json:"data,omitempty"` // of which SigmaMax is the diameter
	Dim      int        `json:"dim"`
	Gamma    *float64   `json:"gamma"` // null: neighbouring levels overlap by half whatever their ratio
	Levels   int        `json:"levels"`
	Ratio    float64    `json:"ratio"` // of neighbours, of so many levels
	Steps    []stepPlan `json:"steps"`
}

// stepPlan is what a number of steps a level leads to.
type stepPlan struct {
	Steps    int     `json:"steps_per_level"`
	Calls    int     `json:"network_calls"` // a sample, with the last step without noise
	Eps      float64 `json:"eps"`
	Variance float64 `json:"variance_ratio"` // proposition 3
}

// planLadder is the verb plan.
func planLadder(ctx context.Context, args []string, std streams) error {
	f := flagSet("plan")
	hi := f.Float64("sigma-max", 0, "largest noise `S` (default: technique 1 of DATA)")
	lo := f.Float64("sigma-min", 0.01, "smallest noise `S`")
	dim := f.Int("dim", 0, "`D` values a sample (default: DATA's)")
	steps := f.String("steps-per-level", "1,2,3,5,10", "steps a level: `T1,T2,...`")
	most := f.IntP("data", "n", 2000, "use at most `N` data, evenly taken, whose distances are all measured")
	asJSON := f.Bool("json", false, "print one JSON object")
	var config runConfig
	f.Var(limitFlag{&config}, "limit", "what the run may take: `NAME=VALUE`, data, the memory of the file (a quarter of the machine's), or time")
	if err := flagError(f.Parse(args)); err != nil {
		return help(std.out, fmt.Sprintf(planHelp, f.FlagUsagesWrapped(110)), err)
	}
	if f.NArg() > 1 {
		return usagef("want at most one file of data, have %d arguments%s (see --help)", f.NArg(), list(f.Args()))
	}
	ctx, stop := config.begin(ctx)
	defer stop()
	p := ladderPlan{SigmaMax: *hi, SigmaMin: *lo, Dim: *dim}
	if f.NArg() == 1 {
		if *most < 2 {
			return usagef("--data %d: want 2 or more", *most)
		}
		if err := p.of(ctx, f.Arg(0), *most, f.Changed("sigma-max")); err != nil {
			return err
		}
	}
	switch {
	case f.NArg() == 0 && (!f.Changed("sigma-max") || !f.Changed("dim")):
		return usagef("want --sigma-max and --dim, or a file of data (see --help)")
	case f.NArg() == 0 && f.Changed("data"):
		return usagef("--data is of no use without a file of data")
	case f.Changed("dim") && p.Dim != *dim:
		return usagef("--dim %d: the data have %d values", *dim, p.Dim)
	case p.Dim < 1:
		return usagef("--dim %d: want 1 or more", p.Dim)
	case !(p.SigmaMin > 0 && p.SigmaMax > p.SigmaMin) || math.IsInf(p.SigmaMax, 1):
		return usagef("--sigma-max %v and --sigma-min %v: want two numbers above 0, the smaller for the minimum", p.SigmaMax, p.SigmaMin)
	}
	gamma := schedules.Gamma(p.Dim)
	if p.Levels = 2; !math.IsInf(gamma, 1) {
		p.Gamma, p.Levels = &gamma, max(2, schedules.Levels(p.SigmaMax, p.SigmaMin, gamma))
	}
	ladder := schedules.Geometric(p.SigmaMax, p.SigmaMin, p.Levels)
	p.Ratio = ladder[0] / ladder[1]
	for text := range strings.SplitSeq(*steps, ",") {
		t, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || t < 1 || t > 1<<20 {
			return usagef("--steps-per-level %s: %q is no number of steps", *steps, text)
		}
		eps := schedules.Eps(p.SigmaMin, p.Ratio, t)
		p.Steps = append(p.Steps, stepPlan{t, p.Levels*t + 1, eps, schedules.VarianceRatio(eps, p.SigmaMin, p.Ratio, t)})
	}
	if *asJSON {
		return printJSON(std.out, p)
	}
	return p.text(std.out)
}

// of takes the dimension of data, and their diameter where no other largest noise is asked for. Bytes are taken for images on [0,1].
func (p *ladderPlan) of(ctx context.Context, name string, most int, known bool) error {
	a, err := readSamplesFile(ctx, name)
	if err != nil {
		return err
	}
	if len(a.Shape) < 1 || a.Shape[0] < 2 || elements(a.Shape[1:]) < 1 {
		return usagef("%s has shape %v, want two samples or more", name, a.Shape)
	}
	n := a.Shape[0]
	p.Dim = elements(a.Shape[1:])
	if known {
		return nil
	}
	x, err := floatSamples(name, a, a.Shape[1:], n)
	if err != nil {
		return err
	}
	if _, bytes := a.Data.([]uint8); bytes {
		divide(x, 255)
	}
	if n > most {
		for i := range most {
			copy(x[i*p.Dim:(i+1)*p.Dim], x[i*n/most*p.Dim:])
		}
		x, n = x[:most*p.Dim], most
	}
	p.Data, p.SigmaMax = n, schedules.MaxDistance(x, p.Dim)
	return nil
}

func (p ladderPlan) text(w io.Writer) error {
	of := ""
	if p.Data > 0 {
		of = fmt.Sprintf(", the largest distance of %d data", p.Data)
	}
	gamma := "technique 2 asks for nothing below 5"
	if p.Gamma != nil {
		gamma = fmt.Sprintf("gamma %.5f", *p.Gamma)
	}
	fmt.Fprintf(w, "sigma %.5g to %.5g%s\n%d dimensions: %s, %d levels with the ratio %.5f\n", p.SigmaMax, p.SigmaMin, of, p.Dim, gamma, p.Levels, p.Ratio)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "steps a level\teps\tvariance ratio\tnetwork calls\t")
	for _, s := range p.Steps {
		fmt.Fprintf(tab, "%d\t%.3g\t%.4f\t%d\t\n", s.Steps, s.Eps, s.Variance, s.Calls)
	}
	return tab.Flush()
}
