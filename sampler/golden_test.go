package sampler

import (
	"archive/zip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/schedules"
)

// Runs of the published programs on networks that are exact scores, recorded
// with their noise. They are replayed here with the same score written in Go;
// runs of trained networks are replayed where networks can be evaluated.
func TestRecordedRuns(t *testing.T) {
	const folder = "../testdata/golden"
	files, err := filepath.Glob(folder + "/*.npz")
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for _, file := range files {
		f := readNpz(t, file)
		if _, ok := f["x_final"]; !ok {
			continue
		}
		var meta struct {
			Sampler   string
			Model     string
			Sigmas    []float64
			Steps     int
			Eps       float64
			SigmaMin  float64 `json:"sigma_min"`
			SigmaMax  float64 `json:"sigma_max"`
			N         int
			TEps      float64 `json:"t_eps"`
			RTol      float64
			ATol      float64
			Predictor string
			Corrector string
			SNR       float64
			NSteps    int `json:"n_steps"`
			Denoise   bool
			Flow      bool `json:"probability_flow"`
			NFE       int
		}
		if err := json.Unmarshal([]byte(f["meta"].text), &meta); err != nil {
			t.Fatal(err)
		}
		score := exactScore(t, strings.TrimSuffix(meta.Model, ".onnx"))
		if score == nil {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".npz"), func(t *testing.T) {
			replayed++
			want := f["x_final"]
			n := want.shape[0]
			dim := len(want.values) / n
			b := &Batch{X: make([]float32, n*dim), Dim: dim}
			ve := schedules.VE{SigmaMin: meta.SigmaMin, SigmaMax: meta.SigmaMax}
			if noise, ok := f["noise"]; ok {
				b.Noise = Replay{Values: noise.values, Samples: n, Dim: dim}
			}
			score := score
			var s Sampler
			limit := 1e-5
			switch meta.Sampler {
			case "ald":
				s = Annealed{Sigmas: meta.Sigmas, Steps: meta.Steps, Eps: meta.Eps, Denoise: meta.Denoise}
				copy(b.X, f["x_init"].values)
			case "ode":
				s = Flow{SDE: ve, Eps: meta.TEps, RTol: meta.RTol, ATol: meta.ATol, Coupled: true, Denoise: meta.Denoise}
				copy(b.X, f["x_T"].values)
				limit = 1e-4
			case "pc":
				step := map[string]Step{
					"euler_maruyama": EulerMaruyama, "reverse_diffusion": ReverseDiffusion, "ancestral_sampling": Ancestral,
				}[meta.Predictor]
				if step == nil {
					t.Fatalf("predictor %q", meta.Predictor)
				}
				pc := PC{SDE: ve, N: meta.N, Eps: meta.TEps, Predictor: step, ProbabilityFlow: meta.Flow, Denoise: meta.Denoise}
				switch meta.Corrector {
				case "langevin":
					pc.Corrector = LangevinCorrector{SNR: meta.SNR, Steps: meta.NSteps, Norm: NormBatch}.Step
				case "ald":
					pc.Corrector = AnnealedCorrector{SNR: meta.SNR, Steps: meta.NSteps}.Step
				}
				s = pc
				if err := b.Prior(meta.SigmaMax); err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("sampler %q", meta.Sampler)
			}
			if meta.Sampler != "ald" {
				score = Relabel(score, func(t float64) float64 { _, sigma := ve.Marginal(t); return sigma })
			}
			// The recorded state after the last step of some levels.
			trace, levels := f["trace"], f["trace_levels"].values
			b.Trace = func(p Progress) error {
				if k := slices.Index(levels, float32(p.Level)); k >= 0 && p.Step == (p.Level+1)*meta.Steps {
					at := fmt.Sprintf("after level %d", p.Level)
					compareRMS(t, at, b.X, trace.values[k*n*dim:(k+1)*n*dim], limit)
				}
				return nil
			}
			if err := s.Sample(context.Background(), b, score); err != nil {
				t.Fatal(err)
			}
			compareRMS(t, "at the end", b.X, want.values, limit)
			if meta.NFE > 0 && b.Calls != meta.NFE {
				t.Errorf("%d evaluations, want %d", b.Calls, meta.NFE)
			}
		})
	}
	if replayed == 0 {
		t.Skip("no recorded runs of exact scores in " + folder)
	}
}

func compareRMS(t *testing.T, when string, got, want []float32, limit float64) {
	t.Helper()
	rms := relativeRMS(got, want)
	if !(rms <= limit) {
		t.Errorf("%s: relative RMS %.3g, limit %g", when, rms, limit)
	} else if when == "at the end" {
		t.Logf("relative RMS %.2g", rms)
	}
}

func relativeRMS(got, want []float32) float64 {
	var diff, size float64
	for i, w := range want {
		diff += math.Pow(float64(got[i])-float64(w), 2)
		size += float64(w) * float64(w)
	}
	return math.Sqrt(diff / size)
}

// exactScore is the score of a model with a known law, as a function of σ; it
// is nil for others. (The network of digits_empirical rounds its digits more
// coarsely than its law does, so that run needs the network.)
func exactScore(t *testing.T, model string) Field {
	file := "../testdata/models/" + model + ".law.npz"
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	law := readNpz(t, file)
	switch {
	case law["weights"].values != nil:
		return mixture{2, law["means"].wide, law["weights"].wide, law["tau"].wide[0]}.score(schedules.Sigma{})
	case law["cov"].values != nil:
		return func(dst, x []float32, t []float64) error {
			for i, sigma := range t {
				gaussianSolve(dst[4*i:4*i+4], x[4*i:4*i+4], law["mu"].wide, law["cov"].wide, sigma)
			}
			return nil
		}
	}
	return nil
}

// gaussianSolve is s = −(Σ+σ²I)⁻¹(x−μ) by elimination.
func gaussianSolve(s, x []float32, mu, cov []float64, sigma float64) {
	n := len(x)
	a := make([][]float64, n)
	for i := range a {
		a[i] = append(slices.Clone(cov[i*n:(i+1)*n]), mu[i]-float64(x[i]))
		a[i][i] += sigma * sigma
	}
	for i := range a {
		for j := range a {
			if j == i {
				continue
			}
			f := a[j][i] / a[i][i]
			for k := i; k <= n; k++ {
				a[j][k] -= f * a[i][k]
			}
		}
	}
	for i := range a {
		s[i] = float32(a[i][n] / a[i][i])
	}
}

// An array of a numpy file: numbers in both widths, or a text.
type array struct {
	shape  []int
	values []float32
	wide   []float64
	text   string
}

func readNpz(t *testing.T, file string) map[string]array {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	arrays := map[string]array{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		arrays[strings.TrimSuffix(f.Name, ".npy")] = parseNpy(t, data)
	}
	return arrays
}

func parseNpy(t *testing.T, data []byte) (a array) {
	t.Helper()
	size := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	header, data := string(data[10:size]), data[size:]
	field := func(name, from, to string) string {
		_, rest, _ := strings.Cut(header, "'"+name+"': "+from)
		value, _, _ := strings.Cut(rest, to)
		return value
	}
	for _, s := range strings.Split(field("shape", "(", ")"), ",") {
		var n int
		if _, err := fmt.Sscan(s, &n); err == nil {
			a.shape = append(a.shape, n)
		}
	}
	dtype := field("descr", "'", "'")
	if strings.HasPrefix(dtype, "<U") {
		for ; len(data) >= 4; data = data[4:] {
			a.text += string(rune(binary.LittleEndian.Uint32(data)))
		}
		return a
	}
	for len(data) > 0 {
		var v float64
		switch dtype {
		case "<f4":
			v, data = float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), data[4:]
		case "<f8":
			v, data = math.Float64frombits(binary.LittleEndian.Uint64(data)), data[8:]
		case "<i8":
			v, data = float64(int64(binary.LittleEndian.Uint64(data))), data[8:]
		case "|u1":
			v, data = float64(data[0]), data[1:]
		default:
			t.Fatalf("npy type %s", dtype)
		}
		a.wide = append(a.wide, v)
		a.values = append(a.values, float32(v))
	}
	return a
}
