package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"sampleonnx/sampler"
)

// progress tells on stderr how far a run is: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	w       io.Writer
	mode    string // bar, plain or none
	samples int    // asked for
	now     func() time.Time

	mu     sync.Mutex
	start  time.Time
	shown  time.Time
	width  int // of the bar that is on the screen
	finish bool
}

// progressMode resolves auto.
func progressMode(asked string, quiet bool, w io.Writer) string {
	switch {
	case quiet:
		return "none"
	case asked != "auto":
		return asked
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return "bar"
	}
	return "plain"
}

func newProgress(w io.Writer, mode string, samples int) *progress {
	return &progress{w: w, mode: mode, samples: samples, now: time.Now, start: time.Now()}
}

// step reports that a part of the whole run is over, the batch at the point at, and ready samples finished.
func (p *progress) step(part float64, at sampler.Progress, ready int) {
	if p.mode == "none" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := 5 * time.Second
	if p.mode == "bar" {
		interval = 100 * time.Millisecond
	}
	now := p.now()
	if p.finish || now.Sub(p.start) < interval/5 || !p.shown.IsZero() && now.Sub(p.shown) < interval {
		return
	}
	p.shown = now
	p.print(p.line(part, at, ready, now.Sub(p.start)))
}

func (p *progress) line(part float64, at sampler.Progress, ready int, spent time.Duration) string {
	part = min(max(part, 0), 1)
	line := fmt.Sprintf("%3.0f%%", 100*part)
	if p.mode == "bar" {
		full := int(24 * part)
		line += " [" + strings.Repeat("=", full) + strings.Repeat(" ", 24-full) + "]"
	}
	line += fmt.Sprintf(" step %d", at.Step)
	if at.Steps > 0 { // an adaptive solver does not know
		line += fmt.Sprintf("/%d", at.Steps)
	}
	line += fmt.Sprintf(" · %d/%d samples", ready, p.samples)
	if part > 1e-6 { // before, it is a guess of years
		line += " · ETA " + brief(time.Duration(float64(spent)*(1-part)/part))
	}
	return line
}

func (p *progress) print(line string) {
	if p.mode != "bar" {
		fmt.Fprintln(p.w, line)
		return
	}
	n := len([]rune(line))
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-n)))
	p.width = n
}

// done takes the bar off the screen; nothing is reported afterwards.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == "bar" && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
	}
	p.finish = true
}

func brief(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
