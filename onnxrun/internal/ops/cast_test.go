package ops

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sampleonnx/onnxrun/internal/onnx"
)

var allTypes = []onnx.DType{onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16, onnx.Bool,
	onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64}

// setBig and getBig write and read an element as an exact number; ok is false
// for infinities and NaN.
func setBig(t *Tensor, i int, v *big.Float) {
	f, _ := v.Float64()
	n, _ := v.Int(nil)
	u := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
	switch {
	case IsFloat32(t.DType):
		g, _ := v.Float32()
		Data[float32](t)[i] = g
	case t.DType == onnx.Double:
		Data[float64](t)[i] = f
	case t.DType == onnx.Bool:
		Data[bool](t)[i] = v.Sign() != 0
	default:
		switch storageSize(t.DType) {
		case 1:
			Data[uint8](t)[i] = uint8(u)
		case 2:
			Data[uint16](t)[i] = uint16(u)
		case 4:
			Data[uint32](t)[i] = uint32(u)
		case 8:
			Data[uint64](t)[i] = u
		}
	}
}

func getBig(t *Tensor, i int) (v *big.Float, ok bool) {
	v = new(big.Float).SetPrec(200)
	var f float64
	switch t.DType {
	case onnx.Double:
		f = Data[float64](t)[i]
	case onnx.Bool:
		f = ifElse(Data[bool](t)[i], 1, 0)
	case onnx.Int8:
		f = float64(Data[int8](t)[i])
	case onnx.Int16:
		f = float64(Data[int16](t)[i])
	case onnx.Int32:
		f = float64(Data[int32](t)[i])
	case onnx.Int64:
		return v.SetInt64(Data[int64](t)[i]), true
	case onnx.Uint8:
		f = float64(Data[uint8](t)[i])
	case onnx.Uint16:
		f = float64(Data[uint16](t)[i])
	case onnx.Uint32:
		f = float64(Data[uint32](t)[i])
	case onnx.Uint64:
		return v.SetUint64(Data[uint64](t)[i]), true
	default:
		f = float64(Data[float32](t)[i])
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	return v.SetFloat64(f), true
}

// castBig is the definition of a cast to d in exact arithmetic. fromFloat says
// whether an integer target saturates or wraps.
func castBig(v *big.Float, d onnx.DType, fromFloat bool) *big.Float {
	precision := map[onnx.DType][2]int{onnx.Float: {24, -149}, onnx.Double: {53, -1074}, onnx.Float16: {11, -24}, onnx.BFloat16: {8, -133}}
	if p, ok := precision[d]; ok {
		// Round to the precision, fewer bits for subnormals, by adding and
		// removing a number whose last bit is the last bit wanted.
		if v.Sign() == 0 {
			return v
		}
		bits := min(p[0], v.MantExp(nil)-p[1])
		if bits <= 0 { // at most half the smallest
			half := new(big.Float).SetMantExp(big.NewFloat(1), p[1]-1)
			if new(big.Float).Abs(v).Cmp(half) > 0 {
				s := new(big.Float).SetMantExp(big.NewFloat(1), p[1])
				if v.Sign() < 0 {
					s.Neg(s)
				}
				return s
			}
			return new(big.Float)
		}
		r := new(big.Float).SetPrec(uint(bits)).SetMode(big.ToNearestEven).Set(v)
		return new(big.Float).SetPrec(200).Set(r)
	}
	if d == onnx.Bool {
		return big.NewFloat(float64(v.Sign() * v.Sign()))
	}
	n, _ := v.Int(nil)
	bits := uint(8 * d.Size())
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
	if isSigned(d) {
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	if fromFloat {
		if n.Cmp(lo) < 0 {
			n = lo
		} else if n.Cmp(hi) >= 0 {
			n = new(big.Int).Sub(hi, big.NewInt(1))
		}
	} else {
		n.Sub(n, lo)
		n.Mod(n, new(big.Int).Lsh(big.NewInt(1), bits))
		n.Add(n, lo)
	}
	return new(big.Float).SetPrec(200).SetInt(n)
}

func TestCast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	limits := map[onnx.DType]float64{onnx.Float: math.MaxFloat32, onnx.Float16: 65504, onnx.BFloat16: 0x1.fep127, onnx.Double: math.MaxFloat64}
	for _, from := range allTypes {
		in := New(Type{DType: from, Shape: []int{50, 41}})
		for i := range in.Elems() {
			v := big.NewFloat(math.Trunc(r.NormFloat64() * math.Exp2(float64(r.IntN(66)))))
			if isFloat(from) && i%3 > 0 {
				v = big.NewFloat(r.NormFloat64() * math.Exp2(float64(r.IntN(80)-60)))
			}
			if from == onnx.Double && i%5 == 0 { // near ties of float16
				v = big.NewFloat(float64(1+float64(2*r.IntN(1024)+1)/2048) + float64(r.IntN(3)-1)*0x1p-50)
			}
			setBig(in, i, v)
			if x := float64(i); IsFloat32(from) && from != onnx.Float {
				_ = x
				f := Data[float32](in)
				if from == onnx.Float16 {
					f[i] = toFloat16(float64(f[i]))
				} else {
					f[i] = toBFloat16(float64(f[i]))
				}
			}
		}
		for _, to := range allTypes {
			tc := testCall{op: "Cast", attrs: map[string]onnx.Attr{"to": attrInt(int(to))}, in: []*Tensor{in}}
			out := tc.mustRun(t)[0]
			for i := range in.Elems() {
				v, ok := getBig(in, i)
				if !ok {
					continue
				}
				want := castBig(v, to, isFloat(from))
				got, finite := getBig(out, i)
				if w, _ := want.Float64(); isFloat(to) && math.Abs(w) > limits[to] {
					if finite {
						t.Fatalf("%s to %v: %v gives %v, want infinity", tc, to, v, got)
					}
					continue
				}
				if !finite || got.Cmp(want) != 0 {
					t.Fatalf("%s to %v: %v gives %v, want %v", tc, to, v, got, want)
				}
			}
			like := testCall{op: "CastLike", in: []*Tensor{in, New(Type{DType: to, Shape: []int{2}})}}
			if !slices.Equal(like.mustRun(t)[0].mem, out.mem) {
				t.Errorf("%s: differs from Cast", like)
			}
		}
	}
}

func TestCastSpecials(t *testing.T) {
	inf := math.Inf(1)
	in := Of([]int{4}, []float64{inf, -inf, math.NaN(), -0.5})
	to := func(d onnx.DType) *Tensor {
		return testCall{op: "Cast", attrs: map[string]onnx.Attr{"to": attrInt(int(d))}, in: []*Tensor{in}}.mustRun(t)[0]
	}
	if got := Data[int64](to(onnx.Int64)); !slices.Equal(got, []int64{math.MaxInt64, math.MinInt64, 0, 0}) {
		t.Error(got)
	}
	if got := Data[uint64](to(onnx.Uint64)); !slices.Equal(got, []uint64{math.MaxUint64, 0, 0, 0}) {
		t.Error(got)
	}
	if got := Data[int8](to(onnx.Int8)); !slices.Equal(got, []int8{127, -128, 0, 0}) {
		t.Error(got)
	}
	if got := Data[bool](to(onnx.Bool)); !slices.Equal(got, []bool{true, true, true, true}) {
		t.Error(got)
	}
	for _, d := range []onnx.DType{onnx.Float, onnx.Float16, onnx.BFloat16} {
		if got := Data[float32](to(d)); got[0] != float32(inf) || got[1] != float32(-inf) || got[2] == got[2] || got[3] != -0.5 {
			t.Error(d, got)
		}
	}
	x := randn(rand.New(rand.NewPCG(1, 1)), 1, 5, 2, 2)
	tc := testCall{op: "Cast", attrs: map[string]onnx.Attr{"to": attrInt(int(onnx.Float16))}, in: []*Tensor{blocked(x)}}
	if Layouts(tc.call())[0] != Blocked {
		t.Error("a cast to float16 leaves the blocked layout")
	}
	b := tc.mustRun(t)[0]
	tc.in[0] = x
	if !slices.Equal(plain(b).mem, tc.mustRun(t)[0].mem) {
		t.Error("blocked differs from plain")
	}
	tc.attrs["to"] = attrInt(int(onnx.String))
	tc.mustFail(t, false)
	tc.attrs["to"] = attrInt(17)
	tc.mustFail(t, false)
	tc.attrs = nil
	tc.mustFail(t, true)
}

// An element type is a number of 64 bits in the file: one that does not fit is none,
// and not the one that its last bits are.
func TestElementTypesAreNotCut(t *testing.T) {
	for _, op := range []testCall{
		{op: "Cast", in: []*Tensor{int64s(1)}, attrs: map[string]onnx.Attr{"to": {}}},
		{op: "BitCast", version: 26, in: []*Tensor{int64s(1)}, attrs: map[string]onnx.Attr{"to": {}}},
		{op: "EyeLike", in: []*Tensor{Of([]int{1, 1}, []float32{1})}, attrs: map[string]onnx.Attr{"dtype": {}}},
		{op: "HannWindow", in: []*Tensor{Of([]int{}, []int64{4})}, attrs: map[string]onnx.Attr{"output_datatype": {}}},
		{op: "QuantizeLinear", in: []*Tensor{Of([]int{1}, []float32{1}), Of([]int{}, []float32{1})}, attrs: map[string]onnx.Attr{"output_dtype": {}}},
	} {
		for name := range op.attrs {
			for _, v := range []int64{1<<32 + 1, 1<<32 + 2, 1<<40 + 7, -1 << 63, -1, 99} {
				op.attrs[name] = onnx.Attr{Kind: onnx.AttrInt, Int: v}
				op.mustFail(t, true)
			}
		}
	}
	// One that is only not read here is named.
	tc := testCall{op: "Cast", in: []*Tensor{int64s(1)}, attrs: map[string]onnx.Attr{"to": attrInt(17)}}
	if _, err := tc.run(); err == nil || !strings.Contains(err.Error(), "float8e4m3fn") {
		t.Errorf("got %v", err)
	}
}
