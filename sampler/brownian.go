package sampler

import (
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// brownian is a path of Brownian motion W on the integers 0 … N = 2^brownianBits,
// as Lévy built it: a straight line, and on every dyadic interval a hat whose
// height is a normal of its own,
//
//	W(n) = √N z_0 n/N + Σ_levels √w/2 z_node (1 − |n−mid|/(w/2))
//
// where w is the interval's width. A node's normal is a function of its id, so
// the path is the same whatever the places it is looked at and their order;
// increments over integers are exactly normal and exactly independent. There is
// one path for every value of every sample.
//
// An integer that 2^k divides is an end of all intervals up to that width, and
// their hats are 0 there: what a walk costs is the depth of the places it stops
// at, not that of the path. The normals along the way from the root to the last
// place are kept: a walk in small steps draws only what lies below the first
// interval that parts one place from the next.
type brownian struct {
	at    uint64
	grain uint64                   // what the places on a ladder are multiples of
	id    [brownianBits + 1]uint64 // of the nodes kept, 0 for none; the line is node 1
	node  [brownianBits + 1][]float32
	sum   []float64
	run   uint64 // paths drawn before
}

const (
	brownianBits = 41
	brownianEnd  = 1 << brownianBits
	brownianRuns = 1 << (64 - brownianBits - 1)
)

// hat is the node of a level whose interval holds n (or ends there, if n is
// the end), and what part of its height its hat has at n, exactly. Level 0 is
// the line.
func hat(level int, n uint64) (id uint64, part float64) {
	if level == 0 {
		return 1, float64(n) / brownianEnd
	}
	shift := brownianBits - level + 1
	k := min(n, brownianEnd-1) >> shift
	half := uint64(1) << (shift - 1)
	return 1<<level + k, 1 - math.Abs(float64(n)-float64(k<<shift+half))/float64(half)
}

// start forgets the last path and begins another at place n.
func (p *brownian) start(n uint64, size int, run uint64) {
	p.at, p.run = n, run
	clear(p.id[:])
	p.sum = grow(p.sum, size)
}

// moveTo sets sum to W(n) − W(at), and at to n. Whoever walks down draws every
// node once; whoever goes back may draw one again.
func (p *brownian) moveTo(n uint64, draw func(dst []float32, id uint64) error) error {
	clear(p.sum)
	for level := range p.node {
		height, width := math.Sqrt(brownianEnd), uint64(brownianEnd)
		if level > 0 {
			width >>= level - 1
			height = math.Sqrt(float64(width)) / 2
			if (n|p.at)&(width-1) == 0 {
				break // both are ends of intervals from here on
			}
		}
		from, partFrom := hat(level, p.at)
		to, partTo := hat(level, n)
		if from == to {
			partTo -= partFrom
			partFrom = 0
		}
		if partFrom != 0 {
			if err := p.add(level, from, -height*partFrom, draw); err != nil {
				return err
			}
		}
		if partTo != 0 {
			if err := p.add(level, to, height*partTo, draw); err != nil {
				return err
			}
		}
	}
	p.at = n
	return nil
}

func (p *brownian) add(level int, id uint64, c float64, draw func(dst []float32, id uint64) error) error {
	sum := p.sum
	p.node[level] = grow(p.node[level], len(sum))
	z := p.node[level]
	if p.id[level] != id {
		if err := draw(z, p.run<<(brownianBits+1)|id); err != nil {
			return err
		}
		p.id[level] = id
	}
	for i, v := range z {
		sum[i] += float64(c * float64(v))
	}
	return nil
}

// The stochastic samplers on a ladder read the path in ln σ from −16 to 16, at
// multiples of 2^−12, or on ladders with smaller steps of a smaller power of 2
// as far as the path has units.
const (
	pathFrom  = -16
	pathUnit  = 32. / brownianEnd
	pathGrain = brownianEnd >> 17
)

// place is where σ stands on the path.
func (p *brownian) place(sigma float64) (uint64, error) {
	n := math.Floor(float64((schedules.Log(sigma)-pathFrom)/(pathUnit*float64(p.grain)))+0.5) * float64(p.grain)
	if !(n >= 0 && n <= brownianEnd) {
		return 0, fmt.Errorf("sampler: the noise level %g is beyond the Brownian path, which is from e^-16 to e^16", sigma)
	}
	return uint64(n), nil
}

// embark begins a path for a walk down a ladder with so many stops a step. A
// run's first path is its seed's, whatever the ladder; another run on the same
// batch without a new start takes another.
func (b *Batch) embark(sigmas []float64, stops int) error {
	p := &b.path
	p.grain = pathGrain
	for i, t := range sigmas[1:] {
		// A stop is an eighth of the way to the next off its place, or less.
		for t > 0 && p.grain > 1 && schedules.Log(sigmas[i]/t) < 4*pathUnit*float64(p.grain)*float64(stops) {
			p.grain /= 2
		}
	}
	n, err := p.place(sigmas[0])
	if err != nil {
		return err
	}
	run, err := b.nextPath()
	p.start(n, b.len(), run)
	return err
}

// nextPath counts the run's paths.
func (b *Batch) nextPath() (run uint64, err error) {
	run = uint64(b.drawn[PurposeBrownian])
	if run >= brownianRuns {
		return 0, fmt.Errorf("sampler: %d runs on one batch without a new start", brownianRuns)
	}
	b.drawn[PurposeBrownian]++
	return run, nil
}

// travel goes along the path to σ. It leaves W's increment, divided by the
// root of its variance, in z, and returns that root.
func (b *Batch) travel(sigma float64) (root float64, err error) {
	p := &b.path
	n, err := p.place(sigma)
	if err != nil {
		return 0, err
	}
	gap := float64(p.at) - float64(n)
	if gap < 1 {
		return 0, fmt.Errorf("sampler: levels as close as those at %g cannot be told apart on the Brownian path; set Independent", sigma)
	}
	err = p.moveTo(n, func(dst []float32, id uint64) error {
		at := Draw{Purpose: PurposeBrownian, Index: id, Seq: b.Draws, First: b.First, Dim: b.Dim}
		b.Draws++
		return b.noise().Normal(dst, at)
	})
	if err != nil {
		return 0, err
	}
	root = math.Sqrt(gap)
	if w := b.wide; w != nil {
		scale(w.z, p.sum, 1/root)
	} else {
		scale(b.z, p.sum, 1/root)
	}
	return root, nil
}
