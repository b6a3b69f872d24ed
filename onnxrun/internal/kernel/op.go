package kernel

// op names an element-wise kernel that may exist in assembly.
type op int

const (
	opAdd op = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opMulAdd
	opAxpy
	opAddScalar
	opRsubScalar
	opMulScalar
	opDivScalar
	opRdivScalar
	opMaxScalar
	opMinScalar
	opScaleShift
	opNeg
	opAbs
	opSqrt
	opFloor
	opCeil
	opRound
	opRelu
	opLeakyRelu
	opClip
	opExp
	opExpSub
	opLog
	opSigmoid
	opSiLU
	opTanh
	opElu
	opSoftplus
	opErf
	opGelu
	opGeluTanh
	opSin
	opCos
)

// outcome says how much of an element-wise kernel the assembly did.
type outcome int

const (
	none      outcome = iota // no assembly for it here
	done                     // all of it
	leftovers                // arguments out of range were copied instead
)
