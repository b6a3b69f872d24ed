package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
)

// message encodes protobuf fields by hand: numbers, and text or nested messages.
type message struct{ b []byte }

func (m *message) number(field int, v uint64) *message {
	m.b = binary.AppendUvarint(m.b, uint64(field)<<3)
	m.b = binary.AppendUvarint(m.b, v)
	return m
}

func (m *message) bytes(field int, v []byte) *message {
	m.b = binary.AppendUvarint(m.b, uint64(field)<<3|2)
	m.b = binary.AppendUvarint(m.b, uint64(len(v)))
	m.b = append(m.b, v...)
	return m
}

func (m *message) text(field int, v string) *message { return m.bytes(field, []byte(v)) }

// vector is a value_info of float32[?,2].
func vector(name string) []byte {
	dims := new(message).bytes(1, new(message).text(2, "B").b).bytes(1, new(message).number(1, 2).b)
	tensor := new(message).number(1, 1).bytes(2, dims.b)
	return new(message).text(1, name).bytes(2, new(message).bytes(1, tensor.b).b).b
}

// tinyModel is y = op(x, w), with w a constant of two floats: in place, or in an external file.
func tinyModel(op, external string, metadata map[string]string) []byte {
	w := new(message).number(1, 2).number(2, 1).text(8, "w")
	if external == "" {
		w.bytes(9, []byte{0, 0, 0x80, 0xbf, 0, 0, 0x80, 0xbf}) // −1, −1
	} else {
		w.bytes(13, new(message).text(1, "location").text(2, external).b).number(14, 1)
	}
	node := new(message).text(1, "x").text(1, "w").text(2, "y").text(3, "only").text(4, op)
	graph := new(message).bytes(1, node.b).text(2, "g").bytes(5, w.b).bytes(11, vector("x")).bytes(12, vector("y"))
	m := new(message).number(1, 8).bytes(7, graph.b).bytes(8, new(message).number(2, 17).b)
	for k, v := range metadata {
		m.bytes(14, new(message).text(1, k).text(2, v).b)
	}
	return m.b
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(model("swissroll"))
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 5000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	array := func(shape ...int) []byte {
		var b bytes.Buffer
		if err := npy.Write(&b, npy.Array{Shape: shape, Data: make([]float32, elements(shape))}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	good := model("gaussian4")
	card := put("card.onnx", tinyModel("Mul", "", nil))
	put("card.score.json", []byte(`{"score": 1, "sigma": 3}`))
	out := filepath.Join(dir, "out.npy")
	if err := os.Mkdir(filepath.Join(dir, "pipeline"), 0o777); err != nil {
		t.Fatal(err)
	}
	beside := put("pipeline/model.onnx", tinyModel("Mul", "", nil))
	put("pipeline/scheduler_config.json", []byte(`{"_class_name": "DDIMScheduler", "prediction_type": "score"}`))
	recordedStats, err := os.ReadFile(filepath.Join(golden, "stats.json"))
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		code int
		want string
		args []string
	}{
		{"no arguments", exitUsage, "no model", nil},
		{"two models", exitUsage, "want one model", []string{good, good}},
		{"unknown flag", exitUsage, "unknown flag: --smaples", []string{good, "--smaples", "3"}},
		{"no such file", exitModel, "no such file", []string{filepath.Join(dir, "none.onnx")}},
		{"directory", exitModel, "", []string{dir}},
		{"truncated", exitModel, "truncated.onnx", []string{put("truncated.onnx", whole[:len(whole)/2])}},
		{"empty", exitModel, "empty.onnx", []string{put("empty.onnx", nil)}},
		{"random", exitModel, "random.onnx", []string{put("random.onnx", noise)}},
		{"text", exitModel, "text.onnx", []string{put("text.onnx", []byte("<!DOCTYPE html><html>not a model</html>\n"))}},
		{"pickle", exitModel, "pickle.onnx", []string{put("pickle.onnx", []byte("PK\x03\x04 and so on, a PyTorch file"))}},
		{"external data missing", exitModel, "weights.bin", []string{put("external.onnx", tinyModel("Mul", "weights.bin", nil))}},
		{"external data outside", exitModel, "external", []string{put("outside.onnx", tinyModel("Mul", "../../etc/passwd", nil))}},
		{"unknown operator", exitModel, "Frobnicate", []string{put("unknown.onnx", tinyModel("Frobnicate", "", nil))}},
		{"no card", exitUsage, "--sde ve|vp", []string{put("bare.onnx", tinyModel("Mul", "", nil))}},
		{"half a card", exitUsage, "--sigma-max", []string{put("half.onnx", tinyModel("Mul", "", nil)), "--sde", "ve", "--sigma-min", "1"}},
		{"bad card", exitModel, `unknown key "sigma"`, []string{card}},
		{"bad metadata", exitModel, "metadata score.levels", []string{put("meta.onnx", tinyModel("Mul", "", map[string]string{"score.levels": "many"}))}},
		{"bad set", exitUsage, "want KEY=VALUE", []string{good, "--set", "shape"}},
		{"unknown key", exitUsage, `did you mean "sigma_max"`, []string{good, "--set", "sgima_max=3"}},
		{"wrong shape", exitUsage, "shape [5] does not fit", []string{good, "--set", "shape=5"}},
		{"sampler", exitUsage, "is not one of ald, langevin, pc, ode", []string{good, "--sampler", "leapfrog"}},
		{"schedule", exitUsage, "is not one of karras", []string{good, "--sampler", "euler", "--schedule", "x"}},
		{"useless schedule", exitUsage, "--schedule is of no use to --sampler ald", []string{good, "--schedule", "karras"}},
		{"useless eta", exitUsage, "--eta is of no use to --sampler heun", []string{good, "--sampler", "heun", "--eta", "1"}},
		{"negative eta", exitUsage, "want 0 or more", []string{good, "--sampler", "ddim", "--eta", "-1"}},
		{"no noise", exitUsage, "is for noise above 0", []string{good, "--sampler", "dpmpp_sde", "--eta", "0"}},
		{"order", exitUsage, "has orders 1 to 3", []string{good, "--sampler", "unipc", "--set", "sampler.order=4"}},
		{"solver", exitUsage, "has bh1 and bh2", []string{good, "--sampler", "unipc", "--set", "sampler.solver=heun"}},
		{"a bound without a threshold", exitUsage, "of no use without", []string{good, "--sampler", "deis", "--set", "sampler.threshold_max=2"}},
		{"threshold", exitUsage, "above 0, at most 1", []string{good, "--sampler", "deis", "--set", "sampler.threshold=2"}},
		{"lower", exitUsage, "more than 0, or -1", []string{good, "--sampler", "deis", "--set", "sampler.lower=-2"}},
		{"steps of the adaptive solver", exitUsage, "the adaptive solver chooses", []string{good, "--sampler", "adaptive", "--steps", "10"}},
		{"one level", exitUsage, "2 levels or more", []string{good, "--sampler", "cas", "--steps", "1"}},
		{"rng", exitUsage, "want one of philox, torch, jax", []string{good, "--rng", "mt"}},
		{"rng in batches", exitUsage, "all 16 samples are one batch", []string{good, "--rng", "torch", "-b", "4"}},
		{"rng and noise", exitUsage, "of no use with --noise", []string{good, "--rng", "torch", "--noise", "x.npz"}},
		{"jax's rng and noise", exitUsage, "--rng jax is of no use with --noise", []string{good, "--rng", "jax", "--noise", "x.npz"}},
		{"jax's rng of the adaptive solver", exitUsage, "only --rng philox", []string{good, "--rng", "jax", "--sampler", "adaptive"}},
		{"steps of an adaptive sampler", exitUsage, "the adaptive solver chooses its steps", []string{good, "--sampler", "dpm_adaptive", "--steps", "9"}},
		{"rng of the adaptive solver", exitUsage, "only --rng philox", []string{good, "--rng", "torch", "--sampler", "adaptive"}},
		{"predictor", exitUsage, "is not one of euler_maruyama", []string{good, "--sampler", "pc", "--predictor", "x"}},
		{"corrector norm", exitUsage, "is not one of sample, dim, batch", []string{good, "--sampler", "pc", "--corrector-norm", "x"}},
		{"progress", exitUsage, "want one of auto, bar, plain, none", []string{good, "--progress", "loud"}},
		{"useless flag", exitUsage, "--snr is of no use to --sampler ald", []string{good, "--snr", "0.1"}},
		{"steps of the ODE", exitUsage, "the ODE solver chooses its steps", []string{good, "--sampler", "ode", "--steps", "10"}},
		{"no samples", exitUsage, "want 1 or more", []string{good, "-n", "0"}},
		{"too many samples", exitLimit, "(raise it with --limit data=", []string{good, "-n", "2000000000", "-o", out, "--set", "shape=4"}},
		{"eps", exitUsage, "want a number", []string{good, "--eps", "small"}},
		{"sigmas", exitUsage, "falling", []string{good, "--sigmas", "1,2,3"}},
		{"suffix", exitUsage, "must be .png, .npy, .npz or .csv", []string{good, "-o", filepath.Join(dir, "x.jpg")}},
		{"no picture", exitUsage, "a picture needs", []string{good, "-o", filepath.Join(dir, "x.png")}},
		{"picture of too many", exitUsage, "may have 268435456: use .npy", []string{model("digits_ncsnv2"), "-n", "100000", "-o", filepath.Join(dir, "x.png")}},
		{"no directory", exitFailed, "cannot write", []string{good, "-o", filepath.Join(dir, "none", "x.npy")}},
		{"trajectory", exitUsage, "the suffix must be", []string{good, "-o", out, "--trajectory", "x.txt"}},
		{"noise for others", exitUsage, "samples have [4]", []string{good, "-n", "2", "-o", out, "--noise", filepath.Join(golden, "mixture2_ald.npz")}},
		{"noise for fewer", exitUsage, "holds 16 samples, -n asks for 17", []string{good, "-n", "17", "-o", out, "--noise", filepath.Join(golden, "gaussian4_ald.npz")}},
		{"noise exhausted", exitFailed, "exhausted", []string{good, "-n", "2", "-o", out, "--steps-per-level", "30", "--noise", filepath.Join(golden, "gaussian4_ald.npz")}},
		{"not finite", exitFailed, "not finite", []string{good, "-n", "2", "-o", out, "--eps", "1e30"}},
		{"threads", exitUsage, "--threads -1", []string{good, "-t", "-1"}},

		{"run: no input", exitUsage, "0 of 2 inputs given", []string{"run", good}},
		{"run: unknown input", exitUsage, `no input "y"`, []string{"run", good, "-i", "y=" + put("y.npy", array(1, 4))}},
		{"run: wrong shape", exitUsage, "shape", []string{"run", good, "-i", "x=" + put("x5.npy", array(1, 5)), "-i", "sigma=" + put("s1.npy", array(1))}},
		{"run: wrong type", exitUsage, "want integers", []string{"run", model("digits_ncsnv2"), "-i", "x=" + put("x28.npy", array(1, 1, 28, 28)), "-i", "level=" + put("l.npy", array(1))}},
		{"run: no npy", exitFailed, "not an .npy file", []string{"run", good, "-i", "x=" + put("zero.npy", nil)}},
		{"run: suffix", exitUsage, "must be .npz or .npy", []string{"run", good, "-o", "y.txt"}},
		{"bench: batch", exitUsage, "--batch 0", []string{"bench", good, "-b", "0"}},
		{"bench: shape", exitUsage, "no such input", []string{"bench", good, "--shape", "q=1"}},
		{"ddpm without a chain", exitUsage, "--set beta_min=0.0001", []string{good, "--sde", "ddpm"}},
		{"betas of vp for ddpm", exitUsage, "between 0 and 1; those of sde vp are 1000 times as large", []string{good, "--sde", "ddpm", "--set", "levels=1000", "--set", "beta_min=0.1", "--set", "beta_max=20"}},
		{"betas and levels", exitUsage, "levels is 3, but there are 2 betas", []string{good, "--sde", "ddpm", "--set", "levels=3", "--set", "betas=0.1,0.2"}},
		{"a beta", exitUsage, "element 1 is 2", []string{good, "--set", "betas=0.1,2"}},
		{"flow off its path", exitUsage, "output flow with sde ve", []string{good, "--set", "output=flow"}},
		{"F of VP", exitUsage, "output edm_F with sde vp", []string{good, "--set", "output=edm_F", "--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--set", "sigma_data=1"}},
		{"v of VE", exitUsage, "output v with sde ve and c_in none", []string{good, "--set", "output=v"}},
		{"no sigma_data", exitUsage, "--set sigma_data=0.5", []string{good, "--set", "output=edm_F"}},
		{"c_in of flow", exitUsage, "c_in edm with sde flow", []string{good, "--sde", "flow", "--set", "output=flow", "--set", "c_in=edm", "--set", "sigma_data=1"}},
		{"betas of VE", exitUsage, "betas with sde ve", []string{good, "--set", "betas=0.1,0.2"}},
		{"mean", exitUsage, "mean has 3 numbers: want one, or one for each channel or element", []string{good, "--set", "mean=1,2,3"}},
		{"logit_alpha", exitUsage, "want a number from 0 to below 0.5", []string{good, "--set", "logit_alpha=0.5"}},
		{"levels of no ladder", exitUsage, "was trained at all levels of vp", []string{good, "--sde", "vp", "--set", "beta_min=0.1", "--set", "beta_max=20", "--sampler", "euler", "--schedule", "index"}},
		{"more steps than levels", exitUsage, "the network was trained at 20 levels", []string{good, "--sampler", "euler", "--schedule", "index", "--steps", "30"}},
		{"spacing", exitUsage, "is not one of linspace, leading, trailing", []string{good, "--sampler", "euler", "--set", "sampler.spacing=even"}},
		{"useless shift", exitUsage, "--set shift is of no use to --sampler ald", []string{good, "--set", "shift=3"}},
		{"scheduler_config.json", exitModel, "prediction_type \"score\" is no output", []string{beside}},
		{"loss: no data", exitUsage, "want a model and data", []string{"loss", good}},
		{"loss: shape", exitUsage, "samples have [4]", []string{"loss", good, put("d5.npy", array(3, 5))}},
		{"loss: levels", exitUsage, "--levels 0", []string{"loss", good, put("d4.npy", array(3, 4)), "--levels", "0"}},
		{"loss: two arrays", exitUsage, "want one file of samples", []string{"loss", good, "a.npy", "b.npy"}},
		{"loss: no picture", exitFailed, "not a PNG image", []string{"loss", good, put("no.png", []byte("text"))}},
		{"loss: output", exitUsage, "the suffix must be .png", []string{"loss", good, "d.npy", "-o", "x.txt"}},
		{"loss: another law", exitUsage, "its samples have shape [2]", []string{"loss", good, put("e4.npy", array(3, 4)), "--exact-score", model("mixture2")}},
		{"inspect: data without --probe", exitUsage, "--data is of use to --probe alone", []string{"inspect", good, "--data", "x.npy"}},
		{"inspect: no data", exitFailed, "no such file", []string{"inspect", good, "--probe", "--data", filepath.Join(dir, "none.npy")}},
		{"verify: record what", exitUsage, "is no file of statistics", []string{"verify", good, filepath.Join(golden, "gaussian4_ald.npz"), "--record", "x.npy"}},
		{"verify: record which", exitUsage, "gaussian4_ald, gaussian4_pc_ve_em", []string{"verify", good, put("stats.json", recordedStats), "--record", "x.npy"}},
		{"verify: record too few", exitUsage, "3 samples, but gaussian4_ald has the statistics of 20000", []string{"verify", good, put("stats2.json", recordedStats), "--entry", "gaussian4_ald", "--record", put("f4.npy", array(3, 4))}},
		{"verify: entry alone", exitUsage, "--entry is of use to --record alone", []string{"verify", good, filepath.Join(golden, "stats.json"), "--entry", "gaussian4_ald"}},
		{"verify: other model", exitUsage, "was recorded with", []string{"verify", good, filepath.Join(golden, "swissroll_ald.npz")}},
		{"verify: no golden", exitFailed, "no such file", []string{"verify", good, filepath.Join(dir, "none.npz")}},
		{"verify: wrong kind", exitUsage, "neither meta", []string{"verify", good, filepath.Join(models, "gaussian4.law.npz")}},
		{"verify: no statistics", exitUsage, "no statistics of", []string{"verify", model("digits_ncsnpp_ve"), filepath.Join(golden, "stats.json")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := files(t, dir)
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || stdout != "" {
				t.Errorf("exit %d, want %d; stdout %q", code, c.code, stdout)
			}
			if !strings.Contains(stderr, c.want) {
				t.Errorf("stderr %q, want %q", stderr, c.want)
			}
			if last := strings.Split(strings.TrimRight(stderr, "\n"), "\n"); len(last) != 1 || !strings.HasPrefix(last[len(last)-1], "sampleonnx: ") {
				t.Errorf("not one line: %q", stderr)
			}
			if after := files(t, dir); len(after) != len(before) {
				t.Errorf("left behind: %v", after)
			}
		})
	}
}

func TestUnwritableOutput(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("this user can write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := command(t, model("gaussian4"), "-n", "1", "-o", filepath.Join(dir, "x.npy"))
	if code != exitFailed || !strings.Contains(stderr, "cannot write") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
