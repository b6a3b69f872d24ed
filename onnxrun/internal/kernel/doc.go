// Package kernel is how the numbers are made: slices in, slices out. It knows
// no graph, no tensors and no errors; a slice that is too short is a mistake of
// the caller and panics before anything is read or written.
//
// # Design
//
// What is here? The matrix product on packed panels (Gemm; GemmNarrow for four
// columns and fewer), convolution in a blocked layout, direct (Conv, ConvOut,
// Depthwise) and by Winograd's algorithm (Winograd), resampling by a filter
// (FIR), the changes of layout (ToBlocked, Transpose, GatherPanels …),
// element-wise functions (Add … Cos), reductions (Sum … SoftmaxRow), the
// normalisation of rows (NormRows) and of the lanes of blocked pixels
// (MomentsLanes …), and the workers that share the load (Pool). Each comment gives
// the Go loop that the kernel equals.
//
// Who splits the work? The caller, by the ranges that kernels take (panels,
// groups, rows, blocks) and the parts of Pool.Run. A kernel itself runs on one
// goroutine and allocates nothing.
//
// Why does the split not show in the result? Every output of a product or a
// convolution is a sum of chains of at most 256 multiply-adds or so (a long chain
// loses more to rounding), in an order that depends on the sizes of the layer
// alone. Every element of an element-wise kernel goes through the
// same vector instructions, the last ones of a slice under a mask. Reductions
// accumulate in float64 (the exponentials of a softmax in float32, and the moments
// of lanes 32 pixels at a time), in an order that depends on the length alone. So the
// bytes of a result do not depend on batch, threads or position. They may differ
// between the assembly and its generic twin; AVX2, AVX-512 and NEON agree to the
// bit, zeros' signs and NaNs apart.
//
// Why one microkernel? R rows times C vectors of 16 outputs, the left operand
// broadcast from memory with a stride from row to row, the right one packed and
// read in order, and a table of offsets for the segments of the sum: that is a
// matrix product (one segment), a convolution of any stride and dilation
// (a segment for each tap and block of channels), and one of few channels (a
// segment for each tap and channel). R is as large as the registers allow: 14
// for AVX-512, 6 for AVX2, 5 for NEON (on amd64 with one row, several panels go side by side
// instead, so that there are sums enough to hide latency); an image row or a matrix is cut into tiles of
// nearly equal height, since a small last tile would run at a fraction of the
// rate. Segments are walked inside the assembly so that sums stay in registers
// for hundreds of steps.
//
// Why blocks of 16 channels for every instruction set? It is one vector or two,
// a full cache line, and the same weights and buffers serve all.
//
// What of alignment? Nothing requires it, but vectors that start on a 64-byte
// boundary are read faster: keep offsets in an arena multiples of Block.
//
// What of groups of channels that do not fill a block? Groups of 2 and 4 have a
// form of the depthwise kernel: a permutation spreads one channel over
// the lanes of its group. For all others the microkernel multiplies the channels
// of every group that a block of outputs touches, by zero where they are
// another's: what is wasted costs less than products of a few rows.
//
// And of three spatial axes? They are two with more taps: a tap is an offset, and
// the rows of all slices follow each other.
//
// Who pads? The caller, once, when it writes an activation: the inner loops know
// no borders. Conv writes into the frame of a larger image if told its strides.
// Winograd's transforms copy the source anyway, and pad on the way.
//
// What does Winograd's algorithm cost in exactness? Relative to the mean output
// of 256 channels, in the mean: direct 8e-7, F(2×2) 5e-7, F(4×4) 1.6e-6 (at most
// 9e-6). That is why its tiles are not larger. It has no kernel of its own for
// the multiplications: they are products of matrices, for the microkernel.
//
// Which instruction set? The best of the machine: AVX-512 (F, DQ, BW, VL), else
// AVX2 with FMA; on arm64 NEON; else plain Go: see ISA. The environment variable
// SAMPLEONNX_ISA=avx512|avx2|neon|generic asks for a lower one, the build tag purego
// leaves the assembly out.
//
// Where does the assembly come from? From the Go programs in _asm, a module of
// its own that users of this one never download. Regenerate with "go generate";
// it needs Go and nothing else. For amd64 they use the library avo, for arm64 the
// assembler in _asm/neon.
//
// Why tables in the functions? A permutation of a register looks up eight numbers
// in a cycle. exp takes 2^(i/8) from one and needs a quartic instead of a sextic;
// gelu is eight polynomials of |x|, with neither exp nor division. Constants stay
// in registers through the loop: a machine loads one vector of AVX-512 a cycle,
// and an operand from memory for each step would take longer than the arithmetic.
//
// Why does a tile fetch what it does not read? The weights of a network do not fit a
// core's own caches, and a machine fetches by itself to the end of a page. So a tile is
// told where the panel lies that is next, and asks for a little of it at each step.
//
// How exact are the functions? Measured against float64, in units of the last
// place: exp 0.8, log 0.9, tanh 1.3, erf 1, sin and cos 1.5 (below 1e4; beyond,
// float64 takes over), softplus 1.8, elu 0.9; both gelus 6.5e-8 absolute or 1.3;
// sigmoid 3.0 and SiLU 4.3 to ±20, 5.0 and 5.7 to where they are denormal.
// Infinities, NaN, denormals and overflow come out as the mathematics says, but for
// SiLU of -Inf, which is NaN: -Inf·0, as the graphs that spell it out have it. The
// tests hold these.
package kernel

//go:generate go run -C _asm . ..
