package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sampleonnx/sampler"
)

func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	for mode, want := range map[string]string{
		"none":  "",
		"plain": " 20% step 20/100 · 0/8 samples · ETA 40s\n 40% step 40/100 · 0/8 samples · ETA 30s\n",
		"bar":   "\r 20% [====                    ] step 20/100 · 0/8 samples · ETA 40s",
	} {
		var b bytes.Buffer
		p := &progress{w: &b, mode: mode, samples: 8, now: func() time.Time { return clock }}
		p.start = clock
		for i := 1; i <= 2; i++ {
			clock = clock.Add(10 * time.Second)
			p.step(float64(i)/5, sampler.Progress{Step: 20 * i, Steps: 100}, 0)
			p.step(float64(i)/5, sampler.Progress{Step: 20 * i, Steps: 100}, 0) // too soon to show again
		}
		p.done()
		p.step(1, sampler.Progress{Step: 100, Steps: 100}, 8)
		if got := b.String(); !strings.HasPrefix(got, want) || mode != "bar" && got != want {
			t.Errorf("%s: %q, want %q", mode, got, want)
		}
		if mode == "bar" && !strings.HasSuffix(b.String(), " \r") {
			t.Errorf("the bar is still there: %q", b.String())
		}
	}
	var b bytes.Buffer
	for asked, want := range map[string]string{"auto": "plain", "bar": "bar", "none": "none"} {
		if got := progressMode(asked, false, &b); got != want {
			t.Errorf("%s: %s, want %s", asked, got, want)
		}
	}
	if progressMode("bar", true, &b) != "none" {
		t.Error("not quiet")
	}
	for d, want := range map[time.Duration]string{1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 125 * time.Second: "2m05s", 2*time.Hour + 3*time.Minute: "2h03m"} {
		if got := brief(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
