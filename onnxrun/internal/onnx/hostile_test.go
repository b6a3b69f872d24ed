package onnx

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// seeds are small models that between them reach every part of the parser.
func seeds(t testing.TB) [][]byte {
	var list [][]byte
	for _, file := range modelFiles(t) {
		if info, err := os.Stat(file); err != nil || info.Size() > 4096 || filepath.Dir(file) != filepath.Dir(modelFiles(t)[0]) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, data)
	}
	branch := graphOf(node("Add", "x c", "q"), node("Constant", "", "c", attr("value_ints", []int64{2, 3})), output("q"))
	list = append(list,
		model(graphOf(
			input("x", "batch", 3), input("w"), initializer(floats("w", 1, 2, 3)),
			initializer(tensor("i", Int64, []int64{2}, msg(nil).packed(7, 1, -1))),
			initializer(tensor("h", Float16, []int64{2}, msg(nil).packed(5, 1, 2))),
			initializer(tensor("u", Uint32, nil, msg(nil).int(11, 9))),
			initializer(tensor("d", Double, []int64{1}, msg(nil).double(10, 1))),
			initializer(tensor("s", String, []int64{1}, msg(nil).text(6, "s"))),
			initializer(tensor("e", Float, []int64{0, 2})),
			node("Clip", "x _ w", "a"), node("Split", "a i", "b c _"), node("Mul", "b b", "y", attr("k", floats("", 1))),
			node("Constant", "", "k", attr("value", floats("", 1))),
			info("a", "batch", nil), output("y", 1), output("k"))),
		model(graphOf(input("x"), node("If", "x", "y", attr("then_branch", branch), attr("else_branch", branch)), output("y"))),
		model(graphOf(input("x"),
			node("F", "x", "y", domain("local"), attr("by", 2)), node("F", "y", "z", domain("local")), output("z")),
			msg(nil).bytes(8, opset("local", 1)),
			function("F", "u v", "o", body("G", "u u", "p q", domain("local")), body("Scale", "p q", "o", attr("by", ref{"by", AttrInt})),
				msg(nil).bytes(11, attrMsg("by", 1))),
			function("G", "u v", "p v", body("Neg", "u", "p"))),
		model(graphOf(initializer(tensor("w", Float, []int64{2}, external("location", "w.bin", "offset", "4"))), output("w"))),
	)
	return list
}

// hostile parses bytes that may be anything. The outcome must be a model that
// keeps the parser's promises or one of the three errors, and cost little.
func hostile(t *testing.T, data []byte) {
	t.Helper()
	m, err := Parse(t.Context(), data, Limits{})
	if err == nil {
		if err := check(m); err != nil {
			t.Errorf("%v\n%x", err, data)
		}
		for _, w := range m.Graph.Weights {
			if w.DType.Size() > 0 {
				if err := w.Float64s(make([]float64, w.Elems())); err != nil {
					t.Errorf("%v\n%x", err, data)
				}
			}
		}
		return
	}
	_, isFormat := errors.AsType[*FormatError](err)
	_, isUnsupported := errors.AsType[*UnsupportedError](err)
	_, isLimit := errors.AsType[*LimitError](err)
	if !isFormat && !isUnsupported && !isLimit {
		t.Errorf("error %T: %v", err, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(hostile)
}

// TestMutants parses damaged models: bytes changed, cut and repeated without
// regard to structure, and messages changed field by field so that the damage
// is deep inside and all lengths are right.
func TestMutants(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	mutants, whole := 0, 0
	for i, seed := range seeds(t) {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for range rounds {
			for _, data := range [][]byte{mutateBytes(r, seed), mutateMessage(r, seed, 0)} {
				hostile(t, data)
				mutants++
				if _, err := Parse(t.Context(), data, Limits{}); err == nil {
					whole++
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	runtime.ReadMemStats(&after)
	perMutant := (after.TotalAlloc - before.TotalAlloc) / uint64(mutants)
	t.Logf("%d mutants, %d of them valid, in %v, %d bytes allocated each", mutants, whole, time.Since(start), perMutant)
	if perMutant > 1<<20 {
		t.Errorf("%d bytes allocated for each mutant of a model of 1 kB", perMutant)
	}
	if whole == 0 || whole == mutants {
		t.Errorf("%d of %d mutants are valid", whole, mutants)
	}
}

func mutateBytes(r *rand.Rand, seed []byte) []byte {
	data := append([]byte(nil), seed...)
	for range 1 + r.IntN(4) {
		if len(data) == 0 {
			break
		}
		i := r.IntN(len(data))
		j := i + r.IntN(len(data)-i)
		switch r.IntN(6) {
		case 0:
			data[i] ^= 1 << r.IntN(8)
		case 1:
			data[i] = byte(r.Uint32())
		case 2:
			data = append(data[:i:i], data[j:]...)
		case 3:
			data = data[:i]
		case 4:
			data = append(data[:j:j], data[i:]...)
		case 5:
			copy(data[i:], data[r.IntN(len(data)):])
		}
	}
	return data
}

// numbers that sizes and kinds break at.
var numbers = []uint64{0, 1, 2, 7, 31, 127, 128, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// mutateMessage changes one or two fields of a message, or of messages inside.
func mutateMessage(r *rand.Rand, data []byte, depth int) []byte {
	var fields [][]byte
	for rest := data; len(rest) > 0; {
		_, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return mutateBytes(r, data) // not a message: a string, floats, …
		}
		fields, rest = append(fields, rest[:n:n]), rest[n:]
	}
	if len(fields) == 0 {
		return mutateBytes(r, data)
	}
	for range 1 + r.IntN(2) {
		i := r.IntN(len(fields))
		num, typ, n := protowire.ConsumeTag(fields[i])
		if n < 0 {
			continue // an earlier change
		}
		switch op := r.IntN(12); {
		case op == 0:
			fields[i] = nil
		case op == 1:
			fields = append(fields, fields[i])
		case op == 2:
			j := r.IntN(len(fields))
			fields[i], fields[j] = fields[j], fields[i]
		case op == 3:
			fields[i] = append(protowire.AppendTag(nil, protowire.Number(1+r.IntN(26)), typ), fields[i][n:]...)
		case typ == protowire.BytesType:
			b, m := protowire.ConsumeBytes(fields[i][n:])
			if m < 0 {
				continue
			}
			if depth > 8 {
				b = mutateBytes(r, b)
			} else {
				b = mutateMessage(r, b, depth+1)
			}
			fields[i] = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), b)
		case typ == protowire.VarintType:
			fields[i] = protowire.AppendVarint(protowire.AppendTag(nil, num, typ), numbers[r.IntN(len(numbers))])
		default:
			fields[i] = protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(r.IntN(100)))
		}
	}
	var out []byte
	for _, f := range fields {
		out = append(out, f...)
	}
	return out
}
