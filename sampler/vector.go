package sampler

// The vector arithmetic of the samplers, the only code that knows how wide a
// state's numbers are. Coefficients and sums are float64 always, and a result
// is rounded once.

type float interface{ float32 | float64 }

// wide is a batch's state in float64. The tests set it: in float32, rounding
// would hide a wrong coefficient from the tenth digit on.
type wide struct {
	x, mean, score, z []float64
	field             func(dst, x, t []float64) error
}

// affine is mean = a·x + c·s, x = mean + r·z.
func affine[F float](mean, x, s, z []F, a, c, r float64) {
	mean, s, z = mean[:len(x)], s[:len(x)], z[:len(x)]
	for i, v := range x {
		m := float64(a*float64(v)) + float64(c*float64(s[i]))
		mean[i] = F(m)
		x[i] = F(m + float64(r*float64(z[i])))
	}
}

func scale[F, G float](dst []F, src []G, by float64) {
	for i, v := range src {
		dst[i] = F(by * float64(v))
	}
}

// squares is ‖x‖², summed in order.
func squares[F float](x []F) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	return sum
}

// nonFinite returns the index of the first NaN or infinity, or −1.
func nonFinite[F float](x []F) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
