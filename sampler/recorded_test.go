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
	score := mixture{2, law["means"].wide, law["weights"].wide, law["tau"].wide[0]}.score(schedules.Sigma{})
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
			}
			if err := json.Unmarshal([]byte(f["meta"].text), &m); err != nil {
				t.Fatal(err)
			}
			sigmas := append(schedules.Karras(8, 0.05, 7, 15), 0)
			switch m.Schedule {
			case "polyexponential":
				sigmas = append(schedules.PolyExponential(8, 0.05, 1.7, m.Steps), 0)
			case "exponential":
				sigmas = append(schedules.Geometric(8, 0.05, m.Steps), 0)
			case "vp":
				sigmas = append(schedules.Ladder(schedules.VP{BetaMin: 0.1, BetaMax: 9.1}, schedules.Linear(1, 0.01, m.Steps)), 0)
			}
			first, last := 1.0, 1.0 // x_t is this times ours
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
				if strings.HasPrefix(m.Sampler, "dd") || m.VE {
					steps = spacing.DDIM(1000, m.Steps, m.Offset)
				}
				if !slices.Equal(steps, m.Timesteps) {
					t.Fatalf("steps are %v, want %v", steps, m.Timesteps)
				}
				sigmas = nil
				for _, i := range steps {
					sigmas = append(sigmas, path[i])
				}
				if first, _ = path.Marginal(float64(steps[0])); m.VE {
					first = 1
				}
				if m.Sampler == "unipc" {
					sigmas = append(sigmas, path[0])
					last, _ = path.Marginal(0)
				} else {
					sigmas = append(sigmas, 0)
				}
			}
			churn := Churn{S: m.SChurn, Min: m.SMin, Max: m.SMax}
			eta := or(m.Eta, 1)
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
				s = DDIM{Sigmas: sigmas, Eta: m.Eta, Clip: m.Clip}
			case "ddpm", "ddpm_large":
				s = DDPM{Sigmas: sigmas, Large: m.Sampler == "ddpm_large", Clip: m.Clip}
			case "dpmpp":
				s = DPMpp{Sigmas: sigmas, Order: m.Order, Halved: true}
			case "unipc":
				s = UniPC{Sigmas: sigmas, Order: m.Order, BH1: m.BH == "bh1"}
			default:
				t.Fatalf("sampler %q", m.Sampler)
			}
			b := &Batch{X: make([]float32, 24), Dim: 2, Noise: Replay{Values: f["noise"].values, Samples: 12, Dim: 2}}
			scale(b.X, f["x_T"].values, 1/first)
			if err := s.Sample(context.Background(), b, score); err != nil {
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
