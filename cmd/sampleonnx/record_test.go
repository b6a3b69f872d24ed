package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/stats"
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
	out := must(t, "verify", model("mixture2"), file, "--record", samples, "--entry", "mixture2_ald")
	if !strings.Contains(out, "statistics of 20000 samples") {
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
	must(t, "verify", model("digits_empirical"), file, "--record", samples)
	var s goldenStats
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil || s.N != 4100 || len(s.Counts) != 100 || s.Counts[17] != 41 {
		t.Errorf("%v: %d, %v", err, s.N, s.Counts)
	}
	copyFile(t, filepath.Join(golden, "digits_ncsnv2_ald_stats.json"), file)
	must(t, "verify", model("digits_ncsnv2"), file, "--record", samples)
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
