package sampler

import "fmt"

// Replay is recorded noise: the k-th draw of the run is the k-th array
// recorded, whatever its purpose. Values has the shape [k, Samples, Dim], or
// any shape that flattens to it. A batch whose First is not 0 reads its own
// samples' rows, so a recorded run may be replayed in parts.
type Replay struct {
	Values       []float32
	Samples, Dim int
}

func (r Replay) Normal(dst []float32, at Draw) error {
	if r.Samples <= 0 || r.Dim <= 0 || len(r.Values)%(r.Samples*r.Dim) != 0 {
		return fmt.Errorf("sampler: recorded noise has %d values, which are no draws of %d samples of %d values",
			len(r.Values), r.Samples, r.Dim)
	}
	if at.Dim != r.Dim {
		return fmt.Errorf("sampler: recorded noise is for samples of %d values, not %d", r.Dim, at.Dim)
	}
	n := len(dst) / at.Dim
	if have := uint64(r.Samples); at.First > have || uint64(n) > have-at.First {
		return fmt.Errorf("sampler: recorded noise is for %d samples; sample %d is not among them",
			r.Samples, at.First+uint64(n)-1)
	}
	draw := r.Samples * r.Dim
	if have := len(r.Values) / draw; at.Seq < 0 || at.Seq >= have {
		return fmt.Errorf("sampler: recorded noise is exhausted: %d draws, and the run needs one more", have)
	}
	from := at.Seq*draw + int(at.First)*r.Dim
	copy(dst, r.Values[from:from+len(dst)])
	return nil
}

// Uniform replays like Normal: whoever recorded the draw knew what it was for.
func (r Replay) Uniform(dst []float32, at Draw) error { return r.Normal(dst, at) }
