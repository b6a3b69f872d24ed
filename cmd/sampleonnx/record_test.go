package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/card"
	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/sampler/stats"
)

// Recording replaces the numbers of one entry and no other byte; what was recorded verifies.
func TestRecordStatistics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stats.json")
	copyFile(t, filepath.Join(golden, "stats.json"), file)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	samples := filepath.Join(t.TempDir(), "x.npy")
	must(t, model("mixture2"), "-q", "-n", "20000", "-s", "8", "-o", samples)
	out := must(t, "verify", model("mixture2"), file, "--record", samples, "--entry", "mixture2_ald", "--replace")
	if !strings.Contains(out, "statistics of 20000 samples of x.npy (") || !strings.Contains(out, "does not say how they were drawn") {
		t.Error(out)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var was, is map[string]map[string]any
	if err := json.Unmarshal(before, &was); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(after, &is); err != nil {
		t.Fatal(err)
	}
	x := floats(t, readNPY(t, samples))
	m := stats.MomentsOf(float64s(x), 2)
	got := is["mixture2_ald"]
	if mean, variance := got["mean"].([]any), got["var"].([]any); mean[1] != m.Mean[1] || variance[0] != m.Variance[0] || got["n"] != 20000.0 {
		t.Errorf("%v, want %+v", got, m)
	}
	cov := got["cov"].([]any)[0].([]any)
	if d := math.Abs(cov[0].(float64) - m.Variance[0]); d > 1e-9 {
		t.Errorf("covariance is off by %v", d)
	}
	if from, to := was["mixture2_ald"]["meta"], got["meta"]; !sameJSON(from, to) {
		t.Error("meta changed")
	}
	delete(was, "mixture2_ald")
	delete(is, "mixture2_ald")
	if !sameJSON(was, is) || !bytes.HasPrefix(after, before[:bytes.Index(before, []byte(`"n"`))]) {
		t.Error("more changed than the entry")
	}
}

// What is recorded is not replaced unasked; what replaces it may be drawn for the purpose, and says of which model, with which settings and seed; and such a
// record can be begun, and verifies with other seeds.
func TestRecordDrawn(t *testing.T) {
	dir := t.TempDir()
	file, fresh := filepath.Join(dir, "stats.json"), filepath.Join(dir, "fresh_stats.json")
	copyFile(t, filepath.Join(golden, "stats.json"), file)
	args := []string{"verify", model("gaussian4"), file, "--record", "drawn", "--entry", "gaussian4_pc_ve_em", "-s", "9"}
	code, _, stderr := command(t, args...)
	if code != exitUsage || !strings.Contains(stderr, "has the statistics of 20000 samples of a run of pc; --replace puts others") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if out := must(t, append(args, "--replace")...); !strings.Contains(out, "statistics of 20000 samples, drawn here with seed 9 by the model ") {
		t.Error(out)
	}
	s := readEntry(t, file, "gaussian4_pc_ve_em")
	o := s.Recorded
	if o == nil || o.Samples != "drawn" || *o.Seed != 9 || o.N != s.N || len(o.Model) != 64 || !strings.Contains(string(o.Card), "euler_maruyama") {
		t.Errorf("%+v", o)
	}
	first := s.Mean
	must(t, append(args, "--replace")...)
	if again := readEntry(t, file, "gaussian4_pc_ve_em"); !slices.Equal(again.Mean, first) {
		t.Error("the same seed gives other statistics")
	}
	if code, _, stderr = command(t, args...); !strings.Contains(stderr, "drawn here with seed 9") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	must(t, "verify", model("gaussian4"), file, "-n", "1000", "--progress", "none")

	// A new file, of the model's own sampler and of samples that say how they were drawn.
	if code, _, stderr = command(t, "verify", model("mixture2"), fresh, "--record", "drawn"); code != exitUsage || !strings.Contains(stderr, "--samples N") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	must(t, "verify", model("mixture2"), fresh, "--record", "drawn", "-n", "2000", "-s", "4")
	must(t, "verify", model("mixture2"), fresh, "--progress", "none")
	if code, _, stderr = command(t, "verify", model("mixture2"), fresh, "--record", "drawn", "-n", "2000"); code != exitUsage || !strings.Contains(stderr, "--replace") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	heun, plain := filepath.Join(dir, "heun.npz"), filepath.Join(dir, "plain.npy")
	must(t, model("mixture2"), "-q", "--sampler", "heun", "-n", "2000", "-s", "6", "-o", heun)
	must(t, model("mixture2"), "-q", "-n", "2000", "-s", "6", "-o", plain)
	if code, _, stderr = command(t, "verify", model("mixture2"), fresh, "--record", heun, "--replace"); code != exitUsage || !strings.Contains(stderr, "drawn from mixture2.onnx with --sampler heun, not from mixture2.onnx with ald") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	other := filepath.Join(dir, "heun_stats.json")
	if out := must(t, "verify", model("mixture2"), other, "--record", heun); !strings.Contains(out, "samples of heun.npz (") || !strings.Contains(out, "drawn with seed 6") {
		t.Error(out)
	}
	must(t, "verify", model("mixture2"), other, "--progress", "none")
	if code, _, stderr = command(t, "verify", model("mixture2"), filepath.Join(dir, "new.json"), "--record", plain); code != exitUsage || !strings.Contains(stderr, "does not say how they were drawn") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	// And of images, whose features are recorded.
	images := filepath.Join(dir, "digits_stats.json")
	must(t, "verify", model("digits_ncsnpp_ve"), images, "--record", "drawn", "-n", "2", "--progress", "none")
	if s := readEntry(t, images, ""); s.ImageMean == nil || s.ImageMean.N != 2 || s.Mean != nil {
		t.Errorf("%+v", s)
	}
}

// readEntry is the statistics of a file's entry, or of the file.
func readEntry(t *testing.T, file, name string) goldenStats {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	if name != "" {
		text = tree[name]
	}
	var s goldenStats
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Recorded samples, as the record beside them says they were drawn or their own meta does, are those of the same run with other seeds; another run's are not.
func TestVerifySamples(t *testing.T) {
	dir := t.TempDir()
	own, wrong := filepath.Join(dir, "own.npz"), filepath.Join(dir, "mixture2_ald_samples.npy")
	must(t, model("mixture2"), "-q", "--sampler", "heun", "-n", "500", "-s", "6", "-o", own)
	copyFile(t, filepath.Join(golden, "stats.json"), filepath.Join(dir, "stats.json"))
	must(t, model("mixture2"), "-q", "--sampler", "langevin", "-n", "500", "-o", wrong)
	names := []string{own, filepath.Join(golden, "gaussian4_ald_samples.npy"), filepath.Join(golden, "swissroll_pc_ve_samples.npy")}
	for _, name := range names {
		net := "mixture2"
		if name != own {
			net, _, _ = strings.Cut(filepath.Base(name), "_")
		}
		var r report
		if err := json.Unmarshal([]byte(must(t, "verify", model(net), name, "-n", "500", "--json", "--progress", "none")), &r); err != nil {
			t.Fatal(err)
		}
		if !r.OK || r.Kind != "samples" || r.Compared == nil || r.Compared.SamplesB != 500 || r.Compared.P < 1e-4 || len(r.Compared.Tests) < 10 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	code, out, stderr := command(t, "verify", model("mixture2"), wrong, "--alpha", "0.01", "--progress", "none")
	if code != exitFailed || !strings.Contains(out, "C2ST accuracy") || !strings.Contains(out, "DIFFERS") || !strings.Contains(stderr, "did not verify") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	alone := filepath.Join(dir, "alone.npy")
	copyFile(t, wrong, alone)
	if code, _, stderr := command(t, "verify", model("mixture2"), alone); code != exitUsage || !strings.Contains(stderr, "how its samples were drawn is not known") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	// Bytes are pictures, cut off at black and white.
	c := &card.Card{Range: []float64{-1, 1}}
	if got := asBytes(displayOf(c), []float32{-3, -1, 0.2, 1, 9}); !slices.Equal(got, []float32{0, 0, 153, 255, 255}) {
		t.Errorf("%v", got)
	}
	for _, dir := range places(t) { // 8-bit images of a trained network, where they are
		for _, path := range glob(t, filepath.Join(dir, "golden", "digits_ncsnv2_ald_samples.npz")) {
			if !testing.Short() {
				must(t, "verify", model("digits_ncsnv2"), path, "--alpha", "1e-6", "--progress", "none")
			}
		}
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// The features of images and the counts of an empirical law.
func TestRecordImages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.json")
	law, err := npy.ReadZipFile(t.Context(), filepath.Join(models, "digits_empirical.law.npz"))
	if err != nil {
		t.Fatal(err)
	}
	bytes, ok := law["digits"].Data.([]uint8)
	if !ok {
		t.Fatalf("digits are %T", law["digits"].Data)
	}
	x := make([]float32, 0, 41*len(bytes))
	for range 41 {
		for _, b := range bytes {
			x = append(x, float32(b)/255)
		}
	}
	samples := writeNPY(t, npy.Array{Shape: []int{4100, 1, 28, 28}, Data: x})
	copyFile(t, filepath.Join(golden, "digits_empirical_ald_stats.json"), file)
	must(t, "verify", model("digits_empirical"), file, "--record", samples, "--replace")
	var s goldenStats
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil || s.N != 4100 || len(s.Counts) != 100 || s.Counts[17] != 41 {
		t.Errorf("%v: %d, %v", err, s.N, s.Counts)
	}
	copyFile(t, filepath.Join(golden, "digits_ncsnv2_ald_stats.json"), file)
	must(t, "verify", model("digits_ncsnv2"), file, "--record", samples, "--replace")
	if text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	s = goldenStats{}
	if err := json.Unmarshal(text, &s); err != nil || s.ImageMean == nil || s.ImageMean.N != 4100 {
		t.Fatalf("%v: %+v", err, s)
	}
	f := 0.0
	for i := range 100 {
		f += features(x[i*784:(i+1)*784], []int{1, 28, 28})[1] / 100
	}
	if math.Abs(s.ImageStd.Mean[0]-f) > 1e-9 {
		t.Errorf("mean standard deviation %v, want %v", s.ImageStd.Mean[0], f)
	}
}
