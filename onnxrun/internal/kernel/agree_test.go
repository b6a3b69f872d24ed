package kernel

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
)

// agreed are digests of what the vector instruction sets compute: the same bits
// by each of them, here those that this machine has. A kernel that is to compute other bits has
// another digest, which the test prints; it must be the same on amd64 and arm64.
var agreed = map[string]uint64{
	"Add":                  0xfceb605e2fa426ab,
	"Sub":                  0x359128ddffd3ccfb,
	"Mul":                  0x9b34ce5470d1eb1e,
	"Div":                  0xb3af60453bb4b5dd,
	"Max":                  0x74185e6fa94eb526,
	"Min":                  0x47977f49071166d6,
	"AddScalar":            0x5a1759f29b4cb10d,
	"SubScalar":            0x4e579912c000c7ea,
	"RsubScalar":           0x9a11d0980be98bea,
	"MulScalar":            0x28b2b5e183ff4439,
	"DivScalar":            0x406d4fe1f5975816,
	"RdivScalar":           0x71d5cd5478be3eb2,
	"MaxScalar":            0x6d54bde53d447013,
	"MinScalar":            0x821092599e49b424,
	"ScaleShift":           0x869b87423fd3922,
	"Neg":                  0x5a8d24d3660d7ceb,
	"Abs":                  0x812f30cee9ebf2eb,
	"Floor":                0xcbda1c7dc9bbda44,
	"Ceil":                 0x15b2de54efc16c90,
	"Round":                0x147a3a04db07b07a,
	"Sqrt":                 0xf8ca9a21ac879b51,
	"Reciprocal":           0x532ec5b4a6257973,
	"Relu":                 0x6f25950533374af9,
	"LeakyRelu":            0x165fcdd6982d7412,
	"Clip":                 0x9f90195a2fa77880,
	"Exp":                  0xde4c1350c0db2938,
	"Log":                  0x1dea8f428a27902a,
	"Sigmoid":              0x1282bb93e745c99,
	"SiLU":                 0x228da3c128229d5d,
	"Tanh":                 0xee1b6f45b366e948,
	"Elu":                  0x87ff8b76149d0ac0,
	"Softplus":             0x47b24af5f220f2ea,
	"Erf":                  0x2675b30147c7aec2,
	"Gelu":                 0x2d53d62b98b33991,
	"GeluTanh":             0x42c5ead2780bb8a5,
	"Sin":                  0x8d62a694a5807194,
	"Cos":                  0x357e71e4a307246,
	"Sum":                  0x938580960faa22d9,
	"ExpRows":              0x34a2f7a905d06f50,
	"NormRows true":        0x995b3d0ffbbb2445,
	"NormRows false":       0x9dfd1b74de53a9ef,
	"Lanes":                0x6046c3df4b1ae06f,
	"Winograd 2":           0xcae73bf068c4db26,
	"Winograd 4":           0xe49f637e4fe8a59d,
	"GemmNarrow 1":         0x6a5f7f79d2a61ee5,
	"GemmNarrow 2":         0xda6dd1e5deacc1b7,
	"GemmNarrow 3":         0xaa18ac735ea2a11e,
	"GemmNarrow 4":         0x385f617cbbc1f96d,
	"lanes in groups of 1": 0x664f53be9e36297b,
	"lanes in groups of 2": 0xe5fc177960c77d79,
	"lanes in groups of 4": 0x4336912630798da5,
}

// uniform is n numbers from -size to size, without a function whose last bit
// machines may differ in.
func uniform(r *rand.Rand, n int, size float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = size * float32(int32(r.Uint32())) * 0x1p-31
	}
	return x
}

// digest is one of the bits of some numbers; any NaN counts as one, any zero too.
func digest(all ...[]float32) uint64 {
	h := fnv.New64a()
	for _, x := range all {
		for _, v := range x {
			b := math.Float32bits(v)
			switch {
			case v != v:
				b = 0x7fc00000
			case v == 0:
				b = 0
			}
			h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
		}
	}
	return h.Sum64()
}

func TestVectorInstructionSetsAgree(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		if isa == generic {
			t.Skip("the generic twin rounds otherwise")
		}
		check := func(name string, all ...[]float32) {
			t.Helper()
			if got := digest(all...); got != agreed[name] {
				t.Errorf("%q: %#x, want %#x", name, got, agreed[name])
			}
		}
		r := rand.New(rand.NewPCG(30, 31))
		const n = 4003
		a, b := uniform(r, n, 12), uniform(r, n, 3)
		copy(a, specials)
		for _, k := range elemKernels {
			dst := make([]float32, n)
			k.run(dst, a, b)
			check(k.name, dst)
		}
		finite := a[len(specials):]
		sum := Sum(finite)
		check("Sum", []float32{float32(sum), float32(SumSquares(finite, 1)), MaxOf(finite)})

		x, w := uniform(r, 30*77, 5), uniform(r, 77, 2)
		y, top, total := make([]float32, 30*77), make([]float32, 30), make([]float32, 30)
		ExpRows(y, 77, x, 77, 30, 77, 0.7, top, total)
		check("ExpRows", y, top, total)
		for _, centred := range []bool{true, false} {
			NormRows(y, x, w, w, top, total, 30, 77, 1e-5, centred)
			check(fmt.Sprint("NormRows ", centred), y, top, total)
		}

		var sums, squares [Block]float64
		pixels := x[:144*Block]
		MomentsLanes(&sums, &squares, pixels[:139*Block])
		for l := range sums {
			top[l], total[l] = float32(sums[l]), float32(squares[l])
		}
		ScaleShiftLanes(y[:len(pixels)], pixels, (*[Block]float32)(w), (*[Block]float32)(w[Block:]), ActSiLU)
		check("Lanes", y[:len(pixels)], top[:Block], total[:Block])

		for _, m := range []int{2, 4} {
			c := Winograd{M: m, IC: 3, OC: 20, H: 9, W: 10, OH: 9, OW: 10, Top: 1, Left: 1, Room: 25}
			c.Init()
			packed, v, u, p := make([]float32, c.PackedLen()), make([]float32, c.InputLen()), make([]float32, c.WeightLen()), make([]float32, c.ProductLen())
			src, add, dst := uniform(r, Blocks(c.IC)*90*Block, 1), uniform(r, 2*90*Block, 1), make([]float32, 2*90*Block)
			c.Pack(packed, uniform(r, 20*3*9, 1))
			c.Input(v, src, 0, 0, c.Tiles(), 0, 1)
			c.Multiply(p, u, v, packed, 0, c.Tiles(), 0)
			c.Output(dst, p, uniform(r, 20, 1), add, 0.5, 0, 0, c.Tiles(), 0, ActRelu)
			check(fmt.Sprint("Winograd ", m), dst)
		}
		for _, group := range []int{1, 2, 4} {
			const rows = 5 // as many as every instruction set has
			lanes := tile{off: []int32{0, 96, 48}, astep: 2 * Block, crow: Block, a: x, b: uniform(r, 3*4*Block, 1), c: y}
			lanes.lanes(rows, group)
			check(fmt.Sprint("lanes in groups of ", group), y[:rows*Block])
		}
		for cols := 1; cols <= NarrowCols; cols++ {
			GemmNarrow(y, cols, x, 77, w, 20, cols, 17, nil)
			check(fmt.Sprint("GemmNarrow ", cols), y[:20*cols])
		}
	})
}
