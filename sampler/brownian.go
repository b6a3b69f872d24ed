package sampler

import (
	"fmt"
	"math"

	"sampleonnx/schedules"
)

// brownian is a path of Brownian motion W on the integers 0 … 2^brownianBits,
// as Lévy built it: a straight line, and on every dyadic interval a hat whose
// height is a normal of its own,
//
//	W(n) = z_0 n/√N + Σ_levels z_node · √w/2 · (1 − |n−mid|/(w/2))
//
// where w is the interval's width. A node's normal is a function of its id, so
// the path is the same whatever the places it is looked at and their order;
// increments over integers are exactly normal and exactly independent. There is
// one path for every value of every sample.
//
// The normals along the way from the root to the last place are kept: a walk
// in small steps draws only what lies below the first interval that parts one
// place from the next.
type brownian struct {
	at   uint32
	id   [brownianBits + 1]uint32 // of the nodes kept, 0 for none; the line is node 1
	node [brownianBits + 1][]float32
	sum  []float64
	run  uint32 // paths drawn before
}

const (
	brownianBits = 17
	brownianEnd  = 1 << brownianBits
)

// hat is the node of a level whose interval holds n (or ends there, if n is
// the end), and the value its hat has at n. Level 0 is the line.
func hat(level int, n uint32) (id uint32, value float64) {
	if level == 0 {
		return 1, float64(n) / math.Sqrt(brownianEnd)
	}
	shift := brownianBits - level + 1
	k := min(n, brownianEnd-1) >> shift
	half := float64(uint32(1) << (shift - 1))
	mid := float64(k<<shift) + half
	return 2<<(level-1) + k, math.Sqrt(2*half) / 2 * (1 - math.Abs(float64(n)-mid)/half)
}

// start forgets the last path and begins another at place n.
func (p *brownian) start(n uint32, size int, run uint32) {
	p.at, p.run = n, run
	clear(p.id[:])
	p.sum = grow(p.sum, size)
	for level := range p.node {
		p.node[level] = grow(p.node[level], size)
	}
}

// moveTo sets sum to W(n) − W(at), and at to n. Whoever walks down draws every
// node once; whoever goes back may draw one again.
func (p *brownian) moveTo(n uint32, draw func(dst []float32, id uint32) error) error {
	clear(p.sum)
	for level := range p.node {
		from, vFrom := hat(level, p.at)
		to, vTo := hat(level, n)
		if from == to {
			if vTo != vFrom {
				if err := p.add(level, to, vTo-vFrom, draw); err != nil {
					return err
				}
			}
			continue
		}
		if vFrom != 0 {
			if err := p.add(level, from, -vFrom, draw); err != nil {
				return err
			}
		}
		if vTo != 0 {
			if err := p.add(level, to, vTo, draw); err != nil {
				return err
			}
		}
	}
	p.at = n
	return nil
}

func (p *brownian) add(level int, id uint32, c float64, draw func(dst []float32, id uint32) error) error {
	z := p.node[level][:len(p.sum)]
	if p.id[level] != id {
		if err := draw(z, p.run<<(brownianBits+1)|id); err != nil {
			return err
		}
		p.id[level] = id
	}
	sum := p.sum
	for i, v := range z {
		sum[i] += float64(c * float64(v))
	}
	return nil
}

// The stochastic samplers on a ladder read the path in ln σ from −16 to 16, in
// steps of 2^−12.
const (
	pathFrom = -16
	pathUnit = 32. / brownianEnd
)

// place is where σ stands on the path.
func place(sigma float64) (uint32, error) {
	n := math.Floor(float64((schedules.Log(sigma)-pathFrom)/pathUnit) + 0.5)
	if !(n >= 0 && n <= brownianEnd) {
		return 0, fmt.Errorf("sampler: the noise level %g is beyond the Brownian path, which is from e^-16 to e^16", sigma)
	}
	return uint32(n), nil
}

// embark begins a path at σ. A run's first path is its seed's, whatever the
// ladder; another run on the same batch without a new start takes another.
func (b *Batch) embark(sigma float64) error {
	const paths = 1 << (32 - brownianBits - 1)
	n, err := place(sigma)
	if err != nil {
		return err
	}
	run := b.drawn[PurposeBrownian]
	if run >= paths {
		return fmt.Errorf("sampler: %d runs on one batch without a new start", paths)
	}
	b.drawn[PurposeBrownian]++
	b.path.start(n, b.len(), run)
	return nil
}

// travel goes along the path to σ. It leaves W's increment, divided by the
// root of its variance, in z, and returns that root.
func (b *Batch) travel(sigma float64) (root float64, err error) {
	n, err := place(sigma)
	if err != nil {
		return 0, err
	}
	p := &b.path
	gap := float64(p.at) - float64(n)
	if gap < 1 {
		return 0, fmt.Errorf("sampler: levels as close as those at %g cannot be told apart on the Brownian path; set Independent", sigma)
	}
	err = p.moveTo(n, func(dst []float32, id uint32) error {
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
