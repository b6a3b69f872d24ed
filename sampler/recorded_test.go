package sampler

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/schedules"
)

// Runs of k-diffusion and diffusers, recorded with their noise on the exact
// score of a mixture in the plane by testdata/golden/ladders/record.py. Ours
// start from the published ladders' settings and not from recorded levels, so
// that the ladders are compared too. diffusers' state is x_t; ours, in VE
// coordinates, is x_t/α.
func TestRecordedLadders(t *testing.T) {
	files, err := filepath.Glob("../testdata/golden/ladders/*.npz")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no recorded runs")
	}
	law := readNpz(t, "../testdata/models/mixture2.law.npz")
	data := mixture{2, law["means"].wide, law["weights"].wide, law["tau"].wide[0]}
	ve := schedules.VE{SigmaMin: 0.05, SigmaMax: 8}
	worst := 0.0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".npz")
		t.Run(name, func(t *testing.T) {
			f := readNpz(t, file)
			var m struct {
				Sampler, Betas, Spacing, BH string
				Steps, Order, Offset        int
				SChurn                      float64 `json:"s_churn"`
				SMin                        float64 `json:"s_tmin"`
				SMax                        float64 `json:"s_tmax"`
				SNoise                      float64 `json:"s_noise"`
				Eta, Clip                   float64
				Start                       float64 `json:"beta_start"`
				End                         float64 `json:"beta_end"`
				Timesteps                   []int
				Schedule                    string // of k-diffusion; none is Karras's
				ZeroSNR                     bool   `json:"zero_snr"`
				VE                          bool   // the state is in VE coordinates
				RTol, ATol                  float64
				PCoeff, ICoeff, DCoeff      float64
				NFE                         int // evaluations a sample, where the program counted them
				Solver                      string
				Lower                       int
				EulerLast                   bool    `json:"euler_last"`
				Denoise                     *bool   // the last level is 0, where it is said
				Ratio, Most                 float64 // of dynamic thresholding
				Shift                       float64 // of flow matching's times
			}
			if err := json.Unmarshal([]byte(f["meta"].text), &m); err != nil {
				t.Fatal(err)
			}
			score := data.score(schedules.Sigma{})
			sigmas := append(schedules.Karras(8, 0.05, 7, 15), 0)
			if m.Betas == "" && m.Denoise != nil && !*m.Denoise {
				sigmas = sigmas[:15]
			}
			switch m.Schedule {
			case "polyexponential":
				sigmas = append(schedules.PolyExponential(8, 0.05, 1.7, m.Steps), 0)
			case "exponential":
				sigmas = append(schedules.Geometric(8, 0.05, m.Steps), 0)
			case "vp":
				sigmas = append(schedules.Ladder(schedules.VP{BetaMin: 0.1, BetaMax: 9.1}, schedules.Linear(1, 0.01, m.Steps)), 0)
			}
			first, last := 1.0, 1.0 // x_t is this times ours
			if m.Schedule == "sines" {
				sigmas = nil
				for _, u := range schedules.Linear(0.9, 0, m.Steps+1) {
					sigmas = append(sigmas, math.Tan(u*math.Pi/2))
				}
				first = math.Cos(0.9 * math.Pi / 2)
			}
			var middles []float64
			if m.Betas != "" {
				var betas []float64
				switch m.Betas {
				case "linear":
					betas = schedules.Linear(m.Start, m.End, 1000)
				case "scaled_linear":
					betas = schedules.ScaledLinear(m.Start, m.End, 1000)
				case "squaredcos_cap_v2":
					betas = schedules.Cosine(1000)
				}
				if m.ZeroSNR {
					betas = schedules.ZeroTerminalSNR(betas)
				}
				path := schedules.FromBetas(betas)
				if m.ZeroSNR {
					path[999] = math.Sqrt(1<<24 - 1)
				}
				spacing := map[string]schedules.Spacing{
					"linspace": schedules.Linspace, "leading": schedules.Leading, "trailing": schedules.Trailing,
				}[m.Spacing]
				steps := spacing.DPMSolver(1000, m.Steps, m.Offset)
				if strings.HasPrefix(m.Sampler, "dd") || m.Sampler == "plms" || m.Sampler == "pndm" || m.VE {
					steps = spacing.DDIM(1000, m.Steps, m.Offset)
				}
				if m.Schedule == "" && !slices.Equal(steps, m.Timesteps) {
					t.Fatalf("steps are %v, want %v", steps, m.Timesteps)
				}
				sigmas = nil
				for _, i := range steps {
					sigmas = append(sigmas, path[i])
				}
				switch m.Schedule {
				case "karras": // of whose levels diffusers repeats the last
					sigmas = schedules.Karras(path[999], path[0], 7, m.Steps)[:m.Steps-1]
				case "karras_leading": // which run between the spaced steps
					steps := spacing.DDIM(1000, m.Steps, m.Offset)
					sigmas = schedules.Karras(path[steps[0]], path[steps[m.Steps-1]], 7, m.Steps)
				case "linspace": // ρ is interpolated between whole steps
					for i, at := range schedules.Linear(999, 0, m.Steps) {
						below := int(at)
						sigmas[i] = path[below] + (at-float64(below))*(path[min(below+1, 999)]-path[below])
					}
				case "beta":
					sigmas = schedules.Beta(path[999], path[0], 0.6, m.Steps)
				case "lu":
					sigmas = schedules.Geometric(path[999], path[0], m.Steps)
				}
				if m.Sampler == "pndm" {
					half := 1000 / m.Steps / 2
					middles = []float64{path[steps[0]-half], path[steps[1]-half], path[steps[2]-half]}
				}
				if first, _ = path.Marginal(path.Time(sigmas[0])); m.VE {
					first = 1
				}
				if m.Sampler == "unipc" || m.Denoise != nil && !*m.Denoise {
					if sigmas[len(sigmas)-1] > path[0] { // else diffusers' last step goes nowhere
						sigmas = append(sigmas, path[0])
					}
					last, _ = path.Marginal(0)
				} else {
					sigmas = append(sigmas, 0)
				}
			}
			churn := Churn{S: m.SChurn, Min: m.SMin, Max: m.SMax}
			eta, threshold := or(m.Eta, 1), Threshold{m.Ratio, m.Most}
			var s Sampler
			switch m.Sampler {
			case "euler", "euler_churn":
				s = Euler{Sigmas: sigmas, Churn: churn, SNoise: m.SNoise}
			case "heun", "heun_churn":
				s = Heun{Sigmas: sigmas, Churn: churn, SNoise: m.SNoise}
			case "dpm_2", "dpm_2_churn":
				s = DPMSolver{Sigmas: sigmas, Churn: churn}
			case "dpm_fast":
				orders := FastOrders(m.Steps)
				s = DPMSolver{Sigmas: schedules.Geometric(8, 0.05, len(orders)+1), Orders: orders}
			case "dpm_adaptive":
				s = DPMAdaptive{SigmaMax: 8, SigmaMin: 0.05, Order: m.Order, RTol: m.RTol, ATol: m.ATol, P: m.PCoeff, I: m.ICoeff, D: m.DCoeff, Coupled: true}
			case "lms":
				s = LMS{Sigmas: sigmas}
			case "euler_a", "euler_a_half":
				s = Euler{Sigmas: sigmas, Eta: eta, SNoise: m.SNoise}
			case "dpm_2_a":
				s = DPMSolver{Sigmas: sigmas, Eta: eta}
			case "2s": // whose every other level is the middle of a step
				for i := range len(sigmas) / 2 {
					sigmas[i] = sigmas[2*i]
				}
				s = DPMpp2S{Sigmas: append(sigmas[:len(sigmas)/2], 0)}
			case "singlestep": // the same with ε, and two steps of order 1 at the end
				for i := range len(sigmas)/2 - 1 {
					sigmas[i] = sigmas[2*i]
				}
				sigmas = append(sigmas[:len(sigmas)/2-1], sigmas[len(sigmas)-2:]...)
				orders := slices.Repeat([]int{2}, len(sigmas)-1)
				orders[len(orders)-1] = 1
				s = DPMSolver{Sigmas: sigmas, Orders: orders}
			case "2s_a":
				s = DPMpp2S{Sigmas: sigmas, Eta: eta}
			case "2m":
				s = DPMpp{Sigmas: sigmas}
			case "sde":
				s = DPMppSDE{Sigmas: sigmas, Independent: true}
			case "2m_sde", "2m_sde_heun":
				s = DPMpp2MSDE{Sigmas: sigmas, Eta: m.Eta, Heun: m.Sampler == "2m_sde_heun", Independent: true}
			case "3m_sde":
				s = DPMpp3MSDE{Sigmas: sigmas, Independent: true}
			case "ddim":
				s = DDIM{Sigmas: sigmas, Eta: m.Eta, Clip: m.Clip, Threshold: threshold}
				threshold = Threshold{}
			case "ddpm", "ddpm_large":
				s = DDPM{Sigmas: sigmas, Large: m.Sampler == "ddpm_large", Clip: m.Clip}
			case "dpmpp":
				s = DPMpp{Sigmas: sigmas, Order: m.Order, Halved: true, Heun: m.Solver == "heun", Lower: m.Lower, EulerLast: m.EulerLast}
			case "plms":
				s = PNDM{Sigmas: sigmas}
			case "pndm":
				s = PNDM{Sigmas: sigmas, Middles: middles}
			case "ipndm":
				s = PNDM{Sigmas: sigmas, LowerOrders: true}
			case "deis":
				s = DEIS{Sigmas: sigmas, Order: m.Order}
			case "unipc":
				s = UniPC{Sigmas: sigmas, Order: m.Order, BH1: m.BH == "bh1"}
			case "flow_euler", "flow_heun": // whose ends are shifted, and then all again
				ends := ShiftTimes([]float64{1, 0.001}, m.Shift)
				times := ShiftTimes(schedules.Linear(ends[0], ends[1], m.Steps), m.Shift)
				s, score = Straight{append(times, 0), m.Sampler == "flow_heun"}, data.velocity()
			case "sde_ve":
				s = PC{SDE: ve, N: m.Steps, Predictor: ReverseDiffusion, Corrector: LangevinCorrector{SNR: 0.15, Steps: 2, Norm: NormBatch}.Step, Denoise: true}
				score = data.score(ve)
			default:
				t.Fatalf("sampler %q", m.Sampler)
			}
			b := &Batch{X: make([]float32, 24), Dim: 2, Noise: Replay{Values: f["noise"].values, Samples: 12, Dim: 2}}
			scale(b.X, f["x_T"].values, 1/first)
			if err := threshold.Of(s).Sample(context.Background(), b, score); err != nil {
				t.Fatal(err)
			}
			if m.NFE > 0 && b.Calls != m.NFE {
				t.Errorf("%d evaluations, want %d", b.Calls, m.NFE)
			}
			scale(b.X, b.X, last)
			worst = max(worst, relativeRMS(b.X, f["x_end"].values))
			compareRMS(t, "at the end", b.X, f["x_end"].values, 2e-5)
		})
	}
	t.Logf("%d runs, relative RMS at most %.2g", len(files), worst)
}
