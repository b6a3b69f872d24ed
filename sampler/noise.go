package sampler

// Noise is where a run's random numbers come from: [Philox], or [Replay] for
// numbers recorded elsewhere. Both fill dst with the samples at.First,
// at.First+1, … of at.Dim values each.
type Noise interface {
	Normal(dst []float32, at Draw) error  // N(0,1)
	Uniform(dst []float32, at Draw) error // uniform on [0,1)
}

// A Draw names one array of random numbers, one row a sample.
type Draw struct {
	Purpose Purpose
	Index   uint64 // counts the run's draws for this purpose, or names a node of a path
	Seq     int    // counts all the run's draws, in the order they are taken
	First   uint64 // global index of the first sample in dst
	Dim     int    // values a sample
}

// A Purpose keeps the draws of one part of an algorithm apart from those of
// another, so that adding correctors leaves the predictors' noise alone, and
// what is measured of samples with their own seed is not measured with their
// own noise. The numbers are part of the random stream: they are never reused,
// and those from 128 on are free for Steps written elsewhere.
type Purpose uint8

const (
	PurposeInit       Purpose = 0 // the starting state
	PurposePredictor  Purpose = 1 // a step in time, or a level's noise
	PurposeCorrector  Purpose = 2 // a Langevin step
	PurposeChurn      Purpose = 3 // noise added before a step (Karras et al. 2022; the spread of Mardani et al. 2023)
	PurposeBrownian   Purpose = 4 // the nodes of a Brownian path
	PurposeKnown      Purpose = 5 // noise added to what is known of the data
	PurposeHutchinson Purpose = 6 // the vectors of a trace's estimate (Hutchinson; Skilling)
)
