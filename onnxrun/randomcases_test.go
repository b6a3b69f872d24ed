package onnxrun_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A deviation is a kind of case in which onnxruntime does something else, for a
// reason.
type deviation struct {
	words  []string // all are in the case's description; the first is the operator
	reason string
	seen   int
}

func readDeviations(t *testing.T) []deviation {
	var list []deviation
	for _, r := range readTSV(t, "deviations.tsv", 3) {
		list = append(list, deviation{append([]string{r[0]}, strings.Fields(r[1])...), r[2], 0})
	}
	return list
}

func (d *deviation) covers(description string) bool {
	words := strings.Fields(description)
	op, _, _ := strings.Cut(words[0], "-")
	for i, w := range d.words {
		if i == 0 && w != op && w != words[0] || i > 0 && !slices.Contains(words, w) {
			return false
		}
	}
	return true
}

// TestRandomCases runs the random models that random_ort.py wrote, with
// onnxruntime's results, into the folder named by SAMPLEONNX_RANDOM_CASES. What
// differs must be explained by deviations.tsv.
func TestRandomCases(t *testing.T) {
	dir := os.Getenv("SAMPLEONNX_RANDOM_CASES")
	if dir == "" {
		t.Skip("set SAMPLEONNX_RANDOM_CASES to a folder that testdata/conformance/random_ort.py has written")
	}
	data, err := os.ReadFile(filepath.Join(dir, "cases.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	deviations := readDeviations(t)
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	var mu sync.Mutex
	var wg sync.WaitGroup
	agree, explained, wrong := 0, 0, 0
	next := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for line := range next {
				name, description, _ := strings.Cut(line, "\t")
				err := runCase(filepath.Join(dir, name))
				mu.Lock()
				i := slices.IndexFunc(deviations, func(d deviation) bool { return d.covers(description) })
				switch {
				case err == nil:
					agree++
				case i >= 0:
					explained++
					deviations[i].seen++
				default:
					wrong++
					t.Errorf("%s: %s: %v", name, description, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, line := range lines {
		next <- line
	}
	close(next)
	wg.Wait()
	t.Logf("%d cases: %d agree, %d deviate as is known of onnxruntime, %d are wrong", len(lines), agree, explained, wrong)
	for _, d := range deviations {
		t.Logf("%5d %s: %s", d.seen, strings.Join(d.words, " "), d.reason)
	}
}
