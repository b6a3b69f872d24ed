package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/schedules"
)

// ladderMeta is what a recorded run of k-diffusion's and diffusers' samplers says, in their words.
type ladderMeta struct {
	Sampler, Betas, BH, Schedule string
	Steps, Order                 int
	SChurn                       float64 `json:"s_churn"`
	SMin                         float64 `json:"s_tmin"`
	SMax                         float64 `json:"s_tmax"`
	SNoise                       float64 `json:"s_noise"`
	Eta, Clip                    float64
	Start                        float64 `json:"beta_start"`
	End                          float64 `json:"beta_end"`
	Timesteps                    []int
	ZeroSNR                      bool `json:"zero_snr"`
	VE                           bool // the state is in VE coordinates
	RTol, ATol                   float64
	PCoeff                       float64
	NFE                          int
	Solver                       string
	Lower                        int
	EulerLast                    bool `json:"euler_last"`
	Denoise                      *bool
	Ratio, Most                  float64 // of dynamic thresholding
}

// ladderNames are the samplers' names here. What is not among them does something that the card has no words for.
var ladderNames = map[string]string{
	"euler": "euler", "euler_churn": "euler", "euler_a": "euler_a", "euler_a_half": "euler_a", "heun": "heun", "heun_churn": "heun", "dpm_2": "dpm2", "dpm_2_churn": "dpm2",
	"dpm_2_a": "dpm2_a", "dpm_fast": "dpm_fast", "dpm_adaptive": "dpm_adaptive", "lms": "lms", "2s_a": "dpmpp_2s_a", "2m": "dpmpp_2m", "sde": "dpmpp_sde", "2m_sde": "dpmpp_2m_sde",
	"2m_sde_heun": "dpmpp_2m_sde", "3m_sde": "dpmpp_3m_sde", "ddim": "ddim", "ddpm": "ddpm", "ddpm_large": "ddpm", "plms": "plms", "deis": "deis", "unipc": "unipc",
}

// ladderRun reads a run that begins at x_T and ends at x_end: its settings, and what the state of its ends is in VE coordinates times.
func ladderRun(source, text string) (g goldenMeta, first, last float64, err error) {
	var m ladderMeta
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return g, 0, 0, &npy.FormatError{File: source + ":meta", Reason: err.Error()}
	}
	name, ok := ladderNames[m.Sampler]
	if !ok || m.PCoeff != 0 || name == "dpm_fast" && m.Steps%3 != 2 {
		return g, 0, 0, usagef("%s: the settings of its sampler %q are more than the model card has words for", source, m.Sampler)
	}
	g = goldenMeta{Sampler: name, NFE: m.NFE, Denoise: true, RTol: m.RTol, ATol: m.ATol}
	levels, first, last := m.levels(&g)
	if levels == nil && name != "dpm_adaptive" {
		return g, 0, 0, usagef("%s: its meta does not say at which levels it was run", source)
	}
	add := func(there bool, key string, value any) {
		if there {
			g.more = append(g.more, setting{key, fmt.Sprint(value), source})
		}
	}
	add(levels != nil, "sampler.sigmas", strings.ReplaceAll(strings.Trim(fmt.Sprint(levels), "[]"), " ", ","))
	add(m.Order > 0 && name != "dpmpp_2m_sde", "sampler.order", m.Order)
	add(strings.HasSuffix(name, "_a") || strings.HasSuffix(name, "_sde") || name == "ddim", "sampler.eta", m.eta())
	add(m.SChurn > 0, "sampler.s_churn", m.SChurn)
	add(m.SMin > 0, "sampler.s_min", m.SMin)
	add(m.SMax > 0, "sampler.s_max", m.SMax)
	add(m.SNoise > 0, "sampler.s_noise", m.SNoise)
	add(m.Clip > 0, "sampler.clip", m.Clip)
	add(m.Ratio > 0, "sampler.threshold", m.Ratio)
	add(m.Most > 0, "sampler.threshold_max", m.Most)
	add(m.Lower != 0, "sampler.lower", m.Lower)
	add(m.EulerLast, "sampler.euler_last", true)
	add(m.Solver == "heun" || strings.HasSuffix(m.Sampler, "_heun"), "sampler.solver", "heun")
	add(m.BH != "", "sampler.solver", m.BH)
	add(m.Sampler == "ddpm_large", "sampler.variance", "fixed_large")
	add(strings.HasSuffix(name, "_sde"), "sampler.independent", true)
	add(name == "dpm_adaptive", "sampler.coupled", true)
	add(name == "dpm_adaptive" && m.RTol == 0, "sampler.rtol", 0.05)
	return g, first, last, nil
}

func (m ladderMeta) eta() float64 {
	if m.Eta == 0 && m.Sampler != "ddim" {
		return 1
	}
	return m.Eta
}

// levels are the ladder's, without the 0 at its end, and what x is times the state in VE coordinates at its ends; nil where they are not told.
func (m ladderMeta) levels(g *goldenMeta) (sigmas []float64, first, last float64) {
	if m.Betas == "" { // k-diffusion's, of record.py
		const hi, lo = 8, 0.05
		switch {
		case m.Sampler == "dpm_adaptive":
			g.SigmaMin, g.SigmaMax, g.Denoise = lo, hi, false
			return nil, 1, 1
		case m.Sampler == "dpm_fast":
			g.Denoise = false
			return schedules.Geometric(hi, lo, m.Steps/3+2), 1, 1
		case m.Schedule == "":
			g.Denoise = m.Denoise == nil || *m.Denoise
			return schedules.Karras(hi, lo, 7, m.Steps), 1, 1
		case m.Schedule == "exponential":
			return schedules.Geometric(hi, lo, m.Steps), 1, 1
		}
		return nil, 1, 1
	}
	if len(m.Timesteps) == 0 {
		return nil, 1, 1
	}
	betas := schedules.Cosine(1000)
	switch m.Betas {
	case "linear":
		betas = schedules.Linear(m.Start, m.End, 1000)
	case "scaled_linear":
		betas = schedules.ScaledLinear(m.Start, m.End, 1000)
	}
	if m.ZeroSNR {
		betas = schedules.ZeroTerminalSNR(betas)
	}
	path := schedules.FromBetas(betas)
	for _, i := range m.Timesteps {
		if i < 0 || i >= len(path) {
			return nil, 1, 1
		}
		sigmas = append(sigmas, min(path[i], math.Sqrt(1<<24-1)))
	}
	last = 1
	if m.Sampler == "unipc" || m.Denoise != nil && !*m.Denoise {
		if g.Denoise = false; sigmas[len(sigmas)-1] > path[0] { // else diffusers' last step goes nowhere
			sigmas = append(sigmas, path[0])
		}
		last = 1 / math.Hypot(1, path[0])
	}
	if first = 1; !m.VE {
		first = 1 / math.Hypot(1, sigmas[0])
	}
	return sigmas, first, last
}
