package main

import (
	"fmt"
	"math"
	"sort"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

// em emits one function for one instruction set: 8 lanes of 64 bits, or 4.
type em struct {
	*build.Context
	avx512 bool
	table  *table
}

// table holds the constants, each replicated to a vector's width so that it
// can be an operand from memory.
type table struct {
	c    *build.Context
	used map[uint64]bool
}

func (t *table) at(bits uint64) operand.Mem {
	t.used[bits] = true
	return operand.NewDataAddr(operand.NewStaticSymbol(fmt.Sprintf("c%016x", bits)), 0)
}

func (t *table) flush() {
	var all []uint64
	for b := range t.used {
		all = append(all, b)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	for _, b := range all {
		t.c.StaticGlobal(fmt.Sprintf("c%016x", b))
		t.c.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := 0; i < 8; i++ {
			t.c.AppendDatum(operand.U64(b))
		}
	}
}

func (e *em) v() vec {
	if e.avx512 {
		return e.ZMM()
	}
	return e.YMM()
}

// f is a float64 constant, i an integer one, both is an integer in each half.
func (e *em) f(x float64) operand.Mem   { return e.table.at(math.Float64bits(x)) }
func (e *em) i(x uint64) operand.Mem    { return e.table.at(x) }
func (e *em) both(x uint32) operand.Mem { return e.table.at(uint64(x)<<32 | uint64(x)) }

func (e *em) load(m operand.Mem) vec { d := e.v(); e.VMOVUPD(m, d); return d }

// Arithmetic; the second operand may be memory. Nothing is fused: every
// product is rounded, as in the generic code.
func (e *em) add(a vec, b operand.Op) vec { d := e.v(); e.VADDPD(b, a, d); return d }
func (e *em) sub(a vec, b operand.Op) vec { d := e.v(); e.VSUBPD(b, a, d); return d }
func (e *em) mul(a vec, b operand.Op) vec { d := e.v(); e.VMULPD(b, a, d); return d }
func (e *em) div(a vec, b operand.Op) vec { d := e.v(); e.VDIVPD(b, a, d); return d }
func (e *em) sqrt(a vec) vec              { d := e.v(); e.VSQRTPD(a, d); return d }

// rsub is m − a.
func (e *em) rsub(a vec, m operand.Mem) vec { return e.sub(e.load(m), a) }

// horner is the polynomial in z with the coefficients from the highest power
// down, in unfused steps.
func (e *em) horner(z vec, cs ...float64) vec {
	p := e.mul(z, e.f(cs[0]))
	for k, c := range cs[1:] {
		p = e.add(p, e.f(c))
		if k < len(cs)-2 {
			p = e.mul(p, z)
		}
	}
	return p
}

// Integers.
func (e *em) addd(a vec, b operand.Op) vec { d := e.v(); e.VPADDD(b, a, d); return d }
func (e *em) addq(a vec, b operand.Op) vec { d := e.v(); e.VPADDQ(b, a, d); return d }
func (e *em) shl(a vec, n uint8) vec       { d := e.v(); e.VPSLLQ(operand.U8(n), a, d); return d }
func (e *em) shr(a vec, n uint8) vec       { d := e.v(); e.VPSRLQ(operand.U8(n), a, d); return d }

func (e *em) and(a vec, b operand.Op) vec {
	d := e.v()
	if e.avx512 {
		e.VPANDQ(b, a, d)
	} else {
		e.VPAND(b, a, d)
	}
	return d
}

func (e *em) or(a vec, b operand.Op) vec {
	d := e.v()
	if e.avx512 {
		e.VPORQ(b, a, d)
	} else {
		e.VPOR(b, a, d)
	}
	return d
}

// xor3 is a ^ b ^ k in the low words, k one word in memory; it may overwrite a.
func (e *em) xor3(a, b vec, k operand.Mem) vec {
	if e.avx512 {
		e.VPTERNLOGD_BCST(operand.U8(0x96), k, b, a)
		return a
	}
	d := e.v()
	e.VPBROADCASTD(k, d)
	e.VPXOR(d, b, d)
	e.VPXOR(d, a, d)
	return d
}

// flip is a with its sign changed where bit 63 of s is set.
func (e *em) flip(a, s vec) vec {
	if e.avx512 {
		e.VPTERNLOGQ(operand.U8(0x78), e.i(1<<63), s, a) // a ^ s&m
		return a
	}
	d := e.and(s, e.i(1<<63))
	e.VPXOR(d, a, d)
	return d
}

// low is the masked bits of each lane under those of a power of 2.
func (e *em) low(a vec, mask uint64, power float64) vec {
	m := e.f(power)
	if e.avx512 {
		d := e.load(e.i(mask))
		e.VPTERNLOGQ(operand.U8(0xEA), m, a, d) // d&a | m
		return d
	}
	if mask == 1<<32-1 {
		d := e.v()
		e.VPBLENDD(operand.U8(0xAA), m, a, d)
		return d
	}
	return e.or(e.and(a, e.i(mask)), m)
}
